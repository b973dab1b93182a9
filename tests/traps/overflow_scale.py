"""Algebraic intermediate values that leave the range."""

import jax.numpy as jnp

from traps import Trap, like

SINGLE = ("float32", "bfloat16")


def _cosine(x, y):
    return x @ y / (jnp.sqrt(x @ x) * jnp.sqrt(y @ y))


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
        lambda x: _cosine(x, like(x, (1e25, 1e25))),
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
    Trap(
        "inverse cube law",
        lambda x: x / jnp.sqrt(jnp.sum(x**2)) ** 3,
        (3e14, 4e14),
        order="value",
    ),
    Trap("potential of Lennard and Jones", lambda r: 1.0 / r**12 - 1.0 / r**6, 1e4),
    Trap("quadratic formula", lambda b: jnp.sqrt(b * b - 4.0 * 3.0 * 2.0), 1e25),
    Trap("weighted hypotenuse", lambda a, b: jnp.sqrt(2 * a * a + 3 * b * b), 3e20, 4e20),
    Trap("reduced mass", lambda x, y: x * y / (x + y), 1e25, 3e25, order="value"),
    Trap("share of a square", lambda x, y: x**2 / (x**2 + y**2), 1e25, 2e25, order="value"),
    Trap(
        "participation ratio",
        lambda x: jnp.sum(x**2) ** 2 / jnp.sum(x**4),
        (1e12, 2e12),
        order="value",
    ),
    Trap(
        "logistic growth",
        lambda t: 5.0 * jnp.exp(t) / (5.0 + (jnp.exp(t) - 1.0)),
        200.0,
        order="value",
    ),
    Trap(
        "logistic growth to a capacity",
        lambda t, k: 3.0 * k * jnp.exp(t / 2.0) / (k + 3.0 * (jnp.exp(t / 2.0) - 1.0)),
        (-400.0, 30.0, 1500.0),
        (5.0, 2.0, 4.0),
        order="value",
    ),
    Trap(
        "Hill's law of a potential",
        lambda x, k: jnp.sum(jnp.exp(2.0 * x) / (k + jnp.exp(2.0 * x))),
        (400.0, 1.0, -30.0),
        (2.0, 3.0, 0.5),
        units=4.0,
    ),
    Trap(
        "rising and falling exponentials",
        lambda x, k: (jnp.exp(x) - k * jnp.exp(-x)) / (jnp.exp(x) + k * jnp.exp(-x)),
        400.0,
        2.0,
        order="value",
    ),
    Trap(
        "occupation of the upper of three states",
        lambda x: jnp.exp(x) / (jnp.exp(x) + jnp.exp(1.0 - x) + 2.0),
        800.0,
        order="value",
    ),
    Trap(
        "odds times a sigmoid",
        lambda x: 2.0 * jnp.exp(x) / (1.0 + jnp.exp(x)),
        800.0,
        order="value",
    ),
    Trap("Planck's law", lambda x: x**3 / (jnp.exp(x) - 1.0), 89.0, order="value", units=3.0),
    Trap("Planck's law, slope", lambda x: x**3 / (jnp.exp(x) - 1.0), 60.0, units=3.0),
    Trap(
        "Planck's law at any temperature",
        lambda v, t: jnp.sum(v**3 / (jnp.exp(v / t) - 1.0)),
        (300.0, 90.0, 2.0),
        (1.0, 0.5, 3.0),
    ),
    Trap(
        "Planck's law at any temperature, by temperature",
        lambda v, t: jnp.sum(v**3 / (jnp.exp(2.0 * v / t) - 1.0)),
        (300.0, 90.0, 2.0),
        (1.0, 2.0, 3.0),
        wrt=1,
        units=4.0,
    ),
    Trap("occupation of bosons", lambda x: jnp.sum(1e3 / jnp.expm1(x)), (1e-3, 200.0, 800.0)),
    Trap(
        "Einstein's heat capacity",
        lambda x: jnp.sum(x**2 * jnp.exp(x) / (jnp.exp(x) - 1.0) ** 2),
        (0.0, 60.0, 1000.0),
    ),
    Trap(
        "currents through a membrane",
        lambda v: jnp.sum(v / (jnp.exp(v) - 1.0)),
        (120.0, 0.0, 800.0),
    ),
    Trap("argument over sinh", lambda x: jnp.sum(x / jnp.sinh(x)), (0.0, 120.0, 0.5, -900.0)),
    Trap(
        "hyperbolic cotangent from exponentials",
        lambda x: jnp.sum((jnp.exp(2.0 * x) + 1.0) / (jnp.exp(2.0 * x) - 1.0)),
        (200.0, -400.0, 0.5),
    ),
    Trap("Gudermann's function", lambda x: jnp.sum(jnp.arctan(jnp.exp(3.0 * x))), (300.0, 0.5)),
    Trap("slope of a secant", lambda x: 2.0 / (jnp.exp(x) + jnp.exp(-x)), 60.0, units=3.0),
    Trap(
        "geometric mean of three",
        lambda x: jnp.prod(x) ** (1.0 / 3.0),
        (1e20, 2e20, 4e20),
        order="value",
    ),
    Trap("kinetic energy over a mass", lambda p: p**2 / (2.0 * 1e30), 1e25, order="value"),
    Trap(
        "weighted norm",
        lambda x: jnp.sqrt(2.0 * x[0] ** 2 + 3.0 * x[1] ** 2),
        (1e25, 2e25),
    ),
    Trap(
        "cosines of all pairs",
        lambda x: (
            x @ x.T / (jnp.sqrt(jnp.sum(x**2, 1))[:, None] * jnp.sqrt(jnp.sum(x**2, 1))[None, :])
        ),
        ((2e25, 1e25), (1e25, 3e25)),
        order="value",
    ),
    Trap(
        "cosines of rows",
        lambda x, y: jnp.sum(x * y, 1) / (jnp.linalg.norm(x, axis=1) * jnp.linalg.norm(y, axis=1)),
        ((2e25, 1e25), (1e-25, 3e-25)),
        ((1e25, 1e25), (1e-25, 1e-25)),
        order="value",
    ),
)
