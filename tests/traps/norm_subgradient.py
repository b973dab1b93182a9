"""True kinks of norms, where the symmetric derivative is meant."""

import jax.numpy as jnp
import numpy as np

from traps import Trap, like

WEIGHTS = (1.0, 2.0, 4.0)
KEPT = np.array((True, True, False))


def _centred(x):
    return x - jnp.mean(x, -1, keepdims=True)


TRAPS = (
    Trap("norm", lambda x: jnp.sqrt(jnp.sum(x**2)), (0.0, 0.0, 0.0)),
    Trap("norm of rows", lambda x: jnp.sum(jnp.linalg.norm(x, axis=1)), ((0.0, 0.0), (3.0, -4.0))),
    Trap("distance to a point", lambda x: jnp.linalg.norm(x - like(x, (1.0, 2.0))), (1.0, 2.0)),
    Trap(
        "group lasso",
        lambda w: jnp.sum(w**2) + 0.1 * jnp.sum(jnp.sqrt(jnp.sum(w * w, axis=0))),
        ((0.0, 1.0), (0.0, 1.0)),
    ),
    Trap("standard deviation of equals", lambda x: jnp.std(x), (2.0, 2.0, 2.0)),
    Trap("root of a square", lambda x: jnp.sum(jnp.sqrt(x**2)), (0.0, -2.0)),
    Trap("hypot", lambda x: jnp.hypot(x[0], x[1]), (0.0, 0.0)),
    Trap(
        "hypot of differences",
        lambda x, y: jnp.sum(jnp.hypot(x - y, 2.0 * (x - y))),
        (1.0, 3.0),
        (1.0, 2.0),
        slope=(0.0, 5.0**0.5),
    ),
    Trap("total variation", lambda x: jnp.sum(jnp.sqrt((x[1:] - x[:-1]) ** 2)), (1.0, 1.0, 3.0)),
    Trap(
        "pairwise distances",
        lambda x: jnp.sum(jnp.linalg.norm(x[:, None] - x[None, :], axis=-1)),
        ((0.0, 1.0), (3.0, 5.0)),
    ),
    Trap("root of an inner product", lambda x: jnp.sqrt(x @ x), (0.0, 0.0)),
    Trap("speed", lambda v: jnp.sqrt(v[0] ** 2 + v[1] ** 2 + v[2] ** 2), (0.0, 0.0, 0.0)),
    Trap(
        "layer norm of a constant row",
        lambda x: jnp.sum(
            _centred(x) / (jnp.std(x, -1, keepdims=True) + 0.0625) * like(x, WEIGHTS)
        ),
        ((1.0, 2.0, 4.0), (3.0, 3.0, 3.0)),
    ),
    Trap(
        "RMS norm of a row of zeros",
        lambda x: jnp.sum(
            x / (jnp.sqrt(jnp.mean(x**2, -1, keepdims=True)) + 0.125) * like(x, WEIGHTS)
        ),
        ((1.0, 2.0, 2.0), (0.0, 0.0, 0.0)),
    ),
    Trap(
        "RMS norm of the entries that a mask keeps",
        lambda x: jnp.sum(
            x / (jnp.sqrt(jnp.mean(x**2, -1, keepdims=True, where=KEPT)) + 0.125) * like(x, WEIGHTS)
        ),
        ((1.0, 2.0, 2.0), (0.0, 0.0, 5.0)),
    ),
    Trap(
        "layer norm by two moments",
        lambda x: jnp.sum(
            _centred(x)
            / (jnp.sqrt(jnp.mean(x**2, 1) - jnp.mean(x, 1) ** 2)[:, None] + 0.0625)
            * like(x, WEIGHTS)
        ),
        ((1.0, 2.0, 4.0), (3.0, 3.0, 3.0)),
    ),
)
