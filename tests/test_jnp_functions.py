"""Functions of `jax.numpy` and `jax.lax` that move, order, count, slide and reduce, against JAX.

Each is called as people call it. Cases of a family are compiled together; each is a subtest.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import Precision
from jax import lax
from samples import Operand, apart_from_zero, between, positive, ties, whole
from together import Jax, Problem, agree, attempt, compiled_together, differentiable, generator

import symgrad as sg

Case = tuple[Any, ...]
"""A function and its operands; a bare tuple is the shape of an array of normal numbers."""


def tied(*shape: int) -> Operand:
    return Operand(ties, shape)


def above(*shape: int) -> Operand:
    return Operand(positive, shape)


def apart(*shape: int) -> Operand:
    return Operand(apart_from_zero(0.4, 2.0), shape)


def index(low: int, high: int, *shape: int) -> Operand:
    return Operand(whole(low, high), shape, np.int32)


def mask(*shape: int) -> Operand:
    return Operand(whole(0, 1), shape, bool)


def fixed(values: Any) -> Operand:
    array = np.asarray(values)
    return Operand(lambda draws, shape: array, array.shape, array.dtype)


ROWS = fixed([0, 3, -1, 2, 3])
"""Indices of five rows: one from the end, one twice."""
OUTSIDE = fixed([0, 7, -9, 4, -1])
UNIQUE = fixed([3, 0, -1])
TO_THE_LEFT = np.array([[True, True], [False, True], [True, False], [True, True]])


def _cumulative() -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for name in ("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp"):
        run = getattr(lax, name)
        cases |= {
            f"{name} along the middle": (partial(run, axis=1), (2, 5, 2)),
            f"{name} from the end": (partial(run, axis=0, reverse=True), (6, 2)),
            f"{name} with ties": (partial(run, axis=1), tied(2, 11)),
            f"{name} with ties from the end": (partial(run, axis=0, reverse=True), tied(8)),
            f"{name} of one": (partial(run, axis=0), (1,)),
            f"{name} of none": (partial(run, axis=1), (2, 0)),
        }
    return cases | {
        "cumsum of all": (jnp.cumsum, (2, 3)),
        "cumulative_sum": (partial(jnp.cumulative_sum, include_initial=True), (4,)),
        "cumulative_prod": (partial(jnp.cumulative_prod, include_initial=True), (4,)),
        "nancumsum": (jnp.nancumsum, (5,)),
        "maximum.accumulate": (partial(jnp.maximum.accumulate, axis=1), (2, 5)),
        "logaddexp.accumulate": (jnp.logaddexp.accumulate, (4,)),
        "associative_scan": (lambda x: lax.associative_scan(jnp.matmul, x), (5, 2, 2)),
        "complex cumprod": (lambda x: jnp.imag(jnp.cumprod(lax.complex(x, x * x))), (4,)),
    }


def _product_rule(first: Any, second: Any) -> Any:
    (a, b), (c, d) = first, second
    return a * c, a * d + b * c


def _like(x: Any, value: float) -> Any:
    return jnp.asarray(value, x.dtype)


def _reductions() -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for name in ("sum", "prod", "mean", "var", "std", "max", "min"):
        reduce = getattr(jnp, name)
        initial = {"max": {"initial": -9.0}, "min": {"initial": 9.0}}.get(name, {})
        cases |= {
            name: (reduce, (2, 3)),
            f"{name} over two axes": (partial(reduce, axis=(0, 2), keepdims=True), (2, 3, 2)),
            f"{name} where": (partial(reduce, axis=0, where=TO_THE_LEFT, **initial), (4, 2)),
        }
    for name in ("sum", "prod", "mean", "var", "max", "argmax", "cumsum"):

        def without_nan(x: Any, name: str = name) -> Any:
            return getattr(jnp, f"nan{name}")(jnp.where(x > 1, jnp.nan, x), axis=1)

        cases[f"nan{name}"] = (without_nan, Operand(between(-1.0, 1.3), (3, 6)))
    return cases | {
        "prod with zeros": (lambda x: jnp.prod(x, (0, 2)), tied(3, 2, 3)),
        "max of ties": (lambda x: jnp.max(x, (0, 2)), tied(2, 2, 3)),
        "sum of none": (partial(jnp.sum, axis=0), (0, 3)),
        "prod of none": (partial(jnp.prod, axis=0), (0, 3)),
        "max for nobody": (partial(jnp.max, axis=1), (0, 3)),
        "sum of rank 10": (lambda x: jnp.sum(x, (0, 4, 9)), (1, 2, 1, 1, 2, 1, 1, 2, 1, 2)),
        "argmin": (partial(jnp.argmin, axis=1, keepdims=True), tied(3, 4)),
        "argmax of a type": (lambda x: lax.argmax(x, 0, np.int8), tied(3, 4)),
        "all": (jnp.all, mask(3)),
        "xor of bits": (lambda x: lax.reduce_xor(x, (0, 1)), index(-4, 4, 3, 2)),
        "xor of truth values": (partial(jnp.logical_xor.reduce, axis=1), mask(3, 2)),
        "ptp": (jnp.ptp, (2, 3)),
        "average": (lambda x, w: jnp.average(x, axis=0, weights=w), (3, 2), above(3)),
        "corrcoef": (jnp.corrcoef, (3, 4)),
        "norm": (lambda x: jnp.linalg.norm(x, 3), (3,)),
        "largest norm": (lambda x: jnp.linalg.norm(x, jnp.inf), (3,)),
        "logsumexp": (lambda x, b: jax.nn.logsumexp(x, b=b, axis=0), (3, 2), above(3, 2)),
        "reduce": (lambda x: lax.reduce(x, _like(x, 1), lambda a, b: a * b, (0, 2)), (2, 3, 5)),
        "reduce, no neutral element": (lambda x: lax.reduce(x, _like(x, 2), lax.add, (1,)), (2, 3)),
        "reduce pairs": (
            lambda x, y: lax.reduce((x, y), (_like(x, 1), _like(x, 0)), _product_rule, (0,)),
            (5, 2),
            (5, 2),
        ),
        "reduce by a loop": (
            lambda x: lax.reduce(
                x,
                _like(x, 1),
                lambda a, b: lax.fori_loop(0, 1, lambda i, c: c * b, a),
                (0,),
            ),
            (3, 2),
        ),
        "reduce nothing": (lambda x: lax.reduce(x, _like(x, 1), lambda a, b: a * b, (0,)), (0, 3)),
        "reduce no axis": (lambda x: lax.reduce(x, _like(x, 1), lambda a, b: a * b, ()), (2,)),
        "multiply.reduce": (partial(jnp.multiply.reduce, axis=0), (3, 2)),
        "frompyfunc.reduce": (
            lambda x: jnp.frompyfunc(lambda a, b: a * b, nin=2, nout=1, identity=1).reduce(x),
            (4,),
        ),
    }


def _windows() -> dict[str, Case]:
    window = lax.reduce_window
    convolve = lax.conv_general_dilated
    channels_last = ("NHC", "HIO", "NHC")
    return {
        "sums, padded by less": (lambda x: window(x, 0.0, lax.add, (2,), (1,), ((-1, 2),)), (8,)),
        "maxima with all options": (
            lambda x: window(x, -jnp.inf, lax.max, (2, 2), (1, 2), ((1, 0), (2, 1)), (2, 1)),
            (5, 6),
        ),
        "maxima of rank 10": (
            lambda x: window(x, -jnp.inf, lax.max, (1,) * 9 + (2,)),
            (1, 1, 1, 1, 1, 1, 2, 1, 1, 3),
        ),
        "sum of a scalar": (lambda x: window(x, 0.0, lax.add, (), (), ()), ()),
        "average": (lambda x: window(x, 0.0, lax.add, (1, 2), (1, 2), "SAME") / 2, (2, 5)),
        "complex convolution": (
            lambda x, w: jnp.abs(
                convolve(lax.complex(x, x * x), lax.complex(w, -w), (1,), "SAME") ** 2
            ),
            (1, 2, 5),
            (3, 2, 2),
        ),
        "convolution of groups": (
            lambda x, w: convolve(x, w, (2,), "SAME", feature_group_count=2),
            (2, 4, 6),
            (6, 2, 3),
        ),
        "convolution of batch groups": (
            lambda x, w: convolve(x, w, (2,), "SAME", batch_group_count=2),
            (4, 3, 6),
            (6, 3, 3),
        ),
        "convolution, dilated": (
            lambda x, w: convolve(x, w, (2, 1), ((1, 2), (-1, 3)), (2, 1), (1, 2)),
            (1, 2, 4, 5),
            (3, 2, 2, 2),
        ),
        "convolution, more behind": (
            lambda x, w: convolve(x, w, (2,), "SAME_LOWER"),
            (1, 2, 8),
            (3, 2, 2),
        ),
        "transposed convolution": (
            lambda x, w: lax.conv_transpose(x, w, (2,), "SAME", dimension_numbers=channels_last),
            (1, 4, 2),
            (3, 2, 3),
        ),
        "transposed convolution with its kernel": (
            lambda x, w: lax.conv_transpose(
                x,
                w,
                (2,),
                "VALID",
                rhs_dilation=(2,),
                dimension_numbers=("NHC", "HOI", "NHC"),
                transpose_kernel=True,
            ),
            (1, 4, 2),
            (3, 2, 3),
        ),
        "patches": (
            lambda x: lax.conv_general_dilated_patches(x, (2, 3), (1, 2), "SAME"),
            (1, 2, 4, 5),
        ),
        "kernels of places": (
            lambda x, w: lax.conv_general_dilated_local(x, w, (1,), "VALID", (2,)),
            (1, 2, 5),
            (3, 4, 4),
        ),
        "convolution of each": (
            jax.vmap(lambda x, w: lax.conv(x, w, (1,), "SAME")),
            (2, 1, 2, 5),
            (2, 3, 2, 2),
        ),
        "convolve": (partial(jnp.convolve, mode="same"), (6,), (3,)),
        "correlate": (partial(jnp.correlate, mode="full"), (3,), (6,)),
        "convolve2d": (jax.scipy.signal.convolve2d, (4, 3), (2, 2)),
    }


def _reads() -> dict[str, Case]:
    whole_window = lax.GatherDimensionNumbers((1, 2), (), ())
    return {
        "get, filled": (
            lambda x, i: x.at[i].get(mode="fill", fill_value=2, indices_are_sorted=False),
            (5, 3),
            OUTSIDE,
        ),
        "get, clipped": (lambda x, i: x.at[:, i].get(mode="clip"), (2, 5), OUTSIDE),
        "get, promised": (lambda x, i: x.at[i].get(mode="promise_in_bounds"), (5, 3), ROWS),
        "take, wrapped": (lambda x, i: jnp.take(x, i, axis=1, mode="wrap"), (2, 5), OUTSIDE),
        "take of all": (jnp.take, (2, 5), ROWS),
        "take_along_axis": (
            lambda x, i: jnp.take_along_axis(x, i, 1),
            (3, 5),
            index(0, 4, 1, 2),
        ),
        "a window for every empty index": (
            lambda x, i: lax.gather(x, i, whole_window, (2, 3)),
            (4, 5),
            fixed(np.zeros((3, 0), int)),
        ),
        "new axes and steps": (lambda x: x[None, 1, ..., None, ::-2], (3, 2, 4)),
        "arrays apart": (lambda x, i: x[i[:, None], :, i], (5, 2, 5), ROWS),
        "a grid": (lambda x: x[jnp.ix_(np.array([0, 2]), np.array([1]))], (3, 2)),
        "a mask": (lambda x: x[1:, np.array([True, False, True, True])], (3, 4)),
        "an index at a time": (lambda x, i, j: x[i, :, j], (5, 4, 3), index(-5, 4), index(-3, 2)),
        "in rank 10": (
            lambda x, i: x[:, i, ..., None, i, :],
            (1, 2, 1, 1, 2, 1, 1, 2, 2, 1),
            index(0, 1, 3),
        ),
        "of a scalar": (lambda x: x[..., None] + x[()], ()),
        "from a constant": (
            lambda x, i: x * jnp.asarray(np.arange(4.0), x.dtype)[i],
            (2,),
            index(0, 3, 2),
        ),
        "dynamic_slice": (
            lambda x, i, j: lax.dynamic_slice(x, (i, j), (2, 3)),
            (4, 5),
            index(-6, 6),
            index(-6, 6),
        ),
        "dynamic_index_in_dim": (
            lambda x, i: lax.dynamic_index_in_dim(x, i, 1, keepdims=False),
            (4, 5),
            index(-6, 6),
        ),
        "diagonal": (jnp.diagonal, (4, 4)),
        "another diagonal": (lambda x: jnp.diagonal(x, 1, 2, 0), (3, 2, 4)),
        "diag": (lambda x: jnp.diag(jnp.diag(x), 1), (3, 3)),
        "trace": (lambda x: jnp.trace(x, 1, 2, 0), (3, 2, 3)),
        "tril": (partial(jnp.tril, k=-1), (2, 3, 4)),
        "triu_indices": (lambda x: x[jnp.triu_indices(3, 1)], (3, 3)),
        "unravel_index": (lambda x: x[jnp.unravel_index(jnp.argmax(x), x.shape)], (3, 4)),
        "nonzero": (lambda x: x[jnp.nonzero(x > 0, size=3)], (5,)),
        "repeat": (
            lambda x: jnp.repeat(x, jnp.array([1, 0, 2]), axis=1, total_repeat_length=3),
            (2, 3),
        ),
        "choose": (
            lambda i, x: jnp.choose(i, [x[0], x[1]], mode="wrap"),
            index(-2, 3, 4),
            (2, 4),
        ),
        "map_coordinates": (
            lambda x, c: jax.scipy.ndimage.map_coordinates(x, [2 * c[0], c[1]], order=1),
            (5, 4),
            above(2, 3),
        ),
    }


def _writes() -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for name in ("set", "add", "subtract", "multiply", "divide", "power", "min", "max"):
        numbers = above if name == "power" else apart

        def write(x: Any, place: Any, u: Any, name: str = name, **options: Any) -> Any:
            return getattr(x.at[place], name)(u, unique_indices=True, **options)

        cases |= {
            f"{name} a row": (
                partial(lambda w, x, u: w(x, 1, u), write),
                numbers(5, 3),
                numbers(3),
            ),
            f"{name} all": (partial(lambda w, x, u: w(x, ..., u), write), numbers(3), numbers(3)),
            f"{name} steps": (
                partial(lambda w, x, u: w(x, np.s_[1:4, ::2], u), write),
                numbers(5, 3),
                numbers(3, 2),
            ),
            f"{name} rows": (
                partial(lambda w, x, u, i: w(x, np.s_[i, 1:], u, mode="drop"), write),
                numbers(5, 3),
                numbers(),
                fixed([3, 0, -1, 8]),
            ),
            f"{name} a scalar": (partial(lambda w, x, u: w(x, (), u), write), numbers(), numbers()),
            f"{name} in each": (
                jax.vmap(partial(lambda w, x, u, i: w(x, i, u), write)),
                numbers(4, 5),
                numbers(4, 2),
                fixed([[0, 1], [2, 1], [3, 4], [-1, 0]]),
            ),
        }
        if name != "power":
            cases[f"{name} rows, one twice"] = (
                lambda x, i, name=name: getattr(x.at[i], name)(2.0),
                numbers(5, 3),
                ROWS,
            )
    rows = lax.ScatterDimensionNumbers((1,), (0,), (0,))
    blocks = lax.ScatterDimensionNumbers((1, 2), (), (0, 1))
    everything = lax.ScatterDimensionNumbers((1, 2), (), ())
    for name in ("scatter", "scatter_add", "scatter_sub", "scatter_mul", "scatter_max"):
        run = partial(getattr(lax, name), unique_indices=True)
        cases |= {
            f"{name} rows": (
                partial(run, dimension_numbers=rows),
                (5, 3),
                fixed([[0], [3], [9]]),
                (3, 3),
            ),
            f"{name} blocks": (
                partial(run, dimension_numbers=blocks),
                (5, 6),
                fixed([[0, 1], [3, 2]]),
                (2, 2, 3),
            ),
            f"{name} everywhere": (
                partial(run, dimension_numbers=everything),
                (4, 5),
                fixed(np.zeros((1, 0), int)),
                (1, 2, 3),
            ),
        }
    for name in ("sum", "prod", "max", "min"):
        segments = partial(getattr(jax.ops, f"segment_{name}"), num_segments=4)
        cases[f"segment_{name}"] = (
            partial(segments, unique_indices=name == "prod"),
            (3, 2),
            fixed([0, 3, 1]),
        )
    return cases | {
        "max, ties": (lambda x, u, i: x.at[i].max(u), tied(5, 3), tied(5, 3), ROWS),
        "add.at": (
            lambda x, u: jnp.add.at(x, jnp.array([0, 0]), u, inplace=False),
            (4,),
            (2,),
        ),
        "dynamic_update_slice": (
            lambda x, u, i: lax.dynamic_update_slice(x, u, (i, i)),
            (4, 5),
            (2, 2),
            index(-6, 6),
        ),
        "dynamic_update_slice in each": (
            jax.vmap(lambda x, u, i: lax.dynamic_update_slice(x, u, (i,)), (None, 0, 0)),
            (5,),
            (4, 2),
            index(-2, 6, 4),
        ),
        "fill_diagonal": (partial(jnp.fill_diagonal, inplace=False), (3, 3), ()),
        "put_along_axis": (
            lambda x, u: jnp.put_along_axis(x, jnp.array([[0], [2]]), u, 1, inplace=False),
            (2, 3),
            (2, 1),
        ),
        "insert": (lambda x, v: jnp.insert(x, jnp.array([0, 2]), v, axis=1), (2, 4), ()),
        "bincount": (lambda w: jnp.bincount(jnp.array([0, 2, 2]), w, length=4), (3,)),
        "histogram": (
            lambda x, w: jnp.histogram(x, bins=3, range=(-2.0, 2.0), weights=w)[0],
            (6,),
            (6,),
        ),
    }


def _shapes() -> dict[str, Case]:
    padding = {
        f"pad: {mode}": (partial(jnp.pad, pad_width=((1, 2), (2, 0)), mode=mode), (4, 3))
        for mode in ("edge", "linear_ramp", "maximum", "mean", "reflect", "symmetric", "wrap")
    }
    return padding | {
        "pad, cropped and spread": (
            lambda x, v: lax.pad(x, v, ((-1, 2, 1), (1, -1, 2))),
            (4, 3),
            (),
        ),
        "unstack": (
            lambda x: [a * b for a, b in zip(*[jnp.unstack(x, axis=1)] * 2, strict=True)],
            (2, 3, 2),
        ),
        "split": (lambda x: [a**2 for a in jnp.split(x, [1, 3], axis=1)], (2, 5)),
        "array_split": (lambda x: jnp.array_split(x, 3)[1], (7,)),
        "stack": (lambda x, y: jnp.stack([x, y], -1), (2, 3), (2, 3)),
        "block": (lambda x: jnp.block([[x, x], [x, x]]), (2, 2)),
        "append": (jnp.append, (2, 2), (3,)),
        "tile": (lambda x: jnp.tile(x, (2, 1, 3)), (2, 3)),
        "tile to none": (lambda x: jnp.tile(x, 0), (2, 3)),
        "rot90": (partial(jnp.rot90, k=3), (2, 3)),
        "rev": (lambda x: lax.rev(x, (0, 2)), (2, 3, 2)),
        "concatenate": (lambda x, y: lax.concatenate([x, y], 1), (2, 0), (2, 3)),
        "expand_dims": (lambda x: lax.squeeze(lax.expand_dims(x, (0, 2, -1)), (0,)), (2, 3)),
        "columns first": (lambda x: jnp.reshape(x, (3, 2), order="F"), (2, 3)),
        "moveaxis": (lambda x: jnp.moveaxis(x, (0, 2), (1, 0)), (2, 3, 4)),
        "transpose of rank 10": (
            lambda x: jnp.transpose(x, (9, 8, 7, 6, 5, 4, 3, 2, 1, 0)) * 2,
            (1, 2, 1, 1, 2, 1, 1, 2, 1, 1),
        ),
        "roll": (lambda x: jnp.roll(x, (1, -2), (0, 1)), (2, 3)),
        "roll by an array": (
            lambda x, i: jnp.roll(x, i, axis=(0, 1)),
            (2, 3),
            index(-5, 5, 2),
        ),
        "delete": (lambda x: jnp.delete(x, np.array([0, 2]), axis=1), (2, 4)),
        "select": (lambda x: jnp.select([x > 1, x > 0], [x**2, x**3], -x), (6,)),
        "select_n": (lambda i, x: lax.select_n(i, x[0], x[1], x[2]), index(0, 2, 4), (3, 4)),
        "piecewise": (
            lambda x: jnp.piecewise(x, [x < 0, x > 1], [jnp.sin, jnp.cos, jnp.exp]),
            (6,),
        ),
        "gradient": (lambda x: jnp.gradient(x, 2.0, 0.5), (4, 3)),
        "trapezoid": (lambda y, x: jnp.trapezoid(y, x, axis=0), (5, 2), (5, 2)),
        "diff": (lambda x: jnp.diff(x, 2, axis=0, prepend=0.0), (4, 2)),
        "apply_along_axis": (
            lambda x: jnp.apply_along_axis(lambda v: jnp.sort(v) * v[0], 1, x),
            (2, 4),
        ),
        "linspace": (lambda a, b: jnp.linspace(a, b, 4, axis=1, endpoint=False), (3,), (3,)),
        "image resize": (lambda x: jax.image.resize(x, (5, 4), "cubic"), (3, 3)),
    }


def _orders() -> dict[str, Case]:
    at = jnp.array([0.1, 0.55])
    quantiles = {
        f"quantile: {how}": (lambda x, how=how: jnp.quantile(x, 0.3, axis=0, method=how), (5, 2))
        for how in ("linear", "lower", "higher", "nearest", "midpoint")
    }
    searches = {
        f"searchsorted: {how}": (
            lambda x, v, how=how: v * jnp.sort(x)[jnp.searchsorted(jnp.sort(x), v, method=how)],
            (6,),
            (3,),
        )
        for how in ("scan", "scan_unrolled", "sort", "compare_all")
    }
    grid = np.array([-1.0, 0.0, 1.0, 2.0])
    return (
        quantiles
        | searches
        | {
            "sort": (jnp.sort, tied(2, 6)),
            "sort downwards": (partial(jnp.sort, descending=True, axis=0), (4, 2)),
            "sort of none": (jnp.sort, (0,)),
            "sort by two keys": (
                lambda x, y, z: lax.sort((x, y, z), num_keys=2),
                tied(6),
                tied(6),
                (6,),
            ),
            "sort by integers": (lambda i, x: lax.sort_key_val(i, x), index(0, 3, 6), (6,)),
            "argsort": (lambda x: x[jnp.argsort(x, descending=True)] * jnp.arange(6), tied(6)),
            "lexsort": (lambda x, y: x[jnp.lexsort((x, y))], (6,), tied(6)),
            "partition": (lambda x: jnp.partition(x, 2), (6,)),
            "top_k": (lambda x: lax.top_k(x, 2, axis=0), tied(5, 3)),
            "approx_max_k": (lambda x: lax.approx_max_k(x, 2), (3, 5)),
            "approx_min_k": (
                lambda x: lax.approx_min_k(
                    x, 2, reduction_dimension=0, recall_target=0.9, aggregate_to_topk=False
                ),
                (9, 3),
            ),
            "median": (partial(jnp.median, axis=0, keepdims=True), (4, 3)),
            "nanpercentile": (lambda x: jnp.nanpercentile(x, 30, axis=1), (2, 5)),
            "quantiles": (lambda x: jnp.quantile(x, at.astype(x.dtype)), (2, 5)),
            "unique": (partial(jnp.unique, size=5), tied(6)),
            "union1d": (partial(jnp.union1d, size=5), (3,), (3,)),
            "digitize": (lambda x: jnp.digitize(x, jnp.asarray(grid, x.dtype)), (6,)),
            "interp": (lambda x, y: jnp.interp(x, jnp.asarray(grid, x.dtype), y), (6,), (4,)),
            "interp at places": (lambda x, p, y: jnp.interp(x, jnp.sort(p), y), (6,), (4,), (4,)),
        }
    )


def _products() -> dict[str, Case]:
    sums = {
        f"einsum {text}": (partial(jnp.einsum, text), *shapes)
        for text, *shapes in (
            ("ii->i", (3, 3)),
            ("iij->ji", (2, 2, 3)),
            ("ij,kj->", (2, 3), (4, 3)),
            ("...i,...i->...", (2, 3), (3,)),
            ("ij,jk,kl->il", (2, 3), (3, 2), (2, 4)),
            ("i,i,i->i", (3,), (3,), (3,)),
            (",ij->ij", (), (2, 3)),
            ("aib,bjc->aijc", (2, 1, 3), (3, 1, 2)),
        )
    }
    return sums | {
        "kron": (jnp.kron, (2, 3), (3, 2)),
        "cross": (lambda x, y: jnp.cross(x, y, axisa=0, axisb=1, axisc=0), (3, 2), (2, 3)),
        "tensordot": (lambda x, y: jnp.tensordot(x, y, ((0, 2), (1, 0))), (2, 3, 4), (4, 2)),
        "dot": (jnp.dot, (2, 3), (4, 3, 2)),
        "matmul": (jnp.matmul, (2, 1, 2, 3), (4, 3, 2)),
        "vecdot": (jnp.vecdot, (2, 3), (2, 3)),
        "polyval": (jnp.polyval, (3,), (4,)),
        "polymul": (jnp.polymul, (3,), (4,)),
        "poly": (jnp.poly, (3,)),
        "vander": (lambda x: jnp.vander(x, 3), (4,)),
        "vectorize": (
            jnp.vectorize(lambda a, b: a @ b, signature="(n),(n)->()"),
            (2, 3),
            (3,),
        ),
    }


FAMILIES = {
    "cumulative": _cumulative(),
    "reductions": _reductions(),
    "windows": _windows(),
    "reads": _reads(),
    "writes": _writes(),
    "shapes": _shapes(),
    "orders": _orders(),
    "products": _products(),
}


def problem_of(name: str, case: Case, real: Any) -> Problem:
    fun, *operands = case
    draws = generator((name, np.dtype(real)))
    given = [o if isinstance(o, Operand) else Operand(shape=o) for o in operands]
    return Problem(fun, tuple(o.draw(draws, real) for o in given), draws)


def compare(
    problems: dict[str, Problem],
    account: Callable[..., dict[str, Callable[[], Any]]],
    tolerance: float,
    subtests: Any,
) -> None:
    """What symgrad computes is what JAX computes, types included."""

    def everything(operands: list[Any]) -> list[Any]:
        return [
            [
                {what: attempt(run) for what, run in account(problem, by, *args).items()}
                for by in (sg, Jax)
            ]
            for problem, args in zip(problems.values(), operands, strict=True)
        ]

    found = compiled_together(everything, [p.args for p in problems.values()])
    for name, (ours, theirs) in zip(problems, found, strict=True):
        for what, value in ours.items():
            with subtests.test(function=name, what=what):
                for error in (theirs[what], value):
                    if isinstance(error, Exception):
                        raise error
                agree(value, theirs[what], tolerance)
                assert jax.tree.map(jax.typeof, value) == jax.tree.map(jax.typeof, theirs[what])


@pytest.mark.parametrize("family", FAMILIES)
def test_value_both_modes_and_second_order(family: str, float64: Precision, subtests) -> None:
    cases = FAMILIES[family]
    problems = {name: problem_of(name, case, np.float64) for name, case in cases.items()}
    compare(problems, Problem.account, float64.tolerance, subtests)


def first_order(problem: Problem, by: Any, *args: Any) -> dict[str, Callable[[], Any]]:
    found = {"value": lambda: by.jit(problem.fun)(*args)}
    if problem.smooth:
        found["vjp"] = lambda: differentiable(by.vjp(problem.fun, *args)[1](problem.bars))
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_batches_in_single_precision(family: str, float32: Precision, subtests) -> None:
    """What `jax.vmap` makes of a function is differentiated as well."""
    problems = {}
    for name, (fun, *operands) in FAMILIES[family].items():
        one, other = (problem_of(n, (fun, *operands), np.float32) for n in (name, f"{name} again"))
        rows = tuple(np.stack(pair) for pair in zip(one.args, other.args, strict=True))
        problems[name] = Problem(jax.vmap(fun), rows, generator(name))
    compare(problems, first_order, float32.tolerance, subtests)
