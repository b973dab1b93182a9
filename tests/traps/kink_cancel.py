"""Smooth functions put together from pieces with kinks, at the kink."""

import jax.numpy as jnp
from jax.nn import relu

from traps import Trap

TRAPS = (
    Trap(
        "softplus by pieces", lambda x: jnp.log1p(jnp.exp(-jnp.abs(x))) + jnp.maximum(x, 0.0), 0.0
    ),
    Trap(
        "softplus by pieces, negative",
        lambda x: jnp.maximum(-x, 0.0) + jnp.log1p(jnp.exp(-jnp.abs(x))),
        0.0,
    ),
    Trap(
        "cross entropy with logits",
        lambda z: jnp.maximum(z, 0.0) - 0.25 * z + jnp.log1p(jnp.exp(-jnp.abs(z))),
        0.0,
    ),
    Trap("square of abs", lambda x: jnp.abs(x) ** 2, 0.0, order="hvp", tangent=1.0),
    Trap("difference of rectifiers", lambda x: jnp.maximum(x, 0.0) - jnp.maximum(-x, 0.0), 0.0),
    Trap("sum of extrema", lambda x: jnp.maximum(x[0], x[1]) + jnp.minimum(x[0], x[1]), (2.0, 2.0)),
    Trap(
        "product of extrema",
        lambda x: jnp.maximum(x[0], x[1]) * jnp.minimum(x[0], x[1]),
        (3.0, 3.0),
    ),
    Trap(
        "logaddexp by pieces",
        lambda x: jnp.maximum(x[0], x[1]) + jnp.log(1.0 + jnp.exp(-jnp.abs(x[0] - x[1]))),
        (5.0, 5.0),
    ),
    Trap("sign times abs", lambda x: jnp.sign(x) * jnp.abs(x), 0.0),
    Trap("absolute value times itself", lambda x: x * jnp.abs(x), 0.0),
    Trap(
        "logaddexp by rectifier and a mask",
        lambda x: jnp.where(x > 1.0, x, 1.0) + jnp.log1p(jnp.exp(-jnp.abs(1.0 - x))),
        1.0,
        order="hvp",
        tangent=1.0,
    ),
    Trap(
        "softplus less the smaller",
        lambda x: jnp.log1p(jnp.exp(-jnp.abs(x))) - jnp.minimum(x, 0.0),
        0.0,
    ),
    Trap("parts of a difference", lambda x: relu(x - 2.0) - relu(2.0 - x), 2.0),
    Trap("product of an absolute value", lambda x: jnp.abs(x) * 2.0 * jnp.abs(x), 0.0, order="hvp"),
    Trap("symmetric logarithm", lambda x: jnp.sign(x) * jnp.log(1.0 + jnp.abs(x)), 0.0),
    Trap("symmetric exponential", lambda x: jnp.sign(x) * (jnp.exp(jnp.abs(x)) - 1.0), 0.0),
    Trap("arcsinh by its size", lambda x: jnp.sign(x) * jnp.arcsinh(jnp.abs(x)), 0.0),
    Trap(
        "squares of the parts",
        lambda x: jnp.maximum(x, 0.0) ** 2 + jnp.minimum(x, 0.0) ** 2,
        0.0,
        order="hvp",
    ),
    Trap(
        "signed hyperbolic tangent, scaled",
        lambda x: jnp.sign(x) * (2.0 * jnp.tanh(jnp.abs(x)) / 3.0),
        0.0,
    ),
    Trap(
        "signed difference of sizes",
        lambda x: jnp.sign(x) * (jnp.abs(x) - 0.5 * jnp.log1p(jnp.abs(x))),
        0.0,
    ),
    Trap(
        "rectifiers squared",
        lambda x: 0.5 * relu(x) ** 2 + 0.5 * relu(-x) ** 2,
        0.0,
        order="hvp",
    ),
    Trap(
        "exponentials of the larger and the smaller",
        lambda x: jnp.exp(jnp.maximum(x[0], x[1])) + jnp.exp(jnp.minimum(x[0], x[1])),
        (1.0, 1.0),
        order="hvp",
        tangent=(1.0, 0.5),
    ),
    Trap(
        "log cosh by its size",
        lambda x: jnp.abs(x) + jnp.log1p(jnp.exp(-2.0 * jnp.abs(x))) - jnp.log(2.0),
        0.0,
        order="hvp",
    ),
    Trap("cosine of a size", lambda x: jnp.cos(jnp.abs(x)), 0.0, order="hvp"),
)
