"""Logarithms of what over- or underflows: each is finite wherever its value is.

Tracing never makes these operations; laws do.
"""

from __future__ import annotations

import math
from functools import reduce as fold
from typing import Any

import jax.numpy as jnp

from symgrad.expr import CONSTANT, Custom, Expr, Op, Pointwise, Type, add, elementwise_type
from symgrad.ops import accurate
from symgrad.ops.pointwise import (
    TRANSCENDENTAL,
    eq,
    exp,
    is_finite,
    log1p,
    power_in_base,
    select,
    stop_gradient,
    tanh,
)
from symgrad.ops.reduce import last_axis_as_minus_one, reduce_max
from symgrad.ops.shape import expand, reduce_sum


def _function(name: str, source: str, *partials: Any, helpers: tuple[Any, ...] = ()) -> Op:
    return Op(
        name,
        elementwise_type,
        source,
        Pointwise(*partials),
        elementwise=True,
        flops=lambda e: 2 * TRANSCENDENTAL * e.type.size,
        helpers=helpers,
    )


log_abs = _function("log_abs", "jnp.log(jnp.abs(x))", lambda g, y, x: g / x)
"""log |x|, whose derivative is 1 / x on both sides of zero."""


def log1mexp(x):
    """log(1 - exp(x)), accurate for all x < 0."""
    near = jnp.log(-jnp.expm1(x))
    return jnp.where(x > -0.693, near, jnp.log1p(-jnp.exp(x)))


bose = _function("bose", "1 / jnp.expm1(x)", lambda g, y, x: g * (y * bose(-x)))
"""1 / (exp(x) - 1); its derivative is -y (1 + y) = y bose(-x), which does not cancel."""
over_expm1 = _function(
    "over_expm1",
    "over_expm1(x, y)",
    lambda g, z, x, y: over_expm1(g, y),
    lambda g, z, x, y: over_expm1(g * z, -y),
    helpers=(accurate.over_expm1,),
)
"""x / (exp(y) - 1), which is finite where both parts of its slope overflow."""
over_sinh = _function(
    "over_sinh",
    "x / jnp.sinh(y)",
    lambda g, z, x, y: over_sinh(g, y),
    lambda g, z, x, y: -(g * z / tanh(y)),
)
"""x / sinh(y), whose slope -x cosh(y) / sinh²(y) is 0 where both parts overflow."""
power_less_one = _function(
    "power_less_one",
    "power_less_one(x, y)",
    lambda g, z, x, y: power_in_base(g, z + 1, x + 1, y),
    lambda g, z, x, y: g * (log1p(select(eq(x, -1), 0, x)) * (z + 1)),
    helpers=(accurate.power_less_one,),
)
"""(1 + x)**y - 1"""
log1mexp_op = _function(
    "log1mexp", "log1mexp(x)", lambda g, y, x: -(g * bose(-x)), helpers=(log1mexp,)
)
"""log(1 - exp(x)) for x < 0."""


def log_cosh(x):
    """log(cosh(x)), without overflow, and without cancellation near 0."""
    near = jnp.log1p(2 * jnp.square(jnp.sinh(x / 2)))
    size = jnp.abs(x)
    return jnp.where(size < 1, near, size + jnp.log1p(jnp.exp(-2 * size)) - 0.6931471805599453)


log_cosh_op = _function("log_cosh", "log_cosh(x)", lambda g, y, x: g * tanh(x), helpers=(log_cosh,))
sech = _function("sech", "sech(x)", lambda g, y, x: -(g * (y * tanh(x))), helpers=(accurate.sech,))


def _weighted_type(x: Type, weights: Type, *, axis: int, **_: Any) -> Type:
    both = elementwise_type(x, weights)
    return both.with_shape(tuple(n for i, n in enumerate(x.shape) if i != axis))


def _weighted_source(e: Expr) -> str:
    call = f"jax.nn.logsumexp(x, axis={last_axis_as_minus_one(e)}, b=y"
    return f"{call}, return_sign=True)[0]" if e.params["signed"] else f"{call})"


def _weighted_push(tangents: tuple[Expr | None, ...], y: Expr, x: Expr, weights: Expr) -> Expr:
    """Σ (w x' + w') exp(x) / Σ w exp(x), shifted by the largest exponent that has a weight."""
    axes = (y.params["axis"],)
    weightless = eq(weights, 0)
    top = reduce_max(select(weightless, -math.inf, x), axes=axes)
    shift = stop_gradient(select(is_finite(top), top, 0))
    terms = exp(x - expand(shift, axes, x.shape))
    weighted = select(weightless, 0, weights * terms)
    parts = [] if tangents[0] is None else [weighted * tangents[0]]
    parts += [] if tangents[1] is None else [terms * tangents[1]]
    moved = reduce_sum(fold(add, parts), axes=axes)
    return moved / reduce_sum(weighted, axes=axes)


weighted_logsumexp = Op(
    "weighted_logsumexp",
    _weighted_type,
    _weighted_source,
    Custom(pushforward=_weighted_push),
    params=("axis", "signed"),
    flops=lambda e: (TRANSCENDENTAL + 4) * e.args[0].type.size,
)
"""log |Σ w exp(x)| along an axis; `signed` unless no weight is negative."""

weighted_sum_sign = Op(
    "weighted_sum_sign",
    _weighted_type,
    lambda e: f"jax.nn.logsumexp(x, axis={last_axis_as_minus_one(e)}, b=y, return_sign=True)[1]",
    CONSTANT,
    params=("axis",),
    flops=lambda e: (TRANSCENDENTAL + 4) * e.args[0].type.size,
)
"""The sign of Σ w exp(x)."""
