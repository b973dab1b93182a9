"""Angles between unit vectors, which their inner product knows nothing of where it is near 1."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from symgrad.expr import Expr, captured, div, mul
from symgrad.ops.contract import einsum_op, inner_axes
from symgrad.ops.norm import cosine_op, norm, unit_op
from symgrad.ops.pointwise import arccos, arctan2, convert_op, maximum, minimum, sqrt
from symgrad.ops.shape import broadcast, reduce_sum, uniform_value
from symgrad.pattern import rewrites
from symgrad.structure import entries, is_nonnegative, sums_to_one


@rewrites(arccos, exact=False, protects="the slope of arccos at 1")
def angle_between_unit_vectors(e: Expr) -> Expr | None:
    """arccos(u · v) = 2 arctan2(|u - v|, |u + v|) for unit vectors u and v (W. Kahan)"""
    found = _unit_vectors(_unclipped(e.args[0])) if e.type.real else None
    if found is None:
        return None
    u, v, axes = found
    return 2 * arctan2(norm(u - v, axes=axes), norm(u + v, axes=axes))


def _unit_vectors(e: Expr) -> tuple[Expr, Expr, tuple[int, ...]] | None:
    """Two arrays of unit vectors of which `e` are the inner products, and the axes of these."""
    if e.op is cosine_op:
        x, y, inverse, other = e.args
        axes = e.params["axes"]
        return unit_op(x, inverse, axes=axes), unit_op(y, other, axes=axes), axes
    found = _inner_product(e)
    if found is None:
        return None
    u, v, axis = found
    return (u, v, (axis,)) if _is_unit(u, axis) and _is_unit(v, axis) else None


def _unclipped(e: Expr) -> Expr:
    """What is kept between -1 and 1, where it is already."""
    while e.op in (maximum, minimum):
        bound = 1 if e.op is minimum else -1
        inside = [a for a in e.args if uniform_value(a) != bound]
        if len(inside) != 1 or inside[0].shape != e.shape:
            break
        (e,) = inside
    return e


def _inner_product(e: Expr) -> tuple[Expr, Expr, int] | None:
    """Two arrays of vectors, and the axis along which their products are added."""
    if e.op is reduce_sum and len(e.params["axes"]) == 1 and e.args[0].op is mul:
        u, v = e.args[0].args
        return (u, v, e.params["axes"][0]) if u.shape == v.shape else None
    if e.op is not einsum_op or len(e.args) != 2:
        return None
    axes = inner_axes(e)
    if axes is not None:
        return (*e.args, axes[0]) if len(axes) == 1 else None
    return _with_one_vector(e)


def _with_one_vector(e: Expr) -> tuple[Expr, Expr, int] | None:
    """The same for products of many vectors with one, which is repeated."""
    (many, one), (names, own) = e.args, e.params["indices"]
    if len(own) > len(names):
        (one, many), (own, names) = e.args, e.params["indices"]
    out = e.params["out"]
    summed = [n for n in names if n not in out]
    if len(summed) != 1 or tuple(n for n in names if n in out) != out or many.dtype != e.dtype:
        return None
    order = [names.index(n) for n in own if n in names]
    if len(order) != len(own) or order != sorted(set(order)) or summed[0] not in own:
        return None
    return many, broadcast(one, shape=many.shape, axes=tuple(order)), names.index(summed[0])


def _is_unit(x: Expr, axis: int) -> bool:
    """Whether the vectors along an axis have length 1."""
    while x.op is broadcast or x.op is convert_op:
        if x.op is convert_op:
            (x,) = x.args
            continue
        if axis not in x.params["axes"]:
            return False
        count, axis = x.shape[axis], x.params["axes"].index(axis)
        (x,) = x.args
        if x.shape[axis] != count:
            return False
    if x.op is unit_op:
        return x.params["axes"] == (axis,)
    if x.op is sqrt:
        (p,) = x.args
        return is_nonnegative(p) and _is_distribution(p, axis)
    return x.op is div and _is_length(x.args[1], x.args[0], axis)


def _is_length(size: Expr, x: Expr, axis: int) -> bool:
    """Whether `size` is the length of each vector along an axis of `x`, beside its entries."""
    if size.op is broadcast:
        if size.params["axes"] != tuple(a for a in range(x.ndim) if a != axis):
            return False
        (size,) = size.args
    return size.op is norm and size.args[0] is x and size.params["axes"] == (axis,)


def _is_distribution(p: Expr, axis: int) -> bool:
    if p.op is not captured:
        return sums_to_one(p, axis)
    values = entries(p)
    if values is None or not values.size:
        return False
    largest = values.shape[axis] * float(jnp.finfo(values.dtype).eps)
    return bool(np.all(np.abs(values.sum(axis, dtype=np.float64) - 1) <= largest))
