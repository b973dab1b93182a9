"""Two independent witnesses: `jax.grad` for gradients, finite differences for Hessians."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import symgrad as sg

GRADIENT_BOUND = 1e-4
"""Two float32 programs that add in different orders may differ by this much."""

HVP_BOUND = 1e-6
"""What a central difference in float64 is good for."""

STEP = 1e-6
"""Of the central difference: the error of the formula and of rounding balance about here."""


class Check(NamedTuple):
    """A number the demo found, and the bound it must keep."""

    what: str
    found: float
    bound: float
    at_least: bool = False
    """Whether the bound is a floor, as for accuracies; for errors it is a ceiling."""

    @property
    def passed(self) -> bool:
        """False also for a found nan."""
        return self.found >= self.bound if self.at_least else self.found <= self.bound

    @property
    def sentence(self) -> str:
        """What was missed, for people."""
        wanted = "at least" if self.at_least else "at most"
        return f"{self.what} is {self.found:.3g}; it should be {wanted} {self.bound:g}."


def gradient_error(loss: Callable[..., jax.Array], *args: Any) -> float:
    """How far `sg.grad` is from `jax.grad`, where neither rounds the factors of its products."""
    with jax.default_matmul_precision("highest"):
        return relative_error(sg.grad(loss)(*args), jax.jit(jax.grad(loss))(*args))


def hvp_errors(
    loss: Callable[..., jax.Array], params: Any, *data: Any, keys: Sequence[jax.Array]
) -> list[float]:
    """How far `sg.hvp` is from a central difference of the gradient, for one direction a key.

    In float64, where the difference has digits enough to be a witness.
    """
    with jax.enable_x64(True):
        params, data = jax.tree.map(_as_float64, (params, data))
        hvp, gradient = sg.hvp(loss), sg.grad(loss)

        def central_difference(v: Any) -> Any:
            ahead = gradient(_add(params, STEP, v), *data)
            behind = gradient(_add(params, -STEP, v), *data)
            return jax.tree.map(lambda a, b: (a - b) / (2 * STEP), ahead, behind)

        directions = [_random_direction(key, params) for key in keys]
        return [relative_error(hvp(v, params, *data), central_difference(v)) for v in directions]


def relative_error(found: Any, expected: Any) -> float:
    """The largest difference in a leaf over the largest entry of that leaf, worst leaf."""
    errors = jax.tree.map(
        lambda a, b: jnp.max(jnp.abs(a - b)) / jnp.max(jnp.abs(b)), found, expected
    )
    return float(jnp.max(jnp.stack(jax.tree.leaves(errors))))


def _as_float64(x: jax.Array) -> jax.Array:
    return x.astype(jnp.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x


def _add(params: Any, step: float, v: Any) -> Any:
    return jax.tree.map(lambda a, b: a + step * b, params, v)


def _random_direction(key: jax.Array, params: Any) -> Any:
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    return structure.unflatten(
        [jax.random.normal(k, x.shape, x.dtype) for k, x in zip(keys, leaves, strict=True)]
    )
