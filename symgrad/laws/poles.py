"""Where the divisions in an expression leave it infinite."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from random import Random
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from symgrad.expr import Expr, add, div, literal, literal_value, mul, neg, sub
from symgrad.laws.norms import squared_length
from symgrad.laws.separate import LARGEST_SUM, RULES, Term, separate, squares
from symgrad.ops.entropy import times_log1p_op, times_log_op, xlog1py, xlogy
from symgrad.ops.norm import ratio
from symgrad.ops.pointwise import (
    convert_op,
    exp,
    exp2,
    integer_power_op,
    logistic,
    rsqrt,
    softplus,
    sqrt,
    square,
)
from symgrad.ops.reduce import softmax
from symgrad.ops.shape import broadcast, reduce_sum, reshape_op, uniform_value
from symgrad.series import (
    complex_number,
    computed,
    has_pole,
    laurent,
    leading,
    magnitude,
    real_value,
)
from symgrad.structure import bounds
from symgrad.walk import topological

PASSES_ON = (
    *(add, sub, neg, mul, div, ratio, square, integer_power_op),
    *(times_log_op, times_log1p_op, xlogy, xlog1py),
    *(broadcast, reshape_op, reduce_sum, convert_op),
)
"""Operations that have the poles of their operands, unless these cancel."""


@dataclass(frozen=True, slots=True)
class Pole:
    """A point at which a variable makes a node infinite."""

    variable: Expr
    centre: float


_poles: WeakKeyDictionary[Expr, tuple[Pole, ...]] = WeakKeyDictionary()


def poles(e: Expr) -> tuple[Pole, ...]:
    """Where the divisions around a node leave it infinite."""
    stack = [e]
    while stack:
        node = stack[-1]
        waiting = [a for a in node.args if a not in _poles] if node.op in PASSES_ON else []
        if node in _poles:
            stack.pop()
        elif waiting:
            stack.extend(waiting)
        else:
            _poles[node] = tuple(p for p in candidates(node) if _is_pole(node, p))
    return _poles[e]


def candidates(e: Expr) -> tuple[Pole, ...]:
    inherited = [p for a in e.args for p in poles(a)] if e.op in PASSES_ON else []
    return tuple(dict.fromkeys([*inherited, *own_candidates(e)]))[:LARGEST_SUM]


def _is_pole(e: Expr, pole: Pole) -> bool:
    """Whether a term is infinite at the point; its series may need a root that is yet to come."""
    found = separate(e, pole.variable)
    return found is not None and any(is_infinite(t, pole.centre) for t in found.terms)


def is_infinite(t: Term, centre: float) -> bool:
    power = Fraction(0) if centre else t.power
    first = leading(t.function, centre)
    if first is not None:
        return power + first[0] < 0
    if power >= 0 and real_value(t.function, centre) is not None:
        return False
    if has_pole(t.whole, centre):
        return True
    series = laurent(t.whole, centre)
    return series is None or series.valuation < 0


STEPS = (2.0**-18, 2.0**-24, 2.0**-30)
DIRECTIONS = (-0.25 + 1j, 1 + 0.25j)
"""An essential singularity that is not seen along the first of them is along the second."""

GROWTH = 2
"""Bits from step to step: a pole has six times its order."""


def grows(e: Expr, pole: Pole) -> bool:
    """Whether a node grows towards a pole if all arrays in it but the variable are unrelated.

    Then no law finds a limit there: this says so at a glance.
    """
    known = _growing.setdefault(e, {})
    if pole not in known:
        known[pole] = any(_grows_along(e, pole, d) for d in DIRECTIONS)
    return known[pole]


_growing: WeakKeyDictionary[Expr, dict[Pole, bool]] = WeakKeyDictionary()


def _grows_along(e: Expr, pole: Pole, direction: complex) -> bool:
    far, near, nearest = (_magnitude(e, pole, step * direction) for step in STEPS)
    if far is None or near is None or nearest is None:
        return False
    return bool(nearest - near > GROWTH and near - far > GROWTH)


def _magnitude(e: Expr, pole: Pole, distance: complex) -> Any:
    """The binary logarithm of a node near a pole, None where it is not known."""
    known = _values_near(pole.variable, pole.centre, distance)
    stack = [e]
    while stack:
        node = stack[-1]
        inside = node.args if node.op in RULES and node not in known else ()
        if waiting := [a for a in inside if a not in known]:
            stack.extend(waiting)
            continue
        if node not in known:
            known[node] = _value(node, [known[a] for a in inside])
        stack.pop()
    return None if known[e] is None else magnitude(known[e])


@lru_cache(maxsize=256)
def _values_near(v: Expr, centre: float, distance: complex) -> WeakKeyDictionary[Expr, Any]:
    """Values of nodes where a variable is near a point, of which it and its square are known."""
    x = complex_number(centre) + distance
    return WeakKeyDictionary({node: x * x for node in squares(v)} | {v: x})


_unrelated: WeakKeyDictionary[Expr, Any] = WeakKeyDictionary()
_random = Random(0)


def _value(e: Expr, operands: list[Any]) -> Any:
    """The value of a node whose entries are all the same."""
    if e.op not in RULES and e.op is not literal:
        return _unrelated.setdefault(e, complex_number(0.5 + _random.random()))
    if any(x is None for x in operands):
        return None
    if e.op in (broadcast, reshape_op):
        return operands[0]
    if e.op is reduce_sum:
        return operands[0] * (e.args[0].type.size // max(e.type.size, 1))
    try:
        return computed(e, operands)
    except (KeyError, ArithmeticError, ValueError, TypeError):
        return None


def own_candidates(e: Expr) -> list[Pole]:
    """Where the divisor of a division may be zero."""
    below = divisor(e)
    if below is None or not _may_be_zero(below):
        return []
    found = []
    for v in _variables(below):
        separated = separate(below, v)
        if separated is None or len(separated.terms) != 1:
            continue
        function = separated.terms[0].whole
        low, high = bounds(v)
        for centre in centres(function, v is below):
            if low <= centre <= high and _vanishes(function, centre):
                found.append(Pole(v, centre))
    return found


def _vanishes(function: Expr, centre: float) -> bool:
    first = leading(function, centre)
    if first is not None:
        return first[0] > 0
    return real_value(function, centre) == 0


def divisor(e: Expr) -> Expr | None:
    """What an operation divides by, the operand of a negative power or a reciprocal root."""
    if not e.args or not e.type.real:
        return None
    if e.op in (div, ratio):
        return e.args[1]
    negative = e.op is integer_power_op and e.params["exponent"] < 0
    return e.args[0] if negative or e.op is rsqrt else None


def _may_be_zero(e: Expr) -> bool:
    if uniform_value(e) is not None or is_positive_if_exact(e):
        return False
    low, high = bounds(e)
    return low <= 0 <= high


POSITIVE = frozenset({exp, exp2, logistic, softplus, softmax})
"""Functions that underflow to zero and are positive nevertheless."""

SIGN_OF_OPERANDS = frozenset({reduce_sum, broadcast, reshape_op, sqrt, rsqrt, square, mul, div})


def is_positive_if_exact(e: Expr) -> bool:
    """Whether a number is positive if it is computed exactly."""
    waiting = [e]
    for _ in range(LARGEST_SUM):
        if not waiting:
            return True
        node = waiting.pop()
        if node.op in POSITIVE or bounds(node).low > 0:
            continue
        if node.op is add and all(bounds(a).low >= 0 for a in node.args):
            # One that is positive is enough, and a function says so at a glance.
            waiting.append(next((a for a in node.args if a.op in POSITIVE), node.args[0]))
        elif node.op in SIGN_OF_OPERANDS and node.args:
            waiting.extend(node.args)
        else:
            return False
    return False


def _variables(divisor: Expr) -> list[Expr]:
    """What a divisor may be taken as a function of: everything inside of it, and itself."""
    inside: dict[Expr, None] = {}
    stack = [divisor]
    while stack and len(inside) < LARGEST_SUM:
        node = stack.pop()
        if node in inside or node.op is literal or not node.type.real:
            continue
        inside[node] = None
        if (length_of_it := squared_length(node)) is not None:
            inside[length_of_it] = None
        elif node.op in RULES and node.op is not reduce_sum:
            stack.extend(node.args)
    return list(reversed(inside))


def centres(function: Expr, itself: bool) -> list[float]:
    """Zero, one, and the numbers that the function mentions, and their reciprocals."""
    if itself:
        return [0.0]
    found = [0.0, 1.0, -1.0]
    for node in topological([function]):
        value = literal_value(node)
        if value is not None and np.isfinite(value):
            number = float(value)
            found += [number, -number, 1 / number] if number else []
    return list(dict.fromkeys(found))[:LARGEST_SUM]
