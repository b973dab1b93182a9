"""Jacobians and Hessians that are mostly zeros, or products: the same numbers, kept small."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symgrad as sg

N = 12


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape)


def quartic(x):
    return jnp.sum(x**4)


def logistic(x):
    return jnp.sum(jnp.logaddexp(0.0, normal(20, N) @ x))


def factorisation(u):
    return jnp.sum((u @ normal(5, 3).T - normal(N, 5)) ** 2)


def peak(x):
    return jnp.exp(-jnp.sum(x**2))


def wave(x):
    return jnp.sum(jnp.sin(x[0] * x[1:])) + jnp.sum(jnp.cos(x))


HESSIANS = {
    "diagonal": (quartic, normal(N), "diagonal", N),
    "dense": (logistic, normal(N), "dense", N * N),
    "blocks": (factorisation, normal(N, 3), "block diagonal", 9),
    "plus outer": (peak, normal(N), "outer product", None),
    "arrowhead": (wave, normal(N), "", None),
}


@pytest.mark.parametrize("name", HESSIANS)
def test_hessians(name):
    fun, x, kind, entries = HESSIANS[name]
    exact = jax.hessian(fun)(x)
    found = sg.hessian(fun, structured=True)(x)
    assert isinstance(found, sg.StructuredArray)
    assert found.shape == exact.shape
    assert kind in repr(found)
    if entries is not None:
        assert sum(a.size for a in found.arrays) == entries
    scale = np.max(np.abs(exact))
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11 * scale)  # noqa: E731
    close(found.todense(), exact)
    close(sg.hessian(fun)(x), exact)
    v = normal(*x.shape, seed=1)
    axes = x.ndim
    close(found @ v, jnp.tensordot(exact, v, axes))
    several = normal(*x.shape, 4, seed=2)
    close(found @ several, jnp.tensordot(exact, several, axes))
    flat = exact.reshape(x.size, x.size)
    close(found.diagonal(), jnp.diag(flat).reshape(x.shape))
    close(found.T @ v, (flat.T @ v.ravel()).reshape(x.shape))
    solution = found.solve(v)
    close(jnp.tensordot(exact, solution, axes), v)


JACOBIANS = {
    "elementwise": (lambda x: jnp.sin(x) * x, normal(N), N),
    "linear": (lambda x: normal(5, N) @ x, normal(N), 5 * N),
    "rows": (lambda x: jnp.tanh(x @ normal(3, 2)), normal(N, 3), N * 2 + 6),
    "outer": (lambda x: normal(N) * jnp.sum(x**2), normal(N), 2 * N),
    "softmax": (jax.nn.softmax, normal(N), 3 * N),
}


@pytest.mark.parametrize("name", JACOBIANS)
def test_jacobians(name):
    fun, x, entries = JACOBIANS[name]
    exact = jax.jacobian(fun)(x)
    found = sg.jacobian(fun, structured=True)(x)
    assert sum(a.size for a in found.arrays) <= entries
    np.testing.assert_allclose(found.todense(), exact, rtol=1e-12, atol=1e-14)
    v = normal(*x.shape, seed=1)
    np.testing.assert_allclose(found @ v, jax.jvp(fun, (x,), (v,))[1], rtol=1e-12, atol=1e-14)
    w = normal(*fun(x).shape, seed=2)
    np.testing.assert_allclose(found.T @ w, jax.vjp(fun, x)[1](w)[0], rtol=1e-12, atol=1e-14)


def test_trees_of_them():
    params = {"w": normal(N), "b": normal(3)}
    fun = lambda p: jnp.sum(p["w"] ** 3) + jnp.sum(jnp.exp(p["b"]))  # noqa: E731
    found = sg.hessian(fun, structured=True)(params)
    exact = jax.hessian(fun)(params)
    for row in params:
        for column in params:
            np.testing.assert_allclose(found[row][column].todense(), exact[row][column])


def test_they_are_pytrees():
    apply = jax.jit(lambda x, v: sg.hessian(quartic, structured=True)(x) @ v)
    x, v = normal(N), normal(N, seed=1)
    np.testing.assert_allclose(apply(x, v), 12 * x**2 * v)
    batched = jax.vmap(sg.hessian(quartic, structured=True))(jnp.stack([x, v]))
    assert batched.arrays[0].shape == (2, N)


def test_they_are_never_dense():
    n = 100_000
    found = sg.hessian(quartic, structured=True)(jnp.ones(n))
    assert found.shape == (n, n)
    assert found.nbytes == 8 * n
    assert (found @ jnp.ones(n))[0] == 12


def test_a_dense_result_that_is_too_large_is_refused():
    with pytest.raises(sg.OutputError, match=r"(?s)80,000,000,000 bytes.*structured=True"):
        sg.hessian(quartic, max_bytes=2**30)(jnp.ones(100_000))


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda h: h @ jnp.ones(3), r"shape \(12,\) cannot take one of shape \(3,\)"),
        (lambda h: h.solve(jnp.ones(3)), r"a right side of shape \(3,\)"),
    ],
)
def test_wrong_shapes(use, message):
    with pytest.raises(sg.SymgradError, match=message):
        use(sg.hessian(quartic, structured=True)(normal(N)))


def test_only_square_ones_have_a_diagonal():
    wide = sg.jacobian(lambda x: normal(5, N) @ x, structured=True)(normal(N))
    for use in (wide.diagonal, lambda: wide.solve(normal(5))):
        with pytest.raises(sg.SymgradError, match="outputs and inputs of one shape"):
            use()
