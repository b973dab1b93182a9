"""Differences of nearly equal numbers, brought to a form without the difference.

What makes these laws work is the difference of the operands, known exactly: of x + 1 and x
it is 1, whatever is left of it after rounding.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np

from symgrad.expr import Expr, Op, add, constant, div, mul, sub
from symgrad.laws.moves import MOVES, moved, unmoved
from symgrad.laws.polynomials import difference, is_given
from symgrad.laws.terms import Term, factors, number, product, scaled, terms, total
from symgrad.ops.differences import (
    over_roots_op,
    over_squared_roots_op,
    reciprocal_difference_op,
    root_minus,
)
from symgrad.ops.norm import hypot, length
from symgrad.ops.odds import one_minus_softmax_op
from symgrad.ops.pointwise import (
    abs_,
    and_,
    arctan,
    cbrt,
    cos,
    cosh,
    eq,
    erf,
    erfc,
    exp,
    expm1,
    gt,
    log,
    log1p,
    logistic,
    lt,
    rsqrt,
    select,
    sin,
    sinh,
    sqrt,
    square,
    tan,
    tanh,
)
from symgrad.ops.reduce import reduce_max, reduce_min, softmax
from symgrad.ops.special import igamma, igammac
from symgrad.ops.tails import ndtr
from symgrad.ops.waves import cos_of_sum, difference_of_tangents, sin_of_sum
from symgrad.pattern import equation, rewrites
from symgrad.structure import is_positive

PROTECTS = "cancellation"


# Two terms


def _root(e: Expr) -> Expr:
    value = number(e)
    return sqrt(e) if value is None else constant(math.sqrt(value), e.dtype)


def _of_roots(a: Expr, b: Expr, d: Expr) -> Expr:
    """√a - √b"""
    size = _nonzero(_root(a) + _root(b), a, b, d)
    return d / size if number(d) else over_roots_op(d, size, limit=1.0)


def _nonzero(denominator: Expr, a: Expr, b: Expr, d: Expr) -> Expr:
    """A sum of roots, which is zero only where both and so their difference are."""
    if number(d) or is_positive(a) or is_positive(b):
        return denominator
    return select(eq(denominator, 0), 1, denominator)


def _of_cube_roots(a: Expr, b: Expr, d: Expr) -> Expr:
    """∛a - ∛b"""
    x, y = cbrt(a), cbrt(b)
    if number(d):
        return d / (square(x) + x * y + square(y))
    size = square(x + y * 0.5) + 0.75 * square(y)
    return over_roots_op(d, select(eq(size, 0), 1, size), limit=0.0)


def _of_reciprocal_roots(a: Expr, b: Expr, d: Expr) -> Expr:
    """1/√a - 1/√b"""
    x, y = _root(a), _root(b)
    if number(d):
        return -(d / (x + y) / x / y)
    return -(over_squared_roots_op(d, x + y, limit=1.0) * (rsqrt(a) + rsqrt(b)))


def _of_reciprocals(a: Expr, b: Expr, d: Expr) -> Expr:
    """1/a - 1/b"""
    return -(d / a / b) if number(d) else reciprocal_difference_op(a, b, d)


def _of_exponentials(a: Expr, b: Expr, d: Expr) -> Expr | None:
    """exp(a) - exp(b), from the larger of the two"""
    step = number(d)
    if step is None:
        return None
    return -(exp(a) * expm1(-d)) if step > 0 else exp(b) * expm1(d)


def _of_logarithms(a: Expr, b: Expr, d: Expr) -> Expr | None:
    """log(a) - log(b)"""
    step = number(d)
    if step is None or abs(step) > LARGEST_STEP:
        return None
    return log1p(step / b) if step > 0 else -log1p(-step / a)


LARGEST_STEP = 1.5
"""Divided by the smallest normal number it is still finite; and arctangents this far apart are
those of numbers whose product is above -1."""


def _of_sines(a: Expr, b: Expr, d: Expr) -> Expr:
    """sin(a) - sin(b)"""
    return 2 * cos_of_sum(b, d * 0.5) * sin(d * 0.5)


def _of_cosines(a: Expr, b: Expr, d: Expr) -> Expr:
    """cos(a) - cos(b)"""
    return -2 * sin_of_sum(b, d * 0.5) * sin(d * 0.5)


def _of_tangents(a: Expr, b: Expr, d: Expr) -> Expr:
    """tan(a) - tan(b)"""
    return difference_of_tangents(b, d)


def _of_arctangents(a: Expr, b: Expr, d: Expr) -> Expr | None:
    """arctan(a) - arctan(b)"""
    step = number(d)
    return None if step is None or abs(step) > LARGEST_STEP else arctan(d / (1 + a * b))


DIFFERENCES: dict[Op, Callable[[Expr, Expr, Expr], Expr | None]] = {
    sqrt: _of_roots,
    cbrt: _of_cube_roots,
    rsqrt: _of_reciprocal_roots,
    div: _of_reciprocals,
    exp: _of_exponentials,
    log: _of_logarithms,
    sin: _of_sines,
    cos: _of_cosines,
    tan: _of_tangents,
    arctan: _of_arctangents,
}
FROM_INPUTS = (sqrt, cbrt, rsqrt, div)
"""Of these the difference is taken for any two inputs, not only where something cancels."""

ONE_LESS: dict[Op, Callable[..., Expr]] = {
    exp: lambda x: -expm1(x),
    cos: lambda x: 2 * square(sin(x * 0.5)),
    cosh: lambda x: -2 * square(sinh(x * 0.5)),
    logistic: lambda x: logistic(-x),
    tanh: lambda x: 2 * logistic(-(2 * x)),
    erf: erfc,
    erfc: erf,
    ndtr: lambda x: ndtr(-x),
    igamma: igammac,
    igammac: igamma,
    softmax: one_minus_softmax_op,
}
"""1 - f(x) for functions that are 1 somewhere, or tend to it."""

REVERSED = {reduce_max: reduce_min, reduce_min: reduce_max}
"""1 - max(f) = min(1 - f)"""

LESS_HALF: dict[Op, Callable[[Expr], Expr]] = {
    logistic: lambda x: tanh(x / 2),
    ndtr: lambda x: erf(x / math.sqrt(2)),
}
"""2 f(x) - 1 for functions that are 1/2 at 0."""

ODD = (tanh, erf)
"""Functions that are -1, or tend to it, where others of `ONE_LESS` are 1 only."""


def _one_less(e: Expr) -> Expr | None:
    """1 - e, where `e` is such a function, or entries of it."""
    extremum = e.op in REVERSED
    moves, function = unmoved(e.args[0] if extremum else e)
    if function.op not in ONE_LESS:
        return None
    found = moved(ONE_LESS[function.op](*function.args, **function.params), moves)
    return REVERSED[e.op](found, **e.params) if extremum else found


def _function(e: Expr | None) -> tuple[Op, float, Expr] | None:
    """A number times a function of one operand; 1/√x is one of its own."""
    if e is None:
        return None
    if e.op is div:
        top = number(e.args[0])
        below = e.args[1]
        if top is None or number(below) is not None:
            return None
        if below.op is sqrt:
            return rsqrt, top, below.args[0]
        return div, top, below
    if e.op is log1p:
        return log, 1.0, e.args[0] + 1
    return (e.op, 1.0, e.args[0]) if e.op in DIFFERENCES else None


def _two_functions(first: Term, second: Term) -> Term | None:
    """c f(a) - c f(b)"""
    f, g = _function(first[1]), _function(second[1])
    if f is None or g is None or f[0] is not g[0] or first[0] * f[1] != -second[0] * g[1]:
        return None
    op, factor, a = f
    if op not in DIFFERENCES or a.ndim != g[2].ndim:
        return None
    if op not in FROM_INPUTS and is_given(a) and is_given(g[2]):
        return None
    d = difference(a, g[2])
    found = None if d is None else DIFFERENCES[op](a, g[2], d)
    return None if found is None else (first[0] * factor, found)


def _function_and_number(first: Term, second: Term) -> Term | None:
    """c f(a) - c f(b) for a number f(b)"""
    (c, e), (k, rest) = first, second
    if e is None or rest is not None:
        return None
    if e.op in LESS_HALF and k == -c / 2:
        return c / 2, LESS_HALF[e.op](*e.args)
    if k == -c and (less := _one_less(e)) is not None:
        return -c, less
    if k == c and e.op in ODD:
        return c, ONE_LESS[e.op](-e.args[0])
    f = _function(e)
    if f is None:
        return None
    op, factor, a = f
    coefficient = c * factor
    value = -k / coefficient
    if op not in (sqrt, rsqrt) or value <= 0:
        return None
    b = constant(value**2 if op is sqrt else value**-2, a.dtype)
    d = difference(a, b)
    found = None if d is None else DIFFERENCES[op](a, b, d)
    return None if found is None else (coefficient, found)


def _root_and_rest(first: Term, second: Term) -> Term | None:
    """√(v² + w) - v"""
    c, root = first
    k, v = second
    if root is None or v is None or root.op not in (sqrt, hypot):
        return None
    ratio = k / c
    v = v * -ratio if ratio != -1 else v
    if root.op is hypot:
        found = _hypotenuse_and_side(root, v)
        return None if found is None else (c, found)
    w = difference(root.args[0], square(v.args[0] if v.op in (abs_, length) else v))
    return None if w is None else (c, root_minus(v, w))


def _hypotenuse_and_side(root: Expr, v: Expr) -> Expr | None:
    """√(v² + y²) - v = y² / (√(v² + y²) + v)"""
    factor, x = scaled(v)
    side = abs(factor), x.args[0] if x.op in (abs_, length) else x
    sides = [(abs(c), node) for c, node in map(scaled, root.args)]
    if side not in sides:
        return None
    y = root.args[1 - sides.index(side)]
    cancels = and_(gt(v, 0), lt(abs_(y), np.inf))
    return select(cancels, y * (y / select(cancels, root + v, 1)), root - select(cancels, 0, v))


def _multiple_and_itself(first: Term, second: Term) -> Term | None:
    """c f(a) v - c v for a function that is 1 at 0"""
    (c, e), (k, v) = first, second
    parts = factors(e) if e is not None and v is not None and k == -c else None
    for i, part in enumerate(parts or ()):
        moves, function = unmoved(part)
        others = [p for j, p in enumerate(parts or ()) if j != i]
        if function.op in ONE_AT_ZERO and others and product(others) is v:
            less = moved(ONE_LESS[function.op](*function.args), moves)
            return k, less * v
    return None


ONE_AT_ZERO = (exp, cos, cosh)

PAIRS = (_function_and_number, _two_functions, _root_and_rest, _multiple_and_itself)
SUBJECTS = (*DIFFERENCES, *ONE_LESS, *MOVES, *REVERSED, log1p, hypot, mul)


@rewrites(add, sub, exact=False, protects=PROTECTS)
def difference_of_functions(e: Expr) -> Expr | None:
    """f(a) - f(b) in terms of a - b, such as √a - √b = (a - b) / (√a + √b)"""
    parts = terms(e) if e.type.real else None
    if parts is None or not any(node is not None and node.op in SUBJECTS for _, node in parts):
        return None
    for pair in PAIRS:
        for i, j in itertools.permutations(range(len(parts)), 2):
            found = pair(parts[i], parts[j])
            if found is not None:
                return total([found, *(p for k, p in enumerate(parts) if k not in (i, j))], e.type)
    return None


@equation(exact=False, protects=PROTECTS)
def exp_from_expm1(x):
    return expm1(x) + 1, exp(x)
