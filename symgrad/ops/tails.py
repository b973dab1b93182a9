"""The tails of the normal distribution: logarithms of what underflows, and their slopes.

The slope of log(erfc(x)) is -h(x) with the hazard h(x) = (2/√π) exp(-x²) / erfc(x), that of
the hazard is h (h - 2x). For large x the second factor is the small difference of two large
numbers, and so are its slopes; a continued fraction gives each of them without it.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from symgrad.expr import Expr, Op, Pointwise, elementwise_type
from symgrad.ops import pointwise
from symgrad.ops.accurate import gaussian
from symgrad.ops.pointwise import TRANSCENDENTAL


def erfc_rest(x, first=1):
    """r in erfc(x) = exp(-x²) / (√π (x + r)), for x ≥ 2.5: a continued fraction."""
    rest = jnp.zeros_like(x)
    for n in range(40 if x.dtype == jnp.float64 else 12, first - 1, -1):
        rest = (n / 2) / (x + rest)
    return rest


def log_erfc(x):
    """log(erfc(x)), also where erfc(x) underflows."""
    far, near = jnp.maximum(x, 2.5), jnp.minimum(x, 2.5)
    tail = -jnp.square(far) - jnp.log(1.7724538509055159 * (far + erfc_rest(far)))
    right = jnp.log(jax.scipy.special.erfc(jnp.maximum(near, 0.5)))
    left = jnp.log1p(-jax.scipy.special.erf(near))
    return jnp.where(x > 2.5, tail, jnp.where(x > 0.5, right, left))


def erfc_hazard(x):
    """exp(-x²) / erfc(x) times 2/√π, also where both underflow."""
    far, near = jnp.maximum(x, 2.5), jnp.minimum(x, 2.5)
    body = 1.1283791670955126 * gaussian(near) / jax.scipy.special.erfc(near)
    return jnp.where(x > 2.5, 2 * (far + erfc_rest(far)), body)


def hazard_excess(x):
    """erfc_hazard(x) - 2x, also where the two are nearly equal."""
    return jnp.where(x > 2.5, 2 * erfc_rest(jnp.maximum(x, 2.5)), erfc_hazard(x) - 2 * x)


def hazard_slope(x):
    """The slope of erfc_hazard, also where it is nearly 2 or 0."""
    far, near = jnp.maximum(x, 2.5), jnp.clip(x, -64, 2.5)
    second = erfc_rest(far, 2)
    first = 0.5 / (far + second)
    body = erfc_hazard(near) * (erfc_hazard(near) - 2 * near)
    return jnp.where(x > 2.5, 2 + 4 * first * (first - second), body)


def hazard_excess_slope(x):
    """The slope of erfc_hazard, less 2."""
    far = jnp.maximum(x, 2.5)
    second = erfc_rest(far, 2)
    first = 0.5 / (far + second)
    return jnp.where(x > 2.5, 4 * first * (first - second), hazard_slope(x) - 2)


def hazard_curvature(x):
    """The second derivative of erfc_hazard."""
    far, near = jnp.maximum(x, 2.5), jnp.clip(x, -64, 2.5)
    third = erfc_rest(far, 3)
    second = 1 / (far + third)
    first = 0.5 / (far + second)
    tail = 4 * hazard_slope(far) * first * second * (third - second)
    excess = erfc_hazard(near) - 2 * near
    body = erfc_hazard(near) * (excess * excess + (erfc_hazard(near) * excess - 2))
    return jnp.where(x > 2.5, tail, body)


def log_ndtr(x):
    """The logarithm of the normal distribution function, with all digits in both tails."""
    z = x * 0.7071067811865476
    left = log_erfc(jnp.maximum(-z, 0.5)) - 0.6931471805599453
    return jnp.where(z < -0.5, left, jnp.log1p(-0.5 * jax.scipy.special.erfc(z)))


def _tail(name: str, source: str, partial: Any, helpers: tuple[Any, ...] = ()) -> Op:
    return Op(
        name,
        elementwise_type,
        source,
        Pointwise(partial),
        elementwise=True,
        flops=lambda e: 5 * TRANSCENDENTAL * e.type.size,
        helpers=helpers,
    )


def _normal_density(x: Expr) -> Expr:
    return pointwise.gaussian(x * math.sqrt(0.5)) / math.sqrt(2 * math.pi)


def _third_derivative(g: Expr, y: Expr, x: Expr) -> Expr:
    """That of h with h' = h e, where e = h - 2x."""
    bent = 2 * hazard_slope_op(x) * hazard_excess_slope_op(x)
    return g * (y * (hazard_excess_op(x) + erfc_hazard_op(x)) + bent)


log_erfc_op = _tail(
    "log_erfc",
    "log_erfc(x)",
    lambda g, y, x: -(g * erfc_hazard_op(x)),
    helpers=(erfc_rest, log_erfc),
)
erfc_hazard_op = _tail(
    "erfc_hazard",
    "erfc_hazard(x)",
    lambda g, y, x: g * hazard_slope_op(x),
    helpers=(erfc_rest, gaussian, erfc_hazard),
)
hazard_excess_op = _tail(
    "hazard_excess",
    "hazard_excess(x)",
    lambda g, y, x: g * hazard_excess_slope_op(x),
    helpers=(erfc_rest, gaussian, erfc_hazard, hazard_excess),
)
hazard_slope_op = _tail(
    "hazard_slope",
    "hazard_slope(x)",
    lambda g, y, x: g * hazard_curvature_op(x),
    helpers=(erfc_rest, gaussian, erfc_hazard, hazard_slope),
)
hazard_excess_slope_op = _tail(
    "hazard_excess_slope",
    "hazard_excess_slope(x)",
    lambda g, y, x: g * hazard_curvature_op(x),
    helpers=(erfc_rest, gaussian, erfc_hazard, hazard_slope, hazard_excess_slope),
)
hazard_curvature_op = _tail(
    "hazard_curvature",
    "hazard_curvature(x)",
    _third_derivative,
    helpers=(erfc_rest, gaussian, erfc_hazard, hazard_slope, hazard_curvature),
)
ndtr = _tail("ndtr", "jax.scipy.special.ndtr(x)", lambda g, y, x: g * _normal_density(x))
"""The normal distribution function."""
log_ndtr_op = _tail(
    "log_ndtr",
    "log_ndtr(x)",
    lambda g, y, x: g * (erfc_hazard_op(-x * math.sqrt(0.5)) * math.sqrt(0.5)),
    helpers=(erfc_rest, log_erfc, log_ndtr),
)
