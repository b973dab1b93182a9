"""Expressions of the kind that Herbie's benchmarks collect: right in mathematics, wrong in floats.

After R. W. Hamming, Numerical methods for scientists and engineers, chapter 3, W. Kahan's
examples, and the textbook formulas that the suite of herbie-fp/herbie lists.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import symgrad as sg
from symgrad import exact

EXPRESSIONS: dict[str, Callable[..., Any]] = {
    "2sqrt (example 3.1)": lambda x: jnp.sqrt(x + 1.0) - jnp.sqrt(x),
    "2sin (example 3.3)": lambda x, e: jnp.sin(x + e) - jnp.sin(x),
    "tanhf (example 3.4)": lambda x: (1.0 - jnp.cos(x)) / jnp.sin(x),
    "2atan (example 3.5)": lambda x: jnp.arctan(x + 1.0) - jnp.arctan(x),
    "2isqrt (example 3.6)": lambda x: 1.0 / jnp.sqrt(x) - 1.0 / jnp.sqrt(x + 1.0),
    "2frac (problem 3.3.1)": lambda x: 1.0 / (x + 1.0) - 1.0 / x,
    "2tan (problem 3.3.2)": lambda x, e: jnp.tan(x + e) - jnp.tan(x),
    "3frac (problem 3.3.3)": lambda x: 1.0 / (x + 1.0) - 2.0 / x + 1.0 / (x - 1.0),
    "2cbrt (problem 3.3.4)": lambda x: jnp.cbrt(x + 1.0) - jnp.cbrt(x),
    "2cos (problem 3.3.5)": lambda x, e: jnp.cos(x + e) - jnp.cos(x),
    "2log (problem 3.3.6)": lambda x: jnp.log(x + 1.0) - jnp.log(x),
    "exp2 (problem 3.3.7)": lambda x: jnp.exp(x) - 2.0 + jnp.exp(-x),
    "expm1 (example 3.7)": lambda x: jnp.exp(x) - 1.0,
    "logq (problem 3.4.3)": lambda x: jnp.log((1.0 - x) / (1.0 + x)),
    "qlog (example 3.10)": lambda x: jnp.log(1.0 - x) / jnp.log(1.0 + x),
    "sqrtexp (problem 3.4.4)": lambda x: jnp.sqrt((jnp.exp(2.0 * x) - 1.0) / (jnp.exp(x) - 1.0)),
    "cos2 (problem 3.4.1)": lambda x: (1.0 - jnp.cos(x)) / (x * x),
    "quadratic, first root": lambda b, c: (-b + jnp.sqrt(b * b - 4.0 * c)) / 2.0,
    "Kahan's exp quotient": lambda x: (jnp.exp(x) - 1.0) / x,
    "ln(1 + x)": lambda x: jnp.log(1.0 + x),
    "hyperbolic sine": lambda x: (jnp.exp(x) - jnp.exp(-x)) / 2.0,
    "hyperbolic tangent": lambda x: (jnp.exp(x) - jnp.exp(-x)) / (jnp.exp(x) + jnp.exp(-x)),
    "hyperbolic arcsine": lambda x: jnp.log(x + jnp.sqrt(x * x + 1.0)),
    "hyperbolic arctangent": lambda x: 0.5 * jnp.log((1.0 + x) / (1.0 - x)),
    "difference of squares": lambda a, b: a * a - b * b,
    "x / (x^2 + 1)": lambda x: x / (x * x + 1.0),
    "log(e^a + e^b)": lambda a, b: jnp.log(jnp.exp(a) + jnp.exp(b)),
    "softplus": lambda x: jnp.log(1.0 + jnp.exp(x)),
    "logistic": lambda x: 1.0 / (1.0 + jnp.exp(-x)),
    "log of the logistic": lambda x: jnp.log(1.0 / (1.0 + jnp.exp(-x))),
    "logit": lambda p: jnp.log(p / (1.0 - p)),
    "hypot": lambda x, y: jnp.sqrt(x * x + y * y),
    "direction": lambda x, y: x / jnp.sqrt(x * x + y * y),
    "relativistic energy": lambda v: 1.0 / jnp.sqrt(1.0 - v * v) - 1.0,
    "inverse square": lambda x: 1.0 / (x * x),
    "log of a square": lambda x: jnp.log(x * x),
    "log of a product": lambda x, y: jnp.log(x * y),
    "versine": lambda x: 1.0 - jnp.cos(x),
    "sinc": lambda x: jnp.sin(x) / x,
    "log of one minus exp": lambda x: jnp.log(1.0 - jnp.exp(-x)),
    "Lorentz": lambda x: jnp.log(1.0 + x * x),
    "Hill": lambda x: x**3 / (8.0 + x**3),
    "log of a Gaussian": lambda x: jnp.log(jnp.exp(-0.5 * x * x)),
    "one minus tanh squared": lambda x: 1.0 - jnp.tanh(x) ** 2,
    "quadp (problem 3.2.1)": lambda a, b, c: (-b + jnp.sqrt(b * b - 4.0 * a * c)) / (2.0 * a),
    "quadm (problem 3.2.1)": lambda a, b, c: (-b - jnp.sqrt(b * b - 4.0 * a * c)) / (2.0 * a),
    "quad2 (problem 3.2.1)": lambda a, b, c: (-b + jnp.sqrt(b * b - a * c)) / a,
    "expq2 (section 3.11)": lambda x: jnp.exp(x) / (jnp.exp(x) - 1.0),
    "expax (section 3.5)": lambda a, x: jnp.exp(a * x) - 1.0,
    "complex root, real part": lambda x, y: 0.5 * jnp.sqrt(2.0 * (jnp.sqrt(x * x + y * y) + x)),
    "real logarithm": lambda x, y: jnp.log(jnp.sqrt(x * x + y * y)),
    "logistic from -1 to 1": lambda x: 2.0 / (1.0 + jnp.exp(-2.0 * x)) - 1.0,
    "asymptote A": lambda x: 1.0 / (x + 1.0) - 1.0 / (x - 1.0),
    "asymptote B": lambda x: 1.0 / (x - 1.0) + x / (x + 1.0),
    "asymptote C": lambda x: x / (x + 1.0) - (x + 1.0) / (x - 1.0),
    "root of x^2 + 1 less x": lambda x: jnp.sqrt(x * x + 1.0) - x,
    "hyperbolic secant": lambda x: 2.0 / (jnp.exp(x) + jnp.exp(-x)),
    "root of 1 + x less root of 1 - x": lambda x: jnp.sqrt(1.0 + x) - jnp.sqrt(1.0 - x),
    "x less its sine": lambda x: x - jnp.sin(x),
    "odds": lambda x: x / (1.0 - x),
    "sum of exponentials less two": lambda x: jnp.exp(x) + jnp.exp(-x) - 2.0,
    "ratio of logs": lambda x: jnp.log(1.0 + x) / x,
}

DIGITS = 220
LOST = 32.0
"""Bits of error of what is not finite or of the other sign: all of a float32."""


@dataclass(frozen=True)
class Bits:
    """Bits of error at each point, of one output by one program."""

    jax: np.ndarray
    ours: np.ndarray

    @property
    def gained(self) -> float:
        """How many bits better than JAX, on average."""
        return float(np.mean(self.jax) - np.mean(self.ours)) if self.jax.size else 0.0

    @property
    def worst(self) -> float:
        """The bits that only one point in a hundred loses more than."""
        return float(np.percentile(self.ours - self.jax, 99)) if self.jax.size else 0.0


def samples(count: int, arity: int) -> list[np.ndarray]:
    """Floats with all exponents alike, and as many around one."""
    draws = np.random.default_rng(5)
    found = []
    for _ in range(arity):
        sizes = 2.0 ** draws.uniform(-120, 120, count)
        moderate = np.exp(draws.normal(size=count) * 3)
        values = np.where(draws.random(count) < 0.5, sizes, moderate)
        found.append((values * draws.choice([-1, 1, 1], count)).astype(np.float32))
    return found


def bits_of_error(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """How many of the last bits are wrong: log2 of the distance counted in floats."""
    want = truth.astype(np.float32)
    with np.errstate(all="ignore"):
        distance = np.abs(_ordinal(found.astype(np.float32)) - _ordinal(want))
    bits = np.log2(1.0 + distance)
    return np.where(np.isfinite(found), np.minimum(bits, LOST), LOST)


def _ordinal(values: np.ndarray) -> np.ndarray:
    """The number of a float, counted from zero of either sign."""
    whole = values.view(np.int32).astype(np.float64)
    return np.where(np.signbit(values), -(whole + 2.0**31), whole)


def measured(fun: Callable[..., Any], count: int) -> dict[str, Bits]:
    """Bits of error of value and slopes, of JAX's program and of ours."""
    arity = fun.__code__.co_argcount
    args = samples(count, arity)
    graph = sg.trace(lambda *xs: fun(*xs), *args)
    wrt = tuple(range(arity))
    naive = sg.Graph.of(graph).pullback(wrt)
    given = [*args, np.ones(count, np.float32)]
    truths = [*exact.evaluate(graph, args, DIGITS), *exact.evaluate(naive, given, DIGITS)]
    ours = [jax.vmap(sg.jit(fun))(*args), *jax.vmap(sg.grad(fun, wrt))(*args)]
    theirs = [jax.jit(jax.vmap(fun))(*args), *jax.jit(jax.vmap(jax.grad(fun, wrt)))(*args)]
    found = {}
    for i, (truth, mine, other) in enumerate(zip(truths, ours, theirs, strict=True)):
        with np.errstate(over="ignore", invalid="ignore"):
            value = np.asarray(truth, object).astype(np.float64)
            size = np.abs(value)
        info = np.finfo(np.float32)
        usual = np.isfinite(value) & (size < info.max) & (size >= info.tiny)
        pair = (bits_of_error(np.asarray(f)[usual], value[usual]) for f in (other, mine))
        found["value" if i == 0 else f"slope {i}"] = Bits(*pair)
    return found
