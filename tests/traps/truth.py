"""What a trap's answer is: differences of the naive program, evaluated to hundreds of digits.

The program is read as written and never differentiated. Differences are taken around the point,
so that a removable singularity at the point itself is never evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import symgrad as sg
from symgrad.exact import context, evaluate
from symgrad.exact.numbers import numbers
from traps import Trap

Exact = np.ndarray
Function = Callable[[Exact], Exact]

SETTINGS = ((300, 40), (600, 50), (1300, 60))
"""Digits of the evaluation and of the step; two neighbours that agree settle the answer."""

AGREEMENT = 1e-14
NOTHING = 1e-45
"""What a difference gives for a slope of zero is smaller than this."""


def _array(values: Any) -> Exact:
    """NumPy turns arrays of rank 0 into what they hold."""
    return np.asarray(values, object)


def finite(values: Exact) -> bool:
    return all(v - v == 0 for v in values.flat)


def difference(fun: Function, direction: Exact, step: Any) -> Exact:
    """The slope along a direction at 0; from one side where the other is outside the domain."""
    ahead, behind = fun(step * direction), fun(-step * direction)
    if finite(ahead) and finite(behind):
        return _array((ahead - behind) / (2 * step))
    for sign in (1, -1):
        near, far = fun(sign * step * direction), fun(2 * sign * step * direction)
        if finite(near) and finite(far):
            return _array((far - near) / (sign * step))
    return np.full(ahead.shape, np.nan)


def units(like: Exact, mp: Any) -> Iterator[tuple[tuple[int, ...], Exact]]:
    for place in np.ndindex(like.shape):
        unit = np.full(like.shape, mp.zero, object)
        unit[place] = mp.one
        yield place, unit


def beside(args: list[Exact], mp: Any, offset: Any) -> list[Exact]:
    """The arguments moved a little, each entry by another amount."""
    count = iter(range(1, 10**6))
    return [
        _array(a + offset * _array([mp.sqrt(next(count)) for _ in a.flat]).reshape(a.shape))
        for a in args
    ]


def answer(trap: Trap, graph: sg.Graph, args: list[Exact], mp: Any, step: Any) -> Exact:
    """At the arguments; beside them if another entry is at a singularity of its own."""
    for offset in (0, step / 7, -step / 7):
        found = answer_at(trap, graph, beside(args, mp, offset), mp, step)
        if finite(found):
            break
    return found


def answer_at(trap: Trap, graph: sg.Graph, args: list[Exact], mp: Any, step: Any) -> Exact:
    x = args[trap.wrt]
    digits = mp.dps

    def at(offset: Exact) -> Exact:
        moved = [*args[: trap.wrt], _array(x + offset), *args[trap.wrt + 1 :]]
        return np.asarray(evaluate(graph, moved, digits)[0], object)

    direction = numbers(mp, trap.direction(np.float64))
    if trap.order == "value":
        return at(0 * direction)
    if trap.order == "jvp":
        return difference(at, direction, step)
    found = np.empty(x.shape, object)
    for place, unit in units(x, mp):
        if trap.order == "grad":
            found[place] = difference(at, unit, step)[()]
            continue

        def slope(offset: Exact, unit: Exact = unit) -> Exact:
            return difference(lambda more: at(_array(offset + more)), unit, step)

        # Another step along the direction, so that the two never add up to none.
        found[place] = difference(slope, direction, step * mp.mpf("2.6"))[()]
    return found


def truth(trap: Trap, dtype: Any) -> np.ndarray:
    """The answer at the arguments as they are rounded, in double precision."""
    with jax.enable_x64(True):
        arrays = trap.arrays(dtype)
        given = [np.asarray(a.astype(jnp.float64)) for a in arrays]
        if trap.slope is not None:
            return _stated(trap, given)
        graph = sg.trace(trap.fun, *arrays)
        before = None
        for digits, places in SETTINGS:
            mp = context(digits)
            exact = [numbers(mp, a) for a in given]
            found = answer(trap, graph, exact, mp, mp.mpf(10) ** -places)
            rounded = np.asarray(found, object).astype(np.float64)
            rounded = np.where(np.abs(rounded) < NOTHING, 0.0, rounded)
            if before is not None and _agree(before, rounded):
                return rounded
            before = rounded
    raise AssertionError(f"{trap} has not settled: {before}, then {rounded}; give its slope")


def _stated(trap: Trap, given: list[np.ndarray]) -> np.ndarray:
    if not callable(trap.slope):
        return np.asarray(trap.slope, np.float64)
    mp = context(60)
    found = trap.slope(mp, *(numbers(mp, a) for a in given))
    return np.asarray(found, object).astype(np.float64)


def _agree(first: np.ndarray, second: np.ndarray) -> bool:
    close = np.abs(first - second) <= AGREEMENT * np.max(np.abs(second), initial=1e-300)
    return bool(np.all(close) and np.all(np.isfinite(second)))
