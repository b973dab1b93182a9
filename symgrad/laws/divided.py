"""Divided differences: (f(x) - f(y)) / (x - y), which is a slope of f where x and y meet.

The logarithmic mean (x - y) / (log x - log y) is the inverse of one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

from symgrad.expr import Expr, Op, add, constant, div, mul, sub
from symgrad.laws.limits import ZERO_OVER_ZERO, by_series, removable_singularity
from symgrad.laws.parameters import limit_in_a_parameter
from symgrad.laws.poles import Pole
from symgrad.laws.powers import quotient_of_powers
from symgrad.laws.separate import NONE, Term, product
from symgrad.laws.terms import LONGEST, number, quotient_factors, scaled, terms, total
from symgrad.ops.differences import over_roots_op, reciprocal_difference_op
from symgrad.ops.limit import variable
from symgrad.ops.pointwise import (
    abs_,
    cos,
    difference_of_powers,
    difference_of_squares,
    exp,
    expm1,
    integer_power_op,
    log,
    log1p,
    lt,
    power,
    select,
    sin,
)
from symgrad.ops.shape import broadcast, spread, uniform_value
from symgrad.ops.waves import cos_of_sum, sin_of_sum
from symgrad.pattern import rewrites

Slope = tuple[Expr, Expr | None]
"""A divided difference, and where it may be computed this way; None stands for everywhere."""


def _at(function: Callable[[Expr], Expr], d: Expr) -> Expr:
    """A function that is 0/0 at 0, of d."""
    found = by_series(function(variable(d.dtype)), Pole(d, 0.0))
    assert found is not None
    return found


def _sinc(d: Expr) -> Expr:
    return _at(lambda t: sin(t) / t, d * 0.5)


def _near(e: Expr, distance: Expr, *, of: float | Expr = 1.0) -> Slope:
    return e, lt(abs_(distance), of)


def _of_logarithms(x: Expr, y: Expr, d: Expr) -> Slope:
    return _near(_at(lambda t: log1p(t) / t, d / y) / y, d, of=0.5 * abs_(y))


def _of_powers(x: Expr, y: Expr, d: Expr, exponent: Expr) -> Slope:
    logarithm = _at(lambda t: log1p(t) / t, d / y)
    rise = _at(lambda t: expm1(t) / t, exponent * log1p(d / y))
    slope = power(y, exponent) * exponent * (rise * logarithm) / y
    return _near(slope, d, of=0.5 * abs_(y))


SLOPES: Mapping[Op, Callable[..., Slope]] = {
    exp: lambda x, y, d: _near(exp(y) * _at(lambda t: expm1(t) / t, d), d),
    log: _of_logarithms,
    sin: lambda x, y, d: _near(cos_of_sum(y, d * 0.5) * _sinc(d), d),
    cos: lambda x, y, d: _near(-(sin_of_sum(y, d * 0.5) * _sinc(d)), d),
    power: _of_powers,
}
"""The divided difference of each function, from x, y and x - y, where that is small."""


@rewrites(mul, div, exact=False, written_only=True, protects=ZERO_OVER_ZERO)
def divided_difference(e: Expr) -> Expr | None:
    """(f(x) - f(y)) / (x - y) by functions of x - y, where that is small; and its inverse"""
    if not e.type.real or (e.op is mul and not any(_divides(a) for a in e.args)):
        return None
    whole = _factored(e)
    above, below = quotient_factors(whole)
    for top, bottom in itertools.product(above, below):
        if (above + below).count(top) > 1 or (above + below).count(bottom) > 1:
            continue
        slope = _slope(top, bottom)
        if slope is None and (inverse := _slope(bottom, top)) is not None:
            slope = 1 / inverse[0], inverse[1]
        if slope is None:
            continue
        near, small = slope
        limit = _with_factors(whole, {top: near, bottom: constant(1, e.dtype)})
        if small is None:
            return limit
        shape = small.shape or bottom.shape
        safe = select(_over_shape(small, shape), 1, _over_shape(bottom, shape))
        far = _with_factors(whole, {bottom: safe})
        return select(_over_shape(small, e.shape), limit, far)
    return None


def _over_shape(x: Expr, shape: tuple[int, ...]) -> Expr:
    return x if x.ndim else spread(x, shape)


def _divides(e: Expr) -> bool:
    """Whether there is a divisor among the first factors of a product."""
    seen: dict[Expr, None] = {}
    stack = [e]
    while stack and len(seen) <= LONGEST:
        node = stack.pop()
        if node.op is div:
            return True
        if node not in seen:
            seen[node] = None
            stack.extend(node.args if node.op in (mul, broadcast) else ())
    return False


def _factored(e: Expr) -> Expr:
    """A product that was repeated as the product of its factors, each of them repeated."""
    opened: dict[Expr, tuple[Expr, ...]] = {}
    done: dict[Expr, Expr] = {}
    stack = [e]
    while stack:
        node = stack[-1]
        inner = node.args[0] if node.op is broadcast else node
        if node not in opened and (inner.op not in (mul, div) or len(opened) == LONGEST):
            done[node] = node
        elif node not in done:
            args = opened.setdefault(node, _repeated_args(node, inner))
            if waiting := [a for a in args if a not in done]:
                stack.extend(waiting)
                continue
            done[node] = inner.op(*(done[a] for a in args))
        stack.pop()
    return done[e]


def _repeated_args(e: Expr, inner: Expr) -> tuple[Expr, ...]:
    if e is inner:
        return inner.args
    return tuple(broadcast(a, **e.params) if a.shape == inner.shape else a for a in inner.args)


def _with_factors(e: Expr, new: Mapping[Expr, Expr]) -> Expr:
    """A product with other factors."""
    done = dict(new)
    stack = [e]
    while stack:
        node = stack[-1]
        if node not in done:
            args = node.args if node.op in (mul, div) else ()
            if waiting := [a for a in args if a not in done]:
                stack.extend(waiting)
                continue
            done[node] = node.op(*(done[a] for a in args)) if args else node
        stack.pop()
    return done[e]


def _slope(values: Expr, divisor: Expr) -> Slope | None:
    """k (f(x) - f(y)) / d, where d is x - y or divides it."""
    k, inner = scaled(values)
    if inner.op in KNOWN:
        return KNOWN[inner.op](k, inner, divisor)
    for factor, f, x, y in _differences(k, inner):
        multiple = _multiple(_minus(x, y), divisor)
        if multiple is None:
            continue
        op, exponents = f[0], f[1:]
        times, d = factor * multiple[0], multiple[1]
        apart = total([(multiple[0], product(d, divisor))], x.type)
        slope, small = SLOPES[op](x, y, apart, *exponents)
        return total([(times, product(d, slope))], values.type), small
    return None


def _differences(k: float, e: Expr) -> list[tuple[float, tuple[Any, ...], Expr, Expr]]:
    """The factor, the function and both operands of a difference of two values of it."""
    if e.op is log and e.args[0].op is div:
        x, y = e.args[0].args
        return [(k, (log,), x, y)]
    difference = _difference(e)
    if difference is None:
        return []
    c, *values = difference
    first, second = map(_function, values)
    if first is None or second is None or first[0] != second[0]:
        return []
    return [(k * c, first[0], first[1], second[1])]


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


def _function(e: Expr) -> tuple[tuple[Any, ...], Expr] | None:
    """A function and its operand, which may have been repeated after it was applied."""
    inner = e.args[0] if e.op is broadcast else e
    if inner.op is integer_power_op:
        exponent = inner.params["exponent"]
        inner = power(*inner.args, constant(exponent, e.dtype)) if exponent > 0 else inner
    if inner.op not in SLOPES or not inner.args[-1].type.inexact:
        return None
    x, *others = (
        broadcast(a, **e.params) if e.op is broadcast and a.shape == inner.shape else a
        for a in inner.args
    )
    return (inner.op, *others), x


# Differences that are known as products with that of the operands


def _over(d: Expr, divisor: Expr, k: float, rest: Expr) -> Slope | None:
    """k d rest / divisor, where the divisor divides d."""
    found = _multiple(_monomials(d), divisor)
    if found is None:
        return None
    return total([(k * found[0], product(found[1], rest))], rest.type), None


def _of_roots(k: float, e: Expr, divisor: Expr) -> Slope | None:
    d, size = e.args
    # Zero is guarded against where the difference is zero too; the quotient has a pole there.
    guarded = size.op is select and uniform_value(size.args[1]) == 1
    return _over(d, divisor, k, 1 / (size.args[2] if guarded else size))


def _of_whole_powers(k: float, e: Expr, divisor: Expr) -> Slope | None:
    x, y = e.args
    return _over(x - y, divisor, k, quotient_of_powers(x, y, e.params.get("exponent", 2)))


KNOWN: Mapping[Op, Callable[[float, Expr, Expr], Slope | None]] = {
    over_roots_op: _of_roots,
    reciprocal_difference_op: lambda k, e, divisor: _over(
        e.args[2], divisor, -k, 1 / e.args[0] / e.args[1]
    ),
    difference_of_squares: _of_whole_powers,
    difference_of_powers: _of_whole_powers,
}


# Multiples

Monomials = dict[frozenset[tuple[Expr, int]], float]


def _monomials(e: Expr) -> Monomials | None:
    """A sum of products of powers, each with its coefficient."""
    inner, repeated = (e.args[0], e.params) if e.op is broadcast else (e, None)
    parts = terms(inner)
    found: Monomials = {}
    for c, node in parts or ():
        powers: dict[Expr, int] = {}
        for sign, atoms in zip((1, -1), quotient_factors(node) if node else ((), ()), strict=True):
            for atom in atoms:
                factor, x = scaled(atom)
                c *= factor**sign
                if repeated is not None and x.shape == inner.shape:
                    x = broadcast(x, **repeated)
                value = number(x)
                if value is None:
                    powers[x] = powers.get(x, 0) + sign
                elif value:
                    c *= value**sign
                else:
                    return None
        key = frozenset((a, n) for a, n in powers.items() if n)
        found[key] = found.get(key, 0.0) + c
    return None if parts is None else {key: c for key, c in found.items() if c}


def _minus(x: Expr, y: Expr) -> Monomials | None:
    """x - y, where both are not multiples of it."""
    first, second = _monomials(x), _monomials(y)
    if first is None or second is None:
        return None
    found = {key: first.get(key, 0.0) - second.get(key, 0.0) for key in {**first, **second}}
    left = {key: c for key, c in found.items() if c}
    # A function of one variable has a limit of its own.
    alone = len(left) == 1 and first.keys() | second.keys() == left.keys()
    return None if alone else left


def _multiple(of: Monomials | None, divisor: Expr) -> tuple[float, Term] | None:
    """What the divisor is multiplied by, a number and powers."""
    other = _monomials(divisor)
    if number(divisor) is not None or not of or not other or len(of) != len(other):
        return None
    start, size = next(iter(other.items()))
    for key, c in of.items():
        scale, ratio = c / size, _ratio(key, start)
        if any(n < 0 and dict(key).get(a, 0) >= 0 for a, n in ratio):
            continue
        multiple = {_ratio(k, ratio, -1): scale * value for k, value in other.items()}
        same = multiple.keys() == of.keys()
        if same and all(math.isclose(of[k], value) for k, value in multiple.items()):
            return scale, _as_term(ratio, divisor)
    return None


def _ratio(
    x: frozenset[tuple[Expr, int]], y: frozenset[tuple[Expr, int]], sign: int = 1
) -> frozenset[tuple[Expr, int]]:
    powers = dict(x)
    for a, n in y:
        powers[a] = powers.get(a, 0) - sign * n
    return frozenset((a, n) for a, n in powers.items() if n)


def _as_term(powers: frozenset[tuple[Expr, int]], beside: Expr) -> Term:
    factors = tuple(a for a, n in powers for _ in range(n))
    divisors = tuple(a for a, n in powers for _ in range(-n))
    return Term(factors, divisors, NONE, constant(1, beside.dtype))


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
