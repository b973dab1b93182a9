"""Formulas with the logistic function or tanh that cancel or overflow in the tails."""

import jax
import jax.numpy as jnp

from traps import Trap


def _focal_loss(z):
    p = jax.nn.sigmoid(z)
    return -((1.0 - p) ** 2) * jnp.log(p)


def _bce(z):
    p = 1.0 / (1.0 + jnp.exp(-z))
    return -jnp.log(1.0 - p)


TRAPS = (
    Trap("log of sigmoid", lambda x: jnp.log(jax.nn.sigmoid(x)), -800.0),
    Trap("binary cross entropy by hand", _bce, 120.0),
    Trap("focal loss", _focal_loss, -150.0),
    Trap("hazard", lambda x: jnp.log(1.0 / (1.0 - jax.nn.sigmoid(x))), 200.0),
    Trap("log of one plus tanh", lambda x: jnp.log(1.0 + jnp.tanh(x)), -60.0),
    Trap("log of one minus tanh", lambda x: jnp.log1p(-jnp.tanh(x)), 45.0),
    Trap("sigmoid from exponentials", lambda x: jnp.exp(x) / (1.0 + jnp.exp(x)), 750.0),
    Trap("upper tail by hand", lambda x: 1.0 / (1.0 + jnp.exp(x)), 95.0, precisions=("float64",)),
    Trap("upper tail, in range", lambda x: 1.0 / (1.0 + jnp.exp(x)), 85.0, units=3.0),
    Trap(
        "logit of sigmoid", lambda x: jnp.log(jax.nn.sigmoid(x) / (1.0 - jax.nn.sigmoid(x))), 60.0
    ),
    Trap(
        "entropy of a coin",
        lambda x: (
            -(
                jax.nn.sigmoid(x) * jnp.log(jax.nn.sigmoid(x))
                + (1 - jax.nn.sigmoid(x)) * jnp.log(1 - jax.nn.sigmoid(x))
            )
        ),
        40.0,
        units=3.0,
    ),
    Trap(
        "smoothed labels",
        lambda z: -(0.875 * jnp.log(jax.nn.sigmoid(z)) + 0.125 * jnp.log(1 - jax.nn.sigmoid(z))),
        -400.0,
    ),
    Trap("mish by hand", lambda x: x * jnp.tanh(jnp.log(1.0 + jnp.exp(x))), 500.0),
    Trap("squashed Gaussian", lambda x: jnp.log(1.0 - jnp.tanh(x) ** 2), 40.0),
    Trap(
        "discretised logistic",
        lambda x: jnp.log(jax.nn.sigmoid(x + 0.5) - jax.nn.sigmoid(x - 0.5)),
        60.0,
    ),
    Trap(
        "discretised logistic with a scale",
        lambda s: jnp.log(jax.nn.sigmoid(30.5 * s) - jax.nn.sigmoid(29.5 * s)),
        4.0,
    ),
    Trap("gate that is closed", lambda x: (1.0 - jax.nn.sigmoid(x)) * jnp.tanh(x), 60.0),
    Trap("loss of a label of minus one", lambda z, y: jnp.log(1.0 + jnp.exp(-y * z)), 800.0, -1.0),
    Trap("logistic density", lambda x: jnp.exp(x) / (1.0 + jnp.exp(x)) ** 2, 60.0, order="value"),
)
