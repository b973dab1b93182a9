"""Entries read out of arrays: what is done to each entry can be done before or after."""

from __future__ import annotations

from collections.abc import Container, Sequence

from symgrad.expr import Expr, Op
from symgrad.ops import pointwise, shape
from symgrad.ops.index import dynamic_slice_op
from symgrad.ops.pick import pick

MOVES = (
    *(shape.broadcast, shape.reshape_op, shape.transpose, shape.slice_, shape.reverse),
    *(pick, dynamic_slice_op, pointwise.stop_gradient, pointwise.name, pointwise.convert_op),
)
"""Operations that commute with functions of single entries, but for how a conversion rounds."""


def unmoved(e: Expr, through: Container[Op] = MOVES) -> tuple[list[Expr], Expr]:
    """The nodes from `e` down that only move entries, and what they move."""
    moves = []
    while e.op in through:
        moves.append(e)
        e = e.args[0]
    return moves, e


def moved(x: Expr, moves: Sequence[Expr]) -> Expr:
    """`x` in the place of what the nodes found by `unmoved` move."""
    for move in reversed(moves):
        x = move.op(x, *move.args[1:], **move.params)
    return x
