"""Smooth functions of matrices through a decomposition that is degenerate."""

import jax
import jax.numpy as jnp

from traps import Trap, like

REPEATED = ((2.0, 0.0, 0.0), (0.0, 2.0, 0.0), (0.0, 0.0, 1.0))
WEIGHTS = ((1.0, 2.0, 3.0), (2.0, 5.0, 6.0), (3.0, 6.0, 9.0))


def _by_eigenvalues(function):
    def weighted(a):
        w, v = jnp.linalg.eigh((a + a.T) / 2.0)
        return jnp.sum(((v * function(w)) @ v.T) * like(a, WEIGHTS))

    return weighted


def _polar_factor(a):
    u, _, vh = jnp.linalg.svd(a, full_matrices=False)
    return u @ vh


def _polar(a):
    return jnp.sum(_polar_factor(a) * jnp.triu(like(a, WEIGHTS)))


PLAIN = ("float32", "float64")

TRAPS = (
    Trap("root of a matrix", _by_eigenvalues(jnp.sqrt), REPEATED, precisions=PLAIN, units=10.0),
    Trap("logarithm of a matrix", _by_eigenvalues(jnp.log), REPEATED, precisions=PLAIN, units=10.0),
    Trap(
        "inverse of a matrix",
        _by_eigenvalues(lambda w: 1.0 / w),
        REPEATED,
        precisions=PLAIN,
        units=10.0,
    ),
    Trap(
        "exponential of the identity",
        _by_eigenvalues(jnp.exp),
        ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
        precisions=PLAIN,
        units=10.0,
    ),
    Trap(
        "sum of exponentials of eigenvalues",
        lambda a: jnp.sum(jnp.exp(jnp.linalg.eigvalsh((a + a.T) / 2.0))),
        REPEATED,
        precisions=PLAIN,
        units=10.0,
    ),
    Trap("nearest rotation", _polar, REPEATED, precisions=PLAIN, units=10.0),
    Trap(
        "nearest orthonormal columns",
        lambda a: jnp.sum(_polar_factor(a) * jnp.tril(like(a, WEIGHTS)[:, :2])),
        ((2.0, 0.0), (0.0, 2.0), (0.0, 0.0)),
        precisions=PLAIN,
        units=10.0,
    ),
    Trap(
        "nuclear norm",
        lambda a: jnp.sum(jnp.linalg.svd(a, full_matrices=False)[1]),
        REPEATED,
        precisions=PLAIN,
        units=10.0,
    ),
    Trap(
        "rebuilt from singular values",
        lambda a: jnp.sum(
            (lambda u, s, vh: (u * s) @ vh)(*jnp.linalg.svd(a, full_matrices=False)) ** 2
        ),
        REPEATED,
        precisions=PLAIN,
        units=10.0,
    ),
    Trap(
        "whitening",
        _by_eigenvalues(lambda w: 1.0 / jnp.sqrt(w)),
        REPEATED,
        precisions=PLAIN,
        units=10.0,
    ),
    Trap(
        "logarithm of a determinant by eigenvalues",
        lambda a: jnp.sum(jnp.log(jnp.linalg.eigvalsh((a + a.T) / 2.0))),
        REPEATED,
        precisions=PLAIN,
        units=10.0,
    ),
    Trap(
        "rectified matrix",
        _by_eigenvalues(lambda w: jax.nn.softplus(w)),
        REPEATED,
        precisions=PLAIN,
        units=10.0,
    ),
)
