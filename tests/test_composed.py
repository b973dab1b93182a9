"""Matrices put together of smaller ones cost what the parts cost, and lose no digits."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_plan import agree, flops

import symgrad as sg

N, K = 32, 3


@pytest.fixture(scope="module")
def draw():
    normal = np.random.default_rng(0).normal
    with jax.enable_x64(True):
        yield lambda *shape: jnp.asarray(normal(size=shape))


def gaussian(covariance, y):
    solution = jnp.linalg.solve(covariance, y)
    return y @ solution + jnp.linalg.slogdet(covariance)[1]


def gaussian_by_cholesky(covariance, y):
    factor = jnp.linalg.cholesky(covariance)
    white = jax.scipy.linalg.solve_triangular(factor, y, lower=True)
    return jnp.sum(white**2) + 2 * jnp.sum(jnp.log(jnp.diag(factor)))


LOW_RANK = {
    "entries": (lambda d, u, y: gaussian(jnp.diag(jnp.exp(d)) + u @ u.T, y), (N,)),
    "one number": (lambda d, u, y: gaussian(u @ u.T / 7 + d**2 * jnp.eye(N), y), ()),
    "of any sign": (lambda d, u, y: gaussian((d - 9) * jnp.eye(N) + 2 * (u @ u.T), y), ()),
    "two diagonals": (
        lambda d, u, y: gaussian(0.1 * jnp.eye(N) + u @ u.T + jnp.diag(jnp.exp(d)), y),
        (N,),
    ),
    "by Cholesky": (
        lambda d, u, y: gaussian_by_cholesky(jnp.diag(jnp.exp(d)) + u @ u.T, y),
        (N,),
    ),
    "of a transpose": (lambda d, u, y: gaussian(d**2 * jnp.eye(N) + (u.T).T @ u.T, y), ()),
    "rank one": (lambda d, u, y: gaussian(d**2 * jnp.eye(N) + jnp.outer(y, y), u[:, 0]), ()),
    "inverse": (
        lambda d, u, y: jnp.linalg.inv(jnp.diag(jnp.exp(d)) + u @ u.T) @ y @ y,
        (N,),
    ),
}


@pytest.mark.parametrize("name", LOW_RANK)
def test_low_rank(name, draw):
    program, shape = LOW_RANK[name]
    args = draw(*shape), draw(N, K), draw(N)
    own = sg.value_and_grad(program, argnums=(0, 1, 2))
    agree(own(*args), jax.value_and_grad(program, argnums=(0, 1, 2))(*args), 1e-9)
    # No matrix of N rows and columns is factorised: that alone takes N³ / 3.
    assert flops(own, *args) < 30 * N * K**2
    assert f"({N}, {N})" not in own.source(*args)


def test_batches_of_low_rank(draw):
    def program(d, u, y):
        return gaussian(jnp.diag(jnp.exp(d)) + u @ u.T, y)

    args = draw(4, N), draw(4, N, K), draw(4, N)
    batched = jax.vmap(program)
    agree(sg.jit(batched)(*args), batched(*args), 1e-9)
    assert flops(sg.jit(batched), *args) < 4 * 30 * N * K**2


def test_what_is_of_full_rank_or_may_be_negative_is_left_alone(draw):
    wide, narrow, entries, y = draw(N, N), draw(N, K), draw(N), draw(N)
    for covariance in (
        lambda d, u: jnp.diag(jnp.exp(d)) + wide @ wide.T + 0 * u[0, 0],
        lambda d, u: jnp.diag(d) + u @ u.T,
        lambda d, u: jnp.diag(jnp.exp(d)) - u @ u.T,
        lambda d, u: jnp.diag(jnp.exp(d)) + u @ (2 * u + 1).T,
    ):
        own = sg.jit(lambda d, u, covariance=covariance: gaussian(covariance(d, u), y))
        wanted = gaussian(covariance(entries, narrow), y)
        agree(own(entries, narrow), wanted, 1e-9)
        assert "eye(3" not in own.source(entries, narrow)


@pytest.mark.parametrize("noise", [1e-2, 1e-4, 1e-6])
def test_low_rank_loses_no_more_digits_than_the_whole(noise, draw):
    """With little on the diagonal, the small matrix is as badly conditioned as the large one."""
    u, y = draw(N, K), draw(N)
    exact = np.linalg.solve(noise * np.eye(N) + np.asarray(u @ u.T), y)

    def program(noise, u, y):
        return jnp.linalg.solve(noise * jnp.eye(N, dtype=u.dtype) + u @ u.T, y)

    args = (np.float32(noise), np.float32(u), np.float32(y))
    own, theirs = (
        np.max(np.abs(found(*args) - exact)) / np.max(np.abs(exact))
        for found in (sg.jit(program), jax.jit(program))
    )
    assert own <= 4 * theirs + 1e-6


def square(x, n):
    return x[: n * n].reshape(n, n) + n * jnp.eye(n)


COMPOSED = {
    "Kronecker times vector": (lambda a, b, y: jnp.kron(a, b) @ y, 2),
    "vector times Kronecker": (lambda a, b, y: y @ jnp.kron(a, b), 2),
    "Kronecker of rectangles": (lambda a, b, y: jnp.kron(a[:3], b[:, :4]) @ y[: 6 * 4], 2),
    "products of Kroneckers": (lambda a, b, y: jnp.kron(a, b) @ jnp.kron(b, a) @ y, 2),
    "Kronecker, solution": (lambda a, b, y: jnp.linalg.solve(jnp.kron(a, b), y), 3),
    "Kronecker, transposed": (lambda a, b, y: jnp.linalg.solve(jnp.kron(a, b).T, y), 3),
    "Kronecker, right-hand sides": (
        lambda a, b, y: jnp.linalg.solve(jnp.kron(a, b), jnp.stack([y, y + 1], 1)),
        3,
    ),
    "Kronecker, inverse": (lambda a, b, y: jnp.linalg.inv(jnp.kron(a, b)) @ y, 1.4),
    "Kronecker, determinant": (lambda a, b, y: jnp.linalg.slogdet(jnp.kron(a, b))[1], 4),
    "Kronecker, sign": (lambda a, b, y: jnp.linalg.slogdet(jnp.kron(-a[:5, :5], b))[0], 0),
    "blocks, solution": (
        lambda a, b, y: jnp.linalg.solve(jax.scipy.linalg.block_diag(a, b, a), y[:18]),
        1.5,
    ),
    "blocks, matrix of right-hand sides": (
        lambda a, b, y: jnp.linalg.solve(
            jax.scipy.linalg.block_diag(a, b), jnp.stack([y[:12], y[12:24]], 1)
        ),
        1.2,
    ),
    "blocks, inverse": (lambda a, b, y: jnp.linalg.inv(jax.scipy.linalg.block_diag(a, b)), 0),
    "blocks, determinant": (
        lambda a, b, y: jnp.linalg.slogdet(jax.scipy.linalg.block_diag(a, b))[1],
        1.2,
    ),
    "blocks, sign": (
        lambda a, b, y: jnp.linalg.slogdet(jax.scipy.linalg.block_diag(a[:5, :5], -b[:3, :3]))[0],
        0,
    ),
}
"""A program of two matrices of 6 rows and a vector, and how many times fewer FLOPs it needs.

XLA counts those of products and sums only, not what factorisations take: 0 where that is all.
"""


@pytest.mark.parametrize("name", COMPOSED)
def test_parts(name, draw):
    program, fewer = COMPOSED[name]
    args = draw(6, 6) + 3 * jnp.eye(6), draw(6, 6) + 3 * jnp.eye(6), draw(36)
    own = sg.jit(program)
    agree(own(*args), program(*args), 1e-9)
    assert fewer * flops(own, *args) <= flops(jax.jit(program), *args)

    def total(*args):
        return jnp.sum(jnp.sin(program(*args)))

    agree(sg.grad(total, (0, 1))(*args), jax.grad(total, (0, 1))(*args), 1e-8)
