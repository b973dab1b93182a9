"""Products with logarithms, zero where a weight of zero meets the logarithm of zero.

Tracing makes only those that JAX's library has; the others are made by laws.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from symgrad.expr import Custom, Expr, Op, Pointwise, elementwise_type
from symgrad.ops.pointwise import (
    TRANSCENDENTAL,
    and_,
    eq,
    exp,
    integer_power,
    log,
    log1p,
    logistic,
    select,
)
from symgrad.ops.reduce import (
    inner_product,
    last_axis_as_minus_one,
    log_softmax_cotangent,
    softmax_slope,
)
from symgrad.ops.shape import expand, reduce_sum


def _function(name: str, source: str, *partials: Any, helpers: tuple[Any, ...] = ()) -> Op:
    return Op(
        name,
        elementwise_type,
        source,
        Pointwise(*partials),
        elementwise=True,
        flops=lambda e: TRANSCENDENTAL * e.type.size,
        helpers=helpers,
    )


def times_log(x, y):
    """x log(y), and 0 where both are 0."""
    return jnp.where((x == 0) & (y == 0), 0, x * jnp.log(y))


def _slope_in_argument(g: Expr, z: Expr, x: Expr, y: Expr) -> Expr:
    """x / y, and 0 where x is 0."""
    return g if x is y else select(eq(x, 0), 0, g * (x / y))


times_log_op = _function(
    "times_log",
    "times_log(x, y)",
    lambda g, z, x, y: g * log(y),
    _slope_in_argument,
    helpers=(times_log,),
)


def power_times_log(x, exponent):
    """x**exponent * log(x), and 0 where x is 0."""
    return jnp.where(x == 0, 0, x**exponent * jnp.log(x))


def _slope_of_power_times_log(g: Expr, z: Expr, x: Expr) -> Expr:
    n = z.params["exponent"] - 1
    lower = times_log_op(x, x) if n == 1 else power_times_log_op(x, exponent=n)
    return g * ((n + 1) * lower + integer_power(x, n))


power_times_log_op = Op(
    "power_times_log",
    lambda x, *, exponent: x,
    lambda e: f"power_times_log(x, {e.params['exponent']})",
    Pointwise(_slope_of_power_times_log),
    params=("exponent",),
    elementwise=True,
    flops=lambda e: (TRANSCENDENTAL + 2) * e.type.size,
    helpers=(power_times_log,),
)
"""xⁿ log(x) for n > 1, whose slope is 0 at 0."""


def times_log1p(x, y):
    """x log(1 + y), and 0 where x is 0 and y is -1."""
    return jnp.where((x == 0) & (y == -1), 0, x * jnp.log1p(y))


def _slope_in_shifted_argument(g: Expr, z: Expr, x: Expr, y: Expr) -> Expr:
    return select(eq(x, 0), 0, g * (x / (1 + y)))


times_log1p_op = _function(
    "times_log1p",
    "times_log1p(x, y)",
    lambda g, z, x, y: g * log1p(y),
    _slope_in_shifted_argument,
    helpers=(times_log1p,),
)
xlogy = _function(
    "xlogy",
    "jax.scipy.special.xlogy(x, y)",
    lambda g, z, x, y: g * log(y),
    _slope_in_argument,
)
"""x log(y), and 0 where x is 0, whatever y is."""
xlog1py = _function(
    "xlog1py",
    "jax.scipy.special.xlog1py(x, y)",
    lambda g, z, x, y: g * log1p(y),
    _slope_in_shifted_argument,
)


def relative_entropy(x, y):
    """x log(x / y), and 0 where x is 0."""
    return jnp.where((x == 0) & (y >= 0), 0, x * jnp.log(x / y))


relative_entropy_op = _function(
    "relative_entropy",
    "relative_entropy(x, y)",
    lambda g, z, x, y: g * (log(x / y) + 1),
    lambda g, z, x, y: select(eq(x, 0), 0, -(g * (x / y))),
    helpers=(relative_entropy,),
)


def x_exp_x(x):
    """x exp(x), and 0 at minus infinity."""
    return jnp.where(x == -jnp.inf, 0, x * jnp.exp(x))


def _exp(x: Expr) -> Expr:
    return masked_softmax(x.args[0], **x.params) if x.op is masked_log_softmax else exp(x)


x_exp_x_op = _function(
    "x_exp_x", "x_exp_x(x)", lambda g, y, x: g * (_exp(x) + y), helpers=(x_exp_x,)
)


def times_masked(x, y):
    """x y, and 0 where x is 0 and y minus infinity."""
    return jnp.where((x == 0) & (y == -jnp.inf), 0, x * y)


times_masked_op = _function(
    "times_masked",
    "times_masked(x, y)",
    lambda g, z, x, y: select(and_(eq(x, 0), eq(y, -math.inf)), 0, g * y),
    lambda g, z, x, y: g * x,
    helpers=(times_masked,),
)


# Normalised exponentials of what may be minus infinity throughout: such a row weighs nothing.


def masked_weights(x, axis):
    """softmax(x), and 0 in rows that are minus infinity throughout."""
    dead = jnp.all(x == -jnp.inf, axis, keepdims=True)
    return jax.nn.softmax(jnp.where(dead, 0, x), axis) * jnp.where(dead, 0, 1).astype(x.dtype)


def _along_axis(name: str, source: str, derivative: Custom, helpers: Any = ()) -> Op:
    return Op(
        name,
        lambda x, *, axis: x,
        lambda e: f"{source}(x, axis={last_axis_as_minus_one(e)})",
        derivative,
        params=("axis",),
        flops=lambda e: (TRANSCENDENTAL + 5) * e.type.size,
        helpers=helpers,
    )


def _weights_jacobian(g: Expr, y: Expr, x: Expr) -> Expr:
    weights = masked_weights_op(x, axis=y.params["axis"])
    return softmax_slope(g, weights, axis=y.params["axis"])


def _log_pullback(g: Expr, y: Expr, x: Expr) -> tuple[Expr]:
    axis = y.params["axis"]
    return (log_softmax_cotangent(g, x, masked_weights_op(x, axis=axis), axis),)


def _log_push(t: tuple[Expr, ...], y: Expr, x: Expr) -> Expr:
    axis = y.params["axis"]
    return t[0] - inner_product(masked_weights_op(x, axis=axis), t[0], axis)


SYMMETRIC = Custom(
    pullback=lambda g, y, x: (_weights_jacobian(g, y, x),),
    pushforward=lambda t, y, x: _weights_jacobian(t[0], y, x),
    rows=True,
)
masked_weights_op = _along_axis(
    "masked_weights", "masked_weights", SYMMETRIC, helpers=(masked_weights,)
)
masked_softmax = _along_axis("masked_softmax", "jax.nn.softmax", SYMMETRIC)
"""softmax, whose slope is 0 in rows that are minus infinity throughout."""
masked_log_softmax = _along_axis(
    "masked_log_softmax", "jax.nn.log_softmax", Custom(_log_pullback, _log_push, rows=True)
)


def _total_pullback(g: Expr, y: Expr, x: Expr) -> tuple[Expr]:
    axis = y.params["axis"]
    return (masked_weights_op(x, axis=axis) * expand(g, (axis,), x.shape),)


def _total_push(t: tuple[Expr, ...], y: Expr, x: Expr) -> Expr:
    axis = y.params["axis"]
    return reduce_sum(masked_weights_op(x, axis=axis) * t[0], axes=(axis,))


masked_logsumexp = Op(
    "masked_logsumexp",
    lambda x, *, axis: x.with_shape(tuple(n for i, n in enumerate(x.shape) if i != axis)),
    lambda e: f"jax.nn.logsumexp(x, axis={last_axis_as_minus_one(e)})",
    Custom(_total_pullback, _total_push, rows=True),
    params=("axis",),
    flops=lambda e: (TRANSCENDENTAL + 3) * e.args[0].type.size,
)


def _share(g: Expr, z: Expr, x: Expr, y: Expr) -> Expr:
    return select(eq(z, -math.inf), 0, g * logistic(x - y))


masked_logaddexp = _function(
    "masked_logaddexp",
    "jnp.logaddexp(x, y)",
    _share,
    lambda g, z, x, y: _share(g, z, y, x),
)
