"""What is inferred of values holds for the values."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from samples import ENTRYWISE, REDUCTIONS, SHAPE
from test_every_rule import generator, values_of

import symgrad as sg
from symgrad import walk
from symgrad.ops import pointwise
from symgrad.structure import (
    bounds,
    is_finite,
    is_integer_valued,
    is_nonnegative,
    is_positive,
    sums_to_one,
)

INF = math.inf
SAMPLES = [s for s in (*ENTRYWISE, *REDUCTIONS, *SHAPE) if s.op is not pointwise.name]
SPECIAL = np.array([0.0, 1.0, -1.5, 3e-3, -2.5e7, 1e30, -1e30, INF, -INF, math.nan])


def output(fun, *args):
    (found,) = sg.trace(fun, *args).simplify().outputs
    return found


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_values_lie_within_their_bounds(sample, float64):
    """Of every node on the way, also of operands that are not in the domain of the function."""
    draws = generator(sample)
    plain = sample.draw(draws, np.float64)
    for special in (False, True):
        args = [
            draws.choice(SPECIAL, a.shape) if special and a.dtype == np.float64 else a
            for a in plain
        ]
        graph = sg.trace(sample.fun, *args)
        nodes = [
            n for n in walk.topological(graph.outputs) if n.args and not isinstance(n.type, tuple)
        ]
        values = values_of(nodes, dict(zip(graph.inputs, args, strict=True)))
        for node, value in zip(nodes, values, strict=True):
            check(node, value)


def check(node, value):
    if np.issubdtype(value.dtype, np.complexfloating) or not value.size:
        return
    low, high = bounds(node)
    wide = value[~np.isnan(value)].astype(np.float64)
    slack = np.where(abs(wide) < 1e300, 1e-12 * abs(wide), 0)
    assert np.all((wide + slack >= low) & (wide - slack <= high)), f"{node}: {low}, {high}"
    if is_integer_valued(node):
        finite = value[np.isfinite(value)]
        assert np.array_equal(finite, np.trunc(finite))


WEIGHTS = np.array([0.25, 0.75], np.float32)

BOUNDS = {
    "exp": (lambda x: jnp.exp(x), 0, INF),
    "one plus exp": (lambda x: 1 + jnp.exp(x), 1, INF),
    "reciprocal": (lambda x: 1 / (1 + jnp.exp(-x)), 0, 1),
    "square": (lambda x: x * x, 0, INF),
    "sum of squares": (lambda x: jnp.sum(x**2) + 1, 1, INF),
    "dot with itself": (lambda x: x @ x, 0, INF),
    "fourth power": (lambda x: x**4, 0, INF),
    "tanh squared": (lambda x: 1 - jnp.tanh(x) ** 2, 0, 1),
    "sigmoid": (lambda x: 3 * jax.nn.sigmoid(x) - 1, -1, 2),
    "clipped": (lambda x: jnp.clip(x, 1e-3, 2.0), np.float32(1e-3), 2),
    "clipped from below": (lambda x: jnp.maximum(x, 0.5), 0.5, INF),
    "guarded": (lambda x: jnp.where(x > 0, x, 1.0), 0, INF),
    "guarded the other way": (lambda x: jnp.where(x <= 0.0, 2.0, x), 0, INF),
    "captured": (lambda x: jnp.asarray(WEIGHTS) + 0 * jnp.sum(jnp.tanh(x)), 0.25, 0.75),
    "mean of weights": (lambda x: jnp.sum(WEIGHTS * jnp.exp(-(x**2))), 0, 1.5),
    "softmax": (lambda x: 1 - jax.nn.softmax(x), 0, 1),
    "logsumexp": (lambda x: jax.nn.logsumexp(x**2), math.log(2), INF),
    "masked": (lambda x: jnp.where(x > 0, 0.0, -INF), -INF, 0),
    "mask": (lambda x: (x > 0).astype(jnp.float32), 0, 1),
    "positions": (lambda x: jnp.arange(5) * jnp.argmax(x), 0, 4),
    "ratio": (lambda x: jnp.exp(x) / jnp.sum(jnp.exp(-x)), 0, INF),
    "entry": (lambda x: jnp.exp(x)[0], 0, INF),
    "half precision overflows": (lambda x: jnp.tanh(x).astype(jnp.float16) * 6e4 * 2, -INF, INF),
    "unknown": (lambda x: x - 1, -INF, INF),
    "loop": (lambda x: lax.fori_loop(0, 3, lambda i, y: y * y, x), -INF, INF),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_bounds(name):
    fun, low, high = BOUNDS[name]
    x = np.array([0.5, -2.0], np.float32)
    assert bounds(output(fun, x)) == pytest.approx((low, high), rel=1e-6)


def test_signs():
    x = np.float32(0.5)
    assert is_nonnegative(output(jnp.exp, x))
    assert not is_positive(output(jnp.exp, x))
    assert is_positive(output(lambda x: jnp.cosh(x) + jnp.exp(x), x))
    assert is_finite(output(lambda x: jnp.sin(x) * jax.nn.sigmoid(x), x))
    assert not is_finite(output(lambda x: jnp.sin(x) * x, x))


def test_whole_numbers():
    x = np.float32(0.5)
    assert is_integer_valued(output(lambda x: jnp.floor(x) * 2 - jnp.round(x), x))
    assert is_integer_valued(output(lambda x: jnp.arange(3.0) + (x > 0), x))
    assert is_integer_valued(output(lambda x: jnp.asarray([1.0, 2.0]) * jnp.sign(x), x))
    assert not is_integer_valued(output(lambda x: jnp.asarray([1.0, 2.5]) * jnp.sign(x), x))
    assert not is_integer_valued(output(lambda x: x + 1, x))


def test_what_sums_to_one():
    x = np.ones((2, 3), np.float32)
    rows = output(jax.nn.softmax, x)
    assert sums_to_one(rows, 1)
    assert not sums_to_one(rows, 0)
    assert not sums_to_one(output(jnp.exp, x), 1)


def test_deep_graphs_are_no_deeper_than_the_stack(float64):
    def deep(x):
        for _ in range(3000):
            x = jnp.tanh(x) + 1.0
        return x

    low, high = bounds(output(deep, 0.5))
    assert 1.9 < low <= high < 2


def test_numbers_being_traced_are_not_looked_at():
    found = []

    @jax.jit
    def outer(weights):
        found.append(bounds(output(lambda x: x * 0 + weights, np.float32(1))))
        return weights

    outer(np.float32([1, 2]))
    assert found == [(-INF, INF)]
