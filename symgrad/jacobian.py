"""Jacobians: one row or column for every entry, all of them in one batched evaluation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from symgrad.derive import Slot, pullback, pushforward
from symgrad.expr import Expr, Type, fresh
from symgrad.ops.batch import batched
from symgrad.ops.pointwise import convert, eq
from symgrad.ops.shape import broadcast, iota, reshape, transpose
from symgrad.walk import Origin, Origins, mark

INDEX = np.dtype("int32")


def basis(type: Type) -> Expr:
    """All unit arrays of a type, stacked along a new first axis."""
    n = type.size
    counter = iota(shape=(n,), dtype=INDEX, axis=0)
    rows = broadcast(counter, shape=(n, n), axes=(0,))
    columns = broadcast(counter, shape=(n, n), axes=(1,))
    identity = convert(eq(rows, columns), dtype=type.dtype)
    return reshape(identity, shape=(n, *type.shape))


def forward_jacobian(
    outputs: Sequence[Expr], x: Expr, origins: Origins, made: Origins
) -> list[Slot]:
    """d output / d x for every output, of shape `output.shape + x.shape`; None if zero.

    Args:
        origins: of the outputs and the nodes below.
        made: filled with the origins of the nodes that are made.
    """
    tangent = fresh(x.type)
    pushed = pushforward(outputs, [x], [tangent], origins, made)
    rows = batched([tangent], [p for p in pushed if p is not None], [basis(x.type)], x.type.size)
    found = iter(rows)
    blocks = [None if p is None else _first_axis_last(next(found), x.shape) for p in pushed]
    mark(made, [b for b in blocks if b is not None], Origin(backward=True), origins)
    return blocks


def reverse_jacobian(
    output: Expr, wrt: Sequence[Expr], origins: Origins, made: Origins
) -> list[Slot]:
    """d output / d x for every x; arguments and shapes as for `forward_jacobian`."""
    cotangent = fresh(output.type)
    pulled = pullback([output], [cotangent], wrt, origins, made)
    rows = batched(
        [cotangent], [p for p in pulled if p is not None], [basis(output.type)], output.type.size
    )
    found = iter(rows)
    blocks = [
        None if p is None else reshape(next(found), shape=(*output.shape, *x.shape))
        for p, x in zip(pulled, wrt, strict=True)
    ]
    mark(made, [b for b in blocks if b is not None], Origin(backward=True), origins)
    return blocks


def _first_axis_last(rows: Expr, shape: tuple[int, ...]) -> Expr:
    own = rows.shape[1:]
    moved = transpose(rows, permutation=(*range(1, rows.ndim), 0))
    return reshape(moved, shape=(*own, *shape))
