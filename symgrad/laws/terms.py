"""Sums as lists of terms and products as lists of factors, however they were nested."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence

from symgrad.expr import Expr, Type, add, constant, div, mul, neg, sub
from symgrad.ops.pointwise import integer_power_op, square
from symgrad.ops.shape import broadcast, full, reshape_op, uniform_value

Term = tuple[float, Expr | None]
"""A coefficient and what it multiplies; None stands for 1."""

SPREADING = (broadcast, reshape_op)
"""How the result of a reduction comes to stand beside the entries it was made of."""

LONGEST = 8
"""Sums and products with more parts are not looked into: laws have to say quickly that they
do not apply."""


def number(e: Expr) -> float | None:
    """The finite real number that `e` is everywhere, None if it is not one."""
    value = uniform_value(e)
    if value is None or not e.type.real:
        return None
    return float(value) if math.isfinite(value) else None


def scaled(e: Expr) -> tuple[float, Expr]:
    """`e` as a number times the rest."""
    factor = 1.0
    while True:
        if e.op is neg:
            factor, e = -factor, e.args[0]
        elif e.op is div and (value := number(e.args[1])):
            factor, e = factor / value, e.args[0]
        elif e.op is mul and (split := _number_and_rest(e)) is not None:
            factor, e = factor * split[0], split[1]
        else:
            return factor, e


def _number_and_rest(e: Expr) -> tuple[float, Expr] | None:
    """The numbers among the factors of a product, and the product of the others."""
    parts = factors(e) or list(e.args)
    values = [number(p) for p in parts]
    rest = [p for p, value in zip(parts, values, strict=True) if not value]
    if not rest or len(rest) == len(parts):
        return None
    return math.prod(value for value in values if value), product(rest)


def terms(e: Expr) -> list[Term] | None:
    """The terms of a sum in their order, numbers multiplied out; None if there are too many."""
    found: list[Term] = []
    stack = [(1.0, e)]
    while stack:
        coefficient, node = stack.pop()
        factor, node = scaled(node)
        coefficient *= factor
        if node.op is add or node.op is sub:
            first, second = node.args
            stack.append((coefficient if node.op is add else -coefficient, second))
            stack.append((coefficient, first))
        else:
            value = number(node)
            found.append((coefficient, node) if value is None else (coefficient * value, None))
        if len(found) + len(stack) > LONGEST:
            return None
    return found


def total(parts: Sequence[Term], type: Type) -> Expr:
    """The sum of terms; those with a positive coefficient first, so that none need be negated."""
    found: Expr | None = None
    for coefficient, node in sorted(parts, key=lambda t: t[0] < 0):
        size = abs(coefficient)
        if found is not None and size == 0:
            continue
        term = _times(size, node, type)
        if found is None:
            found = -term if coefficient < 0 else term
        else:
            found = found - term if coefficient < 0 else found + term
    return full(0, type) if found is None else found


def _times(size: float, node: Expr | None, type: Type) -> Expr:
    if node is None:
        return constant(size, type.dtype)
    inverse = 1 / size
    if inverse.is_integer() and not size.is_integer():
        return node / inverse
    return node if size == 1 else node * size


def negated(parts: Sequence[Term]) -> list[Term]:
    return [(-c, node) for c, node in parts]


def factors(e: Expr) -> list[Expr] | None:
    """The factors of a product in their order; None if there are too many."""
    found: list[Expr] = []
    stack = [e]
    while stack:
        node = stack.pop()
        if node.op is mul:
            stack.extend(node.args[::-1])
        else:
            found.append(node)
        if len(found) + len(stack) > LONGEST:
            return None
    return found


def quotient_factors(e: Expr) -> tuple[list[Expr], list[Expr]]:
    """The factors of a product, and those that it is divided by."""
    found: tuple[list[Expr], list[Expr]] = ([], [])
    waiting = [(e, 0)]
    while waiting and len(found[0]) + len(found[1]) + len(waiting) <= LONGEST + 1:
        node, side = waiting.pop()
        if node.op in (mul, div):
            first, second = node.args
            waiting += [(second, side if node.op is mul else 1 - side), (first, side)]
        else:
            found[side].append(node)
    for node, side in waiting:
        found[side].append(node)
    return found


def product(parts: Sequence[Expr]) -> Expr:
    """The product of at least one factor."""
    return functools.reduce(operator.mul, parts)


def squared(e: Expr) -> Expr | None:
    """x of x², written as a square or as x * x."""
    is_square = e.op is square or (e.op is mul and e.args[0] is e.args[1])
    return e.args[0] if is_square else None


def power_of(e: Expr) -> tuple[Expr, int] | None:
    """The base and the exponent, at least 2, of a power with a whole exponent."""
    if (x := squared(e)) is not None:
        return x, 2
    exponent = e.params["exponent"] if e.op is integer_power_op else 0
    return (e.args[0], exponent) if exponent > 1 else None


def are_opposite(x: Expr, y: Expr) -> bool:
    """Whether y = -x by the way both are written."""
    (a, u), (b, v) = scaled(x), scaled(y)
    if a == -b:
        return u is v
    return a == b and u.op is v.op is sub and u.args == v.args[::-1]
