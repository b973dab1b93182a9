"""What operations on arrays do with numbers of any precision.

`ARRAYS[op](mp, node, *operands)` gives the array, or the tuple of arrays, that is the value
of `node`; operands are NumPy arrays, of mpmath numbers where the program has floats.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from symgrad.exact.numbers import numbers
from symgrad.exact.scalars import value_of
from symgrad.exact.stable import ALONG_AXES
from symgrad.expr import Expr, Op, add, captured, item, literal, mul
from symgrad.ops import (
    contract,
    cumulative,
    distances,
    entropy,
    matrix,
    moments,
    norm,
    odds,
    order,
    pick,
    pointwise,
    products,
    reduce,
    shape,
)

Value = Callable[..., Any]
Array = np.ndarray


def filled(shape: Sequence[int], values: Any) -> Array:
    """An array of objects with these entries in row-major order."""
    found = np.empty(tuple(shape), object)
    for place, value in zip(np.ndindex(found.shape), values, strict=True):
        found[place] = value
    return found


def typed(values: Array, dtype: Any) -> Array:
    """Integers wrap around as in their dtype, truth values are NumPy's, floats stay exact."""
    if np.issubdtype(dtype, np.bool_):
        return values.astype(bool)
    if not np.issubdtype(dtype, np.integer):
        return values
    size = 8 * np.dtype(dtype).itemsize
    unsigned = filled(values.shape, (int(v) % 2**size for v in values.flat))
    return unsigned.astype(f"uint{size}").astype(dtype)


def elementwise(mp: Any, node: Expr, *operands: Array) -> Array:
    """`node` entry by entry; operands of rank 0 meet every entry."""
    columns = [np.broadcast_to(x, node.shape).flat for x in operands]
    plain = (
        [x.item() if isinstance(x, np.generic) else x for x in row]
        for row in zip(*columns, strict=False)
    )
    found = filled(node.shape, (value_of(mp, node.op, *row, **node.params) for row in plain))
    return typed(found, node.dtype)


def moved(transform: Callable[[Expr, Array], Array]) -> Value:
    """An operation that only moves the entries of its operand."""
    return lambda mp, e, x: transform(e, x)


def _broadcast(e: Expr, x: Array) -> Array:
    widened = [1] * e.ndim
    for axis, n in zip(e.params["axes"], x.shape, strict=True):
        widened[axis] = n
    by_axis = np.transpose(x, np.argsort(e.params["axes"])) if x.ndim > 1 else x
    return np.broadcast_to(by_axis.reshape(widened), e.shape)


def _slices(e: Expr) -> tuple[slice, ...]:
    p = e.params
    return tuple(slice(*along) for along in zip(p["start"], p["stop"], p["step"], strict=True))


def _pad(mp: Any, e: Expr, x: Array, value: Array) -> Array:
    low, high = e.params["low"], e.params["high"]
    holes = [i + 1 for i in e.params["interior"]]
    spread = [max(0, (n - 1) * h + 1) if n else 0 for n, h in zip(x.shape, holes, strict=True)]
    outer = [n + max(a, 0) + max(b, 0) for n, a, b in zip(spread, low, high, strict=True)]
    found = np.full(outer, value[()], x.dtype)
    start = [max(a, 0) for a in low]
    inside = zip(start, spread, holes, strict=True)
    found[tuple(slice(a, a + n, h) for a, n, h in inside)] = x
    crop = zip(outer, low, high, strict=True)
    return found[tuple(slice(max(-a, 0), n - max(-b, 0)) for n, a, b in crop)]


def _iota(mp: Any, e: Expr) -> Array:
    along = [1] * e.ndim
    along[e.params["axis"]] = -1
    counted = np.arange(e.shape[e.params["axis"]]).reshape(along)
    return numbers(mp, np.broadcast_to(counted, e.shape).astype(e.dtype))


def over_axes(mp: Any, e: Expr, x: Array, combine: Callable[[Sequence[Any]], Any]) -> Array:
    """Each of the groups of entries that a reduction brings together, combined to one."""
    axes = e.params["axes"] if "axes" in e.params else (e.params["axis"],)
    kept = [a for a in range(x.ndim) if a not in axes]
    count = math.prod(x.shape[a] for a in axes)
    groups = np.transpose(x, (*kept, *axes)).reshape((*e.shape, count))
    return typed(filled(e.shape, (combine(list(groups[i])) for i in np.ndindex(e.shape))), e.dtype)


def _fold(op: Op, start: Callable[[Any], Any]) -> Value:
    """A reduction by repeating an operation of two operands."""

    def value(mp: Any, e: Expr, x: Array) -> Array:
        combine = functools.partial(value_of, mp, op)
        first = start(mp) if e.type.inexact else int(start(mp))
        return over_axes(mp, e, x, lambda group: functools.reduce(combine, _plain(group), first))

    return value


def _plain(values: Any) -> list[Any]:
    return [v.item() if isinstance(v, np.generic) else v for v in values]


def _extremum(op: Op) -> Value:
    def value(mp: Any, e: Expr, x: Array) -> Array:
        combine = functools.partial(value_of, mp, op)
        return over_axes(mp, e, x, lambda group: functools.reduce(combine, _plain(group)))

    return value


def _length(mp: Any, values: Sequence[Any]) -> Any:
    return mp.sqrt(mp.fsum(v * v for v in values))


def _logsumexp(mp: Any, values: Sequence[Any]) -> Any:
    top = functools.reduce(functools.partial(value_of, mp, pointwise.maximum), values, mp.ninf)
    if not mp.isfinite(top):
        return top
    return top + mp.log(mp.fsum(value_of(mp, pointwise.exp, v - top) for v in values))


def _by_rows(function: Callable[[Any, list[Any]], Sequence[Any]]) -> Value:
    """An operation that maps each vector along `axis` to a vector."""

    def value(mp: Any, e: Expr, x: Array) -> Array:
        axis, last = e.params["axis"], np.moveaxis(x, e.params["axis"], -1)
        backwards = e.params.get("reverse", False)
        rows = []
        for place in np.ndindex(last.shape[:-1]):
            row = _plain(last[place])
            found = list(function(mp, row[::-1] if backwards else row))
            rows += found[::-1] if backwards else found
        return np.moveaxis(typed(filled(last.shape, rows), e.dtype), -1, axis)

    return value


def _softmax(mp: Any, row: list[Any]) -> list[Any]:
    return [value_of(mp, pointwise.exp, v) for v in _log_softmax(mp, row)]


def _softmax_slope(mp: Any, e: Expr, x: Array, weights: Array) -> Array:
    return weights * (x - np.sum(weights * x, axis=e.params["axis"], keepdims=True))


def _log_softmax_slope(mp: Any, e: Expr, x: Array, weights: Array) -> Array:
    return x - weights * np.sum(x, axis=e.params["axis"], keepdims=True)


def _weights(mp: Any, row: list[Any]) -> list[Any]:
    return [mp.zero] * len(row) if all(v == mp.ninf for v in row) else _softmax(mp, row)


def _log_softmax(mp: Any, row: list[Any]) -> list[Any]:
    total = _logsumexp(mp, row)
    return [v - total for v in row]


def _log_odds(mp: Any, row: list[Any]) -> list[Any]:
    return [
        v - _logsumexp(mp, row[:i] + row[i + 1 :]) if len(row) > 1 else mp.inf
        for i, v in enumerate(row)
    ]


def _one_minus_softmax(mp: Any, row: list[Any]) -> list[Any]:
    odds_against = [-v for v in _log_odds(mp, row)]
    return [value_of(mp, pointwise.logistic, v) for v in odds_against]


def _accumulate(op: Op) -> Value:
    return _by_rows(
        lambda mp, row: list(itertools.accumulate(row, functools.partial(value_of, mp, op)))
    )


def _cumlogsumexp(mp: Any, row: list[Any]) -> list[Any]:
    return [_logsumexp(mp, row[: i + 1]) for i in range(len(row))]


def _recurrence(mp: Any, e: Expr, a: Array, b: Array) -> Array:
    axis, reverse = e.params["axis"], e.params["reverse"]
    factors, terms = np.moveaxis(a, axis, 0), np.moveaxis(b, axis, 0)
    found = terms.copy()
    places = range(len(terms))[::-1] if reverse else range(len(terms))
    for before, here in itertools.pairwise(places):
        found[here] = factors[here] * found[before] + terms[here]
    return np.moveaxis(found, 0, axis)


def _argument(best: Callable[[Sequence[Any]], Any]) -> Value:
    """The first place of a nan if there is one, else of the extremum."""

    def value(mp: Any, e: Expr, x: Array) -> Array:
        def place(group: Sequence[Any]) -> int:
            row = _plain(group)
            lost = [i for i, v in enumerate(row) if v != v]
            return lost[0] if lost else row.index(best(row))

        return over_axes(mp, e, x, place)

    return value


def _one_hot(mp: Any, e: Expr, labels: Array) -> Array:
    axis, size = e.params["axis"], e.params["size"]
    classes = np.arange(size).reshape((size,) + (1,) * (labels.ndim - axis))
    return numbers(mp, (np.expand_dims(labels, axis) == classes).astype(e.dtype))


def _einsum(mp: Any, e: Expr, *operands: Array) -> Array:
    indices, out = e.params["indices"], e.params["out"]
    sizes: dict[int, int] = {}
    for names, x in zip(indices, operands, strict=True):
        sizes |= dict(zip(names, x.shape, strict=True))
    summed = [i for i in sizes if i not in out]
    order = [*out, *summed]
    product: Any = mp.one if e.type.inexact else 1
    for names, x in zip(indices, operands, strict=True):
        diagonal, own = _diagonal(x, names)
        wide = [slice(None) if i in own else None for i in order]
        sorted_axes = [own.index(i) for i in order if i in own]
        product = product * np.transpose(diagonal, sorted_axes)[tuple(wide)]
    total = np.broadcast_to(product, [sizes[i] for i in order])
    count = math.prod(sizes[i] for i in summed)
    added = total.reshape((*e.shape, count)).sum(-1) if summed else total
    return typed(np.asarray(added, total.dtype).reshape(e.shape), e.dtype)


def _diagonal(x: Array, names: tuple[int, ...]) -> tuple[Array, list[int]]:
    """An operand that names an axis twice is read along its diagonal."""
    own = list(names)
    for name in dict.fromkeys(names):
        while own.count(name) > 1:
            first, second = [a for a, n in enumerate(own) if n == name][:2]
            x = np.diagonal(x, axis1=first, axis2=second)
            del own[second], own[first]
            own.append(name)
    return x, own


def _pick(mp: Any, e: Expr, x: Array, labels: Array) -> Array:
    _axis, rows = e.params["axis"], np.moveaxis(x, e.params["axis"], -1)
    size = rows.shape[-1]
    chosen = ((i, int(labels[i])) for i in np.ndindex(labels.shape))
    return filled(e.shape, (rows[i][n] if -size <= n < size else mp.nan for i, n in chosen))


def _sort(mp: Any, e: Expr, *xs: Array) -> Any:
    axis, count = e.params["dimension"], e.params["num_keys"]
    rows = [np.moveaxis(x, axis, -1) for x in xs]
    found = [r.copy() for r in rows]
    for place in np.ndindex(rows[0].shape[:-1]):
        keys = list(zip(*(_plain(r[place]) for r in rows[:count]), strict=True))
        ranked = sorted(range(len(keys)), key=lambda i, keys=keys: [(k != k, k) for k in keys[i]])
        for whole, row in zip(found, rows, strict=True):
            whole[place] = row[place][ranked]
    values = tuple(np.moveaxis(f, -1, axis) for f in found)
    return values if isinstance(e.type, tuple) else values[0]


def _top_k(mp: Any, e: Expr, x: Array) -> tuple[Array, Array]:
    axis, places = e.params["axis"], e.types[1]
    rows = np.moveaxis(x, axis, -1)
    found = [np.empty((*rows.shape[:-1], e.params["k"]), d) for d in (x.dtype, places.dtype)]
    for place in np.ndindex(rows.shape[:-1]):
        row = _plain(rows[place])
        best = sorted(range(len(row)), key=lambda i, row=row: (row[i] == row[i], -row[i], i))
        found[1][place] = best[: e.params["k"]]
        found[0][place] = rows[place][found[1][place]]
    return np.moveaxis(found[0], -1, axis), np.moveaxis(found[1], -1, axis)


def _triangle(keeps: Callable[[Array, int], Array]) -> Value:
    def value(mp: Any, e: Expr, x: Array) -> Array:
        inside = keeps(np.ones(e.shape[-2:], bool), e.params["offset"])
        return np.where(inside, x, mp.zero if e.type.inexact else 0)

    return value


def _centered(mp: Any, e: Expr, x: Array) -> Array:
    count = math.prod(x.shape[a] for a in e.params["axes"])
    return x - np.sum(x, e.params["axes"], keepdims=True) / count if count else x


def _squared_deviations(mp: Any, e: Expr, x: Array) -> Array:
    return over_axes(mp, e, _centered(mp, e, x) ** 2, lambda group: sum(group, mp.zero))


def _common_point(mp: Any, e: Expr, x: Array, y: Array) -> Array:
    rows = np.concatenate([x, y], -2)
    mean = np.sum(rows, -2, keepdims=True) / rows.shape[-2]
    nearer = np.sum((rows - mean) ** 2, -1) <= np.sum(rows**2, -1)
    return np.where(np.all(nearer, -1)[..., None], np.squeeze(mean, -2), mp.zero)


def _squared_distances(mp: Any, e: Expr, x: Array, y: Array) -> Array:
    return np.sum((x[..., :, None, :] - y[..., None, :, :]) ** 2, -1)


def _product_by_logs(mp: Any, e: Expr, x: Array) -> Array:
    def combine(group: Sequence[Any]) -> Any:
        return (
            mp.nan if any(v < 0 for v in group) else functools.reduce(operator.mul, group, mp.one)
        )

    return over_axes(mp, e, x, combine)


def _power_of_product(mp: Any, e: Expr, x: Array) -> Array:
    def combine(group: Sequence[Any]) -> Any:
        product = functools.reduce(operator.mul, group, mp.one)
        return mp.power(product, e.params["exponent"]) if product >= 0 else mp.nan

    return over_axes(mp, e, x, combine)


def _product_of_others_by_logs(mp: Any, e: Expr, x: Array) -> Array:
    def at(place: tuple[int, ...]) -> Any:
        others = x.copy()
        others[place] = mp.one
        where = (slice(None) if a in e.params["axes"] else i for a, i in enumerate(place))
        group = others[tuple(where)].ravel()
        return mp.nan if x[place] < 0 or any(group < 0) else np.prod(group)

    return filled(x.shape, map(at, np.ndindex(x.shape)))


ARRAYS: Mapping[Op, Value] = {
    literal: lambda mp, e: numbers(mp, e.params["value"].value),
    captured: lambda mp, e: numbers(mp, jax.device_get(e.params["array"].array)),
    item: lambda mp, e, x: x[e.params["index"]],
    shape.broadcast: moved(_broadcast),
    shape.reshape_op: moved(lambda e, x: x.reshape(e.shape)),
    shape.transpose: moved(lambda e, x: np.transpose(x, e.params["permutation"])),
    shape.slice_: moved(lambda e, x: x[_slices(e)]),
    shape.reverse: moved(lambda e, x: np.flip(x, e.params["axes"])),
    shape.concatenate: lambda mp, e, *xs: np.concatenate(xs, e.params["axis"]),
    shape.pad: _pad,
    shape.iota: _iota,
    shape.reduce_sum: _fold(add, lambda mp: mp.zero),
    norm.unit_op: lambda mp, e, x, y: x * np.expand_dims(y, e.params["axes"]),
    norm.cosine_op: lambda mp, e, x, y, i, j: np.asarray(
        np.sum(x * y, e.params["axes"]) * i * j, object
    ),
    norm.norm: lambda mp, e, x: over_axes(mp, e, x, functools.partial(_length, mp)),
    reduce.reduce_prod: _fold(mul, lambda mp: mp.one),
    reduce.reduce_max: _extremum(pointwise.maximum),
    reduce.reduce_min: _extremum(pointwise.minimum),
    reduce.reduce_and: _extremum(pointwise.and_),
    reduce.reduce_or: _extremum(pointwise.or_),
    reduce.reduce_xor: _extremum(pointwise.xor),
    reduce.argmax: _argument(max),
    reduce.argmin: _argument(min),
    reduce.logsumexp: lambda mp, e, x: over_axes(mp, e, x, functools.partial(_logsumexp, mp)),
    entropy.masked_logsumexp: lambda mp, e, x: over_axes(
        mp, e, x, functools.partial(_logsumexp, mp)
    ),
    **ALONG_AXES,
    moments.centered: _centered,
    distances.common_point: _common_point,
    distances.squared_distances: _squared_distances,
    products.product_by_logs: _product_by_logs,
    products.power_of_product: _power_of_product,
    products.product_of_others_by_logs: _product_of_others_by_logs,
    moments.squared_deviations: _squared_deviations,
    **dict.fromkeys((reduce.softmax, entropy.masked_softmax), _by_rows(_softmax)),
    reduce.softmax_slope: _softmax_slope,
    reduce.log_softmax_slope: _log_softmax_slope,
    odds.log_odds_op: _by_rows(_log_odds),
    odds.one_minus_softmax_op: _by_rows(_one_minus_softmax),
    entropy.masked_weights_op: _by_rows(_weights),
    **dict.fromkeys((reduce.log_softmax, entropy.masked_log_softmax), _by_rows(_log_softmax)),
    reduce.cumsum: _accumulate(add),
    reduce.cumprod: _accumulate(mul),
    cumulative.cummax: _accumulate(pointwise.maximum),
    cumulative.cummin: _accumulate(pointwise.minimum),
    cumulative.cumlogsumexp_op: _by_rows(_cumlogsumexp),
    reduce.recurrence: _recurrence,
    reduce.one_hot: _one_hot,
    contract.einsum_op: _einsum,
    pick.pick: _pick,
    order.sort: _sort,
    order.top_k: _top_k,
    matrix.tril: _triangle(np.tril),
    matrix.triu: _triangle(np.triu),
    matrix.eye: lambda mp, e: numbers(mp, np.eye(e.shape[0]).astype(e.dtype)),
}
