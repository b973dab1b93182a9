"""Divided differences: (f(x) - f(y)) / (x - y), which is a slope of f where x and y meet.

The logarithmic mean (x - y) / (log x - log y) is the inverse of one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from symgrad.expr import Expr, Op, add, div, sub
from symgrad.laws.limits import ZERO_OVER_ZERO, removable_singularity
from symgrad.laws.parameters import limit_in_a_parameter
from symgrad.laws.terms import number, scaled, terms
from symgrad.ops.pointwise import abs_, cos, exp, expm1, log, log1p, lt, select, sin
from symgrad.ops.shape import broadcast
from symgrad.ops.waves import cos_of_sum, sin_of_sum
from symgrad.pattern import rewrites


def _sinc(d: Expr) -> Expr:
    h = d * 0.5
    return sin(h) / h


SLOPES: Mapping[Op, Callable[[Expr, Expr, Expr], Expr]] = {
    exp: lambda x, y, d: exp(y) * (expm1(d) / d),
    log: lambda x, y, d: log1p(d / y) / (d / y) / y,
    sin: lambda x, y, d: cos_of_sum(y, d * 0.5) * _sinc(d),
    cos: lambda x, y, d: -(sin_of_sum(y, d * 0.5) * _sinc(d)),
}
"""The divided difference of each function, from x, y and x - y, where that is small."""


@rewrites(div, exact=False, written_only=True, protects=ZERO_OVER_ZERO)
def divided_difference(e: Expr) -> Expr | None:
    """(f(x) - f(y)) / (x - y) by functions of x - y, where that is small; and its inverse"""
    top, bottom = e.args
    if not e.type.real or top.shape != bottom.shape:
        return None
    for values, operands in ((top, bottom), (bottom, top)):
        difference = _difference(operands)
        if difference is None:
            continue
        c, x, y = difference
        found = _of_function(values, x, y)
        if found is None:
            continue
        k, function = found
        d = x - y
        small = lt(abs_(d), 0.5 * abs_(y) if function is log else 1.0)
        slope = SLOPES[function](x, y, d) * (k / c)
        near = slope if values is top else 1 / slope
        return select(small, near, top / select(small, 1, bottom))
    return None


def _difference(e: Expr) -> tuple[float, Expr, Expr] | None:
    """c, x and y of c x - c y."""
    if e.op is sub and all(number(a) is None for a in e.args):
        x, y = e.args
        return 1.0, x, y
    parts = terms(e)
    if parts is None or len(parts) != 2:
        return None
    (c, x), (k, y) = parts
    if x is None or y is None or c != -k or x.shape != y.shape:
        return None
    return c, x, y


def _of_function(e: Expr, x: Expr, y: Expr) -> tuple[float, Op] | None:
    """The factor k and the function f of k f(x) - k f(y)."""
    k, inner = scaled(e)
    if inner.op is log and inner.args[0].op is div:
        u, v = inner.args[0].args
        signs = {(x, y): k, (y, x): -k}
        return (signs[u, v], log) if (u, v) in signs else None
    difference = _difference(e)
    if difference is None:
        return None
    c, *values = difference
    first, second = map(_function, values)
    if first is None or second is None or first[0] is not second[0]:
        return None
    signs = {(x, y): c, (y, x): -c}
    operands = first[1], second[1]
    return (signs[operands], first[0]) if operands in signs else None


def _function(e: Expr) -> tuple[Op, Expr] | None:
    """A function and its operand, which may have been repeated after it was applied."""
    inner = e.args[0] if e.op is broadcast else e
    if inner.op not in SLOPES:
        return None
    (x,) = inner.args
    return inner.op, broadcast(x, **e.params) if e.op is broadcast else x


@rewrites(div, exact=False, written_only=True, protects=ZERO_OVER_ZERO)
def inverse_of_a_limit(e: Expr) -> Expr | None:
    """k / (1 - (1 + k)⁻ⁿ) is one over a quotient with a limit at k = 0"""
    top, bottom = e.args
    if number(top) is not None or top.shape != e.shape or bottom.op not in (add, sub, expm1):
        return None
    found = limit_in_a_parameter.rewrite(bottom / top)
    if found is None or removable_singularity.rewrite(e) is not None:
        return None
    return 1 / found
