"""Squared distances between all rows of two matrices, by a product of these."""

from __future__ import annotations

from typing import Any

from symgrad.errors import ShapeError
from symgrad.expr import CONSTANT, Custom, Expr, Op, Type
from symgrad.ops import accurate
from symgrad.ops.contract import einsum, natural_dtype, precision_source
from symgrad.ops.shape import expand, reduce_sum


def _point_type(x: Type, y: Type) -> Type:
    if x.shape[:-2] != y.shape[:-2] or x.shape[-1:] != y.shape[-1:]:
        raise ShapeError(f"rows of {x} and of {y}")
    shape = (*x.shape[:-2], x.shape[-1])
    return Type(shape, natural_dtype(x, y), x.weak and y.weak)


common_point = Op(
    "common_point",
    _point_type,
    "common_point(x, y)",
    CONSTANT,
    flops=lambda e: 5 * sum(x.type.size for x in e.args),
    helpers=(accurate.common_point,),
)
"""A point that all rows are nearer to than to the origin, or the origin.

It has no derivative of its own: what is computed about it does not depend on it.
"""


def _distances_type(x: Type, y: Type, *, precision: Any) -> Type:
    type = _point_type(x, y)
    return type.with_shape((*x.shape[:-1], y.shape[-2]))


def _dot(e: Expr, x: Expr, y: Expr, contract: tuple[int, int]) -> Expr:
    """The product of stacks of matrices over one of the last two axes of each."""
    names, first = tuple(range(x.ndim - 2)), x.ndim
    own = [[first, first + 1], [first + 2, first + 3]]
    own[1][contract[1]] = own[0][contract[0]]
    indices = ((*names, *own[0]), (*names, *own[1]))
    out = (*names, own[0][1 - contract[0]], own[1][1 - contract[1]])
    return einsum(x, y, indices=indices, out=out, precision=e.params["precision"])


def _to_rows(x: Expr, like: Expr) -> Expr:
    """One number for each row."""
    return expand(x, (like.ndim - 1,), like.shape)


def _pullback(g: Expr, e: Expr, x: Expr, y: Expr) -> tuple[Expr, Expr]:
    last = g.ndim - 1
    to_x = _to_rows(reduce_sum(g, axes=(last,)), x) * x - _dot(e, g, y, (1, 0))
    to_y = _to_rows(reduce_sum(g, axes=(last - 1,)), y) * y - _dot(e, g, x, (0, 0))
    return 2 * to_x, 2 * to_y


def _pushforward(tangents: tuple[Expr | None, ...], e: Expr, x: Expr, y: Expr) -> Expr:
    """2 Σ(x - y)(x' - y')"""
    last, total = e.ndim - 1, None
    for own, other, tangent, axis in ((x, y, tangents[0], last), (y, x, tangents[1], last - 1)):
        if tangent is None:
            continue
        lengths = expand(reduce_sum(own * tangent, axes=(last,)), (axis,), e.shape)
        first, second = (tangent, other) if own is x and axis == last else (other, tangent)
        part = lengths - _dot(e, first, second, (1, 1))
        total = part if total is None else total + part
    assert total is not None
    return 2 * total


def _source(e: Expr) -> str:
    precision = e.params["precision"]
    option = "" if precision is None else f", {precision_source(precision)}"
    return f"squared_distances(x, y{option})"


squared_distances = Op(
    "squared_distances",
    _distances_type,
    _source,
    Custom(_pullback, _pushforward),
    params=("precision",),
    flops=lambda e: 2 * (e.args[0].shape[-1] + 1) * e.type.size,
    helpers=(accurate.squared_distances,),
)
"""Σ (xᵢ - yⱼ)² for all pairs of rows, never below 0."""
