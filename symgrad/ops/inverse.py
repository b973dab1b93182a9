"""Inverses and determinants of matrices, and the factorisations they are computed with.

Derivatives and laws speak of inverses: a solution of linear equations is a product with
one. Programs do not: once everything is planned, `plan.solvers` writes each product with
an inverse as a solution, and lets all that is asked of one matrix share one factorisation.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from symgrad.errors import ShapeError
from symgrad.expr import Custom, Expr, Op, Type, Types, item
from symgrad.ops.contract import einsum, einsum_op
from symgrad.ops.matrix import EXACT, is_complex, on_columns, on_rows, product, transposed
from symgrad.ops.pointwise import complex_, imag, real
from symgrad.ops.shape import broadcast, reshape, transpose

Tangents = tuple[Any, ...]
INT32 = np.dtype(np.int32)


def _square(a: Type) -> Type:
    if len(a.shape) < 2 or a.shape[-1] != a.shape[-2]:
        raise ShapeError(f"{a.shape} is not the shape of square matrices")
    return a


def _cubes(e: Expr) -> int:
    """n³ for each matrix."""
    return e.args[0].type.size * e.args[0].shape[-1]


# What laws and derivatives are written with


def _inverse_push(tangents: Tangents, y: Expr, a: Expr) -> Expr:
    """(A⁻¹)' = -A⁻¹ A' A⁻¹"""
    return -product(product(y, tangents[0]), y)


def _inverse_pull(g: Expr, y: Expr, a: Expr) -> tuple[Expr]:
    """Ā = -A⁻ᵀ G A⁻ᵀ"""
    back = y if y.params["definite"] else transposed(y)
    return (-product(product(back, g), transposed(y)),)


inverse = Op(
    "inverse",
    lambda a, *, definite: _square(a),
    "jnp.linalg.inv(x)",
    Custom(pullback=_inverse_pull, pushforward=_inverse_push),
    params=("definite",),
    flops=lambda e: _cubes(e) * 2 // 3,
    recomputed=True,
)
"""The inverse; `definite` says that the matrix is symmetric and positive definite.

What it costs is the factorisation: the inverse itself is written out only where nothing
else will do.
"""


def trace_of_product(x: Expr, y: Expr) -> Expr:
    """tr(X Y), matrix by matrix."""
    front = tuple(range(x.ndim - 2))
    i, j = x.ndim - 2, x.ndim - 1
    return einsum(x, y, indices=((*front, i, j), (*front, j, i)), out=front, precision=EXACT)


def _slogdet_type(a: Type, *, definite: bool) -> Types:
    _square(a)
    logs = Type(a.shape[:-2], np.finfo(a.dtype).dtype, a.weak)
    return a.with_shape(a.shape[:-2]), logs


def _slogdet_push(tangents: Tangents, ans: Expr, a: Expr) -> Any:
    """(log |det A|)' = Re tr(A⁻¹ A'); the sign of real matrices is constant."""
    moved = trace_of_product(inverse(a, **ans.params), tangents[0])
    if not is_complex(a):
        return None, moved
    turned = complex_(imag(moved) * 0, imag(moved))
    return turned * item(ans, index=0), real(moved)


slogdet = Op(
    "slogdet",
    _slogdet_type,
    "jnp.linalg.slogdet(x)",
    Custom(pushforward=_slogdet_push),
    params=("definite",),
    flops=lambda e: _cubes(e) * 2 // 3,
)
"""The sign of the determinant and the logarithm of its absolute value."""


# Solutions


def _solution_type(a: Type, b: Type) -> Type:
    rows = b.shape[-1] if len(b.shape) < len(a.shape) else b.shape[-2]
    if rows != _square(a).shape[-1]:
        raise ShapeError(f"{a.shape} and {b.shape} are no matrix and right-hand sides")
    return b


def _solution_flops(e: Expr) -> int:
    return 2 * e.type.size * e.args[0].shape[-1]


def _solve_pull(g: Expr, x: Expr, a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """b̄ = A⁻ᵀ x̄ and Ā = -b̄ xᵀ"""
    turned, definite = x.params["transpose"], x.params["definite"]
    back = solve(a, g, transpose=not (turned or definite), definite=definite)
    pair = (x, back) if turned else (back, x)
    return -_outer(*pair, a.ndim), back


def _solve_push(tangents: Tangents, x: Expr, a: Expr, b: Expr) -> Expr:
    """x' = A⁻¹ (b' - A' x)"""
    moved, right = tangents
    if moved is not None:
        moved = transposed(moved) if x.params["transpose"] else moved
        shifted = applied(moved, x)
        right = -shifted if right is None else right - shifted
    return solve(a, right, **x.params)


def _outer(x: Expr, y: Expr, ndim: int) -> Expr:
    """The product of two vectors, or the sum of those of the columns of two matrices."""
    if x.ndim < ndim:
        shape = (*x.shape, y.shape[-1])
        return on_columns(x, shape) * on_rows(y, shape)
    front = tuple(range(ndim - 2))
    i, j, k = range(ndim - 2, ndim + 1)
    indices = ((*front, i, k), (*front, j, k))
    return einsum(x, y, indices=indices, out=(*front, i, j), precision=EXACT)


def applied(a: Expr, x: Expr) -> Expr:
    """A x of vectors or matrices."""
    front, ndim = tuple(range(a.ndim - 2)), a.ndim
    columns = (ndim,) if x.ndim == ndim else ()
    names = (*front, ndim - 2, ndim - 1)
    return einsum(
        a,
        x,
        indices=(names, (*front, ndim - 1, *columns)),
        out=(*front, ndim - 2, *columns),
        precision=EXACT,
    )


def _solve_source(e: Expr) -> str:
    matrix = "x.mT" if e.params["transpose"] else "x"
    if e.params["transpose"] and e.args[0].ndim == 2:
        matrix = "x.T"
    vectors = e.ndim < e.args[0].ndim and e.ndim > 1
    return f"jnp.linalg.solve({matrix}, y{'[..., None])[..., 0]' if vectors else ')'}"


solve = Op(
    "solve",
    lambda a, b, *, transpose, definite: _solution_type(a, b),
    _solve_source,
    Custom(pullback=_solve_pull, pushforward=_solve_push),
    params=("transpose", "definite"),
    flops=lambda e: _cubes(e) * 2 // 3 + _solution_flops(e),
)
"""A⁻¹ b, or A⁻ᵀ b, of vectors or of matrices in the last two axes."""


def _mahalanobis_pull(g: Expr, y: Expr, a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """b̄ = 2 g A⁻¹ b and Ā = -g A⁻¹ b bᵀ A⁻¹"""
    x = solve(a, b, transpose=False, definite=True)
    axes = tuple(i for i in range(b.ndim) if i != a.ndim - 2)
    scaled = broadcast(g, shape=b.shape, axes=axes) * x
    return -_outer(scaled, x, a.ndim), 2 * scaled


mahalanobis = Op(
    "mahalanobis",
    lambda a, b: _solution_type(a, b).with_shape(
        (*b.shape[: len(a.shape) - 2], *b.shape[len(a.shape) - 1 :])
    ),
    lambda e: (
        "y @ jnp.linalg.solve(x, y)"
        if e.args[1].ndim == 1
        else f"jnp.sum(y * jnp.linalg.solve(x, y), {e.args[0].ndim - 2})"
    ),
    Custom(pullback=_mahalanobis_pull),
    flops=lambda e: _cubes(e) // 3 + e.args[1].type.size * e.args[0].shape[-1],
)
"""bᵀ A⁻¹ b of a positive definite matrix, for each right-hand side: |L⁻¹ b|² with A = L Lᵀ."""

Axes = tuple[int, ...]


def solve_along(
    a: Expr, b: Expr, axes: Axes, batch: Axes, rows: int, out: Axes, **params: bool
) -> Expr:
    """A⁻¹ b of an array of right-hand sides.

    Args:
        axes: names of the axes of b.
        batch: those along which the matrices differ, as `a` has them in front.
        rows: the one along which the entries of a right-hand side stand.
        out: names of the axes of the result.
    """
    free = tuple(i for i in axes if i not in batch and i != rows)
    ordered = (*batch, rows, *free)
    right = _in_order(b, axes, ordered)
    shape, depth = right.shape, len(batch) + 1
    if free:
        right = reshape(right, shape=(*shape[:depth], math.prod(shape[depth:])))
    return _in_order(reshape(solve(a, right, **params), shape=shape), ordered, out)


def _in_order(x: Expr, names: Axes, wanted: Axes) -> Expr:
    permutation = tuple(names.index(i) for i in wanted)
    return x if permutation == tuple(range(x.ndim)) else transpose(x, permutation=permutation)


def as_solution(node: Expr) -> Expr | None:
    """The product of an inverse and another array, which sums over one axis of the inverse."""
    if node.op is not einsum_op or len(node.args) != 2 or node.params["dtype"] is not None:
        return None
    for position in (0, 1):
        factor = through_transposes(node.args[position], node.params["indices"][position])
        if factor[0].op is inverse:
            found = _with_inverse(node, *factor, 1 - position)
            if found is not None:
                return found
    return None


def _with_inverse(node: Expr, factor: Expr, names: Axes, other: int) -> Expr | None:
    b, axes, out = node.args[other], node.params["indices"][other], node.params["out"]
    *batch, first, last = names
    if b.dtype != factor.dtype or any(len(set(n)) < len(n) for n in (names, axes, out)):
        return None
    shared = set(batch) <= set(axes) & set(out)
    for rows, kept in ((last, first), (first, last)):
        rest = [i for i in axes if i != rows]
        if shared and rows in axes and set(out) == {kept, *rest} and kept not in axes:
            result = tuple(rows if i == kept else i for i in out)
            (a,) = factor.args
            definite = factor.params["definite"]
            turned = rows is first and not definite
            return solve_along(
                a, b, axes, tuple(batch), rows, result, transpose=turned, definite=definite
            )
    return None


def through_transposes(x: Expr, names: Axes) -> tuple[Expr, Axes]:
    """What an array is the transpose of, and the names of its axes there."""
    while x.op is transpose:
        order = dict(zip(x.params["permutation"], names, strict=True))
        names = tuple(order[i] for i in range(x.ndim))
        (x,) = x.args
    return x, names


# Factorisations, as programs have them

lu_factor = Op(
    "lu_factor",
    lambda a: (_square(a), Type(a.shape[:-1], INT32)),
    "jax.scipy.linalg.lu_factor(x)",
    flops=lambda e: _cubes(e) * 2 // 3,
)
"""L and U in one matrix, and the exchanges of rows."""

lu_solution = Op(
    "lu_solve",
    lambda packed, pivots, b, *, transpose: _solution_type(packed, b),
    lambda e: f"jax.scipy.linalg.lu_solve((x, y), z{', trans=1' if e.params['transpose'] else ''})",
    params=("transpose",),
    flops=_solution_flops,
)
"""A⁻¹ b, or A⁻ᵀ b, with the results of `lu_factor`."""

cho_solution = Op(
    "cho_solve",
    _solution_type,
    "jax.scipy.linalg.cho_solve((x, True), y)",
    flops=_solution_flops,
)
"""A⁻¹ b with the lower triangular factor that `cholesky` gives."""
