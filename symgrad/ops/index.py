"""Reading and writing at computed places: gather, scatter and dynamic slices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from symgrad.errors import NoDerivativeError, ShapeError
from symgrad.expr import (
    Custom,
    Expr,
    Linear,
    Op,
    Scalar,
    Shape,
    Type,
    add,
    constant,
    literal_value,
    no_flops,
)
from symgrad.ops.bodies import graph_flops, plain_function
from symgrad.ops.indexing import (
    FILL,
    Indexing,
    add_along_axis,
    apply_source,
    batch_shape,
    call_source,
    gather_source,
    has_notation,
    operand_source,
    scatter_source,
    selected_shape,
    window_shape,
)
from symgrad.ops.pointwise import clamp, convert, convert_op, eq, lt, maximum, select
from symgrad.ops.reduce import argmax, argmin
from symgrad.ops.shape import (
    broadcast,
    concatenate,
    full,
    iota,
    reshape,
    reshape_op,
    slice_,
    zeros,
)
from symgrad.walk import Graph


def _check_indices(x: Type, indices: Sequence[Type], indexing: Indexing) -> None:
    if len(indices) != len(indexing.start_index_map):
        raise ShapeError(f"{len(indices)} indices for axes {indexing.start_index_map}")
    integers = all(jax.dtypes.issubdtype(i.dtype, np.integer) for i in indices)
    if len({i.shape for i in indices}) > 1 or not integers:
        raise ShapeError(f"indices {', '.join(map(str, indices))}")
    fits = all(n <= m for n, m in zip(indexing.slice_sizes, x.shape, strict=True))
    if not fits and 0 not in batch_shape(indices):
        raise ShapeError(f"windows of {indexing.slice_sizes} in an array of {x.shape}")


def _gather_type(x: Type, *indices: Type, indexing: Indexing, fill_value: Any = None) -> Type:
    _check_indices(x, indices, indexing)
    return x.with_shape(selected_shape(indexing, batch_shape(indices)))


def _scatter_type(x: Type, updates: Type, *indices: Type, indexing: Indexing) -> Type:
    _check_indices(x, indices, indexing)
    wanted = selected_shape(indexing, batch_shape(indices))
    if updates.shape != wanted or updates.dtype != x.dtype:
        raise ShapeError(f"updates {updates} where {x.dtype}{list(wanted)} go")
    return x


def _gather_adjoint(g: Expr, y: Expr, x: Expr, *indices: Expr) -> Expr:
    return scatter_add(
        zeros(g.type.with_shape(x.shape)), g, *indices, indexing=y.params["indexing"]
    )


gather_op = Op(
    "gather",
    _gather_type,
    gather_source,
    Linear(_gather_adjoint),
    params=("indexing",),
    flops=no_flops,
)
"""Windows of the first operand, as `jax.lax.gather`; one to be filled is filled with 0."""

gather_fill = Op(
    "take",
    _gather_type,
    gather_source,
    Custom(
        pullback=lambda g, y, x, *indices: (
            _gather_adjoint(g, y, x, *indices),
            *(None for _ in indices),
        ),
        pushforward=lambda t, y, x, *indices: gather(t[0], *indices, indexing=y.params["indexing"]),
    ),
    params=("indexing", "fill_value"),
    flops=no_flops,
)
"""As `gather`, with another value than 0 for windows that are not inside: affine, not linear."""


def gather(x: Expr, *indices: Expr, indexing: Indexing) -> Expr:
    """Windows of `x`; without index operands that is one slice."""
    if indices:
        return gather_op(x, *indices, indexing=indexing)
    stop = tuple(a + n for a, n in zip(indexing.starts, indexing.slice_sizes, strict=True))
    window = slice_(x, start=indexing.starts, stop=stop, step=(1,) * x.ndim)
    return reshape(window, shape=window_shape(indexing))


def _scatter_flops(e: Expr) -> int:
    return e.args[1].type.size


scatter_add = Op(
    "scatter_add",
    _scatter_type,
    scatter_source("scatter_add", "add"),
    Linear(
        lambda g, y, x, updates, *indices: (g, gather(g, *indices, indexing=y.params["indexing"])),
        operands=(0, 1),
    ),
    params=("indexing",),
    helpers=(add_along_axis,),
    flops=_scatter_flops,
)
"""`x` with updates added to its windows: `scatter_add(x, updates, *indices)`."""


def _winners(y: Expr, updates: Expr, indices: Sequence[Expr]) -> Expr | None:
    """Which updates a scatter keeps, None if all: number them, scatter the numbers, look back.

    Which of several updates of one entry is kept is XLA's choice; it is asked rather than guessed.
    """
    indexing, batch = y.params["indexing"], batch_shape(indices)
    free = [n for a, n in enumerate(batch) if a not in indexing.start_indices_batching_dims]
    if indexing.unique_indices or math.prod(free) <= 1:
        return None
    int32 = np.dtype(np.int32)
    count = iota(shape=(math.prod(batch),), dtype=int32, axis=0) + constant(1, int32)
    axes = tuple(a for a in range(updates.ndim) if a not in indexing.offset_dims)
    numbers = broadcast(reshape(count, shape=batch), shape=updates.shape, axes=axes)
    nobody = zeros(Type(y.shape, int32))
    kept = scatter(nobody, numbers, *indices, indexing=indexing)
    return eq(gather(kept, *indices, indexing=indexing), numbers)


def _scatter_adjoint(g: Expr, y: Expr, x: Expr, updates: Expr, *indices: Expr) -> tuple[Expr, Expr]:
    """What was overwritten gets nothing, what was kept gets the cotangent of its place."""
    indexing = y.params["indexing"]
    rest = scatter(g, zeros(updates.type), *indices, indexing=indexing)
    read = gather(g, *indices, indexing=indexing)
    winners = _winners(y, updates, indices)
    return rest, read if winners is None else select(winners, read, 0)


scatter = Op(
    "scatter",
    _scatter_type,
    scatter_source("scatter", "set"),
    Linear(_scatter_adjoint, operands=(0, 1)),
    params=("indexing",),
    flops=_scatter_flops,
)
"""`x` with its windows replaced by updates."""


def _scatter_extremum_pullback(
    g: Expr, y: Expr, x: Expr, updates: Expr, *indices: Expr
) -> tuple[Expr | None, ...]:
    """An entry and the updates that tie for it share the cotangent equally, as in JAX.

    Nothing is equal to nan: an entry that is nan has no share, so none may be divided by 0.
    """
    indexing = y.params["indexing"]
    stays = eq(x, y)
    wins = eq(updates, gather(y, *indices, indexing=indexing))
    votes = convert(wins, dtype=g.dtype)
    count = scatter_add(convert(stays, dtype=g.dtype), votes, *indices, indexing=indexing)
    share = g / maximum(count, 1)
    read = gather(share, *indices, indexing=indexing)
    return (select(stays, share, 0), select(wins, read, 0), *(None for _ in indices))


def _scatter_mul_push(
    tangents: tuple[Expr | None, ...], y: Expr, x: Expr, updates: Expr, *indices: Expr
) -> Expr:
    """The factor of every entry, and what the factors add to it; JAX has the second if unique."""
    indexing = y.params["indexing"]
    moved, rescaled = tangents[:2]
    if rescaled is None:
        factors = scatter_mul(full(1, x.type), updates, *indices, indexing=indexing)
        return moved * factors  # type: ignore[operator]
    if not indexing.unique_indices:
        raise NoDerivativeError(
            "the derivative of `scatter_mul` by its updates is only known for indices that "
            "are promised to be unique",
            fix="promise it, if it is so: x.at[i].multiply(y, unique_indices=True)",
        )
    change = x * scatter_add(zeros(x.type), rescaled, *indices, indexing=indexing)
    if moved is None:
        return change
    return _scatter_mul_push((moved, None), y, x, updates, *indices) + change


def _scatter_variant(name: str, method: str, derivative: Any) -> Op:
    return Op(
        name,
        _scatter_type,
        scatter_source(name, method),
        derivative,
        params=("indexing",),
        flops=_scatter_flops,
    )


scatter_mul = _scatter_variant("scatter_mul", "multiply", Custom(pushforward=_scatter_mul_push))
scatter_max = _scatter_variant("scatter_max", "max", Custom(_scatter_extremum_pullback))
scatter_min = _scatter_variant("scatter_min", "min", Custom(_scatter_extremum_pullback))


def _apply_type(x: Type, *indices: Type, indexing: Indexing, body: Graph) -> Type:
    _check_indices(x, indices, indexing)
    return x


scatter_apply = Op(
    "scatter_apply",
    _apply_type,
    apply_source,
    params=("indexing", "body"),
    flops=lambda e: e.type.size * graph_flops(e.params["body"]),
    functions=lambda e: (plain_function("function", e.params["body"]),),
)
"""`x` with a function applied to its windows, once for each; JAX has no derivative of it."""


def _slice_type(x: Type, *starts: Type, slice_sizes: Shape, wrap: bool) -> Type:
    _check_starts(x, starts, slice_sizes)
    return x.with_shape(slice_sizes)


def _update_type(x: Type, update: Type, *starts: Type, wrap: bool) -> Type:
    _check_starts(x, starts, update.shape)
    if update.dtype != x.dtype:
        raise ShapeError(f"dtypes {x.dtype} and {update.dtype} differ")
    return x


def _check_starts(x: Type, starts: Sequence[Type], sizes: Shape) -> None:
    if len(starts) != x.ndim or len(sizes) != x.ndim or any(s.shape for s in starts):
        raise ShapeError(f"{len(starts)} starts of a slice of {x}")
    if any(n > m for n, m in zip(sizes, x.shape, strict=True)):
        raise ShapeError(f"a slice of {sizes} from {x}")


def _cut_axis(shape: Shape, sizes: Shape) -> int | None:
    """The axis a slice cuts if it is only one."""
    cut = [a for a, (n, size) in enumerate(zip(shape, sizes, strict=True)) if n != size]
    return cut[0] if len(cut) == 1 else None


def _starts_source(e: Expr, first: int) -> str:
    starts = [operand_source(i) for i in range(first, len(e.args))]
    return f"({', '.join(starts)}{',' if len(starts) == 1 else ''})"


def _negative_source(e: Expr) -> list[str]:
    return [] if e.params["wrap"] else ["allow_negative_indices=False"]


def _dynamic_slice_source(e: Expr) -> str:
    sizes = e.params["slice_sizes"]
    axis = _cut_axis(e.args[0].shape, sizes)
    if axis is None:
        return call_source(
            f"lax.dynamic_slice(x, {_starts_source(e, 1)}, {sizes}", _negative_source(e)
        )
    options = ([f"axis={axis}"] if axis else []) + _negative_source(e)
    return call_source(
        f"lax.dynamic_slice_in_dim(x, {operand_source(1 + axis)}, {sizes[axis]}", options
    )


def _dynamic_update_source(e: Expr) -> str:
    axis = _cut_axis(e.shape, e.args[1].shape)
    if axis is None:
        start = f"lax.dynamic_update_slice(x, y, {_starts_source(e, 2)}"
        return call_source(start, _negative_source(e))
    start = f"lax.dynamic_update_slice_in_dim(x, y, {operand_source(2 + axis)}, axis={axis}"
    return call_source(start, _negative_source(e))


dynamic_slice_op = Op(
    "dynamic_slice",
    _slice_type,
    _dynamic_slice_source,
    Linear(
        lambda g, y, x, *starts: dynamic_update_slice_op(
            zeros(g.type.with_shape(x.shape)), g, *starts, wrap=y.params["wrap"]
        )
    ),
    params=("slice_sizes", "wrap"),
    flops=no_flops,
)

dynamic_update_slice_op = Op(
    "dynamic_update_slice",
    _update_type,
    _dynamic_update_source,
    Linear(
        lambda g, y, x, update, *starts: (
            dynamic_update_slice_op(g, zeros(update.type), *starts, **y.params),
            dynamic_slice_op(g, *starts, slice_sizes=update.shape, **y.params),
        ),
        operands=(0, 1),
    ),
    params=("wrap",),
    flops=_scatter_flops,
)


def _usual_starts(shape: Shape, sizes: Shape, starts: Sequence[Expr]) -> tuple[list[Expr], bool]:
    """Starts along axes that are not cut do not matter: they become 0."""
    useful = [
        s if n != size else constant(0, s.dtype, weak=False)
        for s, n, size in zip(starts, shape, sizes, strict=True)
    ]
    plain, wrap = _unwrapped(useful, shape)
    return list(plain), wrap


def dynamic_slice(x: Expr, *starts: Expr, slice_sizes: Shape) -> Expr:
    """A slice of `x`; starts are moved so that it lies inside."""
    if slice_sizes == x.shape:
        return x
    plain, wrap = _usual_starts(x.shape, slice_sizes, starts)
    return dynamic_slice_op(x, *plain, slice_sizes=slice_sizes, wrap=wrap)


def dynamic_update_slice(x: Expr, update: Expr, *starts: Expr) -> Expr:
    """`x` with a slice replaced; starts are moved so that it lies inside."""
    if update.shape == x.shape:
        return update
    plain, wrap = _usual_starts(x.shape, update.shape, starts)
    return dynamic_update_slice_op(x, update, *plain, wrap=wrap)


def _column(indices: Expr, number: int) -> Expr:
    """One entry of the index vectors; what was stacked from columns gives the column back."""
    last = indices.ndim - 1
    while indices.op is concatenate and indices.params["axis"] == last:
        parts = iter(indices.args)
        indices = next(parts)
        while number >= indices.shape[last]:
            number -= indices.shape[last]
            indices = next(parts)
    shape = indices.shape[:-1]
    if indices.shape[last] != 1:
        start, stop = (0,) * last + (number,), (*shape, number + 1)
        indices = slice_(indices, start=start, stop=stop, step=(1,) * indices.ndim)
    elif indices.op is broadcast and last not in indices.params["axes"]:
        (x,) = indices.args
        axes = indices.params["axes"]
        same = axes == tuple(range(last)) and x.shape == shape
        return x if same else broadcast(x, shape=shape, axes=axes) if shape else x
    elif indices.op is reshape_op:
        return reshape(indices.args[0], shape=shape)
    return reshape(indices, shape=shape)


def _given(index: Expr) -> int | None:
    """The value of an index that is the same known number everywhere."""
    while index.op in (broadcast, convert_op):
        (index,) = index.args
    value = literal_value(index)
    return None if value is None else int(value)


def _from_start(index: Expr, n: int) -> Expr | None:
    """`i` if `index` is written `where(i < 0, i + n, i)`."""
    if index.op in (broadcast, reshape_op):
        inside = _from_start(index.args[0], n)
        return None if inside is None else index.op(inside, **index.params)
    if index.op is not select:
        return None
    negative, moved, i = index.args
    if negative.op is not lt or moved.op is not add or i not in moved.args:
        return None
    (size,) = [a for a in moved.args if a is not i] or [i]
    tested = negative.args[0] is i and _given(negative.args[1]) == 0
    return i if tested and _given(size) == n else None


def _is_natural(index: Expr) -> bool:
    """Whether an index is known not to be negative."""
    while index.op in (broadcast, reshape_op):
        (index,) = index.args
    unsigned = jax.dtypes.issubdtype(index.dtype, np.unsignedinteger)
    if unsigned or index.op in (iota, argmax, argmin):
        return True
    value = _given(index.args[0] if index.op is clamp else index)
    return value is not None and value >= 0


def _unwrapped(indices: Sequence[Expr], sizes: Sequence[int]) -> tuple[Sequence[Expr], bool]:
    """The indices before negative ones were counted from the end, if that was done to all."""
    plain = [_from_start(i, n) for i, n in zip(indices, sizes, strict=True)]
    if all(p is not None or _is_natural(i) for p, i in zip(plain, indices, strict=True)):
        return [i if p is None else p for p, i in zip(plain, indices, strict=True)], True
    return indices, False


def _placed(
    x: Expr, indices: Expr, indexing: Indexing, *, along_axis: bool = True
) -> tuple[Sequence[Expr], Indexing]:
    """Index operands for the columns of `indices`; starts that are known become parameters."""
    columns = {a: _column(indices, k) for k, a in enumerate(indexing.start_index_map)}
    sizes, starts = indexing.slice_sizes, [0] * x.ndim
    for axis, column in list(columns.items()):
        plain = _from_start(column, x.shape[axis])
        start = _given(column if plain is None else plain)
        last = indices.ndim > 1 and len(columns) == 1
        if start is not None and 0 <= start <= x.shape[axis] - sizes[axis] and not last:
            starts[axis] = start
            del columns[axis]
    indexing = replace(indexing, starts=tuple(starts), start_index_map=tuple(columns))
    rank = indices.ndim - 1
    if has_notation(indexing, x.shape, rank, along_axis=along_axis):
        plain, wrap = _unwrapped(list(columns.values()), [x.shape[a] for a in columns])
        return plain, replace(indexing, wrap=wrap)
    return list(columns.values()), indexing


def _entries_collapsed(x: Expr, indexing: Indexing) -> Indexing:
    """Windows of extent 1 along a chosen axis are entries: they need no axis of the result."""
    hidden = (*indexing.collapsed_slice_dims, *indexing.operand_batching_dims)
    kept = [a for a in range(x.ndim) if a not in hidden]
    single = [
        (a, o)
        for a, o in zip(kept, indexing.offset_dims, strict=True)
        if a in indexing.start_index_map and indexing.slice_sizes[a] == 1
    ]
    dropped = [o for _, o in single]
    return replace(
        indexing,
        collapsed_slice_dims=tuple(
            sorted((*indexing.collapsed_slice_dims, *(a for a, _ in single)))
        ),
        offset_dims=tuple(
            o - sum(d < o for d in dropped) for o in indexing.offset_dims if o not in dropped
        ),
    )


def _with_chosen_axis(x: Expr, indices: Expr, indexing: Indexing) -> tuple[Expr, Expr, Indexing]:
    """Windows that are all the same have no axis to choose along: they get one, of size 1."""
    if indexing.start_index_map or indices.ndim == 1:
        return x, indices, indexing
    axis = x.ndim
    indexing = replace(
        indexing,
        starts=(*indexing.starts, 0),
        slice_sizes=(*indexing.slice_sizes, 1),
        start_index_map=(axis,),
        collapsed_slice_dims=(*indexing.collapsed_slice_dims, axis),
    )
    nowhere = zeros(Type((*indices.shape[:-1], 1), np.dtype(np.int32)))
    return reshape(x, shape=(*x.shape, 1)), nowhere, indexing


def _covered(shape: Shape, updates: Shape, indexing: Indexing) -> Indexing:
    """The extents of windows are those of the updates that go there."""
    window = iter([updates[a] for a in indexing.offset_dims])
    hidden = (*indexing.collapsed_slice_dims, *indexing.operand_batching_dims)
    sizes = tuple(1 if a in hidden else next(window) for a in range(len(shape)))
    return replace(indexing, slice_sizes=sizes)


def read_windows(x: Expr, indices: Expr, indexing: Indexing, fill_value: Any = 0) -> Expr:
    """`jax.lax.gather`: `indices` holds index vectors along its last axis."""
    shape = selected_shape(indexing, indices.shape[:-1])
    x, indices, indexing = _with_chosen_axis(x, indices, indexing)
    operands, indexing = _placed(x, indices, _entries_collapsed(x, indexing))
    fill = Scalar(fill_value, x.dtype)
    if indexing.mode is not FILL or not operands or fill == Scalar(0, x.dtype):
        return reshape(gather(x, *operands, indexing=indexing), shape=shape)
    return reshape(gather_fill(x, *operands, indexing=indexing, fill_value=fill), shape=shape)


def write_windows(op: Op, x: Expr, indices: Expr, updates: Expr, indexing: Indexing) -> Expr:
    """`jax.lax.scatter` and its variants: `indices` holds index vectors along its last axis."""
    indexing = _covered(x.shape, updates.shape, indexing)
    array, indices, indexing = _with_chosen_axis(x, indices, indexing)
    operands, indexing = _placed(array, indices, indexing, along_axis=op is scatter_add)
    return reshape(op(array, updates, *operands, indexing=indexing), shape=x.shape)


def apply_to_windows(
    x: Expr, indices: Expr, updates: Shape, indexing: Indexing, body: Graph
) -> Expr:
    """`jax.lax.scatter_apply`: as many windows as updates of that shape would replace."""
    indexing = _covered(x.shape, updates, indexing)
    array, indices, indexing = _with_chosen_axis(x, indices, indexing)
    operands, indexing = _placed(array, indices, indexing, along_axis=False)
    body = Graph(body.inputs[:1], body.outputs, body.names[:1], body.origins)
    return reshape(scatter_apply(array, *operands, indexing=indexing, body=body), shape=x.shape)
