"""Differences that cancel, from Hamming's and Herbie's collections: how many bits are saved.

Bits of error are the logarithm of how many floats lie between a result and the right one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import symgrad as sg
from symgrad.exact import evaluate

POINTS = 60


@dataclass(frozen=True)
class Difference:
    """A program of scalars, and the ranges of their sizes.

    Attributes:
        ranges: for each argument the powers of ten between which its size is drawn.
        signed: whether arguments are drawn with both signs.
    """

    name: str
    fun: Callable[..., Any]
    ranges: tuple[tuple[float, float], ...]
    signed: bool = False

    def __str__(self) -> str:
        return self.name

    def points(self) -> list[np.ndarray]:
        draws = np.random.default_rng(len(self.name))
        found = []
        for low, high in self.ranges:
            values = 10.0 ** draws.uniform(low, high, POINTS)
            signs = draws.choice([-1, 1], POINTS) if self.signed else 1
            found.append((values * signs).astype(np.float32))
        return found


def _triangle(a, b, c):
    s = (a + b + c) / 2.0
    return (s - a) * (s - b)


DIFFERENCES = [
    Difference("2sqrt", lambda x: jnp.sqrt(x + 1.0) - jnp.sqrt(x), ((0, 30),)),
    Difference("2isqrt", lambda x: 1.0 / jnp.sqrt(x) - 1.0 / jnp.sqrt(x + 1.0), ((0, 20),)),
    Difference("2frac", lambda x: 1.0 / (x + 1.0) - 1.0 / x, ((0, 15),)),
    Difference("2log", lambda n: jnp.log(n + 1.0) - jnp.log(n), ((0, 30),)),
    Difference("2cbrt", lambda x: jnp.cbrt(x + 1.0) - jnp.cbrt(x), ((0, 15),)),
    Difference("2atan", lambda n: jnp.arctan(n + 1.0) - jnp.arctan(n), ((0, 15),)),
    Difference("2sin", lambda x, e: jnp.sin(x + e) - jnp.sin(x), ((-1, 0), (-12, -3))),
    Difference("2cos", lambda x, e: jnp.cos(x + e) - jnp.cos(x), ((-1, 0), (-12, -3))),
    Difference("2tan", lambda x, e: jnp.tan(x + e) - jnp.tan(x), ((-1, 0), (-12, -3))),
    Difference("expm1", lambda x: jnp.exp(x) - 1.0, ((-20, 0),), True),
    Difference("expax", lambda a, x: jnp.exp(a * x) - 1.0, ((-10, 0), (-10, 0)), True),
    Difference("exp2", lambda x: jnp.exp(x) - 2.0 + jnp.exp(-x), ((-12, 0),), True),
    Difference("sinh", lambda x: (jnp.exp(x) - jnp.exp(-x)) / 2.0, ((-20, 0),), True),
    Difference("1 - cos", lambda x: 1.0 - jnp.cos(x), ((-12, 0),), True),
    Difference("cosh - 1", lambda x: jnp.cosh(x) - 1.0, ((-12, 0),), True),
    Difference("sqrt(1 + x) - 1", lambda x: jnp.sqrt(1.0 + x) - 1.0, ((-20, 0),)),
    Difference("x - sqrt(x² - 1)", lambda x: x - jnp.sqrt(x * x - 1.0), ((1, 12),)),
    Difference("sqrt(x² + 1) - x", lambda x: jnp.sqrt(x**2 + 1.0) - x, ((0, 12),)),
    Difference("x² - y²", lambda x: (x + 1.0) ** 2 - x**2, ((0, 8),)),
    Difference("cubes", lambda x, y: (x + y) ** 3 - x**3, ((0, 2), (-10, -2))),
    Difference("fourth powers", lambda x, y: (x + y) ** 4 - x**4, ((0, 2), (-10, -2))),
    Difference("kinetic energy", lambda v: 1.0 / jnp.sqrt(1.0 - v * v) - 1.0, ((-9, -1),), True),
    Difference("1 - x²", lambda x: 1.0 - (1.0 - x) * (1.0 - x), ((-12, -2),)),
    Difference("log of a ratio", lambda e: jnp.log((1.0 - e) / (1.0 + e)), ((-12, -1),), True),
    Difference("log(1 + x)", lambda x: jnp.log(1.0 + x), ((-20, 0),)),
    Difference("logarithms at 2", lambda x: jnp.log(2.0 + x) - jnp.log(2.0), ((-12, 0),)),
    Difference("triangle", _triangle, ((1.0, 1.0001), (1.0, 1.0001), (-3, -2))),
    Difference(
        "quadratic",
        lambda a, b, c: (-b + jnp.sqrt(b * b - 4.0 * a * c)) / (2.0 * a),
        ((-2, 0), (3, 8), (-2, 0)),
    ),
    Difference("product of sums", lambda a, b: (a + b) ** 2 - (a - b) ** 2, ((3, 6), (-6, -3))),
    Difference("reciprocals", lambda x, e: 1.0 / (x + e) - 1.0 / x, ((-1, 3), (-12, -3))),
    Difference("roots", lambda x, e: jnp.sqrt(x + e) - jnp.sqrt(x), ((-1, 3), (-12, -3))),
    Difference("one plus y less one", lambda x, y: x + y - x, ((3, 6), (-6, -3)), True),
]


def bits_of_error(found: Any, exact: list[Any]) -> np.ndarray:
    """For each point the bits that are wrong."""

    def place(x: np.ndarray) -> np.ndarray:
        bits = x.view(np.int32).astype(np.int64)
        return np.where(bits < 0, -(2**31) - bits, bits)

    right = np.array([float(v) for v in exact]).astype(np.float32)
    away = np.abs(place(np.asarray(found, np.float32)) - place(right))
    wrong = np.where(np.isnan(np.asarray(found)), 2**32, away + 1)
    return np.log2(wrong.astype(np.float64))


def measured(case: Difference) -> tuple[float, float]:
    """The average bits of error of JAX and of symgrad, in single precision."""
    points = case.points()
    graph = sg.trace(case.fun, *(np.float32(1.0) for _ in points))
    exact = []
    for at in zip(*points, strict=True):
        (value,) = evaluate(graph, list(at), 60)
        exact.append(value[()])
    assert all(mpmath.isfinite(v) for v in exact)
    plain = jax.vmap(jax.jit(case.fun))(*points)
    ours = jax.vmap(sg.jit(case.fun))(*points)
    return tuple(float(np.mean(bits_of_error(v, exact))) for v in (plain, ours))


@pytest.fixture(scope="module")
def bits():
    return {str(case): measured(case) for case in DIFFERENCES}


def test_most_are_better_by_four_bits(bits):
    better = [name for name, (plain, ours) in bits.items() if ours <= plain - 4]
    assert len(better) >= 0.6 * len(bits), bits


@pytest.mark.parametrize("case", DIFFERENCES, ids=str)
def test_none_is_worse(bits, case):
    plain, ours = bits[str(case)]
    assert ours <= plain + 1


if __name__ == "__main__":
    for case in DIFFERENCES:
        print("{:22s} {:6.2f} {:6.2f}".format(str(case), *measured(case)))


INFINITE = (
    (lambda x: jnp.sqrt(1 + x) - 1, (np.inf,)),
    (lambda x, y: jnp.sqrt(x) - jnp.sqrt(y), (np.inf, 2.0)),
    (lambda x, y: 1 / jnp.sqrt(x) - 1 / jnp.sqrt(y), (np.inf, 2.0)),
    (lambda x, y: 1 / x - 1 / y, (np.inf, 2.0)),
    (lambda x, y: 1 / x - 1 / y, (1.5e308, -1.5e308)),
)


@pytest.mark.parametrize(("fun", "args"), INFINITE)
def test_infinite_operands_keep_value_and_slopes(fun, args, float64):
    everywhere = tuple(range(len(args)))
    assert sg.jit(fun)(*args) == fun(*args)
    slopes, expected = sg.grad(fun, everywhere)(*args), jax.grad(fun, everywhere)(*args)
    np.testing.assert_allclose(slopes, expected, rtol=1e-15)


def test_numbers_below_zero_are_no_squares():
    assert sg.jit(lambda x: -1 - x**2)(3.0) == -10
    assert sg.jit(lambda x: (1 + x**2 - (1 + x**2)) ** 2 - (1 + x**2) ** 2)(3.0) == -100


def test_numbers_are_factors_of_a_logarithm():
    x, y = jnp.array([3.0, 5.0]), jnp.array([2.0, 4.0])
    found = sg.jit(lambda x, y: jnp.log(2.0 * x / y))(x, y)
    np.testing.assert_allclose(found, np.log([3.0, 2.5]), rtol=1e-6)
