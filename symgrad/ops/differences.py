"""Differences of roots and of reciprocals, from the difference of the operands.

√a - √b is d / s with d = a - b and s = √a + √b. Where a is infinite both are, d like the
square of s; the quotient is infinite there, and d / s² is 1.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from symgrad.expr import Expr, Op, Pointwise, elementwise_type
from symgrad.ops import accurate


def over_roots(x, y):
    """x / y, and x where both are infinite, as x is more so."""
    return jnp.where(jnp.isinf(x) & jnp.isinf(y), x, x / y)


def over_squared_roots(x, y, limit):
    """x / y**2, and ±limit where both are infinite."""
    both = jnp.isinf(x) & jnp.isinf(y)
    return jnp.where(both, jnp.sign(x) * limit, x / y / y)


def reciprocal_difference(x, y, apart):
    """1 / x - 1 / y, given x - y, which overflows only where nothing cancels."""
    return jnp.where(jnp.isinf(apart), 1 / x - 1 / y, -(apart / x / y))


def _squared(e: Expr) -> Expr:
    return over_squared_roots_op(*e.args, **e.params)


def _op(source: str, *partials: Any, helpers: Any, params: tuple[str, ...] = ()) -> Op:
    return Op(
        helpers[-1].__name__,
        lambda *types, **_: elementwise_type(*types),
        source,
        Pointwise(*partials),
        params=params,
        elementwise=True,
        flops=lambda e: 4 * e.type.size,
        helpers=helpers,
    )


over_roots_op = _op(
    "over_roots(x, y)",
    lambda g, z, x, y: g / y,
    lambda g, z, x, y: -(g * _squared(z)),
    helpers=(over_roots,),
    params=("limit",),
)
"""x / y, where x grows faster than y; x / y² then tends to `limit`."""
over_squared_roots_op = _op(
    "over_squared_roots(x, y, {limit})",
    lambda g, z, x, y: g / y / y,
    lambda g, z, x, y: g * (-2 * z) / y,
    helpers=(over_squared_roots,),
    params=("limit",),
)
reciprocal_difference_op = _op(
    "reciprocal_difference(x, y, z)",
    lambda g, z, x, y, apart: -(g * (z / x)),
    lambda g, z, x, y, apart: -(g * (z / y)),
    lambda g, z, x, y, apart: -(g / x / y),
    helpers=(reciprocal_difference,),
)

root_of_square_plus = _op(
    "root_of_square_plus(x, y)",
    lambda g, z, x, y: g * (x / z),
    lambda g, z, x, y: g / (2 * z),
    helpers=(accurate.root_of_square_plus,),
)
"""√(x² + y)"""
root_minus = _op(
    "root_minus(x, y)",
    lambda g, z, x, y: -(g * relative_root_minus(x, y)),
    lambda g, z, x, y: g / (2 * root_of_square_plus(x, y)),
    helpers=(accurate.root_of_square_plus, accurate.root_minus),
)
"""√(x² + y) - x"""


def _over_root(y: Expr, *operands: Expr) -> Expr:
    return y / root_of_square_plus(*operands)


relative_root_minus = _op(
    "relative_root_minus(x, y)",
    lambda g, z, x, y: -(g * _over_root(_over_root(_over_root(y, x, y), x, y), x, y)),
    lambda g, z, x, y: g * _over_root(_over_root(_over_root(x / 2, x, y), x, y), x, y),
    helpers=(accurate.relative_root_minus,),
)
"""1 - x / √(x² + y)"""
