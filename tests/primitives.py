"""JAX's primitives: programs that use each one, or why no program of a user's can.

A case names the primitive, a function that uses it through a public interface, and operands.
Those without a dtype of their own take every dtype in `dtypes`; the first is the usual one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.experimental import io_callback
from jax.experimental.layout import Layout, with_layout_constraint
from jax.extend.core import primitives
from jax.extend.random import threefry_2x32
from jax.interpreters import ad
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from samples import Operand, between, inside, normal, positive, several, spaced, whole

Shape = tuple[int, ...]

FLOATS = ("float32", "float64", "bfloat16", "float16")
WIDE = ("float32", "float64")
COMPLEX = ("complex64", "complex128")
INTEGERS = ("int32", "int64", "int8", "uint8", "uint32")
BOOLEAN = ("bool",)
FIELD = (*FLOATS, *COMPLEX)
NUMBERS = (*FIELD, *INTEGERS)
ANY = (*NUMBERS, *BOOLEAN)
LAPACK = (*WIDE, *COMPLEX)


@dataclass(frozen=True)
class Case:
    """A program that uses a primitive.

    Attributes:
        primitive: its name in a jaxpr.
        fun: of the operands.
        operands: what to call it with.
        about: what is particular.
        dtypes: of the operands that have none of their own.
        shapes: of all operands, instead of their own.
        late: what JAX refuses not when it traces, but when it compiles.
    """

    primitive: str
    fun: Callable[..., Any]
    operands: tuple[Operand, ...]
    about: str = ""
    dtypes: tuple[str, ...] = FLOATS
    shapes: tuple[Shape | None, ...] = (None,)
    late: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.primitive}:{self.about}" if self.about else self.primitive

    def variants(self) -> list[Variant]:
        """Each dtype, and each shape, the usual ones first."""
        usual, *others = self.shapes
        return [
            *(Variant(self, np.dtype(d), usual) for d in self.dtypes),
            *(Variant(self, np.dtype(self.dtypes[0]), s) for s in others),
        ]


@dataclass(frozen=True)
class Variant:
    """A case in one dtype and shape."""

    case: Case
    dtype: np.dtype
    shape: Shape | None

    def __str__(self) -> str:
        shape = "" if self.shape is None else str(list(self.shape))
        return f"{self.case} {self.dtype.name}{shape}"

    @property
    def wide(self) -> bool:
        """Whether JAX needs to be told that 64 bits are meant."""
        return self.dtype in (np.float64, np.complex128, np.int64)

    def draw(self, draws: np.random.Generator) -> tuple[Any, ...]:
        return tuple(_drawn(o, draws, self.dtype, self.shape) for o in self.case.operands)


def _drawn(
    operand: Operand, draws: np.random.Generator, dtype: np.dtype, shape: Shape | None
) -> np.ndarray:
    """Operands with a dtype of their own keep it; others are as wild as the dtype allows."""
    shape = operand.shape if shape is None else shape
    if operand.dtype is not None:
        return operand.draw(draws, None, shape)
    match dtype.kind:
        case "c":
            imaginary = draws.normal(size=shape)
            return np.asarray(operand.domain(draws, shape) + 1j * imaginary).astype(dtype)
        case "i":
            return np.asarray(several_integers(draws, shape)).astype(dtype)
        case "u":
            return np.asarray(draws.integers(1, 5, shape)).astype(dtype)
        case "b":
            return np.asarray(draws.integers(0, 2, shape)).astype(dtype)
    return operand.draw(draws, dtype, shape)


def several_integers(draws: np.random.Generator, shape: Shape) -> np.ndarray:
    return draws.integers(1, 5, shape) * draws.choice([-1, 1], shape)


def on(
    primitive: str,
    fun: Callable[..., Any],
    *operands: Any,
    about: str = "",
    dtypes: tuple[str, ...] = FLOATS,
) -> Case:
    """A case; a bare tuple is the shape of an operand, a bare function its domain."""
    return Case(primitive, fun, tuple(map(_operand, operands)), about, dtypes)


def _operand(given: Any) -> Operand:
    match given:
        case Operand():
            return given
        case tuple():
            return Operand(shape=given)
    return Operand(given)


def maps(
    primitive: str,
    fun: Callable[..., Any],
    *domains: Any,
    about: str = "",
    dtypes: tuple[str, ...] = FLOATS,
) -> Case:
    """A case that maps over entries, so that any shape will do."""
    case = on(primitive, fun, *domains, about=about, dtypes=dtypes)
    return replace(case, shapes=(None, (), (0, 3)))


def of(dtype: Any, domain: Any = normal, shape: Shape = (2, 3)) -> Operand:
    return Operand(domain, shape, np.dtype(dtype))


def index(below: int, shape: Shape = ()) -> Operand:
    """Positions, also counted from the end."""
    return of(np.int32, whole(-below, below - 1), shape)


unit = between(0.1, 0.9)

ENTRYWISE = (
    maps("abs", lax.abs, several, dtypes=(*FIELD, "int32", "int8")),
    maps("acos", lax.acos, inside, dtypes=FIELD),
    maps("acosh", lax.acosh, between(1.3, 3), dtypes=FIELD),
    maps("add", lax.add, normal, normal, dtypes=NUMBERS),
    maps("add_any", primitives.add_jaxvals_p.bind, normal, normal, dtypes=FIELD),
    maps("and", lax.bitwise_and, normal, normal, dtypes=(*INTEGERS, *BOOLEAN)),
    maps("asin", lax.asin, inside, dtypes=FIELD),
    maps("asinh", lax.asinh, normal, dtypes=FIELD),
    maps("atan", lax.atan, normal, dtypes=FIELD),
    maps("atan2", lax.atan2, several, several),
    maps("atanh", lax.atanh, inside, dtypes=FIELD),
    maps("bessel_i0e", lax.bessel_i0e, several),
    maps("bessel_i1e", lax.bessel_i1e, several),
    maps("cbrt", lax.cbrt, several),
    maps("ceil", lax.ceil, several),
    maps("clamp", lax.clamp, between(-1, 0), several, between(0.1, 1), dtypes=(*FLOATS, "int32")),
    maps("clz", lax.clz, normal, dtypes=INTEGERS),
    maps("complex", lax.complex, normal, normal, dtypes=WIDE),
    maps("conj", lax.conj, normal, dtypes=(*COMPLEX, *WIDE)),
    maps("convert_element_type", lambda x: lax.convert_element_type(x, np.float16), normal,
         about="to half", dtypes=("float32", "float64", "bfloat16", "int32", "bool")),
    maps("convert_element_type", lambda x: lax.convert_element_type(x, np.complex64), normal,
         about="to complex", dtypes=("float32", "float64", "int32", "complex128")),
    maps("convert_element_type", lambda x: lax.convert_element_type(x, np.int8), several,
         about="to whole numbers", dtypes=("float32", "float64", "bfloat16", "int32", "bool")),
    maps("copy", jnp.copy, normal, dtypes=ANY),
    maps("cos", lax.cos, normal, dtypes=FIELD),
    maps("cosh", lax.cosh, normal, dtypes=FIELD),
    maps("digamma", lax.digamma, positive),
    maps("div", lax.div, normal, several, dtypes=NUMBERS),
    maps("eq", lax.eq, normal, normal, dtypes=ANY),
    maps("eq_to", primitives.eq_to_p.bind, normal, normal),
    maps("erf", lax.erf, normal),
    maps("erf_inv", lax.erf_inv, inside),
    maps("erfc", lax.erfc, normal),
    maps("exp", lax.exp, normal, dtypes=FIELD),
    maps("exp2", lax.exp2, normal, dtypes=FIELD),
    maps("expm1", lax.expm1, normal, dtypes=FIELD),
    maps("floor", lax.floor, several),
    maps("ge", lax.ge, normal, normal, dtypes=(*FLOATS, *INTEGERS)),
    maps("gt", lax.gt, normal, normal, dtypes=(*FLOATS, *INTEGERS)),
    maps("igamma", lax.igamma, positive, positive),
    maps("igamma_grad_a", lax.igamma_grad_a, positive, positive),
    maps("igammac", lax.igammac, positive, positive),
    maps("imag", lax.imag, normal, dtypes=COMPLEX),
    maps("integer_pow", lambda x: lax.integer_pow(x, 3), several, about="3", dtypes=NUMBERS),
    maps("integer_pow", lambda x: lax.integer_pow(x, 0), several, about="0", dtypes=NUMBERS),
    maps("integer_pow", lambda x: lax.integer_pow(x, -2), several, about="-2", dtypes=FIELD),
    maps("is_finite", lax.is_finite, normal),
    maps("le", lax.le, normal, normal, dtypes=(*FLOATS, *INTEGERS)),
    maps("le_to", primitives.le_to_p.bind, normal, normal),
    maps("lgamma", lax.lgamma, several),
    maps("log", lax.log, positive, dtypes=FIELD),
    maps("log1p", lax.log1p, between(-0.5, 2), dtypes=FIELD),
    maps("logistic", lax.logistic, normal, dtypes=FIELD),
    maps("lt", lax.lt, normal, normal, dtypes=(*FLOATS, *INTEGERS)),
    maps("lt_to", primitives.lt_to_p.bind, normal, normal),
    maps("max", lax.max, normal, normal, dtypes=(*FLOATS, *INTEGERS, *BOOLEAN)),
    maps("min", lax.min, normal, normal, dtypes=(*FLOATS, *INTEGERS, *BOOLEAN)),
    maps("mul", lax.mul, normal, normal, dtypes=NUMBERS),
    maps("mulhi", lax.mulhi, normal, normal, dtypes=("int32", "uint32")),
    maps("name", lambda x: checkpoint_name(x, "x"), normal, dtypes=FIELD),
    maps("ne", lax.ne, normal, normal, dtypes=ANY),
    maps("neg", lax.neg, normal, dtypes=(*FIELD, "int32", "uint8")),
    maps("nextafter", lax.nextafter, normal, normal, dtypes=WIDE),
    maps("not", lax.bitwise_not, normal, dtypes=(*INTEGERS, *BOOLEAN)),
    maps("optimization_barrier", lax.optimization_barrier, normal, dtypes=ANY),
    maps("or", lax.bitwise_or, normal, normal, dtypes=(*INTEGERS, *BOOLEAN)),
    maps("polygamma", lambda x: lax.polygamma(lax.full_like(x, 1), x), positive),
    maps("population_count", lax.population_count, normal, dtypes=INTEGERS),
    maps("pow", lax.pow, positive, normal, dtypes=FIELD),
    maps("pow", lambda x, n: lax.pow(x, n), several, of(np.int32, whole(-3, 3)),
         about="whole exponents", dtypes=FIELD),
    maps("real", lax.real, normal, dtypes=COMPLEX),
    maps("reduce_precision", lambda x: lax.reduce_precision(x, 5, 7), normal),
    maps("regularized_incomplete_beta", lambda x: lax.betainc(
        jnp.full_like(x, 1.5), jnp.full_like(x, 2.5), x), unit,
         dtypes=WIDE),
    maps("rem", lax.rem, several, several, dtypes=(*FLOATS, *INTEGERS)),
    maps("round", lax.round, several),
    maps("rsqrt", lax.rsqrt, positive, dtypes=FIELD),
    maps("select_n", lax.select_n, of(np.bool_, whole(0, 1)), normal, normal, dtypes=ANY),
    maps("select_n", lax.select_n, of(np.int32, whole(0, 2)), normal, normal, normal,
         about="of three", dtypes=ANY),
    maps("shift_left", lax.shift_left, normal, normal, dtypes=INTEGERS),
    maps("shift_right_arithmetic", lax.shift_right_arithmetic, normal, normal, dtypes=INTEGERS),
    maps("shift_right_logical", lax.shift_right_logical, normal, normal, dtypes=INTEGERS),
    maps("sign", lax.sign, several, dtypes=(*FIELD, "int32", "uint8")),
    maps("sin", lax.sin, normal, dtypes=FIELD),
    maps("sinh", lax.sinh, normal, dtypes=FIELD),
    maps("sqrt", lax.sqrt, positive, dtypes=FIELD),
    maps("square", lax.square, normal, dtypes=NUMBERS),
    maps("stop_gradient", lax.stop_gradient, normal, dtypes=FIELD),
    maps("sub", lax.sub, normal, normal, dtypes=NUMBERS),
    maps("tan", lax.tan, inside, dtypes=FIELD),
    maps("tanh", lax.tanh, normal, dtypes=FIELD),
    maps("xor", lax.bitwise_xor, normal, normal, dtypes=(*INTEGERS, *BOOLEAN)),
    maps("zeta", lax.zeta, between(1.5, 4), positive, dtypes=WIDE),
)  # fmt: skip

BITS = (
    on("bitcast_convert_type", lambda x: lax.bitcast_convert_type(x, np.int32), (2, 3),
       about="to whole numbers", dtypes=("float32",)),
    on("bitcast_convert_type", lambda n: lax.bitcast_convert_type(n, np.float32),
       of(np.int32, whole(2**23, 2**30)), about="to floats"),
)  # fmt: skip


def _update(method: str, **options: Any) -> Callable[..., Any]:
    return lambda x, i, u: getattr(x.at[i], method)(u, **options)


ROWS = (Operand(shape=(4, 3)), index(4, (5,)), Operand(shape=(5, 3)))
ONCE = of(np.int32, lambda draws, shape: np.array([2, 0, 3]), (3,))

SHAPES = (
    on("broadcast_in_dim", lambda x: lax.broadcast_in_dim(x, (2, 4, 3), (0, 2)), (2, 3),
       dtypes=ANY),
    on("broadcast_in_dim", lambda x: jnp.broadcast_to(x, (0, 2)), (2,), about="empty"),
    on("concatenate", lambda x, y: lax.concatenate([x, y, x], 1), (2, 3), (2, 1), dtypes=ANY),
    on("concatenate", lambda x, y: lax.concatenate([x, y], 0), (0, 2), (3, 2), about="empty"),
    on("dynamic_slice", lambda x, i: lax.dynamic_slice(x, (i, i), (2, 2)), (4, 3), index(4),
       dtypes=ANY),
    on("dynamic_update_slice", lambda x, u, i: lax.dynamic_update_slice(x, u, (i, i)), (4, 3),
       (2, 2), index(4), dtypes=ANY),
    on("gather", lambda x, i: x[i], (4, 3), index(4, (5,)), dtypes=ANY),
    on("gather", lambda x, i: jnp.take_along_axis(x, i, 1), (3, 4), index(4, (3, 2)),
       about="along an axis"),
    on("gather", lambda x, i: x.at[i].get(mode="fill", fill_value=2), (4, 3), index(6, (5,)),
       about="filled"),
    on("iota", lambda x: x * lax.iota(x.dtype, 3), (2, 3), dtypes=NUMBERS),
    on("pad", lambda x, v: lax.pad(x, v, ((1, 2, 1), (0, -1, 0))), (2, 3), (), dtypes=ANY),
    on("pad", lambda x, v: lax.pad(x, v, ((1, 1, 2),)), (0,), (), about="empty"),
    on("reshape", lambda x: lax.reshape(x, (3, 4)), (2, 6), dtypes=ANY),
    on("reshape", lambda x: lax.reshape(x, (0, 5)), (3, 0), about="empty"),
    on("rev", lambda x: lax.rev(x, (0, 2)), (2, 3, 2), dtypes=ANY),
    on("scatter", _update("set"), (4, 3), ONCE, (3, 3), dtypes=ANY),
    on("scatter", lambda x, i: lax.scatter_apply(
        x, i[:, None], jnp.sin, lax.ScatterDimensionNumbers((1,), (0,), (0,)),
        update_shape=(3, 3), unique_indices=True), (4, 3), ONCE, about="of a function"),
    on("scatter-add", _update("add"), *ROWS, dtypes=NUMBERS),
    on("scatter-add", _update("add", mode="drop"), Operand(shape=(4, 3)), index(7, (5,)),
       Operand(shape=(5, 3)), about="out of range"),
    on("scatter-max", _update("max"), *ROWS, dtypes=(*FLOATS, "int32")),
    on("scatter-min", _update("min"), *ROWS, dtypes=(*FLOATS, "int32")),
    on("scatter-mul", _update("multiply", unique_indices=True), (4, 3), ONCE, (3, 3),
       dtypes=NUMBERS),
    on("scatter-mul", _update("multiply"), *ROWS, about="more than once", dtypes=NUMBERS),
    on("scatter-sub", _update("subtract"), *ROWS, dtypes=NUMBERS),
    on("slice", lambda x: lax.slice(x, (1, 0), (4, 5), (2, 3)), (5, 6), dtypes=ANY),
    on("slice", lambda x: lax.slice(x, (1, 0), (1, 5)), (5, 6), about="empty"),
    on("split", lambda x: lax.split(x, (1, 3, 0), axis=1), (2, 4), dtypes=ANY),
    on("squeeze", lambda x: lax.squeeze(x, (0, 2)), (1, 3, 1), dtypes=ANY),
    on("stack", lambda x, y: lax.stack([x, y, x], axis=1), (2, 3), (2, 3), dtypes=ANY),
    on("tile", lambda x: jnp.tile(x, (2, 3)), (2, 2), dtypes=ANY),
    on("transpose", lambda x: lax.transpose(x, (2, 0, 1)), (2, 3, 4), dtypes=ANY),
    on("unstack", lambda x: lax.unstack(x, axis=1), (2, 3), dtypes=ANY),
)  # fmt: skip

distinct = Operand(spaced, (3, 4))


def _windows(init: Any, fun: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: lax.reduce_window(x, np.array(init, x.dtype), fun, (2, 3), (1, 2), "SAME")


def _winner_gets_it(x: Any) -> Any:
    """The transpose of taking the largest entry of each window."""
    return jax.vjp(_windows(-np.inf, lax.max), x)[1]


REDUCTIONS = (
    on("approx_top_k", lambda x: lax.approx_max_k(x, 2, recall_target=1.0), distinct,
       dtypes=WIDE[:1]),
    on("argmax", lambda x: lax.argmax(x, 1, np.int32), distinct, dtypes=(*FLOATS, "int32")),
    on("argmin", lambda x: lax.argmin(x, 0, np.int32), distinct, dtypes=(*FLOATS, "int32")),
    on("cumlogsumexp", lambda x: lax.cumlogsumexp(x, 1), (2, 4)),
    on("cumlogsumexp", lambda x: lax.cumlogsumexp(x, 0, reverse=True), (3, 2), about="reverse"),
    on("cummax", lambda x: lax.cummax(x, 1), distinct, dtypes=(*FLOATS, "int32")),
    on("cummax", lambda x: lax.cummax(x, 0, reverse=True), distinct, about="reverse"),
    on("cummin", lambda x: lax.cummin(x, 1), distinct, dtypes=(*FLOATS, "int32")),
    on("cummin", lambda x: lax.cummin(x, 0), Operand(shape=(0, 3)), about="empty"),
    on("cumprod", lambda x: lax.cumprod(x, 1), (2, 4), dtypes=NUMBERS),
    on("cumsum", lambda x: lax.cumsum(x, 1), (2, 4), dtypes=NUMBERS),
    on("cumsum", lambda x: lax.cumsum(x, 0, reverse=True), (0, 3), about="empty"),
    on("reduce", lambda x: lax.reduce(x, jnp.ones((), x.dtype), lambda a, b: a + b + a * b, (1,)),
       (2, 3), dtypes=WIDE),
    on("reduce", lambda x, i: lax.reduce(
        (x, i), (jnp.asarray(-np.inf, x.dtype), np.int32(0)),
        lambda a, b: tuple(jnp.where(a[0] > b[0], *pair) for pair in zip(a, b, strict=True)), (1,)),
       distinct, of(np.int32, whole(0, 9), (3, 4)), about="of two arrays", dtypes=WIDE),
    on("reduce_and", lambda x: lax.reduce_and(x, (1,)), (2, 3), dtypes=(*BOOLEAN, *INTEGERS)),
    on("reduce_max", lambda x: lax.reduce_max(x, (1,)), distinct, dtypes=(*FLOATS, *INTEGERS)),
    on("reduce_max", lambda x: lax.reduce_max(x, (1,)), (0, 3), about="empty"),
    on("reduce_min", lambda x: lax.reduce_min(x, (0, 1)), distinct, dtypes=(*FLOATS, *INTEGERS)),
    on("reduce_or", lambda x: lax.reduce_or(x, (1,)), (2, 3), dtypes=(*BOOLEAN, *INTEGERS)),
    on("reduce_prod", lambda x: lax.reduce_prod(x, (1,)), (2, 3), dtypes=NUMBERS),
    on("reduce_prod", lambda x: lax.reduce_prod(x, (1,)), (2, 0), about="empty"),
    on("reduce_sum", lambda x: lax.reduce_sum(x, (0, 2)), (2, 3, 2), dtypes=NUMBERS),
    on("reduce_sum", lambda x: lax.reduce_sum(x, (1,)), (2, 0), about="empty"),
    on("reduce_window", _windows(1, lambda a, b: a * b), (4, 5), dtypes=WIDE),
    on("reduce_window_max", _windows(-np.inf, lax.max), Operand(spaced, (4, 5))),
    on("reduce_window_min", _windows(np.inf, lax.min), Operand(spaced, (4, 5))),
    on("reduce_window_sum", _windows(0, lax.add), (4, 5), dtypes=NUMBERS),
    on("reduce_xor", lambda x: lax.reduce_xor(x, (1,)), (2, 3), dtypes=(*BOOLEAN, *INTEGERS)),
    on("select_and_gather_add",
       lambda x, t: jax.jvp(_windows(-np.inf, lax.max), (x,), (t,))[1], Operand(spaced, (4, 5)),
       (4, 5), dtypes=WIDE),
    on("select_and_scatter_add", lambda x, g: _winner_gets_it(x)(g), Operand(spaced, (4, 5)),
       (4, 3), dtypes=WIDE),
    on("sort", lambda x: lax.sort(x, dimension=1), distinct, dtypes=(*FLOATS, *INTEGERS)),
    on("sort", lambda k, x: lax.sort((k, x, 2 * x), num_keys=2), Operand(spaced, (4,)), (4,),
       about="with keys", dtypes=FLOATS),
    on("sort", lambda x: lax.sort(x, dimension=0), (0, 3), about="empty"),
    on("top_k", lambda x: lax.top_k(x, 2), distinct, dtypes=(*FLOATS, *INTEGERS)),
)  # fmt: skip


def _ragged(x: Any, y: Any) -> Any:
    return lax.ragged_dot(x, y, jnp.array([2, 0, 1], np.int32))


CONTRACTIONS = (
    on("dot_general", lambda x, y: lax.dot_general(x, y, (((2, 0), (0, 2)), ((1,), (1,)))),
       (2, 3, 4), (4, 3, 2), dtypes=NUMBERS),
    on("dot_general", jnp.matmul, (2, 0), (0, 3), about="empty"),
    on("dot_general", partial(jnp.matmul, preferred_element_type=np.float32), (2, 3), (3, 2),
       about="wider result", dtypes=("bfloat16", "float16")),
    on("conv_general_dilated", lambda x, w: lax.conv_general_dilated(
        x, w, (1, 2), "SAME", rhs_dilation=(2, 1)), (2, 3, 5, 4), (2, 3, 2, 3), dtypes=FIELD),
    on("conv_general_dilated", lambda x, w: lax.conv_general_dilated(
        x, w, (2,), ((1, 0),), lhs_dilation=(2,), feature_group_count=2), (2, 4, 5), (2, 2, 3),
       about="groups"),
    on("ragged_dot_general", _ragged, (3, 2), (3, 2, 4), dtypes=FLOATS),
    on("fft", lambda x: lax.fft(x, "FFT", (4,)), (2, 4), dtypes=COMPLEX),
    on("fft", lambda x: lax.fft(x, "IFFT", (2, 4)), (2, 4), about="inverse", dtypes=COMPLEX),
    on("fft", lambda x: lax.fft(x, "RFFT", (5,)), (2, 5), about="of real numbers", dtypes=WIDE),
    on("fft", lambda x: lax.fft(x, "IRFFT", (6,)), (2, 4), about="to real numbers",
       dtypes=COMPLEX),
)  # fmt: skip

SQUARE = Operand(shape=(3, 3))
BAND = Operand(shape=(4,))


def _gram(x: Any) -> Any:
    """A positive definite matrix."""
    return x @ x.T.conj() + 2 * jnp.eye(len(x), dtype=x.dtype)


def _solve(a: Any, b: Any) -> Any:
    """Jacobi's iteration, with its transpose."""

    def iterate(matvec: Callable[..., Any], b: Any) -> Any:
        return lax.fori_loop(0, 9, lambda _, x: x + (b - matvec(x)) / 4, b)

    return lax.custom_linear_solve(lambda x: _gram(a) @ x, b, iterate, iterate, symmetric=True)


LINEAR_ALGEBRA = (
    on("cholesky", lambda a: lax.linalg.cholesky(_gram(a)), SQUARE, dtypes=LAPACK),
    on("custom_linear_solve", _solve, SQUARE, (3,), dtypes=WIDE),
    on("eig", lambda a: lax.linalg.eig(
        a, compute_left_eigenvectors=False, compute_right_eigenvectors=False), SQUARE,
       about="values", dtypes=LAPACK),
    on("eig", lambda a: lax.linalg.eig(
        a, compute_left_eigenvectors=False, enable_eigvec_derivs=True), SQUARE,
       about="right vectors", dtypes=LAPACK),
    on("eigh", lambda a: lax.linalg.eigh(_gram(a)), SQUARE, dtypes=LAPACK),
    on("hessenberg", lax.linalg.hessenberg, SQUARE, dtypes=LAPACK),
    on("householder_product", lax.linalg.householder_product, (3, 2), (2,), dtypes=LAPACK),
    on("lu", lax.linalg.lu, SQUARE, dtypes=LAPACK),
    on("lu", lax.linalg.lu, (3, 2), about="tall", dtypes=LAPACK),
    on("lu_pivots_to_permutation", lambda p: lax.linalg.lu_pivots_to_permutation(p, 4),
       of(np.int32, lambda draws, shape: np.array([2, 1, 3, 3]), (4,))),
    on("qr", lambda a: lax.linalg.qr(a, full_matrices=False), (3, 2), dtypes=LAPACK),
    on("schur", lax.linalg.schur, SQUARE, dtypes=LAPACK),
    on("svd", lambda a: lax.linalg.svd(a, full_matrices=False), (3, 2), dtypes=LAPACK),
    on("svd", lambda a: lax.linalg.svd(a, compute_uv=False), (3, 2), about="values",
       dtypes=LAPACK),
    on("triangular_solve", lambda a, b: lax.linalg.triangular_solve(
        _gram(a), b, left_side=True, lower=True), SQUARE, (3, 2), dtypes=LAPACK),
    on("triangular_solve", lambda a, b: lax.linalg.triangular_solve(
        a, b, transpose_a=True, conjugate_a=True, unit_diagonal=True), SQUARE, (2, 3),
       about="on the right", dtypes=LAPACK),
    on("tridiagonal", lambda a: lax.linalg.tridiagonal(_gram(a)), SQUARE, dtypes=LAPACK),
    on("tridiagonal_solve", lambda l, d, u, b: lax.linalg.tridiagonal_solve(
        l.at[0].set(0), d + 4, u.at[-1].set(0), b), BAND, Operand(positive, (4,)), BAND, (4, 2),
       dtypes=LAPACK),
)  # fmt: skip


@jax.custom_jvp
def _half_slope(x):
    return x * x


_half_slope.defjvp(lambda primals, tangents: (_half_slope(*primals), primals[0] * tangents[0]))


def _product(x, y):
    return jnp.sin(x) * y


_own_pullback = jax.custom_vjp(_product)
_own_pullback.defvjp(
    lambda x, y: (_product(x, y), (x, y)), lambda kept, g: (g * kept[1], g * jnp.tanh(kept[0]))
)
_own_remat = jax.custom_vjp(_product)
_own_remat.defvjp(
    lambda x, y: (_product(x, y), (x, y)),
    lambda kept, g: (g * kept[1], g * jnp.tanh(kept[0])),
    optimize_remat=True,
)


@jax.custom_batching.custom_vmap
def _own_batching(x):
    return jnp.sin(x)


@_own_batching.def_vmap
def _own_batching_rule(size, mapped, x):
    return jnp.sin(x), True


def _scaled(scale: Any, x: Any) -> Any:
    return scale * x


def _running(x: Any, rows: Any) -> Any:
    def step(carry: Any, row: Any) -> Any:
        carry = jnp.sin(carry + row)
        return carry, carry * row

    return lax.scan(step, x, rows)


def _recurrent_until(x: Any, y: Any) -> Any:
    """A number of steps that depends on the operands."""
    return lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * y + c[1]), (0, x))[1]


def _norm(x: Any) -> Any:
    return jnp.sqrt(jnp.sum(x * x))


NESTED = (
    on("composite", lax.composite(lambda x: jnp.sin(x) * x, "symgrad.tests"), (2, 3),
       dtypes=FIELD),
    on("cond", lambda i, x: lax.switch(i, [jnp.sin, lambda x: x * x, jnp.ones_like], x),
       of(np.int32, whole(0, 2), ()), (3,), dtypes=FIELD),
    on("cond", lambda p, x, y: lax.cond(p, lambda: x * y, lambda: y), of(np.bool_, whole(0, 1), ()),
       (0, 3), (0, 3), about="empty"),
    on("custom_jvp_call", _half_slope, (2, 3), dtypes=FIELD),
    replace(on("custom_vjp_call", _own_pullback, (2, 3), (2, 3), dtypes=FIELD),
            late=("jvp", "hvp")),
    on("remat_opt", lambda x, y: jax.vjp(_own_remat, x, y)[0], (2, 3), (2, 3), dtypes=WIDE),
    on("custom_vmap_call", _own_batching, (2, 3), dtypes=FIELD),
    on("jit", jax.jit(_product), (2, 3), (2, 3), dtypes=FIELD),
    on("linear_call", lambda x: jax.custom_derivatives.linear_call(_scaled, _scaled, 3.0, x),
       (2, 3), dtypes=FIELD),
    on("remat2", jax.checkpoint(lambda x: jnp.sin(jnp.sin(x))), (2, 3), dtypes=FIELD),
    on("remat2", jax.checkpoint(lambda x: jnp.sin(jnp.sin(x)) * x,
       policy=jax.checkpoint_policies.everything_saveable), (2, 3), about="with a policy"),
    on("scan", _running, (3,), (4, 3), dtypes=FIELD),
    on("scan", _running, (0,), (2, 0), about="empty"),
    on("while", _recurrent_until, (3,), (3,), dtypes=FIELD),
)  # fmt: skip

KEY = of(np.uint32, whole(0, 99), (2,))
SEED = of(np.int32, whole(0, 99), ())


def _key(data: Any) -> Any:
    return jax.random.wrap_key_data(data)


def _data(key: Any) -> Any:
    return jax.random.key_data(key)


RANDOM = (
    on("random_bits", lambda k, x: x * jax.random.normal(_key(k), x.shape, x.dtype), KEY, (2, 3),
       dtypes=FIELD),
    on("random_clone", lambda k, x: x * jax.random.uniform(jax.random.clone(_key(k))), KEY, ()),
    on("random_fold_in", lambda k, x: x * jax.random.uniform(jax.random.fold_in(_key(k), 3)), KEY,
       ()),
    on("random_gamma", lambda k, a: jax.random.gamma(_key(k), a), KEY, Operand(positive, (3,)),
       dtypes=WIDE),
    on("random_seed", lambda n, x: x * jax.random.uniform(jax.random.key(n)), SEED, ()),
    on("random_split", lambda k, x: x * jax.random.uniform(jax.random.split(_key(k))[1]), KEY, ()),
    on("random_unwrap", lambda k, x: x * _data(jax.random.split(_key(k)))[1, 0].astype(x.dtype),
       KEY, ()),
    on("random_wrap", lambda k, x: x * jax.random.uniform(_key(k)), KEY, ()),
    on("rng_bit_generator", lambda k, x: x * (lax.rng_bit_generator(k, (3,))[1] % 8)
       .astype(x.dtype), of(np.uint32, whole(0, 99), (4,)), (3,), dtypes=WIDE),
    on("rng_uniform", lambda x: lax.rng_uniform(x, x, (3,)), (), dtypes=WIDE[:1]),
    on("threefry2x32", lambda k, x: x * (threefry_2x32(k, jnp.arange(4, dtype=np.uint32)) % 8)
       .astype(x.dtype), KEY, (4,), dtypes=WIDE),
)  # fmt: skip


def _with_effect(effect: Callable[..., Any]) -> Callable[..., Any]:
    def sine(x: Any) -> Any:
        effect(x)
        return jnp.sin(x)

    return sine


def _silent(*values: Any) -> None:
    """A callback that does nothing."""


def _factorised(x: Any) -> Any:
    """A function of LAPACK, called by its name."""
    types = [(x.shape, x.dtype), (x.shape[:1], np.int32), ((), np.int32)]
    results = [jax.ShapeDtypeStruct(*t) for t in types]
    return jax.ffi.ffi_call("lapack_sgetrf_ffi", results)(x)


CALLED_BACK = ("float32", "float16")
"""Callbacks run in a thread of their own, which does not know that 64 bits are meant."""

EFFECTS = (
    on("debug_callback", _with_effect(partial(jax.debug.callback, _silent)), (3,)),
    on("io_callback", lambda x: x + io_callback(lambda x: x, x, lax.stop_gradient(x)), (3,),
       dtypes=CALLED_BACK),
    on("pure_callback", lambda x: x * jax.pure_callback(
        lambda x: 2 * x, jax.ShapeDtypeStruct(x.shape, x.dtype), lax.stop_gradient(x),
        vmap_method="sequential"), (3,), dtypes=CALLED_BACK),
    on("debug_print", _with_effect(partial(jax.debug.print, "{}")), (3,)),
    on("ffi_call", _factorised, (2, 2), dtypes=WIDE[:1]),
    on("inspect_sharding", _with_effect(
        partial(jax.debug.inspect_array_sharding, callback=_silent)), (3,)),
    on("dce_sink", _with_effect(lax.dce_sink), (3,)),
)  # fmt: skip


def _by_reference(x: Any) -> Any:
    ref = jax.new_ref(x)
    ref[0] = jnp.sin(ref[1])
    jax.ref.addupdate(ref, 1, x[2])
    return jax.freeze(ref)


def _from_nothing(x: Any) -> Any:
    ref = jax.empty_ref(jax.typeof(x))
    ref[...] = jnp.sin(x)
    return jax.freeze(ref)


def _freed(x: Any) -> Any:
    ref = jax.new_ref(x)
    value = jnp.sin(ref[...])
    jax.free_ref(ref)
    return value


REFERENCES = (
    *(on(name, _by_reference, (3,), dtypes=WIDE)
      for name in ("new_ref", "get", "swap", "addupdate", "freeze")),
    on("empty_ref", _from_nothing, (3,), dtypes=WIDE),
    on("free_ref", _freed, (3,), dtypes=WIDE),
)  # fmt: skip


def _sharded(fun: Callable[..., Any], out: Any = "i", **options: Any) -> Callable[..., Any]:
    """A function of the parts of an array on each device; here there is one."""

    def whole(*args: Any) -> Any:
        mesh = jax.make_mesh((1,), ("i",), axis_types=(AxisType.Auto,))
        parts, result = PartitionSpec("i"), PartitionSpec(out)
        return jax.shard_map(fun, mesh=mesh, in_specs=parts, out_specs=result, **options)(*args)

    return whole


def _one_device(kind: AxisType) -> NamedSharding:
    return NamedSharding(jax.make_mesh((1,), ("i",), axis_types=(kind,)), PartitionSpec("i"))


SHARDED = (
    on("all_gather", _sharded(lambda x: lax.all_gather(x, "i", tiled=True)), (2, 3), dtypes=FIELD),
    on("all_gather_invariant", _sharded(
        lambda x: lax.all_gather(x, "i", tiled=True, to="invarying"), None), (2, 3), dtypes=WIDE),
    on("all_to_all", _sharded(lambda x: lax.all_to_all(x, "i", 1, 0, tiled=True)), (2, 3),
       dtypes=FIELD),
    on("axis_index", _sharded(lambda x: x * lax.axis_index("i")), (2, 3), dtypes=WIDE),
    on("pmax", _sharded(lambda x: lax.pmax(x, "i"), None), (2, 3), dtypes=FLOATS),
    on("pmin", _sharded(lambda x: lax.pmin(x, "i"), None), (2, 3), dtypes=FLOATS),
    on("ppermute", _sharded(lambda x: lax.ppermute(x, "i", [(0, 0)])), (2, 3), dtypes=FIELD),
    on("psum", _sharded(lambda x: lax.psum(x, "i"), None, check_vma=False), (2, 3), dtypes=FIELD),
    on("psum_invariant", _sharded(lambda x: lax.psum(x, "i"), None), (2, 3), dtypes=FIELD),
    on("pvary", _sharded(lambda x: x * lax.pcast(np.float32(2), "i", to="varying")), (2, 3),
       dtypes=WIDE),
    on("reduce_scatter", _sharded(lambda x: lax.psum_scatter(x, "i", tiled=True)), (2, 3),
       dtypes=FIELD),
    on("shard_map", _sharded(_product), (2, 3), (2, 3), dtypes=FIELD),
)  # fmt: skip

PLACES = (
    on("device_put", lambda x: jax.device_put(jnp.sin(x), jax.devices()[0]), (2, 3), dtypes=FIELD),
    on("layout_constraint", lambda x: with_layout_constraint(x, Layout((1, 0))), (2, 3),
       dtypes=WIDE),
    on("reshard", lambda x: jax.sharding.reshard(x, _one_device(AxisType.Explicit)), (2, 3),
       dtypes=WIDE),
    on("sharding_constraint", lambda x: lax.with_sharding_constraint(
        x, _one_device(AxisType.Auto)), (2, 3),
       dtypes=FIELD),
)  # fmt: skip

CASES = (
    *ENTRYWISE,
    *BITS,
    *SHAPES,
    *REDUCTIONS,
    *CONTRACTIONS,
    *LINEAR_ALGEBRA,
    *NESTED,
    *RANDOM,
    *EFFECTS,
    *REFERENCES,
    *SHARDED,
    *PLACES,
)

UNREACHED = {
    "accum_grad_in_ref": "JAX makes it where a cotangent is added to a reference",
    "after_all": "it orders effects; tokens hold no numbers",
    "all_gather_reduced": "of reduced types of an explicit mesh, experimental in JAX",
    "box_get": "of JAX's experimental boxes",
    "box_set": "of JAX's experimental boxes",
    "call": "no public function makes it",
    "call_hi_primitive": "of JAX's experimental high-level types",
    "check": "`checkify` replaces it by values before anything is compiled",
    "closed_call": "no public function makes it; it is read as its body",
    "create_token": "it orders effects; tokens hold no numbers",
    "custom_lin": "JAX makes it between linearising and transposing",
    "empty2": "JAX makes it where it transposes a scan",
    "eval_jaxpr": "no public function makes it",
    "from_edtype": "no public dtype converts with it",
    "log_extend": "of JAX's experimental logs",
    "log_read": "of JAX's experimental logs",
    "new_box": "of JAX's experimental boxes",
    "new_log": "of JAX's experimental logs",
    "pbroadcast": "JAX does not compile it for the CPU",
    "preduced": "of reduced types of an explicit mesh, experimental in JAX",
    "ragged_all_to_all": "JAX does not compile it for the CPU",
    "reduced_vary_cast_p": "of reduced types of an explicit mesh, experimental in JAX",
    "run_state": "only kernels of Pallas make it",
    "select_and_scatter": "no public function makes it",
    "stage": "JAX runs it outside of traced functions only",
    "tie": "no public function makes it",
    "to_edtype": "no public dtype converts with it",
    "unreduced_psum": "of reduced types of an explicit mesh, experimental in JAX",
    "unreduced_reduce_scatter": "of reduced types of an explicit mesh, experimental in JAX",
    "vary_unreduced_cast_p": "of reduced types of an explicit mesh, experimental in JAX",
}
"""Primitives without a case, and why no program that is differentiated has them."""


def known() -> set[str]:
    """The names of the primitives that JAX publishes or has a derivative of."""
    public = {p.name for name, p in vars(primitives).items() if name.endswith("_p")}
    return public | {p.name for p in ad.primitive_jvps}


NOT_YET: frozenset[str] = frozenset()
"""Primitives that JAX differentiates and symgrad does not; each leaves when it is read."""
