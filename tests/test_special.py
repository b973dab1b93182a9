"""The functions of `jax.scipy.special`, `jax.scipy.stats` and `jax.nn` against JAX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import jax.scipy.special as js
import jax.scipy.stats as st
import numpy as np
import pytest
from together import Jax, Problem, agree, attempt, compiled_together, generator

import symgrad as sg
from symgrad.errors import NoDerivativeError

Cases = Mapping[str, tuple[Any, ...]]
"""A function and its operands, under its name."""

U = np.array([0.2, 0.5, 0.8])
A = np.array([0.7, 1.3, 2.2])
B = np.array([1.5, 0.4, 3.0])
X = np.array([0.3, 1.7, 2.4])
K = np.array([0, 2, 3])


def _named(module: Any, names: str, *args: Any) -> dict[str, tuple[Any, ...]]:
    return {name: (getattr(module, name), *args) for name in names.split()}


SPECIAL: Cases = {
    **_named(js, "gammaln loggamma digamma gamma erf erfc erfinv i0 i0e i1 i1e entr", U),
    **_named(js, "expit logit log_ndtr ndtr ndtri spence", U),
    **_named(js, "beta betaln xlogy xlog1py rel_entr kl_div poch", A, B),
    "gammainc": (partial(js.gammainc, 1.5), X),
    "gammaincc": (partial(js.gammaincc, 1.5), X),
    "betainc": (partial(js.betainc, 2.0, 3.0), U),
    "polygamma": (partial(js.polygamma, 2), A),
    "multigammaln": (lambda a: js.multigammaln(a, 2), A),
    "factorial": (js.factorial, A),
}

HARD: Cases = {
    **_named(js, "expi sici fresnel dawsn erfcx wofz", U),
    **_named(js, "zeta owens_t", A + 1, B),
    "hyp1f1": (js.hyp1f1, A, B, U),
    "hyp2f1": (lambda x: js.hyp2f1(0.5, 1.2, 2.1, x), U),
    "bessel_jn": (partial(js.bessel_jn, v=3), X),
}
"""Series and loops that take long to compile."""


def _distribution(name: str, functions: str, *args: Any) -> dict[str, tuple[Any, ...]]:
    found = _named(getattr(st, name), functions, *args)
    return {f"{name}.{function}": case for function, case in found.items()}


def _of_counts(name: str, *args: Any) -> dict[str, tuple[Any, ...]]:
    """The log-probabilities of some counts, a function of the parameters."""
    return {f"{name}.logpmf": (partial(getattr(st, name).logpmf, K), *args)}


STATS: Cases = {
    **_distribution("norm", "logpdf pdf cdf logcdf sf", U, U - 0.3, A),
    **_distribution("norm", "ppf", U, U - 0.3, A),
    **_distribution("beta", "logpdf pdf", U, A, B),
    "beta.cdf": (lambda x: st.beta.cdf(x, 1.5, 2.5), U),
    **_distribution("cauchy", "logpdf cdf", U, U - 0.3, A),
    **_distribution("chi2", "logpdf pdf", X, A + 1),
    "chi2.cdf": (lambda x: st.chi2.cdf(x, 3), X),
    "dirichlet.logpdf": (lambda x, a: st.dirichlet.logpdf(x / x.sum(), a), U, A),
    **_distribution("expon", "logpdf pdf cdf logcdf", X, U, A),
    **_distribution("gamma", "logpdf pdf", X, A, U * 0.1, B),
    "gamma.logcdf": (lambda x: st.gamma.logcdf(x, 2.5), X),
    **_distribution("gennorm", "logpdf", X, A),
    **_distribution("laplace", "logpdf cdf", X, U, A),
    **_distribution("logistic", "logpdf pdf cdf", X, U, A),
    **_distribution("pareto", "logpdf", X + 2, A, U, B * 0.5),
    **_distribution("t", "logpdf pdf", X, A + 1, U, B),
    **_distribution("truncnorm", "logpdf", U, -A, B, U * 0.1, A),
    **_distribution("uniform", "logpdf", U, U * 0.1, B + 1),
    **_distribution("vonmises", "logpdf", U, A),
    **_distribution("wrapcauchy", "logpdf", U, U * 0.9),
    **_of_counts("poisson", A),
    **_of_counts("bernoulli", U),
    "binom.logpmf": (lambda p: st.binom.logpmf(K, 5.0, p), U),
    "betabinom.logpmf": (lambda a, b: st.betabinom.logpmf(K, 5.0, a, b), A, B),
    "nbinom.logpmf": (lambda p: st.nbinom.logpmf(K, 4.0, p), U),
    "geom.logpmf": (lambda p: st.geom.logpmf(K + 1, p), U),
    "multinomial.logpmf": (lambda p: st.multinomial.logpmf(K, 5, p / p.sum()), U),
}

Z = np.array([-1.5, -0.3, 0.4, 7.0])

ACTIVATIONS: Cases = {
    **_named(jax.nn, "relu relu6 sigmoid softplus soft_sign silu log_sigmoid leaky_relu", Z),
    **_named(jax.nn, "hard_sigmoid hard_silu hard_tanh elu celu selu gelu glu squareplus", Z),
    **_named(jax.nn, "mish sparse_plus sparse_sigmoid softmax log_softmax logsumexp", Z),
    **_named(jax.nn, "standardize", Z),
    "log1mexp": (jax.nn.log1mexp, np.abs(Z)),
    "exact gelu": (partial(jax.nn.gelu, approximate=False), Z),
}


def check(cases: Cases, subtests: Any, orders: tuple[str, ...]) -> None:
    with jax.enable_x64(True):
        problems = [
            Problem(fun, tuple(args), generator(name)) for name, (fun, *args) in cases.items()
        ]

        def account(problem: Problem, by: Any, args: Any) -> dict[str, Any]:
            computed = problem.account(by, *args)
            return {what: attempt(computed[what]) for what in orders}

        def everything(operands: list[Any]) -> list[Any]:
            return [
                [account(p, by, args) for by in (sg, Jax)]
                for p, args in zip(problems, operands, strict=True)
            ]

        found = compiled_together(everything, [p.args for p in problems])
    for name, (ours, theirs) in zip(cases, found, strict=True):
        for what, value in ours.items():
            with subtests.test(function=name, what=what):
                for result in (theirs[what], value):
                    if isinstance(result, Exception):
                        raise result
                agree(value, theirs[what], 1e-9)


COMPILED_TOGETHER = 8
"""Functions in one program; several programs can be tested side by side."""

GROUPS = {
    f"{names[0]} to {names[-1]}": {name: cases[name] for name in names}
    for cases in (SPECIAL, STATS, ACTIVATIONS)
    for start in range(0, len(cases), COMPILED_TOGETHER)
    for names in [list(cases)[start : start + COMPILED_TOGETHER]]
}


@pytest.mark.parametrize("group", GROUPS)
def test_value_gradient_and_second_derivative(group, subtests):
    check(GROUPS[group], subtests, ("vjp", "hvp"))


@pytest.mark.slow
@pytest.mark.parametrize("name", HARD)
def test_functions_that_take_long_to_compile(name, subtests):
    check({name: HARD[name]}, subtests, ("jvp", "vjp", "hvp"))


# Derivatives that JAX lacks


def test_the_slope_of_zeta_in_its_second_argument_is_polygamma(float64):
    """ζ(2, q) is ψ'(q)"""
    slope = jax.vmap(sg.grad(lambda q: jax.lax.zeta(2.0 * jnp.ones_like(q), q)))(X)
    np.testing.assert_allclose(slope, js.polygamma(2, X), rtol=1e-12)


@pytest.mark.parametrize("fun", [js.gammainc, js.gammaincc])
def test_mixed_derivatives_of_the_incomplete_gamma_function(fun, float64):
    """The order does not matter: JAX has it one way round."""
    wanted = jax.vmap(jax.grad(jax.grad(fun, 1), 0))(A, X)
    np.testing.assert_allclose(jax.vmap(sg.grad(sg.grad(fun, 1), 0))(A, X), wanted, rtol=1e-9)
    np.testing.assert_allclose(jax.vmap(sg.grad(sg.grad(fun, 0), 1))(A, X), wanted, rtol=1e-9)


NO_FORMULA: dict[str, Callable[..., Any]] = {
    "regularized_incomplete_beta": lambda a: js.betainc(a, 2.0, 0.3),
    "polygamma": lambda n: jax.lax.polygamma(n, jnp.ones_like(n)),
    "zeta": lambda s: jax.lax.zeta(s, jnp.ones_like(s)),
    "igamma_grad_a": sg.grad(lambda a: js.gammainc(a, 1.5)),
    "nextafter": lambda x: jnp.nextafter(x, 2.0),
}


@pytest.mark.parametrize("name", NO_FORMULA)
def test_what_has_no_formula_says_so_at_the_line(name):
    for derivative in (sg.grad(NO_FORMULA[name]), sg.jacfwd(NO_FORMULA[name])):
        with pytest.raises(NoDerivativeError, match=name) as caught:
            derivative(1.5)
        assert caught.value.frame is not None
        assert caught.value.frame.file == __file__


# Loops that `jax.vmap` made of many


def _halvings(x: Any, y: Any) -> Any:
    """Ends after a number of steps that depends on the operand."""
    return jax.lax.while_loop(lambda c: c > y, lambda c: c * jnp.cos(c) / (1 + y), x)


def test_rows_of_a_loop_end_apart(subtests):
    rows = (np.array([[8.0, 0.5], [3.0, 30.0]]), np.array([[1.0, 2.0], [0.1, 0.5]]))
    twice = jax.vmap(jax.vmap(_halvings))
    once = jax.vmap(_halvings, (0, None))
    check(
        {"twice": (twice, *rows), "once": (once, rows[0][0], np.float64(1.0))},
        subtests,
        ("value", "jvp"),
    )


def test_a_numpy_constant_is_indexed_in_a_loop():
    table = np.arange(4.0, dtype=np.float32)

    def total(x: Any) -> Any:
        return jax.lax.fori_loop(0, 4, lambda i, s: s + x * jnp.asarray(table).at[i].get(), 0.0)

    assert sg.grad(total)(1.0) == 6


def test_composites_are_their_bodies():
    """JAX has no derivative of them."""
    tangent = jax.lax.composite(lambda x: jnp.sin(x) / jnp.cos(x), name="my.tangent")
    np.testing.assert_allclose(sg.grad(tangent)(0.5), jax.grad(jnp.tan)(0.5), rtol=1e-5)


def test_a_complex_exponent_keeps_its_imaginary_part():
    x = 0.3 + 0.4j
    for exponent in (2 + 1j, 2 + 0j):
        power = lambda x, exponent=exponent: jax.lax.pow(x, jnp.complex64(exponent))  # noqa: E731
        slope = sg.grad(power, holomorphic=True)(x)
        np.testing.assert_allclose(slope, exponent * x ** (exponent - 1), rtol=1e-5)
