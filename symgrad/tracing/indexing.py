"""JAX primitives of the window, index and order families as symgrad nodes.

A reader takes operand nodes and the equation's parameters, and gives one node, which may
have several results.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from jax.extend import core as jex

from symgrad.expr import Expr, Op
from symgrad.ops import index, monoid, order, window
from symgrad.ops.conv import conv
from symgrad.ops.indexing import Indexing
from symgrad.walk import Graph

ReadGraph = Callable[[Any], Graph]
"""From a closed jaxpr to a graph."""


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


def _window_reader(read_graph: ReadGraph, build: Callable[..., Expr]) -> Callable[..., Expr]:
    """The reader of a primitive with windows, which `build` takes as plain integers.

    What is chosen from each window, or the function it is reduced by, comes along.
    """

    def read(
        *operands: Expr,
        window_dimensions: Any,
        window_strides: Any,
        padding: Any,
        base_dilation: Any = None,
        window_dilation: Any = None,
        select_prim: Any = None,
        jaxpr: Any = None,
        consts: Any = (),
    ) -> Expr:
        undilated = (1,) * len(window_dimensions)
        params: dict[str, Any] = {
            "window_dimensions": _ints(window_dimensions),
            "window_strides": _ints(window_strides),
            "padding": _pairs(padding),
            "base_dilation": _ints(base_dilation or undilated),
            "window_dilation": _ints(window_dilation or undilated),
        }
        if select_prim is not None:
            params["largest"] = select_prim.name == "ge"
        if jaxpr is not None:
            params["body"] = read_graph(jex.ClosedJaxpr(jaxpr, consts))
        return build(*operands, **params)

    return read


def _read_reduce(
    read_graph: ReadGraph, *operands: Expr, jaxpr: Any, computation: Any, dimensions: Any
) -> Expr:
    return monoid.reduce(*operands, body=read_graph(jaxpr), axes=_ints(dimensions))


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
) -> Expr:
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


def _read_scatter(read_graph: ReadGraph, op: Op, *, negative: bool = False) -> Callable[..., Expr]:
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
    ) -> Expr:
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
        if op is index.scatter and update_jaxpr is not None:
            body = read_graph(jex.ClosedJaxpr(update_jaxpr, update_consts))
            return index.apply_to_windows(x, indices, updates.shape, indexing, body)
        return index.write_windows(op, x, indices, -updates if negative else updates, indexing)

    return read


def _read_sort(*xs: Expr, dimension: int, is_stable: bool, num_keys: int) -> Expr:
    return order.sort(*xs, dimension=dimension, is_stable=is_stable, num_keys=num_keys)


def _read_approx_top_k(
    x: Expr,
    *,
    k: int,
    reduction_dimension: int,
    is_max_k: bool,
    recall_target: float,
    reduction_input_size_override: int,
    aggregate_to_topk: bool,
) -> Expr:
    return order.approx_top_k(
        x,
        k=k,
        axis=reduction_dimension % x.ndim,
        largest=is_max_k,
        recall_target=recall_target,
        reduction_input_size_override=reduction_input_size_override,
        aggregate_to_topk=aggregate_to_topk,
    )


def readers(read_graph: ReadGraph) -> dict[str, Callable[..., Any]]:
    """The readers of this family, given how the jaxprs they hold are read."""
    windows = {
        "reduce_window": monoid.window_reduce,
        "reduce_window_sum": window.window_sum,
        "reduce_window_max": window.window_max,
        "reduce_window_min": window.window_min,
        "select_and_gather_add": lambda t, x, **p: window.gather_from_winner(x, t, **p),
        "select_and_scatter_add": lambda g, x, **p: window.scatter_to_winner(x, g, **p),
    }
    scatters = {
        "scatter": index.scatter,
        "scatter-add": index.scatter_add,
        "scatter-mul": index.scatter_mul,
        "scatter-max": index.scatter_max,
        "scatter-min": index.scatter_min,
    }
    return {
        **{name: _window_reader(read_graph, build) for name, build in windows.items()},
        **{name: _read_scatter(read_graph, op) for name, op in scatters.items()},
        "scatter-sub": _read_scatter(read_graph, index.scatter_add, negative=True),
        "reduce": functools.partial(_read_reduce, read_graph),
        "conv_general_dilated": _read_conv,
        "gather": _read_gather,
        "dynamic_slice": lambda x, *starts, slice_sizes: index.dynamic_slice(
            x, *starts, slice_sizes=_ints(slice_sizes)
        ),
        "dynamic_update_slice": index.dynamic_update_slice,
        "sort": _read_sort,
        "top_k": lambda x, *, k, axis: order.top_k(x, k=k, axis=axis),
        "approx_top_k": _read_approx_top_k,
    }
