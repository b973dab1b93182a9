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
    number,
    power_of,
    product,
    quotient_factors,
    terms,
    total,
)
from symgrad.ops.pointwise import (
    exp,
    expm1,
    integer_power,
    logistic,
    lorentzian,
    maximum,
    sinh,
)
from symgrad.ops.shares import exponential_quotient, overflow_shift
from symgrad.ops.stable import over_expm1, over_sinh, sech
from symgrad.pattern import rewrites
from symgrad.structure import is_finite
from symgrad.walk import topological

OVERFLOW = "overflow of exponentials above and below"
LARGEST_POWER = 3
"""By so many factors a number is divided one after the other."""


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
    below = _parts(base) if base.op in (add, sub, expm1) and e.type.real else None
    above = None if below is None else _parts(top)
    if below is None or above is None or not any(map(_may_overflow, below)):
        return None
    if base.op is expm1 and (len(above) == 1 or all(p.function is None for p in above)):
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


@rewrites(div, exact=False, written_only=True, protects=OVERFLOW)
def quotient_by_expm1(e: Expr) -> Expr | None:
    """a / (exp(x) - 1), whose slope stays in between; a exp(x) / (exp(x) - 1) = -a / (exp(-x) - 1)

    And so for powers of these.
    """
    top, bottom = e.args
    below = factors(bottom) if e.type.real else None
    found = next((p for p in map(_power_of_expm1, below or ()) if p), None)
    if below is None or found is None or is_finite(exp(found.x)):
        return None
    x, grown, above = found.x, exp(found.x), factors(top) or [top]
    quotient = product([f for f in above if f is not grown] or [constant(1, e.dtype)])
    for i in range(found.exponent):
        quotient = over_expm1(-quotient, -x) if i < above.count(grown) else over_expm1(quotient, x)
    more = [grown] * (above.count(grown) - found.exponent)
    below.remove(found.node)
    quotient = product([quotient, *more])
    return quotient / product(below) if below else quotient


class _Power(NamedTuple):
    """(exp(x) - 1)ⁿ"""

    node: Expr
    x: Expr
    exponent: int


def _power_of_expm1(e: Expr) -> _Power | None:
    base, count = power_of(e) or (e, 1)
    plain = base.op is expm1 and count <= LARGEST_POWER
    return _Power(e, base.args[0], count) if plain else None


@rewrites(mul, exact=False, protects="underflow of an exponential")
def factor_of_quotient_by_expm1(e: Expr) -> Expr | None:
    """a (1 / (exp(x) - 1)) = a / (exp(x) - 1), where 1 / exp(x) alone underflows"""
    for a, quotient in (e.args, e.args[::-1]):
        if quotient.op is over_expm1 and number(a) is None and a.shape == quotient.shape:
            above, x = quotient.args
            if (value := number(above)) is not None:
                return total([(value, over_expm1(a, x))], e.type)
    return None


@rewrites(div, exact=False, written_only=True, protects=OVERFLOW)
def quotient_by_sinh(e: Expr) -> Expr | None:
    """a / sinh(x), whose slope -a cosh(x) / sinh²(x) stays in between; and by powers of it"""
    top, bottom = e.args
    base, count = power_of(bottom) or (bottom, 1)
    if base.op is not sinh or count > LARGEST_POWER or not e.type.real:
        return None
    for _ in range(count):
        top = over_sinh(top, *base.args)
    return top


@rewrites(mul, exact=False, protects=OVERFLOW)
def exponential_times_lorentzian(e: Expr) -> Expr | None:
    """exp(x) / (1 + exp(x)²) = 1 / (2 cosh(x))"""
    parts = factors(e) if e.type.real else None
    for f, g in itertools.permutations(parts or (), 2):
        if f.op is exp and g.op is lorentzian and g.args[0] is f:
            rest = [p for p in parts or () if p not in (f, g)]
            return product([sech(*f.args) * 0.5, *rest])
    return None


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
