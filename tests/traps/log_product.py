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
    Trap("log of a variable power", lambda x, y: jnp.log(x**y), 0.03125, 300.0),
    Trap("log of a variable power, exponent", lambda x, y: jnp.log(x**y), 0.03125, 300.0, wrt=1),
    Trap(
        "log of a Weibull density",
        lambda x: jnp.log(2.5 / 1.5 * (x / 1.5) ** 1.5 * jnp.exp(-((x / 1.5) ** 2.5))),
        20.0,
    ),
    Trap(
        "log of a gamma density",
        lambda x, a: jnp.log(x ** (a - 1.0) * jnp.exp(-x) / jnp.exp(jax.lax.lgamma(a))),
        200.0,
        60.0,
        units=2.0,
    ),
    Trap(
        "log of a beta density",
        lambda x, a, b: jnp.log(x ** (a - 1.0) * (1.0 - x) ** (b - 1.0)),
        0.25,
        200.0,
        300.0,
        units=4.0,
    ),
    Trap(
        "log of a binomial mass",
        lambda p: jnp.log(45.0 * p**160 * (1.0 - p) ** 320),
        0.25,
        units=4.0,
    ),
    Trap("log of a Student density", lambda x: jnp.log((1.0 + x**2 / 3.0) ** -2.0), 1e25),
    Trap("log of a Cauchy density", lambda x: jnp.log(1.0 / (jnp.pi * (1.0 + x**2))), -1e25),
    Trap(
        "Student loss with a scale",
        lambda s, x: jnp.log(s) + 2.5 * jnp.log1p((x / s) ** 2 / 4.0),
        2.0,
        1e24,
    ),
    Trap("log of a Pareto density", lambda x: jnp.log(30.0 / x**31), 1e6),
    Trap("log of a norm", lambda x: jnp.log(jnp.sqrt(jnp.sum(x**2))), (3e-25, 4e-25)),
    Trap(
        "log of a chi-square density",
        lambda x: jnp.log(x ** (90.0 / 2.0 - 1.0) * jnp.exp(-x / 2.0)),
        400.0,
        units=2.0,
    ),
    Trap(
        "log of a multivariate Gaussian",
        lambda x: jnp.log(jnp.exp(-0.5 * x @ x) / jnp.sqrt((2.0 * jnp.pi) ** 3)),
        (20.0, 30.0, 10.0),
    ),
)
