"""value_and_grad of `rbf_network`.

Written by symgrad 0.1.0 for jax 0.10.2; needs JAX alone.
To write it again:

    symgrad source golden.definitions:rbf_network --transform value_and_grad --wrt 0,1,2 --arg 'f32[6,2]' --arg 'f32[6]' --arg 'f32[6]' --arg 'f32[9,2]' --arg 'f32[9]' -o rbf_network.py
"""

import jax.numpy as jnp
from jax import lax


def value_and_grad_rbf_network(centres, widths, weights, x, y):
    """value_and_grad of `rbf_network` with respect to centres, widths, weights.

    Args:
        centres: float32[6,2]
        widths: float32[6]
        weights: float32[6]
        x: float32[9,2]
        y: float32[9]
    """
    # difference = x[:, None] - centres
    difference = x[:, None, :] - centres
    # distance = jnp.sum(difference**2, axis=-1)
    distance = jnp.sum(jnp.square(difference), axis=2)
    # phi = jnp.exp(-distance / (2 * widths**2))
    mul_1 = 2.0 * jnp.square(widths)
    div_1 = distance / mul_1
    phi = jnp.exp(-div_1)
    error = phi @ weights - y

    # backward: error = phi @ weights - y
    d_error = error / 9.0
    # backward: phi = jnp.exp(-distance / (2 * widths**2))
    d_phi = jnp.outer(d_error, weights)
    # backward: distance = jnp.sum(difference**2, axis=-1)
    div_2 = d_phi * phi / mul_1
    einsum_1 = jnp.einsum("abc,ab->bc", difference, div_2, precision=lax.Precision.HIGHEST)
    d_centres = einsum_1 * 2.0
    einsum_2 = jnp.einsum("ab,ab->b", div_2, div_1, precision=lax.Precision.HIGHEST)
    d_widths = widths * einsum_2 * 4.0
    d_weights = d_error @ phi
    return jnp.sum(jnp.square(error)) * 0.055555556, d_centres, d_widths, d_weights
