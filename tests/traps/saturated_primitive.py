"""Derivatives that are computed from a result that has rounded."""

import jax
import jax.numpy as jnp

from traps import Trap

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
)
