"""Compositions of logarithms and exponentials whose intermediate values leave the range."""

import jax
import jax.numpy as jnp

from traps import Trap, like


def _attention_score(x):
    weights = jnp.exp(x) / jnp.exp(x).sum()
    return -jnp.log(weights[2]) + 0.5 * jnp.log(weights[0])


def _two_log_partition(x):
    return jnp.log(jnp.sum(jnp.exp(x), axis=1)).sum()


def _mutual_information(z):
    p = jnp.exp(z) / jnp.sum(jnp.exp(z))
    rows, columns = p.sum(1, keepdims=True), p.sum(0, keepdims=True)
    return jnp.sum(p * jnp.log(p / (rows * columns)))


TRAPS = (
    Trap("shifted softplus", lambda x: jnp.log(0.5 + 0.5 * jnp.exp(x)), 800.0),
    Trap("soft minimum", lambda x: -jnp.log(jnp.exp(-x[0]) + jnp.exp(-x[1])), (900.0, 901.0)),
    Trap("log of a mean of exponentials", lambda x: jnp.log(jnp.mean(jnp.exp(x))), (950.0, 952.0)),
    Trap("temperature", lambda x: 0.5 * jnp.log(jnp.sum(jnp.exp(2.0 * x))), (500.0, 501.0, 499.0)),
    Trap("log partition by rows", _two_log_partition, ((1000.0, 1001.0), (-2000.0, -1999.0))),
    Trap("attention score", _attention_score, (1000.0, 1002.0, 999.0)),
    Trap("log of sinh", lambda x: jnp.log(jnp.sinh(x)), 600.0, precisions=("float32", "bfloat16")),
    Trap(
        "log of softmax in base two",
        lambda x: jnp.log(jnp.exp2(x[0]) + jnp.exp2(x[1])),
        (1100.0, 1101.0),
    ),
    Trap("logit of a softplus", lambda x: jnp.log(jnp.exp(jnp.log(1 + jnp.exp(x))) - 1.0), 700.0),
    Trap("curvature of log cosh", lambda x: jnp.log(jnp.cosh(x)), 30.0, order="hvp", tangent=1.0),
    Trap(
        "weighted sum of exponentials",
        lambda x: jnp.log(like(x, (0.3, 0.7)) @ jnp.exp(x)),
        (-900.0, -901.0),
    ),
    Trap(
        "log-odds of a softmax",
        lambda x: jnp.log(jax.nn.softmax(x)[0] / jax.nn.softmax(x)[1]),
        (0.0, 500.0, 3.0),
    ),
    Trap(
        "contrastive loss",
        lambda x: -jnp.log(jnp.exp(x[0]) / (jnp.exp(x[0]) + jnp.sum(jnp.exp(x[1:])))),
        (900.0, 904.0, 880.0),
    ),
    Trap(
        "pairwise preference",
        lambda x: -jnp.log(jnp.exp(x[0]) / (jnp.exp(x[0]) + jnp.exp(x[1]))),
        (-800.0, -792.0),
    ),
    Trap("complementary log-log", lambda x: jnp.log(1.0 - jnp.exp(-jnp.exp(x))), -60.0),
    Trap("log of softplus", lambda x: jnp.log(jnp.log(1.0 + jnp.exp(x))), -150.0),
    Trap("log of minus log sigmoid", lambda x: jnp.log(-jnp.log(1.0 / (1.0 + jnp.exp(-x)))), 200.0),
    Trap(
        "soft maximum, temperature",
        lambda t, x: t * jnp.log(jnp.sum(jnp.exp(x / t))),
        0.0078125,
        (1.0, 0.9921875, 0.5),
    ),
    Trap(
        "step of a hidden Markov model",
        lambda v, a: jnp.sum(jnp.log(jnp.exp(a) @ jnp.exp(v))),
        (-900.0, -904.0),
        ((-1.0, -2.0), (-3.0, -0.5)),
    ),
    Trap(
        "Boltzmann average",
        lambda x: jnp.sum(x * jnp.exp(x)) / jnp.sum(jnp.exp(x)),
        (1000.0, 1004.0, 992.0),
        units=4.0,
    ),
    Trap(
        "three weighted exponentials",
        lambda x: jnp.log(2.0 * jnp.exp(x[0]) + 3.0 * jnp.exp(x[1]) + jnp.exp(-x[0])),
        (400.0, 402.0),
    ),
    Trap(
        "softmax over several axes",
        lambda x: (jnp.exp(x) / jnp.sum(jnp.exp(x)))[0, 1],
        ((900.0, 904.0), (901.0, 896.0)),
    ),
    Trap(
        "posterior from log-likelihoods",
        lambda x, prior: (prior * jnp.exp(x) / jnp.sum(prior * jnp.exp(x)))[1],
        (-900.0, -901.0, -904.0),
        (0.5, 0.25, 0.25),
    ),
    Trap(
        "softmax with a mask that multiplies",
        lambda x, m: (jnp.exp(x) * m / jnp.sum(jnp.exp(x) * m))[0],
        (900.0, 980.0, 902.0),
        (1.0, 0.0, 1.0),
    ),
    Trap(
        "slope in a mask that multiplies",
        lambda m, x: (jnp.exp(x) * m / jnp.sum(jnp.exp(x) * m))[0],
        (1.0, 0.0, 1.0),
        (900.0, 904.0, 902.0),
    ),
    Trap(
        "softmax of entries selected",
        lambda x: (
            (jnp.where(x > 920.0, 0.0, jnp.exp(x)) @ like(x, (1.0, 2.0, 3.0)))
            / jnp.sum(jnp.where(x > 920.0, 0.0, jnp.exp(x)))
        ),
        (900.0, 960.0, 902.0),
    ),
    Trap(
        "effective sample size",
        lambda x: jnp.sum(jnp.exp(x)) ** 2 / jnp.sum(jnp.exp(x) ** 2),
        (-900.0, -901.0, -898.0),
    ),
    Trap(
        "proportional hazards",
        lambda x: jnp.log(jnp.exp(x) / jnp.cumsum(jnp.exp(x)))[2],
        (900.0, 896.0, 898.0),
    ),
    Trap(
        "likelihood of a ranking",
        lambda x: jnp.log(jnp.cumsum(jnp.exp(x)[::-1])[::-1])[1],
        (900.0, 896.0, 898.0),
    ),
    Trap(
        "mutual information of a table of logits",
        _mutual_information,
        ((30.0, 0.0), (-4.0, 28.0)),
    ),
    Trap("log of a Gumbel density", lambda x: jnp.log(jnp.exp(-x) * jnp.exp(-jnp.exp(-x))), -6.0),
)
