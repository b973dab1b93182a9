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


def angle(logits, p):
    return jnp.arccos(jnp.sum(jnp.sqrt(p) * jnp.sqrt(jax.nn.softmax(logits))))


def test_the_angle_between_equal_distributions_has_slope_zero():
    """The middle of all slopes there, as for the length of a vector at the origin."""
    p = jnp.full(4, 0.25)
    assert jnp.isnan(jax.grad(lambda z: angle(z, p))(jnp.zeros(4))).all()
    assert jnp.array_equal(sg.grad(lambda z: angle(z, p))(jnp.zeros(4)), jnp.zeros(4))


def test_angles_between_distributions_are_those_of_their_inner_product():
    p, z = jnp.array([0.1, 0.2, 0.3, 0.4]), jnp.array([0.3, -1.0, 2.0, 0.5])
    own, theirs = (
        sg.value_and_grad(lambda z: angle(z, p)),
        jax.value_and_grad(lambda z: angle(z, p)),
    )
    for found, wanted in zip(own(z), theirs(z), strict=True):
        assert jnp.allclose(found, wanted, rtol=1e-5)
    assert "arccos" in sg.jit(angle).source(z, p)  # nobody says that these sum to one


def test_angles_between_distributions_in_half_precision():
    p, z = jnp.array([0.1, 0.2, 0.3, 0.4]), jnp.array([0.3, -1.0, 2.0, 0.5])
    short = p.astype(jnp.bfloat16)
    found = sg.jit(lambda z: jnp.arccos(jnp.sqrt(short) @ jnp.sqrt(jax.nn.softmax(z))))
    assert jnp.allclose(found(z.astype(jnp.bfloat16)).astype(p.dtype), angle(z, p), atol=2e-2)


def between(x, y):
    return jnp.arccos(x / jnp.linalg.norm(x) @ (y / jnp.linalg.norm(y)))


@pytest.mark.parametrize("apart", [1e-6, 1e-3, 0.5])
def test_small_angles_between_directions_are_seen(apart):
    x, y = jnp.array([3.0, 0.0]), jnp.array([2.0, 2.0 * np.tan(apart)])
    rows = jnp.stack([x, x]), jnp.stack([y, 2 * y])
    assert jnp.allclose(sg.jit(between)(x, y), apart, rtol=1e-5)
    assert jnp.allclose(sg.jit(jax.vmap(between))(*rows), apart, rtol=1e-5)
    assert jnp.allclose(sg.grad(between)(x, y), jnp.array([0.0, -1 / 3]), atol=1e-6)


def test_the_angle_between_equal_directions_has_slope_zero():
    assert jnp.array_equal(sg.grad(between)(jnp.ones(4), 2 * jnp.ones(4)), jnp.zeros(4))


def test_rows_divided_by_the_lengths_of_others_are_no_directions():
    x, y = jnp.array([[0.5, 0.1], [0.3, 0.4]]), jnp.array([[0.2, -0.1], [-0.3, 0.6]])

    def cosines(x, y):
        x, y = (a / jnp.linalg.norm(a, axis=1)[None, :] for a in (x, y))
        return jnp.arccos(jnp.sum(x * y, axis=1))

    assert jnp.allclose(sg.jit(cosines)(x, y), cosines(x, y), rtol=1e-5)
