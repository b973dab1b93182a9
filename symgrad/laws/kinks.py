"""Kinks that cancel: what is put together from pieces with kinks, and has none.

At the kink the derivative of each piece is a choice, and the choices need not add up to
the derivative of the whole.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from symgrad.expr import Expr, Op, add, mul, neg, sub
from symgrad.laws.terms import Term, are_opposite, factors, number, product, scaled, terms, total
from symgrad.ops.pointwise import (
    abs_,
    ge,
    gt,
    integer_power,
    integer_power_op,
    le,
    logaddexp,
    lt,
    maximum,
    minimum,
    relu,
    select,
    sign,
    softplus,
    square,
)
from symgrad.pattern import rewrites

PROTECTS = "a wrong number at the kink"
EXTREMA: dict[Op, Op] = {maximum: maximum, minimum: minimum, relu: maximum, select: select}
COMPARISONS = {gt: maximum, ge: maximum, lt: minimum, le: minimum}


def _extremum(e: Expr | None) -> tuple[Op, Expr, Expr | None] | None:
    """The larger or smaller of two nodes; None as the second stands for zero."""
    if e is None or e.op not in EXTREMA:
        return None
    if e.op is relu:
        return maximum, e.args[0], None
    if e.op is select:
        test, x, y = e.args
        if test.op not in COMPARISONS or not _same(test.args, (x, y)):
            return None
        return COMPARISONS[test.op], x, None if number(y) == 0 else y
    x, y = e.args if number(e.args[0]) != 0 else e.args[::-1]
    return e.op, x, None if number(y) == 0 else y


def _same(xs: Sequence[Expr], ys: Sequence[Expr]) -> bool:
    """Whether both are the same nodes; zeros may be scalars or arrays."""
    return all(x is y or number(x) == number(y) == 0 for x, y in zip(xs, ys, strict=True))


@rewrites(add, sub, exact=False, protects=PROTECTS)
def kinks_of_a_sum(e: Expr) -> Expr | None:
    """max(x, y) + min(x, y) = x + y and max(x, y) + log(1 + exp(-|x - y|)) = log(eˣ + eʸ)"""
    parts = terms(e)
    if parts is None or not e.type.real or not any(t and t.op in EXTREMA for _, t in parts):
        return None
    for i, j in itertools.permutations(range(len(parts)), 2):
        merged = _larger_and_smaller(parts[i], parts[j]) or _larger_and_rest(parts[i], parts[j])
        if merged is not None:
            others = [p for k, p in enumerate(parts) if k not in (i, j)]
            return total([*merged, *others], e.type)
    return None


def _larger_and_smaller(first: Term, second: Term) -> list[Term] | None:
    """c max(x, y) + c min(x, y) = c x + c y; of zero, max(-x, 0) is -min(x, 0)."""
    larger, other = _extremum(first[1]), _extremum(second[1])
    if larger is None or other is None or larger[0] is not maximum:
        return None
    c = first[0]
    _, x, y = larger
    kind, u, v = other
    if kind is minimum and c == second[0]:
        if (u is x and v is y) or (u is y and v is x):
            return [(c, x)] if y is None else [(c, x), (c, y)]
    elif kind is maximum and c == -second[0] and y is v is None and are_opposite(x, u):
        return [(c, x)]
    return None


def _larger_and_rest(first: Term, second: Term) -> list[Term] | None:
    """c max(x, y) + c log(1 + exp(-|x - y|)) = c logaddexp(x, y), and so for -min."""
    found, rest = _extremum(first[1]), second[1]
    if found is None or rest is None or rest.op is not softplus:
        return None
    kind, x, y = found
    c = first[0] if kind is maximum else -first[0]
    apart = scaled(rest.args[0])
    if c != second[0] or apart[0] != -1 or apart[1].op is not abs_:
        return None
    (distance,) = apart[1].args
    if kind is minimum:
        x, y = -x, None if y is None else -y
    if y is None:
        fits = distance is x or are_opposite(distance, x)
        return [(c, softplus(x))] if fits else None
    difference = found[1] - y if kind is maximum else x - y
    fits = distance is difference or are_opposite(distance, difference)
    return [(c, logaddexp(x, y))] if fits else None


@rewrites(mul, exact=False, protects=PROTECTS)
def kinks_of_a_product(e: Expr) -> Expr | None:
    """|x| sign(x) = x, |x| |x| = x² and max(x, y) min(x, y) = x y"""
    if not e.type.real:
        return None
    parts = factors(e)
    if parts is None or not any(p.op is abs_ or p.op is maximum for p in parts):
        return None
    for i, j in itertools.permutations(range(len(parts)), 2):
        merged = _without_kink(parts[i], parts[j])
        if merged is not None:
            others = [p for k, p in enumerate(parts) if k not in (i, j)]
            return product([*merged, *others])
    return None


def _without_kink(x: Expr, y: Expr) -> list[Expr] | None:
    if x.op is abs_ and y.op is sign and x.args == y.args:
        return [x.args[0]]
    if x.op is abs_ and x is y:
        return [square(x.args[0])]
    if x.op is maximum and y.op is minimum and set(x.args) == set(y.args):
        return list(x.args)
    return None


@rewrites(square, integer_power_op, exact=True)
def even_power_of_absolute_value(e: Expr) -> Expr | None:
    """|x|² = x², and so for every even power"""
    (x,) = e.args
    exponent = 2 if e.op is square else e.params["exponent"]
    if exponent % 2 or x.op not in (abs_, neg):
        return None
    return integer_power(x.args[0], exponent)
