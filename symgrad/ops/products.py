"""Functions that are rebuilt from logarithms and quotients, with derivatives of their own."""

from __future__ import annotations

from symgrad.expr import Custom, Expr, Op, Pointwise, Type, elementwise_type
from symgrad.ops import accurate
from symgrad.ops.pointwise import TRANSCENDENTAL, integer_power, lorentzian, lt, select
from symgrad.ops.reduce import product_of_others
from symgrad.ops.shape import axes_source

over_one_plus_square = Op(
    "over_one_plus_square",
    elementwise_type,
    "over_one_plus_square(x)",
    Pointwise(lambda g, y, x: g * lorentzian(x) * (1 - 2 * (x * y))),
    elementwise=True,
    helpers=(accurate.over_one_plus_square,),
)
"""x / (1 + x²)"""
log1p_square = Op(
    "log1p_square",
    elementwise_type,
    "log1p_square(x)",
    Pointwise(lambda g, y, x: g * (2 * over_one_plus_square(x))),
    elementwise=True,
    flops=lambda e: TRANSCENDENTAL * e.type.size,
    helpers=(accurate.log1p_square,),
)


def _saturation(y: Expr, top: int) -> Expr:
    return saturation(*y.args, top=top, exponent=y.params["exponent"])


def _saturation_in_x(g: Expr, y: Expr, x: Expr, c: Expr) -> Expr:
    top, exponent = y.params["top"], y.params["exponent"]
    if top == exponent:
        return g * exponent * _saturation(y, exponent - 1) / (1 + integer_power(x, exponent) / c)
    falling = exponent * (y * _saturation(y, exponent - 1))
    return g * (top * _saturation(y, top - 1) - falling if top else -falling)


saturation = Op(
    "saturation",
    lambda x, c, *, top, exponent: elementwise_type(x, c),
    "saturation(x, y, {top}, {exponent})",
    Pointwise(_saturation_in_x, lambda g, y, x, c: -(g * y) * _saturation(y, 0)),
    params=("top", "exponent"),
    elementwise=True,
    flops=lambda e: TRANSCENDENTAL * e.type.size,
    helpers=(accurate.saturation,),
)
"""xᵐ / (c + xⁿ) for c ≥ 0 and m ≤ n."""


def _reduced(x: Type, *, axes: tuple[int, ...]) -> Type:
    return x.with_shape(tuple(n for i, n in enumerate(x.shape) if i not in axes))


def _pullback(g: Expr, y: Expr, x: Expr) -> tuple[Expr]:
    return (product_of_others(g, y, select(lt(x, 0), float("nan"), x)),)


product_by_logs = Op(
    "product_by_logs",
    _reduced,
    lambda e: f"jnp.exp(jnp.sum(jnp.log(x){axes_source(e)}))",
    Custom(_pullback),
    params=("axes",),
    flops=lambda e: TRANSCENDENTAL * e.args[0].type.size,
)
"""exp(Σ log x): nothing on the way overflows; a factor of zero has the slope of a product."""
