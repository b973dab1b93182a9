"""Functions of one operand share what they compute, and come out the same at every edge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symgrad as sg

EDGES = (0.0, -0.0, 1e-30, 0.5, -3.0, 40.0, -40.0, 90.0, -90.0, 1e4, -1e4, np.inf, -np.inf, np.nan)


def transcendentals(program: Any, *args: Any) -> float:
    return program.lower(*args).compile().cost_analysis().get("transcendentals", 0.0)


def naive_logistic(z, y):
    p = 1 / (1 + jnp.exp(-z))
    return -jnp.sum(y * jnp.log(p) + (1 - y) * jnp.log(1 - p))


def gates(z, y):
    return jnp.sum(jax.nn.sigmoid(z) * y) + jnp.sum(jax.nn.silu(z - y))


def opposite_differences(z, y):
    return jnp.sum(jax.nn.sigmoid(z - y) * y) + jnp.sum(jax.nn.softplus(y - z))


def mixture(z, y):
    rows = jnp.stack([z + y, z - y, 2 * z]) - jnp.log(2.0)
    return jnp.sum(jax.nn.logsumexp(rows, axis=0))


@pytest.mark.parametrize(
    ("fun", "each"), [(naive_logistic, 2), (gates, 2), (opposite_differences, 2), (mixture, 4)]
)
def test_one_exponential_is_enough(fun: Callable[..., Any], each: int) -> None:
    """Transcendental functions for every entry, of a value with its gradient."""
    z, y = jnp.linspace(-3.0, 3.0, 100), jnp.linspace(0.1, 0.9, 100)
    program = sg.value_and_grad(fun)
    assert transcendentals(program, z, y) <= each * 100
    ours, theirs = program(z, y), jax.value_and_grad(fun)(z, y)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=3e-5), ours, theirs)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64, jnp.bfloat16])
@pytest.mark.parametrize("edge", EDGES, ids=str)
def test_values_and_slopes_at_edges(edge: float, dtype: Any) -> None:
    functions = (jax.nn.sigmoid, jax.nn.softplus)
    with jax.enable_x64(True):
        x = jnp.asarray([edge, 0.25], dtype)
        tolerance = 8 * float(jnp.finfo(dtype).eps)

        def every(x):
            return [f(s * x) for f in functions for s in (1, -1)]

        def slopes(by):
            return [by.grad(lambda x, f=f: jnp.sum(f(every(x))))(x) for f in (sum, _of_squares)]

        for a, b in zip(sg.jit(every)(x), every(x), strict=True):
            np.testing.assert_allclose(*(np.asarray(v, float) for v in (a, b)), rtol=tolerance)
        if np.isfinite(edge):
            wide = jnp.asarray(x, jnp.float64)
            exact = [
                jax.grad(lambda x, f=f: jnp.sum(f(every(x))))(wide) for f in (sum, _of_squares)
            ]
            for a, b in zip(slopes(sg), exact, strict=True):
                np.testing.assert_allclose(np.asarray(a, float), b, rtol=tolerance, atol=tolerance)


def _of_squares(values):
    return sum(v * v for v in values)


@pytest.mark.parametrize(
    "row",
    [
        (-np.inf, -np.inf, -np.inf),
        (-np.inf, 0.5, -np.inf),
        (np.inf, 0.5, 1.0),
        (np.nan, 0.5, 1.0),
        (1e30, -1e30, 0.0),
        (88.0, 89.0, 90.0),
    ],
    ids=str,
)
def test_logsumexp_beside_softmax(row: tuple[float, ...]) -> None:
    def both(x):
        return jax.nn.logsumexp(x, axis=0), jax.nn.softmax(x, axis=0)

    x = jnp.asarray(row)
    assert "initial=-jnp.inf" in sg.jit(both).source(x)
    for a, b in zip(sg.jit(both)(x), both(x), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_exact_programs_call_the_functions_as_written() -> None:
    source = sg.grad(gates, rules="exact").source(jnp.ones(3), jnp.ones(3))
    assert "jax.nn.sigmoid(" in source
    assert "def sigmoid" not in source


@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 20])
@pytest.mark.parametrize("zeros", [0, 1, 2])
def test_gradients_of_products(n: int, zeros: int) -> None:
    x = jnp.linspace(-1.5, 1.5, 2 * n).reshape(2, n).at[:, :zeros].set(0.0)
    for axis in (0, 1, None):
        product = lambda x, axis=axis: jnp.sum(jnp.sin(jnp.prod(x, axis=axis)))  # noqa: E731
        ours, theirs = sg.grad(product)(x), jax.grad(product)(x)
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)
        ours, theirs = sg.hvp(product)(jnp.ones_like(x), x), jax.hessian(product)(x)
        np.testing.assert_allclose(ours, theirs.sum((2, 3)), rtol=1e-5, atol=1e-6)
