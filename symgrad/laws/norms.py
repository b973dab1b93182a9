"""Lengths: roots of sums of squares, which overflow, underflow, and have no slope at zero."""

from __future__ import annotations

import math

import numpy as np

from symgrad.expr import Expr, add, constant, div, literal_value, mul
from symgrad.laws.moves import unmoved
from symgrad.laws.terms import SPREADING, factors, product, scaled, squared
from symgrad.ops.contract import inner_axes
from symgrad.ops.moments import centered, squared_deviations
from symgrad.ops.norm import direction, hypot, length, norm
from symgrad.ops.pointwise import (
    abs_,
    arctan2,
    convert,
    convert_op,
    cos,
    eq,
    integer_power,
    integer_power_op,
    maximum,
    minimum,
    ne,
    or_,
    power,
    rsqrt,
    select,
    sin,
    sqrt,
    square,
)
from symgrad.ops.shape import reduce_sum, spread, uniform_value
from symgrad.pattern import equation, rewrites
from symgrad.structure import is_nonnegative

SQUARES = "squares that leave the range of floats, and the infinite slope of the root at 0"

LARGEST_HYPOT = 4
"""So many squares, written one by one, become lengths in steps."""


MOVES = (*SPREADING, convert_op)


def squared_length(e: Expr) -> Expr | None:
    """The length whose square `e` is, for sums of squares over axes."""
    if e.op is reduce_sum and (x := _masked_square(e.args[0])) is not None:
        return norm(x, axes=e.params["axes"])
    if e.op is squared_deviations:
        return norm(centered(*e.args, **e.params), **e.params)
    axes = inner_axes(e)
    return norm(e.args[0], axes=axes) if axes is not None and e.args[0] is e.args[1] else None


def _masked_square(e: Expr) -> Expr | None:
    """x of x², where masks may have put zeros into the array."""
    if (x := squared(e)) is not None:
        return x
    if e.op is convert_op and e.args[0].type.real:
        # Half precision is added up in single.
        inner = _masked_square(e.args[0])
        return None if inner is None else convert(inner, dtype=e.dtype)
    if e.op is mul:
        for mask, rest in (e.args, e.args[::-1]):
            if _is_mask(mask) and (x := _masked_square(rest)) is not None:
                return mask * x
    if e.op is select:
        mask, kept, other = e.args
        for x, zero in ((kept, other), (other, kept)):
            if uniform_value(zero) == 0 and (inner := _masked_square(x)) is not None:
                parts = (inner, zero) if x is kept else (zero, inner)
                return select(mask, *parts)
    return None


def _is_mask(e: Expr) -> bool:
    """Whether every entry is 0 or 1: a condition as a number, perhaps repeated."""
    return e.type.real and unmoved(e)[1].dtype == np.bool_


def length_of_square(e: Expr) -> Expr | None:
    """The length whose square `e` is, for sums of squares over axes or written out."""
    if not e.type.real:
        return None
    found = squared_length(e)
    return _hypotenuse(e) if found is None else found


def _root(e: Expr) -> Expr | None:
    """√(c Σx²) = √c √Σx² for a number c > 0, also where sums are repeated; √x² = |x|

    And √(Σx² Σy²) = |x| |y|.
    """
    if not e.type.real:
        return None
    if e.op in MOVES:
        inner = _root(e.args[0])
        return None if inner is None else e.op(inner, **e.params)
    if e.op in (mul, div) and (x := squared(e)) is not None:
        return length(x)
    for rest, factor in [e.args] if e.op is div else [e.args, e.args[::-1]] if e.op is mul else ():
        root = None if squared(rest) is not None else _root_of_scale(factor)
        inner = None if root is None else _root(rest)
        if root is not None and inner is not None:
            return e.op(inner, root)
    if e.op is mul:
        roots = [length_of_square(a) for a in e.args]
        if roots[0] is not None and roots[1] is not None:
            return roots[0] * roots[1]
    return length_of_square(e)


def _root_of_scale(e: Expr) -> Expr | None:
    """√c for a positive literal, or for a number of entries that a mask keeps."""
    scale = literal_value(e)
    if scale is not None:
        return constant(math.sqrt(float(scale)), e.dtype) if 0 < scale < np.inf else None
    counted = e
    while counted.type.real and counted.op in (*MOVES, reduce_sum):
        (counted,) = counted.args
    return None if counted.type.real or not is_nonnegative(e) else sqrt(e)


def _hypotenuse(e: Expr) -> Expr | None:
    """√(a x² + b y² + ...) for squares none of which is a number"""
    terms, waiting = [], [e]
    while waiting:
        node = waiting.pop()
        if node.op is add:
            waiting.extend(reversed(node.args))
            continue
        x = _scaled_square(node)
        if x is None or len(terms) == LARGEST_HYPOT:
            return None
        terms.append(x if x.ndim else spread(x, e.shape))
    if len(terms) < 2:
        return None
    found, *others = terms
    for x in others:
        found = hypot(found, x)
    return found


def _scaled_square(e: Expr) -> Expr | None:
    """√c x of c x² for a literal c > 0, repeated or not."""
    if e.op in SPREADING:
        x = _scaled_square(e.args[0]) if e.args[0].op not in SPREADING else None
        return None if x is None else e.op(x, **e.params)
    if (x := squared(e)) is not None or e.op not in (mul, div):
        return x
    for rest, factor in [e.args] if e.op is div else [e.args, e.args[::-1]]:
        scale = literal_value(factor)
        if scale is not None and 0 < scale < np.inf and (x := squared(rest)) is not None:
            return e.op(x, constant(math.sqrt(float(scale)), e.dtype))
    factor, rest = scaled(e)
    x = squared(rest) if 0 < factor < np.inf else None
    return None if x is None else x * constant(math.sqrt(factor), e.dtype)


@rewrites(sqrt, exact=False, protects=SQUARES)
def root_of_sum_of_squares(e: Expr) -> Expr | None:
    """√Σx² = |x|, the length of a vector, also when the sum was scaled or written out"""
    return _root(e.args[0])


@rewrites(rsqrt, exact=False, protects=SQUARES)
def reciprocal_root_of_sum_of_squares(e: Expr) -> Expr | None:
    """1/√Σx² = 1/|x|"""
    found = _root(e.args[0])
    return None if found is None else 1 / found


# A length by the larger of two sizes and their ratio, as libraries write it


def _sizes(e: Expr) -> tuple[Expr, Expr] | None:
    """x and y of max(|x|, |y|)."""
    if e.op is not maximum or not e.type.real or any(a.op is not abs_ for a in e.args):
        return None
    x, y = (a.args[0] for a in e.args)
    return (x, y) if x.shape == y.shape else None


def _compared_with(e: Expr, value: float) -> Expr | None:
    """x of x == value."""
    for x, other in (e.args, e.args[::-1]) if e.op is eq else ():
        if uniform_value(other) == value:
            return x
    return None


def _unless_zero(e: Expr) -> Expr:
    """What a divisor is where it is not zero."""
    guarded = e.op is select and _compared_with(e.args[0], 0) is e.args[2]
    return e.args[2] if guarded else e


@rewrites(mul, exact=False, protects=SQUARES)
def hypotenuse_by_the_larger(e: Expr) -> Expr | None:
    """max(|x|, |y|) √(1 + (min(|x|, |y|) / max(|x|, |y|))²) = √(x² + y²)"""
    for larger, root in (e.args, e.args[::-1]):
        sizes = _sizes(larger) if root.op is sqrt else None
        if sizes is None or root.args[0].op is not add:
            continue
        for one, rest in (root.args[0].args, root.args[0].args[::-1]):
            quotient = squared(rest) if uniform_value(one) == 1 else None
            if quotient is None or quotient.op is not div:
                continue
            smaller, divisor = quotient.args
            same = smaller.op is minimum and set(smaller.args) == set(larger.args)
            if same and _unless_zero(divisor) is larger:
                return hypot(*sizes)
    return None


@rewrites(select, exact=False, protects=SQUARES)
def guarded_hypotenuse(e: Expr) -> Expr | None:
    """√(x² + y²) needs no care where x and y are both 0, or where one of them is infinite"""
    guard, special, size = e.args
    if size.op is not hypot:
        return None
    operands = set(size.args)
    if _compared_with(guard, 0) is special:
        known = _sizes(special)
        return size if known is not None and set(known) == operands else None
    if guard.op is not or_ or uniform_value(special) != np.inf:
        return None
    infinite = {_compared_with(a, np.inf) for a in guard.args}
    return size if infinite == {abs_(x) for x in operands} else None


@rewrites(mul, exact=False, protects=SQUARES)
def coordinates_from_polar(e: Expr) -> Expr | None:
    """√(x² + y²) cos(arctan2(y, x)) = x, and y with the sine, also among other factors"""
    parts = factors(e) or []
    for turn in parts:
        if turn.op not in (cos, sin) or turn.args[0].op is not arctan2:
            continue
        y, x = turn.args[0].args
        size = next((p for p in parts if p.op is hypot and set(p.args) == {x, y}), None)
        if size is not None:
            found, other = (x, y) if turn.op is cos else (y, x)
            parts.remove(turn)
            parts.remove(size)
            return product([*parts, select(ne(other, other), other, found)])
    return None


@rewrites(div, exact=False, protects="cancellation in the slope")
def direction_from_quotient(e: Expr) -> Expr | None:
    """x / √(x² + y²), whose slope is y² / (x² + y²)^³ᐟ²"""
    x, size = e.args
    if size.op is not hypot or x not in size.args:
        return None
    y = size.args[1 - size.args.index(x)]
    return direction(x, y, size) if x.shape == y.shape else None


@equation(exact=False, when=lambda x: x.type.real, protects=SQUARES)
def root_of_square(x):
    return sqrt(square(x)), length(x)


@rewrites(sqrt, exact=False, protects=SQUARES)
def root_of_even_power(e: Expr) -> Expr | None:
    """√x²ⁿ = |x|ⁿ"""
    (x,) = e.args
    if x.op is not integer_power_op or x.params["exponent"] % 2 or not x.type.real:
        return None
    half = x.params["exponent"] // 2
    return integer_power(length(x.args[0]) if half % 2 else x.args[0], half)


@rewrites(power, exact=False)
def power_of_one_half(e: Expr) -> Expr | None:
    """x^½ = √x and x^-½ = 1/√x for x that is not negative"""
    x, exponent = e.args
    value = literal_value(exponent)
    if value is None or abs(value) != 0.5 or not x.type.real or not is_nonnegative(x):
        return None
    return sqrt(x) if value > 0 else rsqrt(x)


@rewrites(square, mul, integer_power_op, exact=False, protects=SQUARES)
def even_power_of_length(e: Expr) -> Expr | None:
    """|x|² = Σx², and likewise higher even powers"""
    x = e.args[0]
    if e.op is mul and e.args[1] is not x:
        return None
    exponent = e.params.get("exponent", 2)
    moved = x.op in MOVES
    inner = x.args[0] if moved else x
    total = _square_of_length(inner) if exponent % 2 == 0 else None
    if total is None:
        return None
    total = x.op(total, **x.params) if moved else total
    return integer_power(total, exponent // 2)


def _square_of_length(e: Expr) -> Expr | None:
    if e.op is norm:
        return reduce_sum(square(e.args[0]), axes=e.params["axes"])
    if e.op is hypot:
        inner = [_square_of_length(a) or square(a) for a in e.args]
        return inner[0] + inner[1]
    return square(e.args[0]) if e.op is length else None
