"""Running extrema and log-sum-exps where they are not smooth."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import Precision
from jax import lax

import symgrad as sg


@pytest.mark.parametrize("size", range(1, 14))
def test_ties_are_shared_as_in_jax(size: int, float64: Precision, draw) -> None:
    """JAX scans in pairs, which decides who ties with whom; nothing smooth remains to differ."""
    x, g = np.round(draw(size, 2)), draw(size, 2)

    def pulled(by):
        runs = (
            lambda x: lax.cummax(x, reverse=True),
            lambda x: lax.cummin(x, axis=1) * lax.cummin(x),
        )
        return [by.vjp(run, x)[1](g) for run in runs]

    found, expected = jax.jit(lambda: (pulled(sg), pulled(jax)))()
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-14, atol=1e-14), found, expected)


def test_nothing_at_the_start_has_no_derivative(float64: Precision, draw) -> None:
    """log 0 + ... + log 0: JAX gives nan for all that follows."""
    x = draw(4)
    after = lambda x: lax.cumlogsumexp(jnp.concatenate([jnp.full(3, -jnp.inf), x]))[3:]  # noqa: E731
    alone = lambda x: lax.cumlogsumexp(x)  # noqa: E731
    for derivative in (sg.jacobian, sg.hessian):
        np.testing.assert_allclose(derivative(after)(x), derivative(alone)(x), atol=1e-14)


def test_tangents_stop_at_a_nan(float64: Precision) -> None:
    x, t = np.array([1.0, np.nan, 3.0]), np.ones(3)
    for by in (sg, jax):
        _, tangent = by.jvp(lax.cummax, (x,), (t,))
        np.testing.assert_array_equal(tangent, [1, 0, 0])
