"""Functions with removable singularities: sin(x)/x at 0, log(x)/(x - 1) at 1.

A node holds the function as it was written and its Taylor series around the point where it
is 0/0. Near the point the series is summed, elsewhere the function is computed. The
derivative of such a node is another one, so every order is accurate to the last digits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from symgrad.derive import pushforward
from symgrad.expr import Expr, LocalFunction, Op, Pointwise, Type, constant, parameter
from symgrad.ops.shape import zeros
from symgrad.walk import Graph


def variable(dtype: Any) -> Expr:
    """What the function of a node is a function of."""
    return parameter(0, Type((), dtype))


def near(function, x, centre, radius, series, first=0, step=1, lowest=-1):
    """function(x), by its Taylor series within `radius` of a point where it is 0/0."""
    t = (x - centre) / radius
    inside = (lowest <= t) & (t < 1)
    t = jnp.where(inside, t, 0)
    total = 0.0
    for coefficient in series:
        total = total * t**step + coefficient
    elsewhere = function(jnp.where(inside, centre + radius, x))
    return jnp.where(inside, (total * t**first).astype(elsewhere.dtype), elsewhere)


TERMS = {16: 8, 32: 14, 64: 28}
"""How many terms of a series are summed, by the bits of a float."""

LARGEST_RADIUS = 1.0


def summed_part(series: Sequence[Any], dtype: Any) -> tuple[float, list[float]]:
    """Up to which distance few terms are enough, and these, on the scale of that distance."""
    limits = jnp.finfo(dtype)
    count = TERMS[limits.bits]
    first = next((k for k, c in enumerate(series) if c), 0)
    leading = abs(float(series[first])) or 1.0
    radius = LARGEST_RADIUS
    for k in range(count, len(series)):
        if series[k] and k > first:
            ratio = float(limits.eps) / 4 * leading / abs(series[k])
            radius = min(radius, float(ratio ** (1 / (k - first))))
    radius = 2.0 ** math.floor(math.log2(radius))
    return radius, [float(c * radius**k) for k, c in enumerate(series[:count])]


def _source(e: Expr) -> str:
    p = e.params
    radius, terms = summed_part(p["series"], e.dtype)
    if p["side"]:
        terms = [t * p["side"] ** k for k, t in enumerate(terms)]
        radius *= p["side"]
    first, step = _parity(terms)
    digits = 17 if e.dtype == float else 9
    terms = [float(f"{t:.{digits}g}") for t in terms[first::step]]
    while len(terms) > 1 and not terms[-1]:
        terms.pop()
    written = ", ".join(map(repr, reversed(terms)))
    options = {"first": (first, 0), "step": (step, 1), "lowest": (0 if p["side"] else -1, -1)}
    given = "".join(f", {k}={v}" for k, (v, usual) in options.items() if v != usual)
    return f"near({{body}}, x, {p['centre']!r}, {radius!r}, ({written},){given})"


def _parity(terms: Sequence[float]) -> tuple[int, int]:
    """The first power and the distance of powers: even and odd functions skip every other."""
    for first in (0, 1):
        if not any(terms[1 - first :: 2]):
            return first, 2
    return 0, 1


def derivative(function: Expr) -> Expr:
    """The derivative of a function of `variable`."""
    x = variable(function.dtype)
    (found,) = pushforward([function], [x], [constant(1, x.dtype)])
    return zeros(function.type) if found is None else found


def _partial(g: Expr, y: Expr, x: Expr) -> Expr:
    p = y.params
    series = tuple(k * c for k, c in enumerate(p["series"]))[1:]
    return g * limit_op(x, **{**p, "function": derivative(p["function"]), "series": series})


def _functions(e: Expr) -> tuple[LocalFunction, ...]:
    function = e.params["function"]
    body = Graph((variable(e.dtype),), (function,), ("x",))
    return (LocalFunction("body", body, (), (0,), (0,)),)


limit_op = Op(
    "limit",
    lambda x, *, function, centre, side, series: x,
    _source,
    Pointwise(_partial),
    params=("function", "centre", "side", "series"),
    elementwise=True,
    helpers=(near,),
    functions=_functions,
    flops=lambda e: 30 * e.type.size,
)
"""`function`, an expression in `variable`, of the operand; `series` are its Taylor coefficients.

`side` is 0 if the function is defined around `centre`, 1 above it only, -1 below it only.
"""
