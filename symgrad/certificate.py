"""Is this gradient right, here? What exact arithmetic says of it, and what it was protected from.

The judge is the program itself: it is evaluated as written to hundreds of digits on both sides
of the point, and differences of those values are compared with the gradient.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symgrad import report
from symgrad.api import Argnums, grad, trace
from symgrad.errors import ArgumentError, NoExactValueError
from symgrad.exact import context, evaluate
from symgrad.exact.numbers import numbers
from symgrad.graph import Graph
from symgrad.transform import Rules

SETTINGS = ((120, 25), (260, 40))
"""Digits, and digits of the step; a slope counts where both settings agree."""

AGREEMENT = 1e-9
ENTRIES = 64
"""Gradients of more entries are compared along random directions, not entry by entry."""

DIRECTIONS = 8
BUDGET = 4_000_000
"""Operations on single numbers that a check may spend, some microseconds each."""

Place = tuple[int, tuple[int, ...]]
"""An entry: the number of its leaf, and its index there."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What was found of one gradient at one point; `print` it.

    Attributes:
        name: of the function.
        entries: of the gradient.
        compared: how many slopes exact arithmetic gave to compare with.
        error: the largest relative error against them, of the size of the whole gradient where
            a slope is zero; None if there were none.
        worst: the entry, or the direction, where it was found.
        difference: the largest relative difference to the reference where that is finite.
        rescued: entries that are finite here and not in the reference.
        lost: entries that have a finite slope and are not finite here.
        kinks: entries where the slopes to both sides differ, and the derivative is a convention.
        unsettled: slopes that exact arithmetic could not tell: there is none, or it is infinite.
        note: why nothing could be compared, empty if something was.
        reference: what the gradient was compared with besides.
        firings: the rules that fired and protect against something.
        tolerance: the relative error that is accepted.

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> verdict = sg.check(lambda x: jnp.log(1 + jnp.exp(x)))(1000.0)
        >>> verdict.holds, len(verdict.rescued)
        (True, 1)
    """

    name: str
    entries: int
    compared: int
    error: float | None
    worst: str
    difference: float
    rescued: tuple[str, ...]
    lost: tuple[str, ...]
    kinks: tuple[str, ...]
    unsettled: int
    note: str
    reference: str
    firings: tuple[report.Firing, ...]
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether every slope that could be compared is finite and within the tolerance.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> sg.check(jnp.sin)(1.0).holds
            True
        """
        return not self.lost and (self.error is None or self.error <= self.tolerance)

    def __str__(self) -> str:
        verdict = "holds" if self.holds else "does not hold"
        lines = [f"gradient of {self.name}, {_count(self.entries, 'entry', 'entries')}: {verdict}"]
        if self.error is not None:
            slopes = _count(self.compared, "slope", "slopes")
            at = f", at {self.worst}" if self.error else ""
            lines.append(f"  relative error {self.error:.1e}{at} ({slopes} in exact arithmetic)")
        lines += [f"  {self.note}"] if self.note else []
        lines.append(f"  relative difference to {self.reference} {self.difference:.1e}")
        listed = (
            (f"not finite in {self.reference}", self.rescued),
            ("not finite here", self.lost),
            ("kinks, where the derivative is a convention", self.kinks),
        )
        lines += [f"  {what}: {_list(places)}" for what, places in listed if places]
        if self.unsettled:
            lines.append(f"  {_count(self.unsettled, 'slope', 'slopes')} could not be told")
        for f in self.firings:
            lines.append(f"  {f.rule} against {f.protects}{report.at_lines(f)}")
        return "\n".join(lines)


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _list(places: Sequence[str]) -> str:
    more = f" and {len(places) - 6} more" if len(places) > 6 else ""
    return ", ".join(places[:6]) + more


def check(
    fun: Callable[..., Any],
    argnums: Argnums = 0,
    *,
    reference: Callable[..., Any] | None = None,
    rules: Rules = "default",
) -> Callable[..., Certificate]:
    """A function that judges the gradient of `fun` where it is called.

    Args:
        fun: a function of arrays that returns one real number.
        argnums: the arguments to differentiate by.
        reference: another gradient to compare with, such as `jax.grad(fun)`; without one the
            derivative of the program as it is written, which no law has touched.
        rules: the rules of the gradient that is judged.

    Returns:
        `judge(*args)`, which gives a `Certificate`.

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> certificate = sg.check(lambda x: jnp.log(1 + jnp.exp(x)))(1000.0)
        >>> certificate.holds, certificate.rescued
        (True, ('x',))
    """
    gradient = grad(fun, argnums, rules=rules)
    naive = grad(fun, argnums, rules="none") if reference is None else reference
    title = "the program as written" if reference is None else "the reference"

    @functools.wraps(fun)
    def judge(*args: Any) -> Certificate:
        graph = trace(fun, *args)
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(args)]
        wrt = _numbers(args, argnums)
        found, given = (
            [np.asarray(leaf) for leaf in jax.tree.leaves(g(*args))] for g in (gradient, naive)
        )
        if [g.shape for g in given] != [f.shape for f in found]:
            raise ArgumentError(
                "reference= gives a gradient of other shapes than the function's arguments",
                fix="pass a gradient by the same argnums, such as jax.grad(fun, argnums)",
            )
        name = getattr(fun, "__name__", "the function")
        judgement = _Judgement(graph, leaves, wrt, found, given)
        fired = [f for f in gradient.explain(*args).firings if f.protects]
        return judgement.certificate(name, title, tuple(fired))

    return judge


def _numbers(args: Sequence[Any], argnums: Argnums) -> list[int]:
    """The numbers of the leaves that are differentiated."""
    wanted = {argnums} if isinstance(argnums, int) else set(argnums)
    wanted = {n % len(args) for n in wanted}
    counts = [len(jax.tree.leaves(a)) for a in args]
    starts = [sum(counts[:i]) for i in range(len(args))]
    return [starts[i] + k for i in sorted(wanted) for k in range(counts[i])]


@dataclass(slots=True)
class _Slopes:
    """What exact arithmetic said of the slopes that were tried, by their labels."""

    errors: list[tuple[float, str]] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    kinks: list[str] = field(default_factory=list)
    unsettled: int = 0
    note: str = ""


class _Judgement:
    """A gradient beside a reference and beside slopes in exact arithmetic."""

    def __init__(
        self,
        graph: Graph,
        leaves: list[np.ndarray],
        wrt: list[int],
        found: list[np.ndarray],
        given: list[np.ndarray],
    ):
        self.graph, self.leaves, self.wrt = graph, leaves, wrt
        self.found = [_wide(f) for f in found]
        self.given = [_wide(g) for g in given]
        self.eps = max(float(jnp.finfo(f.dtype).eps) for f in found)
        finite = [np.abs(f[np.isfinite(f)]) for f in self.found]
        self.size = max((float(np.max(f, initial=0.0)) for f in finite), default=0.0)

    def certificate(self, name: str, title: str, firings: tuple[report.Firing, ...]) -> Certificate:
        slopes = _Slopes()
        try:
            self._compare(slopes)
        except NoExactValueError as error:
            slopes.note = f"not compared with exact arithmetic: {error.what}"
        worst, where = max(slopes.errors, default=(None, ""))
        return Certificate(
            name=name,
            entries=sum(f.size for f in self.found),
            compared=len(slopes.errors) + len(slopes.lost),
            error=worst,
            worst=where,
            difference=self._difference(),
            rescued=tuple(self._rescued()),
            lost=tuple(slopes.lost),
            kinks=tuple(slopes.kinks),
            unsettled=slopes.unsettled,
            note=slopes.note,
            reference=title,
            firings=firings,
            tolerance=math.sqrt(self.eps) / 16,
        )

    def _compare(self, slopes: _Slopes) -> None:
        slopes.note = "not compared with exact arithmetic: the program is too large for it"
        for label, direction in self._directions():
            slopes.note = ""
            slope, kink = self._slope(direction)
            mine, reach = self._along(direction)
            if kink:
                slopes.kinks.append(label)
            elif slope is None:
                slopes.unsettled += 1
            elif not math.isfinite(mine):
                slopes.lost.append(label)
            else:
                scale = max(abs(slope), reach) or self.size or 1.0
                slopes.errors.append((abs(mine - slope) / scale, label))

    def _label(self, place: Place) -> str:
        leaf, index = place
        number = self.wrt[leaf]
        name = self.graph.names[number] if number < len(self.graph.names) else f"x{number}"
        return f"{name}[{', '.join(map(str, index))}]" if index else name

    def _places(self) -> Iterator[Place]:
        for leaf, values in enumerate(self.found):
            for index in np.ndindex(values.shape):
                yield leaf, index

    def _difference(self) -> float:
        worst = 0.0
        for f, g in zip(self.found, self.given, strict=True):
            known = np.isfinite(f) & np.isfinite(g)
            size = np.max(np.abs(g[known]), initial=0.0)
            if size:
                worst = max(worst, float(np.max(np.abs(f - g)[known] / size)))
        return worst

    def _rescued(self) -> Iterator[str]:
        for leaf, index in self._places():
            if np.isfinite(self.found[leaf][index]) and not np.isfinite(self.given[leaf][index]):
                yield self._label((leaf, index))

    def _directions(self) -> Iterator[tuple[str, list[np.ndarray]]]:
        """Every entry of a small gradient; random directions through a large one."""
        total = sum(f.size for f in self.found)
        cost = self.graph.cost()
        affordable = BUDGET // (4 * len(SETTINGS) * (cost.flops + cost.nodes + 1))
        if total <= min(ENTRIES, affordable):
            for place in self._places():
                unit = [np.zeros(f.shape) for f in self.found]
                unit[place[0]][place[1]] = 1.0
                yield self._label(place), unit
            return
        draws = np.random.default_rng(0)
        for i in range(min(DIRECTIONS, affordable)):
            yield f"direction {i}", [draws.normal(size=f.shape) for f in self.found]

    def _along(self, direction: list[np.ndarray]) -> tuple[float, float]:
        """The gradient along a direction, and the sum of the sizes of its parts."""
        pairs = zip(self.found, direction, strict=True)
        parts = np.concatenate([(f * d)[d != 0].ravel() for f, d in pairs])
        return float(np.sum(parts)), float(np.sum(np.abs(parts)))

    def _slope(self, direction: list[np.ndarray]) -> tuple[float | None, bool]:
        """The slope along a direction if there is one, and whether there is a kink instead."""
        coarse, fine = (self._one_sided(direction, *setting) for setting in SETTINGS)
        sides = zip(coarse, fine, strict=True)
        settled = [b for a, b in sides if a is not None and b is not None and _agree(a, b)]
        if not settled or len(settled) < sum(s is not None for s in fine):
            return None, False
        if len(settled) == 2 and not _agree(*settled):
            return None, True
        return sum(settled) / len(settled), False

    def _one_sided(
        self, direction: list[np.ndarray], digits: int, places: int
    ) -> tuple[float | None, float | None]:
        """Slopes to both sides, of values that leave out the point itself."""
        mp = context(digits)
        step = mp.mpf(10) ** -places
        exact = [numbers(mp, leaf) for leaf in self.leaves]
        along = dict(zip(self.wrt, (numbers(mp, d) for d in direction), strict=True))

        def value(times: int) -> Any:
            moved = [
                np.asarray(x + times * step * along[i], object) if i in along else x
                for i, x in enumerate(exact)
            ]
            return evaluate(self.graph, moved, digits)[0][()]

        def slope(sign: int) -> float | None:
            difference = (value(2 * sign) - value(sign)) / (sign * step)
            return float(difference) if mp.isfinite(difference) else None

        return slope(1), slope(-1)


def _wide(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float64)


def _agree(first: float, second: float) -> bool:
    return abs(first - second) <= AGREEMENT * max(abs(first), abs(second)) + 1e-18
