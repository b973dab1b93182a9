"""Logarithms of sums of squares, of plain products, and of small differences of probabilities."""

from __future__ import annotations

import math

from symgrad.expr import Expr, div, mul, sub
from symgrad.laws.exponential import Kind, kind, plus_square
from symgrad.laws.norms import length_of_square
from symgrad.laws.terms import number
from symgrad.ops.pointwise import abs_, log, logistic, maximum, minimum, softplus
from symgrad.ops.products import log1p_square, log_of_factors
from symgrad.ops.shape import broadcast, reshape_op, spread
from symgrad.ops.shares import geometric_mean
from symgrad.ops.stable import log1mexp_op, log_abs
from symgrad.pattern import rewrites

RANGE = "a product that leaves the range of numbers"
CANCELS = "the difference of two probabilities near 1"
LARGEST_PRODUCT = 8


@rewrites(log, log_abs, exact=False, protects="squares that leave the range of numbers")
def log_of_number_and_square(e: Expr) -> Expr | None:
    """log(c + k x²) = log(c) + log(1 + (√(k / c) x)²) for positive numbers c and k"""
    found = plus_square(e.args[0])
    if found is None or not e.type.real:
        return None
    c, x = found
    return log1p_square(x) if c == 1 else log1p_square(x) + math.log(c)


@rewrites(log, log_abs, exact=False, protects="squares that leave the range of numbers")
def log_of_squared_length(e: Expr) -> Expr | None:
    """log Σx² = 2 log |x|"""
    (x,) = e.args
    if x.op in (broadcast, reshape_op):
        return None
    length = length_of_square(x)
    return None if length is None else 2 * log(length)


@rewrites(log, log_abs, exact=False, protects=CANCELS)
def log_of_difference_of_logistics(e: Expr) -> Expr | None:
    """log(σ(x) - σ(y)) = log σ(x) + log σ(-y) + log(1 - exp(y - x))"""
    (inner,) = e.args
    if inner.op is not sub or any(a.op is not logistic for a in inner.args):
        return None
    x, y = (a.args[0] for a in inner.args)
    if e.op is log_abs:
        x, y = maximum(x, y), minimum(x, y)
    return log1mexp_op(y - x) - softplus(-x) - softplus(y)


@rewrites(log, log_abs, exact=False, protects=RANGE)
def log_of_plain_product(e: Expr) -> Expr | None:
    """log(x y / z), from the exponents of its factors where it leaves the range of numbers"""
    (inner,) = e.args
    if inner.op is geometric_mean:
        x, y = inner.args
        return e.op(x * y) / 2
    if inner.op not in (mul, div) or kind(inner) is not Kind.PLAIN or not e.type.real:
        return None
    above, below = _plain_factors(inner)
    varying = [f for f in (*above, *below) if number(f) is None]
    if len(varying) < 2 or len(above) + len(below) > LARGEST_PRODUCT:
        return None
    operands = [f if f.shape == e.shape else spread(f, e.shape) for f in (*above, *below)]
    if e.op is log_abs:
        operands = [abs_(f) for f in operands]
    return log_of_factors(*operands, above=len(above))


def _plain_factors(e: Expr) -> tuple[list[Expr], list[Expr]]:
    """The factors of a product, and those that it is divided by."""
    found: tuple[list[Expr], list[Expr]] = ([], [])
    waiting = [(e, 0)]
    while waiting and len(found[0]) + len(found[1]) + len(waiting) <= LARGEST_PRODUCT + 1:
        node, side = waiting.pop()
        if node.op in (mul, div):
            first, second = node.args
            waiting += [(second, side if node.op is mul else 1 - side), (first, side)]
        else:
            found[side].append(node)
    for node, side in waiting:
        found[side].append(node)
    return found
