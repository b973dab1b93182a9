"""NumPyro: log densities of models, variational bounds, and NUTS on symgrad's gradient."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import Draws, Program, agree, check_programs

import symgrad as sg

numpyro = pytest.importorskip("numpyro")

import numpyro.distributions as dist  # noqa: E402
from numpyro import infer  # noqa: E402


def density(model, args, params, *, twice=True) -> Program:
    """The log density of a model in its unconstrained parameters."""
    fun = lambda params: infer.util.potential_energy(model, args, {}, params)  # noqa: E731
    return Program(fun, (params,), twice=twice)


def regression(group, x, y):
    """Slopes that differ from group to group around a common one."""
    centre = numpyro.sample("centre", dist.Normal(0.0, 2.0))
    spread = numpyro.sample("spread", dist.HalfCauchy(1.0))
    with numpyro.plate("groups", 3):
        slope = numpyro.sample("slope", dist.Normal(centre, spread))
    noise = numpyro.sample("noise", dist.Exponential(1.0))
    numpyro.sample("y", dist.StudentT(4.0, slope[group] * x, noise), obs=y)


def hierarchical(draw: Draws) -> Program:
    data = (draw.whole(3, 8), draw(8), draw(8))
    params = {"centre": draw(), "spread": draw(), "slope": draw(3), "noise": draw()}
    return density(regression, data, params)


def constrained_density(draw: Draws) -> Program:
    """`log_density` takes the constrained parameters and returns a trace beside the value."""
    data = (draw.whole(3, 8), draw(8), draw(8))
    params = {
        "centre": draw(),
        "spread": draw.positive(),
        "slope": draw(3),
        "noise": draw.positive(),
    }
    fun = lambda params: infer.util.log_density(regression, data, {}, params)[0]  # noqa: E731
    return Program(fun, (params,), twice=True)


def mixture(x):
    weights = numpyro.sample("weights", dist.Dirichlet(jnp.ones(3)))
    means = numpyro.sample("means", dist.Normal(0.0, 3.0).expand([3]).to_event(1))
    scales = numpyro.sample("scales", dist.InverseGamma(2.0, 1.0).expand([3]).to_event(1))
    parts = dist.MixtureSameFamily(dist.Categorical(weights), dist.Normal(means, scales))
    numpyro.sample("x", parts, obs=x)


def mixture_density(draw: Draws) -> Program:
    params = {"weights": draw(2), "means": draw(3), "scales": draw(3)}
    return density(mixture, (draw(7),), params)


def process(x, y):
    """A Gaussian process with its length scale, amplitude and noise."""
    length = numpyro.sample("length", dist.LogNormal(0.0, 1.0))
    amplitude = numpyro.sample("amplitude", dist.HalfNormal(1.0))
    noise = numpyro.sample("noise", dist.Gamma(2.0, 2.0))
    kernel = amplitude * jnp.exp(-(((x[:, None] - x) / length) ** 2) / 2)
    covariance = kernel + noise * jnp.eye(x.size)
    numpyro.sample("y", dist.MultivariateNormal(jnp.zeros(x.size), covariance), obs=y)


def gaussian_process(draw: Draws) -> Program:
    params = {"length": draw(), "amplitude": draw(), "noise": draw()}
    return density(process, (draw(5), draw(5)), params)


def correlated(y):
    scales = numpyro.sample("scales", dist.HalfNormal(1.0).expand([3]).to_event(1))
    factor = numpyro.sample("factor", dist.LKJCholesky(3, 2.0))
    numpyro.sample(
        "y", dist.MultivariateNormal(jnp.zeros(3), scale_tril=scales[:, None] * factor), obs=y
    )


def lkj(draw: Draws) -> Program:
    return density(correlated, (draw(4, 3),), {"scales": draw(3), "factor": draw(3)})


def counts(x, y, bounded):
    """Discrete observations, a simplex, an ordered vector and a bounded number."""
    cuts = numpyro.sample(
        "cuts",
        dist.TransformedDistribution(
            dist.Normal(0.0, 1.0).expand([2]).to_event(1), dist.transforms.OrderedTransform()
        ),
    )
    rate = numpyro.sample("rate", dist.Gamma(2.0, 1.0))
    share = numpyro.sample("share", dist.Beta(2.0, 3.0))
    numpyro.sample("x", dist.OrderedLogistic(rate * jnp.ones(x.shape), cuts), obs=x)
    numpyro.sample("y", dist.NegativeBinomial2(rate, share), obs=y)
    numpyro.sample("z", dist.ZeroInflatedPoisson(share, rate), obs=y)
    numpyro.sample("w", dist.BinomialProbs(share, 5), obs=y)
    numpyro.sample("bounded", dist.TruncatedNormal(rate, share, low=0.0, high=2.0), obs=bounded)


def count_density(draw: Draws) -> Program:
    params = {"cuts": draw(2), "rate": draw(), "share": draw()}
    data = (draw.whole(3, 5), draw.whole(5, 5), draw.positive(4))
    return density(counts, data, params, twice=False)


def states(y):
    """A hidden random walk."""
    spread = numpyro.sample("spread", dist.HalfNormal(1.0))
    walk = numpyro.sample("walk", dist.GaussianRandomWalk(spread, num_steps=4))
    numpyro.sample("y", dist.Laplace(walk, 0.5), obs=y)


def walk(draw: Draws) -> Program:
    return density(states, (draw(4),), {"spread": draw(), "walk": draw(4)})


def bound(draw: Draws) -> Program:
    """The evidence lower bound of a normal guide, whose sample is reparameterised."""
    guide = infer.autoguide.AutoNormal(regression)
    data = (draw.whole(3, 8), draw(8), draw(8))
    svi = infer.SVI(regression, guide, numpyro.optim.Adam(0.1), infer.Trace_ELBO(2))
    state = jax.eval_shape(lambda: svi.init(jax.random.key(0), *data))
    params = draw.parameters(lambda: svi.get_params(state))
    params = {name: np.abs(p) if "scale" in name else p for name, p in params.items()}

    def loss(params, key):
        return svi.loss.loss(key, params, regression, guide, *data)

    return Program(loss, (params, jax.random.key(1)))


PROGRAMS = {
    "hierarchical regression": hierarchical,
    "constrained density": constrained_density,
    "mixture": mixture_density,
    "Gaussian process": gaussian_process,
    "correlated normal": lkj,
    "counts": count_density,
    "random walk": walk,
    "evidence lower bound": bound,
}


def test_programs(real, subtests):
    check_programs(PROGRAMS, real, subtests)


def test_nuts(float64, monkeypatch):
    """The sampler of the library, with `sg.value_and_grad` where it takes JAX's."""
    draw = Draws("nuts", float64.dtype)
    data = (draw.whole(3, 8), draw(8), draw(8))

    def samples():
        kernel = infer.NUTS(regression, max_tree_depth=3)
        mcmc = infer.MCMC(kernel, num_warmup=5, num_samples=5, progress_bar=False)
        mcmc.run(jax.random.key(0), *data)
        return mcmc.get_samples()

    wanted = samples()
    asked = []

    def value_and_grad(fun, *args, **kwargs):
        asked.append(fun)
        return sg.value_and_grad(fun, *args, **kwargs)

    monkeypatch.setattr(infer.hmc_util, "value_and_grad", value_and_grad)
    found = samples()
    assert asked
    agree(found, wanted, 1e-8)
