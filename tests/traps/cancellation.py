"""Differences of nearly equal numbers, from inputs that are exact."""

import jax.numpy as jnp

from traps import Trap

TRAPS = (
    Trap("cube of expm1", lambda x: (jnp.exp(x) - 1.0) ** 3, 1e-7, order="value"),
    Trap("one minus cosine", lambda x: 1.0 - jnp.cos(x), 1e-5, order="value"),
    Trap("versine squared", lambda x: (1.0 - jnp.cos(x)) ** 2, 2e-4),
    Trap("root of one plus x minus one", lambda x: jnp.sqrt(1.0 + x) - 1.0, 1e-12, order="value"),
    Trap("conjugate roots", lambda x: jnp.sqrt(x + 2.0) - jnp.sqrt(x), 1e12),
    Trap("reciprocal difference", lambda x: 1.0 / x - 1.0 / (x + 1.0), 1e9, order="value"),
    Trap("log of a ratio near one", lambda x: jnp.log((1.0 + x) / (1.0 - x)), 1e-10, order="value"),
    Trap("difference of logarithms", lambda x: jnp.log(x + 1.0) - jnp.log(x), 1e11, order="value"),
    Trap(
        "difference of squares of sums",
        lambda a, b: (a + b) ** 2 - (a - b) ** 2,
        3e6,
        3e-5,
        order="value",
    ),
    Trap(
        "difference of cubes",
        lambda a, b: a**3 - b**3,
        1048577.0,
        1048576.0,
        order="value",
        precisions=("float32", "float64"),
    ),
    Trap(
        "hyperbolic sine by hand", lambda x: (jnp.exp(x) - jnp.exp(-x)) / 2.0, 1e-9, order="value"
    ),
    Trap("hyperbolic versine", lambda x: jnp.cosh(x) - 1.0, 3e-6, order="value"),
    Trap("exponentials apart", lambda x: jnp.exp(x) - jnp.exp(-x) - 2.0 * x, 1e-3),
    Trap("exact quadratic root", lambda b: (-b + jnp.sqrt(b * b - 4.0)) / 2.0, 1e6, order="value"),
    Trap("Doppler shift", lambda x: jnp.sqrt((1.0 + x) / (1.0 - x)) - 1.0, 1e-9, order="value"),
    Trap("compound interest", lambda x: (1.0 + x) ** 12 - 1.0, 1e-9, order="value"),
    Trap("small angle distance", lambda x: jnp.sqrt(2.0 - 2.0 * jnp.cos(x)), 1e-5, order="value"),
    Trap("cotangent less a reciprocal", lambda x: 1.0 / jnp.tan(x) - 1.0 / x, 1e-4, order="value"),
    Trap("logarithm less its argument", lambda x: jnp.log(1.0 + x) - x, 1e-5, order="value"),
    Trap("sine less its argument", lambda x: jnp.sin(x) - x, 1e-4, order="value"),
    Trap("exponential less a line", lambda x: jnp.exp(x) - 1.0 - x, 1e-4, order="value"),
    Trap("Bregman divergence", lambda x: (1.0 + x) * jnp.log(1.0 + x) - x, 1e-5, order="value"),
    Trap("divergence from one", lambda x: x * jnp.log(x) - x + 1.0, 1.0078125, order="value"),
    Trap("slope of a saturation", lambda x: x - jnp.tanh(x), 2.0**-10),
    Trap("lens", lambda a, b: 1.0 / (1.0 / a - 1.0 / (a + b)), 1e9, 1.0, order="value"),
    Trap("hypotenuse less a side", lambda a, b: jnp.sqrt(a**2 + b**2) - a, 4.0, 2.0**-10),
    Trap("drop below the horizon", lambda r, d: r - r * jnp.cos(d / r), 4194304.0, 4.0, wrt=1),
    Trap("charge of a capacitor", lambda q, t: q - q * jnp.exp(-t), 3.0, 2.0**-20),
    Trap(
        "compound interest, over many periods",
        lambda r, n: jnp.sum((1.0 + r) ** n - 1.0),
        (1e-5, 1e-3),
        (360.0, 2.0),
    ),
    Trap(
        "interest on a loan, by its years",
        lambda r, n: jnp.sum(3.0 - 3.0 * (1.0 + r / 12.0) ** (-12.0 * n)),
        (1e-5, 1e-3),
        (30.0, 2.0),
        wrt=1,
    ),
    Trap(
        "payments on a mortgage",
        lambda r, n: jnp.sum(r * (1.0 + r) ** n / ((1.0 + r) ** n - 1.0)),
        (1e-5, 1e-2),
        (360.0, 12.0),
        order="value",
    ),
    Trap(
        "angle between neighbours",
        lambda a, b: jnp.arccos(jnp.dot(a, b) / (jnp.linalg.norm(a) * jnp.linalg.norm(b))),
        (1.0, 2.0, 2.0),
        (1.0, 2.0, 2.0 + 2.0**-7),
        precisions=("float32", "float64"),
    ),
    Trap(
        "angle between neighbours, clipped",
        lambda a, b: jnp.arccos(jnp.clip(a @ b / jnp.sqrt((a @ a) * (b @ b)), -1.0, 1.0)),
        (1.0, 2.0, 2.0),
        (1.0, 2.0, 2.0 + 2.0**-7),
        wrt=1,
        precisions=("float32", "float64"),
    ),
)
