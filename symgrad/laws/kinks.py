"""Kinks that cancel: what is put together from pieces with kinks, and has none.

At the kink the derivative of each piece is a choice, and the choices need not add up to
the derivative of the whole.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from symgrad.expr import Expr, Op, add, div, mul, neg, sub
from symgrad.laws.terms import Term, are_opposite, factors, number, product, scaled, terms, total
from symgrad.ops.pointwise import (
    abs_,
    arcsin,
    arcsinh,
    arctan,
    arctanh,
    cbrt,
    erf,
    expm1,
    ge,
    gt,
    integer_power,
    integer_power_op,
    le,
    log1p,
    logaddexp,
    lt,
    maximum,
    minimum,
    power,
    relu,
    select,
    sign,
    sin,
    sinh,
    softplus,
    sqrt,
    square,
    tan,
    tanh,
)
from symgrad.ops.shape import zeros
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
    """f(max(x, y)) + f(min(x, y)) = f(x) + f(y) and max(x, y) + log(1 + exp(-|x - y|)) =
    log(eˣ + eʸ)"""
    parts = terms(e)
    if (
        parts is None
        or not e.type.real
        or not any(_inside(t)[1].op in EXTREMA for _, t in parts if t)
    ):
        return None
    for i, j in itertools.permutations(range(len(parts)), 2):
        merged = _larger_and_smaller(parts[i], parts[j]) or _larger_and_rest(parts[i], parts[j])
        if merged is not None:
            others = [p for k, p in enumerate(parts) if k not in (i, j)]
            return total([*merged, *others], e.type)
    return None


DEEPEST = 4
"""So many functions around an extremum are looked through."""


def _inside(e: Expr) -> tuple[list[Expr], Expr]:
    """Functions of one variable, from the outside in, and what they are applied to."""
    around: list[Expr] = []
    while e.op.elementwise and len(e.args) == 1 and e.op is not relu and len(around) < DEEPEST:
        around.append(e)
        (e,) = e.args
    return around, e


def _larger_and_smaller(first: Term, second: Term) -> list[Term] | None:
    """c f(max(x, y)) + c f(min(x, y)) = c f(x) + c f(y); of zero, max(-x, 0) is -min(x, 0)."""
    if first[1] is None or second[1] is None:
        return None
    (around, larger), (others, smaller) = _inside(first[1]), _inside(second[1])
    found, other = _extremum(larger), _extremum(smaller)
    if found is None or other is None or found[0] is not maximum:
        return None
    if [(f.op, f.params) for f in around] != [(f.op, f.params) for f in others]:
        return None
    c = first[0]
    _, x, y = found
    kind, u, v = other
    turned = kind is maximum and y is v is None and are_opposite(x, u)
    if turned and not around and c == -second[0]:
        return [(c, x)]
    even = bool(around) and _is_even(around[-1])
    same = kind is minimum and ((u is x and v is y) or (u is y and v is x))
    if c != second[0] or not (same or (turned and even)):
        return None
    values = [x, zeros(x.type) if y is None else y]
    for function in reversed(around):
        values = [function.op(value, **function.params) for value in values]
    # Nothing is put around zero: no term is left of it.
    return [(c, value) for value in values if around or number(value) != 0]


def _is_even(e: Expr) -> bool:
    return e.op is square or (e.op is integer_power_op and e.params["exponent"] % 2 == 0)


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
    """|x| sign(x) = x, |x| |x| = x², max(x, y) min(x, y) = x y and sign(x) f(|x|) = -f(|x|) for
    x < 0 and f(|x|) elsewhere, for f(0) = 0"""
    if not e.type.real:
        return None
    parts = factors(e)
    if parts is None or not any(p.op in (abs_, maximum, sign) for p in parts):
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
    if x.op is sign and _vanishes_with_size(y, x.args[0]):
        # At 0 either branch is right, and the slope that `abs_` has there is that of this one.
        return [select(lt(x.args[0], 0), -y, y)]
    return None


ZERO_AT_ZERO = frozenset(
    {neg, square, log1p, expm1, sqrt, cbrt, sin, tan, arcsin, arctan, sinh, tanh, arcsinh, arctanh}
    | {abs_, erf}
)
"""Functions that are 0 at 0."""
LARGEST_SIZE = 16
"""A function of a size may be put together from so many operations."""


def _vanishes_with_size(y: Expr, x: Expr) -> bool:
    """Whether y is a sum of functions of |x| that are 0 at 0."""
    waiting = [y]
    for _ in range(LARGEST_SIZE):
        if not waiting:
            return True
        node = waiting.pop()
        if node.op is abs_ and node.args[0] is x:
            continue
        if node.op in ZERO_AT_ZERO or (node.op is integer_power_op and node.params["exponent"] > 0):
            waiting.append(node.args[0])
        elif node.op in (add, sub):
            waiting.extend(node.args)
        elif node.op is mul and any(number(a) is not None for a in node.args):
            waiting.extend(a for a in node.args if number(a) is None)
        elif (node.op is div and number(node.args[1])) or (
            node.op is power and (number(node.args[1]) or 0) > 0
        ):
            waiting.append(node.args[0])
        else:
            return False
    return False


@rewrites(square, integer_power_op, exact=True)
def even_power_of_absolute_value(e: Expr) -> Expr | None:
    """|x|² = x², and so for every even power"""
    (x,) = e.args
    exponent = 2 if e.op is square else e.params["exponent"]
    if exponent % 2 or x.op not in (abs_, neg):
        return None
    return integer_power(x.args[0], exponent)
