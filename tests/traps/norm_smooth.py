"""Smooth functions that are spelled through a norm, at the origin."""

import jax.numpy as jnp

from traps import Trap, like

ORIGIN, AXIS = (0.0, 0.0), (1.0, -2.0)

TRAPS = (
    Trap(
        "fourth power of a norm",
        lambda x: jnp.linalg.norm(x) ** 4,
        ORIGIN,
        order="hvp",
        tangent=AXIS,
    ),
    Trap(
        "Gaussian kernel of a distance",
        lambda x: jnp.exp(-0.5 * jnp.linalg.norm(x) ** 2),
        ORIGIN,
        order="hvp",
        tangent=AXIS,
    ),
    Trap("cosine of a norm", lambda x: jnp.cos(jnp.sqrt(jnp.sum(x**2))), ORIGIN),
    Trap(
        "cosine of a norm, curvature",
        lambda x: jnp.cos(jnp.sqrt(jnp.sum(x**2))),
        ORIGIN,
        order="hvp",
        tangent=AXIS,
    ),
    Trap(
        "hyperbolic cosine of a norm",
        lambda x: jnp.cosh(jnp.sqrt(x[0] ** 2 + x[1] ** 2)),
        ORIGIN,
        order="hvp",
        tangent=AXIS,
    ),
    Trap(
        "sinc of a norm",
        lambda x: jnp.sin(jnp.linalg.norm(x)) / jnp.linalg.norm(x),
        ORIGIN,
        order="hvp",
        tangent=AXIS,
    ),
    Trap(
        "Matern with 3/2 at a point",
        lambda x: (1.0 + jnp.linalg.norm(x)) * jnp.exp(-jnp.linalg.norm(x)),
        ORIGIN,
    ),
    Trap("cube of a norm", lambda x: jnp.linalg.norm(x) ** 3, ORIGIN),
    Trap("root of an eighth power", lambda x: jnp.sqrt(x**8), 0.0),
    Trap(
        "log of one plus a squared norm",
        lambda x: jnp.log(1.0 + jnp.sqrt(jnp.sum(x * x)) ** 2),
        ORIGIN,
        order="hvp",
        tangent=AXIS,
    ),
    Trap(
        "vector clipped by norm",
        lambda x: jnp.sum(x * jnp.minimum(1.0, 1.0 / jnp.linalg.norm(x)) * like(x, AXIS)),
        ORIGIN,
    ),
    Trap(
        "rational quadratic kernel",
        lambda x: (1.0 + jnp.linalg.norm(x) ** 2 / 3.0) ** -1.5,
        ORIGIN,
        order="hvp",
        tangent=AXIS,
    ),
    Trap(
        "softened potential",
        lambda x: -1.0 / jnp.sqrt(jnp.linalg.norm(x) ** 2 + 0.25),
        ORIGIN,
        order="hvp",
        tangent=AXIS,
    ),
    Trap(
        "exponential map of a ball",
        lambda x: jnp.sum(jnp.tanh(jnp.linalg.norm(x)) * x / jnp.linalg.norm(x) * like(x, AXIS)),
        ORIGIN,
    ),
    Trap(
        "log cosh of a norm",
        lambda x: jnp.log(jnp.cosh(jnp.linalg.norm(x))),
        ORIGIN,
        order="hvp",
        tangent=AXIS,
    ),
    Trap(
        "quaternion of a rotation vector",
        lambda x: (
            jnp.cos(jnp.linalg.norm(x) / 2.0)
            + jnp.sum(jnp.sin(jnp.linalg.norm(x) / 2.0) / jnp.linalg.norm(x) * x * like(x, AXIS))
        ),
        ORIGIN,
    ),
)
