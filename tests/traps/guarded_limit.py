"""A limit written as a constant branch: the true derivative there is not that of the constant."""

import jax.numpy as jnp

from traps import Trap


def _rodrigues(v):
    angle = jnp.sqrt(jnp.sum(v**2))
    s = jnp.where(angle == 0.0, 1.0, jnp.sin(angle) / angle)
    c = jnp.where(angle == 0.0, 0.5, (1.0 - jnp.cos(angle)) / angle**2)
    return s * v[0] + c * (v[1] * v[2])


def _double_where(x):
    safe = jnp.where(x == 0.0, 1.0, x)
    return jnp.where(x == 0.0, 1.0, jnp.expm1(safe) / safe)


TRAPS = (
    Trap(
        "guarded sinh quotient",
        lambda x: jnp.where(x == 0.0, 1.0, jnp.sinh(x) / x),
        0.0,
        order="hvp",
        tangent=1.0,
    ),
    Trap("guarded logarithm quotient", lambda x: jnp.where(x == 0.0, 1.0, jnp.log1p(x) / x), 0.0),
    Trap("guard by not equal", lambda x: jnp.where(x != 0.0, (jnp.exp(x) - 1.0) / x, 1.0), 0.0),
    Trap("guarded Bernoulli function", lambda x: jnp.where(x == 0.0, 1.0, x / jnp.expm1(x)), 0.0),
    Trap(
        "guard by magnitude",
        lambda x: jnp.where(jnp.abs(x) > 0.0, jnp.tan(x) / x, 1.0),
        0.0,
        order="hvp",
        tangent=1.0,
    ),
    Trap("double where", _double_where, 0.0),
    Trap(
        "guarded logarithmic mean",
        lambda a, b: jnp.where(a == b, a, (a - b) / jnp.log(a / b)),
        2.0,
        2.0,
    ),
    Trap(
        "utility of constant risk aversion",
        lambda c, g: jnp.sum(
            jnp.where(
                g == 1.0, jnp.log(c), (c ** (1.0 - g) - 1.0) / jnp.where(g == 1.0, 1.0, 1.0 - g)
            )
        ),
        (1.0, 2.0, 4.0),
        1.0,
    ),
    Trap("rotation by a vector", _rodrigues, (0.0, 0.0, 0.0)),
    Trap(
        "entries of a guarded array",
        lambda x: jnp.sum(jnp.where(x == 0.0, 1.0, jnp.expm1(x) / x)),
        (0.0, 2.0),
    ),
    Trap(
        "guarded Box and Cox",
        lambda k, x: jnp.where(k == 0.0, jnp.log(x), (x**k - 1.0) / k),
        0.0,
        3.0,
    ),
    Trap(
        "guard by a tolerance",
        lambda x: jnp.where(jnp.abs(x) < 1e-6, 1.0 + 0.5 * x, jnp.expm1(x) / x),
        0.0,
    ),
    Trap(
        "guarded discount",
        lambda k, x: jnp.sum(jnp.where(k == 0.0, x, (1.0 - jnp.exp(-k * x)) / k)),
        0.0,
        (1.0, 2.0),
    ),
    Trap(
        "guarded tail of Pareto",
        lambda k, x: jnp.sum(jnp.where(k == 0.0, x, (1.0 + 1.0 / k) * jnp.log1p(k * x))),
        0.0,
        (1.0, 2.0),
    ),
    Trap(
        "membrane rate",
        lambda v: jnp.where(v == -40.0, 1.0, 0.1 * (v + 40.0) / (1.0 - jnp.exp(-(v + 40.0) / 10))),
        -40.0,
    ),
)
