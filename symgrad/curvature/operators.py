"""Curvature as a symmetric linear operator over the parameters."""

from __future__ import annotations

import functools
import numbers
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symgrad.curvature import estimates, solving, structure
from symgrad.curvature.libraries import library
from symgrad.curvature.products import Product, all_finite, flattened
from symgrad.curvature.remembered import remembered
from symgrad.curvature.results import (
    Diagonal,
    Eigenpairs,
    Estimate,
    Solution,
    Spectrum,
    Stop,
    warn_unless_converged,
)
from symgrad.curvature.vectors import FLAT, MATRIX, TREE, TREES, Space
from symgrad.errors import ArgumentError, ArgumentValueError, OutputError
from symgrad.report import Report

DIRECT_SIZE = 2048
"""A constant operator is factorised up to this dimension."""

DENSE_SIZE = 512
"""Up to this dimension a matrix costs less than iterating does."""


@dataclass(frozen=True, eq=False, repr=False)
class CurvatureOperator:
    """A symmetric linear operator on vectors with the structure of some parameters.

    Made by `sg.hessian_operator`, `sg.gauss_newton_operator` and `sg.fisher_operator`, by adding
    such operators over the same parameters, by multiplying them by numbers and by damping them.
    Nothing of size n² is formed, but by `.dense()` and where the dimension is small.

    Wherever a vector is taken it may be a tree like the parameters or a flat array of shape
    (n,), and what comes back has the same form. Several vectors at once, which are multiplied by
    one batched program, are the columns of an array of shape (n, k), or a tree whose leaves all
    have one more axis in front.

    Attributes:
        terms: factors and products that are summed.
        shift: the multiple of the identity that is added.
        space: of the vectors: structure, shapes and dtypes of the parameters.

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> H = sg.hessian_operator(lambda x: jnp.sum(x**3), jnp.array([1.0, 2.0]))
        >>> H.shape
        (2, 2)
        >>> (2 * H + H.identity) @ jnp.ones(2)
        Array([13., 25.], dtype=float32)
    """

    terms: tuple[tuple[float, Product], ...]
    space: Space
    shift: float = 0.0
    _factors: dict[Any, Any] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int]:
        """(n, n), where n is the number of parameters."""
        return self.space.size, self.space.size

    @property
    def dtype(self) -> Any:
        """Of flat vectors."""
        return self.space.dtype

    @property
    def T(self) -> CurvatureOperator:
        """The operator itself, which is symmetric."""
        return self

    @property
    def identity(self) -> CurvatureOperator:
        """The identity on the same vectors, to damp with: `G + 0.1 * G.identity`."""
        return CurvatureOperator((), self.space, 1.0)

    @property
    def positive(self) -> bool:
        """Whether it is known to be positive semidefinite by the way it was made."""
        return self.shift >= 0 and all(s >= 0 and p.positive for s, p in self.terms)

    @property
    def constant(self) -> bool:
        """Whether it is the same at all parameters, like the Hessian of a quadratic function."""
        return all(p.constant for _, p in self.terms)

    def __repr__(self) -> str:
        names = [f"{'' if s == 1 else f'{s:g} '}{p.along.__name__}" for s, p in self.terms]
        names += [f"{self.shift:g} identity"] if self.shift or not names else []
        return f"CurvatureOperator({self.shape[0]} x {self.shape[1]}: {' + '.join(names)})"

    def __add__(self, other: CurvatureOperator) -> CurvatureOperator:
        if not isinstance(other, CurvatureOperator):
            return NotImplemented
        if other.space != self.space:
            raise ArgumentError(
                f"operators over different parameters, of dimensions {self.shape[0]} and "
                f"{other.shape[0]}, cannot be added",
                fix="make both from parameters with one structure, shapes and dtypes",
            )
        return CurvatureOperator(self.terms + other.terms, self.space, self.shift + other.shift)

    def __mul__(self, factor: float) -> CurvatureOperator:
        if not isinstance(factor, numbers.Real | np.ndarray | jax.Array) or np.ndim(factor):
            return NotImplemented
        scale = float(factor)
        terms = tuple((scale * s, p) for s, p in self.terms)
        return CurvatureOperator(terms, self.space, scale * self.shift)

    __rmul__ = __mul__

    def __neg__(self) -> CurvatureOperator:
        return self * -1.0

    def __sub__(self, other: CurvatureOperator) -> CurvatureOperator:
        return self + -other if isinstance(other, CurvatureOperator) else NotImplemented

    def __truediv__(self, divisor: float) -> CurvatureOperator:
        return self * (1 / divisor)

    def damped(self, damping: float) -> CurvatureOperator:
        """The operator with this multiple of the identity added."""
        return replace(self, shift=self.shift + float(damping), _factors={})

    def __matmul__(self, vector: Any) -> Any:
        """The product with a vector, or with several at once.

        Raises:
            ArgumentError: the vector is neither a tree like the parameters nor flat; the message
                names the leaf.
            ArgumentValueError: what comes out is not finite; the message says where.
        """
        form = self.space.form(vector)
        if form in (FLAT, MATRIX):
            vector = jnp.asarray(vector, self.dtype)
        else:
            vector = self.space.cast(vector)
        method = {TREE: "one", TREES: "several", FLAT: "flat", MATRIX: "columns"}[form]
        parts = [(s, getattr(p, method)(vector)) for s, p in self.terms]
        if self.shift or not parts:
            parts.append((self.shift, vector))

        def total(*leaves: Any) -> Any:
            terms = [x if s == 1 else s * x for (s, _), x in zip(parts, leaves, strict=True)]
            return sum(terms[1:], terms[0])

        return jax.tree.map(total, *(x for _, x in parts))

    def matvec(self, vector: Any) -> Any:
        """The product with one vector, flat or a tree; `self @ vector`."""
        return self @ vector

    def matmat(self, vectors: Any) -> Any:
        """The products with several vectors in one batched program; `self @ vectors`."""
        return self @ vectors

    def _apply(self, vector: np.ndarray) -> np.ndarray:
        """The product for iterations on the host, in their precision."""
        return np.asarray(self @ vector, np.float64)

    def source(self) -> str:
        """The programs that multiply one vector by each term, as Python."""
        return "\n\n".join(p.along.source(*p.example) for _, p in self.terms)

    def explain(self) -> tuple[Report, ...]:
        """What became of each term's program, and which order of differentiating it takes."""
        return tuple(p.along.explain(*p.example) for _, p in self.terms)

    def dense(self, max_bytes: int = 2**31) -> jax.Array:
        """The matrix, shape (n, n).

        The matrix of a Hessian is that of `sg.hessian`; others are products with unit vectors,
        many at once.

        Raises:
            OutputError: it has more than `max_bytes` bytes; nothing is allocated.
        """
        size = self.shape[0]
        needed = size * size * jnp.dtype(self.dtype).itemsize
        if needed > max_bytes:
            raise OutputError(
                f"the matrix of {size} x {size} has {needed:,} bytes, more than "
                f"max_bytes={max_bytes:,}",
                fix="use products (@), .eigsh, .solve, .trace or .spectrum, which never form it",
            )
        total = self.shift * jnp.eye(size, dtype=self.dtype)
        for scale, product in self.terms:
            if product.hessian and product.batches is None:
                matrix = structure.matrix(product)
            else:
                matrix = jnp.asarray(estimates.dense(product.columns, size, self.dtype))
            total = total + scale * matrix
        return total

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
        if k == size or size <= 4 * k or size <= 32:
            values, vectors = np.linalg.eigh(_symmetric(self.matmat, size, self.dtype))
            chosen = _chosen(values, k, which)
            values, vectors, products = values[chosen], vectors[:, chosen], size
            stop = Stop.CONVERGED
        else:
            start = np.random.default_rng(0).normal(size=size)
            values, vectors, products, stop = estimates.extreme_eigenpairs(
                self._apply, size, k, which, tol or self._noise, max_iterations, start
            )
        images = np.asarray(self @ jnp.asarray(vectors), float) if len(values) else vectors
        residuals = np.linalg.norm(images - vectors * values, axis=0)
        trees = self.space.unflat(jnp.asarray(vectors.T, self.dtype))
        found = Eigenpairs(values, vectors, trees, residuals, products, stop)
        warn_unless_converged(found, "ask for fewer, or raise tol or max_iterations")
        return found

    @property
    def _noise(self) -> float:
        """The relative error that a product may have by rounding."""
        return 16 * float(jnp.finfo(self.dtype).eps)

    def norm(self) -> Estimate:
        """The spectral norm: the largest magnitude of an eigenvalue.

        Returns:
            An `Estimate`, whose `standard_error` bounds the distance to the nearest eigenvalue.
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
            tol: what |b - A x| / |b|, computed anew at the end, is to fall below.
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

    def _factorised(self, damping: float) -> Callable[[np.ndarray], np.ndarray]:
        if damping not in self._factors:
            matrix = np.asarray(self.dense(), np.float64)
            matrix = (matrix + matrix.T) / 2 + damping * np.eye(len(matrix))
            self._factors[damping] = solving.factorised(matrix)
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
            run = estimates.compiled_lanczos(_summed(programs, self.space), order)
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

    def to_scipy(self) -> Any:
        """As a `scipy.sparse.linalg.LinearOperator` on flat arrays.

        Raises:
            MissingLibraryError: scipy is not installed.
        """
        sparse = library("scipy.sparse.linalg", "a scipy operator")
        apply = lambda v: np.asarray(self @ np.ravel(v))  # noqa: E731
        return sparse.LinearOperator(
            self.shape,
            matvec=apply,
            rmatvec=apply,
            matmat=lambda m: np.asarray(self @ m),
            rmatmat=lambda m: np.asarray(self @ m),
            dtype=np.dtype(self.dtype),
        )

    def to_lineax(self) -> Any:
        """As a `lineax.FunctionLinearOperator` on trees like the parameters.

        It is tagged symmetric, and positive semidefinite where the operator is known to be.

        Raises:
            MissingLibraryError: lineax is not installed.
            ArgumentError: the data comes in batches, which a trace cannot hold.
        """
        lineax = library("lineax", "a lineax operator")
        if any(p.batches is not None for _, p in self.terms):
            raise ArgumentError(
                "an operator over batches of data cannot become part of a JAX program",
                fix="pass the data after the parameters, or use .to_scipy()",
            )
        tags = [lineax.symmetric_tag]
        if self.positive:
            tags.append(lineax.positive_semidefinite_tag)
        shapes = [
            jax.ShapeDtypeStruct(s, d)
            for s, d in zip(self.space.shapes, self.space.dtypes, strict=True)
        ]
        structs = jax.tree.unflatten(self.space.tree, shapes)
        return lineax.FunctionLinearOperator(self.__matmul__, structs, tags)


@remembered
def _summed(programs: Sequence[Any], space: Space) -> Callable[..., Any]:
    """The sum of flat products, as a function of all that they depend on."""
    flat = [flattened(program, space) for program in programs]

    def apply(vector: Any, scales: Any, arguments: Any) -> Any:
        total = scales[0].astype(vector.dtype) * vector
        for product, scale, (params, data) in zip(flat, scales[1:], arguments, strict=True):
            total = total + scale.astype(vector.dtype) * product(vector, params, *data)
        return total

    return apply


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
