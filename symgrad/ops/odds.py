"""What a softmax leaves to the others: one less each weight, and the odds of each."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from symgrad.expr import Custom, Expr, Op
from symgrad.ops.entropy import masked_softmax
from symgrad.ops.pointwise import TRANSCENDENTAL, gt, select
from symgrad.ops.reduce import inner_product, last_axis_as_minus_one, softmax, softmax_slope
from symgrad.ops.shape import expand, reduce_sum


def one_minus_softmax(x, axis):
    """1 - softmax(x), also where one weight is nearly 1: the sum of the others."""
    weights = jax.nn.softmax(x, axis)
    large = weights > 0.5
    others = jnp.sum(jnp.where(large, 0, weights), axis, keepdims=True)
    return jnp.where(large, others, 1 - weights)


def _complement_slope(g: Expr, y: Expr, x: Expr) -> Expr:
    axis = y.params["axis"]
    return -softmax_slope(g, softmax(x, axis=axis), axis=axis)


one_minus_softmax_op = Op(
    "one_minus_softmax",
    lambda x, *, axis: x,
    lambda e: f"one_minus_softmax(x, axis={last_axis_as_minus_one(e)})",
    Custom(
        pullback=lambda g, y, x: (_complement_slope(g, y, x),),
        pushforward=lambda t, y, x: _complement_slope(t[0], y, x),
        rows=True,
    ),
    params=("axis",),
    flops=lambda e: (TRANSCENDENTAL + 8) * e.type.size,
    helpers=(one_minus_softmax,),
)


def log_odds(x, axis):
    """log(p / (1 - p)) of p = softmax(x): x less the logsumexp of the others."""
    x = x - jnp.max(x, axis, keepdims=True)
    weights = jax.nn.softmax(x, axis)
    large = weights > 0.5
    others = jax.nn.logsumexp(jnp.where(large, -jnp.inf, x), axis, keepdims=True)
    rest = jax.nn.log_softmax(x, axis) - jnp.log1p(-jnp.where(large, 0, weights))
    return jnp.where(large, x - others, rest)


def _parts(x: Expr, axis: int) -> tuple[Expr, Expr, Expr, Expr]:
    """Where a weight is more than half, the weights, those of the others there, and the small."""
    weights = softmax(x, axis=axis)
    large = gt(weights, 0.5)
    others = masked_softmax(select(large, -math.inf, x), axis=axis)
    return large, weights, others, select(large, 0, weights)


def _total(x: Expr, axis: int) -> Expr:
    return expand(reduce_sum(x, axes=(axis,)), (axis,), x.shape)


def _odds_pullback(g: Expr, y: Expr, x: Expr) -> tuple[Expr]:
    """A logarithm of odds grows as its own entry, and falls as the mean of the others."""
    axis = y.params["axis"]
    large, weights, others, small = _parts(x, axis)
    spread = select(large, 0, g) / (1 - small)
    away = weights * _total(spread, axis) + others * _total(select(large, g, 0), axis)
    return (g + small * spread - away,)


def _odds_push(tangents: tuple[Expr, ...], y: Expr, x: Expr) -> Expr:
    (t,) = tangents
    axis = y.params["axis"]
    large, weights, others, small = _parts(x, axis)
    rest = (t - inner_product(weights, t, axis)) / (1 - small)
    return select(large, t - inner_product(others, t, axis), rest)


log_odds_op = Op(
    "log_odds",
    lambda x, *, axis: x,
    lambda e: f"log_odds(x, axis={last_axis_as_minus_one(e)})",
    Custom(pullback=_odds_pullback, pushforward=_odds_push, rows=True),
    params=("axis",),
    flops=lambda e: (3 * TRANSCENDENTAL + 12) * e.type.size,
    helpers=(log_odds,),
)
