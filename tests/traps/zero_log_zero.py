"""Zero times the logarithm of zero, where the limit is well defined."""

import jax
import jax.numpy as jnp

from traps import Trap, like


def _cross_entropy(t):
    q = like(t, (1.0, 0.0, 0.0)) * (1.0 - t) + t * like(t, (0.25, 0.75, 0.0))
    return -jnp.sum(like(t, (1.0, 1.0, 0.0)) * jnp.log(q) * like(t, (0.5, 0.0, 0.0)))


TRAPS = (
    Trap(
        "entropy of a distribution",
        lambda p: -jnp.sum(p * jnp.log(p)),
        (0.0, 0.25, 0.75),
        order="value",
    ),
    Trap(
        "divergence",
        lambda p, q: jnp.sum(p * (jnp.log(p) - jnp.log(q))),
        (0.0, 1.0),
        (0.5, 0.5),
        order="value",
    ),
    Trap("targets with zeros", _cross_entropy, 0.0, slope=0.375),
    Trap(
        "entropy of a sharp softmax",
        lambda z: -jnp.sum(jax.nn.softmax(z) * jnp.log(jax.nn.softmax(z))),
        (0.0, -2000.0, 1.0),
    ),
    Trap(
        "one-hot log likelihood",
        lambda z: jnp.sum(like(z, (0.0, 1.0)) * jnp.log(jax.nn.softmax(z))),
        (-1500.0, 1500.0),
    ),
    Trap(
        "binomial log likelihood",
        lambda p: 3.0 * jnp.log(p) + 0.0 * jnp.log(1.0 - p),
        1.0,
        slope=3.0,
    ),
    Trap(
        "Poisson at rate zero",
        lambda r, k: jnp.sum(k * jnp.log(r) - r),
        (0.0, 2.0),
        (0.0, 3.0),
        slope=(-1.0, 0.5),
    ),
    Trap(
        "xlogy",
        lambda x, y: jnp.sum(jax.scipy.special.xlogy(x, y)),
        (0.0, 1.0),
        (0.0, 3.0),
        wrt=1,
        slope=(0.0, 1.0 / 3.0),
    ),
    Trap(
        "divergence to a softmax",
        lambda z, p: jnp.sum(p * (jnp.log(p) - jax.nn.log_softmax(z))),
        (0.3, 0.1, -0.2),
        (0.0, 0.4, 0.6),
    ),
    Trap(
        "mutual information",
        lambda p: jnp.sum(
            p * jnp.log(p / (jnp.sum(p, 0, keepdims=True) * jnp.sum(p, 1, keepdims=True)))
        ),
        ((0.5, 0.0), (0.25, 0.25)),
        order="value",
    ),
    Trap(
        "divergence of Jensen and Shannon",
        lambda p, q: (
            0.5 * jnp.sum(p * jnp.log(p / (0.5 * (p + q))))
            + 0.5 * jnp.sum(q * jnp.log(q / (0.5 * (p + q))))
        ),
        (0.0, 0.25, 0.75),
        (0.5, 0.5, 0.0),
        order="value",
    ),
    Trap(
        "entropy of a certain coin",
        lambda p: -(p * jnp.log(p) + (1.0 - p) * jnp.log(1.0 - p)),
        1.0,
        order="value",
    ),
    Trap(
        "Poisson deviance",
        lambda m, y: 2.0 * jnp.sum(y * jnp.log(y / m) - (y - m)),
        (0.5, 2.0),
        (0.0, 3.0),
        slope=(2.0, -1.0),
    ),
    Trap(
        "multinomial log likelihood",
        lambda p, n: jnp.sum(n * jnp.log(p)),
        (0.0, 0.25, 0.75),
        (0.0, 2.0, 3.0),
        slope=(0.0, 8.0, 4.0),
    ),
    Trap("entropy of amplitudes", lambda x: -jnp.sum(x**2 * jnp.log(x**2)), (0.0, 0.25, -0.8)),
    Trap(
        "entropy of amplitudes, normalised",
        lambda x: -jnp.sum(x**2 / jnp.sum(x**2) * jnp.log2(x**2 / jnp.sum(x**2))),
        (0.0, 1.0, 2.0),
    ),
    Trap(
        "entropy of amplitudes as an inner product",
        lambda x: -jnp.einsum("i,i->", x * x, jnp.log(x * x)),
        (0.0, 0.25, 0.8),
    ),
    Trap("cube times logarithm", lambda x: jnp.sum(x**3 * jnp.log(x)), (0.0, 0.5)),
    Trap(
        "thin plate spline",
        lambda x: jnp.sum(x**2) * jnp.log(jnp.sqrt(jnp.sum(x**2))),
        (0.0, 0.0),
    ),
)
