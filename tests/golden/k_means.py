"""value_and_grad of `k_means`.

Written by symgrad 0.1.0 for jax 0.10.2; needs JAX alone.
To write it again:

    symgrad source golden.definitions:k_means --transform value_and_grad --arg 'f32[3,2]' --arg 'f32[9,2]' -o k_means.py
"""

import jax.numpy as jnp


def value_and_grad_k_means(centres, points):
    """value_and_grad of `k_means` with respect to centres.

    Args:
        centres: float32[3,2]
        points: float32[9,2]
    """
    # difference = points[:, None] - centres
    difference = points[:, None, :] - centres
    # distance = jnp.sum(difference**2, axis=-1)
    distance = jnp.sum(jnp.square(difference), axis=2)
    # return jnp.sum(jnp.min(distance, axis=1))
    min_1 = jnp.min(distance, axis=1)

    eq_1 = distance == min_1[:, None]
    # backward: distance = jnp.sum(difference**2, axis=-1)
    mul_1 = difference * (1.0 / jnp.sum(eq_1.astype(jnp.float32), axis=1))[:, None, None]
    d_centres = jnp.sum(jnp.where(eq_1[:, :, None], -(mul_1 * 2.0), 0.0), axis=0)
    return jnp.sum(min_1), d_centres
