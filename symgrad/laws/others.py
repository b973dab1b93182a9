"""Products that one factor is taken out of again by division, which fails where it is zero."""

from __future__ import annotations

import numpy as np

from symgrad.expr import Expr, Op, add, div, sub
from symgrad.laws.polynomials import MOVES
from symgrad.laws.terms import SPREADING, terms
from symgrad.ops.pointwise import exp, log, lt, select
from symgrad.ops.products import product_of_others_by_logs
from symgrad.ops.reduce import cumprod, product_of_others, reduce_prod, shifted
from symgrad.ops.shape import broadcast, full, reduce_sum, slice_, spread
from symgrad.pattern import rewrites

ZERO = "a factor of zero"

Names = tuple[int | None, ...]
"""For each axis along which axis of another array its entries stand; None if along none."""


@rewrites(div, exact=False, protects=ZERO)
def product_of_the_other_factors(e: Expr) -> Expr | None:
    """(Π x) / xᵢ is the product of the others, and so for running products"""
    top, entry = e.args
    if not e.type.real:
        return None
    if top.op is cumprod and top.args[0] is entry:
        return shifted(top, top.params["axis"], forward=not top.params["reverse"], fill=1)
    whole = _repeated(top, reduce_prod)
    moves = None if whole is None else _moves(entry, whole.args[0])
    if whole is None or moves is None or not _belong(top, whole, entry, moves):
        return None
    found = product_of_others(full(1, whole.type), whole, *whole.args)
    for move in reversed(moves):
        found = move.op(found, **move.params)
    return found if found.ndim else spread(found, e.shape)


@rewrites(exp, exact=False, protects=ZERO)
def product_of_others_from_logarithms(e: Expr) -> Expr | None:
    """exp(Σ log x - log x) is the product of the others"""
    (inner,) = e.args
    parts = terms(inner) if inner.op in (add, sub) and e.type.real else None
    if parts is None or len(parts) != 2 or {c for c, _ in parts} != {1, -1}:
        return None
    top, own = (node for _, node in sorted(parts, key=lambda part: -part[0]))
    whole = None if top is None else _repeated(top, reduce_sum)
    if top is None or own is None or own.op is not log or whole is None:
        return None
    if whole.args[0] is not own or not _belong(top, whole, own, []):
        return None
    (x,) = own.args
    return product_of_others_by_logs(select(lt(x, 0), np.nan, x), **whole.params)


def _repeated(e: Expr, op: Op) -> Expr | None:
    """The result of an operation that `e` repeats."""
    while e.op in SPREADING:
        (e,) = e.args
    return e if e.op is op else None


def _moves(e: Expr, x: Expr) -> list[Expr] | None:
    """What takes the entries of `e` out of `x`, the last first; None if more is done to them."""
    found = []
    while e is not x:
        if e.op not in MOVES:
            return None
        found.append(e)
        (e,) = e.args
    return found


def _belong(top: Expr, whole: Expr, entry: Expr, moves: list[Expr]) -> bool:
    """Whether each entry is one of those that the number above it was reduced from.

    `top` repeats `whole`, a reduction of the array that `moves` take `entry` out of.
    """
    above: Names = tuple(range(top.ndim))
    for move in _moves(top, whole) or ():
        above = _names_before(move, above)
    below: Names = tuple(range(entry.ndim))
    for move in moves:
        below = _names_before(move, below)
    kept = [a for a in range(len(below)) if a not in whole.params["axes"]]
    pairs = zip(above, (below[a] for a in kept), whole.shape, strict=True)
    return all(n == 1 or (a is not None and a == b) for a, b, n in pairs)


def _names_before(move: Expr, names: Names) -> Names:
    """The names of the operand's axes, given those of the result's."""
    (x,) = move.args
    if move.op is broadcast:
        axes = move.params["axes"]
        return tuple(
            names[a] if n == move.shape[a] else None for n, a in zip(x.shape, axes, strict=True)
        )
    if move.op is slice_:
        both = zip(names, x.shape, move.shape, strict=True)
        return tuple(name if n == m else None for name, n, m in both)
    entries = [(name, n) for name, n in zip(names, move.shape, strict=True) if n != 1]
    if [n for _, n in entries] != [n for n in x.shape if n != 1]:
        return (None,) * x.ndim
    left = iter(entries)
    return tuple(None if n == 1 else next(left)[0] for n in x.shape)
