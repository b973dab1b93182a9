"""Special functions: gamma, zeta, beta and Bessel functions, each with its published derivative."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from symgrad.errors import NoDerivativeError
from symgrad.expr import Expr, Op, Pointwise, constant, elementwise_type, literal_value
from symgrad.ops.pointwise import TRANSCENDENTAL, abs_, exp, gt, log, log1p, select, sign

Partial = Callable[..., Expr] | None

SERIES = 5 * TRANSCENDENTAL
"""What a sum of many terms costs, in additions."""


def _special(name: str, source: str | Callable[[Expr], str], *partials: Partial) -> Op:
    return Op(
        name,
        elementwise_type,
        source,
        Pointwise(*partials),
        elementwise=True,
        flops=lambda e: SERIES * e.type.size,
    )


def _without_formula(operand: str) -> Partial:
    """The partial in an operand for which no formula is known."""

    def partial(g: Expr, y: Expr, *operands: Any) -> Expr:
        raise NoDerivativeError(
            f"no derivative of `{y.op.name}` in its operand `{operand}` is known",
            fix="stop the derivative there with jax.lax.stop_gradient",
        )

    return partial


def _polygamma_source(e: Expr) -> str:
    order = literal_value(e.args[0])
    if order is None or order != round(float(order)):
        return "lax.polygamma(x, y)"
    return f"jax.scipy.special.polygamma({int(order)}, y)"


lgamma = _special(
    "lgamma",
    "jax.scipy.special.gammaln(x)",
    lambda g, y, x: g * digamma(x),
)
digamma = _special(
    "digamma",
    "jax.scipy.special.digamma(x)",
    lambda g, y, x: g * polygamma(constant(1, x.dtype), x),
)
polygamma = _special(
    "polygamma",
    _polygamma_source,
    _without_formula("n"),
    lambda g, y, n, x: g * polygamma(n + 1, x),
)
zeta = _special(
    "zeta",
    "jax.scipy.special.zeta(x, y)",
    _without_formula("x"),
    lambda g, y, s, q: -(g * s) * zeta(s + 1, q),
)


def gamma_density(a: Expr, x: Expr) -> Expr:
    """The slope of `igamma` in x."""
    return exp(-x + (a - 1) * log(x) - lgamma(a))


igamma = _special(
    "igamma",
    "jax.scipy.special.gammainc(x, y)",
    lambda g, y, a, x: g * igamma_grad_a(a, x),
    lambda g, y, a, x: g * gamma_density(a, x),
)
igammac = _special(
    "igammac",
    "jax.scipy.special.gammaincc(x, y)",
    lambda g, y, a, x: -(g * igamma_grad_a(a, x)),
    lambda g, y, a, x: -(g * gamma_density(a, x)),
)
igamma_grad_a = _special(
    "igamma_grad_a",
    "lax.igamma_grad_a(x, y)",
    _without_formula("a"),
    lambda g, y, a, x: g * (gamma_density(a, x) * (log(x) - digamma(a))),
)
"""The slope of `igamma` in a."""


def _beta_density(a: Expr, b: Expr, x: Expr) -> Expr:
    normalizer = lgamma(a) + lgamma(b) - lgamma(a + b)
    return exp((b - 1) * log1p(-x) + (a - 1) * log(x) - normalizer)


regularized_incomplete_beta = _special(
    "regularized_incomplete_beta",
    "jax.scipy.special.betainc(x, y, z)",
    _without_formula("a"),
    _without_formula("b"),
    lambda g, y, a, b, x: g * _beta_density(a, b, x),
)


def _bessel_i1e_partial(g: Expr, y: Expr, x: Expr) -> Expr:
    """Near 0, y / x is 1/2; there it is not divided."""
    tiny = float(jnp.finfo(x.dtype).eps)
    away = gt(abs_(x), tiny)
    safe = select(away, x, tiny)
    return g * select(away, bessel_i0e(safe) - y * (sign(safe) + 1 / safe), 0.5)


bessel_i0e = _special(
    "bessel_i0e",
    "jax.scipy.special.i0e(x)",
    lambda g, y, x: g * (bessel_i1e(x) - sign(x) * y),
)
bessel_i1e = _special("bessel_i1e", "jax.scipy.special.i1e(x)", _bessel_i1e_partial)
