"""Quotients of sums of exponentials, whose parts leave the range of numbers before they do."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import NamedTuple

from symgrad.expr import Expr, Op, add, constant, div, mul, sub
from symgrad.laws.terms import (
    are_opposite,
    factors,
    power_of,
    product,
    quotient_factors,
    terms,
    total,
)
from symgrad.ops.pointwise import exp, expm1, integer_power, logistic, maximum
from symgrad.ops.shares import exponential_quotient, overflow_shift
from symgrad.pattern import rewrites
from symgrad.structure import is_finite
from symgrad.walk import topological

OVERFLOW = "overflow of exponentials above and below"


class _Part(NamedTuple):
    """`coefficient * node * function(exponent)`; None is 1, and 1 for the function of None."""

    coefficient: float
    node: Expr | None
    function: Op | None
    exponent: Expr | None


@rewrites(div, exact=False, written_only=True, protects=OVERFLOW)
def quotient_by_several_exponentials(e: Expr) -> Expr | None:
    """Σ a exp(u) / Σ b exp(v) = Σ a exp(u - m) / Σ b exp(v - m), where the largest v is large"""
    top, bottom = e.args
    below = _parts(bottom) if bottom.op in (add, sub) and e.type.real else None
    above = None if below is None else _parts(top)
    if below is None or above is None or not any(map(_may_overflow, below)):
        return None
    parts = (*above, *below)
    exponents = {p.exponent for p in parts}
    shifts = topological([u for u in exponents if u is not None])
    known = any(p.function is expm1 for p in parts) or any(n.op is overflow_shift for n in shifts)
    if len(exponents) < 3 or known:
        return None
    grown = (constant(0, e.dtype) if p.exponent is None else p.exponent for p in below)
    largest = functools.reduce(maximum, dict.fromkeys(grown))
    shift = overflow_shift(largest)
    return _shifted(above, shift, e) / _shifted(below, shift, e)


def _shifted(parts: Sequence[_Part], shift: Expr, like: Expr) -> Expr:
    found = []
    for p in parts:
        grown = exp(-shift if p.exponent is None else p.exponent - shift)
        found.append((p.coefficient, grown if p.node is None else p.node * grown))
    return total(found, like.type)


@rewrites(div, exact=False, written_only=True, protects=OVERFLOW)
def quotient_of_exponentials(e: Expr) -> Expr | None:
    """(a exp(x) + b) / (c exp(x) + d), by exp(-|x|)"""
    top, bottom = e.args
    base, count = power_of(bottom) or (bottom, 1)
    below = _parts(base) if base.op in (add, sub) and e.type.real else None
    above = None if below is None else _parts(top)
    if below is None or above is None or not any(map(_may_overflow, below)):
        return None
    functions = [{p.function for p in parts if p.function} for parts in (above, below)]
    exponents = list(dict.fromkeys(p.exponent for p in (*below, *above)))
    plain = None in exponents or expm1 not in functions[0] | functions[1]
    if len(exponents) != 2 or max(map(len, functions)) > 1 or not plain:
        return None
    second, first = sorted(exponents, key=lambda u: u is not None)
    assert first is not None
    x = first if second is None else first - second
    c, d = (_coefficient(below, u, e) for u in (first, second))
    a, b = (_coefficient(above, u, e) for u in (first, second))
    less = [expm1 in f for f in functions]
    found = exponential_quotient(x, a, b, c, d, less_above=less[0], less_below=less[1])
    if count == 1:
        return found
    if second is not None:
        return None
    one = (constant(v, e.dtype) for v in (0, 1))
    inverse = exponential_quotient(x, *one, c, d, less_above=False, less_below=less[1])
    return found * integer_power(inverse, count - 1)


def _parts(e: Expr) -> list[_Part] | None:
    """The terms of a sum by their exponentials."""
    found: list[_Part] = []
    for coefficient, node in terms(e) or ():
        members = [] if node is None else factors(node)
        growing = [f for f in members or () if f.op in (exp, expm1)]
        if members is None or len(growing) > 1:
            return None
        others = [f for f in members if f not in growing]
        rest = product(others) if others else None
        function, exponent = (growing[0].op, growing[0].args[0]) if growing else (None, None)
        found.append(_Part(coefficient, rest, function, exponent))
    return found or None


def _may_overflow(part: _Part) -> bool:
    return part.exponent is not None and not is_finite(exp(part.exponent))


def _coefficient(parts: Sequence[_Part], exponent: Expr | None, like: Expr) -> Expr:
    """What an exponential is multiplied by in a sum; parts that are numbers have no shape."""
    members = [(p.coefficient, p.node) for p in parts if p.exponent is exponent]
    if all(node is None for _, node in members):
        return constant(sum(c for c, _ in members), like.dtype)
    return total(members, like.type)


@rewrites(mul, exact=False, protects=OVERFLOW)
def exponential_times_logistic(e: Expr) -> Expr | None:
    """exp(x) logistic(-x) = logistic(x)"""
    parts = factors(e) if e.type.real else None
    for f, g in itertools.permutations(parts or (), 2):
        if f.op is exp and g.op is logistic and are_opposite(*f.args, *g.args):
            return product([logistic(*f.args), *(p for p in parts or () if p not in (f, g))])
    return None


@rewrites(mul, div, exact=False, protects=OVERFLOW)
def exponential_over_itself(e: Expr) -> Expr | None:
    """a exp(x) / exp(x) = a"""
    above, below = quotient_factors(e)
    common = next((f for f in below if f.op is exp and f in above), None)
    if common is None or len(above) == 1 or not e.type.real:
        return None
    above.remove(common)
    below.remove(common)
    found = functools.reduce(div, below, product(above))
    return found if found.type == e.type else None
