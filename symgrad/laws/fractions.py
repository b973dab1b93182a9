"""Sums of fractions whose numerators cancel, brought to their common denominator."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce as fold

from symgrad.expr import Expr, add, div, sub
from symgrad.laws.polynomials import combined, key
from symgrad.laws.terms import Term, factors, product, scaled, terms, total
from symgrad.ops.pointwise import integer_power_op
from symgrad.pattern import rewrites

LONGEST_NUMERATOR = 24
"""So many terms of a numerator are multiplied out."""


@dataclass(frozen=True, slots=True)
class Fraction:
    """A number times a quotient; the denominator as a list of factors."""

    above: list[Term]
    below: tuple[Expr, ...]


@rewrites(add, sub, exact=False, protects="cancellation")
def sum_of_fractions(e: Expr) -> Expr | None:
    """1/(x + 1) - 2/x + 1/(x - 1) = 2/(x + 1)/x/(x - 1), where numerators cancel to a number"""
    parts = terms(e) if e.type.real else None
    if parts is None or not any(node is not None and _is_quotient(node) for _, node in parts):
        return None
    fractions = [_fraction(c, node) for c, node in parts]
    if any(f is None for f in fractions):
        return None
    known = [f for f in fractions if f is not None]
    if len({f.below for f in known}) < 2:
        return None
    common = fold(lambda found, f: found | Counter(f.below), known, Counter[Expr]())
    numerator = _numerator(known, common)
    # A number over a product rounds less everywhere; other quotients need not.
    if numerator is None or _degree(numerator) > 0:
        return None
    above = total(numerator, e.type.with_shape(_shape(common)))
    return fold(div, common.elements(), above)


def _is_quotient(e: Expr) -> bool:
    return e.op is div or (e.op is integer_power_op and e.params["exponent"] == -1)


def _shape(common: Counter[Expr]) -> tuple[int, ...]:
    return max((f.shape for f in common), key=len)


def _fraction(c: float, node: Expr | None) -> Fraction | None:
    """A term as a fraction; None if its numerator has too many terms."""
    if node is None or not _is_quotient(node):
        return Fraction([(c, node)], ())
    if node.op is integer_power_op:
        return Fraction([(c, None)], node.args)
    top, bottom = node.args
    above = terms(top)
    factor, rest = scaled(bottom)
    below = factors(rest)
    if above is None or below is None:
        return None
    return Fraction([(c / factor * k, a) for k, a in above], tuple(below))


def _numerator(fractions: Sequence[Fraction], common: Counter[Expr]) -> list[Term] | None:
    """The sum over the common denominator; None if nothing cancels in it."""
    found: list[Term] = []
    for f in fractions:
        missing = [terms(x) for x in (common - Counter(f.below)).elements()]
        if any(m is None for m in missing):
            return None
        choices = [f.above, *(m for m in missing if m is not None)]
        if math.prod(map(len, choices)) + len(found) > LONGEST_NUMERATOR:
            return None
        found += [_multiplied(chosen) for chosen in itertools.product(*choices)]
    kept = combined(found)
    return kept if kept and _degree(kept) < _degree(found) else None


def _multiplied(parts: Sequence[Term]) -> Term:
    nodes = [node for _, node in parts if node is not None]
    return math.prod(c for c, _ in parts), product(nodes) if nodes else None


def _degree(parts: Sequence[Term]) -> int:
    return max(len(key(node)) for _, node in parts)
