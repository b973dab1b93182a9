"""Derivatives that are computed from a result that has rounded."""

import jax
import jax.numpy as jnp

from traps import Trap, like

TRAPS = (
    Trap("tanh", jnp.tanh, 20.0),
    Trap("tanh, far below", jnp.tanh, -35.0),
    Trap("curvature of tanh", jnp.tanh, 15.0, order="hvp", tangent=1.0),
    Trap("sigmoid", lambda x: jax.nn.sigmoid(x), 50.0),
    Trap("curvature of sigmoid", lambda x: jax.nn.sigmoid(x), 45.0, order="hvp", tangent=1.0),
    Trap("expm1", jnp.expm1, -60.0),
    Trap("curvature of expm1", jnp.expm1, -50.0, order="hvp", tangent=1.0),
    Trap("silu", lambda x: x * jax.nn.sigmoid(x), -70.0),
    Trap(
        "curvature of log sigmoid", lambda x: jax.nn.log_sigmoid(x), 35.0, order="hvp", tangent=1.0
    ),
    Trap("softmax", lambda x: jax.nn.softmax(x)[0], (40.0, 0.0)),
    Trap(
        "softplus, curvature far out", lambda x: jax.nn.softplus(x), 60.0, order="hvp", tangent=1.0
    ),
    Trap("elu", lambda x: jax.nn.elu(x), -50.0),
    Trap("logaddexp curvature", lambda x: jnp.logaddexp(x, 2.0), 42.0, order="hvp", tangent=1.0),
    Trap("softmax, curvature", lambda x: jax.nn.softmax(x)[0], (30.0, 0.0), order="hvp"),
    Trap("confident cross entropy", lambda x: -jax.nn.log_softmax(x)[0], (40.0, 0.0, 1.0)),
    Trap("unlikelihood", lambda x: -jnp.log(1 - jax.nn.softmax(x)[0]), (200.0, 0.0, 1.0)),
    Trap("doubt", lambda x: 1 - jax.nn.softmax(x)[1], (0.0, 40.0, 1.0)),
    Trap("Gini's impurity", lambda x: 1 - jnp.sum(jax.nn.softmax(x) ** 2), (40.0, 0.0, 1.0)),
    Trap("log of the largest", lambda x: jnp.log(jnp.max(jax.nn.softmax(x))), (0.0, 40.0, 1.0)),
    Trap(
        "attention to one",
        lambda x: jax.nn.softmax(x) @ like(x, (1.0, 2.0, 4.0)),
        (50.0, 0.0, 1.0),
    ),
    Trap(
        "confident weights by hand",
        lambda x: jnp.exp(x[1]) / (jnp.exp(x[0]) + jnp.exp(x[1])),
        (-30.0, 5.0),
    ),
    Trap(
        "entropy of a confident choice",
        lambda x: -jnp.sum(jax.nn.softmax(x) * jax.nn.log_softmax(x)),
        (30.0, 0.0, -2.0),
    ),
    Trap(
        "curvature of attention to one",
        lambda x: jax.nn.softmax(x) @ like(x, (1.0, 2.0, 4.0)),
        (30.0, 0.0, 1.0),
        order="hvp",
        tangent=(0.5, 1.0, -1.0),
    ),
    Trap("softsign", lambda x: x / (1.0 + jnp.abs(x)), 1e10),
    Trap("algebraic sigmoid", lambda x: x / jnp.sqrt(1.0 + x**2), 1e8),
    Trap("Michaelis and Menten", lambda x: x / (2.0 + x), 1e12),
    Trap("softplus of softplus", lambda x: jax.nn.softplus(jax.nn.softplus(x)), -60.0),
)
