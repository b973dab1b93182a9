"""Sums of squares far from the origin, and what is left of their differences."""

import jax.numpy as jnp

from traps import Trap

FAR = (4096001.0, 4096002.0, 4096006.0)
SINGLE = ("float32", "float64")

TRAPS = (
    Trap(
        "variance",
        lambda x: jnp.mean(x**2) - jnp.mean(x) ** 2,
        FAR,
        order="value",
        precisions=SINGLE,
    ),
    Trap("variance, gradient", lambda x: jnp.mean(x**2) - jnp.mean(x) ** 2, FAR, precisions=SINGLE),
    Trap(
        "variance by sums",
        lambda x: jnp.sum(x * x) / 3.0 - (jnp.sum(x) / 3.0) ** 2,
        FAR,
        order="value",
        precisions=SINGLE,
    ),
    Trap(
        "standard deviation",
        lambda x: jnp.sqrt(jnp.mean(x * x) - jnp.mean(x) ** 2),
        FAR,
        order="value",
        precisions=SINGLE,
    ),
    Trap(
        "covariance",
        lambda x, y: jnp.mean(x * y) - jnp.mean(x) * jnp.mean(y),
        FAR,
        (1e6, 1000001.0, 1000003.0),
        order="value",
        precisions=SINGLE,
    ),
    Trap(
        "squared distance",
        lambda x, y: x @ x + y @ y - 2.0 * (x @ y),
        (3000.0, 3001.0),
        (3000.5, 3000.0),
        order="value",
        precisions=SINGLE,
    ),
    Trap(
        "square of a difference",
        lambda x, y: x**2 - 2.0 * x * y + y**2,
        40000.25,
        40000.0,
        order="value",
        precisions=SINGLE,
    ),
    Trap(
        "pairwise squared distances",
        lambda x: jnp.sum(jnp.sum(x**2, 1)[:, None] + jnp.sum(x**2, 1)[None, :] - 2.0 * x @ x.T),
        ((5000.0, 5001.0), (5000.5, 5001.0)),
        order="value",
        precisions=SINGLE,
    ),
)
