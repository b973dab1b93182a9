"""value_and_grad of `layer_norm`.

Written by symgrad 0.1.0 for jax 0.10.2; needs JAX alone.
To write it again:

    symgrad source golden.definitions:layer_norm --transform value_and_grad --wrt 0,1,2 --arg 'f32[8]' --arg 'f32[8]' --arg 'f32[4,8]' --arg 'f32[4,8]' -o layer_norm.py
"""

import jax.numpy as jnp


def value_and_grad_layer_norm(scale, bias, x, target):
    """value_and_grad of `layer_norm` with respect to scale, bias, x.

    Args:
        scale: float32[8]
        bias: float32[8]
        x: float32[4,8]
        target: float32[4,8]
    """
    # variance = jnp.mean((x - mean) ** 2, axis=-1, keepdims=True)
    sub_1 = x - (jnp.sum(x, axis=1) / 8.0)[:, None]
    # normal = (x - mean) / jnp.sqrt(variance + 1e-5)
    sqrt_1 = jnp.sqrt(jnp.sum(jnp.square(sub_1), axis=1) / 8.0 + 1e-05)
    normal = sub_1 / sqrt_1[:, None]
    y = scale * normal + bias
    # return jnp.sum((y - target) ** 2) / 2
    sub_2 = y - target

    d_scale = jnp.sum(sub_2 * normal, axis=0)
    d_bias = jnp.sum(sub_2, axis=0)
    # backward: normal = (x - mean) / jnp.sqrt(variance + 1e-5)
    d_normal = scale * sub_2
    div_1 = d_normal / sqrt_1[:, None]
    # backward: variance = jnp.mean((x - mean) ** 2, axis=-1, keepdims=True)
    div_2 = jnp.sum(div_1 * normal, axis=1)[:, None] / (2.0 * sqrt_1)[:, None]
    mul_1 = sub_1 * div_2[:, 0][:, None] * 0.25
    d_x = div_1 - mul_1 + (jnp.sum(mul_1 - div_1, axis=1) / 8.0)[:, None]
    return jnp.sum(jnp.square(sub_2)) / 2.0, d_scale, d_bias, d_x
