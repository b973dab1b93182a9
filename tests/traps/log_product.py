"""Logarithms of products, powers and determinants that leave the range."""

import jax
import jax.numpy as jnp

from traps import Trap, like

TINY = (1e-20, 2e-20, 3e-20)

TRAPS = (
    Trap("log of a product", lambda x: jnp.log(jnp.prod(x)), TINY),
    Trap("log of a product of two", lambda x: jnp.log(x[0] * x[1]), (1e-30, 3e-30)),
    Trap(
        "log of a product of large numbers", lambda x: jnp.log(jnp.prod(x * x)), (1e15, 2e15, 4e15)
    ),
    Trap("log of a fifth power", lambda x: jnp.log(x**5), 1e-12),
    Trap("log of a quotient", lambda x: jnp.log(x[0] / x[1]), (1e-30, 1e20)),
    Trap(
        "log of a determinant",
        lambda a: jnp.log(jnp.linalg.det(a)),
        ((2e-20, 1e-20, 0.0), (1e-20, 3e-20, 0.0), (0.0, 0.0, 1e-20)),
        units=10.0,
    ),
    Trap("log of a Poisson mass", lambda r: jnp.log(jnp.exp(-r) * r**200.0), 300.0, units=5.0),
    Trap("log of a root", lambda x: jnp.log(jnp.sqrt(x * x * x)), 1e-20),
    Trap(
        "log of a likelihood",
        lambda p: jnp.log(jnp.prod(jnp.where(like(p, (1, 0, 1)) > 0, p, 1.0 - p))),
        (1e-25, 0.5, 1e-25),
    ),
    Trap(
        "log of gamma",
        lambda x: jnp.log(jax.scipy.special.gamma(x)),
        180.0,
        slope=lambda mp, x: mp.psi(0, x[()]),
    ),
)
