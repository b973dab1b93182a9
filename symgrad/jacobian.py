"""Jacobians: one row or column for every entry, all of them in one batched evaluation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from symgrad.derive import Slot, pullback, pushforward
from symgrad.expr import Expr, Type, fresh
from symgrad.ops.batch import batched
from symgrad.ops.pointwise import convert, eq
from symgrad.ops.shape import broadcast, full, iota, reduce_sum, reshape, transpose
from symgrad.ops.stacked import stacked, stacked_sums
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


def identity(type: Type) -> Expr:
    """All unit arrays of a type, stacked along as many axes as it has."""
    shape = (*type.shape, *type.shape)
    found: Expr | None = None
    for axis, n in enumerate(type.shape):
        counter = iota(shape=(n,), dtype=INDEX, axis=0)
        places = (axis, axis + type.ndim)
        same = eq(*(broadcast(counter, shape=shape, axes=(p,)) for p in places))
        ones = convert(same, dtype=type.dtype)
        found = ones if found is None else found * ones
    return full(1, type) if found is None else found


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
    present = [p for p in pushed if p is not None]
    rows = stacked([tangent], present, [identity(x.type)], x.shape)
    if rows is None:
        flat = batched([tangent], present, [basis(x.type)], x.type.size)
        rows = tuple(reshape(r, shape=(*x.shape, *r.shape[1:])) for r in flat)
    found = iter(rows)
    blocks = [None if p is None else _first_axes_last(next(found), x.ndim) for p in pushed]
    mark(made, [b for b in blocks if b is not None], Origin(backward=True), origins)
    return blocks


def reverse_jacobian(
    output: Expr, wrt: Sequence[Expr], origins: Origins, made: Origins
) -> list[Slot]:
    """d output / d x for every x; arguments and shapes as for `forward_jacobian`."""
    cotangent = fresh(output.type)
    pulled = pullback([output], [cotangent], wrt, origins, made)
    present = [p for p in pulled if p is not None]
    rows = stacked([cotangent], present, [identity(output.type)], output.shape)
    if rows is None:
        rows = batched([cotangent], present, [basis(output.type)], output.type.size)
    found = iter(rows)
    blocks = [
        None if p is None else reshape(next(found), shape=(*output.shape, *x.shape))
        for p, x in zip(pulled, wrt, strict=True)
    ]
    mark(made, [b for b in blocks if b is not None], Origin(backward=True), origins)
    return blocks


def second_derivative_sum(
    outputs: Sequence[Expr], x: Expr, origins: Origins, made: Origins
) -> list[Slot]:
    """The sum over all entries of x of the second derivative in it, of every output."""
    tangent = fresh(x.type)
    pushed = pushforward(outputs, [x], [tangent], origins, made)
    present = [p for p in pushed if p is not None]
    seconds = iter(pushforward(present, [x], [tangent], {**made, **origins}, made))
    slots = [None if p is None else next(seconds) for p in pushed]
    varying = [s for s in slots if s is not None]
    sums = stacked_sums([tangent], varying, [identity(x.type)], x.shape)
    if sums is None:
        rows = batched([tangent], varying, [basis(x.type)], x.type.size)
        sums = tuple(reduce_sum(r, axes=(0,)) for r in rows)
    found = iter(sums)
    blocks = [None if s is None else next(found) for s in slots]
    mark(made, [b for b in blocks if b is not None], Origin(backward=True), origins)
    return blocks


def _first_axes_last(rows: Expr, count: int) -> Expr:
    return transpose(rows, permutation=(*range(count, rows.ndim), *range(count)))
