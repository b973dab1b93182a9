"""Angles between unit vectors, which their inner product knows nothing of where it is near 1."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from symgrad.expr import Expr, captured, div, mul
from symgrad.ops.contract import inner_axes
from symgrad.ops.norm import norm
from symgrad.ops.pointwise import arccos, arctan2, convert_op, sqrt
from symgrad.ops.shape import broadcast, reduce_sum
from symgrad.pattern import rewrites
from symgrad.structure import entries, is_nonnegative, sums_to_one


@rewrites(arccos, exact=False, protects="the slope of arccos at 1")
def angle_between_unit_vectors(e: Expr) -> Expr | None:
    """arccos(u · v) = 2 arctan2(|u - v|, |u + v|) for unit vectors u and v (W. Kahan)"""
    found = _inner_product(e.args[0])
    if found is None or not e.type.real:
        return None
    u, v, axis = found
    if not (_is_unit(u, axis) and _is_unit(v, axis)):
        return None
    apart, together = norm(u - v, axes=(axis,)), norm(u + v, axes=(axis,))
    return 2 * arctan2(apart, together)


def _inner_product(e: Expr) -> tuple[Expr, Expr, int] | None:
    """Two arrays of vectors, and the axis along which their products are added."""
    if e.op is reduce_sum and len(e.params["axes"]) == 1 and e.args[0].op is mul:
        u, v = e.args[0].args
        return (u, v, e.params["axes"][0]) if u.shape == v.shape else None
    axes = inner_axes(e)
    if axes is None or len(axes) != 1:
        return None
    u, v = e.args
    return u, v, axes[0]


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
