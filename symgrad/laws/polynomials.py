"""Sums as polynomials: which terms of two of them cancel, and what is left.

The difference of operands is known exactly where terms cancel: of x + 1 and x it is 1,
whatever is left of it after rounding.
"""

from __future__ import annotations

from collections.abc import Sequence

from symgrad.expr import Expr, argument, captured
from symgrad.laws.terms import (
    SPREADING,
    Term,
    factors,
    negated,
    number,
    power_of,
    scaled,
    terms,
    total,
)
from symgrad.ops.pointwise import (
    difference_of_powers,
    difference_of_squares,
    exp,
    expm1,
    integer_power,
    square,
)
from symgrad.ops.shape import slice_

MOVES = (slice_, *SPREADING)

POWERS = (difference_of_squares, difference_of_powers)

Key = tuple[int, ...]


def is_given(e: Expr) -> bool:
    """Whether a value comes from outside, so that differences of it lose nothing."""
    while e.op in MOVES:
        (e,) = e.args
    return e.op is argument or e.op is captured


def key(node: Expr | None) -> Key:
    """Equal for equal products, whatever the order of their factors, and for powers of them."""
    found: list[int] = []
    waiting = [] if node is None else [(node, 1)]
    while waiting:
        factor, exponent = waiting.pop()
        power = power_of(factor)
        parts = None if power is not None else factors(factor)
        if power is not None:
            waiting.append((power[0], exponent * power[1]))
        elif parts is not None and len(parts) > 1:
            waiting += [(p, exponent) for p in parts]
        else:
            found.extend([id(factor)] * exponent)
    return tuple(sorted(found))


def expanded(e: Expr) -> list[Term] | None:
    """The terms of a sum, differences of powers among them taken apart."""
    parts = terms(e)
    found: list[Term] = []
    for coefficient, node in parts or ():
        if node is not None and node.op in POWERS:
            exponent = node.params.get("exponent", 2)
            for sign, root in zip((1, -1), node.args, strict=True):
                factor, base = scaled(root)
                value = number(base)
                size = sign * coefficient * factor**exponent
                power = None if value is not None else integer_power(base, exponent)
                found.append((size if value is None else size * value**exponent, power))
        elif node is not None and node.op is square:
            factor, root = scaled(node.args[0])
            found.append((coefficient * factor**2, square(root)))
        else:
            found.append((coefficient, node))
    return None if parts is None else found


def combined(parts: Sequence[Term]) -> list[Term]:
    """Equal terms as one; those that cancel are gone."""
    sums: dict[Key, Term] = {}
    for coefficient, node in parts:
        own = key(node)
        known = sums.get(own)
        sums[own] = (coefficient, node) if known is None else (known[0] + coefficient, known[1])
    return [t for t in sums.values() if t[0]]


def _less_one(parts: Sequence[Term], others: Sequence[Term]) -> list[Term]:
    """The terms with exp(x) as expm1(x) + 1 where the others have expm1(x)."""
    less = {node.args[0] for _, node in others if node is not None and node.op is expm1}
    found: list[Term] = []
    for coefficient, node in parts:
        if node is not None and node.op is exp and node.args[0] in less:
            found += [(coefficient, expm1(node.args[0])), (coefficient, None)]
        else:
            found.append((coefficient, node))
    return found


def difference(a: Expr, b: Expr) -> Expr | None:
    """a - b where terms of both cancel, or both are given; None if nothing is known of it."""
    if is_given(a) and is_given(b):
        return a - b
    first, second = expanded(a), expanded(b)
    if first is None or second is None:
        return None
    first, second = _less_one(first, second), _less_one(second, first)
    left = combined([*first, *negated(second)])
    if len(left) >= len(first) + len(second) - 1 or not left:
        return None
    shape = a.shape or b.shape
    return total(left, a.type.with_shape(shape))
