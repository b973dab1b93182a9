"""value_and_grad of `attention`.

Written by symgrad 0.1.0 for jax 0.10.2; needs JAX alone.
To write it again:

    symgrad source golden.definitions:attention --transform value_and_grad --arg "{'Wk': f32[8,8], 'Wo': f32[8,8], 'Wq': f32[8,8], 'Wv': f32[8,8]}" --arg 'f32[6,8]' --arg 'f32[6,8]' -o attention.py
"""

import jax
import jax.numpy as jnp


def softmax_slope(x, weights, axis):
    """weights * (x - mean(x)), also where one weight has rounded to 1.

    There the mean cancels, and what is left of x is too small to be rounded away a second time.
    """
    x = x - jnp.sum(weights * x, axis, keepdims=True)
    return weights * (x - jnp.sum(weights * x, axis, keepdims=True))


def value_and_grad_attention(Wk, Wo, Wq, Wv, x, target):
    """value_and_grad of `attention` with respect to Wk, Wo, Wq, Wv.

    Args:
        Wk: float32[8,8]
        Wo: float32[8,8]
        Wq: float32[8,8]
        Wv: float32[8,8]
        x: float32[6,8]
        target: float32[6,8]
    """
    # q = x @ params["Wq"]
    q = x @ Wq
    # scores = q @ k.T / jnp.sqrt(8.0)
    product_1 = (x @ Wk).T
    sqrt_1 = jnp.sqrt(jnp.float32(8.0))
    scores = q @ product_1 / sqrt_1
    # weights = jax.nn.softmax(scores)
    weights = jax.nn.softmax(scores, axis=-1)
    # v = x @ params["Wv"]
    v = x @ Wv
    # out = weights @ v @ params["Wo"] + x
    product_2 = weights @ v
    out = product_2 @ Wo + x
    # return jnp.mean((out - target) ** 2)
    sub_1 = out - target

    # backward: out = weights @ v @ params["Wo"] + x
    d_out = sub_1 / 24.0
    product_3 = d_out @ Wo.T
    # backward: weights = jax.nn.softmax(scores)
    d_weights = product_3 @ v.T
    # backward: scores = q @ k.T / jnp.sqrt(8.0)
    d_scores = softmax_slope(d_weights, weights, axis=-1)
    div_1 = d_scores / sqrt_1
    d_Wk = x.T @ (q.T @ div_1).T
    d_Wo = product_2.T @ d_out
    # backward: q = x @ params["Wq"]
    d_q = div_1 @ product_1.T
    d_Wq = x.T @ d_q
    # backward: v = x @ params["Wv"]
    d_v = weights.T @ product_3
    d_Wv = x.T @ d_v
    return jnp.sum(jnp.square(sub_1)) / 48.0, d_Wk, d_Wo, d_Wq, d_Wv
