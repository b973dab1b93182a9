"""Which sums of squares are taken about a mean, whatever axes they are over, and which are not."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symgrad as sg

MERGED = {
    "columns, transposed": lambda x, y: jnp.sum(x**2, 1)[:, None] + jnp.sum(y**2, 0) - 2 * x @ y,
    "covariance of two matrices": lambda x, y: (
        x.T @ y - 3 * jnp.outer(jnp.mean(x, 0), jnp.mean(y, 0))
    ),
    "over two axes": lambda x, y: jnp.mean(x * y.T) - jnp.mean(x) * jnp.mean(y),
    "of products": lambda x, y: jnp.mean(x * y * y, 0) - jnp.mean(x * y, 0) * jnp.mean(y, 0),
    "of a product of matrices": lambda x, y: jnp.mean((x @ y) ** 2, 0) - jnp.mean(x @ y, 0) ** 2,
    "difference from a product of matrices": lambda x, y: (x @ y) ** 2 - 2 * (x @ y) * y + y**2,
    "weighted outside": lambda x, y: y[0] * jnp.sum(x**2, 0) - y[0] * jnp.sum(x, 0) ** 2 / 3,
    "of fourth powers": lambda x, y: x**4 + y**4 - 2 * x**2 * y**2,
    "by an inner product of matrices": lambda x, y: (
        jnp.sum(x**2) + jnp.sum(y**2) - 2 * jnp.trace(x.T @ y)
    ),
    "with different scales": lambda x, y: (
        4 * jnp.sum(x**2, 1) + jnp.sum(y**2, 1) / 4 - 2 * jnp.sum(x * y, 1)
    ),
    "all pairs of two sums": lambda x, y: (
        9 * jnp.sum(x**2) + 9 * jnp.sum(y**2) - 2 * jnp.sum(x) * jnp.sum(y)
    ),
}
DIFFERENT = {
    "an entry beside a sum": lambda x, y: x[0] ** 2 + jnp.sum(y[0] ** 2) - 2 * jnp.sum(x[0] * y[0]),
    "rows for columns": lambda x, y: jnp.sum(x**2, 1)[:, None] + jnp.sum(y**2, 1) - 2 * y @ x.T,
    "one axis for the other": lambda x, y: x.T @ y - 3 * jnp.outer(jnp.mean(x, 1), jnp.mean(y, 0)),
    "means of other rows": lambda x, y: jnp.mean(x * y, 0) - jnp.mean(x, 1) * jnp.mean(y, 0),
    "a vector beside its sum": lambda x, y: jnp.sum(x[0] * x[0]) - jnp.sum(x[0]) * x[0] / 3,
    "another size": lambda x, y: jnp.sum(x * x, 0) - jnp.sum(x, 0) ** 2 / 4,
}
PROGRAMS = [
    *(pytest.param(f, True, id=name) for name, f in MERGED.items()),
    *(pytest.param(f, False, id=name) for name, f in DIFFERENT.items()),
]


@pytest.mark.parametrize(("fun", "merged"), PROGRAMS)
def test_sums_of_products(fun, merged):
    draws = np.random.default_rng(3)
    with jax.enable_x64(True):
        x, y = (jnp.asarray(draws.normal(size=(3, 3))) for _ in range(2))
        value = sg.jit(fun)
        assert ("sums_of_products" in str(value.explain(x, y))) == merged
        np.testing.assert_allclose(value(x, y), fun(x, y), atol=1e-12)
        loss = lambda x, y: jnp.sum(jnp.sin(fun(x, y)))  # noqa: E731
        found, wanted = sg.grad(loss, (0, 1))(x, y), jax.grad(loss, (0, 1))(x, y)
        np.testing.assert_allclose(found, wanted, atol=1e-11)
