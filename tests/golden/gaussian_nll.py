"""value_and_grad of `gaussian_nll`.

Written by symgrad 0.1.0 for jax 0.10.2; needs JAX alone.
To write it again:

    symgrad source golden.definitions:gaussian_nll --transform value_and_grad --wrt 0,1 --arg 'f32[3]' --arg 'f32[3,3]' --arg 'f32[9,3]' -o gaussian_nll.py
"""

import jax
import jax.numpy as jnp
from jax import lax


def value_and_grad_gaussian_nll(mean, covariance, x):
    """value_and_grad of `gaussian_nll` with respect to mean, covariance.

    Args:
        mean: float32[3]
        covariance: float32[3,3]
        x: float32[9,3]
    """
    residual = x - mean
    # solved = jnp.linalg.solve(covariance, residual.T)
    lu, pivots = jax.scipy.linalg.lu_factor(covariance)
    residual_T = residual.T
    solved = jax.scipy.linalg.lu_solve((lu, pivots), residual_T)
    # return (squared + len(x) * log_det) / 2
    einsum_1 = jnp.einsum("ab,ba->", residual, solved, precision=lax.Precision.HIGHEST)
    # _, log_det = jnp.linalg.slogdet(covariance)
    log_det = jnp.sum(jnp.log(jnp.abs(jnp.diagonal(lu))))

    # backward: solved = jnp.linalg.solve(covariance, residual.T)
    d_solved = residual_T / 2.0
    lu_solve_1 = jax.scipy.linalg.lu_solve((lu, pivots), d_solved, trans=1)
    # backward: residual = x - mean
    d_residual = (solved / 2.0 + lu_solve_1).T
    d_mean = -jnp.sum(d_residual, axis=0)
    # backward: _, log_det = jnp.linalg.slogdet(covariance)
    lu_solve_2 = jax.scipy.linalg.lu_solve((lu, pivots), jnp.eye(3, dtype=jnp.float32))
    # backward: solved = jnp.linalg.solve(covariance, residual.T)
    product_1 = jnp.matmul(lu_solve_1, solved.T, precision=lax.Precision.HIGHEST)
    d_covariance = lu_solve_2.T * 4.5 - product_1
    return einsum_1 * 0.5 + log_det * 4.5, d_mean, d_covariance
