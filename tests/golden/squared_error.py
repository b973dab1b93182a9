"""hvp of `squared_error`.

Written by symgrad 0.1.0 for jax 0.10.2; needs JAX alone.
To write it again:

    symgrad source golden.definitions:squared_error --transform hvp --arg "{'W1': f32[3,4], 'W2': f32[4,2], 'b1': f32[4]}" --arg 'f32[8,3]' --arg 'f32[8,2]' -o squared_error.py
"""

import jax.numpy as jnp


def sech_squared(x):
    """1 - tanh(x)**2, also where tanh(x) rounds to 1."""
    return jnp.exp(-2 * jnp.abs(x)) * jnp.square(1 + jnp.abs(jnp.tanh(x)))


def hvp_squared_error(v_W1, v_W2, v_b1, W1, W2, b1, x, y):
    """hvp of `squared_error` with respect to W1, W2, b1.

    Args:
        v_W1: float32[3,4]
        v_W2: float32[4,2]
        v_b1: float32[4]
        W1: float32[3,4]
        W2: float32[4,2]
        b1: float32[4]
        x: float32[8,3]
        y: float32[8,2]
    """
    # h = jnp.tanh(x @ params["W1"] + params["b1"])
    pre_h = x @ W1 + b1
    h = jnp.tanh(pre_h)
    # error = h @ params["W2"] - y
    error = h @ W2 - y

    # backward: h = jnp.tanh(x @ params["W1"] + params["b1"])
    pre_h_dot = x @ v_W1 + v_b1
    sech_squared_1 = sech_squared(pre_h)
    h_dot = pre_h_dot * sech_squared_1
    # backward: error = h @ params["W2"] - y
    error_dot = h_dot @ W2 + h @ v_W2
    # backward: h = jnp.tanh(x @ params["W1"] + params["b1"])
    d_h_dot = error_dot @ W2.T + error @ v_W2.T
    d_h = error @ W2.T
    d_pre_h_dot = d_h_dot * sech_squared_1 + h * pre_h_dot * sech_squared_1 * d_h * -2.0
    Hv_W1 = x.T @ d_pre_h_dot
    Hv_W2 = h_dot.T @ error + h.T @ error_dot
    Hv_b1 = jnp.sum(d_pre_h_dot, axis=0)
    return Hv_W1, Hv_W2, Hv_b1
