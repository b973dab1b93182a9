"""Differences of squares and higher powers, and sums of which terms cancel."""

from __future__ import annotations

from symgrad.expr import Expr, add, constant, sub
from symgrad.laws.polynomials import Key, combined, difference, expanded, is_given, key
from symgrad.laws.terms import LONGEST, Term, negated, number, power_of, product, terms, total
from symgrad.ops.pointwise import (
    difference_of_powers,
    difference_of_squares,
    exact_sum,
    integer_power,
    square,
)
from symgrad.pattern import rewrites

PROTECTS = "cancellation"


def _power(c: float, node: Expr) -> tuple[Expr, int] | None:
    """A term as a power of something, its sign left out."""
    size = abs(c)
    found = power_of(node)
    if found is None:
        return None
    base, exponent = found
    root = round(size ** (1 / exponent))
    return (base if size == 1 else base * root, exponent) if root**exponent == size else None


@rewrites(add, sub, exact=False, protects=PROTECTS)
def difference_of_equal_powers(e: Expr) -> Expr | None:
    """x² - y² = (x - y) (x + y), and so for higher powers"""
    parts = terms(e) if e.type.real else None
    if parts is None or len(parts) != 2:
        return None
    signs = (1.0, -1.0 if e.op is sub else 1.0)
    as_written = [_as_term(sign, node) for sign, node in zip(signs, e.args, strict=True)]
    found = _difference_of_powers(*as_written)
    return _difference_of_powers(*parts) if found is None else found


def _as_term(sign: float, node: Expr) -> Term:
    value = number(node)
    return (sign, node) if value is None else (sign * value, None)


def _difference_of_powers(first: Term, second: Term) -> Expr | None:
    x, y = _as_power(first, second), _as_power(second, first)
    if x is None or y is None or x[1] != y[1] or first[0] * second[0] > 0:
        return None
    a, b = (x[0], y[0]) if first[0] > 0 else (y[0], x[0])
    return _power_difference(a, b, x[1])


def _as_power(term: Term, other: Term) -> tuple[Expr, int] | None:
    """A term as a power; a number as that power which the other term is."""
    (c, node), (_, beside) = term, other
    if node is not None:
        return _power(c, node)
    exponent = None if beside is None else _power(other[0], beside)
    if exponent is None or beside is None:
        return None
    root = round(abs(c) ** (1 / exponent[1]) * ROOTS) / ROOTS
    exact = root and root ** exponent[1] == abs(c)
    return (constant(root, beside.dtype), exponent[1]) if exact else None


ROOTS = 64
"""Numbers whose roots are a multiple of one over this many are seen as powers."""


def _power_difference(x: Expr, y: Expr, exponent: int) -> Expr | None:
    if exponent == 2:
        return difference_of_squares(x, y)
    return difference_of_powers(x, y, exponent=exponent) if exponent <= LONGEST else None


@rewrites(difference_of_squares, exact=False, protects=PROTECTS)
def squares_with_common_terms(e: Expr) -> Expr | None:
    """(a + b)² - (a - b)² = 4 a b: terms that cancel in the sum or the difference are gone"""
    x, y = e.args
    first, second = terms(x), terms(y)
    if first is None or second is None:
        return None
    lower = combined([*first, *negated(second)])
    upper = combined([*first, *second])
    count = len(first) + len(second)
    fewer = min(len(lower), len(upper)) <= count - 2
    return total(lower, e.type) * total(upper, e.type) if fewer and lower and upper else None


@rewrites(difference_of_powers, exact=False, protects=PROTECTS)
def powers_with_common_terms(e: Expr) -> Expr | None:
    """(a + b)³ - a³ = b ((a + b)² + (a + b) a + a²), and so for other powers"""
    x, y = e.args
    apart = None if is_given(x) and is_given(y) else difference(x, y)
    if apart is None:
        return None
    return apart * quotient_of_powers(x, y, e.params["exponent"])


def quotient_of_powers(x: Expr, y: Expr, exponent: int) -> Expr:
    """(xⁿ - yⁿ) / (x - y) as a polynomial."""
    found: list[Expr] = []
    while exponent % 2 == 0:
        found.append(x + y)
        x, y, exponent = square(x), square(y), exponent // 2
    powers = [
        product([integer_power(b, n) for b, n in ((x, exponent - 1 - i), (y, i)) if n])
        for i in range(exponent if exponent > 1 else 0)
    ]
    return product([*found, total([(1.0, p) for p in powers], (x + y).type)] if powers else found)


# Linear forms


@rewrites(add, sub, exact=False, protects=PROTECTS)
def like_terms_of_opposite_sign(e: Expr) -> Expr | None:
    """(a + b + c) / 2 - a = (b + c - a) / 2, added up without an error"""
    parts = expanded(e) if e.type.real else None
    if parts is None or len(parts) < 3:
        return None
    signs: dict[Key, set[bool]] = {}
    for c, node in parts:
        signs.setdefault(key(node), set()).add(c > 0)
    found = combined(parts)
    if all(len(s) == 1 for s in signs.values()) or not found:
        return None
    if len(found) < 3 or any(node is None for _, node in found):
        return total(found, e.type)
    size = min(abs(c) for c, _ in found)
    shaped = [total([(c / size, node)], e.type) for c, node in found]
    return total([(size, exact_sum(*shaped))], e.type)
