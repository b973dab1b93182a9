"""Algebraic intermediate values that leave the range."""

import jax.numpy as jnp

from traps import Trap, like

SINGLE = ("float32", "bfloat16")

TRAPS = (
    Trap("norm of large entries", lambda x: jnp.sqrt(jnp.sum(x**2)), (2e25, -1e25, 2e25)),
    Trap("norm of small entries", lambda x: jnp.sqrt(jnp.sum(x * x)), (2e-25, -1e-25, 2e-25)),
    Trap(
        "unit vector of large entries",
        lambda x: x / jnp.sqrt(jnp.sum(x**2)),
        (3e30, -4e30),
        order="value",
    ),
    Trap(
        "cosine similarity",
        lambda x: (
            x
            @ like(x, (1e25, 1e25))
            / (jnp.sqrt(x @ x) * jnp.sqrt(like(x, (1e25, 1e25)) @ like(x, (1e25, 1e25))))
        ),
        (2e25, 1e25),
        order="value",
    ),
    Trap(
        "tanh from exponentials",
        lambda x: (jnp.exp(2.0 * x) - 1.0) / (jnp.exp(2.0 * x) + 1.0),
        500.0,
        order="value",
    ),
    Trap("Michaelis and Hill", lambda x: x**3 / (1.0 + x**3), 1e15, order="value"),
    Trap("inverse square", lambda x: 5e30 / x**2, 4e20, order="value"),
    Trap("Coulomb force", lambda x: 7e33 / x, 2e21),
    Trap("Lorentzian tail", lambda x: 1.0 / (1.0 + x**2), 3e18, order="value"),
    Trap("log of one plus a square", lambda x: jnp.log(1.0 + x**2), -4e25),
    Trap("arcsinh by hand", lambda x: jnp.log(x + jnp.sqrt(x * x + 1.0)), 1e22),
    Trap("geometric mean", lambda x: jnp.sqrt(x[0] * x[1]), (1e30, 4e30), order="value"),
    Trap("library arccosh", lambda x: jnp.arccosh(x), 2e25),
)
