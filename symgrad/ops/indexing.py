"""Which windows of an array are read or written, and how people write that down.

The operands that choose windows are one array of integers per axis they choose
along, not one stacked array as in `jax.lax`: that is how people write them,
`x[i, j]`, and how they are printed wherever NumPy's rules allow it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.lax import GatherScatterMode

from symgrad.expr import Expr, Scalar, Shape, constant, number_source

Axes = tuple[int, ...]

PROMISE = GatherScatterMode.PROMISE_IN_BOUNDS
CLIP = GatherScatterMode.CLIP
FILL = GatherScatterMode.FILL_OR_DROP


@dataclass(frozen=True, slots=True)
class Indexing:
    """The windows of an array that index operands choose; the names are those of `jax.lax`.

    Attributes:
        slice_sizes: extent of a window along each axis of the array.
        starts: where windows start along each axis that no operand chooses.
        start_index_map: the axis each index operand chooses along.
        collapsed_slice_dims: axes of extent 1 that a window's shape leaves out.
        offset_dims: axes of the result that run through a window; the others are those of
            the index operands.
        operand_batching_dims: axes of the array that run along with axes of the operands, ...
        start_indices_batching_dims: ... namely these.
        wrap: negative indices count from the end.
        mode: what happens to windows that are not inside the array.
        unique_indices: a promise that no two windows overlap.
        indices_are_sorted: a promise that windows come in order.
    """

    slice_sizes: Shape
    starts: Shape
    start_index_map: Axes
    collapsed_slice_dims: Axes
    offset_dims: Axes
    operand_batching_dims: Axes = ()
    start_indices_batching_dims: Axes = ()
    wrap: bool = False
    mode: GatherScatterMode = PROMISE
    unique_indices: bool = False
    indices_are_sorted: bool = False


def rows(shape: Shape, rank: int, axis: int = 0) -> Indexing:
    """What `jnp.take(x, i, axis)` reads for `i` of this rank, indices known to be inside."""
    kept = range(len(shape) + rank - 1)
    return Indexing(
        slice_sizes=(*shape[:axis], 1, *shape[axis + 1 :]),
        starts=(0,) * len(shape),
        start_index_map=(axis,),
        collapsed_slice_dims=(axis,),
        offset_dims=tuple(a for a in kept if not axis <= a < axis + rank),
        wrap=True,
    )


def entries_along(rank: int, axis: int) -> Indexing:
    """What `jnp.take_along_axis(x, i, axis)` reads, indices known to be inside."""
    if rank == 1:
        return rows((1,), 1)
    others = tuple(a for a in range(rank) if a != axis)
    return Indexing(
        slice_sizes=(1,) * rank,
        starts=(0,) * rank,
        start_index_map=(axis,),
        collapsed_slice_dims=(axis,),
        offset_dims=(),
        operand_batching_dims=others,
        start_indices_batching_dims=others,
    )


def batch_shape(indices: Sequence[Any]) -> Shape:
    return indices[0].shape if indices else ()


def window_shape(indexing: Indexing) -> Shape:
    hidden = (*indexing.collapsed_slice_dims, *indexing.operand_batching_dims)
    return tuple(n for a, n in enumerate(indexing.slice_sizes) if a not in hidden)


def selected_shape(indexing: Indexing, batch: Shape) -> Shape:
    """The shape of all windows together."""
    window, rest = iter(window_shape(indexing)), iter(batch)
    rank = len(indexing.offset_dims) + len(batch)
    return tuple(next(window if i in indexing.offset_dims else rest) for i in range(rank))


def operand_source(number: int) -> str:
    return "xyz"[number] if number < 3 else f"xs[{number}]"


def _subscript(indexing: Indexing, shape: Shape, rank: int, first: int = 1) -> str | None:
    """NumPy's index for these windows, if it has one.

    Args:
        shape: of the array.
        rank: of the index operands.
        first: the position of the first index operand among all operands.
    """
    chosen = {a: first + k for k, a in enumerate(indexing.start_index_map)}
    if indexing.operand_batching_dims or not _in_numpy_order(indexing, rank):
        return None
    entries = []
    for axis, (n, size, start) in enumerate(
        zip(shape, indexing.slice_sizes, indexing.starts, strict=True)
    ):
        if axis in indexing.collapsed_slice_dims:
            entries.append(operand_source(chosen[axis]) if axis in chosen else str(start))
        elif axis in chosen:
            return None
        else:
            entries.append(f"{start or ''}:{start + size if start + size != n else ''}")
    while len(entries) > 1 and entries[-1] == ":":
        entries.pop()
    return ", ".join(entries) or "..."


def _in_numpy_order(indexing: Indexing, rank: int) -> bool:
    """Whether the operands' axes stand where NumPy puts those of index arrays.

    That is at the place of the indexed axes if they are neighbours, else in front.
    """
    indexed = indexing.collapsed_slice_dims
    neighbours = bool(indexed) and indexed[-1] - indexed[0] == len(indexed) - 1
    before = indexed[0] if neighbours else 0
    total = rank + len(indexing.slice_sizes) - len(indexed)
    kept = tuple(a for a in range(total) if not before <= a < before + rank)
    return kept == indexing.offset_dims


def _axis_of_rows(indexing: Indexing, shape: Shape) -> int | None:
    """The axis along which `jnp.take` selects whole rows, if that is what is selected."""
    if len(indexing.collapsed_slice_dims) != 1 or 0 in shape:
        return None
    (axis,) = indexing.collapsed_slice_dims
    whole = (*shape[:axis], 1, *shape[axis + 1 :]) == indexing.slice_sizes
    return axis if whole and indexing.start_index_map == (axis,) else None


def _axis_of_entries(indexing: Indexing, shape: Shape, rank: int) -> tuple[int, str] | None:
    """The axis along which `jnp.take_along_axis` selects, if that is what is selected.

    With it what the index operand lacks: one index for each row has no axis along the rows.
    """
    if len(indexing.start_index_map) != 1 or 0 in shape:
        return None
    (axis,) = indexing.start_index_map
    others = tuple(a for a in range(len(shape)) if a != axis)
    batching = indexing.operand_batching_dims, indexing.start_indices_batching_dims
    if batching != (others, others) or indexing.collapsed_slice_dims != (axis,):
        return None
    if rank == len(shape):
        return axis, ""
    return (axis, "[..., None]") if axis == rank else None


def _promises(indexing: Indexing) -> list[str]:
    names = ("unique_indices", "indices_are_sorted")
    return [f"{name}=True" for name in names if getattr(indexing, name)]


def _fill_source(e: Expr) -> list[str]:
    """What is read outside the array, unless it is JAX's default."""
    fill = e.params.get("fill_value")
    value = 0 if fill is None else fill.value
    if Scalar(value, e.dtype) == _default_fill(e.dtype):
        return []
    return [f"fill_value={number_source(constant(value, e.dtype))}"]


def _default_fill(dtype: Any) -> Scalar:
    if jax.dtypes.issubdtype(dtype, np.inexact):
        return Scalar(np.nan, dtype)
    if np.dtype(dtype).kind == "b":
        return Scalar(True, dtype)
    limits = jnp.iinfo(dtype)
    return Scalar(limits.min if limits.min < 0 else limits.max, dtype)


def _batch(e: Expr, first: int) -> Shape:
    return batch_shape(e.args[first:])


def gather_source(e: Expr) -> str:
    indexing, shape = e.params["indexing"], e.args[0].shape
    rank = len(_batch(e, 1))
    index = _subscript(indexing, shape, rank)
    if index is not None:
        return _subscript_source(e, index)
    along = _axis_of_entries(indexing, shape, rank)
    if along is not None and (indexing.wrap or indexing.mode is not FILL):
        axis, missing = along
        taken = call_source(
            f"jnp.take_along_axis(x, y{missing}, axis={axis}", _take_along_options(e)
        )
        return taken + missing.replace("None", "0")
    return _lax_gather_source(e)


def call_source(start: str, options: Sequence[str]) -> str:
    return ", ".join([start, *options]) + ")"


def _subscript_source(e: Expr, index: str) -> str:
    """`x[i]`, `jnp.take`, or `x.at[i].get` with everything that differs from plain indexing."""
    indexing = e.params["indexing"]
    row = _axis_of_rows(indexing, e.args[0].shape)
    # That indices are unique is a promise to those who write.
    in_order = indexing.indices_are_sorted and _batch(e, 1) != ()
    promises = ["indices_are_sorted=True"] if in_order else []
    match indexing.mode, indexing.wrap:
        case GatherScatterMode.PROMISE_IN_BOUNDS, True if not promises:
            return f"x[{index}]"
        case GatherScatterMode.FILL_OR_DROP, True if row is not None:
            return call_source(f"jnp.take(x, y, axis={row}", _fill_source(e) + promises)
        case GatherScatterMode.CLIP, False if row is not None:
            return call_source(f"jnp.take(x, y, axis={row}", ['mode="clip"', *promises])
    options = [_mode_source(indexing.mode), *promises]
    if indexing.mode is FILL:
        options += _fill_source(e)
    if not indexing.wrap:
        options.append("wrap_negative_indices=False")
    return f"x.at[{index}].get({', '.join(options)})"


def _mode_source(mode: GatherScatterMode) -> str:
    name = {PROMISE: "promise_in_bounds", CLIP: "clip", FILL: "fill"}[mode]
    return f'mode="{name}"'


def _take_along_options(e: Expr) -> list[str]:
    indexing = e.params["indexing"]
    if indexing.mode is FILL:
        return _fill_source(e)
    options = [_mode_source(indexing.mode)]
    if indexing.wrap == (indexing.mode is PROMISE):
        options.append(f"wrap_negative_indices={indexing.wrap}")
    return options


def _stacked_source(e: Expr, first: int) -> str:
    """The index operands as the one array that `jax.lax` takes, starts that are given included."""
    indexing = e.params["indexing"]
    parts = [operand_source(first + k) for k in range(len(indexing.start_index_map))]
    given = [n for a, n in enumerate(indexing.starts) if a in _given_axes(indexing)]
    parts += [f"jnp.full_like({parts[0]}, {n})" for n in given]
    return f"{parts[0]}[..., None]" if len(parts) == 1 else f"jnp.stack([{', '.join(parts)}], -1)"


def _given_axes(indexing: Indexing) -> Axes:
    """Axes where windows start at a given place other than 0."""
    return tuple(a for a, n in enumerate(indexing.starts) if n)


def _numbers_source(record: str, e: Expr, names: Sequence[str]) -> str:
    p = e.params["indexing"]
    values = (
        p.offset_dims,
        p.collapsed_slice_dims,
        (*p.start_index_map, *_given_axes(p)),
        p.operand_batching_dims,
        p.start_indices_batching_dims,
    )
    used = [f"{n}={v}" for i, (n, v) in enumerate(zip(names, values, strict=True)) if i < 3 or v]
    return f"lax.{record}({', '.join(used)})"


def _lax_gather_source(e: Expr) -> str:
    indexing = e.params["indexing"]
    names = (
        "offset_dims",
        "collapsed_slice_dims",
        "start_index_map",
        "operand_batching_dims",
        "start_indices_batching_dims",
    )
    options = [f"slice_sizes={indexing.slice_sizes}", *_promises(indexing)]
    if indexing.mode is not PROMISE:
        options.append(_mode_source(indexing.mode))
    if indexing.mode is FILL:
        options += _fill_source(e)
    numbers = _numbers_source("GatherDimensionNumbers", e, names)
    return call_source(f"lax.gather(x, {_stacked_source(e, 1)}, {numbers}", options)


def add_along_axis(x, i, u, axis, mode=None, unique_indices=False):
    """`x` with `u` added at the entries that `jnp.take_along_axis(x, i, axis)` reads."""
    i = jnp.where(i < 0, i + x.shape[axis], i)
    others = tuple(a for a in range(x.ndim) if a != axis)
    numbers = lax.ScatterDimensionNumbers((), (axis,), (axis,), others, others)
    return lax.scatter_add(x, i[..., None], u, numbers, mode=mode, unique_indices=unique_indices)


def scatter_source(function: str, method: str) -> Callable[[Expr], str]:
    def source(e: Expr) -> str:
        indexing, shape = e.params["indexing"], e.args[0].shape
        rank = len(_batch(e, 2))
        index = _subscript(indexing, shape, rank, first=2)
        if index is not None:
            return call_source(f"x.at[{index}].{method}(y", _at_options(indexing, rank))
        along = _axis_of_entries(indexing, shape, rank)
        if along is not None and method == "add" and (indexing.wrap or indexing.mode is PROMISE):
            axis, missing = along
            options = [o for o in _promises(indexing) if "unique" in o] + _drop_source(indexing)
            return call_source(f"add_along_axis(x, z{missing}, y{missing}, axis={axis}", options)
        return _lax_scatter_source(e, function)

    return source


def _at_options(indexing: Indexing, rank: int) -> list[str]:
    """What a method of `x.at[...]` that writes is told beside the values."""
    promises = _promises(indexing) if rank else []
    wrap = [] if indexing.wrap else ["wrap_negative_indices=False"]
    return promises + _drop_source(indexing) + wrap


def _drop_source(indexing: Indexing) -> list[str]:
    """Writing treats a broken promise as it treats what is to be dropped, which is the default."""
    return [_mode_source(CLIP)] if indexing.mode is CLIP else []


def _lax_scatter_source(e: Expr, function: str) -> str:
    return call_source(
        f"lax.{function}(x, {_stacked_source(e, 2)}, y, {_scatter_numbers_source(e)}",
        _lax_scatter_options(e.params["indexing"]),
    )


def _lax_scatter_options(indexing: Indexing) -> list[str]:
    return _promises(indexing) + ([] if indexing.mode is FILL else [_mode_source(indexing.mode)])


def _scatter_numbers_source(e: Expr) -> str:
    names = (
        "update_window_dims",
        "inserted_window_dims",
        "scatter_dims_to_operand_dims",
        "operand_batching_dims",
        "scatter_indices_batching_dims",
    )
    return _numbers_source("ScatterDimensionNumbers", e, names)


def apply_source(e: Expr) -> str:
    """`x.at[i].apply(f)` as it is, or by `jax.lax`."""
    indexing, batch = e.params["indexing"], _batch(e, 1)
    index = _subscript(indexing, e.args[0].shape, len(batch))
    if index is not None:
        return call_source(f"x.at[{index}].apply({{function}}", _at_options(indexing, len(batch)))
    start = f"lax.scatter_apply(x, {_stacked_source(e, 1)}, {{function}}"
    return call_source(
        f"{start}, {_scatter_numbers_source(e)}, update_shape={selected_shape(indexing, batch)}",
        _lax_scatter_options(indexing),
    )


def has_notation(indexing: Indexing, shape: Shape, rank: int, *, along_axis: bool = True) -> bool:
    """Whether NumPy has a way to write this down, in which negative indices count from the end.

    Args:
        along_axis: whether there is a function that selects as `jnp.take_along_axis` does.
    """
    if along_axis and _axis_of_entries(indexing, shape, rank) is not None:
        return True
    return _subscript(indexing, shape, rank) is not None
