"""Reductions and cumulative sums and products."""

from __future__ import annotations

import functools
from typing import Any

from jax import lax

from symgrad.expr import CONSTANT, Custom, Expr, Linear, Op, Shape, Type, add, no_flops
from symgrad.ops import accurate
from symgrad.ops.pointwise import TRANSCENDENTAL, convert, eq, select
from symgrad.ops.shape import (
    axes_source,
    concatenate,
    dtype_source,
    expand,
    full,
    iota,
    reduce_sum,
    reduced_type,
    slice_,
)
from symgrad.walk import topological

__all__ = ["reduce_sum"]


def _operand_size(e: Expr) -> int:
    return e.args[0].type.size


def _extremum_pullback(g: Expr, y: Expr, x: Expr) -> tuple[Expr]:
    """Entries that tie for the extremum share the cotangent equally, as in JAX."""
    axes = y.params["axes"]
    chosen = eq(x, expand(y, axes, x.shape))
    ties = reduce_sum(convert(chosen, dtype=g.dtype), axes=axes)
    return (select(chosen, expand(g / ties, axes, x.shape), 0),)


def _function_source(function: str) -> Any:
    return lambda e: f"jnp.{function}(x{axes_source(e)})"


def _bits_source(function: str, on_bits: str) -> Any:
    """Of truth values the familiar function, of whole numbers the one that works on their bits."""

    def source(e: Expr) -> str:
        if e.dtype == bool:
            return f"jnp.{function}(x{axes_source(e)})"
        return f"lax.{on_bits}(x, {e.params['axes']})"

    return source


def _reduction(name: str, source: Any, derivative: Any) -> Op:
    return Op(name, reduced_type, source, derivative, params=("axes",), flops=_operand_size)


reduce_max = _reduction("max_over", _function_source("max"), Custom(_extremum_pullback))
reduce_min = _reduction("min_over", _function_source("min"), Custom(_extremum_pullback))
reduce_and = _reduction("all", _bits_source("all", "reduce_and"), CONSTANT)
reduce_or = _reduction("any", _bits_source("any", "reduce_or"), CONSTANT)
reduce_xor = _reduction("xor_over", "lax.reduce_xor(x, {axes})", CONSTANT)


def _arg_type(x: Type, *, axis: int, dtype: Any) -> Type:
    return Type(reduced_type(x, axes=(axis,)).shape, dtype)


def _arg_reduction(name: str) -> Op:
    return Op(
        name,
        _arg_type,
        lambda e: f"lax.{name}(x, {e.params['axis']}, {dtype_source(e.dtype)})",
        CONSTANT,
        params=("axis", "dtype"),
        flops=_operand_size,
    )


argmax = _arg_reduction("argmax")
argmin = _arg_reduction("argmin")


def _same_type(x: Type, *, axis: int, reverse: bool) -> Type:
    return x


def _cumulative_source(name: str) -> Any:
    def source(e: Expr) -> str:
        if e.params["reverse"]:
            return f"lax.{name}(x, axis={e.params['axis']}, reverse=True)"
        return f"jnp.{name}(x, axis={e.params['axis']})"

    return source


cumsum = Op(
    "cumsum",
    _same_type,
    _cumulative_source("cumsum"),
    Linear(lambda g, y, x: cumsum(g, axis=y.params["axis"], reverse=not y.params["reverse"])),
    params=("axis", "reverse"),
)


def shifted(x: Expr, axis: int, *, forward: bool, fill: float) -> Expr:
    """`x` moved by one entry along `axis`; `fill` enters where an entry is missing."""
    n = x.shape[axis]
    if n == 0:
        return x
    start = tuple(int(i == axis and not forward) for i in range(x.ndim))
    stop = tuple(m - int(i == axis and forward) for i, m in enumerate(x.shape))
    kept = slice_(x, start=start, stop=stop, step=(1,) * x.ndim)
    border = full(fill, x.type.with_shape(_with_size(x.shape, axis, 1)))
    return concatenate(*((border, kept) if forward else (kept, border)), axis=axis)


def _with_size(shape: Shape, axis: int, size: int) -> Shape:
    return (*shape[:axis], size, *shape[axis + 1 :])


def linear_recurrence(a, b, axis, reverse):
    """y[i] = a[i] * y[i - 1] + b[i] along `axis`, from the end if `reverse`."""

    def compose(first, second):
        return first[0] * second[0], second[0] * first[1] + second[1]

    return lax.associative_scan(compose, (a, b), axis=axis, reverse=reverse)[1]


def _recurrence_pullback(g: Expr, y: Expr, a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """The adjoint of a linear recurrence is the recurrence run the other way."""
    axis, reverse = y.params["axis"], y.params["reverse"]
    factor = shifted(a, axis, forward=reverse, fill=0)
    adjoint = recurrence(factor, g, axis=axis, reverse=not reverse)
    previous = shifted(y, axis, forward=not reverse, fill=0)
    return adjoint * previous, adjoint


recurrence = Op(
    "linear_recurrence",
    lambda a, b, *, axis, reverse: b,
    "linear_recurrence(x, y, axis={axis}, reverse={reverse})",
    Custom(_recurrence_pullback),
    params=("axis", "reverse"),
    helpers=(linear_recurrence,),
    flops=lambda e: 6 * e.type.size,
)


def _cumprod_pullback(g: Expr, y: Expr, x: Expr) -> tuple[Expr]:
    """Exact at zeros: the product of all earlier entries, times a recurrence over later ones."""
    axis, reverse = y.params["axis"], y.params["reverse"]
    earlier = shifted(y, axis, forward=not reverse, fill=1)
    factor = shifted(x, axis, forward=reverse, fill=0)
    return (earlier * recurrence(factor, g, axis=axis, reverse=not reverse),)


cumprod = Op(
    "cumprod",
    _same_type,
    _cumulative_source("cumprod"),
    Custom(_cumprod_pullback),
    params=("axis", "reverse"),
)


def product_of_others(g: Expr, y: Expr, x: Expr) -> Expr:
    """Exact at zeros: every entry gets `g` times the product of the others, axis by axis."""
    *outer, axis = y.params["axes"]
    if outer:
        inner = reduce_prod(x, axes=(axis,))
        rest = reduce_prod(inner, axes=tuple(outer))
        g = product_of_others(g, rest, inner)
    before = shifted(cumprod(x, axis=axis, reverse=False), axis, forward=True, fill=1)
    after = shifted(cumprod(x, axis=axis, reverse=True), axis, forward=False, fill=1)
    return expand(g, (axis,), x.shape) * (before * after)


def _prod_pullback(g: Expr, y: Expr, x: Expr) -> tuple[Expr]:
    return (product_of_others(g, y, x),)


def _prod_source(e: Expr) -> str:
    """JAX multiplies short integers in a wider type unless it is told not to."""
    dtype = "" if e.type.inexact else f", dtype={dtype_source(e.dtype)}"
    return f"jnp.prod(x{axes_source(e)}{dtype})"


reduce_prod = _reduction("prod", _prod_source, Custom(_prod_pullback))


def _axis_source(name: str) -> Any:
    return lambda e: f"{name}(x, axis={last_axis_as_minus_one(e)})"


def last_axis_as_minus_one(e: Expr) -> int:
    """The last axis is written -1, as people do."""
    axis = e.params["axis"]
    return -1 if axis == e.args[0].ndim - 1 else axis


def inner_product(x: Expr, y: Expr, axis: int) -> Expr:
    """The sum of products along one axis, repeated along it."""
    return expand(reduce_sum(x * y, axes=(axis,)), (axis,), x.shape)


def _off_mean(x: Expr, weights: Expr, axis: int) -> Expr:
    return x - inner_product(weights, x, axis)


def off_share(x: Expr, weights: Expr, axis: int) -> Expr:
    return x - weights * expand(reduce_sum(x, axes=(axis,)), (axis,), x.shape)


def _slope_pullback(g: Expr, y: Expr, x: Expr, weights: Expr) -> tuple[Expr, Expr]:
    """That of the weights up to a constant, which does not change their sum."""
    axis = y.params["axis"]
    curvature = _off_mean(g, weights, axis) * _off_mean(x, weights, axis)
    return softmax_slope(g, weights, axis=axis), curvature


def _slope_push(tangents: tuple[Expr | None, ...], y: Expr, x: Expr, weights: Expr) -> Expr:
    """The tangents of weights add up to zero, so x may be moved by a constant."""
    axis = y.params["axis"]
    moved, shifted = tangents
    parts = [] if moved is None else [softmax_slope(moved, weights, axis=axis)]
    if shifted is not None:
        parts.append(off_share(shifted * _off_mean(x, weights, axis), weights, axis))
    return functools.reduce(add, parts)


softmax_slope = Op(
    "softmax_slope",
    lambda x, weights, *, axis: x,
    lambda e: f"softmax_slope(x, y, axis={last_axis_as_minus_one(e)})",
    Custom(_slope_pullback, _slope_push, rows=True),
    params=("axis",),
    flops=lambda e: 7 * e.type.size,
    helpers=(accurate.softmax_slope,),
)
"""(diag(q) - q qᵀ) x for q whose entries along an axis add up to one, or are all zero.

The derivative of q = softmax(z) in both modes; where one of q is nearly 1 it is small.
"""


def _softmax_jacobian(g: Expr, q: Expr, x: Expr) -> Expr:
    """diag(q) - q qᵀ is symmetric: one function serves both modes."""
    return softmax_slope(g, q, axis=q.params["axis"])


softmax = Op(
    "softmax",
    lambda x, *, axis: x,
    _axis_source("jax.nn.softmax"),
    Custom(
        pullback=lambda g, q, x: (_softmax_jacobian(g, q, x),),
        pushforward=lambda t, q, x: _softmax_jacobian(t[0], q, x),
        rows=True,
    ),
    params=("axis",),
    flops=lambda e: (TRANSCENDENTAL + 4) * e.type.size,
)


def _log_slope_pullback(g: Expr, y: Expr, x: Expr, weights: Expr) -> tuple[Expr, Expr]:
    axis = y.params["axis"]
    total = expand(reduce_sum(x, axes=(axis,)), (axis,), x.shape)
    return _off_mean(g, weights, axis), -(g * total)


def _log_slope_push(tangents: tuple[Expr | None, ...], y: Expr, x: Expr, weights: Expr) -> Expr:
    axis = y.params["axis"]
    moved, shifted = tangents
    parts = [] if moved is None else [log_softmax_slope(moved, weights, axis=axis)]
    if shifted is not None:
        parts.append(-(shifted * expand(reduce_sum(x, axes=(axis,)), (axis,), x.shape)))
    return functools.reduce(add, parts)


log_softmax_slope = Op(
    "log_softmax_slope",
    lambda x, weights, *, axis: x,
    lambda e: f"log_softmax_slope(x, y, axis={last_axis_as_minus_one(e)})",
    Custom(_log_slope_pullback, _log_slope_push, rows=True),
    params=("axis",),
    flops=lambda e: 6 * e.type.size,
    helpers=(accurate.log_softmax_slope,),
)
"""x - q Σ x for q whose entries along an axis add up to one, or are all zero.

What pulls x back through log(q) for q = softmax(z); where one of q is nearly 1 it is small.
"""


def log_softmax_cotangent(g: Expr, z: Expr, weights: Expr, axis: int) -> Expr:
    """g - q Σ g, the pullback of log(q) for q = softmax(z).

    For targets, which do not depend on z, that is the q - p of the textbooks.
    """
    if z in topological([g]):
        return log_softmax_slope(g, weights, axis=axis)
    return off_share(g, weights, axis)


def _log_softmax_pullback(g: Expr, y: Expr, x: Expr) -> tuple[Expr]:
    axis = y.params["axis"]
    return (log_softmax_cotangent(g, x, softmax(x, axis=axis), axis),)


log_softmax = Op(
    "log_softmax",
    lambda x, *, axis: x,
    _axis_source("jax.nn.log_softmax"),
    Custom(
        pullback=_log_softmax_pullback,
        pushforward=lambda t, y, x: (
            t[0] - inner_product(softmax(x, axis=y.params["axis"]), t[0], y.params["axis"])
        ),
        rows=True,
    ),
    params=("axis",),
    flops=lambda e: (TRANSCENDENTAL + 4) * e.type.size,
)

logsumexp = Op(
    "logsumexp",
    lambda x, *, axis: reduced_type(x, axes=(axis,)),
    _axis_source("jax.nn.logsumexp"),
    Custom(
        pullback=lambda g, y, x: (
            softmax(x, axis=y.params["axis"]) * expand(g, (y.params["axis"],), x.shape),
        ),
        pushforward=lambda t, y, x: reduce_sum(
            softmax(x, axis=y.params["axis"]) * t[0], axes=(y.params["axis"],)
        ),
        rows=True,
    ),
    params=("axis",),
    flops=lambda e: (TRANSCENDENTAL + 3) * e.args[0].type.size,
)


def _one_hot_type(labels: Type, *, axis: int, size: int, dtype: Any, within: bool) -> Type:
    return Type((*labels.shape[:axis], size, *labels.shape[axis:]), dtype)


def _one_hot_source(e: Expr) -> str:
    (labels,), size = e.args, e.params["size"]
    if labels.op is iota and labels.shape == (size,):
        return f"jnp.eye({size}, dtype={dtype_source(e.dtype)})"
    axis = "" if e.params["axis"] == e.ndim - 1 else f", axis={e.params['axis']}"
    return f"jax.nn.one_hot(x, {size}, dtype={dtype_source(e.dtype)}{axis})"


one_hot = Op(
    "one_hot",
    _one_hot_type,
    _one_hot_source,
    CONSTANT,
    params=("axis", "size", "dtype", "within"),
    flops=no_flops,
)
"""1 where an index along `axis` equals the label; labels outside 0..size-1 give zeros.

`within` says that there are none.
"""
