"""What iterations and estimates return: the numbers, and how far they can be trusted."""

from __future__ import annotations

import enum
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from symgrad.curvature.libraries import library


class ConvergenceWarning(UserWarning):
    """An iteration stopped before it reached its tolerance; the result says why.

    Example:
        >>> import symgrad as sg
        >>> issubclass(sg.ConvergenceWarning, UserWarning)
        True
    """


class Stop(enum.StrEnum):
    """Why an iteration stopped.

    Example:
        >>> import symgrad as sg
        >>> print(sg.Stop.NEGATIVE_CURVATURE)
        negative curvature met
    """

    CONVERGED = "converged"
    ITERATION_LIMIT = "iteration limit"
    BREAKDOWN = "breakdown"
    NEGATIVE_CURVATURE = "negative curvature met"


def warn_unless_converged(result: Any, advice: str) -> None:
    """Say aloud what a result that has not converged says of itself."""
    if not result.converged:
        warnings.warn(f"{result!r}\n\n  fix: {advice}", ConvergenceWarning, stacklevel=3)


@dataclass(frozen=True, slots=True, repr=False)
class Solution:
    """A solution of (A + damping I) x = b.

    Attributes:
        x: in the form of `b`, a tree or a flat array.
        method: "cg", "minres" or "direct".
        iterations: of the method.
        history: `|b - A x| / |b|` after each iteration, the first before any.
        residual: `|b - A x| / |b|`, computed anew from `x` at the end.
        tol: what `residual` was to fall below.
        products: how often the operator was applied.
        stop: why it stopped.

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> H = sg.hessian_operator(lambda x: jnp.sum(x**4), jnp.array([1.0, 2.0]))
        >>> solution = H.solve(jnp.array([12.0, 48.0]))
        >>> solution.x, solution.converged
        (Array([1., 1.], dtype=float32), True)
    """

    x: Any
    method: str
    iterations: int
    history: tuple[float, ...]
    residual: float
    tol: float
    products: int
    stop: Stop

    @property
    def converged(self) -> bool:
        """Whether the recomputed residual is at most `tol`.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> H = sg.hessian_operator(lambda x: jnp.sum(x**4), jnp.array([1.0, 2.0]))
            >>> H.solve(jnp.ones(2)).converged
            True
        """
        return self.stop is Stop.CONVERGED

    def __repr__(self) -> str:
        return (
            f"Solution({_verdict(self)}, {self.method}: {self.iterations} iterations, "
            f"|b - Ax|/|b| = {self.residual:.2e}, tol = {self.tol:.2e})"
        )


@dataclass(frozen=True, slots=True, repr=False)
class Eigenpairs:
    """Some eigenvalues and eigenvectors.

    Attributes:
        values: shape (k,), in ascending order.
        vectors: shape (n, k), an eigenvector of length 1 in each column.
        trees: the same vectors, in the structure of the parameters with a leading axis of k.
        residuals: `|A v - value v|` for each, computed anew at the end.
        iterations: applications of the operator; ARPACK counts its restarts in no result.
        history: empty: ARPACK does not tell its residuals on the way.
        stop: why it stopped; what had not converged by then is left out.

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> H = sg.hessian_operator(lambda x: jnp.sum(x**2 * jnp.arange(1.0, 6.0)), jnp.ones(5))
        >>> H.eigsh(2).values.round(3).tolist()
        [8.0, 10.0]
    """

    values: np.ndarray
    vectors: np.ndarray
    trees: Any
    residuals: np.ndarray
    iterations: int
    stop: Stop
    history: tuple[float, ...] = ()

    @property
    def converged(self) -> bool:
        """Whether all that were asked for were found.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> H = sg.hessian_operator(lambda x: jnp.sum(x**4), jnp.array([1.0, 2.0]))
            >>> H.eigsh(1).converged
            True
        """
        return self.stop is Stop.CONVERGED

    def __repr__(self) -> str:
        values = ", ".join(f"{v:.6g}" for v in self.values)
        worst = max(self.residuals, default=0.0)
        return (
            f"Eigenpairs({_verdict(self)}, values = [{values}], "
            f"largest residual = {worst:.2e}, {self.iterations} products)"
        )


@dataclass(frozen=True, slots=True, repr=False)
class Estimate:
    """One number, and how well it is known. `float(estimate)` is the number.

    Attributes:
        what: is estimated.
        value: the estimate.
        standard_error: of the mean over the probes, or a bound from the residual; 0 where exact.
        method: how it was found.
        iterations: applications of the operator.
        history: the estimate after each probe.
        stop: why it stopped.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import symgrad as sg
        >>> H = sg.hessian_operator(lambda x: jnp.sum(x**4), jnp.ones(100))
        >>> trace = H.trace(jax.random.key(0), method="hutchinson")
        >>> float(trace), trace.standard_error
        (1200.0, 0.0)
    """

    what: str
    value: float
    standard_error: float
    method: str
    iterations: int
    stop: Stop
    history: tuple[float, ...] = ()

    @property
    def converged(self) -> bool:
        """Whether the iterations behind it did what they were to do.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> H = sg.hessian_operator(lambda x: jnp.sum(x**4), jnp.array([1.0, 2.0]))
            >>> H.norm().converged
            True
        """
        return self.stop is Stop.CONVERGED

    def __float__(self) -> float:
        return self.value

    def __repr__(self) -> str:
        return (
            f"Estimate({self.what} = {self.value:.6g} ± {self.standard_error:.2g}, "
            f"{self.method}, {self.iterations} products, {_verdict(self)})"
        )


@dataclass(frozen=True, slots=True, repr=False)
class Diagonal:
    """The diagonal of an operator.

    Attributes:
        tree: in the structure of the parameters.
        flat: the same, shape (n,).
        exact: whether it is the diagonal and no estimate of it.
        standard_error: of each entry, shape (n,); zeros where exact.
        method: how it was found.
        iterations: applications of the operator.

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> H = sg.hessian_operator(lambda x: jnp.sum(x**4), jnp.array([1.0, 2.0]))
        >>> diagonal = H.diagonal()
        >>> diagonal.tree, diagonal.exact
        (Array([12., 48.], dtype=float32), True)
    """

    tree: Any
    flat: np.ndarray
    exact: bool
    standard_error: np.ndarray
    method: str
    iterations: int

    def __repr__(self) -> str:
        kind = "exact" if self.exact else f"estimated, ± {float(self.standard_error.mean()):.2g}"
        return f"Diagonal({self.flat.size} entries, {kind}, {self.method})"


@dataclass(frozen=True, slots=True, repr=False)
class Spectrum:
    """The density of an operator's eigenvalues, by stochastic Lanczos quadrature.

    Attributes:
        nodes: shape (probes, order): places.
        weights: shape (probes, order): how much of the spectrum is there; each row sums to 1.
        size: the dimension of the operator.
        iterations: applications of the operator.
        residuals: `|A Q - Q T|` of each probe's Lanczos basis at its last step, shape (probes,).
        stop: `CONVERGED` if each probe took all its steps, `BREAKDOWN` if some ended before,
            where the vectors reached are closed under the operator and the rule is exact.
        history: the first moment after each probe.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import symgrad as sg
        >>> H = sg.hessian_operator(lambda x: jnp.sum(x**2), jnp.ones(50))
        >>> round(H.spectrum(jax.random.key(0)).moment(1), 4)
        2.0
    """

    nodes: np.ndarray
    weights: np.ndarray
    size: int
    iterations: int
    residuals: np.ndarray
    stop: Stop
    history: tuple[float, ...] = field(default=())

    @property
    def converged(self) -> bool:
        """Whether the quadrature is what was asked for; a breakdown only makes it exact.

        Example:
            >>> import jax, jax.numpy as jnp
            >>> import symgrad as sg
            >>> H = sg.hessian_operator(lambda x: jnp.sum(x**2), jnp.ones(50))
            >>> spectrum = H.spectrum(jax.random.key(0))
            >>> spectrum.converged
            True
        """
        return self.stop in (Stop.CONVERGED, Stop.BREAKDOWN)

    def mean(self, fun: Any) -> tuple[float, float]:
        """The mean of a function of the eigenvalues over all of them, and its standard error.

        Example:
            >>> import jax, jax.numpy as jnp
            >>> import symgrad as sg
            >>> H = sg.hessian_operator(lambda x: jnp.sum(x**2), jnp.ones(50))
            >>> spectrum = H.spectrum(jax.random.key(0))
            >>> mean, error = spectrum.mean(lambda x: x**2)
            >>> round(mean, 3)
            4.0
        """
        each = (fun(self.nodes) * self.weights).sum(axis=1)
        return float(each.mean()), _standard_error(each)

    def moment(self, power: int) -> float:
        """The mean of this power of the eigenvalues.

        Example:
            >>> import jax, jax.numpy as jnp
            >>> import symgrad as sg
            >>> H = sg.hessian_operator(lambda x: jnp.sum(x**2), jnp.ones(50))
            >>> spectrum = H.spectrum(jax.random.key(0))
            >>> round(spectrum.moment(2), 3)
            4.0
        """
        return self.mean(lambda x: x**power)[0]

    @property
    def extremes(self) -> tuple[float, float]:
        """The smallest and the largest node: estimates of the extreme eigenvalues from inside.

        Example:
            >>> import jax, jax.numpy as jnp
            >>> import symgrad as sg
            >>> H = sg.hessian_operator(lambda x: jnp.sum(x**2), jnp.ones(50))
            >>> spectrum = H.spectrum(jax.random.key(0))
            >>> [round(end, 3) for end in spectrum.extremes]
            [2.0, 2.0]
        """
        used = self.nodes[self.weights > 0]
        return float(used.min()), float(used.max())

    def density(self, grid: Any = None, width: float | None = None) -> tuple[Any, Any]:
        """The density at the points of a grid, each node widened to a Gaussian.

        Args:
            grid: points; by default 512 that cover all nodes.
            width: standard deviation of the Gaussians; by default a hundredth of the range.

        Returns:
            `(grid, density)`; the density integrates to 1.

        Example:
            >>> import jax, jax.numpy as jnp
            >>> import symgrad as sg
            >>> H = sg.hessian_operator(lambda x: jnp.sum(x**2), jnp.ones(50))
            >>> spectrum = H.spectrum(jax.random.key(0))
            >>> grid, density = spectrum.density()
            >>> grid.shape == density.shape
            True
        """
        low, high = self.extremes
        width = width or max(high - low, abs(high), 1e-30) / 100
        grid = np.linspace(low - 4 * width, high + 4 * width, 512) if grid is None else grid
        grid = np.asarray(grid, float)
        bumps = np.exp(-0.5 * ((grid[:, None, None] - self.nodes) / width) ** 2)
        total = (bumps * self.weights).sum(axis=(1, 2)) / len(self.nodes)
        return grid, total / (width * np.sqrt(2 * np.pi))

    def plot(self, file: Any = None, axes: Any = None) -> Any:
        """Draw the density, its height on a logarithmic scale.

        Args:
            file: where the figure is saved, if given.
            axes: of matplotlib, to draw in; by default those of a new figure.

        Returns:
            The axes.

        Raises:
            MissingLibraryError: matplotlib is not installed.

        Example:
            >>> import jax, jax.numpy as jnp
            >>> import symgrad as sg
            >>> H = sg.hessian_operator(lambda x: jnp.sum(x**2), jnp.ones(50))
            >>> spectrum = H.spectrum(jax.random.key(0))
            >>> spectrum.plot().get_xlabel()
            'eigenvalue'
        """
        if axes is None:
            # A figure of its own has no window and leaves the state of pyplot alone.
            figure = library("matplotlib.figure", "drawing a spectrum", "demo").Figure()
            axes = figure.add_subplot()
        grid, density = self.density()
        axes.semilogy(grid, np.maximum(density, density.max() * 1e-8))
        axes.set(xlabel="eigenvalue", ylabel="density", title=f"{self.size:,} eigenvalues")
        if file is not None:
            axes.figure.savefig(file, bbox_inches="tight")
        return axes

    def __repr__(self) -> str:
        low, high = self.extremes
        probes, order = self.nodes.shape
        return (
            f"Spectrum({self.size} eigenvalues from {low:.4g} to {high:.4g}, {probes} probes of "
            f"{order} steps, {_verdict(self)})"
        )


def _verdict(result: Any) -> str:
    return str(result.stop) if result.converged else f"NOT CONVERGED: {result.stop}"


def _standard_error(each: np.ndarray) -> float:
    """Of the mean of independent numbers."""
    if len(each) < 2:
        return float("nan")
    return float(each.std(ddof=1) / np.sqrt(len(each)))
