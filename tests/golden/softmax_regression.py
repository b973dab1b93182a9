"""value_and_grad of `softmax_regression`.

Written by symgrad 0.1.0 for jax 0.10.2; needs JAX alone.
To write it again:

    symgrad source golden.definitions:softmax_regression --transform value_and_grad --wrt 0,1 --arg 'f32[4,3]' --arg 'f32[3]' --arg 'f32[8,4]' --arg 'f32[8,3]' -o softmax_regression.py
"""

import jax
import jax.numpy as jnp
from jax import lax


def value_and_grad_softmax_regression(W, b, x, p):
    """value_and_grad of `softmax_regression` with respect to W, b.

    Args:
        W: float32[4,3]
        b: float32[3]
        x: float32[8,4]
        p: float32[8,3]
    """
    z = x @ W + b
    # log_q = jax.nn.log_softmax(z)
    log_q = jax.nn.log_softmax(z, axis=-1)
    # return -jnp.mean(jnp.sum(p * log_q, axis=1))
    einsum_1 = jnp.einsum("ab,ab->", p, log_q, precision=lax.Precision.HIGHEST)

    # backward: z = x @ W + b
    d_z = (p - jnp.sum(p, axis=1)[:, None] * jax.nn.softmax(z, axis=-1)) * -0.125
    d_W = x.T @ d_z
    d_b = jnp.sum(d_z, axis=0)
    return einsum_1 * -0.125, d_W, d_b
