"""Products that are rebuilt by logarithms or division, with a factor of zero."""

import jax.numpy as jnp

from traps import Trap

ZERO = (2.0, 0.0, 5.0)

TRAPS = (
    Trap("product by logarithms", lambda x: jnp.exp(jnp.sum(jnp.log(x))), (4.0, 0.0, 3.0)),
    Trap(
        "product by logarithms of rows",
        lambda x: jnp.sum(jnp.exp(jnp.sum(jnp.log(x), axis=1))),
        ((1.0, 0.0), (2.0, 3.0)),
    ),
    Trap("leave one out", lambda x: jnp.sum(jnp.prod(x) / x), ZERO),
    Trap("leave one out, value", lambda x: jnp.prod(x) / x, ZERO, order="value"),
    Trap("exclusive products", lambda x: jnp.sum(jnp.cumprod(x) / x), ZERO),
    Trap("geometric mean squared", lambda x: jnp.exp(2.0 * jnp.sum(jnp.log(x))), ZERO),
    Trap("power by logarithm", lambda x: jnp.exp(3.0 * jnp.log(x)), 0.0),
    Trap(
        "product of two by logarithms", lambda x: jnp.exp(jnp.log(x[0]) + jnp.log(x[1])), (0.0, 3.0)
    ),
    Trap(
        "leave one out by logarithms",
        lambda x: jnp.sum(jnp.exp(jnp.sum(jnp.log(x)) - jnp.log(x))),
        ZERO,
    ),
    Trap("product of the others", lambda x: jnp.prod(x) / x[1], ZERO),
    Trap("square of a root", lambda x: jnp.sqrt(x) ** 2, 0.0),
    Trap("product of roots", lambda x: jnp.sqrt(x) * jnp.sqrt(x), 0.0),
    Trap(
        "others of rows by logarithms",
        lambda x: jnp.sum(jnp.exp(jnp.sum(jnp.log(x), 1, keepdims=True) - jnp.log(x))),
        ((1.0, 0.0, 2.0), (2.0, 3.0, 4.0)),
    ),
    Trap(
        "product of the other columns",
        lambda x: jnp.sum(jnp.prod(x, axis=1) / x[:, 1]),
        ((1.0, 0.0, 2.0), (2.0, 3.0, 4.0)),
    ),
)
