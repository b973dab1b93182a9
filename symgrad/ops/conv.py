"""Convolution, and the arithmetic of windows that slide over an axis.

Axes, strides, paddings and dilations mean what they mean in `jax.lax`.
"""

from __future__ import annotations

from typing import Any

from jax import lax

from symgrad.errors import ShapeError
from symgrad.expr import Expr, Multilinear, Op, Shape, Type
from symgrad.ops.pointwise import convert
from symgrad.ops.shape import dtype_source, reshape, reverse, transpose, zeros

Axes = tuple[int, ...]
Padding = tuple[tuple[int, int], ...]


def dilated(n: int, dilation: int) -> int:
    """The extent of `n` entries with `dilation - 1` holes between neighbours."""
    return 0 if n == 0 else (n - 1) * dilation + 1


def windows_along(n: int, window: int, stride: int) -> int:
    """How many windows fit into `n` entries."""
    return 0 if n < window else (n - window) // stride + 1


def adjoint_padding(n: int, window: int, stride: int, m: int, low: int) -> tuple[int, int]:
    """The padding that makes a window sweep over `m` cotangents return to `n` entries.

    All extents are dilated ones; `low` is the padding in front of the `n` entries.
    """
    before = window - 1 - low
    return before, n + window - 1 - dilated(m, stride) - before


def _conv_extents(x: Shape, w: Shape, p: Any) -> list[tuple[int, int]]:
    """Dilated sizes of the image and the kernel, one pair per spatial axis."""
    lhs, rhs, _ = p["dimension_numbers"]
    return [
        (dilated(x[i], a), dilated(w[j], b))
        for i, j, a, b in zip(lhs[2:], rhs[2:], p["lhs_dilation"], p["rhs_dilation"], strict=True)
    ]


def _conv_type(x: Type, w: Type, **p: Any) -> Type:
    lhs, rhs, out = p["dimension_numbers"]
    groups, batches = p["feature_group_count"], p["batch_group_count"]
    if x.dtype != w.dtype:
        raise ShapeError(f"dtypes {x.dtype} and {w.dtype} differ")
    features = w.shape[rhs[0]]
    if x.shape[lhs[1]] != groups * w.shape[rhs[1]] or features % (groups * batches):
        raise ShapeError(f"{groups} feature groups and {batches} batch groups do not fit")
    if x.shape[lhs[0]] % batches:
        raise ShapeError(f"{batches} batch groups of a batch of {x.shape[lhs[0]]}")
    shape = [0] * x.ndim
    shape[out[0]], shape[out[1]] = x.shape[lhs[0]] // batches, features
    extents = _conv_extents(x.shape, w.shape, p)
    for axis, (n, window), (low, high), stride in zip(
        out[2:], extents, p["padding"], p["window_strides"], strict=True
    ):
        shape[axis] = windows_along(low + n + high, window, stride)
    return Type(tuple(shape), p["preferred_element_type"] or x.dtype, x.weak and w.weak)


def _conv_padding_source(e: Expr) -> str:
    """The padding by its name where it has one; JAX takes no names with a dilated image."""
    x, w = e.args
    p = e.params
    if any(d != 1 for d in p["lhs_dilation"]):
        return f"{p['padding']}"
    if not any(a or b for a, b in p["padding"]):
        return '"VALID"'
    sizes, windows = zip(*_conv_extents(x.shape, w.shape, p), strict=True)
    same = lax.padtype_to_pads(sizes, windows, p["window_strides"], "SAME")
    return '"SAME"' if tuple(same) == p["padding"] else f"{p['padding']}"


def _conv_layout_source(numbers: tuple[Axes, Axes, Axes]) -> str:
    """Dimension numbers as letters, which JAX reads in the order of the kernel's axes."""
    count = len(numbers[0]) - 2
    if numbers[1][2:] != tuple(sorted(numbers[1][2:])):
        return f"lax.ConvDimensionNumbers{numbers}"
    spatial = "DHW"[-count:] if 0 < count <= 3 else "0123456789"[:count]
    spelled = []
    for axes, letters in zip(numbers, ("NC", "OI", "NC"), strict=True):
        place = dict(zip(axes, letters + spatial, strict=True))
        spelled.append("".join(place[i] for i in range(count + 2)))
    return '("{}", "{}", "{}")'.format(*spelled)


def _precision_source(precision: Any) -> str:
    names = [f"lax.Precision.{p.name}" for p in precision]
    return names[0] if len(set(names)) == 1 else f"({', '.join(names)})"


def _conv_source(e: Expr) -> str:
    p = e.params
    usual = tuple(range(e.ndim))
    options = f", window_strides={p['window_strides']}, padding={_conv_padding_source(e)}"
    for name in ("lhs_dilation", "rhs_dilation"):
        if any(d != 1 for d in p[name]):
            options += f", {name}={p[name]}"
    if p["dimension_numbers"] != (usual, usual, usual):
        options += f", dimension_numbers={_conv_layout_source(p['dimension_numbers'])}"
    for name in ("feature_group_count", "batch_group_count"):
        if p[name] != 1:
            options += f", {name}={p[name]}"
    if p["precision"] is not None:
        options += f", precision={_precision_source(p['precision'])}"
    if p["preferred_element_type"] is not None:
        options += f", preferred_element_type={dtype_source(p['preferred_element_type'])}"
    return f"lax.conv_general_dilated(x, y{options})"


def _exchanged(axes: Axes) -> Axes:
    """Batch and feature axes change places, spatial axes stay."""
    return (axes[1], axes[0], *axes[2:])


def _move_groups(x: Expr, count: int, source: int, target: int) -> Expr:
    """Take the outermost factor `count` of one axis and make it the outermost of another."""
    shape = x.shape
    split = (*shape[:source], count, shape[source] // count, *shape[source + 1 :])
    order = [i for i in range(x.ndim + 1) if i != source]
    order.insert(target, source)
    merged = [n // count if i == source else n for i, n in enumerate(shape)]
    merged[target] *= count
    moved = transpose(reshape(x, shape=split), permutation=tuple(order))
    return reshape(moved, shape=tuple(merged))


def _conv_adjoint(g: Expr, i: int, y: Expr, x: Expr, w: Expr) -> Expr:
    """Convolving with a kernel is linear, and so is convolving a fixed image."""
    operand = (x, w)[i]
    if g.type.size == 0 or operand.type.size == 0:
        return zeros(operand.type)
    found = _image_cotangent(g, y, x, w) if i == 0 else _kernel_cotangent(g, y, x, w)
    return convert(found, dtype=operand.dtype, weak=found.type.weak)


def _conv_adjoint_padding(g: Expr, y: Expr, x: Expr, w: Expr) -> Padding:
    p = y.params
    out = p["dimension_numbers"][2][2:]
    return tuple(
        adjoint_padding(n, window, stride, g.shape[axis], low)
        for (n, window), stride, axis, (low, _) in zip(
            _conv_extents(x.shape, w.shape, p), p["window_strides"], out, p["padding"], strict=True
        )
    )


def _image_cotangent(g: Expr, y: Expr, x: Expr, w: Expr) -> Expr:
    """The reversed kernel over the cotangent: m k, k j -> m j for every pair of positions.

    Groups of features in the kernel's output become groups in its input.
    """
    p = y.params
    lhs, rhs, out = p["dimension_numbers"]
    groups, batches = p["feature_group_count"], p["batch_group_count"]
    if groups * batches > 1:
        w = _move_groups(w, groups * batches, rhs[0], rhs[1])
    found = conv(
        g,
        convert(reverse(w, axes=rhs[2:]) if rhs[2:] else w, dtype=g.dtype, weak=w.type.weak),
        window_strides=p["lhs_dilation"],
        padding=_conv_adjoint_padding(g, y, x, w),
        lhs_dilation=p["window_strides"],
        rhs_dilation=p["rhs_dilation"],
        dimension_numbers=(out, _exchanged(rhs), lhs),
        feature_group_count=groups * batches,
        batch_group_count=1,
        precision=p["precision"],
        preferred_element_type=p["preferred_element_type"],
    )
    return _move_groups(found, batches, lhs[1], lhs[0]) if batches > 1 else found


def _kernel_cotangent(g: Expr, y: Expr, x: Expr, w: Expr) -> Expr:
    """The cotangent slides over the image: j m, m k -> j k for every pair of positions.

    Groups of features become groups of the batch, and the other way round.
    """
    p = y.params
    numbers = p["dimension_numbers"]
    lhs, rhs, out = (_exchanged(axes) for axes in numbers)
    padding = tuple(
        (low, dilated(g.shape[axis], stride) - n + window - low - 1)
        for (n, window), stride, axis, (low, _) in zip(
            _conv_extents(x.shape, w.shape, p),
            p["window_strides"],
            out[2:],
            p["padding"],
            strict=True,
        )
    )
    return conv(
        convert(x, dtype=g.dtype, weak=x.type.weak),
        g,
        window_strides=p["rhs_dilation"],
        padding=padding,
        lhs_dilation=p["lhs_dilation"],
        rhs_dilation=p["window_strides"],
        dimension_numbers=(lhs, out, rhs),
        feature_group_count=p["batch_group_count"],
        batch_group_count=p["feature_group_count"],
        precision=p["precision"],
        preferred_element_type=p["preferred_element_type"],
    )


def _conv_flops(e: Expr) -> int:
    """Two for every product of an output entry with a kernel entry."""
    w = e.args[1]
    features = w.shape[e.params["dimension_numbers"][1][0]]
    return 2 * e.type.size * w.type.size // max(1, features)


conv = Op(
    "conv",
    _conv_type,
    _conv_source,
    Multilinear(_conv_adjoint),
    params=(
        "window_strides",
        "padding",
        "lhs_dilation",
        "rhs_dilation",
        "dimension_numbers",
        "feature_group_count",
        "batch_group_count",
        "precision",
        "preferred_element_type",
    ),
    flops=_conv_flops,
)
"""As `jax.lax.conv_general_dilated`.

`dimension_numbers` holds the axes of image, kernel and result: (batch, feature,
spatial ...), for the kernel (output feature, input feature, spatial ...).
"""
