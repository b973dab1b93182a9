"""Gather, scatter, dynamic slices and sorting: values and derivatives are JAX's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import Precision
from evaluate import check_against_jax, evaluate, nodes_of, source_of
from jax import lax

import symgrad as sg
from symgrad.derive import pullback
from symgrad.expr import item, parameter
from symgrad.laws.order import merge_sorts
from symgrad.ops.index import dynamic_slice_op, gather_fill, gather_op, scatter_add
from symgrad.ops.order import sort
from symgrad.walk import Graph, topological

I = np.array([0, 3, -1, 2, 3])
"""Indices of five rows: one from the end, one twice."""
J = np.array([1, -2, 0, 0, 1])
OUT = np.array([0, 7, -9, 4, -1])
"""Some of them are not inside an axis of 5, counted from either end."""

READS: dict[str, tuple[Callable[..., Any], tuple[int, ...], tuple[Any, ...]]] = {
    # name: (function, shape of the array, indices)
    "rows": (lambda x, i: x[i], (5, 3), (I,)),
    "columns": (lambda x, i: x[:, i], (2, 5, 3), (I,)),
    "entries": (lambda x, i, j: x[i, j], (5, 3), (I, J)),
    "a block": (lambda x, i: x[1:3, i], (4, 5), (I,)),
    "of one row": (lambda x, i: x[2, i], (4, 5), (I,)),
    "of one column": (lambda x, i: x[i, 1], (5, 4), (I,)),
    "apart": (lambda x, i, j: x[i, :, j], (5, 2, 3), (I, J)),
    "neighbours inside": (lambda x, i, j: x[:, i, j], (2, 5, 3), (I, J)),
    "a grid": (lambda x, i, j: x[i[:, None], j], (5, 3), (I, J[:4])),
    "with new axes": (lambda x, i: x[None, i, None, :2], (5, 3), (I,)),
    "by a constant": (lambda x: x[:, np.array([2, 0])], (2, 3), ()),
    "one at a time": (lambda x, i: x[i] * x[:, i], (5, 5), (np.int32(-2),)),
    "take": (lambda x, i: jnp.take(x, i, axis=1), (2, 5), (I,)),
    "take, filled": (lambda x, i: jnp.take(x, i, axis=0, fill_value=0), (5, 2), (OUT,)),
    "take, clipped": (lambda x, i: jnp.take(x, i, axis=-1, mode="clip"), (2, 5), (OUT,)),
    "take, wrapped": (lambda x, i: jnp.take(x, i, axis=0, mode="wrap"), (5, 2), (OUT,)),
    "take, small integers": (lambda x, i: jnp.take(x, i, axis=0), (5, 2), (np.int8(I),)),
    "take, natural": (lambda x, i: x[i], (5, 2), (np.uint8(np.abs(I)),)),
    "get, filled": (lambda x, i: x.at[i].get(mode="fill", fill_value=2), (5, 3), (OUT,)),
    "get, not wrapped": (
        lambda x, i: x.at[i].get(mode="fill", fill_value=0, wrap_negative_indices=False),
        (5, 3),
        (OUT,),
    ),
    "get, clipped": (lambda x, i: x.at[:, i].get(mode="clip"), (2, 5), (OUT,)),
    "get, sorted": (
        lambda x, i: x.at[i].get(indices_are_sorted=True, unique_indices=True),
        (5, 3),
        (np.array([1, 2, 4]),),
    ),
    "get, one, filled": (
        lambda x, i: x.at[i].get(mode="fill", fill_value=0),
        (5, 3),
        (np.int32(6),),
    ),
    "along the last axis": (
        lambda x, i: jnp.take_along_axis(x, i[:, None], axis=1),
        (5, 4),
        (I,),
    ),
    "along the first axis": (
        lambda x, i: jnp.take_along_axis(x, i[:, None], axis=0),
        (5, 4),
        (I,),
    ),
    "along the middle axis": (
        lambda x, i: jnp.take_along_axis(x, i.reshape(5, 1, 1) + np.zeros((1, 2, 3), int), axis=1),
        (5, 4, 3),
        (I,),
    ),
    "along, filled": (
        lambda x, i: jnp.take_along_axis(x, i[:, None], axis=1, mode="fill", fill_value=0),
        (5, 4),
        (OUT,),
    ),
    "along, clipped": (
        lambda x, i: jnp.take_along_axis(x, i[:, None], axis=1, mode="clip"),
        (5, 4),
        (OUT,),
    ),
    "along, promised": (
        lambda x, i: jnp.take_along_axis(x, i[:, None], axis=1, mode="promise_in_bounds"),
        (5, 4),
        (np.abs(I),),
    ),
    "one entry of each row": (jax.vmap(lambda x, i: x[i]), (5, 4), (I,)),
    "entries of each row": (jax.vmap(lambda x, i: x[i]), (5, 4), (np.stack([I, J], 1),)),
    "rows of each": (jax.vmap(lambda x, i: x[i]), (5, 4, 2), (np.stack([I, J], 1),)),
    "entries of each column": (
        jax.vmap(lambda x, i: x[i], in_axes=(1, 0), out_axes=1),
        (4, 5),
        (np.stack([I, J], 1),),
    ),
    "of one array": (jax.vmap(lambda x, i, j: x[i, j], (None, 0, 0)), (5, 3), (I, J)),
    "slices of each": (
        jax.vmap(lambda x, i: lax.dynamic_slice(x, (i, 0), (2, 3))),
        (5, 4, 3),
        (OUT,),
    ),
    "slices of one": (
        jax.vmap(lambda x, i: lax.dynamic_slice(x, (i,), (3,)), (None, 0)),
        (5,),
        (OUT,),
    ),
    "lax, windows": (
        lambda x, i: lax.gather(
            x,
            i,
            lax.GatherDimensionNumbers((1, 2), (), (1, 0)),
            (2, 3),
            mode="fill",
            fill_value=0,
        ),
        (4, 5),
        (np.array([[0, 1], [1, 2], [3, 0], [-1, 1]]),),
    ),
    "slice": (lambda x, i: lax.dynamic_slice_in_dim(x, i, 2, axis=1), (3, 5), (np.int32(-3),)),
    "slices": (
        lambda x, i: lax.dynamic_slice(x, (i, jnp.int32(0), i), (2, 2, 3)),
        (3, 2, 5),
        (np.int32(2),),
    ),
    "slice, moved inside": (
        lambda x, i: lax.dynamic_slice(x, (i, i), (2, 1), allow_negative_indices=False),
        (3, 5),
        (np.int32(-7),),
    ),
    "roll": (lambda x, i: jnp.roll(x, i, axis=0), (5, 2), (np.int32(3),)),
    "diagonal": (jnp.diagonal, (4, 5), ()),
    "at the maximum": (lambda x: x[jnp.argmax(x, axis=0)], (4, 3), ()),
    "nothing": (lambda x, i: x[i[:0]], (5, 3), (I,)),
}


@pytest.mark.parametrize("name", READS)
def test_reading_and_its_derivatives(name: str, float64: Precision, draw) -> None:
    fun, shape, indices = READS[name]
    check_against_jax(fun, draw(*shape), *indices)


NEW = (5, 3)

WRITES: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    # name: (function of a 5 by 3 array, an update of the same shape and indices)
    "add rows": (lambda x, u, i: x.at[i].add(u), (I,)),
    "add entries": (lambda x, u, i, j: x.at[i, j].add(u[:, 0]), (I, J)),
    "add to columns": (lambda x, u, j: x.at[:, j].add(u[:, :1]), (J,)),
    "add to a block": (lambda x, u, j: x.at[1:3, j].add(u[0]), (J[:3],)),
    "add to a row": (lambda x, u: x.at[1].add(u[0]), ()),
    "add to slices": (lambda x, u: x.at[1:4, ::2].add(u[:3, :2]), ()),
    "add, dropped": (lambda x, u, i: x.at[i].add(u), (OUT,)),
    "add, clipped": (lambda x, u, i: x.at[i].add(u, mode="clip"), (OUT,)),
    "add, not wrapped": (lambda x, u, i: x.at[i].add(u, wrap_negative_indices=False), (OUT,)),
    "add, unique": (lambda x, u, i: x.at[i].add(u[:2], unique_indices=True), (I[:2],)),
    "add to each": (jax.vmap(lambda x, u, i: x.at[i].add(u[0])), (J,)),
    "add many to each": (jax.vmap(lambda x, u, i: x.at[i].add(u[:2])), (np.stack([J, J], 1),)),
    "subtract": (lambda x, u, i: x.at[i].subtract(u), (I,)),
    "sums of segments": (lambda x, u, i: x + jax.ops.segment_sum(u, i, 5), (np.abs(I),)),
    "set a row": (lambda x, u, i: x.at[i].set(u[0]), (np.int32(-2),)),
    "set a block": (lambda x, u: x.at[1:3, :2].set(u[:2, 1:]), ()),
    "set different rows": (lambda x, u, i: x.at[i].set(u[:3]), (I[:3],)),
    "set rows, one twice": (lambda x, u, i: x.at[i].set(u), (I,)),
    "set entries, one twice": (lambda x, u, i, j: x.at[i, j].set(u[:, 0]), (I, np.abs(J))),
    "set, dropped": (lambda x, u, i: x.at[i].set(u), (OUT,)),
    "set, clipped": (lambda x, u, i: x.at[i].set(u, mode="clip"), (OUT,)),
    "set, unique": (lambda x, u, i: x.at[i].set(u[:3], unique_indices=True), (I[:3],)),
    "set in each": (jax.vmap(lambda x, u, i: x.at[i].set(u[0])), (J,)),
    "set many in each": (jax.vmap(lambda x, u, i: x.at[i].set(u[:2])), (np.stack([J, J], 1),)),
    "maximum of rows": (lambda x, u, i: x.at[i].max(u), (I,)),
    "minimum of rows, dropped": (lambda x, u, i: x.at[i].min(u), (np.array([0, 7, 9, 4, -1]),)),
    "maximum of segments": (lambda x, u, i: x + jax.ops.segment_max(u, i, 5), (np.arange(5),)),
    "update a slice": (
        lambda x, u, i: lax.dynamic_update_slice_in_dim(x, u[:2], i, 0),
        (np.int32(4),),
    ),
    "update a block": (
        lambda x, u, i: lax.dynamic_update_slice(x, u[:2, :1], (i, i)),
        (np.int32(-2),),
    ),
}


@pytest.mark.parametrize("name", WRITES)
def test_writing_and_its_derivatives(name: str, float64: Precision, draw) -> None:
    fun, indices = WRITES[name]
    check_against_jax(fun, draw(5, 3), draw(5, 3), *indices)


def test_a_tie_between_updates_is_shared(float64: Precision) -> None:
    x, u = np.array([1.0, 2.0, 0.0]), np.array([2.0, 1.0, 2.0, 5.0])
    check_against_jax(lambda x, u: x.at[np.array([1, 0, 1, 2])].max(u), x, u)


@pytest.mark.parametrize("method", ["max", "min"])
@pytest.mark.parametrize("place", ["entry", "update"])
def test_an_extremum_that_is_nan_has_no_derivative(
    method: str, place: str, float64: Precision
) -> None:
    x, u = np.array([1.0, 2.0, 0.0]), np.array([2.0, 1.0, 2.0, 5.0])
    (x if place == "entry" else u)[1] = np.nan

    def extremum(x, u):
        return getattr(x.at[np.array([1, 0, 1, 2])], method)(u)

    def pulled(by, bar):
        return by.vjp(extremum, jnp.array(x), jnp.array(u))[1](bar)

    bar, dots = jnp.array([3.0, 5.0, 7.0]), (jnp.arange(3.0), jnp.arange(4.0))
    for direction in (
        lambda by: by.jvp(extremum, (jnp.array(x), jnp.array(u)), dots)[1],
        lambda by: pulled(by, bar),
        lambda by: by.vjp(lambda bar: pulled(by, bar), bar)[1](dots),
    ):
        jax.tree.map(np.testing.assert_allclose, direction(sg), direction(jax))


ORDERS: dict[str, tuple[Callable[..., Any], tuple[int, ...]]] = {
    "sort": (jnp.sort, (7,)),
    "sort columns": (lambda x: jnp.sort(x, axis=0), (5, 3)),
    "sort, unstable": (lambda x: lax.sort(x, dimension=0, is_stable=False), (5, 3)),
    "sort downwards": (lambda x: jnp.sort(x, descending=True), (2, 7)),
    "sort by a key": (lambda x: lax.sort_key_val(x[0], x[1]), (2, 7)),
    "sort by two keys": (lambda x: lax.sort((x[0], x[1], x[2]), num_keys=2), (3, 7)),
    "take in order": (lambda x: x[jnp.argsort(x)], (7,)),
    "top": (lambda x: lax.top_k(x, 3)[0], (2, 7)),
    "top along the first axis": (lambda x: lax.top_k(x, 2, axis=0)[0], (5, 3)),
    "median": (jnp.median, (2, 6)),
    "quantiles": (lambda x: jnp.quantile(x, jnp.array([0.2, 0.7]), axis=1), (2, 6)),
}


@pytest.mark.parametrize("name", ORDERS)
def test_sorting_and_its_derivatives(name: str, float64: Precision, draw) -> None:
    fun, shape = ORDERS[name]
    check_against_jax(fun, draw(*shape))


def test_equal_entries_stay_in_order(float64: Precision, draw) -> None:
    check_against_jax(lambda x: jnp.sort(jnp.round(x)) * x, draw(9))
    check_against_jax(lambda x: jnp.sort(x), np.round(draw(9)))


@pytest.mark.parametrize("name", ["rows", "take, filled", "along the last axis", "apart"])
def test_single_precision(name: str, float32: Precision, draw) -> None:
    fun, shape, indices = READS[name]
    check_against_jax(fun, draw(*shape), *(np.int32(i) for i in indices))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "bool", "bfloat16", "complex64"])
def test_what_is_read_outside_is_jax_s_default(dtype: str, float32: Precision) -> None:
    x = jnp.arange(6).reshape(3, 2).astype(dtype)
    i = jnp.array([2, 5, -4])
    for fun in (lambda x, i: jnp.take(x, i, axis=0), lambda x, i: x.at[i].get(mode="fill")):
        inputs, (y,) = nodes_of(fun, x, i)
        (found,) = evaluate([y], dict(zip(inputs, (x, i), strict=True)))
        assert found.dtype == x.dtype and str(found) == str(fun(x, i))
        assert source_of(y) == "jnp.take(x, y, axis=0)"


PRINTED = {
    "x[y]": (lambda x, i: x[i], (5, 3), (I,)),
    "x[:, y]": (lambda x, i: x[:, i], (2, 5, 3), (I,)),
    "x[y, z]": (lambda x, i, j: x[i, j], (5, 3), (I, J)),
    "x[1:3, y]": (lambda x, i: x[1:3, i], (4, 5), (I,)),
    "x[2, y]": (lambda x, i: x[2, i], (4, 5), (I,)),
    "x[y, :, z]": (lambda x, i, j: x[i, :, j], (5, 2, 3), (I, J)),
    "jnp.take(x, y, axis=1)": (lambda x, i: jnp.take(x, i, axis=1), (2, 5), (I,)),
    "jnp.take(x, y, axis=0, fill_value=0.0)": (
        lambda x, i: jnp.take(x, i, axis=0, fill_value=0),
        (5, 2),
        (I,),
    ),
    'jnp.take(x, y, axis=1, mode="clip")': (
        lambda x, i: jnp.take(x, i, axis=1, mode="clip"),
        (2, 5),
        (I,),
    ),
    'x.at[:, y].get(mode="clip")': (lambda x, i: x.at[:, i].get(mode="clip"), (2, 5), (I,)),
    'x.at[y].get(mode="promise_in_bounds", wrap_negative_indices=False)': (
        lambda x, i: x.at[i].get(wrap_negative_indices=False),
        (5, 3),
        (I,),
    ),
    "jnp.take_along_axis(x, y, axis=1)": (
        lambda x, i: jnp.take_along_axis(x, i, axis=1),
        (2, 5),
        (np.stack([I, I]),),
    ),
    'jnp.take_along_axis(x, y, axis=1, mode="promise_in_bounds")': (
        lambda x, i: jnp.take_along_axis(x, i, axis=1, mode="promise_in_bounds"),
        (2, 5),
        (np.stack([I, I]),),
    ),
    "lax.dynamic_slice_in_dim(x, z, 2, axis=1)": (
        lambda x, i: lax.dynamic_slice_in_dim(x, i, 2, axis=1),
        (3, 5),
        (np.int32(1),),
    ),
    "lax.dynamic_slice(x, (y, z), (2, 2), allow_negative_indices=False)": (
        lambda x, i: lax.dynamic_slice(x, (i, i), (2, 2), allow_negative_indices=False),
        (3, 5),
        (np.int32(1),),
    ),
    "x.at[z].add(y)": (lambda x, i: x.at[i].add(1), (5, 3), (I,)),
    "x.at[1:3, z].set(y)": (lambda x, i: x.at[1:3, i].set(1), (4, 5), (I,)),
    'x.at[z].max(y, mode="clip")': (lambda x, i: x.at[i].max(1, mode="clip"), (5, 3), (I,)),
    "x.at[1, 2].multiply(y)": (lambda x: x.at[1, 2].multiply(3), (5, 3), ()),
    "lax.dynamic_update_slice_in_dim(x, y, z, axis=0)": (
        lambda x, i: lax.dynamic_update_slice(x, x[:2], (i, 0)),
        (5, 3),
        (np.int32(1),),
    ),
    "jnp.sort(x, axis=0)": (lambda x: jnp.sort(x, axis=0), (5, 3), ()),
    "lax.top_k(x, 2)": (lambda x: lax.top_k(x, 2)[0], (5, 3), ()),
    "lax.approx_min_k(x, 2, reduction_dimension=0, recall_target=0.9)": (
        lambda x: lax.approx_min_k(x, 2, reduction_dimension=0, recall_target=0.9)[0],
        (5, 3),
        (),
    ),
}


@pytest.mark.parametrize("text", PRINTED)
def test_printed_as_people_write_it(text: str) -> None:
    fun, shape, indices = PRINTED[text]
    _, outputs = nodes_of(fun, jnp.ones(shape, jnp.float32), *indices)
    assert text in [source_of(n) for n in topological(outputs)]


def test_no_numpy_notation_is_printed_as_jax_lax() -> None:
    fun, shape, indices = READS["slices of each"]
    _, (y,) = nodes_of(fun, jnp.ones(shape), *indices)
    assert source_of(y) == (
        "lax.gather(x, y[..., None], lax.GatherDimensionNumbers(offset_dims=(1, 2), "
        "collapsed_slice_dims=(), start_index_map=(1,), operand_batching_dims=(0,), "
        "start_indices_batching_dims=(0,)), slice_sizes=(1, 2, 3), unique_indices=True, "
        'indices_are_sorted=True, mode="clip")'
    )


def test_a_read_that_may_be_filled_is_linear_only_if_filled_with_zero() -> None:
    x, i = jnp.ones((5, 3)), I
    _, (nan,) = nodes_of(lambda x, i: jnp.take(x, i, axis=0), x, i)
    _, (zero,) = nodes_of(lambda x, i: jnp.take(x, i, axis=0, fill_value=0), x, i)
    assert nan.op is gather_fill and zero.op is gather_op


def test_indices_have_no_derivative() -> None:
    (x, i), (y,) = nodes_of(lambda x, i: x[i], jnp.ones((5, 3)), I)
    to_array, to_index = pullback([y], [parameter(2, y.type)], [x, i])
    assert to_array.op is scatter_add and to_index is None


def test_a_slice_of_everything_is_the_array() -> None:
    (x, *_), (y,) = nodes_of(
        lambda x, i: lax.dynamic_slice(x, (i, i), (5, 3)), jnp.ones((5, 3)), np.int32(2)
    )
    assert y is x and y.op is not dynamic_slice_op


def test_sorting_several_arrays_has_several_results() -> None:
    _, (keys, values) = nodes_of(lambda x: lax.sort_key_val(x, -x), jnp.ones(4))
    assert keys.args == values.args and keys.args[0].op is sort
    assert [t.shape for t in keys.args[0].type] == [(4,), (4,)]


def test_an_array_is_sorted_once_for_its_value_and_its_derivative(float64: Precision, draw) -> None:
    x = draw(2, 5)
    (node,), (y,) = nodes_of(lambda x: jnp.sort(x) * jnp.sort(x), x)
    seed = parameter(1, y.type)
    outputs = (y, *pullback([y], [seed], [node]))
    merged = merge_sorts(Graph((node, seed), outputs))
    assert [n.op for n in topological(outputs)].count(sort) == 2
    assert [n.op for n in merged.nodes].count(sort) == 1
    values = {node: x, seed: draw(2, 5)}
    for got, want in zip(evaluate(merged.outputs, values), evaluate(outputs, values), strict=True):
        np.testing.assert_array_equal(got, want)
    assert merged.outputs[0].args[0] is item(merged.outputs[0].args[0].args[0], index=0)


def test_the_derivative_of_sorting_writes_where_entries_came_from(float64: Precision) -> None:
    (node,), (y,) = nodes_of(jnp.sort, jnp.ones(5))
    (pulled,) = pullback([y], [parameter(1, y.type)], [node])
    assert source_of(pulled) == "x.at[z].add(y, unique_indices=True)"


def test_factors_that_may_meet_have_no_derivative() -> None:
    """As in JAX; the array that is multiplied has one."""
    x, u, i = jnp.ones((5, 3)), jnp.full((5, 3), 2.0), jnp.asarray(I)
    product = lambda x, u: jnp.sum(x.at[i].multiply(u))  # noqa: E731
    np.testing.assert_array_equal(sg.grad(product)(x, u), jax.grad(product)(x, u))
    with pytest.raises(NotImplementedError, match="promised to be unique"):
        sg.grad(product, 1)(x, u)
    with pytest.raises(NotImplementedError):
        jax.grad(product, 1)(x, u)


@pytest.mark.parametrize(
    "apply",
    [
        lambda x, i: x.at[i].apply(jnp.sin),
        lambda x, i: x.at[:, 1].apply(jnp.sin),
        lambda x, i: jax.vmap(lambda x, i: x.at[i].apply(lambda y: 2 * y + 1), (1, None))(x, i),
        lambda x, i: jax.vmap(lambda x, i: x.at[i].apply(jnp.sin))(x, i[:, None]),
    ],
)
def test_functions_are_applied_where_they_should_be(apply, float64: Precision, draw) -> None:
    """Once for each time an index occurs; JAX has no derivative of it, and so has symgrad."""
    x, i = jnp.asarray(draw(5, 5)), jnp.asarray(I)
    np.testing.assert_allclose(sg.jit(apply)(x, i), apply(x, i), rtol=1e-14)
    with pytest.raises(NotImplementedError, match="scatter_apply"):
        sg.grad(lambda x: jnp.sum(apply(x, i)))(x)
