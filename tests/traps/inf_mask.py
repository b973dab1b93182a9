"""Minus infinity as the logarithm of nothing."""

import jax
import jax.numpy as jnp

from traps import Trap, like

INF = float("inf")


def _naive_softmax(z):
    e = jnp.exp(z - jnp.max(z, axis=-1, keepdims=True))
    return e / jnp.sum(e, axis=-1, keepdims=True)


def _dead_row(w):
    scores = jnp.where(like(w, ((1, 1), (0, 0))) > 0, w * like(w, ((1.0, -1.0), (2.0, 3.0))), -INF)
    p = jnp.where(like(w, ((1,), (0,))) > 0, _naive_softmax(scores), 0.0)
    return jnp.sum(p * like(w, ((2.0, 5.0), (7.0, 1.0))))


def _masked_entropy(x):
    scores = jnp.where(like(x, (1, 0, 1)) > 0, x, -INF)
    return -jnp.sum(jax.nn.softmax(scores) * jax.nn.log_softmax(scores))


def _slope_of_masked_entropy(mp, x):
    """Of two probabilities p and q with log-odds d, it is -d p q in the first score."""
    d = x[0] - x[2]
    p = 1 / (1 + mp.exp(-d))
    return [-d * p * (1 - p), mp.zero, d * p * (1 - p)]


def _slope_of_masked_divergence(mp, x, y):
    """Of two log-odds d and e it is p q (d - e) in the first score."""
    d, e = x[0] - x[2], y[0] - y[2]
    p = 1 / (1 + mp.exp(-d))
    found = p * (1 - p) * (d - e)
    return [found, mp.zero, -found]


TRAPS = (
    Trap(
        "logsumexp of nothing, exponentiated",
        lambda x: jnp.exp(jnp.log(jnp.sum(jnp.exp(x - INF)))) + x.sum(),
        (1.0, 2.0),
        slope=(1.0, 1.0),
    ),
    Trap("dead row of attention", _dead_row, 0.7),
    Trap(
        "masked entropy",
        _masked_entropy,
        (0.3, 5.0, -0.4),
        slope=_slope_of_masked_entropy,
    ),
    Trap(
        "masked logaddexp", lambda x: jnp.exp(jnp.logaddexp(x - INF, -INF)) + x * x, 3.0, slope=6.0
    ),
    Trap(
        "masked softmax by hand",
        lambda x: _naive_softmax(jnp.where(like(x, (1, 1, 0)) > 0, x, -INF))[0],
        (1.0, -1.0, 9.0),
    ),
    Trap(
        "probability of a masked logsumexp",
        lambda x: jnp.exp(jax.nn.logsumexp(jnp.stack([x - INF, x - INF]))) + jnp.sin(x),
        0.5,
        slope=lambda mp, x: mp.cos(x[()]),
    ),
    Trap(
        "forward algorithm",
        lambda x: jax.nn.logsumexp(jnp.stack([x - INF, 2.0 * x])),
        1.5,
        slope=2.0,
    ),
    Trap(
        "entropy with an additive mask",
        lambda x: (
            -jnp.sum(
                jax.nn.softmax(x + jnp.log(like(x, (1, 0, 1))))
                * jnp.log(jax.nn.softmax(x + jnp.log(like(x, (1, 0, 1)))))
            )
        ),
        (0.3, 5.0, -0.4),
        slope=_slope_of_masked_entropy,
    ),
    Trap(
        "divergence of masked policies",
        lambda x, y: jnp.sum(
            jax.nn.softmax(jnp.where(like(x, (1, 0, 1)) > 0, x, -INF))
            * (
                jax.nn.log_softmax(jnp.where(like(x, (1, 0, 1)) > 0, x, -INF))
                - jax.nn.log_softmax(jnp.where(like(x, (1, 0, 1)) > 0, y, -INF))
            )
        ),
        (0.0, 3.0, 0.5),
        (0.5, -2.0, 0.5),
        slope=_slope_of_masked_divergence,
    ),
    Trap(
        "causal attention by hand",
        lambda x: jnp.sum(
            _naive_softmax(jnp.where(jnp.tril(jnp.ones((2, 2), bool)), x, -INF))
            * like(x, ((1.0, 5.0), (2.0, 3.0)))
        ),
        ((300.0, 1.0), (0.5, -0.5)),
    ),
)
