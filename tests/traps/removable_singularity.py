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
    Trap(
        "one compartment, equal rates",
        lambda a, b, t: jnp.sum(a / (a - b) * (jnp.exp(-b * t) - jnp.exp(-a * t))),
        2.0,
        2.0,
        (0.5, 3.0),
    ),
    Trap("quotient of a difference of cubes", lambda x, y: (x**3 - y**3) / (x - y), 1.0, 1.0),
    Trap("slope of a power", lambda x, y: (x**2.5 - y**2.5) / (x - y), 1.5, 1.5),
    Trap(
        "forward difference of a root", lambda x, h: (jnp.sqrt(x + h) - jnp.sqrt(x)) / h, 2.0, 0.0
    ),
    Trap("Box and Cox", lambda k, x: (x**k - 1.0) / k, 0.0, 3.0),
    Trap("Box and Cox, value", lambda k, x: (x**k - 1.0) / k, 0.0, (2.0, 3.0), order="value"),
    Trap("discount", lambda k, x: jnp.sum((1.0 - jnp.exp(-k * x)) / k), 0.0, (1.0, 2.0, 3.0)),
    Trap(
        "sine over its frequency",
        lambda k, x: jnp.sum(jnp.sin(k * x) / k),
        0.0,
        (1.0, 2.0),
        order="hvp",
    ),
    Trap(
        "variance of Ornstein and Uhlenbeck",
        lambda a, t: (1.0 - jnp.exp(-2.0 * a * t)) / (2.0 * a),
        0.0,
        1.5,
    ),
    Trap("annuity", lambda r, n: (1.0 - (1.0 + r) ** -n) / r, 0.0, 12.0),
    Trap(
        "bond's exponent",
        lambda a, t: t / a - (1.0 - jnp.exp(-a * t)) / a**2,
        0.0,
        1.5,
    ),
    Trap(
        "generalised extreme value",
        lambda k, x: jnp.sum(-(1.0 + 1.0 / k) * jnp.log(1.0 + k * x) - (1.0 + k * x) ** (-1.0 / k)),
        0.0,
        (0.5, 2.0),
    ),
    Trap("geometric sum", lambda k, n: (1.0 - jnp.exp(-k * n)) / (1.0 - jnp.exp(-k)), 0.0, 5.0),
    Trap("Tsallis logarithm", lambda q: (3.0 ** (1.0 - q) - 1.0) / (1.0 - q), 1.0),
    Trap("logarithmic mean", lambda x: (x - 2.0) / (jnp.log(x) - jnp.log(2.0)), 2.0),
    Trap(
        "mean temperature difference",
        lambda x, y: jnp.sum((x - y) / jnp.log(x / y)),
        (20.0, 30.0),
        (20.0, 25.0),
    ),
    Trap(
        "secant of an exponential",
        lambda x, y: (jnp.exp(x) - jnp.exp(y)) / (x - y),
        1.5,
        1.5,
        order="hvp",
    ),
    Trap("payment of a loan", lambda r, n: 1000.0 * r / (1.0 - (1.0 + r) ** -n), 0.0, 12.0),
    Trap(
        "difference of two isoelastic utilities",
        lambda k, x, y: (x**k - y**k) / k,
        0.0,
        3.0,
        2.0,
    ),
    Trap("sinc by hand", lambda x: jnp.sum(jnp.sin(jnp.pi * x) / (jnp.pi * x)), (0.0, 0.5)),
    Trap("x over tanh", lambda x: x / jnp.tanh(x), 0.0, order="hvp"),
    Trap("Stumpff function", lambda z: (1.0 - jnp.cos(jnp.sqrt(z))) / z, 0.0),
    Trap("half of a versine", lambda x: jnp.log(jnp.cosh(x)) / x**2, 0.0, order="hvp"),
    Trap("rotation's coefficient", lambda x: (x - jnp.sin(x)) / x**3, 0.0, order="hvp"),
    Trap("Fermi factor", lambda x: x / (1.0 - jnp.exp(-x / 0.25)), 0.0),
    Trap(
        "Rényi entropy",
        lambda a, z: jnp.log(jnp.sum(jax.nn.softmax(z) ** a)) / (1.0 - a),
        1.0,
        (0.5, -1.0, 2.0),
    ),
    Trap(
        "Rényi entropy, by the logits",
        lambda a, z: jnp.log(jnp.sum(jax.nn.softmax(z) ** a)) / (1.0 - a),
        1.0,
        (0.5, -1.0, 2.0),
        wrt=1,
    ),
    Trap(
        "Tsallis entropy of frequencies",
        lambda q, n: (1.0 - jnp.sum((n / jnp.sum(n)) ** q)) / (q - 1.0),
        1.0,
        (1.0, 3.0, 4.0),
    ),
    Trap(
        "divergence of any order",
        lambda a, x, y: (
            (1.0 - jnp.sum(jax.nn.softmax(x) ** a * jax.nn.softmax(y) ** (1.0 - a)))
            / (a * (1.0 - a))
        ),
        1.0,
        (0.5, -1.0, 2.0),
        (1.0, 0.0, 0.5),
    ),
    Trap("power mean", lambda k, x: jnp.mean(x**k) ** (1.0 / k), 0.0, (1.0, 2.0, 5.0)),
    Trap(
        "power mean, value",
        lambda k, x: jnp.mean(x**k) ** (1.0 / k),
        0.0,
        (1.0, 2.0, 5.0),
        order="value",
        slope=lambda mp, k, x: mp.cbrt(10),
    ),
    Trap(
        "constant elasticity of substitution",
        lambda r, x, y: (0.25 * x**r + 0.75 * y**r) ** (1.0 / r),
        0.0,
        2.0,
        3.0,
        units=8.0,
    ),
    Trap("cumulants", lambda k, x: jnp.log(jnp.mean(jnp.exp(k * x))) / k, 0.0, (1.0, 2.0, 5.0)),
    Trap(
        "free energy",
        lambda b, x: -(jax.nn.logsumexp(-b * x) - jnp.log(jnp.full((), 3, x.dtype))) / b,
        0.0,
        (1.0, 2.0, 5.0),
    ),
)
