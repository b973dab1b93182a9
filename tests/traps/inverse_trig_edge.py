"""Inverse functions at the end of their domain, inside something smooth."""

import jax.numpy as jnp

from traps import Trap, like

TRAPS = (
    Trap("squared arccos", lambda x: 3.0 * jnp.square(jnp.arccos(x)), 1.0),
    Trap("squared arccosh", lambda x: jnp.arccosh(x) ** 2, 1.0),
    Trap("squared arcsin of a root", lambda x: jnp.arcsin(jnp.sqrt(x)) ** 2, 0.0),
    Trap("cosine of arccos", lambda x: jnp.cos(jnp.arccos(x)), 1.0),
    Trap("sine of arcsin", lambda x: jnp.sin(2.0 * jnp.arcsin(x)) / jnp.cos(jnp.arcsin(x)), 1.0),
    Trap("Chebyshev polynomial", lambda x: jnp.cos(3.0 * jnp.arccos(x)), 1.0),
    Trap(
        "polar to Cartesian",
        lambda x: jnp.sqrt(x[0] ** 2 + x[1] ** 2) * jnp.cos(jnp.arctan2(x[1], x[0])),
        (0.0, 0.0),
        slope=(1.0, 0.0),
    ),
    Trap("cosh of arccosh", lambda x: jnp.cosh(2.0 * jnp.arccosh(x)), 1.0),
    Trap(
        "great circle distance squared",
        lambda p: jnp.arccos(p @ like(p, (1.0, 0.0))) ** 2,
        (1.0, 0.0),
    ),
    Trap(
        "spherical interpolation",
        lambda c: jnp.sin(0.25 * jnp.arccos(c)) / jnp.sin(jnp.arccos(c)),
        1.0,
    ),
    Trap("arccos over a root", lambda x: jnp.arccos(x) / jnp.sqrt(1.0 - x**2), 1.0),
    Trap("arccosh over a root", lambda x: jnp.arccosh(x) / jnp.sqrt(x * x - 1.0), 1.0),
    Trap(
        "logarithm of a rotation",
        lambda a: (
            (a[1, 0] - a[0, 1])
            * jnp.arccos((jnp.trace(a) - 1.0) / 2.0)
            / (2.0 * jnp.sin(jnp.arccos((jnp.trace(a) - 1.0) / 2.0)))
        ),
        ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    ),
    Trap("squared haversine", lambda x: (2.0 * jnp.arcsin(jnp.sqrt(x))) ** 2, 0.0),
)
