"""Logarithms of sums of squares, and of small differences of probabilities."""

from __future__ import annotations

import math

from symgrad.expr import Expr, sub
from symgrad.laws.exponential import plus_square
from symgrad.laws.norms import length_of_square
from symgrad.laws.terms import SPREADING
from symgrad.ops.pointwise import log, logistic, maximum, minimum, softplus
from symgrad.ops.products import log1p_square
from symgrad.ops.stable import log1mexp_op, log_abs
from symgrad.pattern import rewrites

CANCELS = "the difference of two probabilities near 1"


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
    if x.op in SPREADING:
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
