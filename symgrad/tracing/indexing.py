"""JAX primitives of the window, index and order families as symgrad nodes.

A reader takes operand nodes and the equation's parameters, and gives one node or a tuple
with one node per result; None means that this use of the primitive stays opaque.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from symgrad.expr import Expr, Op
from symgrad.ops import index, order, window
from symgrad.ops.conv import conv
from symgrad.ops.indexing import Indexing


def _ints(values: Any) -> tuple[int, ...]:
    """JAX leaves NumPy integers among its parameters."""
    return tuple(int(v) for v in values)


def _pairs(padding: Any) -> tuple[tuple[int, ...], ...]:
    return tuple(_ints(pair) for pair in padding)


def _read_conv(
    x: Expr,
    w: Expr,
    *,
    window_strides: Any,
    padding: Any,
    lhs_dilation: Any,
    rhs_dilation: Any,
    dimension_numbers: Any,
    feature_group_count: int,
    batch_group_count: int,
    precision: Any,
    preferred_element_type: Any,
) -> Expr:
    dtype = None if preferred_element_type is None else np.dtype(preferred_element_type)
    return conv(
        x,
        w,
        window_strides=_ints(window_strides),
        padding=_pairs(padding),
        lhs_dilation=_ints(lhs_dilation),
        rhs_dilation=_ints(rhs_dilation),
        dimension_numbers=tuple(_ints(axes) for axes in dimension_numbers),
        feature_group_count=feature_group_count,
        batch_group_count=batch_group_count,
        precision=None if precision is None else tuple(precision),
        preferred_element_type=dtype,
    )


def _read_window(op: Op) -> Callable[..., Expr]:
    def read(
        x: Expr,
        *,
        window_dimensions: Any,
        window_strides: Any,
        padding: Any,
        base_dilation: Any,
        window_dilation: Any,
    ) -> Expr:
        return op(
            x,
            window_dimensions=_ints(window_dimensions),
            window_strides=_ints(window_strides),
            padding=_pairs(padding),
            base_dilation=_ints(base_dilation),
            window_dilation=_ints(window_dilation),
        )

    return read


def _read_gather_from_winner(
    tangents: Expr,
    x: Expr,
    *,
    select_prim: Any,
    window_dimensions: Any,
    window_strides: Any,
    padding: Any,
    base_dilation: Any,
    window_dilation: Any,
) -> Expr:
    return window.gather_from_winner(
        x,
        tangents,
        largest=select_prim.name == "ge",
        window_dimensions=_ints(window_dimensions),
        window_strides=_ints(window_strides),
        padding=_pairs(padding),
        base_dilation=_ints(base_dilation),
        window_dilation=_ints(window_dilation),
    )


def _read_scatter_to_winner(
    g: Expr,
    x: Expr,
    *,
    select_prim: Any,
    window_dimensions: Any,
    window_strides: Any,
    padding: Any,
) -> Expr:
    return window.scatter_to_winner(
        x,
        g,
        largest=select_prim.name == "ge",
        window_dimensions=_ints(window_dimensions),
        window_strides=_ints(window_strides),
        padding=_pairs(padding),
        base_dilation=(1,) * x.ndim,
        window_dilation=(1,) * x.ndim,
    )


def _read_gather(
    x: Expr,
    indices: Expr,
    *,
    dimension_numbers: Any,
    slice_sizes: Any,
    mode: Any,
    fill_value: Any,
    unique_indices: bool,
    indices_are_sorted: bool,
) -> Expr | None:
    if not dimension_numbers.start_index_map:
        return None
    indexing = Indexing(
        slice_sizes=_ints(slice_sizes),
        starts=(0,) * x.ndim,
        start_index_map=_ints(dimension_numbers.start_index_map),
        collapsed_slice_dims=_ints(dimension_numbers.collapsed_slice_dims),
        offset_dims=_ints(dimension_numbers.offset_dims),
        operand_batching_dims=_ints(dimension_numbers.operand_batching_dims),
        start_indices_batching_dims=_ints(dimension_numbers.start_indices_batching_dims),
        mode=mode,
        unique_indices=unique_indices,
        indices_are_sorted=indices_are_sorted,
    )
    return index.read_windows(x, indices, indexing, 0 if fill_value is None else fill_value)


def _read_scatter(op: Op, *, negative: bool = False) -> Callable[..., Expr | None]:
    def read(
        x: Expr,
        indices: Expr,
        updates: Expr,
        *,
        dimension_numbers: Any,
        indices_are_sorted: bool,
        unique_indices: bool,
        mode: Any,
        update_jaxpr: Any,
        update_consts: Any,
    ) -> Expr | None:
        applies_function = op is index.scatter and update_jaxpr is not None
        if applies_function or not dimension_numbers.scatter_dims_to_operand_dims:
            return None
        indexing = Indexing(
            slice_sizes=(),  # `write_windows` takes them from the updates
            starts=(0,) * x.ndim,
            start_index_map=_ints(dimension_numbers.scatter_dims_to_operand_dims),
            collapsed_slice_dims=_ints(dimension_numbers.inserted_window_dims),
            offset_dims=_ints(dimension_numbers.update_window_dims),
            operand_batching_dims=_ints(dimension_numbers.operand_batching_dims),
            start_indices_batching_dims=_ints(dimension_numbers.scatter_indices_batching_dims),
            mode=mode,
            unique_indices=unique_indices,
            indices_are_sorted=indices_are_sorted,
        )
        values = -updates if negative else updates
        return index.write_windows(op, x, indices, values, indexing)

    return read


def _read_sort(*xs: Expr, dimension: int, is_stable: bool, num_keys: int) -> Expr:
    return order.sort(*xs, dimension=dimension, is_stable=is_stable, num_keys=num_keys)


INDEXING: dict[str, Callable[..., Any]] = {
    "conv_general_dilated": _read_conv,
    "reduce_window_sum": _read_window(window.window_sum),
    "reduce_window_max": _read_window(window.window_max),
    "reduce_window_min": _read_window(window.window_min),
    "select_and_gather_add": _read_gather_from_winner,
    "select_and_scatter_add": _read_scatter_to_winner,
    "gather": _read_gather,
    "scatter": _read_scatter(index.scatter),
    "scatter-add": _read_scatter(index.scatter_add),
    "scatter-sub": _read_scatter(index.scatter_add, negative=True),
    "scatter-mul": _read_scatter(index.scatter_mul),
    "scatter-max": _read_scatter(index.scatter_max),
    "scatter-min": _read_scatter(index.scatter_min),
    "dynamic_slice": lambda x, *starts, slice_sizes: index.dynamic_slice(
        x, *starts, slice_sizes=_ints(slice_sizes)
    ),
    "dynamic_update_slice": index.dynamic_update_slice,
    "sort": _read_sort,
    "top_k": lambda x, *, k, axis: order.top_k(x, k=k, axis=axis),
}
