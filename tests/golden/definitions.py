"""Twelve programs that people write, and how they are differentiated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import symgrad as sg


def mlp(params, x, labels):
    h = jnp.tanh(x @ params["W1"] + params["b1"])
    z = h @ params["W2"] + params["b2"]
    p = jnp.eye(10)[labels]
    q = jax.nn.softmax(z)
    return -jnp.mean(jnp.sum(p * jnp.log(q), axis=-1))


def convolve(images, kernel):
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(images, kernel, (1, 1), "VALID", dimension_numbers=layout)


def max_pool(images):
    return lax.reduce_window(images, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def lenet(params, images, labels):
    a1 = jax.nn.relu(convolve(images, params["K1"]) + params["b1"])
    m1 = max_pool(a1)
    a2 = jax.nn.relu(convolve(m1, params["K2"]) + params["b2"])
    m2 = max_pool(a2)
    h2 = m2.reshape(len(m2), -1)
    h3 = jax.nn.relu(h2 @ params["W3"] + params["b3"])
    z = h3 @ params["W4"] + params["b4"]
    log_q = jax.nn.log_softmax(z)
    return -jnp.mean(jnp.take_along_axis(log_q, labels[:, None], axis=-1))


def softmax_regression(W, b, x, p):
    z = x @ W + b
    log_q = jax.nn.log_softmax(z)
    return -jnp.mean(jnp.sum(p * log_q, axis=1))


def rbf_network(centres, widths, weights, x, y):
    difference = x[:, None] - centres
    distance = jnp.sum(difference**2, axis=-1)
    phi = jnp.exp(-distance / (2 * widths**2))
    error = phi @ weights - y
    return jnp.mean(error**2) / 2


def rnn(params, start, inputs, targets):
    def step(h, x):
        h = jnp.tanh(params["W"] @ h + params["U"] @ x + params["b"])
        return h, h

    _, states = lax.scan(step, start, inputs)
    error = states @ params["V"] - targets
    return jnp.sum(error**2) / 2


def attention(params, x, target):
    q = x @ params["Wq"]
    k = x @ params["Wk"]
    v = x @ params["Wv"]
    scores = q @ k.T / jnp.sqrt(8.0)
    weights = jax.nn.softmax(scores)
    out = weights @ v @ params["Wo"] + x
    return jnp.mean((out - target) ** 2)


def layer_norm(scale, bias, x, target):
    mean = jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.mean((x - mean) ** 2, axis=-1, keepdims=True)
    normal = (x - mean) / jnp.sqrt(variance + 1e-5)
    y = scale * normal + bias
    return jnp.sum((y - target) ** 2) / 2


def gaussian_nll(mean, covariance, x):
    residual = x - mean
    _, log_det = jnp.linalg.slogdet(covariance)
    solved = jnp.linalg.solve(covariance, residual.T)
    squared = jnp.sum(residual.T * solved)
    return (squared + len(x) * log_det) / 2


def k_means(centres, points):
    difference = points[:, None] - centres
    distance = jnp.sum(difference**2, axis=-1)
    return jnp.sum(jnp.min(distance, axis=1))


def matrix_factorisation(U, V, ratings, seen):
    error = seen * (U @ V.T - ratings)
    penalty = jnp.sum(U**2) + jnp.sum(V**2)
    return jnp.sum(error**2) / 2 + 0.01 * penalty


def logistic(w, x, y):
    z = x @ w
    return jnp.sum(jax.nn.softplus(z) - y * z)


def squared_error(params, x, y):
    h = jnp.tanh(x @ params["W1"] + params["b1"])
    error = h @ params["W2"] - y
    return jnp.sum(error**2) / 2


@dataclass(frozen=True, slots=True)
class Golden:
    """A program of which the derivative is kept as text.

    Attributes:
        transform: symgrad's transformation.
        oracle: what JAX says the results are, as a function of the same arguments.
        args: the types of the arguments.
        argnums: which of them it is differentiated by.
    """

    fun: Callable[..., Any]
    transform: Callable[..., Any]
    oracle: Callable[..., Any]
    args: tuple[Any, ...]
    argnums: int | tuple[int, ...] = 0

    @property
    def name(self) -> str:
        return self.fun.__name__

    @property
    def derivative(self) -> Any:
        return self.transform(self.fun, self.argnums)

    @property
    def file(self) -> Path:
        return Path(__file__).with_name(f"{self.name}.py")

    def draw(self) -> Any:
        """Arguments, the same on every call."""
        draws = np.random.default_rng(0)
        return jax.tree.map(lambda leaf: drawn(draws, leaf), self.args)


def drawn(draws: np.random.Generator, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
    """Normal numbers, or classes; square matrices are covariances."""
    if leaf.dtype == np.int32:
        return draws.integers(10, size=leaf.shape, dtype=np.int32)
    array = draws.normal(scale=0.5, size=leaf.shape).astype(leaf.dtype)
    square = len(leaf.shape) == 2 and leaf.shape[0] == leaf.shape[1]
    return array @ array.T + np.eye(len(array), dtype=leaf.dtype) if square else array


def f32(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, np.float32)


def i32(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, np.int32)


def jax_hvp(fun: Callable[..., Any], argnums: Any) -> Callable[..., Any]:
    def product(v: Any, at: Any, *rest: Any) -> Any:
        gradient = jax.grad(lambda x: fun(x, *rest))
        return jax.jvp(gradient, (at,), (v,))[1]

    return product


MLP = {"W1": f32(64, 32), "b1": f32(32), "W2": f32(32, 10), "b2": f32(10)}
CONVOLUTIONS = {"K1": f32(3, 3, 1, 6), "b1": f32(6), "K2": f32(3, 3, 6, 16), "b2": f32(16)}
DENSE = {"W3": f32(576, 84), "b3": f32(84), "W4": f32(84, 10), "b4": f32(10)}
CELL = {"W": f32(5, 5), "U": f32(5, 3), "b": f32(5), "V": f32(5, 2)}
HEAD = {"Wq": f32(8, 8), "Wk": f32(8, 8), "Wv": f32(8, 8), "Wo": f32(8, 8)}
SMALL = {"W1": f32(3, 4), "b1": f32(4), "W2": f32(4, 2)}


def gradient(fun: Callable[..., Any], *args: Any, argnums: int | tuple[int, ...] = 0) -> Golden:
    return Golden(fun, sg.value_and_grad, jax.value_and_grad, args, argnums)


PROGRAMS = [
    gradient(mlp, MLP, f32(16, 64), i32(16)),
    gradient(lenet, CONVOLUTIONS | DENSE, f32(4, 32, 32, 1), i32(4)),
    gradient(softmax_regression, f32(4, 3), f32(3), f32(8, 4), f32(8, 3), argnums=(0, 1)),
    gradient(rbf_network, f32(6, 2), f32(6), f32(6), f32(9, 2), f32(9), argnums=(0, 1, 2)),
    gradient(rnn, CELL, f32(5), f32(7, 3), f32(7, 2)),
    gradient(attention, HEAD, f32(6, 8), f32(6, 8)),
    gradient(layer_norm, f32(8), f32(8), f32(4, 8), f32(4, 8), argnums=(0, 1, 2)),
    gradient(gaussian_nll, f32(3), f32(3, 3), f32(9, 3), argnums=(0, 1)),
    gradient(k_means, f32(3, 2), f32(9, 2)),
    gradient(matrix_factorisation, f32(5, 2), f32(4, 2), f32(5, 4), f32(5, 4), argnums=(0, 1)),
    Golden(logistic, sg.hessian, jax.hessian, (f32(3), f32(8, 3), f32(8))),
    Golden(squared_error, sg.hvp, jax_hvp, (SMALL, SMALL, f32(8, 3), f32(8, 2))),
]
