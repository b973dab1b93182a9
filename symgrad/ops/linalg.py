"""Factorisations of matrices.

Their derivatives are written with the factors the forward pass computed. The formulas are those of
M. B. Giles, Collected matrix derivative results for forward and reverse mode algorithmic
differentiation (2008); I. Murray, Differentiation of the Cholesky decomposition (2016); M. Seeger
et al., Auto-differentiating linear algebra (2017); F. R. de Hoog et al., Differentiation of matrix
functionals using triangular factorization (2011).
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from symgrad.errors import NoDerivativeError, ShapeError
from symgrad.expr import CONSTANT, Custom, Expr, Op, Type, Types, item, results
from symgrad.ops.indexing import call_source
from symgrad.ops.matrix import (
    adjoint,
    column_sums,
    conjugate,
    eye,
    identity,
    is_complex,
    on_columns,
    on_rows,
    padded,
    part,
    product,
    resized,
    taken,
    transposed,
    tril,
    triu,
)
from symgrad.ops.pointwise import complex_, convert, eq, imag, magnitude, real, select
from symgrad.ops.reduce import argmax, reduce_sum
from symgrad.ops.shape import concatenate, iota, stretched, zeros
from symgrad.ops.solve import triangular_solve

Tangents = tuple[Any, ...]
INT32 = np.dtype(np.int32)


def _real(dtype: Any) -> Any:
    return np.finfo(dtype).dtype


def _square(x: Type) -> int:
    if x.shape[-1] != x.shape[-2]:
        raise ShapeError(f"{x.shape} is not the shape of square matrices")
    return x.shape[-1]


def _cubic(e: Expr) -> int:
    """Operations of a factorisation, up to a factor that depends on which it is."""
    *batch, m, n = e.args[0].shape
    return int(np.prod(batch, dtype=np.int64)) * m * n * min(m, n)


def _options(e: Expr, **usual: Any) -> list[str]:
    """The parameters that differ from what the function takes without them."""
    given = ((name, e.params[name]) for name in usual)
    return [f"{name}={value!r}" for name, value in given if value != usual[name]]


def _chosen(e: Expr, name: str, record: str, parameter: str) -> list[str]:
    """The parameter that chooses an algorithm, unless the choice is left to JAX."""
    value = e.params[name]
    return [] if value is None else [f"{parameter}=lax.linalg.{record}.{value.name}"]


# Triangular factors


def _cholesky_push(tangents: Tangents, y: Expr, x: Expr) -> Expr:
    """L' = L Φ(L⁻¹ A' L⁻ᴴ), where Φ takes the lower triangle and half the diagonal."""
    right = triangular_solve(y, tangents[0], left=False, lower=True, transpose=True, conjugate=True)
    inner = triangular_solve(y, right, left=True, lower=True)
    return product(y, tril(inner, offset=0) / (identity(inner) + 1))


def _square_type(x: Type) -> Type:
    _square(x)
    return x


cholesky = Op(
    "cholesky",
    _square_type,
    "lax.linalg.cholesky(x, symmetrize_input=False)",
    Custom(pushforward=_cholesky_push),
    flops=lambda e: _cubic(e) // 3,
)
"""The lower triangular factor of A = L Lᴴ, which reads the lower triangle of A."""


def _cholesky_update_push(tangents: Tangents, y: Expr, r: Expr, w: Expr) -> Expr:
    """R' = Φ(R⁻ᵀ A' R⁻¹) R with Φ on the upper triangle, for A = RᵀR of the updated R."""
    moved = zeros(y.type)
    if tangents[0] is not None:
        moved = moved + product(transposed(r), tangents[0])
    if tangents[1] is not None:
        moved = moved + on_columns(w, y.shape) * on_rows(tangents[1], y.shape)
    right = triangular_solve(y, moved + transposed(moved), left=False, lower=False)
    inner = triangular_solve(y, right, left=True, lower=False, transpose=True)
    return product(triu(inner, offset=0) / (identity(inner) + 1), y)


cholesky_update = Op(
    "cholesky_update",
    lambda r, w: r,
    "lax.linalg.cholesky_update(x, y)",
    Custom(pushforward=_cholesky_update_push),
    flops=lambda e: 6 * e.type.size,
)
"""The upper triangular factor of RᵀR + w wᵀ."""


def _lu_type(x: Type) -> Types:
    *batch, m, n = x.shape
    return x, Type((*batch, min(m, n)), INT32), Type((*batch, m), INT32)


def _lu_push(tangents: Tangents, ans: Expr, a: Expr) -> Any:
    """L' = L tril(W, -1) and U' = triu(W) U with W = L⁻¹ P A' U⁻¹, after de Hoog et al."""
    packed, order = item(ans, index=0), item(ans, index=2)
    m, n = a.shape[-2:]
    lower, upper = resized(packed, m, m), resized(packed, n, n)
    if n > m:
        rest = eye(size=n - m, dtype=a.dtype)
        upper = triu(upper, offset=0) + stretched(padded(rest, m, 0, m, 0), upper.shape)
    moved = taken(tangents[0], order, -2)
    left = triangular_solve(lower, moved, left=True, lower=True, unit=True)
    inner = triangular_solve(upper, left, left=False, lower=False)
    strict = tril(inner, offset=-1)
    to_lower = strict + product(tril(lower, offset=-1), strict)
    to_upper = product(triu(inner, offset=0), triu(upper, offset=0))
    return to_lower + to_upper, None, None


lu = Op("lu", _lu_type, "lax.linalg.lu(x)", Custom(pushforward=_lu_push), flops=_cubic)
"""P A = L U: both factors in one matrix, the rows exchanged, and the permutation of all rows."""

lu_pivots_to_permutation = Op(
    "permutation",
    lambda pivots, *, size: Type((*pivots.shape[:-1], size), INT32),
    "lax.linalg.lu_pivots_to_permutation(x, {size})",
    CONSTANT,
    params=("size",),
)


def solved(a: Expr, b: Expr) -> Expr:
    """A⁻¹ B by an LU factorisation."""
    packed, _, order = results(lu(a))
    left = triangular_solve(packed, taken(b, order, -2), left=True, lower=True, unit=True)
    return triangular_solve(packed, left, left=True, lower=False)


# Orthogonal factors


def _qr_type(x: Type, *, pivoting: bool, full_matrices: bool, use_magma: Any) -> Types:
    *batch, m, n = x.shape
    k = m if full_matrices else min(m, n)
    factors = x.with_shape((*batch, m, k)), x.with_shape((*batch, k, n))
    return (*factors, Type((*batch, n), INT32)) if pivoting else factors


def _thin_qr_push(q: Expr, r: Expr, t: Expr) -> tuple[Expr, Expr]:
    """For matrices that are not wide: Q' and R' from W = Qᴴ A' R⁻¹, whose part below the
    diagonal belongs to Q."""
    along = triangular_solve(r, t, left=False, lower=False)
    inner = product(adjoint(q), along, None)
    below = tril(inner, offset=-1)
    skew = below - adjoint(below)
    if is_complex(inner):
        skew = skew + identity(inner) * complex_(imag(inner) * 0, imag(inner))
    return product(q, skew - inner, None) + along, product(inner - skew, r, None)


def _qr_push(tangents: Tangents, ans: Expr, a: Expr) -> Any:
    q, r, *order = results(ans)
    t = taken(tangents[0], order[0], -1) if order else tangents[0]
    m, n = a.shape[-2:]
    everything = slice(None)
    if m < n:
        first = part(t, everything, slice(m))
        dq, square = _thin_qr_push(q, part(r, everything, slice(m)), first)
        # R₂ = Qᴴ A₂, and A₂ = Q R₂
        behind = product(q, part(r, everything, slice(m, None)), None)
        rest = product(adjoint(dq), behind, None)
        rest = rest + product(adjoint(q), part(t, everything, slice(m, None)), None)
        dr = concatenate(square, rest, axis=a.ndim - 1)
    elif m == n or not ans.params["full_matrices"]:
        dq, dr = _thin_qr_push(q, r, t)
    else:
        dq, dr = _full_qr_push(q, r, t)
    return (dq, dr, *(None for _ in order))


def _full_qr_push(q: Expr, r: Expr, t: Expr) -> tuple[Expr, Expr]:
    """The columns that complete a basis move as in arXiv:2409.13374, which JAX follows.

    Q₂' = Q₁' Zᴴ - (Q₁ + Q₂ Z) (Q₁'[n:] - Z Q₁'[:n])ᴴ with Z = Q₁[n:] (Q₁[:n] - I)⁻¹
    """
    m, n = t.shape[-2:]
    everything = slice(None)
    own, other = part(q, everything, slice(n)), part(q, everything, slice(n, None))
    dq, dr = _thin_qr_push(own, part(r, slice(n), everything), t)
    head, tail = part(own, slice(n), everything), part(own, slice(n, None), everything)
    z_adjoint = solved(adjoint(head - identity(head)), adjoint(tail))
    z = adjoint(z_adjoint)
    d_head, d_tail = part(dq, slice(n), everything), part(dq, slice(n, None), everything)
    turned = adjoint(d_tail - product(z, d_head, None))
    d_other = product(dq, z_adjoint, None) - product(own + product(other, z, None), turned, None)
    return concatenate(dq, d_other, axis=q.ndim - 1), resized(dr, m, n)


def _qr_source(e: Expr) -> str:
    return call_source(
        "lax.linalg.qr(x", _options(e, pivoting=False, full_matrices=True, use_magma=None)
    )


qr = Op(
    "qr",
    _qr_type,
    _qr_source,
    Custom(pushforward=_qr_push),
    params=("pivoting", "full_matrices", "use_magma"),
    flops=lambda e: 2 * _cubic(e),
)
"""A = Q R, or A[:, p] = Q R with the permutation p as third result."""


# Eigenvalues and singular values


def _reciprocal_gaps(gaps: Expr) -> Expr:
    """1 / gaps, but 0 on the diagonal."""
    one = identity(gaps)
    return 1 / (gaps + one) - one


def _differences(w: Expr, like: Expr) -> Expr:
    """w[j] - w[i] at row i and column j."""
    return on_rows(w, like.shape) - on_columns(w, like.shape)


def _eigh_type(x: Type, *, lower: bool, sort_eigenvalues: bool, subset: Any, algorithm: Any) -> Any:
    n = _square(x)
    count = n if subset is None else subset[1] - subset[0]
    batch = x.shape[:-2]
    values = Type((*batch, count), _real(x.dtype), x.weak)
    return x.with_shape((*batch, n, count)), values


def _eigh_push(tangents: Tangents, ans: Expr, a: Expr) -> Any:
    """λ' = diag(Vᴴ A' V) and V' = V (F ∘ Vᴴ A' V) with F = 1 / (λⱼ - λᵢ) off the diagonal."""
    if ans.params["subset"] not in (None, (0, a.shape[-1])):
        raise NoDerivativeError(
            "the derivative of a partial eigendecomposition is not defined: it depends on the "
            "eigenvectors that are left out",
            fix="leave out subset_by_index and select from the result",
        )
    v, w = results(ans)
    moved = product(tangents[0], v)
    dw = column_sums(conjugate(v) * moved)
    inner = product(adjoint(v), moved)
    factors = convert(_reciprocal_gaps(_differences(w, inner)), dtype=v.dtype)
    return product(v, factors * inner), real(dw) if is_complex(v) else dw


def _eigh_source(e: Expr) -> str:
    subset = e.params["subset"]
    options = ["symmetrize_input=False", *_options(e, lower=True, sort_eigenvalues=True)]
    options += [] if subset is None else [f"subset_by_index={subset}"]
    options += _chosen(e, "algorithm", "EighImplementation", "implementation")
    return call_source("lax.linalg.eigh(x", options)


eigh = Op(
    "eigh",
    _eigh_type,
    _eigh_source,
    Custom(pushforward=_eigh_push),
    params=("lower", "sort_eigenvalues", "subset", "algorithm"),
    flops=lambda e: 9 * _cubic(e),
)
"""Eigenvectors and eigenvalues of a Hermitian matrix, of which one triangle is read."""


def _eig_type(x: Type, *, left: bool, right: bool, enable_derivs: bool, implementation: Any) -> Any:
    n = _square(x)
    dtype = np.result_type(x.dtype, np.complex64)
    vectors = Type((*x.shape[:-2], n, n), dtype, x.weak)
    values = vectors.with_shape(x.shape[:-1])
    return (values, *(vectors for wanted in (left, right) if wanted)) if left or right else values


def _eigenvector_push(w: Expr, v: Expr, t: Expr) -> tuple[Expr, Expr]:
    """Nondegenerate perturbation; as LAPACK scales it, vⱼ has norm 1 and its largest entry is real.

    V' = U + V diag(c) with U = V (F ∘ V⁻¹ A' V) and c that keeps both properties.
    """
    inner = product(solved(v, t), v)
    moved = product(v, _reciprocal_gaps(_differences(w, v)) * inner)
    rows = iota(shape=v.shape, dtype=INT32, axis=v.ndim - 2)
    largest = argmax(magnitude(v), axis=v.ndim - 2, dtype=INT32)
    here = eq(rows, on_rows(largest, v.shape))
    at_largest = lambda x: column_sums(select(here, x, 0))  # noqa: E731
    shift = complex_(
        -real(column_sums(conjugate(v) * moved)),
        -(imag(at_largest(moved)) / real(at_largest(v))),
    )
    diagonal = column_sums(identity(inner) * inner)
    return diagonal, moved + v * on_rows(shift, v.shape)


def _eig_push(tangents: Tangents, ans: Expr, a: Expr) -> Any:
    p = ans.params
    vectors = p["left"] or p["right"]
    if vectors and not p["enable_derivs"]:
        raise NoDerivativeError(
            "the derivative of the eigenvectors of a general matrix needs distinct eigenvalues "
            "and eigenvectors with one largest entry, which cannot be checked",
            fix="if your matrices are like that, call jax.lax.linalg.eig with "
            "enable_eigvec_derivs=True",
        )
    full = ans if p["right"] else eig(a, **{**p, "right": True})
    w, *_, v = results(full)
    t = convert(tangents[0], dtype=v.dtype)
    if not vectors:
        # The diagonal of V⁻¹ A' V
        return reduce_sum(solved(v, t) * transposed(v), axes=(v.ndim - 1,))
    dw, dv = _eigenvector_push(w, v, t)
    found = [dw]
    if p["left"]:
        found.append(_eigenvector_push(conjugate(w), item(full, index=1), adjoint(t))[1])
    return (*found, dv) if p["right"] else tuple(found)


def _eig_source(e: Expr) -> str:
    names = {"left": "compute_left_eigenvectors", "right": "compute_right_eigenvectors"}
    options = [f"{name}=False" for short, name in names.items() if not e.params[short]]
    options += ["enable_eigvec_derivs=True"] if e.params["enable_derivs"] else []
    options += _chosen(e, "implementation", "EigImplementation", "implementation")
    return call_source("lax.linalg.eig(x", options) + ("" if isinstance(e.type, tuple) else "[0]")


eig = Op(
    "eig",
    _eig_type,
    _eig_source,
    Custom(pushforward=_eig_push),
    params=("left", "right", "enable_derivs", "implementation"),
    flops=lambda e: 25 * _cubic(e),
)
"""Eigenvalues of any square matrix, and its left and right eigenvectors if they are wanted."""


def _svd_type(
    x: Type, *, full_matrices: bool, compute_uv: bool, subset: Any, algorithm: Any
) -> Any:
    *batch, m, n = x.shape
    k = min(m, n) if subset is None else min(m, n, subset[1] - subset[0])
    values = Type((*batch, k), _real(x.dtype), x.weak)
    if not compute_uv:
        return values
    left = x.with_shape((*batch, m, m if full_matrices else k))
    return left, values, x.with_shape((*batch, n if full_matrices else k, n))


def _svd_push(tangents: Tangents, ans: Expr, a: Expr) -> Any:
    """σ' = diag(Uᴴ A' V); the vectors turn within their span by F ∘ (...) with
    F = 1 / (σⱼ² - σᵢ²), and out of it by what A' does outside of it."""
    p, (m, n) = ans.params, a.shape[-2:]
    if p["compute_uv"] and p["full_matrices"] and m != n:
        raise NoDerivativeError(
            "the derivative of the singular vectors that only complete a basis is not implemented",
            fix="pass full_matrices=False",
        )
    thin = ans if p["compute_uv"] else svd(a, **{**p, "full_matrices": False, "compute_uv": True})
    u, s, vh = results(thin)
    t = tangents[0]
    v = adjoint(vh)
    moved = product(t, v)
    ds = column_sums(conjugate(u) * moved)
    ds = real(ds) if is_complex(ds) else ds
    if not p["compute_uv"]:
        return ds
    inner = product(adjoint(u), moved)
    by_column, by_row = (convert(f(s, inner.shape), dtype=a.dtype) for f in (on_rows, on_columns))
    gaps = (on_rows(s, inner.shape) + on_columns(s, inner.shape)) * _differences(s, inner)
    factors = convert(_reciprocal_gaps(gaps), dtype=a.dtype)
    turned = factors * _hermitian(by_column * inner)
    if is_complex(a):
        # The diagonal of Uᴴ A' V is not real: the phases of the vectors turn.
        none = eq(by_column, 0)
        inverse = select(none, 0, 1 / select(none, 1, by_column))
        turned = turned + identity(inner) * ((inner - adjoint(inner)) * 0.5 * inverse)
    du = product(u, turned)
    dv = product(v, factors * _hermitian(by_row * inner))
    if m > n:
        du = du + (moved - product(u, inner)) / _scale(s, u)
    if n > m:
        back = product(adjoint(t), u)
        dv = dv + (back - product(v, product(vh, back))) / _scale(s, v)
    return du, ds, adjoint(dv)


def _hermitian(x: Expr) -> Expr:
    return x + adjoint(x)


def _scale(s: Expr, vectors: Expr) -> Expr:
    """The singular values over the columns of their vectors."""
    return convert(on_rows(s, vectors.shape), dtype=vectors.dtype)


def _svd_source(e: Expr) -> str:
    options = _options(e, full_matrices=True, compute_uv=True)
    subset = e.params["subset"]
    options += [] if subset is None else [f"subset_by_index={subset}"]
    return call_source(
        "lax.linalg.svd(x", options + _chosen(e, "algorithm", "SvdAlgorithm", "algorithm")
    )


svd = Op(
    "svd",
    _svd_type,
    _svd_source,
    Custom(pushforward=_svd_push),
    params=("full_matrices", "compute_uv", "subset", "algorithm"),
    flops=lambda e: (14 if e.params["compute_uv"] else 4) * _cubic(e),
)
"""A = U diag(s) Vᴴ as (U, s, Vᴴ), or s alone."""


# Factorisations that JAX does not differentiate


def _schur_type(x: Type, *, vectors: bool) -> Types:
    _square(x)
    return (x, x) if vectors else x


schur = Op(
    "schur",
    _schur_type,
    lambda e: (
        "lax.linalg.schur(x)"
        if e.params["vectors"]
        else "lax.linalg.schur(x, compute_schur_vectors=False)[0]"
    ),
    params=("vectors",),
    flops=lambda e: 25 * _cubic(e),
)


def _hessenberg_type(x: Type) -> Types:
    n = _square(x)
    return x, x.with_shape((*x.shape[:-2], n - 1))


hessenberg = Op("hessenberg", _hessenberg_type, "lax.linalg.hessenberg(x)", flops=_cubic)
"""The Hessenberg form with the reflectors below it, and the scales of the reflectors."""


def _tridiagonal_type(x: Type, *, lower: bool) -> Types:
    n, batch = _square(x), x.shape[:-2]
    values = Type((*batch, n), _real(x.dtype), x.weak)
    return x, values, values.with_shape((*batch, n - 1)), x.with_shape((*batch, n - 1))


tridiagonal = Op(
    "tridiagonal",
    _tridiagonal_type,
    lambda e: call_source("lax.linalg.tridiagonal(x", _options(e, lower=True)),
    params=("lower",),
    flops=_cubic,
)
"""The tridiagonal form of a Hermitian matrix with reflectors, its diagonals, and their scales."""


def geqrf(x):
    h, scales = jnp.linalg.qr(x, mode="raw")
    return h.mT, scales


def _reflectors_type(x: Type) -> Types:
    *batch, m, n = x.shape
    return x, x.with_shape((*batch, min(m, n)))


reflectors = Op("geqrf", _reflectors_type, "geqrf(x)", flops=_cubic, helpers=(geqrf,))
"""R above the reflectors that Q is the product of, and the scales of the reflectors."""

householder_product = Op(
    "householder_product",
    lambda x, scales: x,
    "lax.linalg.householder_product(x, y)",
    flops=_cubic,
)
"""The product of reflectors as a matrix."""

reflected = Op(
    "ormqr",
    lambda x, scales, c, *, left, transpose: c,
    lambda e: call_source("lax.linalg.ormqr(x, y, z", _options(e, left=True, transpose=False)),
    params=("left", "transpose"),
    flops=lambda e: 4 * e.type.size * e.args[0].shape[-1],
)
"""A matrix multiplied by a product of reflectors."""
