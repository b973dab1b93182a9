"""Linear equations with an operator: scipy iterates, and what it does is watched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from symgrad.curvature.libraries import library
from symgrad.curvature.results import Stop

Apply = Callable[[np.ndarray], np.ndarray]

RESTARTS = 4
"""How often an iteration starts anew from what it found, if the true residual is too large."""


@dataclass(frozen=True, slots=True)
class Solved:
    """A flat solution; the attributes are those of `Solution`."""

    x: np.ndarray
    iterations: int
    history: tuple[float, ...]
    residual: float
    products: int
    stop: Stop


class _NegativeCurvature(Exception):
    """Thrown out of the library's loop: what it assumes of the operator does not hold."""


def conjugate_gradients(
    apply: Apply, b: np.ndarray, tol: float, limit: int, precondition: Apply | None, noise: float
) -> Solved:
    """The solution by conjugate gradients, or the last iterate where the operator is indefinite.

    The residual of each iterate needs no product of its own: x moves along the last vector that
    the operator was applied to.

    Args:
        noise: relative error of products, below which a negative curvature may be rounding.
    """
    sparse = library("scipy.sparse.linalg", "solving by conjugate gradients")
    scale = float(np.linalg.norm(b))
    x, residual = np.zeros_like(b), b.copy()
    history, direction, image, products = [1.0], b, b, 0

    def watched(p: np.ndarray) -> np.ndarray:
        nonlocal direction, image, products
        p = p.ravel()
        direction, image, products = p.copy(), apply(p), products + 1
        if direction @ image <= noise * np.linalg.norm(direction) * np.linalg.norm(image):
            raise _NegativeCurvature
        return image

    def moved(new: np.ndarray) -> None:
        nonlocal x, residual
        step = (new - x) @ direction / (direction @ direction)
        residual = residual - step * image
        x = new.copy()
        history.append(float(np.linalg.norm(residual)) / scale)

    operator = _operator(sparse, watched, b)
    helper = None if precondition is None else _operator(sparse, precondition, b)
    stop = Stop.ITERATION_LIMIT
    for _ in range(RESTARTS):
        left = limit - (len(history) - 1)
        if left <= 0:
            break
        try:
            sparse.cg(operator, b, x0=x, rtol=tol / 2, maxiter=left, M=helper, callback=moved)
        except _NegativeCurvature:
            negative = direction @ image < -noise * np.linalg.norm(direction) * np.linalg.norm(
                image
            )
            stop = Stop.NEGATIVE_CURVATURE if negative else Stop.BREAKDOWN
        residual = b - apply(x)
        products += 1
        true = float(np.linalg.norm(residual)) / scale
        if true <= tol:
            stop = Stop.CONVERGED
        if stop is not Stop.ITERATION_LIMIT:
            break
    return _solved(apply, x, b, tol, history, products, stop)


def minimal_residuals(
    apply: Apply, b: np.ndarray, tol: float, limit: int, precondition: Apply | None
) -> Solved:
    """The solution by MINRES, whose residual is computed anew in each iteration."""
    sparse = library("scipy.sparse.linalg", "solving by minimal residuals")
    scale = float(np.linalg.norm(b))
    x, history, products = np.zeros_like(b), [1.0], 0

    def counted(p: np.ndarray) -> np.ndarray:
        nonlocal products
        products += 1
        return apply(p.ravel())

    def moved(new: np.ndarray) -> None:
        history.append(float(np.linalg.norm(b - counted(new))) / scale)

    operator = _operator(sparse, counted, b)
    helper = None if precondition is None else _operator(sparse, precondition, b)
    stop = Stop.ITERATION_LIMIT
    wanted = tol / 2
    for _ in range(RESTARTS):
        left = limit - (len(history) - 1)
        if left <= 0:
            break
        x, _ = sparse.minres(operator, b, x0=x, rtol=wanted, maxiter=left, M=helper, callback=moved)
        before, after = history[-1], float(np.linalg.norm(b - counted(x))) / scale
        if after <= tol:
            stop = Stop.CONVERGED
            break
        if len(history) - 1 < limit and after >= before and wanted < tol * 1e-3:
            stop = Stop.BREAKDOWN
            break
        # The library measures against the size of A x too, so it has to be asked for more.
        wanted /= 30
    return _solved(apply, x, b, tol, history, products, stop)


def _operator(sparse: Any, apply: Apply, b: np.ndarray) -> Any:
    return sparse.LinearOperator((b.size, b.size), matvec=apply, dtype=b.dtype)


def _solved(
    apply: Apply,
    x: np.ndarray,
    b: np.ndarray,
    tol: float,
    history: list[float],
    products: int,
    stop: Stop,
) -> Solved:
    residual = float(np.linalg.norm(b - apply(x)) / np.linalg.norm(b))
    if residual <= tol:
        stop = Stop.CONVERGED
    elif stop is Stop.CONVERGED:
        stop = Stop.BREAKDOWN
    return Solved(x, len(history) - 1, tuple(history), residual, products + 1, stop)


def factorised(matrix: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Solutions with a dense symmetric matrix, which is factorised once.

    Raises:
        LinAlgError: the matrix is singular.
    """
    linalg = library("scipy.linalg", "factorising a Hessian")
    try:
        factor = linalg.cho_factor(matrix)
        return lambda b: linalg.cho_solve(factor, b)
    except np.linalg.LinAlgError:
        values, vectors = linalg.eigh(matrix)
        if np.min(np.abs(values)) <= np.finfo(matrix.dtype).eps * np.max(np.abs(values)):
            raise
        return lambda b: vectors @ ((vectors.T @ b) / values)


def direct(apply: Apply, solve: Apply | None, b: np.ndarray, tol: float) -> Solved:
    """The solution by factors; without factors, of a singular matrix, there is none."""
    if solve is None:
        return Solved(np.zeros_like(b), 0, (1.0,), 1.0, 0, Stop.BREAKDOWN)
    x = solve(b)
    # One step of refinement, with the operator's own products.
    x = x + solve(b - apply(x))
    residual = float(np.linalg.norm(b - apply(x)) / np.linalg.norm(b))
    stop = Stop.CONVERGED if residual <= tol else Stop.BREAKDOWN
    return Solved(x, 0, (1.0, residual), residual, 2, stop)
