"""value_and_grad of `mlp`.

Written by symgrad 0.1.0 for jax 0.10.2; needs JAX alone.
To write it again:

    symgrad source golden.definitions:mlp --transform value_and_grad --arg "{'W1': f32[64,32], 'W2': f32[32,10], 'b1': f32[32], 'b2': f32[10]}" --arg 'f32[16,64]' --arg 'i32[16]' -o mlp.py
"""

import jax
import jax.numpy as jnp
from jax import lax


def sech_squared(x):
    """1 - tanh(x)**2, also where tanh(x) rounds to 1."""
    return jnp.exp(-2 * jnp.abs(x)) * jnp.square(1 + jnp.abs(jnp.tanh(x)))


def value_and_grad_mlp(W1, W2, b1, b2, x, labels):
    """value_and_grad of `mlp` with respect to W1, W2, b1, b2.

    Args:
        W1: float32[64,32]
        W2: float32[32,10]
        b1: float32[32]
        b2: float32[10]
        x: float32[16,64]
        labels: int32[16]
    """
    # p = jnp.eye(10)[labels]
    p = jax.nn.one_hot(jnp.where(labels < 0, labels + 10, labels), 10, dtype=jnp.float32)
    # h = jnp.tanh(x @ params["W1"] + params["b1"])
    pre_h = x @ W1 + b1
    h = jnp.tanh(pre_h)
    # z = h @ params["W2"] + params["b2"]
    z = h @ W2 + b2
    # return -jnp.mean(jnp.sum(p * jnp.log(q), axis=-1))
    einsum_1 = jnp.einsum(
        "ab,ab->", p, jax.nn.log_softmax(z, axis=-1), precision=lax.Precision.HIGHEST
    )
    # q = jax.nn.softmax(z)
    q = jax.nn.softmax(z, axis=-1)

    # backward: z = h @ params["W2"] + params["b2"]
    sub_1 = q - p
    d_z = sub_1 / 16.0
    # backward: h = jnp.tanh(x @ params["W1"] + params["b1"])
    d_h = d_z @ W2.T
    d_pre_h = d_h * sech_squared(pre_h)
    d_W1 = x.T @ d_pre_h
    d_W2 = h.T @ d_z
    d_b1 = jnp.sum(d_pre_h, axis=0)
    d_b2 = jnp.sum(sub_1, axis=0) / 16.0
    return einsum_1 * -0.0625, d_W1, d_W2, d_b1, d_b2
