"""The tails of the normal distribution keep their digits, at orders one to three."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.special import erf, erfc

import symgrad as sg
from symgrad.exact import context

POINTS = [-30.0, -5.0, -1.0, -1e-3, 0.25, 0.6, 1.5, 2.4, 2.6, 4.0, 9.0, 30.0]


def log_of_cdf(x):
    return jnp.log(0.5 * (1 + erf(x / np.sqrt(2))))


def exact_log_of_cdf(mp, x):
    return mp.log(mp.erfc(-x / mp.sqrt(2)) / 2)


def log_of_erfc(x):
    return jnp.log(erfc(x))


def exact_log_of_erfc(mp, x):
    return mp.log(mp.erfc(x))


FUNCTIONS = {
    "erfc": (log_of_erfc, exact_log_of_erfc),
    "one minus erf": (lambda x: jnp.log(1 - erf(x)), exact_log_of_erfc),
    "log1p of erf": (lambda x: jnp.log1p(-erf(x)), exact_log_of_erfc),
    "normal": (log_of_cdf, exact_log_of_cdf),
    "library": (lambda x: jnp.log(jax.scipy.stats.norm.cdf(x)), exact_log_of_cdf),
    "library's logarithm": (jax.scipy.stats.norm.logcdf, exact_log_of_cdf),
    "survival": (lambda x: jnp.log(1 - jax.scipy.stats.norm.cdf(-x)), exact_log_of_cdf),
}
DIGITS = {np.float32: (1e-5, 1e-5, 1e-4), np.float64: (1e-13, 1e-13, 1e-10)}
"""Relative errors of the value, the slope and the curvature."""


@pytest.mark.parametrize("dtype", DIGITS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_tails(name, dtype):
    fun, exact = FUNCTIONS[name]
    mp = context(450)
    with jax.enable_x64(dtype is np.float64):
        points = np.array(POINTS, dtype)
        derivatives = [fun, sg.grad(fun), sg.grad(sg.grad(fun))]
        found = [np.asarray(jax.vmap(sg.jit(d))(points), np.float64) for d in derivatives]
    for order, (got, limit) in enumerate(zip(found, DIGITS[dtype], strict=True)):
        want = np.array([float(mp.diff(lambda x: exact(mp, x), float(p), order)) for p in points])
        smallest = float(jnp.finfo(dtype).tiny)
        np.testing.assert_allclose(got, want, rtol=limit, atol=smallest)


def test_tails_in_half_precision():
    points = jnp.array([-20.0, -3.0, 0.5, 2.0], jnp.bfloat16)
    slopes = jax.vmap(sg.grad(log_of_cdf))(points)
    wide = jax.vmap(sg.grad(log_of_cdf))(points.astype(jnp.float32))
    assert slopes.dtype == jnp.bfloat16
    np.testing.assert_allclose(slopes.astype(np.float32), wide, rtol=0.05)
