"""The branch that is not taken holds an infinity or nan."""

import jax.numpy as jnp
from jax import lax

from traps import Trap, like

MASKED = (-2.0, 3.0)


def _clipped_log(x):
    return jnp.sum(jnp.where(x > 1e-3, jnp.log(x), x))


def _by_cases(x):
    return lax.cond(x > 0.0, lambda x: jnp.sqrt(x), lambda x: -2.0 * x, x)


TRAPS = (
    Trap("log of negatives", _clipped_log, (-1.0, 0.0, 2.0), slope=(1.0, 1.0, 0.5)),
    Trap(
        "reciprocal of zero",
        lambda x: jnp.sum(jnp.where(x == 0.0, 0.0, 1.0 / x)),
        (0.0, 2.0),
        slope=(0.0, -0.25),
    ),
    Trap(
        "arccos outside",
        lambda x: jnp.sum(jnp.where(jnp.abs(x) < 1.0, jnp.arccos(x), 3.0 * x)),
        (2.0, 0.5),
    ),
    Trap("power of a negative", lambda x: jnp.sum(jnp.where(x > 0.0, x**1.5, 0.0)), MASKED),
    Trap(
        "overflowing branch", lambda x: jnp.sum(jnp.where(x < 50.0, jnp.exp(x), x**2)), (900.0, 1.0)
    ),
    Trap(
        "softplus by branches",
        lambda x: jnp.sum(jnp.where(x > 30.0, x, jnp.log(1.0 + jnp.exp(x)))),
        (1000.0, 1.0),
    ),
    Trap(
        "root by a mask argument",
        lambda x, m: jnp.sum(jnp.where(m > 0.0, jnp.sqrt(x), 0.0)),
        (0.0, 4.0),
        (0.0, 1.0),
        slope=(0.0, 0.25),
    ),
    Trap(
        "masked mean",
        lambda x: jnp.mean(
            jnp.where(jnp.isfinite(like(x, (1.0, jnp.inf))), x * like(x, (1.0, jnp.inf)), 0.0)
        ),
        (2.0, 3.0),
    ),
    Trap(
        "nested masks",
        lambda x: jnp.sum(jnp.where(x > 0.0, jnp.where(x > 1.0, jnp.sqrt(x - 1.0), x), -x)),
        (0.5, 5.0, -3.0),
    ),
    Trap(
        "curvature of a masked root",
        lambda x: jnp.sum(jnp.where(x > 0.0, x * jnp.sqrt(x), x**2)),
        (-1.0, 4.0),
        order="hvp",
        tangent=(1.0, 1.0),
    ),
    Trap("branches by cond", _by_cases, -4.0),
    Trap(
        "pairs of charges",
        lambda x: jnp.sum(jnp.where(jnp.eye(3) > 0, 0.0, 1.0 / jnp.abs(x[:, None] - x[None, :]))),
        (0.0, 1.0, 3.0),
        slope=(20.0 / 9.0, -1.5, -13.0 / 18.0),
    ),
    Trap(
        "mean of an empty group",
        lambda s, n: jnp.sum(jnp.where(n > 0, s / n, 0.0)),
        (3.0, 0.0),
        (2.0, 0.0),
        slope=(0.5, 0.0),
    ),
    Trap(
        "not a number as nothing",
        lambda x: jnp.sum(jnp.nan_to_num(jnp.log(x) * jnp.array(0.5, x.dtype))),
        (2.0, -1.0),
        slope=(0.25, 0.0),
    ),
    Trap(
        "power with a mask, exponent",
        lambda x, y: jnp.sum(jnp.where(x > 0, x**y, 0.0)),
        (-1.0, 2.0),
        (0.5, 2.0),
        wrt=1,
        slope=lambda mp, x, y: [mp.zero, 4 * mp.log(2)],
    ),
)
