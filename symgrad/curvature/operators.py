"""Curvature as an operator: its diagonal, trace, eigenvalues, solutions and spectrum."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from symgrad.curvature import estimates, solving, structure
from symgrad.curvature.algebra import SymmetricOperator, summed
from symgrad.curvature.products import all_finite
from symgrad.curvature.results import (
    Diagonal,
    Eigenpairs,
    Estimate,
    Solution,
    Spectrum,
    Stop,
    warn_unless_converged,
)
from symgrad.curvature.vectors import FLAT, TREE
from symgrad.errors import ArgumentError, ArgumentValueError

DIRECT_SIZE = 2048
"""A constant operator is factorised up to this dimension."""

DENSE_SIZE = 512
"""Up to this dimension a matrix costs less than iterating does."""


@dataclass(frozen=True, eq=False, repr=False)
class CurvatureOperator(SymmetricOperator):
    """A symmetric linear operator on vectors with the structure of some parameters.

    Made by `sg.hessian_operator`, `sg.gauss_newton_operator` and `sg.fisher_operator`, by adding
    such operators over the same parameters, by multiplying them by numbers and by damping them.
    Nothing of size n² is formed, but by `.dense()` and where the dimension is small.

    Wherever a vector is taken it may be a tree like the parameters or a flat array of shape
    (n,), and what comes back has the same form. Several vectors at once, which are multiplied by
    one batched program, are the columns of an array of shape (n, k), or a tree whose leaves all
    have one more axis in front; an array with n rows is taken for columns.

    Attributes:
        terms: factors and products that are summed.
        space: of the vectors: structure, shapes and dtypes of the parameters.
        shift: the multiple of the identity that is added.

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> H = sg.hessian_operator(lambda x: jnp.sum(x**3), jnp.array([1.0, 2.0]))
        >>> H.shape
        (2, 2)
        >>> (2 * H + H.identity) @ jnp.ones(2)
        Array([13., 25.], dtype=float32)
    """

    def diagonal(self, key: Any = None, samples: int = 64, exact: bool | None = None) -> Diagonal:
        """The diagonal: exact where that is cheap, otherwise an estimate that says so.

        It is exact if the second derivatives that each leaf has with itself are known to be
        diagonal, or products of arrays that are small, or if n is at most 512.

        Args:
            key: for the signs of the estimate; needed only for that.
            samples: how many vectors of signs the estimate takes.
            exact: True insists on the exact diagonal, at the price of n products; False on the
                estimate.

        Raises:
            ArgumentError: the estimate is needed and there is no key.

        Source:
            Bekas, Kokiopoulou and Saad, An estimator for the diagonal of a matrix, Applied
            Numerical Mathematics 57 (2007).

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> H = sg.hessian_operator(lambda x: jnp.sum(jnp.exp(x)), jnp.zeros(10_000))
            >>> H.diagonal()
            Diagonal(10000 entries, exact, structure)
        """
        size = self.shape[0]
        if exact is not False:
            found = self._structured_diagonal()
            if found is not None:
                return self._diagonal(found, "structure", 0)
            if exact or size <= DENSE_SIZE:
                parts = [
                    s * np.diagonal(estimates.dense(p.columns, size, self.dtype))
                    for s, p in self.terms
                ]
                return self._diagonal(sum(parts) + self.shift, "products with unit vectors", size)
        if key is None:
            raise ArgumentError(
                f"the diagonal of {size} entries is not cheap to compute, and its estimate needs "
                "a key",
                fix="H.diagonal(jax.random.key(0)), or H.diagonal(exact=True) for n products",
            )
        probes = estimates.signs(key, size, samples, self.dtype)
        each = np.asarray(probes * estimates.in_blocks(self.matmat, probes), float)
        error = each.std(axis=1, ddof=1) / np.sqrt(samples)
        return self._diagonal(each.mean(axis=1), "Rademacher estimate", samples, error)

    def _diagonal(
        self, flat: Any, method: str, products: int, error: np.ndarray | None = None
    ) -> Diagonal:
        flat = np.asarray(flat, self.dtype)
        tree = self.space.unflat(jnp.asarray(flat))
        known = np.zeros(flat.shape) if error is None else error
        return Diagonal(tree, flat, error is None, known, method, products)

    def _structured_diagonal(self) -> Any:
        """The exact diagonal of small arrays, None where there are none."""
        total = np.full(self.shape[0], self.shift)
        for scale, product in self.terms:
            part = structure.diagonal(product) if product.hessian else None
            if part is None:
                return None
            total = total + scale * part
        return total

    def trace(self, key: Any, samples: int = 96, method: str = "hutch++") -> Estimate:
        """The trace, estimated without bias, with its standard error.

        Args:
            key: a key of `jax.random`.
            samples: products to spend; the trace is exact if that is n or more.
            method: "hutch++", which treats dominant directions exactly, or "hutchinson".

        Source:
            Hutchinson, A stochastic estimator of the trace of the influence matrix,
            Communications in Statistics 19 (1990); Meyer, Musco, Musco and Woodruff, Hutch++:
            Optimal stochastic trace estimation, SOSA (2021).

        Example:
            >>> import jax, jax.numpy as jnp
            >>> import symgrad as sg
            >>> H = sg.hessian_operator(lambda x: jnp.sum(x**2), jnp.ones(1000))
            >>> H.trace(jax.random.key(0), method="hutchinson")
            Estimate(trace = 2000 ± 0, hutchinson, 96 products, converged)
        """
        ways = {"hutch++": estimates.hutchpp_trace, "hutchinson": estimates.hutchinson_trace}
        if method not in ways:
            raise ArgumentValueError(
                f"trace knows no method {method!r}", fix=f"pass one of {', '.join(ways)}"
            )
        size = self.shape[0]
        if samples >= size:
            value = float(np.trace(estimates.dense(self.matmat, size, self.dtype)))
            return Estimate("trace", value, 0.0, "exact", size, Stop.CONVERGED, (value,))
        if samples < 6:
            raise ArgumentValueError(
                f"{samples} samples are too few to say how good a trace is", fix="take 6 or more"
            )
        each, products = ways[method](self.matmat, size, self.dtype, key, samples)
        return estimates.averaged("trace", each, method, products)

    def eigsh(
        self,
        k: int = 6,
        which: str = "LA",
        tol: float = 0.0,
        max_iterations: int | None = None,
    ) -> Eigenpairs:
        """Some extreme eigenvalues and their eigenvectors, by ARPACK.

        Args:
            k: how many.
            which: "LA" the largest, "SA" the smallest, "LM" the largest in magnitude, "BE" half
                from each end.
            tol: relative accuracy; 0 is as good as rounding allows.
            max_iterations: restarts; by default ARPACK's.

        Raises:
            ArgumentValueError: k is not between 1 and the dimension, or `which` is none of these.

        Source:
            Lehoucq, Sorensen and Yang, ARPACK Users' Guide, SIAM (1998).

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> H = sg.hessian_operator(lambda x: x[0] * x[1], jnp.ones(2))
            >>> H.eigsh(2).values.round(4).tolist()
            [-1.0, 1.0]
        """
        size = self.shape[0]
        if not 1 <= k <= size:
            raise ArgumentValueError(
                f"k={k} eigenvalues of an operator of dimension {size}",
                fix=f"ask for 1 to {size}",
            )
        if which not in ("LA", "SA", "LM", "BE"):
            raise ArgumentValueError(
                f"eigsh knows no which={which!r}", fix="pass 'LA', 'SA', 'LM' or 'BE'"
            )
        small = k >= size - 1 or size <= max(32, min(4 * k, DIRECT_SIZE))
        products, stop = 0, Stop.BREAKDOWN
        values, vectors = np.zeros(0), np.zeros((size, 0))
        if not small:
            start = np.random.default_rng(0).normal(size=size)
            values, vectors, products, stop = estimates.extreme_eigenpairs(
                self._apply, size, k, which, tol or self._noise, max_iterations, start
            )
        if small or (stop is Stop.BREAKDOWN and size <= DIRECT_SIZE):
            values, vectors = np.linalg.eigh(_symmetric(self.matmat, size, self.dtype))
            chosen = _chosen(values, k, which)
            values, vectors, stop = values[chosen], vectors[:, chosen], Stop.CONVERGED
            products += size
        images = np.asarray(self @ jnp.asarray(vectors), float) if len(values) else vectors
        residuals = np.linalg.norm(images - vectors * values, axis=0)
        trees = self.space.unflat(jnp.asarray(vectors.T, self.dtype))
        found = Eigenpairs(values, vectors, trees, residuals, products, stop)
        warn_unless_converged(found, "ask for fewer, or raise tol or max_iterations")
        return found

    def norm(self) -> Estimate:
        """The spectral norm: the largest magnitude of an eigenvalue.

        Returns:
            An `Estimate`, whose `standard_error` bounds the distance to the nearest eigenvalue.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> H = sg.hessian_operator(lambda x: jnp.sum(x**4), jnp.array([1.0, 2.0]))
            >>> round(float(H.norm()), 3)
            48.0
        """
        pairs = self.eigsh(1, "LM")
        value = float(np.max(np.abs(pairs.values), initial=0.0))
        error = float(np.max(pairs.residuals, initial=0.0))
        return Estimate("norm", value, error, "ARPACK", pairs.iterations, pairs.stop, (value,))

    def solve(
        self,
        b: Any,
        damping: float = 0.0,
        tol: float = 1e-5,
        method: str = "auto",
        max_iterations: int | None = None,
        precondition: Any = "auto",
    ) -> Solution:
        """The x with (A + damping I) x = b.

        Args:
            b: a flat array of shape (n,), or a tree like the parameters.
            damping: a multiple of the identity to add.
            tol: what `|b - A x| / |b|`, computed anew at the end, is to fall below.
            method: "cg", which needs the operator to be positive definite; "minres", which does
                not; "direct", which factorises the matrix, once for all right sides; "auto" is
                "direct" where the operator is constant and n at most 2048, and "cg" otherwise.
            max_iterations: by default 10 n, at least 100.
            precondition: "auto" divides by the diagonal where its structure makes that exact and
                cheap; "diagonal" always does; "block" solves with the second derivatives that
                each leaf has with itself; None does neither; or a function of flat vectors.

        Returns:
            A `Solution`. If it has not converged it says so, and warns: it then holds the last
            iterate.

        Raises:
            ArgumentError: `b` does not match the parameters.

        Source:
            Hestenes and Stiefel, Methods of conjugate gradients for solving linear systems,
            Journal of Research of the NBS 49 (1952); Paige and Saunders, Solution of sparse
            indefinite systems of linear equations, SIAM Journal on Numerical Analysis 12 (1975).

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> H = sg.hessian_operator(lambda x: jnp.sum(jnp.cosh(x)), jnp.zeros(3))
            >>> H.solve(jnp.array([2.0, 4.0, 6.0]), damping=1.0).x
            Array([1., 2., 3.], dtype=float32)
        """
        form = self.space.form(b)
        if form not in (TREE, FLAT):
            raise ArgumentError(
                "solve takes one right side at a time",
                fix="pass a flat array or a tree like the parameters",
            )
        if method not in ("auto", "cg", "minres", "direct"):
            raise ArgumentValueError(
                f"solve knows no method {method!r}",
                fix="pass 'auto', 'cg', 'minres' or 'direct'",
            )
        if not bool(all_finite(b)):
            raise ArgumentValueError(
                "the right side has entries that are nan or infinite", fix="replace them"
            )
        whole = self.damped(damping) if damping else self
        right = np.asarray(b if form == FLAT else self.space.flat(self.space.cast(b)), np.float64)
        if method == "auto":
            small = self.shape[0] <= DIRECT_SIZE
            method = "direct" if small and self.constant else "cg"
        limit = max_iterations or max(100, 10 * self.shape[0])
        if not right.any():
            found = solving.Solved(right, 0, (0.0,), 0.0, 0, Stop.CONVERGED)
        elif method == "direct":
            found = solving.direct(whole._apply, self._factorised(damping), right, tol)
        else:
            helper = structure.preconditioner(whole.terms, whole.shift, self.space, precondition)
            if method == "cg":
                found = solving.conjugate_gradients(
                    whole._apply, right, tol, limit, helper, self._noise
                )
            else:
                found = solving.minimal_residuals(whole._apply, right, tol, limit, helper)
        x = jnp.asarray(found.x, self.dtype)
        solution = Solution(
            x if form == FLAT else self.space.unflat(x),
            method,
            found.iterations,
            found.history,
            found.residual,
            tol,
            found.products,
            found.stop,
        )
        warn_unless_converged(solution, _advice(found.stop))
        return solution

    def _factorised(self, damping: float) -> Callable[[np.ndarray], np.ndarray] | None:
        """Solutions by factors, kept for the next right side; None where there are none."""
        if damping not in self._factors:
            matrix = np.asarray(self.dense(), np.float64)
            matrix = (matrix + matrix.T) / 2 + damping * np.eye(len(matrix))
            try:
                self._factors[damping] = solving.factorised(matrix)
            except np.linalg.LinAlgError:
                self._factors[damping] = None
        return self._factors[damping]

    def spectrum(self, key: Any, probes: int = 8, order: int = 64) -> Spectrum:
        """The density of the eigenvalues, by stochastic Lanczos quadrature.

        Args:
            key: a key of `jax.random`.
            probes: random vectors to start from.
            order: Lanczos steps from each, which find that many points of the spectrum; all are
                kept orthogonal, for which `order` vectors are held in memory.

        Source:
            Golub and Welsch, Calculation of Gauss quadrature rules, Mathematics of Computation
            23 (1969); Ghorbani, Krishnan and Xiao, An investigation into neural net optimization
            via Hessian eigenvalue density, ICML (2019).

        Example:
            >>> import jax, jax.numpy as jnp
            >>> import symgrad as sg
            >>> H = sg.hessian_operator(lambda x: jnp.sum(x**4), jnp.linspace(0.0, 1.0, 50))
            >>> spectrum = H.spectrum(jax.random.key(0), order=20)
            >>> [round(x, 1) for x in spectrum.extremes]
            [0.0, 12.0]
        """
        size = self.shape[0]
        order = min(order, size)
        if any(p.batches is not None for _, p in self.terms):
            tridiagonal = estimates.host_lanczos(self.matvec, order)
        else:
            programs = tuple(p.along for _, p in self.terms)
            run = estimates.compiled_lanczos(summed(programs, self.space), order)
            scales = (jnp.asarray(self.shift), *(jnp.asarray(s) for s, _ in self.terms))
            arguments = [(p.params, p.data) for _, p in self.terms]
            tridiagonal = functools.partial(_called, run, scales, arguments)
        return estimates.lanczos_spectrum(tridiagonal, size, self.dtype, key, probes, order)

    def logdet(self, key: Any, probes: int = 16, order: int = 64) -> Estimate:
        """The logarithm of the determinant, by stochastic Lanczos quadrature.

        The operator has to be positive definite. Where an eigenvalue is seen to be negative the
        estimate is nan, says so and warns.

        Source:
            Ubaru, Chen and Saad, Fast estimation of tr(f(A)) via stochastic Lanczos quadrature,
            SIAM Journal on Matrix Analysis 38 (2017).

        Example:
            >>> import jax, jax.numpy as jnp
            >>> import symgrad as sg
            >>> H = sg.hessian_operator(lambda x: jnp.sum(x**2), jnp.ones(100))
            >>> round(float(H.logdet(jax.random.key(0))), 2)
            69.31
        """
        rule = self.spectrum(key, probes, order)
        used = rule.weights > 0
        method = "stochastic Lanczos quadrature"
        if np.min(rule.nodes[used]) <= 0:
            nan = float("nan")
            stop = Stop.NEGATIVE_CURVATURE
            found = Estimate("logdet", nan, nan, method, rule.iterations, stop)
            warn_unless_converged(found, "damp the operator: H.damped(1e-3).logdet(key)")
            return found
        logs = np.log(np.where(used, rule.nodes, 1.0))
        each = self.shape[0] * (logs * rule.weights).sum(axis=1)
        return estimates.averaged("logdet", each, method, rule.iterations)


def _called(run: Callable[..., Any], scales: Any, arguments: Any, vector: Any) -> Any:
    return run(vector, scales, arguments)


def _symmetric(columns: Callable[[Any], Any], size: int, dtype: Any) -> np.ndarray:
    matrix = estimates.dense(columns, size, dtype).astype(float)
    return (matrix + matrix.T) / 2


def _chosen(values: np.ndarray, k: int, which: str) -> np.ndarray:
    """The numbers of the wanted ones among ascending values."""
    size = len(values)
    match which:
        case "SA":
            return np.arange(k)
        case "LM":
            return np.sort(np.argsort(np.abs(values))[size - k :])
        case "BE":
            low = k // 2
            return np.r_[np.arange(low), np.arange(size - (k - low), size)]
    return np.arange(size - k, size)


def _advice(stop: Stop) -> str:
    return {
        Stop.NEGATIVE_CURVATURE: "the operator is indefinite: use method='minres', or more damping",
        Stop.BREAKDOWN: "the operator is singular, or its products are not exact enough: use more "
        "damping, a larger tol, or float64",
    }.get(stop, "raise max_iterations or tol, or add damping")
