"""Intermediate values that leave the range of numbers, or are zero, where the result is not."""

from __future__ import annotations

import math

import numpy as np

from symgrad.expr import Expr, Op, add, div, mul, sub
from symgrad.laws.exponential import doubled_hyperbolic
from symgrad.laws.norms import length_of_square
from symgrad.laws.polynomials import MOVES
from symgrad.laws.terms import (
    are_opposite,
    number,
    power_of,
    scaled,
    squared,
    terms,
    total,
)
from symgrad.ops.pointwise import (
    cosh,
    exp,
    expm1,
    integer_power,
    log,
    log1p,
    logistic,
    lt,
    select,
    sinh,
    sqrt,
    square,
    tanh,
)
from symgrad.ops.products import log1p_square, over_one_plus_square, product_by_logs, saturation
from symgrad.ops.shape import reduce_sum
from symgrad.pattern import equation, rewrites
from symgrad.structure import is_nonnegative

OVERFLOW = "overflow on the way"
ZERO = "a factor of zero"


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


def _root_of_square(e: Expr) -> Expr | None:
    """√c x of c x², and x / y of x² / y²."""
    factor, inner = scaled(e)
    if factor <= 0:
        return None
    base = squared(inner)
    if base is None and inner.op is div:
        above, below = (squared(a) for a in inner.args)
        base = None if above is None or below is None else above / below
    if base is None:
        return None
    return base if factor == 1 else total([(math.sqrt(factor), base)], base.type)


@rewrites(log1p, exact=False, protects=OVERFLOW)
def log_of_one_plus_square(e: Expr) -> Expr | None:
    """log(1 + c x²) grows with log |x|"""
    x = _root_of_square(e.args[0]) if e.type.real else None
    return None if x is None else log1p_square(x)


@rewrites(div, exact=False, protects=OVERFLOW)
def quotient_by_one_plus_square(e: Expr) -> Expr | None:
    """a x / (b + c x²) = a / √(b c) u / (1 + u²) for u = √(c / b) x and positive numbers b and c"""
    a, x = scaled(e.args[0])
    parts = terms(e.args[1]) if e.args[1].op is add and e.type.real else None
    if parts is None or len(parts) != 2 or number(e.args[0]) is not None:
        return None
    (b, one), (c, power) = parts if parts[0][1] is None else parts[::-1]
    if one is not None or power is None or squared(power) is not x or min(b, c) <= 0:
        return None
    u = total([(math.sqrt(c / b), x)], x.type)
    return total([(a / math.sqrt(b * c), over_one_plus_square(u))], e.type)


@rewrites(div, exact=False, protects=OVERFLOW)
def saturating_quotient(e: Expr) -> Expr | None:
    """xⁿ / (c + xⁿ) for c ≥ 0 is 1 / (1 + c / xⁿ) for large x"""
    top, bottom = e.args
    power = power_of(top) if e.type.real else None
    parts = terms(bottom) if power is not None else None
    if power is None or parts is None or (1.0, top) not in parts or len(parts) != 2:
        return None
    x, exponent = power
    c = total([t for t in parts if t[1] is not top], top.type)
    if not is_nonnegative(c) or length_of_square(bottom) is not None:
        return None
    return saturation(x, c, top=exponent, exponent=exponent)


# Factors of zero


@rewrites(exp, exact=False, protects=ZERO)
def product_from_logarithms(e: Expr) -> Expr | None:
    """exp(n Σ log x) = (Π x)ⁿ, with the derivative of the product"""
    factor, inner = scaled(e.args[0])
    if not (factor >= 1 and factor.is_integer() and factor <= 64) or not e.type.real:
        return None
    if inner.op is reduce_sum and inner.args[0].op is log:
        found = product_by_logs(inner.args[0].args[0], **inner.params)
    elif inner.op is log:
        (x,) = inner.args
        found = select(lt(x, 0), np.nan, x)
    else:
        return None
    return integer_power(found, int(factor))


@rewrites(square, mul, exact=False, protects=ZERO)
def square_of_a_root(e: Expr) -> Expr | None:
    """(√x)² = x for x that is not negative"""
    root = squared(e)
    if root is None or root.op is not sqrt or not e.type.real:
        return None
    (x,) = root.args
    return select(lt(x, 0), np.nan, x)


@rewrites(exp, exact=False, protects=ZERO)
def product_from_sum_of_logarithms(e: Expr) -> Expr | None:
    """exp(log x + log y) = x y and exp(log x - log y) = x / y for x and y that are not negative"""
    (inner,) = e.args
    parts = terms(inner) if inner.op in (add, sub) and e.type.real else None
    if parts is None or len(parts) != 2 or parts[0][0] != 1 or abs(parts[1][0]) != 1:
        return None
    operands = [None if node is None else _of_logarithm(node) for _, node in parts]
    if any(x is None for x in operands):
        return None
    x, y = (select(lt(x, 0), np.nan, x) for x in operands if x is not None)
    return x * y if parts[1][0] > 0 else x / y


def _of_logarithm(e: Expr) -> Expr | None:
    """x of log(x), entries of which may have been moved."""
    moves = []
    while e.op in MOVES:
        moves.append(e)
        (e,) = e.args
    if e.op is not log:
        return None
    (x,) = e.args
    for move in reversed(moves):
        x = move.op(x, **move.params)
    return x


@equation(exact=False, protects="overflow of exp in a divisor")
def weighted_by_logistic(x, y):
    return y / (1 + exp(-x)), y * logistic(x)


@equation(exact=False, protects="overflow of exp in a divisor")
def weighted_by_logistic_of_minus(x, y):
    return y / (1 + exp(x)), y * logistic(-x)
