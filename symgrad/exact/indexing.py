"""Gathering and scattering numbers of any precision."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from symgrad.exact.numbers import number
from symgrad.exact.scalars import value_of
from symgrad.expr import Expr, Op, add, mul
from symgrad.ops import index, pointwise
from symgrad.ops.indexing import CLIP, Indexing

Array = np.ndarray
Place = tuple[int, ...]


def windows(
    indexing: Indexing, shape: Place, indices: tuple[Array, ...]
) -> Iterator[tuple[Place, list[int], bool]]:
    """For each window its place among the indices, where it starts, and whether it is inside."""
    batch = indices[0].shape if indices else ()
    for place in np.ndindex(batch):
        start = list(indexing.starts)
        for axis, chosen in zip(indexing.start_index_map, indices, strict=True):
            n = int(chosen[place])
            start[axis] += n + shape[axis] if indexing.wrap and n < 0 else n
        batching = indexing.operand_batching_dims, indexing.start_indices_batching_dims
        for axis, along in zip(*batching, strict=True):
            start[axis] = place[along]
        room = [n - size for n, size in zip(shape, indexing.slice_sizes, strict=True)]
        inside = all(0 <= a <= r for a, r in zip(start, room, strict=True))
        if indexing.mode is CLIP:
            start = [min(max(a, 0), r) for a, r in zip(start, room, strict=True)]
            inside = True
        yield place, start, inside


def entries(
    indexing: Indexing, shape: Place, indices: tuple[Array, ...]
) -> Iterator[tuple[Place, Place, bool]]:
    """For each entry that is read: its place in the result, in the array, and if it is inside."""
    hidden = (*indexing.collapsed_slice_dims, *indexing.operand_batching_dims)
    for place, start, inside in windows(indexing, shape, indices):
        for offset in itertools.product(*map(range, indexing.slice_sizes)):
            within = iter([o for a, o in enumerate(offset) if a not in hidden])
            rest = iter(place)
            rank = len(indexing.offset_dims) + len(place)
            chosen = (next(within if i in indexing.offset_dims else rest) for i in range(rank))
            yield tuple(chosen), tuple(a + o for a, o in zip(start, offset, strict=True)), inside


def _gather(mp: Any, e: Expr, x: Array, *indices: Array) -> Array:
    fill = e.params.get("fill_value")
    outside = 0 if fill is None else fill.value
    found = np.empty(e.shape, x.dtype)
    for into, place, inside in entries(e.params["indexing"], x.shape, indices):
        found[into] = x[place] if inside else number(mp, outside) if e.type.inexact else outside
    return found


def _scattered(combine: Callable[[Any, Any, Any], Any]) -> Callable[..., Array]:
    def value(mp: Any, e: Expr, x: Array, updates: Array, *indices: Array) -> Array:
        found = x.copy()
        for taken, place, inside in entries(e.params["indexing"], x.shape, indices):
            if inside:
                found[place] = combine(mp, found[place], updates[taken])
        return found

    return value


def _by(op: Op) -> Callable[..., Array]:
    return _scattered(lambda mp, x, y: value_of(mp, op, x, y))


def _starts(x: Array, sizes: Place, starts: tuple[Array, ...], wrap: bool) -> tuple[slice, ...]:
    found = []
    for n, size, start in zip(x.shape, sizes, starts, strict=True):
        first = int(start)
        first = first + n if wrap and first < 0 else first
        first = min(max(first, 0), n - size)
        found.append(slice(first, first + size))
    return tuple(found)


def _dynamic_slice(mp: Any, e: Expr, x: Array, *starts: Array) -> Array:
    return x[_starts(x, e.shape, starts, e.params["wrap"])]


def _dynamic_update(mp: Any, e: Expr, x: Array, update: Array, *starts: Array) -> Array:
    found = x.copy()
    found[_starts(x, update.shape, starts, e.params["wrap"])] = update
    return found


INDEXED: Mapping[Op, Callable[..., Array]] = {
    index.gather_op: _gather,
    index.gather_fill: _gather,
    index.scatter: _scattered(lambda mp, x, y: y),
    index.scatter_add: _by(add),
    index.scatter_mul: _by(mul),
    index.scatter_max: _by(pointwise.maximum),
    index.scatter_min: _by(pointwise.minimum),
    index.dynamic_slice_op: _dynamic_slice,
    index.dynamic_update_slice_op: _dynamic_update,
}
"""What operations at computed places do, as in `arrays.ARRAYS`."""
