"""Densities and distribution functions far from the mode."""

import jax
import jax.numpy as jnp
from jax.scipy.special import erf, erfc

from traps import Trap, like

SINGLE = ("float32", "float64")
"""JAX has no normal distribution function in half precision."""

ROOT2 = 1.4142135623730951


def _mixture(mu):
    weights, x = like(mu, (0.4, 0.6)), 90.0
    return jnp.log(jnp.sum(weights * jnp.exp(-0.5 * (x - mu) ** 2)))


TRAPS = (
    Trap(
        "log of a survival function",
        lambda x: jnp.log(1.0 - 0.5 * (1.0 + erf(x / ROOT2))),
        9.0,
        units=3.0,
    ),
    Trap("log of erfc", lambda x: jnp.log(erfc(x)), 12.0, units=3.0),
    Trap(
        "log of a normal distribution", lambda x: jnp.log(0.5 * erfc(-x / ROOT2)), -20.0, units=3.0
    ),
    Trap("log of a Gaussian", lambda x: jnp.log(jnp.exp(-0.5 * x**2)), 70.0),
    Trap(
        "log of a Laplace density",
        lambda x: jnp.log(0.5 * jnp.exp(-jnp.abs(x - 1.0))),
        400.0,
        precisions=("float32", "bfloat16"),
    ),
    Trap(
        "log of a logistic density",
        lambda x: jnp.log(jnp.exp(-x) / (1.0 + jnp.exp(-x)) ** 2),
        -500.0,
    ),
    Trap("mixture of Gaussians", _mixture, (0.0, 3.0)),
    Trap(
        "library normal logcdf of cdf",
        lambda x: jnp.log(jax.scipy.stats.norm.cdf(x)),
        -15.0,
        units=3.0,
        precisions=SINGLE,
    ),
    Trap(
        "inverse Mills ratio",
        lambda x: jax.scipy.stats.norm.pdf(x) / jax.scipy.stats.norm.cdf(x),
        -20.0,
        units=3.0,
        precisions=SINGLE,
    ),
    Trap("scaled erfc by hand", lambda x: jnp.exp(x**2) * erfc(x), 12.0, units=3.0),
    Trap(
        "probit loss of a label",
        lambda z, y: -jnp.log(jax.scipy.stats.norm.cdf(y * z)),
        16.0,
        -1.0,
        units=3.0,
        precisions=SINGLE,
    ),
    Trap(
        "log of a truncated mass",
        lambda a: jnp.log(jax.scipy.stats.norm.cdf(a + 1.0) - jax.scipy.stats.norm.cdf(a)),
        -20.0,
        units=3.0,
        precisions=SINGLE,
    ),
    Trap(
        "log of a von Mises density",
        lambda k: jnp.log(jnp.exp(k * jnp.cos(0.5)) / (2.0 * jnp.pi * jax.scipy.special.i0(k))),
        200.0,
        units=4.0,
    ),
    Trap(
        "mixture with weights of a softmax",
        lambda w, m: jnp.log(jnp.sum(jax.nn.softmax(w) * jnp.exp(-0.5 * (64.0 - m) ** 2))),
        (0.5, -0.25),
        (0.0, 4.0),
    ),
    Trap("log of a survival by Weibull", lambda x: jnp.log(jnp.exp(-(x**1.5))), 100.0),
)
