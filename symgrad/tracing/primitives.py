"""JAX primitives whose parameters are plain values, as symgrad nodes.

A reader takes operand nodes and, as keywords, the parameters it understands. It
gives a node, a tuple with a node per result, or None to leave the equation opaque.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from symgrad.expr import Expr, Op, literal_value
from symgrad.ops import contract, cumulative, pointwise, reduce, shape
from symgrad.ops.shape import broadcast, iota, stretched


def _read_dot_general(
    x: Expr, y: Expr, *, dimension_numbers: Any, precision: Any, preferred_element_type: Any
) -> Expr:
    contract_axes, batch = dimension_numbers
    return contract.dot_general(
        x,
        y,
        contract=contract_axes,
        batch=batch,
        precision=precision,
        dtype=preferred_element_type,
    )


def _read_broadcast(x: Expr, *, shape: Any, broadcast_dimensions: Any) -> Expr:
    return (
        x
        if x.shape == shape
        else broadcast(x, shape=tuple(shape), axes=tuple(broadcast_dimensions))
    )


def _read_select(which: Expr, *cases: Expr) -> Expr:
    """`select_n` counts its cases from 0, so the first is the one taken on False."""
    if which.dtype == bool:
        which, on_false, on_true = aligned((which, *cases))
        return pointwise.select(which, on_true, on_false)
    which, *choices = aligned((which, *cases))
    chosen = choices[-1]
    for i in range(len(choices) - 2, -1, -1):
        chosen = pointwise.select(pointwise.eq(which, i), choices[i], chosen)
    return chosen


def _read_slice(x: Expr, *, start_indices: Any, limit_indices: Any, strides: Any) -> Expr:
    step = tuple(strides) if strides is not None else (1,) * x.ndim
    return shape.slice_(x, start=tuple(start_indices), stop=tuple(limit_indices), step=step)


def _read_stack(*xs: Expr, axis: int) -> Expr:
    shapes = [(*x.shape[:axis], 1, *x.shape[axis:]) for x in xs]
    return shape.concatenate(
        *(shape.reshape(x, shape=s) for x, s in zip(xs, shapes, strict=True)), axis=axis
    )


def _read_tile(x: Expr, *, reps: Any) -> Expr:
    """Repetitions get an axis of their own in front of each axis, which is then merged."""
    repeated = tuple(n for pair in zip(reps, x.shape, strict=True) for n in pair)
    own = tuple(range(1, 2 * x.ndim, 2))
    merged = tuple(r * n for r, n in zip(reps, x.shape, strict=True))
    return shape.reshape(broadcast(x, shape=repeated, axes=own), shape=merged)


def _read_split(x: Expr, *, sizes: Any, axis: int) -> tuple[Expr, ...]:
    parts, start = [], 0
    for size in sizes:
        first = tuple(start if a == axis else 0 for a in range(x.ndim))
        start += size
        last = tuple(start if a == axis else n for a, n in enumerate(x.shape))
        parts.append(shape.slice_(x, start=first, stop=last, step=(1,) * x.ndim))
    return tuple(parts)


def _read_unstack(x: Expr, *, axis: int) -> tuple[Expr, ...]:
    rows = _read_split(x, sizes=(1,) * x.shape[axis], axis=axis)
    return tuple(shape.squeeze(row, (axis,)) for row in rows)


def _read_reshape(x: Expr, *, new_sizes: Any, dimensions: Any) -> Expr:
    ordered = x if dimensions is None else shape.transpose(x, permutation=tuple(dimensions))
    return shape.reshape(ordered, shape=tuple(new_sizes))


def _read_pad(x: Expr, value: Expr, *, padding_config: Any) -> Expr:
    low, high, interior = (
        (tuple(c) for c in zip(*padding_config, strict=True))
        if x.ndim
        else (
            (),
            (),
            (),
        )
    )
    return shape.pad(x, value, low=low, high=high, interior=interior)


def _is_complex(x: Expr, yes: Op, no: Op) -> Op:
    return yes if np.issubdtype(x.dtype, np.complexfloating) else no


def _as_complex(x: Expr) -> Expr:
    """JAX's `conj` takes real numbers to complex ones."""
    whole = jax.dtypes.issubdtype(x.dtype, np.complexfloating)
    return x if whole else pointwise.convert(x, dtype=np.result_type(x.dtype, np.complex64))


def _read_pow(x: Expr, y: Expr) -> Expr:
    x, y = aligned((x, y))
    value = literal_value(y)
    if value is not None and np.imag(value) == 0:
        exponent = float(np.real(value))
        if exponent.is_integer() and abs(exponent) < 2**15:
            return pointwise.integer_power(x, int(exponent))
    return pointwise.power(x, y)


def direct(op: Op) -> Callable[..., Expr]:
    """The reader of an elementwise primitive without parameters."""
    return lambda *operands: op(*aligned(operands))


def aligned(operands: Sequence[Expr]) -> list[Expr]:
    """JAX stretches axes of size 1 silently; here they are broadcast in the open."""
    target = np.broadcast_shapes(*(o.shape for o in operands))
    return [stretched(o, target) if o.ndim else o for o in operands]


SAME_NAME = (
    *(pointwise.add, pointwise.sub, pointwise.mul, pointwise.div, pointwise.neg),
    *(pointwise.maximum, pointwise.minimum, pointwise.clamp, pointwise.rem),
    *(pointwise.exp, pointwise.exp2, pointwise.expm1, pointwise.log, pointwise.log1p),
    *(pointwise.sqrt, pointwise.rsqrt, pointwise.cbrt, pointwise.square),
    *(pointwise.real, pointwise.imag, pointwise.complex_),
    *(pointwise.sin, pointwise.cos, pointwise.tan, pointwise.sinh, pointwise.cosh),
    *(pointwise.tanh, pointwise.logistic, pointwise.erf, pointwise.erfc, pointwise.erf_inv),
    *(pointwise.sign, pointwise.floor, pointwise.ceil, pointwise.is_finite),
    *(pointwise.eq, pointwise.ne, pointwise.lt, pointwise.le, pointwise.gt, pointwise.ge),
    *(pointwise.and_, pointwise.or_, pointwise.xor, pointwise.not_, pointwise.arctan2),
    *(pointwise.eq_to, pointwise.lt_to, pointwise.le_to, pointwise.nextafter),
    *(pointwise.clz, pointwise.population_count, pointwise.mulhi),
    *(pointwise.shift_left, pointwise.shift_right_logical, pointwise.shift_right_arithmetic),
    pointwise.stop_gradient,
)
"""Operations that JAX's primitive of the same name means."""

OTHER_NAME = {
    "add_any": pointwise.add,
    "asin": pointwise.arcsin,
    "acos": pointwise.arccos,
    "atan": pointwise.arctan,
    "asinh": pointwise.arcsinh,
    "acosh": pointwise.arccosh,
    "atanh": pointwise.arctanh,
}

REDUCTIONS = {
    "reduce_sum": shape.reduce_sum,
    "reduce_max": reduce.reduce_max,
    "reduce_min": reduce.reduce_min,
    "reduce_prod": reduce.reduce_prod,
    "reduce_and": reduce.reduce_and,
    "reduce_or": reduce.reduce_or,
    "reduce_xor": reduce.reduce_xor,
}

ALONG_AXIS = (
    *(reduce.cumsum, reduce.cumprod),
    *(cumulative.cummax, cumulative.cummin, cumulative.cumlogsumexp_op),
)


def _read_reduction(op: Op) -> Callable[..., Expr]:
    return lambda x, *, axes: op(x, axes=tuple(axes)) if axes else x


def _read_along_axis(op: Op) -> Callable[..., Expr]:
    return lambda x, *, axis, reverse: op(x, axis=axis, reverse=reverse)


def _read_arg_reduction(op: Op) -> Callable[..., Expr]:
    return lambda x, *, axes, index_dtype: op(x, axis=axes[0], dtype=np.dtype(index_dtype))


PLAIN: dict[str, Callable[..., Any]] = {
    **{op.name: direct(op) for op in SAME_NAME},
    **{name: direct(op) for name, op in OTHER_NAME.items()},
    **{name: _read_reduction(op) for name, op in REDUCTIONS.items()},
    **{op.name: _read_along_axis(op) for op in ALONG_AXIS},
    **{op.name: _read_arg_reduction(op) for op in (reduce.argmax, reduce.argmin)},
    "integer_pow": lambda x, *, y: pointwise.integer_power(x, y),
    "pow": _read_pow,
    "select_n": _read_select,
    "round": lambda x, *, rounding_method: pointwise.round_(x, to_even=rounding_method == 1),
    "convert_element_type": lambda x, *, new_dtype, weak_type: pointwise.convert(
        x, dtype=new_dtype, weak=weak_type
    ),
    "bitcast_convert_type": lambda x, *, new_dtype: pointwise.bitcast(x, dtype=new_dtype),
    "abs": lambda x: _is_complex(x, pointwise.magnitude, pointwise.abs_)(x),
    "conj": lambda x, *, input_dtype: pointwise.conj(_as_complex(x)),
    "reduce_precision": lambda x, *, exponent_bits, mantissa_bits: pointwise.reduce_precision(
        x, exponent_bits=exponent_bits, mantissa_bits=mantissa_bits
    ),
    "name": lambda x, *, name: pointwise.name(x, name=name),
    "copy": lambda x: x,
    "copy_p": lambda x: x,
    "dot_general": _read_dot_general,
    "broadcast_in_dim": _read_broadcast,
    "reshape": _read_reshape,
    "squeeze": lambda x, *, dimensions: shape.squeeze(x, tuple(dimensions)),
    "transpose": lambda x, *, permutation: shape.transpose(x, permutation=tuple(permutation)),
    "slice": _read_slice,
    "split": _read_split,
    "unstack": _read_unstack,
    "stack": _read_stack,
    "tile": _read_tile,
    "pad": _read_pad,
    "concatenate": lambda *xs, dimension: shape.concatenate(*xs, axis=dimension),
    "rev": lambda x, *, dimensions: shape.reverse(x, axes=tuple(dimensions)),
    "iota": lambda *, shape, dtype, dimension: iota(
        shape=tuple(shape), dtype=np.dtype(dtype), axis=dimension
    ),
}
