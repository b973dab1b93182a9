"""Functions that are rebuilt from logarithms and quotients, with derivatives of their own."""

from __future__ import annotations

from symgrad.derive import pushforward
from symgrad.expr import Custom, Expr, Op, Pointwise, Type, elementwise_type
from symgrad.ops import accurate
from symgrad.ops.pointwise import (
    TRANSCENDENTAL,
    eq,
    integer_power,
    logistic,
    lorentzian,
    lt,
    power,
    select,
)
from symgrad.ops.reduce import product_of_others, reduce_prod
from symgrad.ops.shape import axes_source, expand, full, reduced_type, zeros

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
log1p_tanh = Op(
    "log1p_tanh",
    elementwise_type,
    "log1p_tanh(x)",
    Pointwise(lambda g, y, x: g * (2 * logistic(-(2 * x)))),
    elementwise=True,
    flops=lambda e: 2 * TRANSCENDENTAL * e.type.size,
    helpers=(accurate.log1p_tanh,),
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


def _pullback(g: Expr, y: Expr, x: Expr) -> tuple[Expr]:
    return (product_of_others(g, y, select(lt(x, 0), float("nan"), x)),)


product_by_logs = Op(
    "product_by_logs",
    reduced_type,
    lambda e: f"jnp.exp(jnp.sum(jnp.log(x){axes_source(e)}))",
    Custom(_pullback),
    params=("axes",),
    flops=lambda e: TRANSCENDENTAL * e.args[0].type.size,
)
"""exp(Σ log x): nothing on the way overflows; a factor of zero has the slope of a product."""


def _power_type(x: Type, *, axes: tuple[int, ...], exponent: float) -> Type:
    return reduced_type(x, axes=axes)


def _power_slope(g: Expr, y: Expr, x: Expr) -> tuple[Expr]:
    """Of a factor of zero the slope of the product as it is written."""
    axes, exponent = y.params["axes"], y.params["exponent"]
    whole = reduce_prod(x, axes=axes)
    at_zero = product_of_others(g * exponent * power(whole, exponent - 1), whole, x)
    is_zero = eq(x, 0)
    elsewhere = expand(g * exponent * y, axes, x.shape) / select(is_zero, 1, x)
    return (select(is_zero, at_zero, elsewhere),)


power_of_product = Op(
    "power_of_product",
    _power_type,
    lambda e: f"power_of_product(x, {e.params['exponent']!r}, {e.params['axes']!r})",
    Custom(_power_slope),
    params=("axes", "exponent"),
    flops=lambda e: TRANSCENDENTAL * e.args[0].type.size,
    helpers=(accurate.power_of_product,),
)
"""(Π x)^p over axes."""


def _slopes_of_factors(g: Expr, y: Expr, *factors: Expr) -> tuple[Expr, ...]:
    count = y.params["above"]
    return tuple(g / x if i < count else -(g / x) for i, x in enumerate(factors))


def _moved_factors(tangents: tuple[Expr | None, ...], y: Expr, *factors: Expr) -> Expr | None:
    count, found = y.params["above"], None
    for i, (moved, x) in enumerate(zip(tangents, factors, strict=True)):
        if moved is None:
            continue
        part = moved / x if i < count else -(moved / x)
        found = part if found is None else found + part
    return found


log_of_factors = Op(
    "log_of_factors",
    lambda *xs, above: elementwise_type(*xs),
    "log_of_factors(*xs, above={above})",
    Custom(_slopes_of_factors, _moved_factors),
    params=("above",),
    elementwise=True,
    flops=lambda e: 2 * TRANSCENDENTAL * e.type.size,
    helpers=(accurate.log_of_factors,),
)
"""The logarithm of the product of the first operands over that of the others."""


def _softplus_hazard_partial(g: Expr, y: Expr, x: Expr) -> Expr:
    return g * (y * (logistic(-x) - y))


softplus_hazard = Op(
    "softplus_hazard",
    elementwise_type,
    "softplus_hazard(x)",
    Pointwise(_softplus_hazard_partial),
    elementwise=True,
    flops=lambda e: 2 * TRANSCENDENTAL * e.type.size,
    helpers=(accurate.softplus_hazard,),
)
"""logistic(x) / softplus(x)"""
log_softplus = Op(
    "log_softplus",
    elementwise_type,
    "log_softplus(x)",
    Pointwise(lambda g, y, x: g * softplus_hazard(x)),
    elementwise=True,
    flops=lambda e: 2 * TRANSCENDENTAL * e.type.size,
    helpers=(accurate.log_softplus,),
)
"""log(softplus(x)), which is x far below zero."""


def _others_slope(g: Expr, y: Expr, x: Expr) -> Expr:
    """How the products change along `g`: the same matrix in both modes, for it is symmetric."""
    whole = reduce_prod(x, **y.params)
    products = product_of_others(full(1, whole.type), whole, x)
    (found,) = pushforward([products], [x], [g])
    return zeros(x.type) if found is None else found


product_of_others_by_logs = Op(
    "product_of_others_by_logs",
    lambda x, *, axes: x,
    "product_of_others_by_logs(x, {axes})",
    Custom(
        lambda g, y, x: (_others_slope(g, y, x),),
        lambda tangents, y, x: _others_slope(tangents[0], y, x),
    ),
    params=("axes",),
    flops=lambda e: TRANSCENDENTAL * e.type.size,
    helpers=(accurate.product_of_others_by_logs,),
)
"""For every entry the product of all others over axes, where none is negative."""
