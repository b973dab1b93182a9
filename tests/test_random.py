"""Programs that draw random numbers, against JAX: values bit for bit, derivatives, texts."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_every_op import run_text
from together import agree, attempt, compiled_together

import symgrad as sg

R = jax.random
ROW = (3,)

DRAWS = {
    "normal": lambda k, x: x * R.normal(k, ROW),
    "normal in half precision": lambda k, x: x * R.normal(k, ROW, np.float16),
    "complex normal": lambda k, x: jnp.abs(x * R.normal(k, ROW, np.complex128)),
    "uniform": lambda k, x: x * R.uniform(k, ROW),
    "uniform between": lambda k, x: R.uniform(k, ROW, minval=x[0], maxval=x[0] + x[1] ** 2),
    "uniform between arrays": lambda k, x: R.uniform(k, (2, 3), minval=-x, maxval=x * x),
    "uniform, bounds batched": lambda k, x: jax.vmap(lambda x: R.uniform(k, ROW, maxval=x))(x),
    "gumbel": lambda k, x: x * R.gumbel(k, ROW),
    "gamma": R.gamma,
    "loggamma": R.loggamma,
    "gamma, keys batched": lambda k, x: jax.vmap(R.gamma, (0, None))(R.split(k, 2), x),
    "beta": lambda k, x: R.beta(k, x, x + 1),
    "dirichlet": R.dirichlet,
    "chisquare": lambda k, x: R.chisquare(k, x),
    "t": lambda k, x: R.t(k, x),
    "truncated normal": lambda k, x: R.truncated_normal(k, -x, x + 0.3),
    "lognormal": lambda k, x: R.lognormal(k, x),
    "exponential": lambda k, x: x * R.exponential(k, ROW),
    "laplace": lambda k, x: x * R.laplace(k, ROW),
    "bernoulli": lambda k, x: x * R.bernoulli(k, 0.3, ROW),
    "categorical": lambda k, x: x * R.categorical(k, jnp.log(x), shape=ROW),
    "choice": lambda k, x: R.choice(k, x, (2,)),
    "choice with weights": lambda k, x: R.choice(k, x, (2,), p=jnp.array([0.2, 0.3, 0.5])),
    "permutation": R.permutation,
    "multivariate normal": lambda k, x: R.multivariate_normal(k, x, jnp.eye(3), method="svd"),
    "poisson": lambda k, x: x * R.poisson(k, 3.0, ROW),
    "binomial": lambda k, x: x * R.binomial(k, 10, 0.3, ROW),
    "randint": lambda k, x: x * R.randint(k, ROW, 0, 7),
    "split": lambda k, x: sum(x * R.normal(each) for each in R.split(k, 3)),
    "split to a matrix": lambda k, x: x * jax.vmap(jax.vmap(R.uniform))(R.split(k, (2, 3))),
    "fold in": lambda k, x: x * jax.vmap(lambda i: R.uniform(R.fold_in(k, i)))(jnp.arange(3)),
    "in a loop": lambda k, x: jax.lax.scan(
        lambda c, k: (c + x * R.normal(k, ROW), None), x, R.split(k, 3)
    )[0],
    "key made inside": lambda k, x: x * R.normal(R.key(7), ROW) * R.uniform(R.PRNGKey(3)),
    "negative seed": lambda k, x: x * R.normal(R.key(jnp.int32(-7)), ROW),
    "many seeds": lambda k, x: x * jax.vmap(lambda s: R.normal(R.key(s)))(jnp.arange(3)),
    "another generator": lambda k, x: x * R.normal(R.key(7, impl="rbg"), ROW),
    "clone": lambda k, x: x * R.uniform(R.clone(R.fold_in(k, 1)), ROW),
}


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(False, id="typed key"),
        pytest.param(True, id="raw key", marks=pytest.mark.slow),
    ],
)
def test_draws_and_their_derivatives(raw, float64, subtests):
    key = R.PRNGKey(3) if raw else R.key(3)
    x = np.array([0.7, 1.3, 2.2])

    def everything(operands):
        def slopes(by, fun):
            return jax.jit(fun)(*operands) if by is jax else sg.jit(fun)(*operands), by.grad(
                lambda k, x: jnp.sum(jnp.sin(fun(k, x))), 1
            )(*operands)

        return {
            name: [attempt(lambda by=by, fun=fun: slopes(by, fun)) for by in (sg, jax)]
            for name, fun in DRAWS.items()
        }

    for name, (found, wanted) in compiled_together(everything, [key, x]).items():
        with subtests.test(draw=name):
            for result in (found, wanted):
                if isinstance(result, Exception):
                    raise result
            agree(found, wanted, float64.tolerance)


def test_texts_are_calls_of_jax_random(float64):
    key, x = R.key(3), np.array([0.7, 1.3, 2.2])
    for name, line in {
        "normal": "jax.random.normal(k, (3,), jnp.float64)",
        "gamma": "jax.random.gamma(k, x, dtype=jnp.float64)",
        "gamma, keys batched": "jax.vmap(lambda key, a: jax.random.gamma(key, a, ",
        "negative seed": 'jax.random.key(jnp.int32(-7), impl="threefry2x32")',
        "key made inside": 'jax.random.key(7, impl="threefry2x32")',
        "another generator": 'jax.random.key(7, impl="rbg")',
    }.items():
        draw = DRAWS[name]
        text = sg.jit(lambda k, x, draw=draw: draw(k, x)).source(key, x)
        assert line in text
        np.testing.assert_allclose(run_text(text, key, x)[0], draw(key, x), rtol=1e-12)


def test_samples_of_the_gamma_distribution_move_along_their_quantile(float64):
    """∂/∂a keeps P(a, x), so along the sample the distribution function does not change."""
    key, a = R.key(0), np.array([0.4, 1.0, 7.5])
    quantile = lambda a: jax.scipy.special.gammainc(a, R.gamma(key, a))  # noqa: E731
    np.testing.assert_allclose(sg.jvp(quantile, (a,), (np.ones(3),))[1], 0, atol=1e-10)


def test_second_derivatives_of_gamma_samples(float64):
    """JAX has them in forward mode only."""
    key, a = R.key(0), 2.5
    draw = lambda a: R.gamma(key, a)  # noqa: E731
    wanted = jax.jvp(jax.grad(draw), (a,), (1.0,))[1]
    for second in (sg.grad(sg.grad(draw)), sg.hessian(draw)):
        np.testing.assert_allclose(second(a), wanted, rtol=1e-9)
