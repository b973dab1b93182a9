"""Factorisations of matrices of numbers of any precision, and triangular solves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from symgrad.expr import Expr, Op
from symgrad.ops import inverse, linalg, solve

Array = np.ndarray
INT32 = np.int32


def _batched(factor: Callable[..., tuple[Array, ...]]) -> Callable[..., Any]:
    """A function of matrices applied to every matrix of a batch."""

    def value(mp: Any, e: Expr, *operands: Array) -> Any:
        batch = operands[0].shape[:-2]
        found = [np.empty(t.shape, object if t.inexact else t.dtype) for t in e.types]
        for place in np.ndindex(batch):
            for whole, part in zip(
                found, factor(mp, e, *(x[place] for x in operands)), strict=True
            ):
                whole[place] = part
        return tuple(found) if isinstance(e.type, tuple) else found[0]

    return value


def _array(matrix: Any, rows: int, columns: int) -> Array:
    found = np.empty((rows, columns), object)
    for i, j in np.ndindex(rows, columns):
        found[i, j] = matrix[i, j]
    return found


def _cholesky(mp: Any, e: Expr, x: Array) -> tuple[Array]:
    n = len(x)
    lower = np.full((n, n), mp.zero, object)
    for i, j in np.ndindex(n, n):
        if j > i:
            continue
        rest = x[i, j] - sum((lower[i, k] * lower[j, k] for k in range(j)), mp.zero)
        if i == j and rest < 0:
            return (np.full((n, n), mp.nan, object),)
        lower[i, j] = mp.sqrt(rest) if i == j else rest / lower[j, j]
    return (lower,)


def _lu(mp: Any, e: Expr, x: Array) -> tuple[Array, ...]:
    """By rows, with the largest entry of each column as its pivot."""
    a, (m, n) = x.copy(), x.shape
    order, pivots = np.arange(m, dtype=INT32), np.arange(min(m, n), dtype=INT32)
    for k in range(min(m, n)):
        pivot = k + max(range(m - k), key=lambda i, k=k: abs(a[k + i, k]))
        pivots[k] = pivot
        a[[k, pivot]], order[[k, pivot]] = a[[pivot, k]], order[[pivot, k]]
        if a[k, k] == 0:
            continue
        for i in range(k + 1, m):
            a[i, k] = a[i, k] / a[k, k]
            a[i, k + 1 :] = a[i, k + 1 :] - a[i, k] * a[k, k + 1 :]
    return a, pivots, order


def _eigh(mp: Any, e: Expr, x: Array) -> tuple[Array, Array]:
    n = len(x)
    kept = np.tril(np.ones((n, n), bool)) if e.params["lower"] else np.triu(np.ones((n, n), bool))
    full = np.where(kept, x, x.T)
    values, vectors = mp.eigsy(mp.matrix(full.tolist()))
    return _array(vectors, n, n), _array(values, n, 1)[:, 0]


def _svd(mp: Any, e: Expr, x: Array) -> tuple[Array, ...]:
    (m, n), k = x.shape, min(x.shape)
    u, s, vh = mp.svd_r(mp.matrix(x.tolist()))
    values = _array(s, k, 1)[:, 0]
    return (_array(u, m, k), values, _array(vh, k, n)) if e.params["compute_uv"] else (values,)


def _qr(mp: Any, e: Expr, x: Array) -> tuple[Array, Array]:
    (m, n), full = x.shape, e.params["full_matrices"]
    k = m if full else min(m, n)
    q, r = mp.qr(mp.matrix(x.tolist()), mode="full" if full else "skinny")
    return _array(q, m, k), _array(r, k, n)


def _triangular(mp: Any, e: Expr, a: Array, b: Array) -> tuple[Array]:
    p = e.params
    matrix = np.tril(a) if p["lower"] else np.triu(a)
    lower = p["lower"]
    if p["transpose"]:
        matrix, lower = matrix.T, not lower
    if not p["left"]:
        matrix, lower = matrix.T, not lower
    right = b if p["left"] else b.T
    found = right.copy()
    for i in range(len(a))[:: 1 if lower else -1]:
        known = range(i) if lower else range(i + 1, len(a))
        for j in known:
            found[i] = found[i] - matrix[i, j] * found[j]
        if not p["unit"]:
            found[i] = found[i] / matrix[i, i]
    return (found if p["left"] else found.T,)


def _solved(a: Array, b: Array) -> Array:
    """A⁻¹ B by elimination, with the largest entry of each column as its pivot."""
    n = len(a)
    rows = np.concatenate([a, b], axis=1)
    for k in range(n):
        pivot = k + max(range(n - k), key=lambda i, k=k: abs(rows[k + i, k]))
        rows[[k, pivot]] = rows[[pivot, k]]
        rows[k] = rows[k] / rows[k, k]
        for i in range(n):
            if i != k:
                rows[i] = rows[i] - rows[i, k] * rows[k]
    return rows[:, n:]


def _solution(mp: Any, e: Expr, a: Array, b: Array) -> tuple[Array]:
    matrix = a.T if e.params["transpose"] else a
    return (_solved(matrix, b) if b.ndim > 1 else _solved(matrix, b[:, None])[:, 0],)


def _inverse(mp: Any, e: Expr, a: Array) -> tuple[Array]:
    n = len(a)
    return (_solved(a, np.where(np.eye(n, dtype=bool), mp.one, mp.zero)),)


def _mahalanobis(mp: Any, e: Expr, a: Array, b: Array) -> tuple[Array]:
    x = _solved(a, b if b.ndim > 1 else b[:, None])
    return ((b * (x if b.ndim > 1 else x[:, 0])).sum(0),)


def _slogdet(mp: Any, e: Expr, a: Array) -> tuple[Any, Any]:
    packed, pivots, _ = _lu(mp, e, a)
    total, swaps = mp.one, int(np.sum(pivots != np.arange(len(pivots))))
    for i in range(len(a)):
        total = total * packed[i, i]
    if total == 0:
        return mp.zero, -mp.inf
    return mp.sign(total) * (-1) ** swaps, mp.log(abs(total))


def _permutation(mp: Any, e: Expr, pivots: Array) -> Array:
    found = np.broadcast_to(np.arange(e.params["size"], dtype=INT32), e.shape).copy()
    for place in np.ndindex(pivots.shape[:-1]):
        for i, pivot in enumerate(pivots[place]):
            found[place][[i, pivot]] = found[place][[pivot, i]]
    return found


FACTORS: Mapping[Op, Callable[..., Any]] = {
    linalg.cholesky: _batched(_cholesky),
    linalg.lu: _batched(_lu),
    linalg.lu_pivots_to_permutation: _permutation,
    linalg.eigh: _batched(_eigh),
    linalg.svd: _batched(_svd),
    linalg.qr: _batched(_qr),
    solve.triangular_op: _batched(_triangular),
    inverse.inverse: _batched(_inverse),
    inverse.mahalanobis: _batched(_mahalanobis),
    inverse.slogdet: _batched(_slogdet),
    inverse.solve: _batched(_solution),
}
"""What factorisations are, as in `arrays.ARRAYS`; of symmetric matrices the real ones."""
