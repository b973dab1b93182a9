"""TensorFlow Probability on JAX, and Distrax: log densities, divergences, bijectors."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import Draws, Program, check_programs

pytest.importorskip("distrax")

import distrax
from tensorflow_probability.substrates import jax as tfp

tfd, tfb = tfp.distributions, tfp.bijectors


def density(make, *params, values) -> Program:
    """Σ log p(values) as a function of the parameters and the values."""
    fun = lambda data: jnp.sum(make(*data[0]).log_prob(data[1]))  # noqa: E731
    return Program(fun, ((params, values),), twice=True)


def counted(make, *params, values) -> Program:
    """Of a discrete distribution: the values are whole numbers."""
    fun = lambda params: jnp.sum(make(*params).log_prob(values))  # noqa: E731
    return Program(fun, (params,), twice=True)


def lower(draw: Draws, n: int):
    return np.tril(draw(n, n) / 4) + np.eye(n, dtype=draw.dtype)


def mixture(of, draw: Draws) -> Program:
    def make(logits, means, scales):
        return of.MixtureSameFamily(of.Categorical(logits), of.Normal(means, scales))

    return density(make, draw(3), draw(3), draw.positive(3), values=draw(5))


def hidden_markov(of, draw: Draws) -> Program:
    def make(start, moves, means):
        return of.HiddenMarkovModel(
            initial_distribution=of.Categorical(start),
            transition_distribution=of.Categorical(moves),
            observation_distribution=of.Normal(means, jnp.ones_like(means)),
            num_steps=4,
        )

    return density(make, draw(3), draw(3, 3), draw(3), values=draw(4))


def divergence(draw: Draws) -> Program:
    def fun(params):
        p, q = distrax.Normal(*params[0]), distrax.Normal(*params[1])
        r, s = distrax.Categorical(params[2]), distrax.Categorical(params[3])
        t = distrax.MultivariateNormalDiag(params[0][0], params[0][1])
        u = distrax.MultivariateNormalDiag(params[1][0], params[1][1])
        total = jnp.sum(p.kl_divergence(q)) + r.kl_divergence(s) + t.kl_divergence(u)
        return total + jnp.sum(p.entropy()) + r.entropy()

    pairs = [(draw(2), draw.positive(2)) for _ in "pq"]
    return Program(fun, ((*pairs, draw(3), draw(3)),), twice=True)


def flow(draw: Draws) -> Program:
    """A normalising flow of coupling layers with splines."""

    def fun(data):
        params, x = data

        def conditioner(y):
            return jnp.tanh(y @ params).reshape(*y.shape[:-1], 4, 13)

        spline = lambda p: distrax.RationalQuadraticSpline(p, -3.0, 3.0)  # noqa: E731
        layers = []
        for first in (0, 1):
            mask = jnp.arange(4) % 2 == first
            layers.append(distrax.MaskedCoupling(mask, conditioner, spline))
        base = distrax.Independent(distrax.Normal(jnp.zeros(4), jnp.ones(4)), 1)
        chain = distrax.Inverse(distrax.Chain(layers))
        return jnp.mean(distrax.Transformed(base, chain).log_prob(x))

    return Program(fun, ((draw(4, 52), draw(3, 4)),))


def bijectors(draw: Draws) -> Program:
    def fun(x):
        found = [
            tfb.Softplus().forward_log_det_jacobian(x, 0),
            tfb.SoftmaxCentered().forward_log_det_jacobian(x, 1),
            tfb.Ascending().forward(x),
            tfb.Sigmoid(-1.0, 2.0).inverse_log_det_jacobian(jnp.tanh(x) / 2, 0),
            tfb.CorrelationCholesky().forward(x),
            distrax.Tanh().forward_log_det_jacobian(x),
            distrax.Sigmoid().inverse(jax.nn.sigmoid(x)),
        ]
        return sum(jnp.sum(f) for f in found)

    return Program(fun, (draw(3),))


def gaussian_process(draw: Draws) -> Program:
    points = draw(5, 1)

    def make(amplitude, length, noise):
        kernel = tfp.math.psd_kernels.MaternFiveHalves(amplitude, length)
        return tfd.GaussianProcess(kernel, points, observation_noise_variance=noise)

    args = [draw.positive() for _ in range(3)]
    return density(make, *args, values=draw(5))


def joint(draw: Draws) -> Program:
    @tfd.JointDistributionCoroutineAutoBatched
    def model():
        centre = yield tfd.Normal(jnp.zeros((), draw.dtype), 1.0, name="centre")
        spread = yield tfd.HalfCauchy(jnp.zeros((), draw.dtype), 1.0, name="spread")
        yield tfd.Sample(tfd.StudentT(4.0, centre, spread), 4, name="values")

    values = draw(4)
    fun = lambda p: model.log_prob(centre=p[0], spread=p[1], values=values)  # noqa: E731
    return Program(fun, ((draw(), draw.positive()),), twice=True)


PROGRAMS = {
    "distrax Normal": lambda d: density(distrax.Normal, d(3), d.positive(3), values=d(3)),
    "distrax Laplace": lambda d: density(distrax.Laplace, d(3), d.positive(3), values=d(3)),
    "distrax Gumbel": lambda d: density(distrax.Gumbel, d(3), d.positive(3), values=d(3)),
    "distrax Logistic": lambda d: density(distrax.Logistic, d(3), d.positive(3), values=d(3)),
    "distrax Gamma": lambda d: density(
        distrax.Gamma, d.positive(3), d.positive(3), values=d.positive(3)
    ),
    "distrax Beta": lambda d: density(
        distrax.Beta, d.positive(3), d.positive(3), values=d.positive(3) / 2
    ),
    "distrax Dirichlet": lambda d: density(
        distrax.Dirichlet, d.positive(3), values=np.full(3, 1 / 3, d.dtype)
    ),
    "distrax Categorical": lambda d: counted(distrax.Categorical, d(3), values=d.whole(3, 4)),
    "distrax Multinomial": lambda d: counted(
        lambda logits: distrax.Multinomial(4, logits), d(3), values=np.array([1, 2, 1], d.dtype)
    ),
    "distrax triangular normal": lambda d: density(
        distrax.MultivariateNormalTri, d(3), lower(d, 3), values=d(2, 3)
    ),
    "distrax mixture": lambda d: mixture(distrax, d),
    "distrax divergences": divergence,
    "distrax flow": flow,
    "tfp mixture": lambda d: mixture(tfd, d),
    "tfp hidden Markov model": lambda d: hidden_markov(tfd, d),
    "tfp Student": lambda d: density(
        tfd.StudentT, d.positive(3) + 2, d(3), d.positive(3), values=d(3)
    ),
    "tfp von Mises": lambda d: density(tfd.VonMises, d(3), d.positive(3), values=d(3)),
    "tfp Weibull": lambda d: density(
        tfd.Weibull, d.positive(3), d.positive(3), values=d.positive(3)
    ),
    "tfp negative binomial": lambda d: counted(
        lambda n, logits: tfd.NegativeBinomial(n, logits=logits),
        *(d.positive(3), d(3)),
        values=np.array([0.0, 2, 5], d.dtype),
    ),
    "tfp Wishart": lambda d: density(
        lambda scale: tfd.WishartTriL(5.0, scale_tril=scale),
        lower(d, 3),
        values=lower(d, 3) @ lower(d, 3).T + np.eye(3, dtype=d.dtype),
    ),
    "tfp Gaussian process": gaussian_process,
    "tfp joint distribution": joint,
    "bijectors": bijectors,
}


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype float64")
def test_programs(real, subtests):
    check_programs(PROGRAMS, real, subtests)
