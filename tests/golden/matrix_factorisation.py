"""value_and_grad of `matrix_factorisation`.

Written by symgrad 0.1.0 for jax 0.10.2; needs JAX alone.
To write it again:

    symgrad source golden.definitions:matrix_factorisation --transform value_and_grad --wrt 0,1 --arg 'f32[5,2]' --arg 'f32[4,2]' --arg 'f32[5,4]' --arg 'f32[5,4]' -o matrix_factorisation.py
"""

import jax.numpy as jnp


def value_and_grad_matrix_factorisation(U, V, ratings, seen):
    """value_and_grad of `matrix_factorisation` with respect to U, V.

    Args:
        U: float32[5,2]
        V: float32[4,2]
        ratings: float32[5,4]
        seen: float32[5,4]
    """
    error = seen * (U @ V.T - ratings)
    # penalty = jnp.sum(U**2) + jnp.sum(V**2)
    penalty = jnp.sum(jnp.square(U)) + jnp.sum(jnp.square(V))

    # backward: error = seen * (U @ V.T - ratings)
    mul_1 = seen * error
    d_U = U * 0.02 + mul_1 @ V
    d_V = V * 0.02 + mul_1.T @ U
    return jnp.sum(jnp.square(error)) / 2.0 + 0.01 * penalty, d_U, d_V
