"""A nan that is true arrives through the laws that widen ranges, and infinities stay."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symgrad as sg

NAN, INF = np.nan, np.inf

TRUE = {
    "log of a product of two signs": (lambda x, y: jnp.log(x * y), (-1.0, 2.0), NAN),
    "log of a quotient of two signs": (lambda x, y: jnp.log(x / y), (3.0, -2.0), NAN),
    "log of a product with zero": (lambda x, y: jnp.log(x * y), (0.0, 2.0), -INF),
    "log of nothing over nothing": (lambda x, y: jnp.log(x / y), (0.0, 0.0), NAN),
    "log of an odd power": (lambda x, y: jnp.log(x**y), (-2.0, 3.0), NAN),
    "log of a power of zero": (lambda x, y: jnp.log(x**y), (0.0, 0.0), 0.0),
    "root of a product of two signs": (lambda x, y: jnp.sqrt(x * y), (-1.0, 2.0), NAN),
    "root of a small square less": (lambda x, y: jnp.sqrt(x**2 - y), (1.0, 2.0), NAN),
    "product of logarithms": (lambda x, y: jnp.exp(jnp.log(x) + jnp.log(y)), (-1.0, -1.0), NAN),
    "square of a root": (lambda x, y: jnp.sqrt(x) ** 2 + y, (-1.0, 2.0), NAN),
    "difference of logistics": (
        lambda x, y: jnp.log(jax.nn.sigmoid(x) - jax.nn.sigmoid(y)),
        (0.0, 1.0),
        NAN,
    ),
    "division by the square of zero": (lambda x, y: y / x**2, (0.0, 2.0), INF),
    "nothing over its square": (lambda x, y: x * y / x**2, (0.0, 2.0), NAN),
    "share of nothing": (lambda x, y: x / (x + y), (0.0, 0.0), NAN),
    "area function": (lambda x, y: jnp.log(x + jnp.sqrt(x**2 - 1)) + y, (0.5, 0.0), NAN),
    "nan in a product": (lambda x, y: jnp.log(x * y), (NAN, 2.0), NAN),
    "nan in a share": (lambda x, y: x / (x + y), (1.0, NAN), NAN),
}


@pytest.mark.parametrize("name", TRUE)
def test_what_is_true_arrives(name):
    fun, args, wanted = TRUE[name]
    found = sg.jit(fun)(*map(jnp.float32, args))
    np.testing.assert_array_equal(found, np.float32(wanted))
