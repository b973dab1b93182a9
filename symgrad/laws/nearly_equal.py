"""Functions of one variable that nearly cancel at a point: sin(x) - x, (1 + x)¹² - 1."""

from __future__ import annotations

import math

from symgrad.expr import Expr, add, literal, sub
from symgrad.laws.cancel import PROTECTS
from symgrad.laws.limits import by_series, repeated
from symgrad.laws.moves import moved, unmoved
from symgrad.laws.poles import Pole, centres
from symgrad.laws.separate import LARGEST_SUM, RULES, Term, product, separate
from symgrad.laws.terms import terms, total
from symgrad.ops.pointwise import power
from symgrad.ops.stable import power_less_one
from symgrad.pattern import rewrites
from symgrad.series import laurent, leading, real_value

MOST = 3
"""So many arrays are tried as that which a difference is a function of."""


@rewrites(add, sub, exact=False, written_only=True, protects=PROTECTS)
def cancelling_functions(e: Expr) -> Expr | None:
    """f(x) - g(x) by the Taylor series of the difference, near a point where both are equal"""
    for v in _variables(e) if e.type.real else ():
        found = separate(e, v)
        if found is None or len(found.terms) != 1:
            continue
        (t,) = found.terms
        for centre in centres(t.whole, itself=False):
            if _cancels(t, centre) and (near := by_series(t.whole, Pole(v, centre))) is not None:
                return product(t, repeated(near, e, found.axes))
    return None


def _cancels(t: Term, centre: float) -> bool:
    """Whether the first terms of two series cancel.

    Linear functions are computed exactly, and near an ordinary zero away from 0 the rounding of
    the argument weighs as much as that of the difference.
    """
    function = t.function
    if function.op not in (add, sub) or leading(function, centre) is not None:
        return False
    if real_value(function, centre) != 0:
        return False
    series = laurent(t.whole, centre)
    if series is None or not any(series.coefficients[max(0, 2 - series.valuation) :]):
        return False
    if centre and series.valuation < 2:
        return False
    order = series.valuation - (0 if centre else t.power)
    return any(_order(a, centre) < order for a in function.args)


def _order(function: Expr, centre: float) -> float:
    """The lowest power in a series; infinite for what has none."""
    if real_value(function, centre):
        return 0
    series = laurent(function, centre)
    return series.valuation if series is not None and series.coefficients else math.inf


def _variables(e: Expr) -> list[Expr]:
    """What both operands of a sum are functions of."""
    first, second = (_inside(a) for a in e.args)
    if not first or not second:
        inner = _innermost(e.args[0] if first else e.args[1]) if first or second else None
        return [] if inner is None else [inner]
    common = [n for n in first if n in second]
    within = {a for n in common for a in n.args}
    return [n for n in common if n not in within][:MOST]


def _innermost(e: Expr) -> Expr | None:
    """The one array that a function is of; None if it is the array itself."""
    start = e
    while e.op in RULES:
        operands = [a for a in e.args if a.op is not literal]
        if len(operands) == 2:
            operands = _variables(e)
        if len(operands) != 1:
            break
        (e,) = operands
    return None if e is start else e


def _inside(e: Expr) -> dict[Expr, None]:
    """The nodes that an expression is put together of, without literals."""
    found: dict[Expr, None] = {}
    stack = [e]
    while stack and len(found) < 2 * LARGEST_SUM:
        node = stack.pop()
        if node.op is not literal and node not in found:
            found[node] = None
            if node.op in RULES:
                stack.extend(node.args)
    return found


@rewrites(add, sub, exact=False, written_only=True, protects=PROTECTS)
def power_of_nearly_one(e: Expr) -> Expr | None:
    """(1 + x)ⁿ - 1 by log1p and expm1 where the power is nearly 1"""
    parts = (terms(e) if e.type.real else None) or []
    for t in parts:
        c, node = t
        moves, whole = unmoved(node) if node is not None else ([], e)
        x = _above_one(whole.args[0]) if whole.op is power else None
        if x is None or (-c, None) not in parts or not whole.args[1].type.inexact:
            continue
        rest = [p for p in parts if p not in (t, (-c, None))]
        return total([(c, moved(power_less_one(x, whole.args[1]), moves)), *rest], e.type)
    return None


def _above_one(e: Expr) -> Expr | None:
    """x of 1 + x."""
    moves, inner = unmoved(e)
    parts = terms(inner) if inner.op in (add, sub) else None
    if parts is None or (1.0, None) not in parts:
        return None
    return moved(total([p for p in parts if p != (1.0, None)], inner.type), moves)
