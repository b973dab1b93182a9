"""One entry from each row: what a loss reads off at the true class."""

from __future__ import annotations

import jax
import numpy as np

from symgrad.errors import ShapeError
from symgrad.expr import Expr, Linear, Op, Type, no_flops
from symgrad.ops.pointwise import lt, select
from symgrad.ops.reduce import one_hot
from symgrad.ops.shape import expand


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return (*shape[:axis], *shape[axis + 1 :])


def _pick_type(x: Type, labels: Type, *, axis: int) -> Type:
    if labels.shape != _without(x.shape, axis):
        raise ShapeError(f"labels of shape {labels.shape} along axis {axis} of {x.shape}")
    return x.with_shape(labels.shape)


def _pick_source(e: Expr) -> str:
    axis, ndim = e.params["axis"], e.args[0].ndim
    if ndim == 1:
        return 'x.at[y].get(mode="fill")'
    column = ", ".join("None" if a == axis else ":" for a in range(ndim))
    entry = ", ".join("0" if a == axis else ":" for a in range(ndim))
    return f"jnp.take_along_axis(x, y[{column}], axis={axis})[{entry}]"


def from_start(labels: Expr, size: int) -> Expr:
    """Labels with negative ones counted from the end."""
    if jax.dtypes.issubdtype(labels.dtype, np.unsignedinteger):
        return labels
    return select(lt(labels, 0), labels + size, labels)


def _pick_adjoint(g: Expr, y: Expr, x: Expr, labels: Expr) -> Expr:
    """The cotangent goes where the entry came from: a one-hot row times the cotangent."""
    axis = y.params["axis"]
    size = x.shape[axis]
    place = from_start(labels, size)
    hot = one_hot(place, axis=axis, size=size, dtype=x.dtype, within=True)
    return hot * expand(g, (axis,), x.shape)


pick = Op(
    "pick",
    _pick_type,
    _pick_source,
    Linear(_pick_adjoint),
    params=("axis",),
    flops=no_flops,
)
"""`x[..., labels, ...]`, one label for each row along `axis`.

Negative labels count from the end; a label out of range gives nan, so the derivative, which
is zero as in JAX until other laws apply, may take labels to be in range.
"""
