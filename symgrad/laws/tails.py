"""Error functions and the normal distribution, far from the mode."""

from __future__ import annotations

import math

from symgrad.expr import Expr, div, literal_value, mul, neg
from symgrad.laws.terms import scaled, squared, terms, total
from symgrad.ops.pointwise import abs_, erfc, exp, gt, select, sqrt
from symgrad.ops.shape import uniform_value
from symgrad.ops.tails import erfc_hazard_op, ndtr
from symgrad.pattern import equation, rewrites


@equation(exact=False)
def two_minus_erfc(x):
    return 2 - erfc(x), erfc(-x)


@equation(exact=False)
def erfc_from_branches(x):
    return select(gt(x, 0), erfc(-abs_(x)), erfc(abs_(x))), erfc(-x)


@rewrites(mul, div, exact=False)
def normal_distribution_from_erfc(e: Expr) -> Expr | None:
    """erfc(-x / √2) / 2 is the normal distribution function"""
    tail = _halved(e)
    if tail is None or tail.op is not erfc:
        return None
    (z,) = tail.args
    negative = z.op is neg
    x = _times_root_two(z.args[0] if negative else z)
    if x is None:
        return None
    return ndtr(x if negative else -x)


def _halved(e: Expr) -> Expr | None:
    """What `e` is half of."""
    if e.op is div:
        return e.args[0] if uniform_value(e.args[1]) == 2 else None
    for half, x in (e.args, e.args[::-1]):
        if uniform_value(half) == 0.5:
            return x
    return None


def _times_root_two(z: Expr) -> Expr | None:
    """√2 z for z written as x / √2, so that nothing is rounded."""
    if z.op is div:
        x, root = z.args
        return x if _is_about(root, math.sqrt(2)) else None
    if z.op is mul:
        for root, x in (z.args, z.args[::-1]):
            if _is_about(root, math.sqrt(0.5)):
                return x
    return None


def _is_about(e: Expr, number: float) -> bool:
    """Whether a constant is a number, rounded to the constant's dtype."""
    if e.op is sqrt:
        value = literal_value(e.args[0])
        return value is not None and abs(float(value) - number**2) < 1e-12
    value = uniform_value(e)
    return value is not None and float(value) == float(type(value)(number))


@rewrites(div, mul, exact=False, protects="a density and a probability that both underflow")
def hazard_from_quotient(e: Expr) -> Expr | None:
    """exp(-x²) / erfc(x) = √π/2 h(x) with the hazard h, and exp(x²) erfc(x) is one over that"""
    for density, tail in (e.args, e.args[::-1]) if e.op is mul else (e.args,):
        (a, density), (b, tail) = scaled(density), scaled(tail)
        if density.op is not exp or tail.op not in (erfc, ndtr):
            continue
        (x,) = tail.args
        normal = tail.op is ndtr
        rest = _without_square(
            density.args[0], x, (0.5 if normal else 1) * (-1 if e.op is div else 1)
        )
        if rest is None:
            continue
        hazard = erfc_hazard_op(x * -math.sqrt(0.5) if normal else x)
        size = math.sqrt(math.pi) * (1 if normal else 0.5)
        found = hazard * (a / b * size) if e.op is div else a * b / size / hazard
        return found * exp(rest) if uniform_value(rest) != 0 else found
    return None


def _without_square(exponent: Expr, x: Expr, factor: float) -> Expr | None:
    """`exponent - factor x²`, if that square is one of its terms."""
    size, u = scaled(x)
    parts = terms(exponent) or []
    for i, (c, node) in enumerate(parts):
        root = None if node is None else squared(node)
        if root is None:
            continue
        k, v = scaled(root)
        if v is u and abs(c * k**2 - factor * size**2) <= 1e-6 * abs(factor) * size**2:
            return total([p for j, p in enumerate(parts) if j != i], exponent.type)
    return None
