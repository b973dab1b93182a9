"""Operations that move entries without computing: all linear, each with its adjoint."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from symgrad.errors import ShapeError
from symgrad.expr import (
    CONSTANT,
    Expr,
    Linear,
    Op,
    Shape,
    Type,
    constant,
    literal,
    literal_value,
    no_flops,
    number_source,
)


def dtype_source(dtype: Any) -> str:
    """How a dtype is written in emitted programs."""
    name = np.dtype(dtype).name
    return "jnp.bool_" if name == "bool" else f"jnp.{name}"


def _broadcast_type(x: Type, *, shape: Shape, axes: tuple[int, ...]) -> Type:
    if tuple(shape[a] if x.shape[i] != 1 else 1 for i, a in enumerate(axes)) != x.shape:
        raise ShapeError(f"{x.shape} does not broadcast to {shape} along axes {axes}")
    return x.with_shape(shape)


def _broadcast_source(e: Expr) -> str:
    (x,) = e.args
    shape, axes = e.params["shape"], e.params["axes"]
    if x.op is literal:
        number, dtype = number_source(x), dtype_source(x.dtype)
        made = {"0.0": "zeros", "1.0": "ones"}.get(number)
        return f"jnp.{made}({shape}, {dtype})" if made else f"jnp.full({shape}, {number}, {dtype})"
    ndim = len(shape)
    if axes == tuple(range(ndim - x.ndim, ndim)):
        return f"jnp.broadcast_to(x, {shape})"
    expanded = "x[" + ", ".join(":" if i in axes else "None" for i in range(ndim)) + "]"
    if all(n == 1 for i, n in enumerate(shape) if i not in axes) and x.shape == tuple(
        shape[a] for a in axes
    ):
        return expanded
    return f"jnp.broadcast_to({expanded}, {shape})"


def _broadcast_adjoint(g: Expr, y: Expr, x: Expr) -> Expr:
    from_ones = tuple(a for i, a in enumerate(y.params["axes"]) if x.shape[i] != g.shape[a])
    new = tuple(a for a in range(g.ndim) if a not in y.params["axes"])
    summed = _sum(g, tuple(sorted(new + from_ones)))
    return reshape(summed, shape=x.shape)


def reduced_type(x: Type, *, axes: tuple[int, ...]) -> Type:
    """Type rule of operations whose result lacks some axes of the operand."""
    if any(not 0 <= a < x.ndim for a in axes) or len(set(axes)) != len(axes):
        raise ShapeError(f"axes {axes} of an array of rank {x.ndim}")
    return x.with_shape(tuple(n for i, n in enumerate(x.shape) if i not in axes))


def axes_source(e: Expr) -> str:
    """The `axis=` argument of a reduction, absent when all axes are reduced."""
    axes = e.params["axes"]
    if axes == tuple(range(e.args[0].ndim)):
        return ""
    return f", axis={axes[0] if len(axes) == 1 else axes}"


def _sum_source(e: Expr) -> str:
    narrow = np.issubdtype(e.dtype, np.integer) or e.dtype == bool
    dtype = f", dtype={dtype_source(e.dtype)}" if narrow else ""
    return f"jnp.sum(x{axes_source(e)}{dtype})"


def _sum_adjoint(g: Expr, y: Expr, x: Expr) -> Expr:
    kept = tuple(i for i in range(x.ndim) if i not in y.params["axes"])
    return broadcast(g, shape=x.shape, axes=kept)


broadcast = Op(
    "broadcast",
    _broadcast_type,
    _broadcast_source,
    Linear(_broadcast_adjoint),
    params=("shape", "axes"),
    flops=no_flops,
)
"""Operand axis `i` becomes result axis `axes[i]`; other axes, and those of size 1, repeat."""

reduce_sum = Op(
    "sum",
    reduced_type,
    _sum_source,
    Linear(_sum_adjoint),
    params=("axes",),
    flops=lambda e: e.args[0].type.size,
)
"""Adjoint of `broadcast`, which is why it lives here."""


def _sum(x: Expr, axes: tuple[int, ...]) -> Expr:
    return reduce_sum(x, axes=axes) if axes else x


def _reshape_type(x: Type, *, shape: Shape) -> Type:
    if math.prod(x.shape) != math.prod(shape):
        raise ShapeError(f"{x.shape} cannot be reshaped to {shape}")
    return x.with_shape(shape)


reshape_op = Op(
    "reshape",
    _reshape_type,
    lambda e: _reshape_source(e),
    Linear(lambda g, y, x: reshape(g, shape=x.shape)),
    params=("shape",),
    flops=no_flops,
)


def reshape(x: Expr, *, shape: Shape) -> Expr:
    """`x` with another shape, `x` itself if it has that shape already."""
    return x if x.shape == shape else reshape_op(x, shape=shape)


def _reshape_source(e: Expr) -> str:
    """Axes of size 1 come and go by indexing, everything else by `reshape`."""
    old, new = e.args[0].shape, e.shape
    if len(new) > len(old) and tuple(n for n in new if n != 1) == old:
        return "x[" + ", ".join("None" if n == 1 else ":" for n in new) + "]"
    if len(new) < len(old) and tuple(n for n in old if n != 1) == new:
        return "x[" + ", ".join("0" if n == 1 else ":" for n in old) + "]"
    return f"x.reshape({new})" if len(new) != 1 else f"x.reshape({new[0]})"


def _transpose_type(x: Type, *, permutation: tuple[int, ...]) -> Type:
    if sorted(permutation) != list(range(x.ndim)):
        raise ShapeError(f"{permutation} does not permute the axes of {x.shape}")
    return x.with_shape(tuple(x.shape[p] for p in permutation))


def _transpose_source(e: Expr) -> str:
    permutation = e.params["permutation"]
    backwards = permutation == tuple(reversed(range(e.ndim)))
    return "x.T" if backwards else f"jnp.transpose(x, {permutation})"


transpose = Op(
    "transpose",
    _transpose_type,
    _transpose_source,
    Linear(
        lambda g, y, x: transpose(
            g, permutation=tuple(int(i) for i in np.argsort(y.params["permutation"]))
        )
    ),
    params=("permutation",),
    flops=no_flops,
)


def _slice_type(x: Type, *, start: Shape, stop: Shape, step: Shape) -> Type:
    sizes = []
    for n, a, b, s in zip(x.shape, start, stop, step, strict=True):
        if not 0 <= a <= b <= n or s < 1:
            raise ShapeError(f"slice {a}:{b}:{s} of an axis of size {n}")
        sizes.append(int(max(0, -(-(b - a) // s))))
    return x.with_shape(tuple(sizes))


def _slice_source(e: Expr) -> str:
    parts = []
    p = e.params
    for n, a, b, s in zip(e.args[0].shape, p["start"], p["stop"], p["step"], strict=True):
        text = f"{a or ''}:{b if b != n else ''}"
        parts.append(text if s == 1 else f"{text}:{s}")
    while len(parts) > 1 and parts[-1] == ":":
        parts.pop()
    return f"x[{', '.join(parts) or '...'}]"


def _slice_adjoint(g: Expr, y: Expr, x: Expr) -> Expr:
    """Put `g` back where it was taken from, zeros elsewhere."""
    start, step = y.params["start"], y.params["step"]
    high = []
    for n, a, s, m in zip(x.shape, start, step, g.shape, strict=True):
        high.append(n - a - (0 if m == 0 else (m - 1) * s + 1))
    interior = tuple(s - 1 for s in step)
    return pad(g, constant(0, g.dtype), low=start, high=tuple(high), interior=interior)


slice_ = Op(
    "slice",
    _slice_type,
    _slice_source,
    Linear(_slice_adjoint),
    params=("start", "stop", "step"),
    flops=no_flops,
)


def _pad_type(x: Type, value: Type, *, low: Shape, high: Shape, interior: Shape) -> Type:
    if value.shape or value.dtype != x.dtype:
        raise ShapeError(f"padding {x} with {value}")
    sizes = tuple(
        int(a + b + n + max(0, n - 1) * i)
        for n, a, b, i in zip(x.shape, low, high, interior, strict=True)
    )
    if any(n < 0 for n in sizes):
        raise ShapeError(f"padding {x.shape} by {low}, {high}, {interior} leaves {sizes}")
    return x.with_shape(sizes)


def _pad_source(e: Expr) -> str:
    value = e.args[1]
    p = e.params
    sizes = zip(p["low"], p["high"], p["interior"], strict=True)
    config = tuple(tuple(map(int, along)) for along in sizes)
    plain = all(a >= 0 and b >= 0 and i == 0 for a, b, i in config)
    if plain and value.op is literal:
        width = tuple((a, b) for a, b, _ in config)
        filled = number_source(value)
        return f"jnp.pad(x, {width}" + (
            ")" if filled_value(value) == 0 else f", constant_values={filled})"
        )
    return f"lax.pad(x, y, {config})"


def filled_value(value: Expr) -> Any:
    return value.params["value"].value


def _pad_adjoint(g: Expr, y: Expr, x: Expr, value: Expr) -> tuple[Expr, Expr]:
    p = y.params
    low, high, interior = p["low"], p["high"], p["interior"]
    # Negative padding cropped entries away: give them back as zeros before slicing.
    crop = tuple(max(0, -a) for a in low), tuple(max(0, -b) for b in high)
    whole = g
    if any(crop[0]) or any(crop[1]):
        whole = pad(g, constant(0, g.dtype), low=crop[0], high=crop[1], interior=(0,) * g.ndim)
    start = tuple(max(0, a) for a in low)
    step = tuple(i + 1 for i in interior)
    stop = tuple(
        a + (0 if n == 0 else (n - 1) * s + 1) for n, a, s in zip(x.shape, start, step, strict=True)
    )
    kept = slice_(whole, start=start, stop=stop, step=step)
    every_axis = tuple(range(g.ndim))
    return kept, _sum(g, every_axis) - _sum_of_kept(kept)


def _sum_of_kept(kept: Expr) -> Expr:
    return _sum(kept, tuple(range(kept.ndim)))


pad = Op(
    "pad",
    _pad_type,
    _pad_source,
    Linear(_pad_adjoint, operands=(0, 1)),
    params=("low", "high", "interior"),
    flops=no_flops,
)
"""As `jax.lax.pad`: negative sizes crop, `interior` zeros between entries."""


def _concatenate_type(*xs: Type, axis: int) -> Type:
    first = xs[0]
    rest = [t.shape[:axis] + t.shape[axis + 1 :] for t in xs]
    if len(set(rest)) > 1 or len({t.dtype for t in xs}) > 1:
        raise ShapeError(f"concatenating along axis {axis}")
    size = sum(t.shape[axis] for t in xs)
    shape = (*first.shape[:axis], size, *first.shape[axis + 1 :])
    return Type(shape, first.dtype, all(t.weak for t in xs))


def _concatenate_adjoint(g: Expr, y: Expr, *xs: Expr) -> tuple[Expr, ...]:
    axis, offset, parts = y.params["axis"], 0, []
    for x in xs:
        start = tuple(offset if i == axis else 0 for i in range(g.ndim))
        offset += x.shape[axis]
        stop = tuple(offset if i == axis else n for i, n in enumerate(g.shape))
        parts.append(slice_(g, start=start, stop=stop, step=(1,) * g.ndim))
    return tuple(parts)


concatenate = Op(
    "concatenate",
    _concatenate_type,
    lambda e: (
        "jnp.concatenate([*xs]" + (f", axis={e.params['axis']})" if e.params["axis"] else ")")
    ),
    Linear(_concatenate_adjoint, operands=()),
    params=("axis",),
    flops=no_flops,
)

reverse = Op(
    "reverse",
    lambda x, *, axes: x,
    lambda e: (
        f"jnp.flip(x, {e.params['axes'] if len(e.params['axes']) > 1 else e.params['axes'][0]})"
    ),
    Linear(lambda g, y, x: reverse(g, axes=y.params["axes"])),
    params=("axes",),
    flops=no_flops,
)


def _iota_source(e: Expr) -> str:
    axis, dtype = e.params["axis"], dtype_source(e.dtype)
    if e.ndim == 1:
        return f"jnp.arange({e.shape[0]}, dtype={dtype})"
    return f"lax.broadcasted_iota({dtype}, {e.shape}, {axis})"


iota = Op(
    "iota",
    lambda *, shape, dtype, axis: Type(shape, dtype),
    _iota_source,
    CONSTANT,
    params=("shape", "dtype", "axis"),
    flops=no_flops,
)


def zeros(type: Type) -> Expr:
    """An array of zeros; a literal if it is a scalar."""
    return full(0, type)


def full(value: Any, type: Type) -> Expr:
    """An array with one value everywhere; a literal if it is a scalar."""
    return spread(constant(value, type.dtype, type.weak), type.shape)


def spread(x: Expr, shape: Shape) -> Expr:
    """A scalar node, repeated to `shape`."""
    return broadcast(x, shape=shape, axes=()) if shape else x


def stretched(x: Expr, shape: Shape) -> Expr:
    """`x` broadcast by NumPy's rules."""
    axes = tuple(range(len(shape) - x.ndim, len(shape)))
    return x if x.shape == shape else broadcast(x, shape=shape, axes=axes)


def expand(x: Expr, axes: tuple[int, ...], shape: Shape) -> Expr:
    """Put back the axes a reduction removed: the result has `shape`."""
    kept = tuple(i for i in range(len(shape)) if i not in axes)
    return broadcast(x, shape=shape, axes=kept)


def squeeze(x: Expr, axes: tuple[int, ...]) -> Expr:
    return reshape(x, shape=tuple(n for i, n in enumerate(x.shape) if i not in axes))


def kept_along(e: Expr, axis: int) -> Expr | None:
    """What `e` repeats along `axis`, with that axis removed; None if it may vary along it."""
    if e.ndim == 0:
        return e
    if e.op is not broadcast:
        return None
    (x,) = e.args
    axes = e.params["axes"]
    if axis in axes:
        position = axes.index(axis)
        if x.shape[position] != 1:
            return None
        x = reshape(x, shape=(*x.shape[:position], *x.shape[position + 1 :]))
        axes = (*axes[:position], *axes[position + 1 :])
    shape = tuple(n for i, n in enumerate(e.shape) if i != axis)
    lowered = tuple(a - (a > axis) for a in axes)
    if x.shape == shape and lowered == tuple(range(len(shape))):
        return x
    return broadcast(x, shape=shape, axes=lowered)


def unrepeated(x: Expr) -> Expr:
    """What a node was before it was broadcast."""
    while x.op is broadcast:
        (x,) = x.args
    return x


def uniform_value(node: Expr) -> Any:
    """The one value that all entries of a constant array have, None if it is not such an array."""
    return literal_value(unrepeated(node))
