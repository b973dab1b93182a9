"""Sorting: entries move, and their tangents move with them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from jax import lax

from symgrad.errors import ShapeError
from symgrad.expr import Custom, Expr, Op, Type, Types, item, results
from symgrad.ops.index import gather
from symgrad.ops.indexing import call_source, entries_along
from symgrad.ops.shape import iota


def _sort_type(*xs: Type, dimension: int, is_stable: bool, num_keys: int) -> Types:
    if len({x.shape for x in xs}) > 1 or not 1 <= num_keys <= len(xs):
        raise ShapeError(f"sorting {len(xs)} arrays by {num_keys} keys")
    return xs[0] if len(xs) == 1 else xs


def _axis_option(name: str, axis: int, rank: int) -> list[str]:
    return [] if axis == rank - 1 else [f"{name}={axis}"]


def _sort_source(e: Expr) -> str:
    p, rank = e.params, e.args[0].ndim
    if len(e.args) == 1:
        options = [] if p["is_stable"] else ["stable=False"]
        return call_source("jnp.sort(x", _axis_option("axis", p["dimension"], rank) + options)
    options = _axis_option("dimension", p["dimension"], rank)
    options += [] if p["is_stable"] else ["is_stable=False"]
    options += [] if p["num_keys"] == 1 else [f"num_keys={p['num_keys']}"]
    return call_source("lax.sort([*xs]", options)


def _sort_push(tangents: tuple[Expr | None, ...], y: Expr, *xs: Expr) -> Any:
    """Tangents move with their entries: positions are sorted along to see where those went."""
    axis = y.params["dimension"]
    positions = iota(shape=xs[0].shape, dtype=np.dtype(np.int32), axis=axis)
    order = results(sort(*xs, positions, **y.params))[-1]
    moved = tuple(None if t is None else _entries_at(t, order, axis) for t in tangents)
    return moved[0] if len(moved) == 1 else moved


def _entries_at(x: Expr, positions: Expr, axis: int) -> Expr:
    """`x` at positions along `axis` that are inside and differ from each other."""
    indexing = replace(entries_along(x.ndim, axis), unique_indices=True)
    return gather(x, positions, indexing=indexing)


sort = Op(
    "sort",
    _sort_type,
    _sort_source,
    Custom(pushforward=_sort_push),
    params=("dimension", "is_stable", "num_keys"),
    flops=lambda e: sum(t.size for t in e.types) * max(1, e.args[0].type.size).bit_length(),
)
"""Sorts along one axis by the first `num_keys` operands; the others are moved along."""


def _top_k_type(x: Type, *, k: int, axis: int) -> Types:
    if not 0 <= k <= x.shape[axis]:
        raise ShapeError(f"the {k} largest of {x.shape[axis]}")
    shape = (*x.shape[:axis], k, *x.shape[axis + 1 :])
    return x.with_shape(shape), Type(shape, np.dtype(np.int32))


def _push_found(tangents: tuple[Expr, ...], y: Expr, x: Expr) -> tuple[Expr, None]:
    """The tangents of the entries that were found; where they are does not change."""
    return _entries_at(tangents[0], item(y, index=1), y.params["axis"]), None


top_k = Op(
    "top_k",
    _top_k_type,
    lambda e: call_source(
        f"lax.top_k(x, {e.params['k']}", _axis_option("axis", e.params["axis"], e.args[0].ndim)
    ),
    Custom(pushforward=_push_found),
    params=("k", "axis"),
    flops=lambda e: e.args[0].type.size,
)
"""The largest entries along an axis and where they are."""


APPROXIMATE = ("recall_target", "reduction_input_size_override", "aggregate_to_topk")
"""What decides how close to the truth `approx_top_k` comes, by JAX's names."""


def _approximate(largest: bool) -> Callable[..., Any]:
    return lax.approx_max_k if largest else lax.approx_min_k


def _approx_top_k_type(x: Type, *, k: int, axis: int, largest: bool, **how: Any) -> Types:
    find = functools.partial(_approximate(largest), k=k, reduction_dimension=axis, **how)
    shape = jax.eval_shape(find, jax.ShapeDtypeStruct(x.shape, x.dtype))[0].shape
    return x.with_shape(shape), Type(shape, np.dtype(np.int32))


def _approx_top_k_source(e: Expr) -> str:
    function = _approximate(e.params["largest"])
    usual = inspect.signature(function).parameters
    how = [f"{n}={e.params[n]}" for n in APPROXIMATE if e.params[n] != usual[n].default]
    options = _axis_option("reduction_dimension", e.params["axis"], e.args[0].ndim) + how
    return call_source(f"lax.{function.__name__}(x, {e.params['k']}", options)


approx_top_k = Op(
    "approx_top_k",
    _approx_top_k_type,
    _approx_top_k_source,
    Custom(pushforward=_push_found),
    params=("k", "axis", "largest", *APPROXIMATE),
    flops=lambda e: e.args[0].type.size,
)
"""As `jax.lax.approx_max_k`, or `approx_min_k` if not `largest`."""
