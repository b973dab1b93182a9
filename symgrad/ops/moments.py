"""Moments about the mean: what is left of large numbers when their mean is taken off."""

from __future__ import annotations

from symgrad.expr import Custom, Expr, Linear, Op
from symgrad.ops import accurate
from symgrad.ops.shape import expand, reduce_sum, reduced_type

centered = Op(
    "centered",
    lambda x, *, axes: x,
    "centered(x, {axes})",
    Linear(lambda g, y, x: centered(g, **y.params)),
    params=("axes",),
    flops=lambda e: 4 * e.type.size,
    helpers=(accurate.centered,),
)
"""x less its mean over axes: a projection, which is its own adjoint."""


def _pullback(g: Expr, y: Expr, x: Expr) -> tuple[Expr]:
    return (expand(g, y.params["axes"], x.shape) * (2 * centered(x, **y.params)),)


def _pushforward(tangents: tuple[Expr, ...], y: Expr, x: Expr) -> Expr:
    return reduce_sum(tangents[0] * (2 * centered(x, **y.params)), **y.params)


squared_deviations = Op(
    "squared_deviations",
    reduced_type,
    "squared_deviations(x, {axes})",
    Custom(pullback=_pullback, pushforward=_pushforward),
    params=("axes",),
    flops=lambda e: 5 * e.args[0].type.size,
    helpers=(accurate.centered, accurate.squared_deviations),
)
"""Σ (x - mean(x))² over axes."""
