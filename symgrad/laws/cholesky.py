"""What Cholesky factors are used for: solutions, quadratic forms and determinants.

A factor of a matrix that is symmetric, however its inputs vary, may be forgotten: its
derivative is that of the matrix.
"""

from __future__ import annotations

import functools

from symgrad.expr import Expr, add, div, item, literal_value, mul
from symgrad.matrices import as_vector, is_symmetric
from symgrad.ops.contract import einsum_op
from symgrad.ops.inverse import mahalanobis, slogdet, solve, through_transposes
from symgrad.ops.linalg import cholesky
from symgrad.ops.matrix import is_complex, transposed
from symgrad.ops.pointwise import log, square
from symgrad.ops.reduce import reduce_sum
from symgrad.ops.shape import broadcast, reshape, reshape_op, transpose
from symgrad.ops.solve import triangular_op
from symgrad.pattern import rewrites


@rewrites(div, mul, exact=False)
def symmetric_part(e: Expr) -> Expr | None:
    """(A + Aᵀ) / 2 = A for symmetric matrices"""
    total, number = e.args if e.op is div else e.args[::-1]
    half = 2 if e.op is div else 0.5
    if literal_value(number) != half or total.op is not add or total.ndim < 2:
        return None
    x, y = total.args
    if x.shape != y.shape:
        return None
    same = x is y or transposed(x) is y or transposed(y) is x
    return x if same and is_symmetric(x) else None


@rewrites(triangular_op, exact=True)
def equations_of_a_transpose(e: Expr) -> Expr | None:
    """An upper triangular matrix is the transpose of a lower one"""
    a, b = e.args
    p = e.params
    if p["lower"] or p["conjugate"] or a.op is not transpose or transposed(a.args[0]) is not a:
        return None
    return triangular_op(*a.args, b, **{**p, "lower": True, "transpose": not p["transpose"]})


@rewrites(triangular_op, exact=False)
def solution_by_cholesky(e: Expr) -> Expr | None:
    """L⁻ᵀ L⁻¹ b = A⁻¹ b for A = L Lᵀ"""
    factor, y = e.args
    matrix = _factorised(factor)
    if matrix is None or not _solves(e, transpose=True):
        return None
    inner = _reshaped(y)
    if inner.op is not triangular_op or inner.args[0] is not factor:
        return None
    if not _solves(inner, transpose=False):
        return None
    return solve(matrix, inner.args[1], transpose=False, definite=True)


@rewrites(einsum_op, exact=False)
def quadratic_form_by_cholesky(e: Expr) -> Expr | None:
    """|L⁻¹ b|² = bᵀ A⁻¹ b for A = L Lᵀ"""
    if len(e.args) != 2 or e.params["dtype"] is not None:
        return None
    scales, plain = zip(*map(_without_scale, e.args), strict=True)
    pairs = zip(plain, e.params["indices"], strict=True)
    (x, names), (y, others) = (through_transposes(a, n) for a, n in pairs)
    if x is not y or names != others:
        return None
    summed = [i for i, name in enumerate(names) if name not in e.params["out"]]
    kept = tuple(name for name in names if name in e.params["out"])
    found = _quadratic_form(x, summed) if kept == e.params["out"] else None
    return found and functools.reduce(lambda total, s: s * total, filter(None, scales), found)


@rewrites(reduce_sum, exact=False)
def sum_of_squares_by_cholesky(e: Expr) -> Expr | None:
    """Σ (L⁻¹ b)² = bᵀ A⁻¹ b for A = L Lᵀ"""
    (x,) = e.args
    return _quadratic_form(x.args[0], list(e.params["axes"])) if x.op is square else None


@rewrites(reduce_sum, exact=False)
def determinant_by_cholesky(e: Expr) -> Expr | None:
    """Σ log diag L = log(det A) / 2 for A = L Lᵀ"""
    (logs,) = e.args
    if logs.op is not log or e.params["axes"] != (logs.ndim - 1,):
        return None
    (diagonal,) = logs.args
    if diagonal.op is not einsum_op or len(diagonal.args) != 1:
        return None
    (factor,), (names,) = diagonal.args, diagonal.params["indices"]
    *front, i, j = names
    matrix = _factorised(factor)
    if matrix is None or i != j or diagonal.params["out"] != (*front, i):
        return None
    return 0.5 * item(slogdet(matrix, definite=True), index=1)


def _without_scale(x: Expr) -> tuple[Expr | None, Expr]:
    """A number, and the array that it multiplies."""
    if x.op is mul and x.ndim:
        for scale, rest in (x.args, x.args[::-1]):
            if scale.ndim == 0:
                return scale, rest
    return None, x


def _factorised(factor: Expr) -> Expr | None:
    """The symmetric matrix that a factor is Cholesky's of."""
    if factor.op is not cholesky or is_complex(factor):
        return None
    (matrix,) = factor.args
    return matrix if is_symmetric(matrix) else None


def _solves(e: Expr, *, transpose: bool) -> bool:
    p = e.params
    return p["left"] and p["lower"] and not p["unit"] and p["transpose"] == transpose


def _reshaped(x: Expr) -> Expr:
    """What an array is, apart from axes of size 1 that came and went."""
    shape = x.shape
    entries = [n for n in shape if n != 1]
    found = x
    while x.op in (reshape_op, broadcast) and [n for n in x.args[0].shape if n != 1] == entries:
        (x,) = x.args
        found = x if x.shape == shape else found
    return found


def _quadratic_form(x: Expr, summed: list[int]) -> Expr | None:
    """|x|² along one axis, where x solves equations with a Cholesky factor."""
    solution = x.args[0] if x.op is reshape_op else x
    if solution.op is not triangular_op or not _solves(solution, transpose=False):
        return None
    factor, b = solution.args
    rows = factor.ndim - 2
    matrix = _factorised(factor)
    if matrix is None or summed != [rows]:
        return None
    if x is solution:
        return mahalanobis(matrix, b)
    if x.shape != b.shape[:-1]:
        return None
    vector = as_vector(b)
    return mahalanobis(matrix, reshape(b, shape=x.shape) if vector is None else vector)
