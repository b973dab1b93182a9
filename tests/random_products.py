"""Random programs of products, sums and moved axes, of small whole numbers: sums are exact."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Draws = np.random.Generator
Step = Callable[[Draws, list[jax.Array]], jax.Array]

SHAPES = ((2, 3), (3, 3), (3,), (1, 3), (2, 1, 3))
LARGEST = 4000
"""Entries of one array, and the largest of them: programs stay small and exact."""


def arguments(seed: int) -> list[np.ndarray]:
    draws = np.random.default_rng((seed, 1))
    return [draws.integers(-3, 4, shape).astype(np.float64) for shape in SHAPES]


def program(seed: int) -> Callable[..., list[jax.Array]]:
    """A function of the arguments that returns the last arrays it made."""

    def run(*args: jax.Array) -> list[jax.Array]:
        draws = np.random.default_rng((seed, 2))
        made = list(args)
        for _ in range(int(draws.integers(4, 14))):
            step = STEPS[draws.integers(len(STEPS))]
            new = step(draws, made)
            if new.size <= LARGEST:
                made.append(new)
        return made[-2:]

    return run


def _pick(draws: Draws, made: Sequence[jax.Array], least: int = 0) -> jax.Array:
    """One of the arrays with so many axes, the later ones more often."""
    fitting = [a for a in made if a.ndim >= least]
    weights = np.arange(1, len(fitting) + 1) ** 1.5
    return fitting[draws.choice(len(fitting), p=weights / weights.sum())]


def _einsum(draws: Draws, made: list[jax.Array]) -> jax.Array:
    """Axes of equal length are named alike at random; the result has some of the names."""
    operands = [_pick(draws, made) for _ in range(draws.integers(1, 4))]
    names: dict[str, int] = {}
    indices = []
    for x in operands:
        own = ""
        for n in x.shape:
            known = [k for k, size in names.items() if size == n]
            if known and draws.random() < 0.6:
                name = str(draws.choice(known))
            else:
                name = chr(ord("a") + len(names))
                names[name] = n
            own += name
        indices.append(own)
    kept = [k for k in names if draws.random() < 0.5][:3]
    out = "".join(str(k) for k in draws.permutation(kept)) if kept else ""
    return jnp.einsum(f"{','.join(indices)}->{out}", *operands)


def _alike(draws: Draws, made: list[jax.Array]) -> tuple[jax.Array, jax.Array]:
    x = _pick(draws, made)
    return x, _pick(draws, [a for a in made if a.shape == x.shape])


def _added(draws: Draws, made: list[jax.Array]) -> jax.Array:
    x, y = _alike(draws, made)
    return x + y if draws.random() < 0.6 else x - y


def _multiplied(draws: Draws, made: list[jax.Array]) -> jax.Array:
    x, y = _alike(draws, made)
    return x * y


def _scaled(draws: Draws, made: list[jax.Array]) -> jax.Array:
    x = _pick(draws, made)
    return [-x, 2 * x, x / 2, x / (2 * jnp.ones(x.shape))][draws.integers(4)]


def _broadcast(draws: Draws, made: list[jax.Array]) -> jax.Array:
    x = _pick(draws, made)
    return (
        x + jnp.zeros((2, *x.shape)) if draws.random() < 0.3 else jnp.broadcast_to(x, (2, *x.shape))
    )


def _reshaped(draws: Draws, made: list[jax.Array]) -> jax.Array:
    x = _pick(draws, made)
    if x.size == x.shape.count(1) or draws.random() < 0.6:
        return jnp.expand_dims(x, int(draws.integers(x.ndim + 1)))
    return jnp.squeeze(x)


def _transposed(draws: Draws, made: list[jax.Array]) -> jax.Array:
    x = _pick(draws, made, 2)
    return jnp.transpose(x, draws.permutation(x.ndim))


def _summed(draws: Draws, made: list[jax.Array]) -> jax.Array:
    x = _pick(draws, made, 1)
    return jnp.sum(x, axis=int(draws.integers(x.ndim)), keepdims=draws.random() < 0.3)


def _part(draws: Draws, made: list[jax.Array]) -> jax.Array:
    x = _pick(draws, made, 1)
    axis = int(draws.integers(x.ndim))
    n = x.shape[axis]
    if draws.random() < 0.5:
        return jax.lax.index_in_dim(x, int(draws.integers(n)), axis, keepdims=draws.random() < 0.5)
    start = int(draws.integers(n))
    step = int(draws.integers(1, 3))
    return jax.lax.slice_in_dim(x, start, n, step, axis)


def _masked(draws: Draws, made: list[jax.Array]) -> jax.Array:
    x = _pick(draws, made, 1)
    return jnp.where(jnp.asarray(draws.random(x.shape) < 0.6), x, 0.0)


def _thresholded(draws: Draws, made: list[jax.Array]) -> jax.Array:
    x, y = _alike(draws, made)
    return jnp.where(x > 0, y, 0.0)


def _on_diagonal(draws: Draws, made: list[jax.Array]) -> jax.Array:
    return jnp.diag(_pick(draws, [a for a in made if a.ndim == 1]))


def _triangle(draws: Draws, made: list[jax.Array]) -> jax.Array:
    return jnp.tril(_pick(draws, made, 2))


def _identity(draws: Draws, made: list[jax.Array]) -> jax.Array:
    n = int(draws.choice([a.shape[0] for a in made if a.ndim]))
    which = draws.integers(3)
    if which == 0:
        return jnp.eye(n)
    return jax.nn.one_hot(jnp.arange(n), n, axis=0) if which == 1 else jnp.ones((n, n))


def _stacked(draws: Draws, made: list[jax.Array]) -> jax.Array:
    x, y = _alike(draws, [a for a in made if a.ndim])
    return jnp.concatenate([x, y], axis=int(draws.integers(x.ndim)))


def _padded(draws: Draws, made: list[jax.Array]) -> jax.Array:
    x = _pick(draws, made, 1)
    return jnp.pad(x, [(int(draws.integers(2)), int(draws.integers(2))) for _ in x.shape])


STEPS: list[Step] = [
    *[_einsum] * 5,
    *[_added] * 3,
    *[_multiplied] * 2,
    _scaled,
    _broadcast,
    *[_reshaped] * 2,
    _transposed,
    *[_summed] * 2,
    _part,
    _masked,
    _thresholded,
    _on_diagonal,
    _triangle,
    _identity,
    _stacked,
    _padded,
]


def total(run: Callable[..., Any], *args: Any) -> jax.Array:
    """A number that all results of a program are in, differently."""
    found = run(*args)
    weights = [jnp.cos(jnp.arange(r.size)).reshape(r.shape) for r in found]
    return sum((jnp.sum(r * w) for r, w in zip(found, weights, strict=True)), jnp.zeros(()))
