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
    Trap(
        "slope of a regression",
        lambda x, y: (
            (3.0 * jnp.sum(x * y) - jnp.sum(x) * jnp.sum(y))
            / (3.0 * jnp.sum(x * x) - jnp.sum(x) ** 2)
        ),
        FAR,
        (1e6, 1000001.0, 1000003.0),
        order="value",
        precisions=SINGLE,
    ),
    Trap(
        "unbiased variance",
        lambda x: (jnp.sum(x**2) - 3.0 * jnp.mean(x) ** 2) / 2.0,
        FAR,
        order="value",
        precisions=SINGLE,
    ),
    Trap(
        "covariance matrix",
        lambda x: x.T @ x / 3.0 - jnp.outer(jnp.mean(x, 0), jnp.mean(x, 0)),
        ((8192.0, 4096.5), (8193.0, 4097.0), (8195.0, 4096.0)),
        order="value",
        precisions=SINGLE,
    ),
    Trap(
        "normalised by raw moments",
        lambda x: (x - jnp.mean(x)) / jnp.sqrt(jnp.mean(x**2) - jnp.mean(x) ** 2),
        FAR,
        order="value",
        precisions=SINGLE,
    ),
    Trap(
        "variance of columns",
        lambda x: jnp.mean(x**2, 0) - jnp.mean(x, 0) ** 2,
        ((8192.0, 4096.5), (8193.0, 4097.0), (8195.0, 4096.0)),
        order="value",
        precisions=SINGLE,
    ),
    Trap(
        "kernel of a pair",
        lambda x, y: jnp.exp(-(jnp.sum(x**2) + jnp.sum(y**2) - 2.0 * jnp.dot(x, y))),
        (3000.0, 3001.0),
        (3000.5, 3000.5),
        order="value",
        precisions=SINGLE,
    ),
    Trap(
        "distances to centres",
        lambda x, c: jnp.sum(x**2, 1, keepdims=True) - 2.0 * x @ c.T + jnp.sum(c**2, 1)[None, :],
        ((5000.0, 5001.0), (5000.5, 5001.0)),
        ((5000.0, 5000.5), (5001.0, 5001.0), (5002.0, 5000.0)),
        order="value",
        precisions=SINGLE,
    ),
    Trap(
        "covariance by hand",
        lambda x: (x @ x.T - 3.0 * jnp.outer(jnp.mean(x, 1), jnp.mean(x, 1))) / 2.0,
        ((8192.0, 8193.0, 8195.0), (4096.5, 4097.0, 4096.0)),
        order="value",
        precisions=SINGLE,
    ),
    Trap(
        "correlation by raw moments",
        lambda x, y: (
            (jnp.mean(x * y) - jnp.mean(x) * jnp.mean(y))
            / jnp.sqrt(jnp.mean(x**2) - jnp.mean(x) ** 2)
            / jnp.sqrt(jnp.mean(y**2) - jnp.mean(y) ** 2)
        ),
        FAR,
        (1e6, 1000001.0, 1000003.0),
        order="value",
        precisions=SINGLE,
    ),
    Trap(
        "kernel of all pairs",
        lambda x: jnp.exp(
            -0.5 * (jnp.sum(x**2, 1)[:, None] + jnp.sum(x**2, 1)[None, :] - 2.0 * jnp.dot(x, x.T))
        ),
        ((5000.0, 5001.0), (5000.5, 5001.0)),
        order="value",
        precisions=SINGLE,
    ),
    Trap(
        "nearest centre",
        lambda x, c: jnp.sum(
            jnp.min(jnp.sum(x**2, 1)[:, None] + jnp.sum(c**2, 1) - 2.0 * (x @ c.T), axis=1)
        ),
        ((5000.0, 5001.0), (5000.5, 5001.0)),
        ((5000.0, 5000.5), (5001.0, 5002.0), (5002.0, 5000.0)),
        precisions=SINGLE,
    ),
    Trap(
        "features of a batch, normalised",
        lambda x: (
            (x - jnp.mean(x, 0, keepdims=True))
            / jnp.sqrt(jnp.mean(x**2, 0, keepdims=True) - jnp.mean(x, 0, keepdims=True) ** 2 + 1e-5)
        ),
        ((8192.0, 4096.5), (8193.0, 4097.0), (8194.0, 4096.0)),
        order="value",
        precisions=SINGLE,
    ),
    Trap(
        "rows of a batch, normalised",
        lambda x: (
            (x - jnp.mean(x, 1)[:, None])
            / jnp.sqrt(jnp.mean(x * x, axis=1) - jnp.mean(x, axis=1) ** 2)[:, None]
        ),
        ((8192.0, 8193.0, 8194.0), (4096.5, 4097.0, 4096.0)),
        order="value",
        precisions=SINGLE,
    ),
    Trap(
        "squares about a number",
        lambda x, c: jnp.sum(x * x) - 2.0 * c * jnp.sum(x) + 3.0 * c**2,
        FAR,
        4096002.0,
        order="value",
        precisions=SINGLE,
    ),
    Trap(
        "covariance of products",
        lambda x, y: jnp.mean(y * x * x) - jnp.mean(y * x) * jnp.mean(x),
        FAR,
        (1.0, 2.0, 1.0),
        order="value",
        precisions=SINGLE,
    ),
)
