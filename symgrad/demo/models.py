"""Two networks in plain JAX: a tanh MLP, and the LeNet of lectures.

Nothing here knows of symgrad. The parameters are a dict, the loss is a function
of it, and the variables have the names that the emitted gradient will use.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn.initializers import glorot_normal, he_normal

Params = dict[str, jax.Array]

HIDDEN = 128
CLASSES = 10


def mlp_init(key: jax.Array) -> Params:
    """Random weights and zero biases: 64 pixels, `HIDDEN` units, 10 classes."""
    k1, k2 = jax.random.split(key)
    init = glorot_normal()
    return {
        "W1": init(k1, (64, HIDDEN)),
        "b1": jnp.zeros(HIDDEN),
        "W2": init(k2, (HIDDEN, CLASSES)),
        "b2": jnp.zeros(CLASSES),
    }


def mlp_logits(params: Params, x: jax.Array) -> jax.Array:
    """Unnormalised log-probabilities of the ten classes."""
    h = jnp.tanh(x @ params["W1"] + params["b1"])
    z = h @ params["W2"] + params["b2"]
    return z


def mlp_loss(params: Params, x: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean cross-entropy between the truth p, one class for certain, and the network's guess q."""
    z = mlp_logits(params, x)
    p = jnp.eye(CLASSES)[labels]
    q = jax.nn.softmax(z)
    return -jnp.mean(jnp.sum(p * jnp.log(q), axis=-1))


def lenet_init(key: jax.Array) -> Params:
    """Two convolutions and three dense layers for images of 32 by 32 pixels."""
    k1, k2, k3, k4, k5 = jax.random.split(key, 5)
    init = he_normal()
    return {
        "K1": init(k1, (3, 3, 1, 6)),
        "b1": jnp.zeros(6),
        "K2": init(k2, (3, 3, 6, 16)),
        "b2": jnp.zeros(16),
        "W3": init(k3, (6 * 6 * 16, 120)),
        "b3": jnp.zeros(120),
        "W4": init(k4, (120, 84)),
        "b4": jnp.zeros(84),
        "W5": init(k5, (84, 10)),
        "b5": jnp.zeros(10),
    }


def convolve(images: jax.Array, kernel: jax.Array) -> jax.Array:
    """Slide the kernel over the images; no padding, so 3x3 takes two pixels off each side."""
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(images, kernel, (1, 1), "VALID", dimension_numbers=layout)


def max_pool(images: jax.Array) -> jax.Array:
    """The largest of every 2x2 pixels."""
    return lax.reduce_window(images, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def lenet_logits(params: Params, images: jax.Array) -> jax.Array:
    """Unnormalised log-probabilities of the ten classes."""
    a1 = jax.nn.relu(convolve(images, params["K1"]) + params["b1"])
    m1 = max_pool(a1)
    a2 = jax.nn.relu(convolve(m1, params["K2"]) + params["b2"])
    m2 = max_pool(a2)
    h2 = m2.reshape(len(m2), -1)
    h3 = jax.nn.relu(h2 @ params["W3"] + params["b3"])
    h4 = jax.nn.relu(h3 @ params["W4"] + params["b4"])
    z = h4 @ params["W5"] + params["b5"]
    return z


def lenet_loss(params: Params, images: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean negative log-probability of the true class."""
    z = lenet_logits(params, images)
    log_q = jax.nn.log_softmax(z)
    log_q_true = jnp.take_along_axis(log_q, labels[:, None], axis=-1)
    return -jnp.mean(log_q_true)
