"""Laws about axes: what only moves entries composes, cancels, or is absorbed by its user."""

from __future__ import annotations

import math

import numpy as np

from symgrad.expr import Expr, div, literal, mul, neg
from symgrad.ops.contract import einsum, is_einsum
from symgrad.ops.contract import einsum_op as einsum_root
from symgrad.ops.cumulative import cumlogsumexp_op, cummax, cummin
from symgrad.ops.pointwise import (
    ELEMENTWISE,
    convert,
    convert_op,
    is_widening,
)
from symgrad.ops.reduce import cumprod, cumsum, reduce_prod
from symgrad.ops.shape import (
    broadcast,
    concatenate,
    iota,
    pad,
    reduce_sum,
    reshape,
    reshape_op,
    reverse,
    slice_,
    spread,
    transpose,
)
from symgrad.pattern import rewrites


@rewrites(broadcast, exact=True)
def broadcast_to_same_shape(e: Expr) -> Expr | None:
    """broadcast(x) = x where nothing changes"""
    (x,) = e.args
    return x if x.shape == e.shape and e.params["axes"] == tuple(range(e.ndim)) else None


@rewrites(broadcast, exact=True)
def broadcast_of_broadcast(e: Expr) -> Expr | None:
    """broadcast(broadcast(x)) = broadcast(x)"""
    (inner,) = e.args
    if inner.op is not broadcast:
        return None
    axes = tuple(e.params["axes"][a] for a in inner.params["axes"])
    return broadcast(inner.args[0], shape=e.shape, axes=axes)


@rewrites(broadcast, exact=True)
def broadcast_of_unit_axes(e: Expr) -> Expr | None:
    """broadcast(x[:, None]) = broadcast(x): an axis of size 1 need not exist to be repeated"""
    (x,) = e.args
    kept = tuple(i for i, n in enumerate(x.shape) if n != 1)
    if len(kept) == x.ndim or x.op is literal:
        return None
    axes = tuple(e.params["axes"][i] for i in kept)
    flat = reshape(x, shape=tuple(x.shape[i] for i in kept))
    return broadcast(flat, shape=e.shape, axes=axes)


@rewrites(reshape_op, exact=True)
def reshape_of_reshape(e: Expr) -> Expr | None:
    """reshape(reshape(x)) = reshape(x)"""
    (x,) = e.args
    if x.op is reshape_op:
        return reshape(x.args[0], shape=e.shape)
    return x if x.shape == e.shape else None


@rewrites(reshape_op, exact=True)
def reshape_of_repeated_unit_axes(e: Expr) -> Expr | None:
    """reshape(x[None, :]) = reshape(x)"""
    (inner,) = e.args
    if inner.op is not broadcast or inner.type.size != inner.args[0].type.size:
        return None
    axes = inner.params["axes"]
    return reshape(inner.args[0], shape=e.shape) if list(axes) == sorted(axes) else None


@rewrites(reshape_op, exact=True)
def reshape_of_uniform(e: Expr) -> Expr | None:
    """reshape(full(c)) = full(c)"""
    (x,) = e.args
    scalar = x.op is broadcast and x.args[0].ndim == 0
    return spread(x.args[0], e.shape) if scalar else None


@rewrites(transpose, exact=True)
def transpose_of_transpose(e: Expr) -> Expr | None:
    """(xᵀ)ᵀ = x"""
    (x,) = e.args
    permutation = e.params["permutation"]
    if permutation == tuple(range(e.ndim)):
        return x
    if x.op is transpose:
        inner = x.params["permutation"]
        return transpose(x.args[0], permutation=tuple(inner[p] for p in permutation))
    return None


@rewrites(transpose, exact=True)
def transpose_of_product(e: Expr) -> Expr | None:
    """(A B)ᵀ is a product with its result axes in another order"""
    (x,) = e.args
    if not is_einsum(x):
        return None
    out = tuple(x.params["out"][p] for p in e.params["permutation"])
    return einsum(*x.args, **{**x.params, "out": out})


@rewrites(einsum_root, exact=True)
def product_of_transposes(e: Expr) -> Expr | None:
    """A product reads a transposed operand in the order it lies in memory"""
    if not any(a.op is transpose for a in e.args):
        return None
    operands, indices = [], []
    for arg, names in zip(e.args, e.params["indices"], strict=True):
        if arg.op is transpose:
            permutation = arg.params["permutation"]
            names = tuple(names[permutation.index(i)] for i in range(len(names)))
            arg = arg.args[0]
        operands.append(arg)
        indices.append(names)
    return einsum(*operands, **{**e.params, "indices": tuple(indices)})


@rewrites(reduce_sum, exact=True)
def sum_over_no_entries_to_add(e: Expr) -> Expr | None:
    """A sum over axes of size 1 drops the axes"""
    (x,) = e.args
    return reshape(x, shape=e.shape) if all(x.shape[a] == 1 for a in e.params["axes"]) else None


@rewrites(reduce_sum, exact=False)
def sum_of_sum(e: Expr) -> Expr | None:
    """Σᵢ Σⱼ x = Σᵢⱼ x"""
    (inner,) = e.args
    if inner.op is not reduce_sum:
        return None
    first = inner.params["axes"]
    kept = [i for i in range(inner.args[0].ndim) if i not in first]
    axes = tuple(sorted((*first, *(kept[a] for a in e.params["axes"]))))
    return reduce_sum(inner.args[0], axes=axes)


@rewrites(reduce_sum, exact=False)
def sum_of_repeated(e: Expr) -> Expr | None:
    """Σ over n equal entries = n x"""
    (inner,) = e.args
    if inner.op is not broadcast or not e.type.inexact:
        return None
    (x,) = inner.args
    axes = inner.params["axes"]
    repeated = [
        a
        for a in e.params["axes"]
        if a not in axes or (x.shape[axes.index(a)] == 1 and inner.shape[a] != 1)
    ]
    if not repeated or not inner.type.size:
        return None
    count = math.prod(inner.shape[a] for a in repeated)
    dropped = tuple(i for i, a in enumerate(axes) if a in e.params["axes"])
    total = reduce_sum(x, axes=dropped) if dropped else x
    kept = [a for a in range(inner.ndim) if a not in e.params["axes"]]
    own = tuple(kept.index(a) for a in axes if a in kept)
    return broadcast(total * count, shape=e.shape, axes=own)


@rewrites(*ELEMENTWISE, exact=True)
def scalars_reach_every_entry(e: Expr) -> Expr | None:
    """An operand with one value everywhere may stay a scalar"""
    args = list(e.args)
    for i, arg in enumerate(args):
        if arg.op is broadcast and arg.args[0].ndim == 0:
            others = [a.shape for j, a in enumerate(args) if j != i]
            if any(shape == e.shape for shape in others):
                args[i] = arg.args[0]
    return e.op(*args, **e.params) if tuple(args) != e.args else None


@rewrites(*ELEMENTWISE, exact=True)
def one_value_everywhere(e: Expr) -> Expr | None:
    """f(full(a), full(b)) = full(f(a, b))"""
    scalars = [a.args[0] if a.op is broadcast and a.args[0].ndim == 0 else a for a in e.args]
    if not e.ndim or any(s.ndim for s in scalars):
        return None
    return spread(e.op(*scalars, **e.params), e.shape)


def _is_scaling(e: Expr) -> bool:
    """Signs and literal factors travel outward while terms are collected."""
    return e.op is neg or (e.op in (mul, div) and any(a.op is literal for a in e.args))


@rewrites(*ELEMENTWISE, exact=True)
def compute_before_repeating(e: Expr) -> Expr | None:
    """f(broadcast(x)) = broadcast(f(x)): each value is computed once"""
    return None if _is_scaling(e) else _computed_before_repeating(e)


@rewrites(neg, mul, div, exact=True)
def scale_before_repeating(e: Expr) -> Expr | None:
    """c broadcast(x) = broadcast(c x)"""
    return _computed_before_repeating(e) if _is_scaling(e) else None


def _computed_before_repeating(e: Expr) -> Expr | None:
    repeated = next((a for a in e.args if a.op is broadcast and a.args[0].op is not literal), None)
    if repeated is None:
        return None
    axes, shape = repeated.params["axes"], repeated.args[0].shape
    operands = []
    for a in e.args:
        same = a.op is broadcast and a.params["axes"] == axes and a.args[0].shape == shape
        scalar = a.op is broadcast and a.args[0].ndim == 0
        if not (same or scalar or a.ndim == 0):
            return None
        operands.append(a.args[0] if same or scalar else a)
    inner = e.op(*operands, **e.params)
    return broadcast(inner, shape=e.shape, axes=axes) if inner.shape == shape else None


@rewrites(iota, exact=True)
def counting_is_one_dimensional(e: Expr) -> Expr | None:
    """A counter along one axis of many is a repeated vector"""
    axis = e.params["axis"]
    if e.ndim == 1:
        return None
    counter = iota(shape=(e.shape[axis],), dtype=e.dtype, axis=0)
    return broadcast(counter, shape=e.shape, axes=(axis,))


@rewrites(convert_op, exact=True)
def convert_of_convert(e: Expr) -> Expr | None:
    """A conversion by way of a wider type is the direct conversion"""
    (inner,) = e.args
    if inner.op is not convert_op or not is_widening(inner.args[0].dtype, inner.dtype):
        return None
    return convert(inner.args[0], **e.params)


@rewrites(convert_op, exact=True)
def reduction_in_half_precision(e: Expr) -> Expr | None:
    """sum(x.astype(float32)).astype(x.dtype) = sum(x), which adds up in single precision"""
    (whole,) = e.args
    if whole.op not in (reduce_sum, reduce_prod) or whole.args[0].op is not convert_op:
        return None
    (x,) = whole.args[0].args
    half = e.type.real and e.dtype.itemsize == 2 and whole.dtype == np.float32
    return whole.op(x, **whole.params) if half and x.dtype == e.dtype else None


@rewrites(slice_, exact=True)
def slice_of_everything(e: Expr) -> Expr | None:
    """x[:] = x"""
    return e.args[0] if e.shape == e.args[0].shape else None


@rewrites(slice_, exact=True)
def slice_of_slice(e: Expr) -> Expr | None:
    """x[a:b][c:d] is one slice of x"""
    (inner,) = e.args
    if inner.op is not slice_ or not e.type.size:
        return None
    outer, own = e.params, inner.params
    start = tuple(
        a + c * s for a, c, s in zip(own["start"], outer["start"], own["step"], strict=True)
    )
    step = tuple(s * t for s, t in zip(own["step"], outer["step"], strict=True))
    stop = tuple(
        a + (n - 1) * t + 1 if n else a for a, n, t in zip(start, e.shape, step, strict=True)
    )
    return slice_(inner.args[0], start=start, stop=stop, step=step)


def _part(e: Expr) -> Expr | None:
    """What a slice of a concatenation reads, if it is all in one part."""
    (joined,) = e.args
    axis, offset = joined.params["axis"], 0
    start, stop = e.params["start"][axis], e.params["stop"][axis]
    for part in joined.args:
        size = part.shape[axis]
        if offset <= start and stop <= offset + size:
            moved = {
                name: tuple(n - offset * (a == axis) for a, n in enumerate(e.params[name]))
                for name in ("start", "stop")
            }
            return slice_(part, **moved, step=e.params["step"])
        offset += size
    return None


@rewrites(slice_, exact=True)
def slice_of_concatenate(e: Expr) -> Expr | None:
    """A slice of one part of a concatenation is a slice of that part"""
    return _part(e) if e.args[0].op is concatenate else None


@rewrites(slice_, exact=True)
def slice_before_computing(e: Expr) -> Expr | None:
    """f(x)[a:b] = f(x[a:b]) where x was concatenated from parts that the slice tells apart"""
    (computed,) = e.args
    if not computed.op.elementwise:
        return None
    full_size = [a for a in computed.args if a.ndim]
    slices = {a: slice_(a, **e.params) for a in full_size}
    if not any(a.op is concatenate and _part(slices[a]) is not None for a in full_size):
        return None
    return computed.op(*(slices.get(a, a) for a in computed.args), **computed.params)


@rewrites(pad, exact=True)
def pad_by_nothing(e: Expr) -> Expr | None:
    """pad(x, 0) = x"""
    p = e.params
    return None if any((*p["low"], *p["high"], *p["interior"])) else e.args[0]


@rewrites(concatenate, exact=True)
def concatenate_one(e: Expr) -> Expr | None:
    """concatenate([x]) = x; empty parts disappear"""
    full_parts = [a for a in e.args if a.shape[e.params["axis"]]]
    if len(e.args) == 1:
        return e.args[0]
    if not full_parts or len(full_parts) == len(e.args):
        return None
    return concatenate(*full_parts, axis=e.params["axis"])


@rewrites(reverse, exact=True)
def reverse_of_reverse(e: Expr) -> Expr | None:
    """flip(flip(x)) = x"""
    (x,) = e.args
    same = x.op is reverse and x.params["axes"] == e.params["axes"]
    return x.args[0] if same else None


RUNNING = (cumsum, cumprod, cummax, cummin, cumlogsumexp_op)


@rewrites(reverse, exact=False)
def reverse_of_running(e: Expr) -> Expr | None:
    """flip(cumsum(flip(x))) = cumsum(x) from the end, and so for all that runs along an axis"""
    (total,) = e.args
    if total.op not in RUNNING or e.params["axes"] != (total.params["axis"],):
        return None
    (x,), backwards = total.args, not total.params["reverse"]
    if x.op is not reverse or x.params["axes"] != e.params["axes"]:
        return None
    return total.op(*x.args, axis=total.params["axis"], reverse=backwards)
