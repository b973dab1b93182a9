"""What primitives meant: softmax and its relatives, recognised however they were written.

Each law holds wherever both sides are finite, and the lifted operation is finite
wherever its mathematical value is. A lifted operation has its own derivative
fact, which is why the gradient of a cross-entropy becomes q - p.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import numpy as np

from symgrad.expr import Expr, Op, add, div, mul, neg, sub
from symgrad.laws.moves import unmoved
from symgrad.laws.terms import SPREADING
from symgrad.ops.index import gather_fill, gather_op
from symgrad.ops.indexing import PROMISE, Indexing, rows
from symgrad.ops.pick import from_start, pick
from symgrad.ops.pointwise import (
    abs_,
    and_,
    convert,
    convert_op,
    eq,
    exp,
    expm1,
    ge,
    log,
    log1p,
    logaddexp,
    logistic,
    lt,
    maximum,
    select,
    softplus,
    stop_gradient,
    tanh,
)
from symgrad.ops.reduce import (
    log_softmax,
    logsumexp,
    one_hot,
    reduce_max,
    reduce_sum,
    softmax,
)
from symgrad.ops.shape import (
    broadcast,
    expand,
    full,
    iota,
    kept_along,
    reshape,
    reshape_op,
    transpose,
)
from symgrad.pattern import equation, rewrites


@equation(exact=False, protects="overflow of exp")
def logistic_from_reciprocal(x):
    return 1 / (1 + exp(-x)), logistic(x)


@equation(exact=False, protects="overflow of exp")
def logistic_of_minus_from_reciprocal(x):
    return 1 / (1 + exp(x)), logistic(-x)


@equation(exact=False, protects="overflow of exp over itself")
def logistic_from_ratio(x):
    return exp(x) / (1 + exp(x)), logistic(x)


@equation(exact=False, protects="overflow of exp over itself")
def logistic_of_minus_from_ratio(x):
    return exp(-x) / (1 + exp(-x)), logistic(-x)


@equation(exact=False)
def logistic_from_tanh(x):
    return 0.5 * (tanh(x * 0.5) + 1), logistic(x)


@equation(exact=False)
def logistic_from_tanh_of_half(x):
    return (tanh(x / 2) + 1) / 2, logistic(x)


@equation(exact=False, protects="overflow of exp")
def softplus_from_log(x):
    return log(1 + exp(x)), softplus(x)


@equation(exact=False, protects="overflow of exp")
def softplus_from_log1p(x):
    return log1p(exp(x)), softplus(x)


@equation(exact=False)
def softplus_from_logaddexp(x):
    return logaddexp(x, 0), softplus(x)


@equation(exact=False, protects="a wrong derivative at the kink of max and abs")
def softplus_from_kinks(x):
    return maximum(x, 0) + log1p(exp(-abs_(x))), softplus(x)


@equation(exact=False, protects="log of a logistic function that is 0")
def log_of_logistic(x):
    return log(logistic(x)), -softplus(-x)


@equation(exact=False, protects="cancellation where exp(x) is near 1")
def exp_minus_one(x):
    return exp(x) - 1, expm1(x)


@equation(exact=False, protects="cancellation in the derivative")
def exp_of_minus_softplus(x):
    return exp(-softplus(x)), logistic(-x)


@equation(exact=False)
def exp_of_log_softmax(x, axis):
    return exp(log_softmax(x, axis=axis)), softmax(x, axis=axis)


@equation(exact=False)
def log_softmax_of_log_softmax(x, axis):
    return log_softmax(log_softmax(x, axis=axis), axis=axis), log_softmax(x, axis=axis)


@equation(exact=False)
def softmax_of_log_softmax(x, axis):
    return softmax(log_softmax(x, axis=axis), axis=axis), softmax(x, axis=axis)


@equation(exact=False, protects="log of a weight that is 0")
def log_of_softmax(x, axis):
    return log(softmax(x, axis=axis)), log_softmax(x, axis=axis)


def _reduced_axis(e: Expr) -> int | None:
    """The axis of a reduction over one axis."""
    axes = e.params["axes"]
    return axes[0] if len(axes) == 1 else None


@rewrites(div, exact=False, protects="overflow of exp over itself")
def softmax_from_ratio(e: Expr) -> Expr | None:
    """exp(x) / Σ exp(x) = softmax(x)"""
    top, bottom = e.args
    axes = summed_axes(bottom, top) if top.op is exp else None
    return None if axes is None else along_axes(softmax, top.args[0], axes)


def summed_axes(e: Expr, x: Expr) -> tuple[int, ...] | None:
    """The axes that `x` is summed over in `e`, which repeats the sum along them."""
    whole = e
    while whole.op in SPREADING:
        (whole,) = whole.args
    if whole.op is not reduce_sum or whole.args[0] is not x:
        return None
    axes, found = whole.params["axes"], e
    if whole.type.size == 1:
        return axes
    for axis in sorted(axes, reverse=True):
        kept = kept_along(found, axis)
        if kept is None:
            return None
        found = kept
    return axes if found is whole else None


def along_axes(op: Op, x: Expr, axes: Sequence[int]) -> Expr:
    """softmax, log_softmax over several axes, as of one; those with one entry do not matter."""
    longer = [a for a in axes if x.shape[a] != 1] or axes[:1]
    if len(longer) == 1:
        return op(x, axis=longer[0])
    kept = [a for a in range(x.ndim) if a not in longer]
    order = (*kept, *longer)
    merged = x if order == tuple(range(x.ndim)) else transpose(x, permutation=order)
    count = math.prod(x.shape[a] for a in longer)
    flat = reshape(merged, shape=(*(x.shape[a] for a in kept), count))
    found = reshape(op(flat, axis=len(kept)), shape=merged.shape)
    back = tuple(order.index(a) for a in range(x.ndim))
    return found if merged is x else transpose(found, permutation=back)


@rewrites(softmax, log_softmax, exact=False)
def softmax_is_shift_invariant(e: Expr) -> Expr | None:
    """softmax(x - c) = softmax(x) for c constant along the axis"""
    unshifted = _without_shift(e.args[0], e.params["axis"])
    return None if unshifted is None else e.op(unshifted[0], axis=e.params["axis"])


def _without_shift(x: Expr, axis: int) -> tuple[Expr, Expr] | None:
    """`x = y - c` with c constant along the axis, given as y and c without that axis."""
    if x.op is neg:
        found = _without_shift(x.args[0], axis)
        return found and (_opposite(found[0]), _opposite(found[1]))
    if x.op not in (sub, add):
        return None
    y, c = x.args
    shift = kept_along(c, axis)
    if shift is not None and y.shape == x.shape:
        return y, shift if x.op is sub else _opposite(shift)
    if x.op is add and (shift := kept_along(y, axis)) is not None and c.shape == x.shape:
        return c, _opposite(shift)
    return None


def _opposite(x: Expr) -> Expr:
    return x.args[0] if x.op is neg else -x


@rewrites(log, exact=False, protects="overflow of exp")
def logsumexp_from_log(e: Expr) -> Expr | None:
    """log Σ exp(x) = logsumexp(x), also of a sum known to be positive through abs"""
    (total,) = e.args
    total = total.args[0] if total.op is abs_ else total
    lead = total
    total = total.args[0] if total.op in (reshape_op, broadcast) else total
    if total.op is not reduce_sum or total.args[0].op is not exp or _reduced_axis(total) is None:
        return None
    found = logsumexp(total.args[0].args[0], axis=_reduced_axis(total))
    return found if lead is total else lead.op(found, **lead.params)


@rewrites(logsumexp, exact=False, protects="the difference of two infinities")
def logsumexp_of_shifted(e: Expr) -> Expr | None:
    """logsumexp(x - c) = logsumexp(x) - c for a maximum c, however it was guarded"""
    axis = e.params["axis"]
    unshifted = _without_shift(e.args[0], axis)
    if unshifted is None or not _is_guarded_maximum(unshifted[1]):
        return None
    return logsumexp(unshifted[0], axis=axis) - unshifted[1]


def _is_guarded_maximum(c: Expr) -> bool:
    """A maximum over an axis, perhaps inside stop_gradient, a select on finiteness, a reshape."""
    while c.op in (stop_gradient, select, reshape_op, broadcast, maximum, neg):
        c = c.args[1] if c.op is select or (c.op is maximum and c.args[0].ndim == 0) else c.args[0]
    return c.op is reduce_max


@rewrites(add, exact=False, protects="the difference of two infinities")
def shift_put_back(e: Expr) -> Expr | None:
    """(x - c) + c = x for a maximum c that was subtracted for stability"""
    for x, c in (e.args, e.args[::-1]):
        if x.op is sub and x.args[1] is c and _is_guarded_maximum(c):
            return x.args[0]
    return None


@rewrites(sub, exact=False, protects="overflow of exp")
def log_softmax_from_difference(e: Expr) -> Expr | None:
    """x - logsumexp(x) = log_softmax(x), also when both sides were shifted by the maximum"""
    x, normaliser = e.args
    if (axes := _logsumexp_axes(normaliser, x)) is not None:
        return along_axes(log_softmax, x, axes)
    for axis in range(e.ndim):
        total = kept_along(normaliser, axis)
        if total is None:
            continue
        if total.op is sub:
            shifted = _without_shift(x, axis)
            if shifted is None or shifted[1] is not total.args[1]:
                continue
            x, total = shifted[0], total.args[0]
        if total.op is logsumexp and total.args[0] is x and total.params["axis"] == axis:
            return log_softmax(x, axis=axis)
    return None


def _logsumexp_axes(e: Expr, x: Expr) -> tuple[int, ...] | None:
    """All axes of `x`, if `e` is the logarithm of the sum of all its exponentials."""
    _, total = unmoved(e, SPREADING)
    if total.op is not logsumexp or total.type.size != 1:
        return None
    _, entries = unmoved(total.args[0], (reshape_op, transpose))
    return tuple(range(x.ndim)) if entries is x and x.ndim else None


@rewrites(div, exact=False, protects="overflow of exp over itself")
def softmax_from_product(e: Expr) -> Expr | None:
    """(exp(x) y) / Σ exp(x) = softmax(x) y"""
    top, bottom = e.args
    if top.op is not mul:
        return None
    for factor, other in (top.args, top.args[::-1]):
        if factor.op is exp and factor.shape == e.shape:
            q = softmax_from_ratio.rewrite(factor / bottom)
            if q is not None:
                return q * other
    return None


@rewrites(gather_op, gather_fill, exact=False)
def entry_of_each_row(e: Expr) -> Expr | None:
    """x[arange(n), labels] and take_along_axis(x, labels[:, None]) pick one entry per row"""
    x, *indices = e.args
    indexing = e.params["indexing"]
    single = all(n == 1 for n in indexing.slice_sizes) and not indexing.offset_dims
    fill = e.params.get("fill_value")
    defined = indexing.mode is PROMISE or (fill is not None and np.isnan(fill.value))
    if not single or not defined or not x.type.inexact:
        return None
    axis = _free_axis(indexing, indices)
    others = () if axis is None else (*x.shape[:axis], *x.shape[axis + 1 :])
    if axis is None or e.type.size != math.prod(others):
        return None
    labels = indices[indexing.start_index_map.index(axis)]
    picked = pick(x, reshape(labels, shape=others), axis=axis)
    return reshape(picked, shape=e.shape)


@rewrites(gather_op, exact=False)
def row_of_identity(e: Expr) -> Expr | None:
    """eye(n)[labels] = one_hot(labels, n)"""
    x, *indices = e.args
    indexing = e.params["indexing"]
    identity = x.op is one_hot and x.args[0].op is iota and x.shape == x.shape[:1] * 2
    if not identity or len(indices) != 1 or indexing.mode is not PROMISE:
        return None
    (labels,) = indices
    if indexing != rows(x.shape, labels.ndim):
        return None
    place = from_start(labels, x.shape[0])
    return one_hot(place, axis=labels.ndim, size=x.shape[0], dtype=x.dtype, within=True)


def _free_axis(indexing: Indexing, indices: Sequence[Expr]) -> int | None:
    """The one axis along which an index is free; along the others the entries are in order."""
    batched = indexing.start_indices_batching_dims
    if batched:
        in_order = list(batched) == sorted(batched)
        in_order &= list(indexing.operand_batching_dims) == sorted(indexing.operand_batching_dims)
        return indexing.start_index_map[0] if in_order and len(indices) == 1 else None
    counted = [_counting_axis(i) for i in indices]
    free = [a for a, c in zip(indexing.start_index_map, counted, strict=True) if c is None]
    in_order = [c for c in counted if c is not None] == list(range(len(indices) - 1))
    ascending = list(indexing.start_index_map) == list(range(len(indices)))
    full = len(indexing.slice_sizes) == len(indices)
    return free[0] if len(free) == 1 and in_order and ascending and full else None


@rewrites(log, exact=False, protects="log of a weight that is 0")
def log_of_picked_softmax(e: Expr) -> Expr | None:
    """log(softmax(x)[label]) = log_softmax(x)[label]"""
    (entry,) = e.args
    if entry.op is not pick or entry.args[0].op is not softmax:
        return None
    q, labels = entry.args
    return pick(log_softmax(q.args[0], **q.params), labels, **entry.params)


@rewrites(log, exact=True)
def compute_before_reshaping(e: Expr) -> Expr | None:
    """f(reshape(x)) = reshape(f(x))"""
    (x,) = e.args
    return reshape(e.op(x.args[0]), shape=e.shape) if x.op is reshape_op else None


@rewrites(reduce_sum, exact=True)
def sum_of_reshaped(e: Expr) -> Expr | None:
    """The sum of all entries does not depend on their arrangement"""
    (x,) = e.args
    if x.op is not reshape_op or e.ndim:
        return None
    return reduce_sum(x.args[0], axes=tuple(range(x.args[0].ndim)))


@rewrites(reduce_sum, exact=False)
def weighted_one_hot_sums_to_weight(e: Expr) -> Expr | None:
    """Σ one_hot(label) w = w Σ one_hot(label) for a weight w of the row"""
    (product,) = e.args
    if product.op is not mul or len(e.params["axes"]) != 1:
        return None
    for hot, weight in (product.args, product.args[::-1]):
        if hot.op is one_hot and e.params["axes"] == (hot.params["axis"],):
            own = kept_along(weight, hot.params["axis"])
            return None if own is None else reduce_sum(hot, **e.params) * own
    return None


@rewrites(convert_op, exact=True)
def one_hot_from_comparison(e: Expr) -> Expr | None:
    """(labels[:, None] == arange(n)) as numbers = one_hot(labels, n)"""
    (test,) = e.args
    if test.op is not eq or not e.type.inexact:
        return None
    for labels, counter in (test.args, test.args[::-1]):
        axis = _counting_axis(counter)
        whole = jax.dtypes.issubdtype(labels.dtype, np.integer)
        found = kept_along(labels, axis) if whole and axis is not None else None
        if found is not None and axis is not None and found.ndim == e.ndim - 1:
            return one_hot(found, axis=axis, size=e.shape[axis], dtype=e.dtype, within=False)
    return None


def _counting_axis(e: Expr) -> int | None:
    """The axis along which a node counts 0, 1, 2, ..."""
    if e.op is iota:
        return e.params["axis"]
    if e.op is broadcast and e.args[0].op is iota:
        inner = e.args[0]
        position = inner.params["axis"]
        axis = e.params["axes"][position]
        return axis if inner.shape[position] == e.shape[axis] else None
    return None


@rewrites(reduce_sum, exact=False)
def softmax_sums_to_one(e: Expr) -> Expr | None:
    """Σ softmax(x) = 1 along its axis"""
    (q,) = e.args
    if q.op is not softmax or e.params["axes"] != (q.params["axis"],):
        return None
    return full(1, e.type) if q.shape[q.params["axis"]] else None


def _in_range(labels: Expr, hot: Expr) -> Expr:
    """1 for labels that `hot` has an entry for, 0 for the others, whose rows are zeros."""
    inside = and_(ge(labels, 0), lt(labels, hot.params["size"]))
    return convert(inside, dtype=hot.dtype)


@rewrites(reduce_sum, exact=True)
def one_hot_sums_to_one(e: Expr) -> Expr | None:
    """Σ one_hot(labels) = 1 for labels in range, 0 for others"""
    (hot,) = e.args
    if hot.op is not one_hot or e.params["axes"] != (hot.params["axis"],):
        return None
    return full(1, e.type) if hot.params["within"] else _in_range(hot.args[0], hot)


@rewrites(sub, exact=True)
def difference_to_one_hot(e: Expr) -> Expr | None:
    """q [label in range] - one_hot(label) = q - one_hot(label) where in range, else 0"""
    product, hot = e.args
    if product.op is not mul or hot.op is not one_hot:
        return None
    labels, axis = hot.args[0], hot.params["axis"]
    for q, factor in (product.args, product.args[::-1]):
        indicator = kept_along(factor, axis)
        if indicator is not None and indicator is _in_range(labels, hot):
            return select(expand(indicator.args[0], (axis,), e.shape), q - hot, 0)
    return None


@equation(exact=False)
def cross_entropy_of_logistic(y, z):
    return (1 - y) * logistic(z) - y * logistic(-z), logistic(z) - y


@equation(exact=False)
def likelihood_of_logistic(y, z):
    return y * logistic(-z) - (1 - y) * logistic(z), y - logistic(z)
