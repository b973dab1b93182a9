"""Slopes keep their digits over the whole range, where the textbook's formula rounds them away.

Every derivative up to the third is compared with mpmath's at fifty digits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import symgrad as sg

UNITS = 12
"""How many units in the last place a derivative may be off."""


@dataclass(frozen=True)
class Slope:
    """A function with its first derivatives, and where they are taken.

    Attributes:
        derivatives: of mpmath's numbers; the first, the second, the third.
        points: magnitudes as powers of ten, and numbers.
        signs: both, unless the function has a half line only.
    """

    fun: Callable[..., Any]
    derivatives: tuple[Callable[..., Any], ...]
    points: tuple[float, ...]
    signs: tuple[int, ...] = (1, -1)

    def __str__(self) -> str:
        return self.fun.__name__


mp = mpmath.mp
SMALL = (1e-30, 1e-12, 1e-5, 1e-3, 0.1, 0.4)
TAIL = (1.7, 3.0, 5.0, 8.0, 12.0, 20.0, 30.0, 40.0)
HUGE = (1.7, 30.0, 1e3, 1e6, 1e8, 1e12, 1e17, 3e19, 1e25, 1e37)
INSIDE = (0.9, 0.99, 0.9999, 0.999999)


def sech2(x):
    return mp.sech(x) ** 2


def tanh_third(x):
    return sech2(x) * (4 * mp.tanh(x) ** 2 - 2 * sech2(x))


def sigma(x):
    return 1 / (1 + mp.exp(-x))


def sigma_slope(x):
    return sigma(x) * sigma(-x)


def sigma_curvature(x):
    return -sigma_slope(x) * mp.tanh(x / 2)


def sigma_third(x):
    return sigma_slope(x) * (mp.tanh(x / 2) ** 2 - mp.sech(x / 2) ** 2 / 2)


def bell(x):
    return 2 / mp.sqrt(mp.pi) * mp.exp(-x * x)


SLOPES = [
    Slope(jnp.expm1, (mp.exp, mp.exp, mp.exp), (*SMALL, *TAIL)),
    Slope(
        jnp.tanh,
        (sech2, lambda x: -2 * mp.tanh(x) * sech2(x), tanh_third),
        (*SMALL, *TAIL),
    ),
    Slope(jax.nn.sigmoid, (sigma_slope, sigma_curvature, sigma_third), (*SMALL, *TAIL, 80.0)),
    Slope(jax.nn.softplus, (sigma, sigma_slope, sigma_curvature), (*SMALL, *TAIL, 80.0)),
    Slope(
        jnp.arctan,
        (
            lambda x: 1 / (1 + x * x),
            lambda x: -2 * x / (1 + x * x) ** 2,
            lambda x: (6 * x * x - 2) / (1 + x * x) ** 3,
        ),
        (*SMALL, *HUGE),
    ),
    Slope(
        jnp.arcsinh,
        (
            lambda x: (1 + x * x) ** mp.mpf(-0.5),
            lambda x: -x * (1 + x * x) ** mp.mpf(-1.5),
            lambda x: (2 * x * x - 1) * (1 + x * x) ** mp.mpf(-2.5),
        ),
        (*SMALL, *HUGE),
    ),
    Slope(
        jnp.arcsin,
        (
            lambda x: (1 - x * x) ** mp.mpf(-0.5),
            lambda x: x * (1 - x * x) ** mp.mpf(-1.5),
            lambda x: (2 * x * x + 1) * (1 - x * x) ** mp.mpf(-2.5),
        ),
        (*SMALL, *INSIDE),
    ),
    Slope(
        jnp.arccos,
        (
            lambda x: -((1 - x * x) ** mp.mpf(-0.5)),
            lambda x: -x * (1 - x * x) ** mp.mpf(-1.5),
            lambda x: -(2 * x * x + 1) * (1 - x * x) ** mp.mpf(-2.5),
        ),
        (*SMALL, *INSIDE),
    ),
    Slope(
        jnp.arctanh,
        (
            lambda x: 1 / (1 - x * x),
            lambda x: 2 * x / (1 - x * x) ** 2,
            lambda x: (6 * x * x + 2) / (1 - x * x) ** 3,
        ),
        (*SMALL, *INSIDE),
    ),
    Slope(
        jnp.arccosh,
        (
            lambda x: ((x - 1) * (x + 1)) ** mp.mpf(-0.5),
            lambda x: -x * ((x - 1) * (x + 1)) ** mp.mpf(-1.5),
            lambda x: (2 * x * x + 1) * ((x - 1) * (x + 1)) ** mp.mpf(-2.5),
        ),
        (1.0001, 1.01, *HUGE),
        (1,),
    ),
    Slope(
        jax.scipy.special.erf,
        (bell, lambda x: -2 * x * bell(x), lambda x: (4 * x * x - 2) * bell(x)),
        (*SMALL, 1.7, 3.3, 5.1, 7.7, 9.1),
    ),
    Slope(
        jax.scipy.special.erfc,
        (lambda x: -bell(x), lambda x: 2 * x * bell(x), lambda x: (2 - 4 * x * x) * bell(x)),
        (*SMALL, 1.7, 3.3, 5.1, 7.7, 9.1),
    ),
    Slope(
        jnp.log1p,
        (
            lambda x: 1 / (1 + x),
            lambda x: -1 / (1 + x) ** 2,
            lambda x: 2 / (1 + x) ** 3,
        ),
        (*SMALL, 0.99, 0.999999),
    ),
    Slope(
        jnp.tan,
        (
            lambda x: mp.sec(x) ** 2,
            lambda x: 2 * mp.tan(x) * mp.sec(x) ** 2,
            lambda x: mp.sec(x) ** 2 * (2 * mp.sec(x) ** 2 + 4 * mp.tan(x) ** 2),
        ),
        (*SMALL, 1.2),
    ),
    Slope(
        jnp.sqrt,
        (
            lambda x: 1 / (2 * mp.sqrt(x)),
            lambda x: -(x ** mp.mpf(-1.5)) / 4,
            lambda x: 3 * x ** mp.mpf(-2.5) / 8,
        ),
        (1e-14, 1e-8, 1.0, 1e8, 1e14),
        (1,),
    ),
    Slope(
        jnp.cbrt,
        (
            lambda x: mp.cbrt(x) / (3 * x),
            lambda x: -2 * mp.cbrt(x) / (9 * x**2),
            lambda x: 10 * mp.cbrt(x) / (27 * x**3),
        ),
        (1e-10, 1e-4, 0.7, 1e4, 1e10),
        (1,),
    ),
]


def derivatives(fun: Callable[..., Any], order: int) -> Callable[..., Any]:
    for _ in range(order):
        fun = sg.grad(fun)
    return fun


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("slope", SLOPES, ids=str)
def test_slopes_keep_their_digits(slope, order, dtype):
    info = jnp.finfo(dtype)
    with jax.enable_x64(dtype is np.float64), mp.workdps(50):
        found = jax.vmap(derivatives(slope.fun, order))
        points = np.array([s * p for s in slope.signs for p in slope.points], dtype)
        exact = [slope.derivatives[order - 1](mp.mpf(float(p))) for p in points]
        for point, value, truth in zip(points, np.asarray(found(points)), exact, strict=True):
            if abs(truth) < 2 * info.tiny:
                assert abs(value) <= 4 * info.tiny
                continue
            error = abs((mp.mpf(float(value)) - truth) / truth) / float(info.eps)
            assert error < UNITS, (point, value, float(truth), float(error))


ENDS = {
    f.__name__: f
    for f in (
        *(jnp.arctan, jnp.arcsinh, jnp.arccosh, jnp.tanh, jnp.log1p, jnp.log, jnp.sqrt, jnp.exp),
        *(jax.nn.sigmoid, jax.nn.softplus, jax.nn.silu, jnp.cbrt, jnp.square),
        *(jax.scipy.special.erf, jax.scipy.special.erfc, jax.lax.rsqrt, jnp.reciprocal),
    )
}


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("name", ENDS)
def test_slopes_at_the_ends_are_numbers_where_those_of_jax_are(name, order):
    """At infinity and far out; outside of its domain a function has no slope."""
    ends = np.array([s * x for s in (1, -1) for x in (np.inf, 1e15)], np.float32)
    value, theirs = ENDS[name], ENDS[name]
    for _ in range(order):
        theirs = jax.grad(theirs)
    expected = np.asarray(jax.vmap(theirs)(ends))
    known = ~np.isnan(value(ends)) & ~np.isnan(expected)
    found = np.asarray(jax.vmap(derivatives(value, order))(ends))
    np.testing.assert_allclose(found[known], expected[known], rtol=1e-5, atol=1e-30)
