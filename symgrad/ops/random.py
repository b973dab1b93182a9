"""Random numbers: functions of a key, constant but for the parameters of a distribution.

Keys are typed arrays. What JAX defines for one key is written under `jax.vmap` for many.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from symgrad.derive import pushforward
from symgrad.expr import (
    CONSTANT,
    Derivative,
    Expr,
    Op,
    Pointwise,
    Shape,
    Type,
    elementwise_type,
    fresh,
    literal_value,
)
from symgrad.ops.pointwise import TRANSCENDENTAL, eq, exp, log, select
from symgrad.ops.shape import dtype_source, full
from symgrad.ops.special import SERIES, digamma
from symgrad.walk import Graph


def _random(
    name: str,
    type_rule: Callable[..., Type],
    source: str | Callable[[Expr], str],
    *params: str,
    derivative: Derivative = CONSTANT,
) -> Op:
    return Op(
        name,
        type_rule,
        source,
        derivative,
        params,
        flops=lambda e: TRANSCENDENTAL * e.type.size,
    )


def _for_each_key(one: Callable[..., str], *names: str) -> Callable[[Expr], str]:
    """The source of a call for one key, `one(node, *operands)`, over all keys of an array."""

    def source(e: Expr) -> str:
        rank, operands = e.args[0].ndim, ("x", "y")[: len(names)]
        if not rank:
            return one(e, *operands)
        each = f"lambda {', '.join(names)}: {one(e, *names)}"
        return f"{'jax.vmap(' * rank}{each}{')' * rank}({', '.join(operands)})"

    return source


def _key_type(x: Type, *, implementation: str, dtype: Any) -> Type:
    return Type(x.shape, dtype)


def _key_source(e: Expr, seed: str) -> str:
    return f'jax.random.key({seed}, impl="{e.params["implementation"]}")'


def _seed_source(e: Expr) -> str:
    """A number is written as one where JAX takes it for the same seed."""
    seed = literal_value(e.args[0])
    if seed is None or seed < 0:
        return _for_each_key(_key_source, "seed")(e)
    return _key_source(e, str(seed))


random_seed = _random("random_seed", _key_type, _seed_source, "implementation", "dtype")


def _wrap_type(x: Type, *, implementation: str, dtype: Any) -> Type:
    return Type(x.shape[:-1], dtype)


random_wrap = _random(
    "random_wrap",
    _wrap_type,
    'jax.random.wrap_key_data(x, impl="{implementation}")',
    "implementation",
    "dtype",
)
random_unwrap = _random(
    "random_unwrap",
    lambda x, *, shape: Type(shape, np.dtype(np.uint32)),
    "jax.random.key_data(x)",
    "shape",
)
random_clone = _random("random_clone", lambda x: x, "jax.random.clone(x)")


def _split_type(x: Type, *, shape: Shape) -> Type:
    return x.with_shape((*x.shape, *shape))


def _number_or_shape(shape: Shape) -> str:
    return str(shape[0]) if len(shape) == 1 else str(shape)


random_split = _random(
    "random_split",
    _split_type,
    _for_each_key(
        lambda e, key: f"jax.random.split({key}, {_number_or_shape(e.params['shape'])})", "key"
    ),
    "shape",
)
random_fold_in = _random(
    "random_fold_in",
    lambda x, y: x,
    _for_each_key(lambda e, key, data: f"jax.random.fold_in({key}, {data})", "key", "data"),
)


def _drawn_type(x: Type, *, shape: Shape, dtype: Any) -> Type:
    return Type((*x.shape, *shape), dtype)


def _drawn(name: str, function: str) -> Op:
    def one(e: Expr, key: str) -> str:
        return f"jax.random.{function}({key}, {e.params['shape']}, {dtype_source(e.dtype)})"

    return _random(name, _drawn_type, _for_each_key(one, "key"), "shape", "dtype")


random_bits = _drawn("random_bits", "bits")
random_uniform = _drawn("random_uniform", "uniform")
"""Between 0 and 1."""
random_normal = _drawn("random_normal", "normal")


def _slope_in_a(g: Expr, y: Expr, a: Expr, x: Expr) -> Expr:
    """No formula is known; JAX's way to compute the function is differentiated."""
    graph, tangent = y.params["steps"](), fresh(a.type)
    (slope,) = pushforward(graph.outputs, graph.inputs[:1], (tangent,))
    assert slope is not None
    return g * Graph((*graph.inputs, tangent), (slope,))(a, x, full(1, a.type))[0]


random_gamma_grad = Op(
    "random_gamma_grad",
    lambda a, x, *, steps: elementwise_type(a, x),
    "lax.random_gamma_grad(x, y)",
    Pointwise(
        _slope_in_a,
        lambda g, y, a, x: g * (digamma(a) - log(x) - y * ((a - 1) / x - 1)),
    ),
    params=("steps",),
    elementwise=True,
    flops=lambda e: SERIES * e.type.size,
)
"""How a sample x of the gamma distribution moves with a where its quantile stays."""


def _gamma_partial(g: Expr, y: Expr, key: Expr, a: Expr) -> Expr:
    """How a sample moves with a; where exp(sample) underflows it is taken as the least number."""
    steps = y.params["steps"]
    if not y.params["log_space"]:
        return g * random_gamma_grad(a, y, steps=steps)
    least = float(jnp.finfo(y.dtype).tiny)
    sample = exp(y)
    sample = select(eq(sample, 0), least, sample)
    return g * (random_gamma_grad(a, sample, steps=steps) / sample)


def _gamma_source(e: Expr, key: str, a: str) -> str:
    function = "loggamma" if e.params["log_space"] else "gamma"
    return f"jax.random.{function}({key}, {a}, dtype={dtype_source(e.dtype)})"


random_gamma = _random(
    "random_gamma",
    lambda key, a, *, log_space, steps: Type(a.shape, a.dtype),
    _for_each_key(_gamma_source, "key", "a"),
    "log_space",
    "steps",
    derivative=Pointwise(None, _gamma_partial),
)
