"""Eigenvalues, traces, diagonals and spectra, from products alone.

ARPACK (scipy) and matfree iterate; what is left to do here is averaging.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symgrad.curvature.libraries import library
from symgrad.curvature.remembered import remembered
from symgrad.curvature.results import Estimate, Spectrum, Stop

Columns = Callable[[Any], Any]
"""A matrix to the products of an operator with its columns."""

AT_ONCE = 64
"""Vectors that are multiplied at the same time."""


def in_blocks(columns: Columns, matrix: Any) -> Any:
    """The products with many columns, some at a time."""
    count = matrix.shape[1]
    parts = [columns(matrix[:, i : i + AT_ONCE]) for i in range(0, count, AT_ONCE)]
    return jnp.concatenate(parts, axis=1)


def dense(columns: Columns, size: int, dtype: Any) -> np.ndarray:
    """The matrix of an operator, from its products with unit vectors."""
    parts = [
        np.asarray(columns(jnp.eye(size, min(AT_ONCE, size - i), -i, dtype=dtype)))
        for i in range(0, size, AT_ONCE)
    ]
    return np.concatenate(parts, axis=1)


def signs(key: Any, size: int, count: int, dtype: Any) -> Any:
    """Probes: vectors of random signs, as columns."""
    return jax.random.rademacher(key, (size, count), dtype)


def hutchinson_trace(
    columns: Columns, size: int, dtype: Any, key: Any, samples: int
) -> tuple[np.ndarray, int]:
    """Independent estimates of the trace, one a probe, and the number of products."""
    probes = signs(key, size, samples, dtype)
    each = jnp.sum(probes * in_blocks(columns, probes), axis=0)
    return np.asarray(each, float), samples


def hutchpp_trace(
    columns: Columns, size: int, dtype: Any, key: Any, samples: int
) -> tuple[np.ndarray, int]:
    """As `hutchinson_trace`, of what is left of the operator beside its dominant directions.

    Their own share of the trace is exact and part of every estimate.
    """
    first, second = jax.random.split(key)
    third = samples // 3
    basis, _ = jnp.linalg.qr(in_blocks(columns, signs(first, size, third, dtype)))
    exact = jnp.sum(basis * in_blocks(columns, basis))
    probes = signs(second, size, third, dtype)
    probes = probes - basis @ (basis.T @ probes)
    each = exact + jnp.sum(probes * in_blocks(columns, probes), axis=0)
    return np.asarray(each, float), 3 * third


def averaged(what: str, each: np.ndarray, method: str, products: int) -> Estimate:
    """The mean of independent estimates, with its standard error."""
    error = float(each.std(ddof=1) / np.sqrt(len(each))) if len(each) > 1 else float("nan")
    history = tuple(np.cumsum(each) / np.arange(1, len(each) + 1))
    stop = Stop.CONVERGED if np.isfinite(each).all() else Stop.BREAKDOWN
    return Estimate(what, float(each.mean()), error, method, products, stop, history)


def extreme_eigenpairs(
    apply: Callable[[np.ndarray], np.ndarray],
    size: int,
    k: int,
    which: str,
    tol: float,
    limit: int | None,
    start: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, int, Stop]:
    """Values in ascending order, vectors, products, and why it stopped."""
    sparse = library("scipy.sparse.linalg", "finding eigenvalues")
    products = 0

    def counted(v: np.ndarray) -> np.ndarray:
        nonlocal products
        products += 1
        return apply(v.ravel())

    operator = sparse.LinearOperator((size, size), matvec=counted, dtype=start.dtype)
    stop = Stop.CONVERGED
    try:
        values, vectors = sparse.eigsh(operator, k=k, which=which, tol=tol, maxiter=limit, v0=start)
    except sparse.ArpackNoConvergence as error:
        values, vectors, stop = error.eigenvalues, error.eigenvectors, Stop.ITERATION_LIMIT
    except sparse.ArpackError:
        values, vectors, stop = np.zeros(0), np.zeros((size, 0)), Stop.BREAKDOWN
    order = np.argsort(values)
    return values[order], vectors[:, order], products, stop


def lanczos_spectrum(
    tridiagonal: Callable[[Any], tuple[Any, Any]],
    size: int,
    dtype: Any,
    key: Any,
    probes: int,
    order: int,
) -> Spectrum:
    """The quadrature rules of the Lanczos matrices of random vectors."""
    nodes, weights = np.zeros((probes, order)), np.zeros((probes, order))
    residuals, stop = np.zeros(probes), Stop.CONVERGED
    for i, probe in enumerate(signs(key, size, probes, dtype).T):
        matrix, residual = map(np.asarray, tridiagonal(probe))
        steps = _steps(matrix)
        if steps < order:
            stop = Stop.BREAKDOWN
        kept = matrix[:steps, :steps].astype(float)
        values, vectors = np.linalg.eigh((kept + kept.T) / 2)
        nodes[i], weights[i] = values[-1], 0.0
        nodes[i, :steps], weights[i, :steps] = values, vectors[0] ** 2
        residuals[i] = np.linalg.norm(residual) if steps == order else 0.0
    means = np.cumsum((nodes * weights).sum(axis=1)) / np.arange(1, probes + 1)
    return Spectrum(nodes, weights, size, probes * order, residuals, stop, tuple(means))


def _steps(matrix: np.ndarray) -> int:
    """How many steps Lanczos took before the vectors it reached were closed under the operator."""
    beside = np.abs(np.diag(matrix, -1))
    before = np.concatenate([np.zeros(1), beside])[: len(beside)]
    scale = np.maximum.accumulate(np.maximum(np.abs(np.diag(matrix))[:-1], before))
    small = ~(beside > 100 * np.finfo(matrix.dtype).eps * scale)
    return int(np.argmax(small)) + 1 if small.any() else len(matrix)


@remembered
def compiled_lanczos(apply: Callable[..., Any], order: int) -> Callable[..., tuple[Any, Any]]:
    """`(vector, *arguments)` to the Lanczos matrix of `apply(vector, *arguments)`, compiled."""
    # The symmetric variant averages away the small entry that tells where Lanczos has to end.
    run = library("matfree.decomp", "a spectrum").hessenberg(
        order, reortho="full", custom_vjp=False
    )

    def found(vector: Any, *arguments: Any) -> tuple[Any, Any]:
        result = run(apply, vector, *arguments)
        return result.J_small, result.residual

    return jax.jit(found)


def host_lanczos(apply: Callable[[Any], Any], order: int) -> Callable[[Any], tuple[Any, Any]]:
    """The same with products that no trace can hold, since they go over batches of data."""
    run = library("matfree.decomp", "a spectrum").tridiag_sym(
        order, reortho="none", custom_vjp=False
    )
    last: list[Any] = []

    def once(vector: Any) -> Any:
        # The library asks for each product twice in a row.
        if not last or not np.array_equal(last[0], vector):
            with jax.disable_jit(False):
                last[:] = [vector, apply(vector)]
        return last[1]

    def found(vector: Any) -> tuple[Any, Any]:
        last.clear()
        with jax.disable_jit():
            result = run(once, vector)
        return result.J_small, result.residual

    return found
