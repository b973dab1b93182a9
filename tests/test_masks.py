"""A cotangent that a select masks stays zero, whatever the branch not taken would make of it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from together import Jax

import symgrad as sg

X = np.array([0.0, -1.0, 4.0, 2.0], np.float32)
ROWS = np.array([[0.0, 0.0], [3.0, 4.0]], np.float32)


def chain(x):
    """Many steps below the select, several uses of each, a shape that changes on the way."""
    y = jnp.sqrt(x).reshape(2, 2).T
    z = jnp.log(y) * y[::-1, ::-1][::-1, ::-1] + y
    return jnp.sum(jnp.where(x.reshape(2, 2).T > 0, z, 0))


def per_row(v):
    length = jnp.sqrt(jnp.sum(v**4, axis=-1, keepdims=True))
    return jnp.sum(jnp.where(length > 0, v / length, 0) * jnp.arange(4.0).reshape(2, 2))


def steps(x):
    """The branch is taken by a value inside of a loop."""

    def step(total, x):
        return total + jax.lax.cond(x > 0, jnp.log, lambda x: x, x), None

    return jax.vmap(lambda x: jax.lax.scan(step, 0.0, x[None])[0])(x).sum()


PROGRAMS = {
    "root": (lambda x: jnp.where(x > 0, jnp.sqrt(x), 0).sum(), X),
    "either branch": (lambda x: jnp.where(x > 0, jnp.sqrt(x), jnp.sqrt(1 - x)).sum(), X[:3]),
    "nested": (
        lambda x: jnp.where(x > 0, jnp.where(x < 3, jnp.log(x), jnp.sqrt(x)), x).sum(),
        X,
    ),
    "two selects of one value": (
        lambda x: (jnp.where(x > 1, jnp.sqrt(x), 0) + jnp.where(x > 3, 2 * jnp.sqrt(x), 0)).sum(),
        X,
    ),
    "maximum": (lambda x: jnp.maximum(jnp.sqrt(x + 1), 1.5).sum(), X),
    "clip": (lambda x: jnp.clip(jnp.sqrt(x + 1), 0.5, 3).sum(), X),
    "relu": (lambda x: jax.nn.relu(jnp.cbrt(x) - 1).sum(), X),
    "power": (lambda x: jnp.where(x > 0, x**0.3, -1.0).sum(), X),
    "chain": (chain, X),
    "a mask that is the same along a row": (per_row, ROWS),
    "rows of scores": (
        lambda x: jnp.where(x[:, 0] > 0, jax.nn.logsumexp(1 / x, 1), 0).sum(),
        ROWS,
    ),
    "rows of weights": (
        lambda x: (jnp.where(x[:, :1] > 0, jax.nn.softmax(1 / x), 0) ** 2).sum(),
        ROWS,
    ),
    "truth values as factors": (lambda x: ((x > 0) * jnp.sqrt(jnp.abs(x))).sum(), X),
    "a branch in a loop": (steps, X),
    "nan in data": (
        lambda x: jnp.nansum((x * jnp.array([1.0, jnp.nan, 2.0, jnp.nan])) ** 2),
        X,
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_branch_not_taken_is_not_seen(name):
    fun, x = PROGRAMS[name]
    step = jnp.asarray(np.linspace(1, 2, x.size).reshape(x.shape), x.dtype)
    gradient = sg.grad(fun)(x)
    assert np.isfinite(gradient).all()
    known = jax.grad(fun)(x)
    finite = np.isfinite(known)
    np.testing.assert_allclose(gradient[finite], known[finite], rtol=1e-5)
    np.testing.assert_allclose(jax.jit(sg.grad(fun))(x), gradient, rtol=1e-6)
    pushed = sg.jvp(fun, (x,), (step,))[1]
    if np.isfinite(pushed):
        np.testing.assert_allclose(pushed, jnp.vdot(gradient, step), rtol=1e-5)
    for product in (sg.hvp(fun)(step, x), sg.grad(lambda x: jnp.vdot(sg.grad(fun)(x), step))(x)):
        expected = Jax.hvp(fun, (0,))((step,), x)[0]
        finite = np.isfinite(expected)
        np.testing.assert_allclose(product[finite], expected[finite], rtol=1e-4, atol=1e-6)
        assert np.isfinite(product).all()


def test_nan_of_the_branch_taken_arrives():
    def fun(x):
        return jnp.where(x > -2, jnp.log(x), 0).sum()

    found = sg.grad(fun)(jnp.array([jnp.nan, 0.0, 2.0]))
    assert not np.isfinite(sg.jit(fun)(jnp.array([-1.0])))
    np.testing.assert_array_equal(found[1:], [np.inf, 0.5])


def test_masks_are_not_repeated():
    def network(x):
        return jnp.sum(jnp.sin(jnp.where(x > 0, x * x, 0)))

    lines = [line.partition("#")[0] for line in sg.grad(network).source(X).splitlines()]
    assert "".join(lines).count("where") == 2  # one forward, one backward
