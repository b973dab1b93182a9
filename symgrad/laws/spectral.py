"""What is put together again from a decomposition is smooth where the decomposition is not."""

from __future__ import annotations

import itertools

from symgrad.expr import Expr, Op, item, literal_value, mul
from symgrad.laws.separate import separate
from symgrad.ops.contract import einsum_op
from symgrad.ops.entropy import times_log1p_op, times_log_op
from symgrad.ops.linalg import eigh, svd
from symgrad.ops.pointwise import eq, log, log1p, select
from symgrad.ops.shape import broadcast, iota
from symgrad.ops.spectral import matrix_function, polar_factor
from symgrad.pattern import rewrites

DEGENERATE = "derivatives of eigenvectors, which equal eigenvalues do not have"


def _result(e: Expr, op: object, number: int) -> Expr | None:
    """The decomposition of which `e` is result `number`."""
    known = e.op is item and e.args[0].op is op and e.params["index"] == number
    return e.args[0] if known else None


def _plain(e: Expr) -> bool:
    return len(e.args) == 2 and e.params["dtype"] is None


LOGARITHMS: dict[Op, Op] = {times_log_op: log, times_log1p_op: log1p}
"""What products with logarithms have become before."""


def _columns(v: Expr) -> tuple[int, ...]:
    """The axes of a matrix that its columns are counted along, and those of the batch."""
    return (*range(v.ndim - 2), v.ndim - 1)


def _column_weights(e: Expr) -> tuple[Expr, Expr] | None:
    """A matrix and numbers for its columns, of their product: v * u, v @ diag(u)."""
    if e.op in LOGARITHMS:
        v, y = e.args
        if v.op is item and y.op is broadcast and y.params["axes"] == _columns(v):
            return v, LOGARITHMS[e.op](y.args[0])
    if e.op is mul:
        for v, u in (e.args, e.args[::-1]):
            if v.op is item and u.op is broadcast and u.params["axes"] == _columns(v):
                return v, u.args[0]
    if e.op is not einsum_op or not _plain(e):
        return None
    v, u = e.args
    names, others = e.params["indices"]
    if others == names[-1:] and e.params["out"] == names:
        return v, u
    into = (*names[:-1], others[-1])
    if v.ndim == 2 and others[0] == names[-1] and e.params["out"] == into:
        weights = _diagonal(u)
        return None if weights is None else (v, weights)
    return None


def _diagonal(e: Expr) -> Expr | None:
    """The numbers on the diagonal of a matrix with nothing beside it."""
    if e.op is not select or e.ndim != 2 or literal_value(e.args[2]) != 0:
        return None
    where, u, _ = e.args
    if where.op is not eq or u.op is not broadcast or u.args[0].ndim != 1:
        return None
    counted = [a.params["axes"] for a in where.args if a.op is broadcast and a.args[0].op is iota]
    return u.args[0] if sorted(counted) == [(0,), (1,)] else None


@rewrites(einsum_op, exact=False, protects=DEGENERATE)
def function_of_a_matrix(e: Expr) -> Expr | None:
    """V f(w) Vᵀ = f(A) for the eigenvectors V and eigenvalues w of A"""
    if not _plain(e) or not e.type.real:
        return None
    for x, v in (e.args, e.args[::-1]):
        decomposition = _result(v, eigh, 0)
        weighted = _column_weights(x) if decomposition is not None else None
        if decomposition is None or weighted is None or weighted[0] is not v:
            continue
        first, second = e.params["indices"]
        rows, column = first[:-1], first[-1:]
        if second[-1:] != column or rows[:-1] != second[:-2] or rows[-1:] == second[-2:-1]:
            continue
        if set(e.params["out"][-2:]) != {rows[-1], second[-2]} or len(e.params["out"]) != e.ndim:
            continue
        function = _of_eigenvalues(weighted[1], item(decomposition, index=1))
        if function is not None and e.params["out"][:-2] == rows[:-1]:
            return matrix_function(
                *decomposition.args, v, item(decomposition, index=1), function=function
            )
    return None


def _of_eigenvalues(u: Expr, w: Expr) -> Expr | None:
    found = separate(u, w)
    return found.pure if found is not None and found.axes == tuple(range(w.ndim)) else None


@rewrites(einsum_op, exact=False, protects=DEGENERATE)
def product_of_singular_factors(e: Expr) -> Expr | None:
    """U S Vᵀ = A for the singular value decomposition of A"""
    if not _plain(e):
        return None
    x, vh = e.args
    decomposition = _result(vh, svd, 2)
    weighted = _column_weights(x) if decomposition is not None else None
    if decomposition is None or weighted is None:
        return None
    parts = [_result(p, svd, i) for i, p in enumerate(weighted)]
    first, second = e.params["indices"]
    matches = first[-1] == second[-2] and first[:-2] == second[:-2]
    in_order = e.params["out"] == (*first[:-1], second[-1])
    same = all(p is decomposition for p in parts)
    return decomposition.args[0] if matches and in_order and same else None


@rewrites(einsum_op, exact=False, protects=DEGENERATE)
def polar_factor_of_singular_vectors(e: Expr) -> Expr | None:
    """U Vᵀ of the singular value decomposition of A, which is smooth where singular values meet"""
    if not _plain(e) or not e.type.real:
        return None
    for (u, left), (vh, right) in itertools.permutations(
        zip(e.args, e.params["indices"], strict=True)
    ):
        decomposition = _result(u, svd, 0)
        if decomposition is None or _result(vh, svd, 2) is not decomposition:
            continue
        (a,) = decomposition.args
        matches = left[-1] == right[-2] and left[:-2] == right[:-2]
        in_order = e.params["out"] == (*left[:-1], right[-1])
        complete = u.shape[-1] == vh.shape[-2] == min(a.shape[-2:])
        if matches and in_order and complete:
            return polar_factor(a, u, item(decomposition, index=1), vh)
    return None
