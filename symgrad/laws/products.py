"""Logarithms of plain products that leave the range of numbers."""

from __future__ import annotations

from symgrad.expr import Expr, div, mul
from symgrad.laws.exponential import Kind, kind
from symgrad.laws.terms import LONGEST, number, quotient_factors
from symgrad.ops.entropy import times_log_op
from symgrad.ops.pointwise import abs_, and_, eq, log, power, select, sqrt
from symgrad.ops.products import log_of_factors, power_of_product
from symgrad.ops.reduce import reduce_prod
from symgrad.ops.shape import spread
from symgrad.ops.shares import geometric_mean
from symgrad.ops.stable import log_abs
from symgrad.pattern import rewrites


@rewrites(log, log_abs, exact=False, protects="a product that leaves the range of numbers")
def log_of_plain_product(e: Expr) -> Expr | None:
    """log(x y / z), from the exponents of its factors where it leaves the range of numbers"""
    (inner,) = e.args
    if inner.op is geometric_mean:
        x, y = inner.args
        return e.op(x * y) / 2
    if inner.op not in (mul, div) or kind(inner) is not Kind.PLAIN or not e.type.real:
        return None
    above, below = quotient_factors(inner)
    varying = [f for f in (*above, *below) if number(f) is None]
    if len(varying) < 2 or len(above) + len(below) > LONGEST:
        return None
    operands = [f if f.shape == e.shape else spread(f, e.shape) for f in (*above, *below)]
    if e.op is log_abs:
        operands = [abs_(f) for f in operands]
    return log_of_factors(*operands, above=len(above))


@rewrites(power, sqrt, exact=False, protects="a product that leaves the range of numbers")
def power_of_a_product_over_axes(e: Expr) -> Expr | None:
    """(Π x)^p for a p that is not whole, from the logarithms where the product leaves the range"""
    exponent = 0.5 if e.op is sqrt else number(e.args[1])
    (whole, *_) = e.args
    if whole.op is not reduce_prod or exponent is None or exponent.is_integer():
        return None
    return power_of_product(*whole.args, exponent=exponent, **whole.params)


@rewrites(times_log_op, exact=False, protects="a product that leaves the range of numbers")
def weighted_log_of_plain_product(e: Expr) -> Expr | None:
    """w log(x y / z), in the same way; 0 where the weight and the product are 0"""
    weight, inner = e.args
    if weight is inner:
        return None
    logarithm = log(spread(inner, e.shape) if not inner.ndim else inner)
    found = log_of_plain_product.rewrite(logarithm)
    if found is None:
        return None
    # w log(w) is 0 there as well, and as steep.
    nothing = and_(eq(weight, 0), eq(inner, 0))
    return select(nothing, times_log_op(weight, weight), weight * found)
