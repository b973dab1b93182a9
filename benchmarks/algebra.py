"""Programs that cost less in another order: as people first write them, and as an expert would.

`jax` is the naive source under `jax.jit`, with JAX's own transformation; `by hand` is the best
program that was derived by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import symgrad as sg
from benchmarks.harness import SYMGRAD, Case

ABOUT = "Naive sources whose value or derivative costs less in another order of multiplying."


def normal(*shape: int, seed: int = 0) -> jax.Array:
    draw = np.random.default_rng([seed, *shape]).normal(size=shape)
    return jnp.asarray(draw / np.sqrt(shape[-1]), jnp.float32)


def case(
    name: str, own: Callable[[], Any], naive: Callable[..., Any], hand: Any, *args: Any
) -> Case:
    programs = {SYMGRAD: own, "jax": lambda: jax.jit(lambda *a: naive(*a))}
    if hand is not None:
        programs["by hand"] = lambda: jax.jit(lambda *a: hand(*a))
    return Case(name, args, programs)


# Chains of products (the LAAB set of A. Sankaran et al., 2022) and gradients of them


def chain(n: int = 768) -> Case:
    def naive(a, b, y):
        return a.T @ b @ a.T @ b @ y

    def hand(a, b, y):
        return a.T @ (b @ (a.T @ (b @ y)))

    return case("AᵀBAᵀBy", lambda: sg.jit(naive), naive, hand, *_matrices(n), normal(n))


def difference(n: int = 768) -> Case:
    def naive(a, h, x):
        return (a - h.T @ h) @ x

    def hand(a, h, x):
        return a @ x - h.T @ (h @ x)

    return case("(A - HᵀH)x", lambda: sg.jit(naive), naive, hand, *_matrices(n), normal(n))


def entry(n: int = 768) -> Case:
    def naive(a, b):
        return (a @ b)[2, 2]

    def hand(a, b):
        return a[2] @ b[:, 2]

    return case("(AB)[2, 2]", lambda: sg.jit(naive), naive, hand, *_matrices(n))


def _matrices(n: int) -> tuple[jax.Array, jax.Array]:
    return normal(n, n), normal(n, n, seed=1)


def power(n: int = 384) -> Case:
    def trace(a):
        return jnp.trace(a @ a @ a @ a @ a @ a @ a @ a)

    def hand(a):
        a2 = a @ a
        a3 = a2 @ a
        return 8 * (a2 @ (a2 @ a3)).T

    return case("gradient of tr(A⁸)", lambda: sg.grad(trace), jax.grad(trace), hand, normal(n, n))


def cyclic(n: int = 384) -> Case:
    def trace(a, b, c):
        return jnp.trace(a @ b @ a.T @ c)

    def hand(a, b, c):
        return c.T @ (a @ b.T) + c @ (a @ b)

    args = (*_matrices(n), normal(n, n, seed=2))
    return case("gradient of tr(ABAᵀC)", lambda: sg.grad(trace), jax.grad(trace), hand, *args)


def length(n: int = 768) -> Case:
    def squared(a, b, c, x):
        return jnp.sum((a @ b @ c @ x) ** 2)

    def hand(a, b, c, x):
        y = b @ (c @ x)
        return 2 * jnp.outer(a @ y, y)

    args = (*_matrices(n), normal(n, n, seed=2), normal(n))
    return case("gradient of |ABCx|²", lambda: sg.grad(squared), jax.grad(squared), hand, *args)


# Hessians (S. Laue, M. Mitterreiter, J. Giesen, Computing higher order derivatives of matrix and
# tensor expressions, 2018)


def quadratic(n: int = 1024) -> Case:
    def form(x, a):
        return x @ a @ x

    def hand(x, a):
        return a + a.T

    args = (normal(n), normal(n, n))
    return case("Hessian of xᵀAx", lambda: sg.hessian(form), jax.hessian(form), hand, *args)


def logistic(n: int = 256) -> Case:
    def loss(w, x, t):
        return jnp.sum(jnp.logaddexp(0.0, -t * (x @ w)))

    def hand(w, x, t):
        p = jax.nn.sigmoid(-t * (x @ w))
        return (x.T * (p * (1 - p))) @ x

    t = jnp.sign(normal(2 * n, seed=3))
    args = (normal(n), normal(2 * n, n), t)
    return case(
        "Hessian of logistic regression", lambda: sg.hessian(loss), jax.hessian(loss), hand, *args
    )


def factorisation(n: int = 48, rank: int = 8) -> Case:
    def loss(u, v, y):
        return jnp.sum((u @ v.T - y) ** 2)

    def hand(u, v, y):
        return jnp.einsum("ik,jl->ijkl", 2 * jnp.eye(len(u)), v.T @ v)

    args = (normal(n, rank), normal(n, rank, seed=1), normal(n, n))
    return case(
        "Hessian of a factorisation", lambda: sg.hessian(loss), jax.hessian(loss), hand, *args
    )


# Jacobians, their traces, Laplacians


def hourglass(n: int = 256, waist: int = 8) -> Case:
    def network(x, *weights):
        for w in weights:
            x = jnp.tanh(w @ x)
        return x

    def hand(x, *weights):
        first, second, third, fourth = weights
        slopes = []
        for w in weights:
            x = jnp.tanh(w @ x)
            slopes.append((1 - x**2)[:, None])
        down = (second * slopes[1]) @ (first * slopes[0])
        up = (fourth * slopes[3]) @ (third * slopes[2])
        return up @ down

    weights = (normal(n, n), normal(waist, n), normal(n, waist), normal(n, n, seed=1))
    own = lambda: sg.jacobian(network)  # noqa: E731
    return case("Jacobian of an hourglass", own, jax.jacrev(network), hand, normal(n), *weights)


def divergence(n: int = 256) -> Case:
    def field(x, a, b):
        return jnp.tanh(a @ jnp.tanh(b @ x))

    def own(x, a, b):
        return jnp.trace(sg.jacobian(field)(x, a, b))

    def naive(x, a, b):
        return jnp.trace(jax.jacfwd(field)(x, a, b))

    def hand(x, a, b):
        h = jnp.tanh(b @ x)
        inner, outer = 1 - h**2, 1 - jnp.tanh(a @ h) ** 2
        return jnp.einsum("i,ij,j,ji->", outer, a, inner, b, optimize="optimal")

    args = (normal(n), *_matrices(n))
    return case("divergence", lambda: sg.jit(own), naive, hand, *args)


def laplacian(inputs: int = 50, widths: tuple[int, ...] = (192, 192, 128, 128, 1)) -> Case:
    def network(x, *weights):
        for w in weights[:-1]:
            x = jnp.tanh(x @ w)
        return (x @ weights[-1])[0]

    def naive(x, *weights):
        return jnp.trace(jax.hessian(network)(x, *weights))

    sizes = (inputs, *widths)
    weights = tuple(normal(m, n) for m, n in zip(sizes, widths, strict=False))
    own = lambda: sg.laplacian(network)  # noqa: E731
    return case("Laplacian of an MLP", own, naive, None, normal(inputs), *weights)


def nodes_laplacian(batch: int = 4, nodes: int = 20, width: int = 32) -> Case:
    """The same network for each node: most of its Jacobian is zero."""

    def network(x, first, second):
        h = jnp.tanh(x @ first)
        return jnp.sum(jnp.tanh(h @ second), axis=(1, 2))

    def naive(x, first, second):
        def one(x):
            flat = lambda v: network(v.reshape(1, nodes, 4), first, second)[0]  # noqa: E731
            return jnp.trace(jax.hessian(flat)(x.ravel()))

        return jax.vmap(one)(x)

    own = lambda: sg.laplacian(network)  # noqa: E731
    args = (normal(batch, nodes, 4), normal(4, width), normal(width, width))
    return case("Laplacian node by node", own, naive, None, *args)


def cases() -> list[Case]:
    return [
        *(chain(), difference(), entry()),
        *(power(), cyclic(), length()),
        *(quadratic(), logistic(), factorisation()),
        *(hourglass(), divergence(), laplacian(), nodes_laplacian()),
    ]
