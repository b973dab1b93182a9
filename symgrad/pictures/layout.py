"""Where boxes stand: in layers from left to right, ordered so that few arrows cross.

The method is that of Sugiyama, Tagawa and Toda (1981): long arrows get a place in every layer
they pass, and the order within a layer follows the average of the neighbours' places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from symgrad.pictures.boxes import Box, Boxes

SWEEPS = 4
MOST_PASSAGES = 3000
LONGEST_WITH_PLACES = 6
"""In pictures with more passages, arrows over more layers are drawn behind what is between."""

HEIGHT, GAP, PASSING = 30, 18, 14
CHARACTER, MARGIN, BETWEEN = 7.4, 24, 54


@dataclass(frozen=True, slots=True)
class Placed:
    """A box with its middle and its width; an arrow as the points it passes."""

    x: float
    y: float
    width: float


@dataclass(frozen=True, slots=True)
class Layout:
    """Places of boxes, points of arrows, and the size of it all."""

    places: tuple[Placed, ...]
    paths: tuple[tuple[tuple[float, float], ...], ...]
    width: float
    height: float


def layout(boxes: Boxes) -> Layout:
    """Forward passes on the left, backward passes on the right."""
    layer = _layers(boxes)
    chains, layer_of = _with_passages(boxes, layer)
    rows = _ordered(chains, layer_of)
    ys = _heights(rows, chains, len(boxes.boxes))
    widths = [_width(b) for b in boxes.boxes]
    columns = [max((widths[v] for v in row if v < len(widths)), default=8.0) for row in rows]
    middles, left = [], float(MARGIN)
    for width in columns:
        middles.append(left + width / 2)
        left += width + BETWEEN
    places = tuple(Placed(middles[layer_of[v]], ys[v], widths[v]) for v in range(len(boxes.boxes)))
    top = max(ys, default=0.0) + HEIGHT / 2 + MARGIN
    paths = tuple(
        _points(chain, places, [(middles[layer_of[v]], ys[v]) for v in chain[1:-1]])
        for chain in chains
    )
    return Layout(places, paths, left - BETWEEN + MARGIN, top)


def _width(box: Box) -> float:
    return max(34.0, len(box.label) * CHARACTER + 16)


def _layers(boxes: Boxes) -> list[int]:
    """One more than the largest of what a box needs; backward passes begin after all others."""
    before: list[list[int]] = [[] for _ in boxes.boxes]
    for a, b in boxes.arrows:
        before[b].append(a)
    found = [0] * len(boxes.boxes)
    first = 0
    for late in (False, True):
        for i, box in enumerate(boxes.boxes):
            if (box.kind == "backward") == late:
                found[i] = max((found[a] + 1 for a in before[i]), default=first if late else 0)
                found[i] = max(found[i], first)
        first = max(found, default=0) + 1
    return found


def _with_passages(boxes: Boxes, layer: Sequence[int]) -> tuple[list[list[int]], list[int]]:
    """Each arrow as the places it passes, and the layer of each place."""
    layers = list(layer)
    chains = []
    spans = [layer[b] - layer[a] for a, b in boxes.arrows]
    longest = max(spans, default=0) if sum(spans) <= MOST_PASSAGES else LONGEST_WITH_PLACES
    for (a, b), span in zip(boxes.arrows, spans, strict=True):
        chain = [a]
        for between in range(layer[a] + 1, layer[b]) if span <= longest else ():
            chain.append(len(layers))
            layers.append(between)
        chains.append([*chain, b])
    return chains, layers


def _neighbours(chains: Sequence[Sequence[int]], count: int) -> tuple[list[list[int]], ...]:
    """What is just before and just after each place."""
    before: list[list[int]] = [[] for _ in range(count)]
    after: list[list[int]] = [[] for _ in range(count)]
    for chain in chains:
        for a, b in pairwise(chain):
            after[a].append(b)
            before[b].append(a)
    return before, after


def _ordered(chains: Sequence[Sequence[int]], layer: Sequence[int]) -> list[list[int]]:
    """The places of each layer from top to bottom."""
    rows: list[list[int]] = [[] for _ in range(max(layer, default=-1) + 1)]
    for v, number in enumerate(layer):
        rows[number].append(v)
    before, after = _neighbours(chains, len(layer))
    position = [0.0] * len(layer)
    for sweep in range(SWEEPS):
        near = before if sweep % 2 == 0 else after
        for row in rows if sweep % 2 == 0 else rows[::-1]:
            if sweep or row is not rows[0]:
                row.sort(key=lambda v: _mean([position[u] for u in near[v]], position[v]))
            for i, v in enumerate(row):
                position[v] = i - len(row) / 2
    return rows


def _mean(values: Sequence[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def _heights(
    rows: Sequence[Sequence[int]], chains: Sequence[Sequence[int]], real: int
) -> list[float]:
    """Each place as near to its neighbours as the order in its layer allows."""
    count = sum(map(len, rows))
    before, after = _neighbours(chains, count)
    ys = [0.0] * count
    for row in rows:
        _spread(row, [0.0] * len(row), ys, real)
    for sweep in range(SWEEPS):
        near = before if sweep % 2 == 0 else after
        for row in rows if sweep % 2 == 0 else rows[::-1]:
            _spread(row, [_mean([ys[u] for u in near[v]], ys[v]) for v in row], ys, real)
    top = min(ys, default=0.0)
    return [y - top + MARGIN + HEIGHT / 2 for y in ys]


def _spread(row: Sequence[int], wanted: Sequence[float], ys: list[float], real: int) -> None:
    """Push apart from top to bottom, then move the whole to where it is wanted on average."""
    reached = None
    for v, y in zip(row, wanted, strict=True):
        own = HEIGHT if v < real else PASSING
        ys[v] = y if reached is None else max(y, reached + own / 2 + GAP)
        reached = ys[v] + own / 2
    shift = _mean([w - ys[v] for v, w in zip(row, wanted, strict=True)], 0.0)
    for v in row:
        ys[v] += shift


def _points(
    chain: Sequence[int], places: Sequence[Placed], between: Sequence[tuple[float, float]]
) -> tuple[tuple[float, float], ...]:
    a, b = places[chain[0]], places[chain[-1]]
    return ((a.x + a.width / 2, a.y), *between, (b.x - b.width / 2, b.y))
