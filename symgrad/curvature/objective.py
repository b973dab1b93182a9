"""A loss over trees, as the functions of flat float64 arrays that scipy's optimisers call."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from symgrad.api import value_and_grad
from symgrad.curvature.batches import Batches, check_data
from symgrad.curvature.kinds import hessian_product
from symgrad.curvature.products import all_finite, flattened
from symgrad.curvature.remembered import remembered
from symgrad.curvature.vectors import Space
from symgrad.errors import ArgumentError, ArgumentValueError


@dataclass(frozen=True, eq=False, repr=False)
class ScipyObjective:
    """What `sg.scipy_objective` returns; a function of flat arrays.

    Attributes:
        loss: `loss(params, *data)` returns a scalar.
        params: where to start.
        data: the other arguments.
        space: of the parameters.

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> objective = sg.scipy_objective(lambda p: jnp.sum(p["x"] ** 4), {"x": jnp.ones(2)})
        >>> objective.x0, objective.hessp(objective.x0, [1.0, 0.0])
        (array([1., 1.]), array([12.,  0.]))
    """

    loss: Callable[..., Any]
    params: Any
    data: tuple[Any, ...]
    space: Space
    batches: Batches | None = None

    @property
    def x0(self) -> np.ndarray:
        """The parameters as a flat array of float64.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> objective = sg.scipy_objective(lambda x: jnp.sum(x**4), jnp.array([1.0, 2.0]))
            >>> objective.x0.tolist()
            [1.0, 2.0]
        """
        return np.asarray(self.space.flat(self.params), np.float64)

    def tree(self, x: Any) -> Any:
        """A flat array as parameters.

        Raises:
            ArgumentError: its size is another.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> objective = sg.scipy_objective(lambda x: jnp.sum(x**4), jnp.array([1.0, 2.0]))
            >>> objective.tree([3.0, 4.0])
            Array([3., 4.], dtype=float32)
        """
        x = np.asarray(x)
        if x.shape != (self.space.size,):
            raise ArgumentError(
                f"an array of shape {x.shape} for {self.space.size} parameters",
                fix=f"pass an array of shape {(self.space.size,)}",
            )
        return self.space.unflat(x)

    def __call__(self, x: Any) -> tuple[float, np.ndarray]:
        """The value and the gradient at `x`, for `jac=True`."""
        value, slope = self._over_data(_value_and_slope(self.loss), self.tree(x))
        return float(value), np.asarray(self.space.flat(slope), np.float64)

    def value(self, x: Any) -> float:
        """The value at `x`.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> objective = sg.scipy_objective(lambda x: jnp.sum(x**4), jnp.array([1.0, 2.0]))
            >>> objective.value([1.0, 2.0])
            17.0
        """
        return self(x)[0]

    def grad(self, x: Any) -> np.ndarray:
        """The gradient at `x`.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> objective = sg.scipy_objective(lambda x: jnp.sum(x**4), jnp.array([1.0, 2.0]))
            >>> objective.grad([1.0, 2.0]).tolist()
            [4.0, 32.0]
        """
        return self(x)[1]

    def hessp(self, x: Any, v: Any) -> np.ndarray:
        """The Hessian at `x` times `v`.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> objective = sg.scipy_objective(lambda x: jnp.sum(x**4), jnp.array([1.0, 2.0]))
            >>> objective.hessp([1.0, 2.0], [1.0, 1.0]).tolist()
            [12.0, 48.0]
        """
        v = np.asarray(v, np.float64)
        if v.shape != (self.space.size,):
            raise ArgumentError(
                f"a vector of shape {v.shape} for {self.space.size} parameters",
                fix=f"pass an array of shape {(self.space.size,)}",
            )
        program = flattened(hessian_product(self.loss), self.space)
        flat = np.asarray(v, self.space.dtype)

        def product(params: Any, *data: Any) -> Any:
            return program(flat, params, *data)

        return np.asarray(self._over_data(product, self.tree(x)), np.float64)

    def _over_data(self, program: Callable[..., Any], params: Any) -> Any:
        if self.batches is None:
            return program(params, *self.data)
        total, weights = None, 0.0
        for number, weight, data in self.batches:
            found = jax.tree.map(lambda x, w=weight: w * x, program(params, *data))
            total = found if total is None else jax.tree.map(np.add, total, found)
            if not bool(all_finite(total)):
                raise ArgumentValueError(
                    f"the loss or a derivative is nan or infinite in batch {number}",
                    fix="look at that batch, or take smaller steps",
                )
            weights += weight
        scale = 1.0 if self.batches.reduction == "sum" else weights
        return jax.tree.map(lambda x: x / scale, total)

    def __repr__(self) -> str:
        name = getattr(self.loss, "__name__", type(self.loss).__name__)
        return f"ScipyObjective({name}: {self.space.size} parameters)"


def scipy_objective(
    loss: Callable[..., Any],
    params: Any,
    *data: Any,
    batches: Iterable[Any] | None = None,
    reduction: str = "mean",
    progress: bool = False,
) -> ScipyObjective:
    """A loss over a tree of parameters for `scipy.optimize.minimize`: flat float64 in and out.

    Args:
        loss: `loss(params, *data)` returns a scalar.
        params: where to start; a pytree of real floating-point arrays, in whose dtypes the loss is
            computed.
        data: the other arguments of the loss.
        batches: as for `hessian_operator`, and so are `reduction` and `progress`.

    Returns:
        A function of a flat array that returns the value and the gradient, with `.x0`, `.hessp`
        and `.tree`, which makes parameters of what the optimiser returns.

    Raises:
        ArgumentError: a parameter is not real, or data is empty.
        OutputError: when called, if the loss is not a real scalar.

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> from scipy.optimize import minimize
        >>> f = sg.scipy_objective(lambda p: jnp.sum((p["x"] - 3.0) ** 2), {"x": jnp.zeros(2)})
        >>> found = minimize(f, f.x0, jac=True, hessp=f.hessp, method="trust-ncg")
        >>> f.tree(found.x)
        {'x': Array([3., 3.], dtype=float32)}
    """
    space = Space.of(params)
    if batches is not None and data:
        raise ArgumentError(
            "both data and batches were given",
            fix="pass the data after the parameters, or as batches=",
        )
    check_data(data, "the data")
    parts = None if batches is None else Batches(batches, reduction, progress)
    return ScipyObjective(loss, space.cast(params), data, space, parts)


@remembered
def _value_and_slope(loss: Callable[..., Any]) -> Any:
    return value_and_grad(loss)
