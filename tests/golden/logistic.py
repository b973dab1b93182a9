"""hessian of `logistic`.

Written by symgrad 0.1.0 for jax 0.10.2; needs JAX alone.
To write it again:

    symgrad source golden.definitions:logistic --transform hessian --arg 'f32[3]' --arg 'f32[8,3]' --arg 'f32[8]' -o logistic.py
"""

import jax.numpy as jnp


def logistic_slope(x):
    """sigmoid(x) * sigmoid(-x)"""
    t = jnp.exp(-jnp.abs(x))
    return t / jnp.square(1 + t)


def hessian_logistic(w, x, y):
    """hessian of `logistic` with respect to w.

    Args:
        w: float32[3]
        x: float32[8,3]
        y: float32[8]
    """
    z = x @ w
    return x.T @ (x.T * logistic_slope(z)).T
