"""Squared distances of many rows: as accurate far from the origin, and not slower to compute."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symgrad as sg

SHAPES = ((40, 5), (30, 5))
"""Of more pairs than are compared one by one."""


def distances(x, y):
    return jnp.sum(x**2, 1)[:, None] + jnp.sum(y**2, 1) - 2.0 * x @ y.T


def _one_by_one(x, y):
    return jnp.sum((x[:, None] - y) ** 2, -1)


def _rows(offset: float) -> tuple[np.ndarray, np.ndarray]:
    draws = np.random.default_rng(1)
    x, y = (draws.integers(-64, 64, s) / 16 + offset for s in SHAPES)
    return x.astype(np.float32), y.astype(np.float32)


def _loss(distances, x, y):
    return jnp.sum(jnp.exp(-distances(x, y) / 100.0))


@pytest.mark.parametrize("offset", [0.0, 5000.0])
@pytest.mark.parametrize("wrt", [0, 1])
def test_no_digits_are_lost_far_from_the_origin(offset, wrt):
    x, y = _rows(offset)
    np.testing.assert_allclose(sg.jit(distances)(x, y), _one_by_one(x, y), rtol=1e-5)
    found = sg.grad(lambda x, y: _loss(distances, x, y), wrt)(x, y)
    wanted = jax.grad(lambda x, y: _loss(_one_by_one, x, y), wrt)(x, y)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_curvature_and_tangents():
    with jax.enable_x64(True):
        x, y = (a.astype(np.float64) for a in _rows(1e6))
        ones = np.cos(np.arange(x.size)).reshape(x.shape), np.ones_like(y)
        found = sg.jvp(lambda x, y: _loss(distances, x, y), (x, y), ones)[1]
        wanted = jax.jvp(lambda x, y: _loss(_one_by_one, x, y), (x, y), ones)[1]
        np.testing.assert_allclose(found, wanted, rtol=1e-9)
        slope = jax.grad(lambda x: _loss(_one_by_one, x, y))
        found = sg.hvp(lambda x, y: _loss(distances, x, y))(ones[0], x, y)
        np.testing.assert_allclose(found, jax.jvp(slope, (x,), ones[:1])[1], atol=1e-9)


def test_jax_differentiates_the_program():
    x, y = _rows(5000.0)
    found = jax.grad(sg.jit(lambda x, y: _loss(distances, x, y)))(x, y)
    wanted = jax.grad(lambda x, y: _loss(_one_by_one, x, y))(x, y)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_there_is_no_array_of_all_differences():
    x, y = _rows(0.0)
    for made in (sg.jit(distances), sg.grad(lambda x, y: _loss(distances, x, y))):
        sizes = [n.type.size for n in made.graph(x, y).nodes]
        assert max(sizes) == len(x) * len(y)


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)])
def test_batches_of_rows(axes):
    x, y = _rows(5000.0)
    x = x if axes[0] is None else np.stack([x, x[::-1]])
    y = y if axes[1] is None else np.stack([y, y[::-1]])
    found = sg.jit(jax.vmap(distances, axes))(x, y)
    np.testing.assert_allclose(found, jax.vmap(_one_by_one, axes)(x, y), rtol=1e-5)


@pytest.mark.parametrize("far", [1e9, np.inf, np.nan])
def test_a_row_far_off_costs_the_others_no_digits(far):
    x, y = _rows(0.0)
    x[3], y[7] = far, far
    found = np.delete(np.delete(sg.jit(distances)(x, y), 3, 0), 7, 1)
    wanted = _one_by_one(np.delete(x, 3, 0), np.delete(y, 7, 0))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_distances_are_not_negative():
    draws = np.random.default_rng(2)
    x = draws.normal(size=SHAPES[0]).astype(np.float32) * 1e3
    found = sg.jit(lambda x: jnp.sqrt(distances(x, x)))(x)
    assert np.all(np.isfinite(found))


def test_few_rows_are_compared_one_by_one():
    x = np.float32([[0.1, 0.2], [0.3, 0.4]])
    assert np.all(np.diagonal(sg.jit(distances)(x, x)) == 0)
