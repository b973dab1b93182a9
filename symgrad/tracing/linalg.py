"""JAX primitives of linear algebra and Fourier transforms as symgrad nodes.

A reader takes operand nodes and the equation's parameters, and gives one node or a tuple
with one node per result; None means that this use of the primitive stays opaque.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from symgrad.expr import Expr, constant, results
from symgrad.ops import linalg, solve
from symgrad.ops.fft import fft
from symgrad.ops.matrix import product, transposed
from symgrad.ops.ragged import ragged_dot
from symgrad.tracing.solvers import read_solution
from symgrad.walk import Graph

ReadGraph = Callable[[Any], Graph]
"""From a closed jaxpr to a graph."""


def readers(read_graph: ReadGraph) -> dict[str, Callable[..., Any]]:
    """The readers of this family, given how the jaxprs they hold are read."""
    return {**PLAIN, "custom_linear_solve": functools.partial(_read_linear_solve, read_graph)}


def _read_linear_solve(
    read_graph: ReadGraph, *operands: Expr, const_lengths: Any, jaxprs: Any
) -> Expr:
    graphs = [None if jaxpr is None else read_graph(jaxpr) for jaxpr in jaxprs]
    (matvec, *_) = graphs
    found = None
    if matvec is not None:
        found = read_solution(operands, const_lengths, jaxprs.solve, matvec)
    if found is not None:
        return found
    return solve.linear_solve(
        *operands, **dict(zip(solve.PARTS, graphs, strict=True)), counts=tuple(const_lengths)
    )


def _read_triangular_solve(
    a: Expr,
    b: Expr,
    *,
    left_side: bool,
    lower: bool,
    transpose_a: bool,
    conjugate_a: bool,
    unit_diagonal: bool,
) -> Expr:
    return solve.triangular_solve(
        a,
        b,
        left=left_side,
        lower=lower,
        transpose=transpose_a,
        conjugate=conjugate_a,
        unit=unit_diagonal,
    )


def _read_eig(
    x: Expr,
    *,
    compute_left_eigenvectors: bool,
    compute_right_eigenvectors: bool,
    enable_eigvec_derivs: bool,
    implementation: Any,
) -> Expr:
    return linalg.eig(
        x,
        left=compute_left_eigenvectors,
        right=compute_right_eigenvectors,
        enable_derivs=enable_eigvec_derivs,
        implementation=implementation,
    )


def _read_eigh(
    x: Expr, *, lower: bool, sort_eigenvalues: bool, subset_by_index: Any, algorithm: Any
) -> Expr:
    return linalg.eigh(
        x,
        lower=lower,
        sort_eigenvalues=sort_eigenvalues,
        subset=subset_by_index,
        algorithm=algorithm,
    )


def _read_svd(
    x: Expr, *, full_matrices: bool, compute_uv: bool, subset_by_index: Any, algorithm: Any
) -> Expr | tuple[Expr, ...]:
    """The primitive gives the singular values first, JAX's function between the vectors."""
    found = results(
        linalg.svd(
            x,
            full_matrices=full_matrices and compute_uv,
            compute_uv=compute_uv,
            subset=subset_by_index,
            algorithm=algorithm,
        )
    )
    return (found[1], found[0], found[2]) if compute_uv else found[0]


def _read_schur(
    x: Expr, *, compute_schur_vectors: bool, sort_eig_vals: bool, select_callable: Any
) -> Expr | None:
    return None if sort_eig_vals else linalg.schur(x, vectors=compute_schur_vectors)


def _read_symmetric_product(a: Expr, c: Expr, *, alpha: float, beta: float) -> Expr:
    squared = product(a, transposed(a))
    return constant(alpha, a.dtype) * squared + constant(beta, a.dtype) * c


def _read_ragged_dot(
    x: Expr,
    y: Expr,
    sizes: Expr,
    *,
    ragged_dot_dimension_numbers: Any,
    precision: Any,
    preferred_element_type: Any,
    group_offset: Any,
) -> Expr | None:
    if group_offset is not None:
        return None
    return ragged_dot(
        x,
        y,
        sizes,
        numbers=ragged_dot_dimension_numbers,
        precision=precision,
        dtype=None if preferred_element_type is None else np.dtype(preferred_element_type),
    )


PLAIN: dict[str, Callable[..., Any]] = {
    "cholesky": linalg.cholesky,
    "cholesky_update": linalg.cholesky_update,
    "eig": _read_eig,
    "eigh": _read_eigh,
    "fft": lambda x, *, fft_type, fft_lengths: fft(x, kind=fft_type, lengths=tuple(fft_lengths)),
    "geqrf": linalg.reflectors,
    "hessenberg": linalg.hessenberg,
    "householder_product": linalg.householder_product,
    "lu": linalg.lu,
    "lu_pivots_to_permutation": lambda pivots, *, permutation_size: linalg.lu_pivots_to_permutation(
        pivots, size=permutation_size
    ),
    "ormqr": lambda a, taus, c, *, left, transpose: linalg.reflected(
        a, taus, c, left=left, transpose=transpose
    ),
    "qr": lambda x, *, pivoting, full_matrices, use_magma: linalg.qr(
        x, pivoting=pivoting, full_matrices=full_matrices, use_magma=use_magma
    ),
    "ragged_dot_general": _read_ragged_dot,
    "schur": _read_schur,
    "svd": _read_svd,
    "symmetric_product": _read_symmetric_product,
    "triangular_solve": _read_triangular_solve,
    "tridiagonal": lambda x, *, lower: linalg.tridiagonal(x, lower=lower),
    "tridiagonal_solve": lambda below, diagonal, above, b, *, perturb_singular: (
        solve.tridiagonal_solve(below, diagonal, above, b, perturb_singular=perturb_singular)
    ),
}
