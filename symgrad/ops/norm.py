"""Lengths of vectors, and directions, which a vector of zeros does not have."""

from __future__ import annotations

from functools import reduce as fold

import jax.numpy as jnp
from jax import lax

from symgrad.expr import Custom, Expr, Op, Pointwise, add, elementwise_type
from symgrad.ops.pointwise import square
from symgrad.ops.shape import expand, reduce_sum, reduced_type

ratio = Op(
    "ratio",
    elementwise_type,
    "jnp.where(y == 0, 0, x / y)",
    Pointwise(
        lambda g, z, x, y: ratio(g, y),
        lambda g, z, x, y: -(ratio(g, y) * z),
    ),
    elementwise=True,
)
"""x / y, or 0 where y is 0.

The slope of a length is a direction. A vector of zeros has none, and 0 is the middle of all
that there could be.
"""


def scaled_vector_norm(x, axis):
    """The square root of a sum of squares that may leave the range of floats."""
    dtype, x = x.dtype, x.astype(jnp.promote_types(x.dtype, jnp.float32))
    far = 2.0 ** (jnp.finfo(x.dtype).maxexp // 2)
    largest = jnp.max(jnp.abs(x), axis, keepdims=True, initial=0)
    scale = jnp.where(largest > far**0.5, far, jnp.where(largest < far**-0.5, 1 / far, 1))
    found = jnp.squeeze(scale, axis) * jnp.sqrt(jnp.sum(jnp.square(x / scale), axis))
    return found.astype(dtype)


def short_vector_norm(x, axis):
    """The square root of a sum of squares, of three of which one is in the range of floats."""
    dtype, x = x.dtype, x.astype(jnp.promote_types(x.dtype, jnp.float32))
    limits, zero = jnp.finfo(x.dtype), jnp.zeros((), x.dtype)
    far, least = 2.0 ** (limits.maxexp // 2), limits.tiny / limits.eps

    def add(xs, ys):
        return [x + y for x, y in zip(xs, ys, strict=True)]

    # Subnormal numbers would be slow; where that sum is read, 8 is nothing.
    sides = jnp.maximum(jnp.abs(x), 8) / far, x, x * far
    squares = [jnp.square(side) for side in sides]
    large, total, small = lax.reduce(squares, [zero, zero, zero], add, axis)
    scale = jnp.where(total < least, 1 / far, jnp.where(total < jnp.inf, 1, far))
    found = scale * jnp.sqrt(jnp.where(scale < 1, small, jnp.where(scale > 1, large, total)))
    return found.astype(dtype)


def vector_norm(x, axis):
    """The square root of a sum of squares, scaled only where one leaves the range of floats."""
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    total, limits = jnp.sum(jnp.square(wide), axis), jnp.finfo(wide.dtype)
    usual = jnp.all((total > limits.tiny / limits.eps) & (total < jnp.inf))
    return lax.cond(
        usual, lambda x: jnp.sqrt(total).astype(x.dtype), lambda x: scaled_vector_norm(x, axis), x
    )


def _norm_source(e: Expr) -> str:
    """What is quickest: few kernels for few entries, one pass along short axes."""
    (x,) = e.args
    few, short = x.type.size <= 256, x.type.size <= 16 * e.type.size
    name = "scaled_vector_norm" if few else "short_vector_norm" if short else "vector_norm"
    return f"{name}(x, {e.params['axes']})"


def _direction(y: Expr, x: Expr) -> Expr:
    return ratio(x, expand(y, y.params["axes"], x.shape))


def _norm_pullback(g: Expr, y: Expr, x: Expr) -> tuple[Expr]:
    return (expand(g, y.params["axes"], x.shape) * _direction(y, x),)


norm = Op(
    "norm",
    reduced_type,
    _norm_source,
    Custom(
        _norm_pullback,
        lambda tangents, y, x: reduce_sum(tangents[0] * _direction(y, x), axes=y.params["axes"]),
    ),
    params=("axes",),
    helpers=(scaled_vector_norm, short_vector_norm, vector_norm),
    flops=lambda e: 4 * e.args[0].type.size,
)
"""The Euclidean length over `axes`, with slope 0 at 0."""

hypot = Op(
    "hypot",
    elementwise_type,
    "jnp.hypot(x, y)",
    Pointwise(
        lambda g, z, x, y: g * ratio(x, z),
        lambda g, z, x, y: g * ratio(y, z),
    ),
    elementwise=True,
    commutative=True,
    flops=lambda e: 8 * e.type.size,
)
"""sqrt(x² + y²), with slope 0 at 0."""


def direction_cosine(x, y, size):
    """x / size for the length `size` of (x, y), also where x alone is infinite."""
    return jnp.where(jnp.isinf(x) & jnp.isfinite(y), jnp.sign(x), x / size)


direction = Op(
    "direction",
    elementwise_type,
    "direction_cosine(x, y, z)",
    Pointwise(
        lambda g, z, x, y, size: g * (square(direction(y, x, size)) / size),
        lambda g, z, x, y, size: -(g * (z * direction(y, x, size) / size)),
        None,
    ),
    elementwise=True,
    helpers=(direction_cosine,),
)
"""x / `size` for the length `size` of (x, y), which is no variable of its own."""


def _unit_pullback(g: Expr, z: Expr, x: Expr, inverse: Expr) -> tuple[Expr, None]:
    axes = z.params["axes"]
    along = expand(reduce_sum(g * z, axes=axes), axes, z.shape)
    return (g - z * along) * expand(inverse, axes, z.shape), None


def _unit_source(e: Expr) -> str:
    index = ", ".join("None" if a in e.params["axes"] else ":" for a in range(e.ndim))
    return f"x * y[{index}]" if e.args[1].ndim else "x * y"


unit_op = Op(
    "unit",
    lambda x, inverse, *, axes: x,
    _unit_source,
    Custom(
        _unit_pullback,
        lambda tangents, z, x, inverse: _unit_pullback(tangents[0], z, x, inverse)[0],
    ),
    params=("axes",),
)
"""x times the inverse of its length, which is no variable of its own."""


def unit(x: Expr, axes: tuple[int, ...], size: Expr | None = None) -> Expr:
    """Vectors of length 1, whose entries stay in between: no law takes them apart."""
    return unit_op(x, 1 / (norm(x, axes=axes) if size is None else size), axes=axes)


def cosine(x, y, inverse, other, axis):
    """Σ x y / (|x| |y|) from the inverses of the lengths, whose product may leave the range."""

    def rescaled(x, y):
        u, v = (a * jnp.expand_dims(i, axis) for a, i in ((x, inverse), (y, other)))
        return jnp.sum(u * v, axis)

    dots, scale, limits = jnp.sum(x * y, axis), inverse * other, jnp.finfo(x.dtype)
    usual = jnp.all((scale > limits.tiny) & (scale < limits.eps / limits.tiny))
    return lax.cond(usual, lambda *_: dots * scale, rescaled, x, y)


def _cosine_slope(c: Expr, x: Expr, y: Expr, inverse: Expr, other: Expr) -> Expr:
    """(v - c u) / |x| for the unit vectors u and v."""
    axes = c.params["axes"]
    u, v = unit_op(x, inverse, axes=axes), unit_op(y, other, axes=axes)
    return (v - expand(c, axes, x.shape) * u) * expand(inverse, axes, x.shape)


def _cosine_pullback(
    g: Expr, c: Expr, x: Expr, y: Expr, inverse: Expr, other: Expr
) -> tuple[Expr | None, ...]:
    along = expand(g, c.params["axes"], x.shape)
    first = along * _cosine_slope(c, x, y, inverse, other)
    return first, along * _cosine_slope(c, y, x, other, inverse), None, None


def _cosine_push(
    tangents: tuple[Expr | None, ...], c: Expr, x: Expr, y: Expr, inverse: Expr, other: Expr
) -> Expr | None:
    slopes = (
        (tangents[0], lambda: _cosine_slope(c, x, y, inverse, other)),
        (tangents[1], lambda: _cosine_slope(c, y, x, other, inverse)),
    )
    parts = [reduce_sum(t * slope(), axes=c.params["axes"]) for t, slope in slopes if t is not None]
    return fold(add, parts) if parts else None


cosine_op = Op(
    "cosine",
    lambda x, y, inverse, other, *, axes: reduced_type(x, axes=axes),
    lambda e: f"cosine(*xs, {e.params['axes']})",
    Custom(_cosine_pullback, _cosine_push),
    params=("axes",),
    helpers=(cosine,),
    flops=lambda e: 2 * e.args[0].type.size,
)
"""The inner product of the directions of two vectors.

Given are the inverses of their lengths, which are no variables of their own.
"""


length = Op(
    "length",
    lambda x: x,
    "jnp.abs(x)",
    Pointwise(lambda g, y, x: g * ratio(x, y)),
    elementwise=True,
)
"""|x| as the length of a vector with one entry: unlike that of `abs`, its slope at 0 is 0."""
