"""Quotients that are 0/0 at the input and have a limit there, as have their derivatives."""

import jax
import jax.numpy as jnp

from traps import Trap

TRAPS = (
    Trap("sinh over x, curvature", lambda x: jnp.sinh(x) / x, 0.0, order="hvp", tangent=1.0),
    Trap("arctan over x, curvature", lambda x: jnp.arctan(x) / x, 0.0, order="hvp", tangent=1.0),
    Trap("Bernoulli function", lambda x: x / (jnp.exp(x) - 1.0), 0.0),
    Trap("Bernoulli function, value", lambda x: x / (jnp.exp(x) - 1.0), 0.0, order="value"),
    Trap("tanh over x", lambda x: jnp.tanh(x) / x, 0.0, order="hvp", tangent=1.0),
    Trap("second phi function", lambda x: (jnp.exp(x) - 1.0 - x) / x**2, 0.0),
    Trap("cosine quotient", lambda x: (1.0 - jnp.cos(x)) / x**2, 0.0, order="hvp", tangent=1.0),
    Trap("logarithm at one", lambda x: jnp.log(x) / (x - 1.0), 1.0),
    Trap("rational", lambda x: (x**2 - 4.0) / (x - 2.0), 2.0),
    Trap("entries of an array", lambda x: jnp.sum(jnp.sin(x) / x), (0.0, 1.0, 0.0)),
    Trap("Langevin function", lambda x: jnp.cosh(x) / jnp.sinh(x) - 1.0 / x, 0.0),
    Trap("difference quotient of roots", lambda x: (jnp.sqrt(1.0 + x) - 1.0) / x, 0.0),
    Trap("through a helper", lambda x: jax.jit(lambda a, b: a / b)(jnp.expm1(2.0 * x), x), 0.0),
)
