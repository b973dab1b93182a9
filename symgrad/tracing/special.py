"""JAX primitives of the special and random families as symgrad nodes."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import lax

from symgrad.expr import Expr, Shape, literal_value
from symgrad.ops import pointwise, random, special
from symgrad.ops.assume import read_assumed
from symgrad.ops.calls import Rule
from symgrad.ops.shape import stretched
from symgrad.tracing.location import definition_of
from symgrad.tracing.nested import ReadGraph
from symgrad.tracing.primitives import direct


def _key_dtype(implementation: str) -> Any:
    """The dtype of the keys of an implementation, None for one that JAX knows by no name."""
    try:
        return jax.eval_shape(lambda: jax.random.key(0, impl=implementation)).dtype
    except ValueError:
        return None


def _read_seed(seeds: Expr, *, impl: Any) -> Expr | None:
    """JAX adds its offset of all seeds before the primitive, and would add it again."""
    dtype = _key_dtype(impl.name)
    if dtype is None or jax.config.jax_random_seed_offset:  # pyright: ignore
        return None
    return random.random_seed(seeds, implementation=impl.name, dtype=dtype)


def _read_wrap(data: Expr, *, impl: Any) -> Expr | None:
    dtype = _key_dtype(impl.name)
    return dtype and random.random_wrap(data, implementation=impl.name, dtype=dtype)


def _read_unwrap(keys: Expr) -> Expr:
    data = jax.eval_shape(jax.random.key_data, jax.ShapeDtypeStruct(keys.shape, keys.dtype))
    return random.random_unwrap(keys, shape=data.shape)


def _read_fold_in(keys: Expr, data: Expr) -> Expr:
    shape = np.broadcast_shapes(keys.shape, data.shape)
    return random.random_fold_in(stretched(keys, shape), stretched(data, shape))


def _read_bits(keys: Expr, *, bit_width: int, shape: Any) -> Expr:
    return random.random_bits(keys, shape=tuple(shape), dtype=np.dtype(f"uint{bit_width}"))


SPECIAL: dict[str, Callable[..., Any]] = {
    **{
        op.name: direct(op)
        for op in (
            *(special.lgamma, special.digamma, special.polygamma, special.zeta),
            *(special.igamma, special.igammac, special.igamma_grad_a),
            *(special.regularized_incomplete_beta, special.bessel_i0e, special.bessel_i1e),
        )
    },
    "random_seed": _read_seed,
    "random_wrap": _read_wrap,
    "random_unwrap": _read_unwrap,
    "random_clone": lambda keys: random.random_clone(keys),
    "random_split": lambda keys, *, shape: random.random_split(keys, shape=tuple(shape)),
    "random_fold_in": _read_fold_in,
    "random_bits": _read_bits,
}
"""The readers of this family, but for those of `readers`."""


def readers(read_graph: ReadGraph) -> dict[str, Callable[..., Any]]:
    """Those that need to know how jaxprs are read."""

    @functools.cache
    def steps(dtype: Any, shape: Shape) -> Rule:
        like = jax.ShapeDtypeStruct(shape, dtype)
        return Rule(lambda: read_graph(jax.make_jaxpr(lax.random_gamma_grad)(like, like)))

    def read_gamma(keys: Expr, a: Expr, *, log_space: bool) -> Expr:
        how = steps(a.dtype, a.shape)
        return random.random_gamma(keys, a, log_space=log_space, steps=how)

    return {"random_gamma": read_gamma}


def _read_uniform(jaxpr: Any, *, key: Expr, minval: Expr, maxval: Expr) -> Expr | None:
    """Numbers between 0 and 1, then scaled as JAX does; `jax.vmap` may have added axes to any."""
    result = jaxpr.outvars[0].aval
    (drawn,) = (e.params["shape"] for e in jaxpr.eqns if e.primitive.name == "random_bits")
    plain = key.ndim == 0 and drawn == result.shape
    if not plain and (minval.ndim or maxval.ndim):
        return None
    unit = random.random_uniform(key, shape=drawn, dtype=result.dtype)
    if (literal_value(minval), literal_value(maxval)) == (0, 1):
        return unit
    low, high = (pointwise.convert(x, dtype=result.dtype) for x in (minval, maxval))
    low, high = (stretched(x, unit.shape) for x in (low, high))
    return pointwise.maximum(low, unit * (high - low) + low)


def _read_normal(jaxpr: Any, *, key: Expr) -> Expr:
    result = jaxpr.outvars[0].aval
    return random.random_normal(key, shape=result.shape[key.ndim :], dtype=result.dtype)


LIBRARY: dict[str, Callable[..., Expr | None]] = {
    "_uniform": _read_uniform,
    "_normal_real": _read_normal,
}
"""Functions inside `jax.random` that are operations here."""


ASSUMPTIONS = inspect.getsourcefile(read_assumed)
"""Where the functions are defined that say what is assumed of their argument."""


def read_library(jaxpr: Any, operands: Sequence[Expr]) -> Expr | None:
    """The node that a call of a library function means, None for any other function."""
    name, _, place = definition_of(jaxpr).partition(" at ")
    if place.rpartition(":")[0] == ASSUMPTIONS:
        # What JAX derives from a function keeps its name, not those of its arguments.
        plain = jaxpr.debug_info.arg_names is not None and len(operands) == 1
        return read_assumed(name, *operands) if plain else None
    reader = LIBRARY.get(name)
    if reader is None or place.rpartition(":")[0] != inspect.getsourcefile(jax.random.normal):
        return None
    named = dict(zip(jaxpr.debug_info.arg_names, operands, strict=True))
    return reader(jaxpr, **named)
