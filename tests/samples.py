"""One sample or several for each operation: a JAX function that traces to it, and its operands.

An operation that maps over entries is sampled by domains alone; the tests choose the shapes.
What JAX functions do not trace to, because only derivatives or laws make it, is in `MADE`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from symgrad.expr import Expr, Op, argument, captured, fresh, item, literal, results
from symgrad.ops import (
    assume,
    batch,
    branch,
    calls,
    companions,
    contract,
    differences,
    distances,
    entropy,
    linalg,
    loops,
    moments,
    norm,
    odds,
    pick,
    pointwise,
    products,
    reduce,
    shape,
    shares,
    special,
    spectral,
    stable,
    tails,
    waves,
)
from symgrad.ops.limit import limit_op, variable

Domain = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def between(low: float, high: float) -> Domain:
    return lambda generator, shape: generator.uniform(low, high, shape)


def apart_from_zero(low: float, high: float) -> Domain:
    """Of both signs, with an absolute value between the two."""
    return lambda generator, shape: (
        generator.uniform(low, high, shape) * generator.choice([-1, 1], shape)
    )


def whole(low: int, high: int) -> Domain:
    """Whole numbers from `low` to `high`, both included."""
    return lambda generator, shape: generator.integers(low, high, shape, endpoint=True)


def normal(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return generator.normal(size=shape)


positive = between(0.3, 3.0)
inside = between(-0.8, 0.8)
several = apart_from_zero(0.3, 2.0)
ties = whole(-1, 1)
"""Few different values, so that comparisons meet equals and kinks are hit."""


def spaced(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """All entries at least 0.1 apart, in random order."""
    n = math.prod(shape)
    return (generator.permutation(n) - n / 2 + generator.uniform(0.1, 0.9, n)).reshape(shape)


@dataclass(frozen=True)
class Operand:
    """An array to draw; without a dtype it has the precision of the test."""

    domain: Domain = normal
    shape: tuple[int, ...] = (2, 3)
    dtype: Any = None

    def draw(self, generator: np.random.Generator, real: Any, shape: Any = None) -> np.ndarray:
        values = self.domain(generator, self.shape if shape is None else shape)
        return np.asarray(values).astype(real if self.dtype is None else self.dtype)


@dataclass(frozen=True)
class Sample:
    """A function that traces to an operation.

    Attributes:
        op: the operation.
        fun: of the operands; maps over entries if `elementwise`.
        operands: what to call it with.
        about: what is particular, the second part of the test's name.
        order: the highest derivative that JAX has, and has finite.
        reverse: whether there is a reverse mode.
        forward: whether JAX has a forward mode to compare with.
        standalone: whether the program needs nothing but `jax` and the operands.
    """

    op: Op
    fun: Callable[..., Any]
    operands: tuple[Operand, ...]
    about: str = ""
    elementwise: bool = False
    order: int = 2
    reverse: bool = True
    forward: bool = True
    standalone: bool = True

    def __str__(self) -> str:
        return f"{self.op.name}:{self.about}" if self.about else self.op.name

    def draw(self, generator: np.random.Generator, real: Any, *shapes: Any) -> tuple[Any, ...]:
        shapes = shapes or (None,) * len(self.operands)
        return tuple(o.draw(generator, real, s) for o, s in zip(self.operands, shapes, strict=True))


def _maps(op: Op, fun: Callable[..., Any], *domains: Any, about: str = "", **facts: Any) -> Sample:
    """A sample of an operation that maps over entries."""
    operands = tuple(d if isinstance(d, Operand) else Operand(d) for d in domains)
    return Sample(op, fun, operands, about, elementwise=True, **facts)


def _of(op: Op, fun: Callable[..., Any], *operands: Any, about: str = "", **facts: Any) -> Sample:
    """A sample of any other operation; a bare tuple is the shape of normal numbers."""
    given = tuple(o if isinstance(o, Operand) else Operand(shape=o) for o in operands)
    return Sample(op, fun, given, about, **facts)


def _integer(low: int, high: int, shape: Any = (2, 3), dtype: Any = np.int32) -> Operand:
    return Operand(whole(low, high), shape, dtype)


def _boolean(shape: Any = (2, 3)) -> Operand:
    return Operand(whole(0, 1), shape, bool)


UNARY = (
    _maps(pointwise.neg, lambda x: -x, normal),
    _maps(pointwise.exp, jnp.exp, normal),
    _maps(pointwise.exp2, jnp.exp2, normal),
    _maps(pointwise.expm1, jnp.expm1, normal),
    _maps(pointwise.log, jnp.log, positive),
    _maps(pointwise.log1p, jnp.log1p, between(-0.5, 2.0)),
    _maps(pointwise.sqrt, jnp.sqrt, positive),
    _maps(pointwise.rsqrt, lax.rsqrt, positive),
    _maps(pointwise.cbrt, jnp.cbrt, several),
    _maps(pointwise.sin, jnp.sin, normal),
    _maps(pointwise.cos, jnp.cos, normal),
    _maps(pointwise.tan, jnp.tan, between(-1.0, 1.0)),
    _maps(pointwise.arcsin, jnp.arcsin, inside),
    _maps(pointwise.arccos, jnp.arccos, inside),
    _maps(pointwise.arctan, jnp.arctan, normal),
    _maps(pointwise.sinh, jnp.sinh, normal),
    _maps(pointwise.cosh, jnp.cosh, normal),
    _maps(pointwise.tanh, jnp.tanh, normal),
    _maps(pointwise.arcsinh, jnp.arcsinh, normal),
    _maps(pointwise.arccosh, jnp.arccosh, between(1.3, 3.0)),
    _maps(pointwise.arctanh, jnp.arctanh, inside),
    _maps(pointwise.logistic, jax.nn.sigmoid, normal),
    _maps(pointwise.softplus, jax.nn.softplus, normal),
    _maps(pointwise.relu, jax.nn.relu, several),
    _maps(pointwise.erf, lax.erf, normal),
    _maps(pointwise.erfc, lax.erfc, normal),
    _maps(pointwise.erf_inv, lax.erf_inv, inside),
    _maps(pointwise.abs_, jnp.abs, several),
    _maps(pointwise.square, jnp.square, normal),
    _maps(pointwise.sign, jnp.sign, several),
    _maps(pointwise.floor, jnp.floor, normal),
    _maps(pointwise.ceil, jnp.ceil, normal),
    _maps(pointwise.round_, jnp.round, between(-3.0, 3.0)),
    _maps(pointwise.stop_gradient, lambda x: x * lax.stop_gradient(x), normal),
    _maps(pointwise.is_finite, lambda x: jnp.isfinite(jnp.log(x)), ties),
    _maps(pointwise.integer_power_op, lambda x: x**3, normal),
    _maps(pointwise.convert_op, lambda x: x.astype(np.float16), whole(-4, 4)),
    _maps(pointwise.reduce_precision, lambda x: lax.reduce_precision(x, 5, 7), normal),
    _maps(pointwise.name, lambda x: jnp.sin(checkpoint_name(x * x, "it's")), normal),
)


def _of_one_shape(fun: Callable[..., Any]) -> Callable[..., Any]:
    """A function that leaves broadcasting to its caller."""
    return lambda *xs: fun(*jnp.broadcast_arrays(*xs))


BINARY = (
    _maps(pointwise.add, jnp.add, normal, normal),
    _maps(pointwise.sub, jnp.subtract, normal, normal),
    _maps(pointwise.mul, jnp.multiply, normal, normal),
    _maps(pointwise.div, jnp.divide, normal, several),
    _maps(pointwise.maximum, jnp.maximum, spaced, normal),
    _maps(pointwise.minimum, jnp.minimum, spaced, normal),
    _maps(pointwise.power, jnp.power, positive, normal),
    _maps(pointwise.arctan2, jnp.arctan2, several, several),
    _maps(pointwise.logaddexp, jnp.logaddexp, normal, normal),
    _maps(pointwise.rem, jnp.fmod, between(2.0, 5.0), apart_from_zero(0.3, 1.9)),
    _maps(pointwise.eq, jnp.equal, ties, ties),
    _maps(pointwise.ne, jnp.not_equal, ties, ties),
    _maps(pointwise.lt, jnp.less, ties, ties),
    _maps(pointwise.le, jnp.less_equal, ties, ties),
    _maps(pointwise.gt, jnp.greater, ties, ties),
    _maps(pointwise.ge, jnp.greater_equal, ties, ties),
    _maps(pointwise.eq_to, _of_one_shape(lax.eq_to_p.bind), ties, ties),
    _maps(pointwise.lt_to, _of_one_shape(lax.lt_to_p.bind), ties, ties),
    _maps(pointwise.le_to, _of_one_shape(lax.le_to_p.bind), ties, ties),
    _maps(pointwise.nextafter, jnp.nextafter, ties, ties, order=0),
)

SPECIAL = (
    _maps(special.lgamma, jax.scipy.special.gammaln, positive),
    _maps(special.digamma, jax.scipy.special.digamma, positive),
    _maps(special.polygamma, lambda x: jax.scipy.special.polygamma(2, x), positive),
    _maps(
        special.polygamma,
        _of_one_shape(lambda n, x: lax.polygamma(lax.stop_gradient(n), x)),
        whole(1, 3),
        positive,
        about="varying order",
    ),
    _maps(special.zeta, _of_one_shape(lax.zeta), between(1.5, 4), positive, order=0),
    _maps(special.igamma, jax.scipy.special.gammainc, positive, positive, order=1),
    _maps(special.igammac, jax.scipy.special.gammaincc, positive, positive, order=1),
    _maps(special.igamma, lambda x: jax.scipy.special.gammainc(2.5, x), positive, about="in x"),
    _maps(special.igammac, lambda x: jax.scipy.special.gammaincc(2.5, x), positive, about="in x"),
    _maps(special.igamma_grad_a, _of_one_shape(lax.igamma_grad_a), positive, positive, order=0),
    _maps(
        special.regularized_incomplete_beta,
        lambda x: jax.scipy.special.betainc(1.5, 2.5, x),
        between(0.1, 0.9),
    ),
    _maps(tails.log_ndtr_op, jax.scipy.special.log_ndtr, normal),
    _maps(entropy.xlogy, jax.scipy.special.xlogy, normal, positive),
    _maps(entropy.xlog1py, jax.scipy.special.xlog1py, normal, positive),
    _maps(special.bessel_i0e, jax.scipy.special.i0e, several),
    _maps(special.bessel_i1e, jax.scipy.special.i1e, several),
    _maps(special.bessel_i1e, jax.scipy.special.i1e, ties, about="at 0"),
)

COMPLEX = (
    _maps(
        pointwise.complex_,
        lambda x, y: jnp.real(lax.complex(*jnp.broadcast_arrays(x, y)) ** 2),
        normal,
        normal,
    ),
    _maps(pointwise.real, lambda x: jnp.real(lax.complex(x, x) * (2 - 1j)), normal),
    _maps(pointwise.imag, lambda x: jnp.imag(lax.complex(x, x) ** 3), normal),
    _maps(pointwise.conj, lambda x: jnp.imag(jnp.conj(lax.complex(x, 2 * x)) * (x + 1j)), normal),
    _maps(pointwise.magnitude, lambda x: jnp.abs(lax.complex(x, x * x)), several),
)
"""Real functions by way of complex numbers."""

ENTRYWISE = (
    *UNARY,
    *BINARY,
    *SPECIAL,
    *COMPLEX,
    _maps(pointwise.select, jnp.where, _boolean(), normal, normal),
    _maps(pointwise.clamp, lax.clamp, between(-2, -0.1), normal, between(0.1, 2)),
)

KINKS = (
    _maps(pointwise.maximum, jnp.maximum, ties, ties, about="ties"),
    _maps(pointwise.minimum, jnp.minimum, ties, ties, about="ties"),
    _maps(pointwise.maximum, lambda x: jnp.maximum(x, 0), ties, about="with zero"),
    _maps(pointwise.minimum, lambda x: jnp.minimum(0, x), ties, about="with zero"),
    _maps(pointwise.maximum, lambda x: jnp.maximum(x, x), ties, about="with itself"),
    _maps(pointwise.abs_, jnp.abs, ties, about="kink"),
    _maps(pointwise.abs_, lambda x: jnp.abs(-x), ties, about="kink at minus zero"),
    _maps(pointwise.relu, jax.nn.relu, ties, about="kink"),
    _maps(pointwise.clamp, lambda x: lax.clamp(-1.0, x, 1.0), ties, about="bounds"),
    _maps(pointwise.maximum, lambda x: jnp.clip(x, -1, 1), ties, about="clip at bounds"),
    _maps(pointwise.clamp, lax.clamp, ties, ties, ties, about="ties"),
    _maps(pointwise.sign, jnp.sign, ties, about="zero"),
    _maps(pointwise.round_, jnp.round, lambda g, s: whole(-3, 3)(g, s) / 2, about="halves"),
    _maps(pointwise.round_, lax.round, lambda g, s: whole(-3, 3)(g, s) / 2, about="away from 0"),
    _maps(pointwise.floor, jnp.floor, ties, about="whole"),
    _maps(pointwise.rem, lax.rem, lambda g, s: whole(-5, 5)(g, s) / 4, several, about="signs"),
    _maps(pointwise.power, lambda x: x**2.5, between(0, 2), about="fraction"),
    _maps(pointwise.power, lambda x: 2.0**x, normal, about="of a number"),
    _maps(pointwise.power, lambda x, n: x**n, several, _integer(-3, 3), about="integers"),
    _maps(pointwise.power, lambda x, y: x**y, whole(0, 2), whole(1, 3), about="zero base", order=1),
    _maps(pointwise.power, lambda x, n: x**n, ties, _integer(0, 3), about="integers at 0", order=1),
    _maps(pointwise.integer_power_op, lambda x: x**-1, several, about="-1"),
    _maps(pointwise.integer_power_op, lambda x: x**-2, several, about="-2"),
    _maps(pointwise.integer_power_op, lambda x: x**5, ties, about="5 at 0"),
    _maps(pointwise.integer_power_op, lambda x: lax.pow(x, -3.0), several, about="-3.0"),
    _of(reduce.reduce_max, lambda x: x.max(1), Operand(ties, (3, 5)), about="ties"),
    _of(reduce.reduce_min, lambda x: x.min((0, 2)), Operand(ties, (2, 2, 4)), about="ties"),
    _of(reduce.reduce_max, jnp.max, Operand(lambda g, s: np.full(s, 2.0), (2, 2)), about="equal"),
    _of(reduce.argmax, lambda x: jnp.argmax(x, 1), Operand(ties, (3, 5)), about="ties"),
)
"""Where operations are not smooth, or almost not defined."""


SHAPE = (
    _of(shape.broadcast, lambda x: jnp.broadcast_to(x[:, None], (2, 3, 4)), (2, 4)),
    _of(shape.broadcast, lambda x: jnp.broadcast_to(x, (2, 3, 4)), (3, 1), about="from ones"),
    _of(
        shape.broadcast,
        lambda x: lax.broadcast_in_dim(x, (3, 2, 4, 1), (1, 2)),
        (2, 1),
        about="middle axes",
    ),
    _of(shape.broadcast, lambda x: jnp.full((2, 3), x), (), about="scalar"),
    _of(shape.broadcast, lambda x: jnp.broadcast_to(x, (0, 3)), (3,), about="empty"),
    _of(shape.reduce_sum, jnp.sum, (2, 3)),
    _of(shape.reduce_sum, lambda x: x.sum((0, 2)), (2, 3, 2), about="two axes"),
    _of(shape.reduce_sum, lambda x: x.sum(1), (2, 0), about="empty"),
    _of(shape.reduce_sum, lambda x: x.mean(-1, keepdims=True), (2, 3, 2), about="mean"),
    _of(shape.reshape_op, lambda x: x.reshape(3, 4), (2, 3, 2)),
    _of(shape.reshape_op, lambda x: x.ravel()[:, None], (2, 3), about="new axis"),
    _of(shape.reshape_op, lambda x: x.reshape(()), (1, 1), about="to scalar"),
    _of(shape.reshape_op, lambda x: x.reshape(1, 1), (), about="from scalar"),
    _of(shape.reshape_op, lambda x: x.reshape(0, 2), (3, 0), about="empty"),
    _of(shape.reshape_op, lambda x: jnp.squeeze(x, 1), (2, 1, 3), about="squeeze"),
    _of(shape.reshape_op, lambda x: x.reshape(1, 3, 1, 1), (3, 1), about="unit axes"),
    _of(shape.transpose, lambda x: x.T, (2, 3)),
    _of(shape.transpose, lambda x: jnp.transpose(x, (2, 0, 1)), (2, 3, 4), about="cycle"),
    _of(shape.transpose, lambda x: jnp.transpose(x, (1, 3, 0, 2)), (2, 3, 1, 2), about="rank 4"),
    _of(shape.slice_, lambda x: x[1:, :2], (3, 4)),
    _of(shape.slice_, lambda x: x[::2, 1::3], (5, 6), about="strides"),
    _of(shape.slice_, lambda x: lax.slice(x, (1, 0), (4, 5), (2, 4)), (5, 6), about="strides end"),
    _of(shape.slice_, lambda x: x[2:2], (4, 2), about="empty"),
    _of(shape.slice_, lambda x: lax.slice(x, (1,), (1,), (3,)), (4,), about="empty strides"),
    _of(shape.pad, lambda x: jnp.pad(x, ((1, 2), (0, 1))), (2, 3)),
    _of(shape.pad, lambda x: jnp.pad(x, 1, constant_values=2.5), (2, 3), about="with a number"),
    _of(
        shape.pad,
        lambda x, v: lax.pad(x, v, ((1, 2, 1), (0, -1, 2))),
        (2, 3),
        (),
        about="interior and crop",
    ),
    _of(shape.pad, lambda x, v: lax.pad(x, v, ((-1, -1, 0), (2, 0, 0))), (3, 2), (), about="crop"),
    _of(
        shape.pad,
        lambda x, v: lax.pad(x, v, ((-2, 3, 1), (0, 0, 0))),
        (3, 2),
        (),
        about="crop after interior",
    ),
    _of(shape.pad, lambda x, v: lax.pad(x, v, ((1, 1, 2),)), (0,), (), about="empty"),
    _of(shape.concatenate, lambda x, y: jnp.concatenate([x, y, x], 1), (2, 3), (2, 1)),
    _of(shape.concatenate, lambda x, y: jnp.concatenate([x, y]), (0, 3), (2, 3), about="empty"),
    _of(shape.concatenate, lambda x, y: jnp.stack([x, y, y], -1), (2, 3), (2, 3), about="stack"),
    _of(shape.reverse, lambda x: jnp.flip(x, (0, 2)), (2, 3, 2)),
    _of(shape.reverse, lambda x: x[::-1], (3, 2), about="by slicing"),
    _of(shape.iota, lambda x: x * jnp.arange(3.0, dtype=x.dtype), (2, 3)),
    _of(
        shape.iota,
        lambda x: x * lax.broadcasted_iota(x.dtype, (2, 3), 0),
        (2, 3),
        about="two axes",
    ),
)

REDUCTIONS = (
    _of(reduce.reduce_max, lambda x: x.max(1), Operand(spaced, (3, 4))),
    _of(reduce.reduce_min, lambda x: x.min((0, 2), keepdims=True), Operand(spaced, (2, 3, 2))),
    _of(reduce.reduce_max, lambda x: x.max(1), (0, 3), about="empty"),
    _of(reduce.reduce_and, lambda x: jnp.all(x, 1), _boolean((3, 2))),
    _of(reduce.reduce_or, jnp.any, _boolean((3, 2))),
    _of(reduce.reduce_xor, lambda x: lax.reduce_xor(x, (1,)), _boolean((3, 2))),
    _of(reduce.reduce_xor, lambda x: lax.reduce_xor(x, (1,)), _integer(-9, 9), about="of bits"),
    _of(reduce.argmax, lambda x: jnp.argmax(x, 1), Operand(spaced, (3, 4))),
    _of(reduce.argmax, jnp.argmax, Operand(spaced, (2, 3)), about="of all"),
    _of(reduce.argmin, lambda x: jnp.argmin(x, 0), Operand(spaced, (3, 4))),
    _of(reduce.argmin, lambda x: lax.argmin(x, 0, np.int16), Operand(spaced, (4,)), about="int16"),
    _of(reduce.cumsum, lambda x: jnp.cumsum(x, 1), (2, 4)),
    _of(reduce.cumsum, lambda x: lax.cumsum(x, 0, reverse=True), (3, 2), about="reverse"),
    _of(reduce.cumsum, jnp.cumsum, (0,), about="empty"),
    _of(reduce.cumprod, lambda x: jnp.cumprod(x, 1), (2, 4)),
    _of(reduce.cumprod, lambda x: lax.cumprod(x, 0, reverse=True), Operand(ties, (4, 2))),
    _of(reduce.reduce_prod, lambda x: jnp.prod(x, 1), (2, 3)),
    _of(reduce.reduce_prod, lambda x: x.prod((0, 2)), Operand(ties, (2, 3, 2)), about="zeros"),
    _of(reduce.reduce_prod, lambda x: x.prod(0), (0, 2), about="empty"),
    _of(reduce.softmax, jax.nn.softmax, (2, 3)),
    _of(reduce.softmax, lambda x: jax.nn.softmax(x, 1), (2, 3, 2), about="middle axis"),
    _of(reduce.log_softmax, jax.nn.log_softmax, (2, 3)),
    _of(reduce.log_softmax, lambda x: jax.nn.log_softmax(x, 0), (3, 2), about="first axis"),
    _of(reduce.logsumexp, lambda x: jax.nn.logsumexp(x, axis=1), (2, 3)),
    _of(
        reduce.logsumexp,
        lambda x: jax.nn.logsumexp(x, axis=0, keepdims=True),
        (3, 2),
        about="kept",
    ),
    _of(
        reduce.one_hot,
        lambda i, x: x * jax.nn.one_hot(i, 3, dtype=x.dtype),
        _integer(-1, 3, (2,)),
        (2, 3),
    ),
    _of(
        pick.pick,
        lambda i, x: jnp.take_along_axis(x, i[:, None], axis=1)[:, 0],
        _integer(0, 2, (4,)),
        (4, 3),
    ),
    _of(
        pick.pick,
        lambda i, x: jnp.take_along_axis(x, i[None], axis=0)[0],
        _integer(-3, 2, (4,)),
        (3, 4),
        about="from the end",
    ),
    _of(
        reduce.one_hot,
        lambda i, x: x * jax.nn.one_hot(i, 3, dtype=x.dtype, axis=0),
        _integer(0, 2, (2,)),
        (3, 2),
        about="first axis",
    ),
)


def _einsum(subscripts: str, *shapes: Any, about: str = "", **options: Any) -> Sample:
    fun = lambda *operands: jnp.einsum(subscripts, *operands, **options)  # noqa: E731
    return _of(contract.einsum_op, fun, *shapes, about=about or subscripts)


CONTRACTIONS = (
    _of(contract.einsum_op, jnp.matmul, (2, 3), (3, 4)),
    _einsum("ij,kj->ik", (2, 3), (4, 3)),
    _einsum("ji,jk->ik", (3, 2), (3, 4)),
    _einsum("ji,kj->ik", (3, 2), (4, 3)),
    _einsum("ij,jk->ki", (2, 3), (3, 4)),
    _einsum("ij,j->i", (2, 3), (3,)),
    _einsum("i,ij->j", (2,), (2, 3)),
    _einsum("i,i->", (3,), (3,)),
    _einsum("i,j->ij", (2,), (3,)),
    _einsum("bij,bjk->bik", (2, 2, 3), (2, 3, 2)),
    _einsum("bij,kbj->ikb", (2, 2, 3), (2, 2, 3)),
    _einsum("ij,jk,kl->il", (2, 3), (3, 2), (2, 3)),
    _einsum("ij,ij->", (2, 3), (2, 3)),
    _einsum("ijk,k->j", (2, 3, 2), (2,)),
    _einsum("ij,jk->ik", (2, 0), (0, 3), about="empty sum"),
    _einsum("ij,jk->ik", (0, 2), (2, 3), about="empty result"),
    _einsum("ij,jk->ik", (2, 3), (3, 2), about="precision", precision=lax.Precision.HIGHEST),
    _of(contract.einsum_op, lambda x: x.T @ x, (3, 2), about="of one array"),
    _of(contract.einsum_op, lambda x: jnp.dot(x, 2.0 * x), (3,), about="square"),
    _of(
        contract.einsum_op,
        lambda x, y: lax.dot_general(
            x, y, (((2, 0), (0, 2)), ((1,), (1,))), preferred_element_type=x.dtype
        ),
        (2, 3, 4),
        (4, 3, 2),
        about="dot_general",
    ),
    _of(
        contract.einsum_op,
        lambda x, y: jnp.matmul(
            x.astype(np.float16), y.astype(np.float16), preferred_element_type=x.dtype
        ),
        Operand(whole(-4, 4), (2, 3)),
        Operand(whole(-4, 4), (3, 2)),
        about="wider result",
    ),
    _of(
        contract.einsum_op,
        jnp.matmul,
        _integer(-3, 3, (2, 3), np.int8),
        _integer(-3, 3, (3, 2), np.int8),
        about="integers",
    ),
)


@jax.custom_jvp
def _half_slope(x):
    return x * x


@_half_slope.defjvp
def _half_slope_jvp(primals, tangents):
    (x,), (t,) = primals, tangents
    return _half_slope(x), x * t


@jax.custom_jvp
def _polar(r, angle):
    return r * jnp.cos(angle), r * jnp.sin(angle)


@_polar.defjvp
def _polar_jvp(primals, tangents):
    (r, angle), (dr, da) = primals, tangents
    x, y = _polar(r, angle)
    return (x, y), (dr * jnp.cos(angle) - y * da, dr * jnp.sin(angle) + x * da)


def _squares(x, y):
    return jnp.sum(x * x) * y


_clipped_slope = jax.custom_vjp(_squares)
_clipped_slope.defvjp(
    lambda x, y: (_squares(x, y), (x, y)),
    lambda kept, g: (2 * kept[1] * g * jnp.tanh(kept[0]), g * jnp.sum(kept[0] * kept[0])),
)


def _recurrent(h, xs):
    def step(h, x):
        h = jnp.tanh(h + x)
        return h, h * x

    return lax.scan(step, h, xs)


def _closing_scan(w, h, xs):
    def step(carry, x):
        h, n = carry
        return (jnp.sin(w @ h + x), n + 1), None

    return lax.scan(step, (h, 0), xs, reverse=True)[0]


def _power_iteration(x, y):
    def step(carry):
        n, x = carry
        return n + 1, x * y + jnp.sin(x)

    return lax.while_loop(lambda carry: carry[0] < 4, step, (0, x))[1]


def _newton(x):
    """Ends after a number of steps that depends on the operand."""
    return lax.while_loop(
        lambda y: jnp.any(jnp.abs(y * y - x) > 1e-3), lambda y: (y + x / y) / 2, 1 + x / 2
    )


def _random_bits(x):
    return lax.rng_bit_generator(jnp.argsort(x).astype(jnp.uint32), (3,))[1]


BODIES = (
    _of(calls.custom_jvp, _half_slope, (2, 3)),
    _of(calls.custom_jvp, _polar, (3,), (3,), about="two results"),
    _of(calls.custom_vjp, _clipped_slope, (3,), (), forward=False),
    _of(calls.opaque, _random_bits, (4,), order=0, standalone=False),
    _of(loops.scan, _recurrent, (3,), (4, 3)),
    _of(loops.scan, _closing_scan, (2, 2), (2,), (3, 2), about="closing over"),
    _of(
        loops.scan,
        lambda x: lax.fori_loop(0, 3, lambda i, y: y * jnp.cos(x) + i, x),
        (2,),
        about="fori_loop",
    ),
    _of(loops.scan, _recurrent, (2,), (0, 2), about="no iteration"),
    _of(
        loops.scan,
        lambda x: lax.scan(lambda _, row: (None, jnp.sin(row).sum()), None, x)[1],
        (3, 2),
        about="no carry",
    ),
    _of(loops.while_, _power_iteration, (2,), (2,), reverse=False),
    _of(loops.while_, _newton, Operand(positive, (3,)), about="condition", reverse=False),
    _of(
        branch.switch,
        lambda i, x, y: lax.switch(
            i, [lambda x, y: x * y, lambda x, y: jnp.sin(x), jnp.divide], x, y
        ),
        _integer(0, 2, ()),
        (3,),
        Operand(several, (3,)),
    ),
    _of(
        branch.switch,
        lambda x: lax.cond(x[0] > 0, lambda x: x[0] * x, lambda x: jnp.cos(x), x),
        (3,),
        about="cond",
    ),
    _of(
        branch.by_platform,
        lambda x, y: lax.platform_dependent(
            x, y, tpu=jnp.divide, cuda=jnp.divide, default=lambda x, y: x * jnp.sin(y)
        ),
        (3,),
        (3,),
    ),
)

WHOLE = _integer(-9, 9)
COUNT = _integer(1, 4)

INTEGERS = (
    _maps(pointwise.and_, jnp.bitwise_and, WHOLE, WHOLE),
    _maps(pointwise.or_, jnp.bitwise_or, WHOLE, WHOLE),
    _maps(pointwise.xor, jnp.bitwise_xor, WHOLE, WHOLE),
    _maps(pointwise.shift_left, jnp.left_shift, WHOLE, COUNT),
    _maps(
        pointwise.shift_right_logical,
        lambda x, n: lax.shift_right_logical(*jnp.broadcast_arrays(x, n)),
        WHOLE,
        COUNT,
    ),
    _maps(
        pointwise.mulhi,
        _of_one_shape(lax.mulhi),
        _integer(-(2**30), 2**30),
        _integer(-(2**30), 2**30),
    ),
    _maps(pointwise.shift_right_arithmetic, jnp.right_shift, WHOLE, COUNT),
    _maps(pointwise.div, jnp.floor_divide, WHOLE, COUNT, about="of integers"),
    _maps(pointwise.rem, jnp.remainder, WHOLE, COUNT, about="of integers"),
    _maps(pointwise.and_, jnp.logical_and, _boolean(), _boolean(), about="logical"),
    _maps(pointwise.or_, jnp.logical_or, _boolean(), _boolean(), about="logical"),
    _maps(pointwise.xor, jnp.logical_xor, _boolean(), _boolean(), about="logical"),
)

BITS = (
    _of(pointwise.not_, jnp.bitwise_not, WHOLE),
    _of(pointwise.not_, jnp.logical_not, _boolean(), about="logical"),
    _of(pointwise.clz, lax.clz, WHOLE),
    _of(pointwise.population_count, lax.population_count, WHOLE),
    _of(
        pointwise.bitcast,
        lambda x: lax.bitcast_convert_type(x, np.int32),
        Operand(dtype=np.float32),
    ),
    _of(
        pointwise.bitcast,
        lambda x: lax.bitcast_convert_type(x, np.uint8),
        Operand(dtype=np.float32),
        about="to narrower",
    ),
    _of(
        pointwise.bitcast,
        lambda x: lax.bitcast_convert_type(x, np.float32),
        _integer(0, 100, (3, 4), np.uint8),
        about="to wider",
    ),
)

PLAIN = (
    _of(argument, lambda x: x, (2, 3)),
    _of(literal, lambda x: 2.5 * x + 1, (2, 3)),
    _of(captured, lambda x: x * TABLE.astype(x.dtype), (2, 3), standalone=False),
    _of(item, lambda x: lax.top_k(x, 2), Operand(spaced, (2, 4))),
)
"""Nodes that every graph is made of."""

TABLE = np.arange(6).reshape(2, 3) - 2

SAMPLES = (
    *ENTRYWISE,
    *KINKS,
    *SHAPE,
    *REDUCTIONS,
    *CONTRACTIONS,
    *BODIES,
    *INTEGERS,
    *BITS,
    *PLAIN,
)


@dataclass(frozen=True)
class Made:
    """An operation that derivatives make, built here by hand.

    Attributes:
        op: the operation.
        build: its node, from the operands' nodes.
        fun: the same function in JAX.
        operands: what to call it with.
    """

    op: Op
    build: Callable[..., Expr | tuple[Expr, ...]]
    fun: Callable[..., Any]
    operands: tuple[Operand, ...] = field(default=())
    about: str = ""

    def __str__(self) -> str:
        return f"{self.op.name}:{self.about}" if self.about else self.op.name


def _recurrence(a, b, reverse=False):
    """y[i] = a[i] y[i - 1] + b[i] along the first axis."""

    def step(y, row):
        y = row[0] * y + row[1]
        return y, y

    return lax.scan(step, jnp.zeros_like(b[0]), (a, b), reverse=reverse)[1]


def _rows(w: Expr, x: Expr) -> tuple[Expr, ...]:
    row = fresh(x.type.with_shape(x.shape[1:]))
    return batch.batched([row], [pointwise.sin(w * row), row], [x], x.shape[0])


def _made_of(op: Op, fun: Callable[..., Any], *domains: Domain) -> Made:
    """An operation on numbers that derivatives make, for arrays."""
    return Made(op, lambda *xs: (op(*xs),), lambda *xs: (fun(*xs),), tuple(map(Operand, domains)))


ACCURATE = (
    _made_of(pointwise.sech_squared, lambda x: 1 - jnp.tanh(x) ** 2, normal),
    _made_of(pointwise.logistic_slope, lambda x: jax.nn.sigmoid(x) * jax.nn.sigmoid(-x), normal),
    _made_of(companions.sigmoid, jax.nn.sigmoid, normal),
    _made_of(companions.sigmoid_of_minus, lambda x: jax.nn.sigmoid(-x), normal),
    _made_of(companions.softplus, jax.nn.softplus, normal),
    _made_of(companions.softplus_of_minus, lambda x: jax.nn.softplus(-x), normal),
    _made_of(pointwise.difference_of_squares, lambda x, y: x**2 - y**2, normal, normal),
    Made(
        pointwise.difference_of_powers,
        lambda x, y: (pointwise.difference_of_powers(x, y, exponent=6),),
        lambda x, y: (x**6 - y**6,),
        (Operand(several), Operand(several)),
    ),
    _made_of(pointwise.exact_sum, lambda x, y, z: x + y + z, normal, normal, normal),
    _made_of(products.over_one_plus_square, lambda x: x / (1 + x**2), several),
    Made(
        products.saturation,
        lambda x, c: (products.saturation(x, c, top=2, exponent=4),),
        lambda x, c: (x**2 / (c + x**4),),
        (Operand(several), Operand(positive)),
    ),
    _made_of(products.log1p_tanh, lambda x: jnp.log1p(jnp.tanh(x)), normal),
    _made_of(products.log1p_square, lambda x: jnp.log(1 + x**2), normal),
    Made(
        products.product_by_logs,
        lambda x: (products.product_by_logs(x, axes=(1,)),),
        lambda x: (jnp.prod(x, 1),),
        (Operand(positive),),
    ),
    _made_of(waves.sin_of_sum, lambda x, y: jnp.sin(x + y), normal, normal),
    _made_of(waves.cos_of_sum, lambda x, y: jnp.cos(x + y), normal, normal),
    _made_of(
        waves.difference_of_tangents,
        lambda x, d: jnp.tan(x + d) - jnp.tan(x),
        between(-0.6, 0.6),
        between(-0.6, 0.6),
    ),
    _made_of(differences.root_of_square_plus, lambda x, y: jnp.sqrt(x**2 + y), several, positive),
    _made_of(
        differences.relative_root_minus,
        lambda x, y: 1 - x / jnp.sqrt(x**2 + y),
        several,
        positive,
    ),
    _made_of(differences.root_minus, lambda x, y: jnp.sqrt(x**2 + y) - x, several, positive),
    Made(
        products.log_of_factors,
        lambda x, y, z: (products.log_of_factors(x, y, z, above=2),),
        lambda x, y, z: (jnp.log(x * y / z),),
        (Operand(positive), Operand(positive), Operand(positive)),
    ),
    _made_of(products.log_softplus, lambda x: jnp.log(jax.nn.softplus(x)), normal),
    _made_of(products.softplus_hazard, lambda x: jax.nn.sigmoid(x) / jax.nn.softplus(x), normal),
    _made_of(shares.overflow_shift, jnp.zeros_like, normal),
    _made_of(shares.exp_within_range, jnp.exp, normal),
    _made_of(shares.share, lambda x, c: x / (x + c), positive, positive),
    _made_of(shares.softsign, lambda x, c: x / (c + jnp.abs(x)), normal, positive),
    _made_of(shares.over_hypotenuse, lambda x, c: x / jnp.sqrt(c + x**2), normal, positive),
    _made_of(shares.inverse_hypotenuse, lambda x, c: 1 / jnp.sqrt(c + x**2), normal, positive),
    *(
        Made(
            shares.exponential_quotient,
            lambda *xs, f=f, g=g: (
                shares.exponential_quotient(
                    *xs, less_above=f is jnp.expm1, less_below=g is jnp.expm1
                ),
            ),
            lambda x, a, b, c, d, f=f, g=g: ((a * f(x) + b) / (c * g(x) + d),),
            tuple(map(Operand, (positive, normal, normal, positive, positive))),
        )
        for f, g in itertools.product((jnp.exp, jnp.expm1), repeat=2)
    ),
    _made_of(shares.geometric_mean, lambda x, y: jnp.sqrt(x * y), positive, positive),
    _made_of(pointwise.lorentzian, lambda x: 1 / (1 + x**2), normal),
    _made_of(pointwise.reciprocal_hypotenuse, lambda x: 1 / jnp.sqrt(1 + x**2), normal),
    _made_of(pointwise.gaussian, lambda x: jnp.exp(-(x**2)), normal),
    Made(
        pointwise.gaussian_derivative,
        lambda x: (pointwise.gaussian_derivative(x, order=2),),
        lambda x: ((4 * x**2 - 2) * jnp.exp(-(x**2)),),
        (Operand(normal),),
    ),
    *(
        Made(
            op,
            lambda x, y, op=op: (op(x, y, limit=1.0),),
            lambda x, y, power=power: (x / y**power,),
            (Operand(several), Operand(several)),
        )
        for op, power in ((differences.over_roots_op, 1), (differences.over_squared_roots_op, 2))
    ),
    Made(
        differences.reciprocal_difference_op,
        lambda x, y: (differences.reciprocal_difference_op(x, y, x - y),),
        lambda x, y: (1 / x - 1 / y,),
        (Operand(several), Operand(several)),
    ),
    _made_of(pointwise.over_squared_length, lambda x, y: y / (x**2 + y**2), several, several),
)


def _made(op: Op, fun: Callable[..., Any], *domains: Domain, **params: Any) -> Made:
    """A function of the stable family; what it is called with is in its domain."""
    operands = tuple(Operand(d) for d in domains)
    about = ", ".join(f"{k}={v}" for k, v in params.items())
    return Made(op, lambda *xs: (op(*xs, **params),), lambda *xs: (fun(*xs),), operands, about)


def _weighted(x: Any, weights: Any, axis: int) -> Any:
    return jnp.log(jnp.abs(jnp.sum(weights * jnp.exp(x), axis)))


def _sign_of_weighted(x: Any, weights: Any) -> Any:
    return jnp.sign(jnp.sum(weights * jnp.exp(x), 1))


def _slope(fun: Callable[[Any], Any], x: Any) -> Any:
    return jax.jvp(fun, (x,), (jnp.ones_like(x),))[1]


def _hazard(x: Any) -> Any:
    return 2 * math.pi**-0.5 * jnp.exp(-x * x) / jax.scipy.special.erfc(x)


STABLE = (
    _made(stable.log_abs, lambda x: jnp.log(jnp.abs(x)), several),
    _made(stable.bose, lambda x: 1 / jnp.expm1(x), several),
    _made(stable.over_expm1, lambda x, y: x / jnp.expm1(y), normal, several),
    _made(stable.over_sinh, lambda x, y: x / jnp.sinh(y), normal, several),
    _made(stable.power_less_one, lambda x, y: (1 + x) ** y - 1, positive, normal),
    _made(stable.log1mexp_op, lambda x: jnp.log(1 - jnp.exp(x)), between(-3.0, -0.3)),
    _made(stable.log_cosh_op, lambda x: jnp.log(jnp.cosh(x)), several),
    _made(stable.sech, lambda x: 1 / jnp.cosh(x), normal),
    _made(
        stable.weighted_logsumexp,
        lambda x, w: _weighted(x, w, 1),
        normal,
        positive,
        axis=1,
        signed=False,
    ),
    _made(
        stable.weighted_logsumexp,
        lambda x, w: _weighted(x, w, 0),
        normal,
        several,
        axis=0,
        signed=True,
    ),
    _made(tails.log_erfc_op, lambda x: jnp.log(jax.scipy.special.erfc(x)), normal),
    _made(tails.erfc_hazard_op, _hazard, between(-2.0, 4.0)),
    _made(tails.hazard_excess_op, lambda x: _hazard(x) - 2 * x, normal),
    _made(tails.hazard_slope_op, lambda x: _slope(_hazard, x), normal),
    _made(tails.hazard_excess_slope_op, lambda x: _slope(_hazard, x) - 2, normal),
    _made(
        tails.hazard_curvature_op,
        lambda x: _slope(lambda t: _slope(_hazard, t), x),
        normal,
    ),
    _made(tails.ndtr, lambda x: jax.scipy.special.erfc(-x * 0.5**0.5) / 2, normal),
    _made(entropy.times_log_op, lambda x, y: x * jnp.log(y), several, positive),
    _made(entropy.power_times_log_op, lambda x: x**3 * jnp.log(x), positive, exponent=3),
    _made(entropy.times_log1p_op, lambda x, y: x * jnp.log1p(y), several, positive),
    _made(entropy.relative_entropy_op, lambda x, y: x * jnp.log(x / y), positive, positive),
    _made(entropy.x_exp_x_op, lambda x: x * jnp.exp(x), normal),
    _made(entropy.times_masked_op, lambda x, y: x * y, several, several),
    _made(entropy.masked_logaddexp, jnp.logaddexp, normal, normal),
    Made(
        reduce.softmax_slope,
        lambda x, z: (reduce.softmax_slope(x, reduce.softmax(z, axis=1), axis=1),),
        lambda x, z: (jax.jvp(lambda z: jax.nn.softmax(z, 1), (z,), (x,))[1],),
        (Operand(shape=(2, 3)), Operand(shape=(2, 3))),
    ),
    Made(
        reduce.log_softmax_slope,
        lambda x, z: (reduce.log_softmax_slope(x, reduce.softmax(z, axis=1), axis=1),),
        lambda x, z: jax.vjp(lambda z: jax.nn.log_softmax(z, 1), z)[1](x),
        (Operand(shape=(2, 3)), Operand(shape=(2, 3))),
    ),
    _made(odds.one_minus_softmax_op, lambda x: 1 - jax.nn.softmax(x, 0), normal, axis=0),
    Made(
        odds.log_odds_op,
        lambda x: (odds.log_odds_op(x, axis=1),),
        lambda x: (jax.scipy.special.logit(jax.nn.softmax(x, 1)),),
        (Operand(shape=(2, 3)),),
    ),
    _made(entropy.masked_weights_op, lambda x: jax.nn.softmax(x, 0), normal, axis=0),
    _made(entropy.masked_softmax, lambda x: jax.nn.softmax(x, 0), normal, axis=0),
    _made(entropy.masked_log_softmax, lambda x: jax.nn.log_softmax(x, 0), normal, axis=0),
    _made(
        companions.product_of_others,
        lambda x: jax.grad(lambda x: jnp.sum(jnp.prod(x, 0)))(x),
        normal,
        axis=0,
    ),
    _made(companions.logsumexp, lambda x: jax.nn.logsumexp(x, 0), normal, axis=0),
    _made(entropy.masked_logsumexp, lambda x: jax.nn.logsumexp(x, 0), normal, axis=0),
    _made(stable.weighted_sum_sign, _sign_of_weighted, normal, several, axis=1),
)


def _deviations(x, axes):
    return x - jnp.mean(x, axes, keepdims=True)


def _common_mean(x, y):
    return (lax.stop_gradient(jnp.mean(jnp.concatenate([x, y], 1), 1)),)


LENGTHS = (
    _made_of(norm.ratio, jnp.divide, normal, several),
    Made(
        norm.direction,
        lambda x, y: (norm.direction(x, y, norm.hypot(x, y)),),
        lambda x, y: (x / jnp.sqrt(x**2 + y**2),),
        (Operand(several), Operand(several)),
    ),
    _made_of(norm.hypot, lambda x, y: jnp.sqrt(x**2 + y**2), several, several),
    _made_of(norm.length, jnp.abs, several),
    Made(
        norm.unit_op,
        lambda x: (norm.unit(x, (1,)),),
        lambda x: (x / jnp.sqrt(jnp.sum(x**2, 1, keepdims=True)),),
        (Operand(several),),
    ),
    Made(
        norm.cosine_op,
        lambda x, y: (
            norm.cosine_op(
                x, y, 1 / norm.norm(x, axes=(1,)), 1 / norm.norm(y, axes=(1,)), axes=(1,)
            ),
        ),
        lambda x, y: (jnp.sum(x * y, 1) / jnp.sqrt(jnp.sum(x**2, 1)) / jnp.sqrt(jnp.sum(y**2, 1)),),
        (Operand(several), Operand(several)),
    ),
    _made(norm.norm, lambda x: jnp.sqrt(jnp.sum(x**2, 0)), several, axes=(0,)),
)


def _sine_series(x: Any) -> tuple[Any]:
    """The first terms, enough close to zero."""
    return (sum((-1) ** k * x ** (2 * k) / math.factorial(2 * k + 1) for k in range(8)),)


def _sine_quotient(x: Expr) -> tuple[Expr]:
    t = variable(x.dtype)
    series = tuple((-1) ** (k // 2) / math.factorial(k + 1) * (1 - k % 2) for k in range(44))
    return (limit_op(x, function=pointwise.sin(t) / t, centre=0.0, side=0, series=series),)


LIMITS = (
    Made(limit_op, _sine_quotient, lambda x: (jnp.sin(x) / x,), (Operand(several),)),
    Made(limit_op, _sine_quotient, _sine_series, (Operand(between(-0.1, 0.1)),), "near"),
)


def _exponential(x: Expr) -> tuple[Expr]:
    """Of the symmetric part, by its eigenvectors."""
    whole = x + shape.transpose(x, permutation=(1, 0))
    options = {"lower": True, "sort_eigenvalues": True, "subset": None, "algorithm": None}
    v, w = results(linalg.eigh(whole, **options))
    return (spectral.matrix_function(whole, v, w, function=pointwise.exp(variable(x.dtype))),)


def _polar_factor(x: Expr) -> tuple[Expr]:
    options = {"full_matrices": False, "compute_uv": True, "subset": None, "algorithm": None}
    u, s, vh = results(linalg.svd(x, **options))
    return (spectral.polar_factor(x, u, s, vh),)


def _polar_by_root(x: Any) -> tuple[Any]:
    """x over the root of xᵀ x, or of x xᵀ where that is smaller."""
    if x.shape[0] < x.shape[1]:
        return (_polar_by_root(x.T)[0].T,)
    w, v = jnp.linalg.eigh(x.T @ x)
    return (x @ (v / jnp.sqrt(w)) @ v.T,)


MATRICES = (
    *(
        Made(spectral.polar_factor, _polar_factor, _polar_by_root, (Operand(shape=shape),), label)
        for shape, label in (((3, 3), ""), ((4, 3), "tall"), ((3, 4), "wide"))
    ),
    Made(
        spectral.matrix_function,
        _exponential,
        lambda x: (jax.scipy.linalg.expm(x + x.T),),
        (Operand(between(-0.5, 0.5), (3, 3)),),
    ),
)

MADE = (
    Made(
        assume.assumed,
        lambda x: (assume.assumed(x, facts=("symmetric",)),),
        lambda x: (x,),
        (Operand(shape=(3, 3)),),
    ),
    *ACCURATE,
    *MATRICES,
    *LENGTHS,
    *LIMITS,
    Made(
        moments.centered,
        lambda x: (moments.centered(x, axes=(0, 2)),),
        lambda x: (_deviations(x, (0, 2)),),
        (Operand(shape=(2, 3, 4)),),
    ),
    Made(
        moments.squared_deviations,
        lambda x: (moments.squared_deviations(x, axes=(1,)),),
        lambda x: (jnp.sum(_deviations(x, (1,)) ** 2, 1),),
        (Operand(shape=(2, 3)),),
    ),
    Made(
        products.power_of_product,
        lambda x: (products.power_of_product(x, axes=(0, 2), exponent=0.25),),
        lambda x: (jnp.prod(x, (0, 2)) ** 0.25,),
        (Operand(between(0.5, 2), (2, 3, 2)),),
    ),
    Made(
        products.product_of_others_by_logs,
        lambda x: (products.product_of_others_by_logs(x, axes=(0, 2)),),
        lambda x: (jnp.prod(x, (0, 2), keepdims=True) / x,),
        (Operand(between(0.5, 2), (2, 3, 2)),),
    ),
    Made(
        distances.common_point,
        lambda x, y: (distances.common_point(x, y),),
        _common_mean,
        (Operand(between(3, 4), (2, 3, 4)), Operand(between(3, 4), (2, 5, 4))),
    ),
    Made(
        distances.squared_distances,
        lambda x, y: (distances.squared_distances(x, y, precision=None),),
        lambda x, y: (jnp.sum((x[:, :, None] - y[:, None]) ** 2, -1),),
        (Operand(shape=(2, 3, 4)), Operand(shape=(2, 5, 4))),
    ),
    Made(
        reduce.recurrence,
        lambda a, b: (reduce.recurrence(a, b, axis=0, reverse=False),),
        lambda a, b: (_recurrence(a, b),),
        (Operand(shape=(4, 2)), Operand(shape=(4, 2))),
    ),
    Made(
        reduce.recurrence,
        lambda a, b: (reduce.recurrence(a, b, axis=0, reverse=True),),
        lambda a, b: (_recurrence(a, b, reverse=True),),
        (Operand(shape=(3,)), Operand(shape=(3,))),
        about="reverse",
    ),
    *STABLE,
    Made(
        batch.batched_op,
        _rows,
        jax.vmap(lambda w, row: (jnp.sin(w * row), row), (None, 0)),
        (Operand(shape=(3,)), Operand(shape=(2, 3))),
    ),
)
