"""Intermediate values that leave the range of numbers, or are zero, where the result is not."""

from __future__ import annotations

import jax
import numpy as np

from symgrad.expr import Expr, Op, div, mul
from symgrad.laws.exponential import doubled_hyperbolic
from symgrad.laws.terms import are_opposite, scaled, terms, total
from symgrad.ops.pointwise import (
    cosh,
    exp,
    expm1,
    integer_power,
    integer_power_op,
    log,
    log1p,
    logistic,
    lt,
    select,
    sinh,
    square,
    tanh,
)
from symgrad.ops.products import log1p_square, over_one_plus_square, product_by_logs, saturation
from symgrad.ops.reduce import cumprod, product_of_others, reduce_prod, shifted
from symgrad.ops.shape import broadcast, full, reduce_sum, reshape_op
from symgrad.pattern import equation, rewrites
from symgrad.structure import is_nonnegative

OVERFLOW = "overflow on the way"
ZERO = "a factor of zero"


def _is_real(e: Expr) -> bool:
    return jax.dtypes.issubdtype(e.dtype, np.floating)


@equation(exact=False, protects=OVERFLOW)
def tanh_from_expm1(x):
    return expm1(x) / (exp(x) + 1), tanh(x / 2)


@rewrites(div, exact=False, protects=OVERFLOW)
def tanh_from_hyperbolic_quotient(e: Expr) -> Expr | None:
    """(a sinh(x)) / (b cosh(x)) = (a / b) tanh(x)"""
    above, below = (_hyperbolic(x) for x in e.args)
    if above is None or below is None or above[1] is not sinh or below[1] is not cosh:
        return None
    (a, _, x), (b, _, y) = above, below
    return total([(a / b, tanh(x))], e.type) if x is y or are_opposite(x, y) else None


def _hyperbolic(e: Expr) -> tuple[float, Op, Expr] | None:
    """A number times cosh or sinh of x, also where they are written with exponentials."""
    factor, rest = scaled(e)
    if rest.op in (sinh, cosh):
        return factor, rest.op, rest.args[0]
    found = doubled_hyperbolic(rest)
    return found and (2 * factor, *found)


@equation(exact=False, protects=OVERFLOW)
def log_of_one_plus_square(x):
    return log1p(square(x)), log1p_square(x)


@equation(exact=False, protects=OVERFLOW)
def log_of_one_plus_product(x):
    return log1p(x * x), log1p_square(x)


@equation(exact=False, protects=OVERFLOW)
def quotient_by_one_plus_square(x):
    return x / (1 + square(x)), over_one_plus_square(x)


@equation(exact=False, protects=OVERFLOW)
def quotient_by_one_plus_product(x):
    return x / (1 + x * x), over_one_plus_square(x)


def _power(e: Expr) -> tuple[Expr, int] | None:
    """The base and exponent of a power that may overflow."""
    if e.op is square:
        return e.args[0], 2
    if e.op is mul and e.args[0] is e.args[1]:
        return e.args[0], 2
    exponent = e.params["exponent"] if e.op is integer_power_op else 0
    return (e.args[0], exponent) if exponent > 1 else None


@rewrites(div, exact=False, protects=OVERFLOW)
def saturating_quotient(e: Expr) -> Expr | None:
    """xⁿ / (c + xⁿ) for c ≥ 0 is 1 / (1 + c / xⁿ) for large x"""
    top, bottom = e.args
    power = _power(top) if _is_real(e) else None
    parts = terms(bottom) if power is not None else None
    if power is None or parts is None or (1.0, top) not in parts or len(parts) != 2:
        return None
    x, exponent = power
    c = total([t for t in parts if t[1] is not top], top.type)
    if not is_nonnegative(c):
        return None
    return saturation(x, c, top=exponent, exponent=exponent)


# Factors of zero


@rewrites(exp, exact=False, protects=ZERO)
def product_from_logarithms(e: Expr) -> Expr | None:
    """exp(n Σ log x) = (Π x)ⁿ, with the derivative of the product"""
    factor, inner = scaled(e.args[0])
    if not (factor >= 1 and factor.is_integer() and factor <= 64) or not _is_real(e):
        return None
    if inner.op is reduce_sum and inner.args[0].op is log:
        found = product_by_logs(inner.args[0].args[0], **inner.params)
    elif inner.op is log:
        (x,) = inner.args
        found = select(lt(x, 0), np.nan, x)
    else:
        return None
    return integer_power(found, int(factor))


@rewrites(div, exact=False, protects=ZERO)
def product_of_the_other_factors(e: Expr) -> Expr | None:
    """(Π x) / xᵢ is the product of the others, and so for running products"""
    top, x = e.args
    if not _is_real(e):
        return None
    if top.op is cumprod and top.args[0] is x:
        return shifted(top, top.params["axis"], forward=not top.params["reverse"], fill=1)
    whole = top
    while whole.op in (broadcast, reshape_op):
        (whole,) = whole.args
    if whole.op is not reduce_prod or whole.args[0] is not x:
        return None
    if not _is_repeated_over(top, whole):
        return None
    return product_of_others(full(1, whole.type), whole, x)


def _is_repeated_over(top: Expr, whole: Expr) -> bool:
    """Whether each entry of `x` stands over the product that it is a factor of."""
    kept = tuple(a for a in range(whole.args[0].ndim) if a not in whole.params["axes"])
    if not kept:
        return True
    return top.op is broadcast and top.args[0] is whole and top.params["axes"] == kept


@equation(exact=False, protects="overflow of exp in a divisor")
def weighted_by_logistic(x, y):
    return y / (1 + exp(-x)), y * logistic(x)


@equation(exact=False, protects="overflow of exp in a divisor")
def weighted_by_logistic_of_minus(x, y):
    return y / (1 + exp(x)), y * logistic(-x)
