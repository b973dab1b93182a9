"""Products of matrices that come in groups of different sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.lax import RaggedDotDimensionNumbers

from symgrad.errors import NoDerivativeError
from symgrad.expr import Expr, Multilinear, Op, Type
from symgrad.ops.contract import natural_dtype, precision_source
from symgrad.ops.pointwise import convert
from symgrad.ops.shape import dtype_source, transpose

Axes = tuple[int, ...]


def _own(rank: int, *others: Sequence[int]) -> Axes:
    """The axes that are in none of the given groups."""
    return tuple(a for a in range(rank) if all(a not in axes for axes in others))


def _ragged_type(
    x: Type, y: Type, sizes: Type, *, numbers: RaggedDotDimensionNumbers, precision: Any, dtype: Any
) -> Type:
    contract, batch = numbers.dot_dimension_numbers
    shape = tuple(x.shape[a] for a in batch[0])
    shape += tuple(x.shape[a] for a in _own(x.ndim, contract[0], batch[0]))
    others = _own(y.ndim, contract[1], batch[1], numbers.rhs_group_dimensions)
    shape += tuple(y.shape[a] for a in others)
    if numbers.lhs_ragged_dimensions[0] in contract[0]:
        shape = (sizes.shape[-1], *shape)
    return Type(shape, dtype or natural_dtype(x, y), x.weak and y.weak)


def _ragged_source(e: Expr) -> str:
    p, general = e.params, e.params["numbers"] != PLAIN
    options = [_numbers_source(p["numbers"])] if general else []
    if p["precision"] is not None:
        options.append(f"precision={precision_source(p['precision'])}")
    if p["dtype"] is not None:
        options.append(f"preferred_element_type={dtype_source(p['dtype'])}")
    return f"lax.ragged_dot{'_general' * general}({', '.join(['x, y, z', *options])})"


PLAIN = RaggedDotDimensionNumbers(
    dot_dimension_numbers=(([1], [1]), ([], [])),
    lhs_ragged_dimensions=[0],
    rhs_group_dimensions=[0],
)
"""What `jax.lax.ragged_dot` means."""


def _numbers_source(numbers: RaggedDotDimensionNumbers) -> str:
    dot, ragged = numbers.dot_dimension_numbers, numbers.lhs_ragged_dimensions
    return f"lax.RaggedDotDimensionNumbers({dot}, {ragged}, {numbers.rhs_group_dimensions})"


def _ragged_adjoint(g: Expr, position: int, ans: Expr, x: Expr, y: Expr, sizes: Expr) -> Expr:
    """X̄ is the product of the cotangent with the groups of Y, Ȳ sums X Z̄ group by group."""
    numbers = ans.params["numbers"]
    (x_sum, y_sum), (x_batch, y_batch) = numbers.dot_dimension_numbers
    (ragged,), groups = numbers.lhs_ragged_dimensions, numbers.rhs_group_dimensions
    if ragged in (*x_sum, *x_batch):
        raise NoDerivativeError(
            "the derivative of a ragged product that sums over groups is not implemented",
            fix="make the ragged axis one that the result has",
        )
    x_own, y_own = _own(x.ndim, x_sum, x_batch), _own(y.ndim, y_sum, y_batch, groups)
    common = {name: ans.params[name] for name in ("precision", "dtype")}
    batch = tuple(range(len(x_batch)))
    rows = tuple(range(len(batch), len(batch) + len(x_own)))
    columns = tuple(range(len(batch) + len(x_own), g.ndim))
    if position == 0:
        swapped = RaggedDotDimensionNumbers(
            ((columns, y_own), (batch, tuple(y_batch))),
            [len(batch) + x_own.index(ragged)],
            groups,
        )
        pulled = ragged_dot(g, y, sizes, numbers=swapped, **common)
        found = (*x_batch, *x_own, *(x_sum[i] for i in np.argsort(y_sum)))
        return _in_order(pulled, found, x)
    swapped = RaggedDotDimensionNumbers(((x_own, rows), (tuple(x_batch), batch)), [ragged], [])
    pulled = ragged_dot(x, g, sizes, numbers=swapped, **common)
    found = (*groups, *y_batch, *(y_sum[i] for i in np.argsort(x_sum)), *y_own)
    return _in_order(pulled, found, y)


def _in_order(pulled: Expr, axes: Sequence[int], operand: Expr) -> Expr:
    """Axis i of what was pulled back belongs to the operand's axis `axes[i]`."""
    permutation = tuple(int(i) for i in np.argsort(axes))
    return convert(transpose(pulled, permutation=permutation), dtype=operand.dtype)


ragged_op = Op(
    "ragged_dot",
    _ragged_type,
    _ragged_source,
    Multilinear(_ragged_adjoint),
    params=("numbers", "precision", "dtype"),
    flops=lambda e: 2 * e.type.size * e.args[0].shape[-1],
)
"""As `jax.lax.ragged_dot_general`."""


def ragged_dot(
    x: Expr,
    y: Expr,
    sizes: Expr,
    *,
    numbers: RaggedDotDimensionNumbers,
    precision: Any = None,
    dtype: Any = None,
) -> Expr:
    """A product of which the rows of `x` (or what is summed over) come in groups."""
    return ragged_op(x, y, sizes, numbers=numbers, precision=precision, dtype=dtype)
