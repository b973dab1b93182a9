"""Sums of products in normal form: whatever is linear in each of its factors.

A network is a product of arrays whose axes have names, summed over every name that its
result does not have. Names do the work of structure: an axis that no factor has is
repeated, a name that the result has twice is a diagonal, and an identity matrix is the
empty product with the result `(i, i)`. Putting one network into another merges names,
which is all it takes to multiply by an identity, to take a trace or to read a diagonal.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from symgrad.expr import Expr, Shape, literal_value, neg
from symgrad.ops.inverse import inverse
from symgrad.ops.matrix import EXACT, eye
from symgrad.ops.pointwise import convert_op, eq
from symgrad.ops.reduce import one_hot
from symgrad.ops.shape import (
    broadcast,
    iota,
    reduce_sum,
    reshape_op,
    slice_,
    transpose,
    uniform_value,
)

Axis = int
Axes = tuple[Axis, ...]

ANY = object()
"""The precision of what multiplies entry by entry and sums nothing."""

_serial = itertools.count()

DIFFERENT = object()
"""Stands for the precision of products that differ in it."""


@dataclass(frozen=True, slots=True)
class Window:
    """The part of an array that is read: where each axis starts, stops, and its steps."""

    start: Shape
    stop: Shape
    step: Shape

    def of(self, x: Expr) -> Expr:
        return slice_(x, start=self.start, stop=self.stop, step=self.step)


@dataclass(frozen=True, slots=True)
class Factor:
    """An array in a product.

    Attributes:
        node: the array; one of truth values keeps what it multiplies, or puts zeros there.
        axes: the names of its axes.
        window: the part of it that is read, None for all of it.
    """

    node: Expr
    axes: Axes
    window: Window | None = None

    @property
    def operand(self) -> Expr:
        return self.node if self.window is None else self.window.of(self.node)


@dataclass(frozen=True, slots=True)
class Network:
    """`scale` times the product of the factors, summed over the axes that `out` has not.

    Attributes:
        factors: the arrays.
        out: the axes of the result; a name that comes twice is a diagonal.
        sizes: of all axes.
        dtype: of the numbers that are multiplied; bool where there are truth values alone.
        scale: a number.
        precision: of the products, as JAX takes it; `ANY` where there are none.
    """

    factors: tuple[Factor, ...]
    out: Axes
    sizes: Mapping[Axis, int]
    dtype: Any
    scale: float = 1.0
    precision: Any = ANY

    @property
    def axes(self) -> set[Axis]:
        """The axes of the result and of all factors."""
        return {a for f in self.factors for a in f.axes} | set(self.out)

    @property
    def diagonal(self) -> bool:
        """Whether the result is zero outside of a diagonal."""
        return len(set(self.out)) < len(self.out)


def trimmed(network: Network) -> Network:
    """The network without the sizes of axes that it does not have."""
    return replace(network, sizes={a: network.sizes[a] for a in network.axes})


Sum = tuple[Network, ...]
"""Networks that are added; they have the same shape."""


def fresh_axes(shape: Shape) -> tuple[Axes, dict[Axis, int]]:
    axes = tuple(next(_serial) for _ in shape)
    return axes, dict(zip(axes, shape, strict=True))


def leaf(node: Expr) -> Network:
    """An array on its own."""
    axes, sizes = fresh_axes(node.shape)
    return Network((Factor(node, axes),), axes, sizes, node.dtype)


def _renamed(network: Network) -> Network:
    """The same network with axes of its own."""
    new = {a: next(_serial) for a in network.axes}
    factors = tuple(replace(f, axes=tuple(new[a] for a in f.axes)) for f in network.factors)
    sizes = {new[a]: network.sizes[a] for a in new}
    return replace(network, factors=factors, out=tuple(new[a] for a in network.out), sizes=sizes)


def product(
    networks: Sequence[Network], axes: Sequence[Axes], out: Axes, sizes: Mapping[Axis, int]
) -> Network | None:
    """Networks multiplied: `axes[k]` names the result axes of network `k` in the product.

    Returns:
        None if they ask for different precisions.
    """
    precision = _precision(networks)
    if precision is DIFFERENT:
        return None
    dtype = next((n.dtype for n in networks if n.dtype != bool), np.dtype(bool))
    placed: list[Factor] = []
    all_sizes = dict(sizes)
    names: dict[Axis, Axis] = {}
    scale = 1.0
    for network, given in zip(networks, axes, strict=True):
        own = network if all_sizes.keys().isdisjoint(network.sizes) else _renamed(network)
        all_sizes.update(own.sizes)
        for a, b in zip(own.out, given, strict=True):
            _merge(names, a, b)
        placed += own.factors
        scale *= own.scale
    out = tuple(_name(names, a) for a in out)
    factors = tuple(
        Factor(f.node, tuple(_name(names, a) for a in f.axes), f.window) for f in placed
    )
    present = {a for f in factors for a in f.axes}.union(out)
    kept = {}
    for axis, size in all_sizes.items():
        if axis in present:
            kept[axis] = size
        elif axis not in names:
            # A sum over an axis that nothing varies along multiplies by its size.
            scale *= size
    return Network(factors, out, kept, dtype, scale, precision)


def _precision(networks: Sequence[Network], *given: Any) -> Any:
    """The precision in which networks are multiplied; solutions ask for the highest there is."""
    asked = {n.precision for n in networks if n.precision is not ANY}.union(given)
    if asked == {None, EXACT} and any(f.node.op is inverse for n in networks for f in n.factors):
        return EXACT
    return DIFFERENT if len(asked) > 1 else next(iter(asked), ANY)


def _name(names: Mapping[Axis, Axis], axis: Axis) -> Axis:
    while axis in names:
        axis = names[axis]
    return axis


def _merge(names: dict[Axis, Axis], a: Axis, b: Axis) -> None:
    """Two axes turn out to be the same (union-find)."""
    a, b = _name(names, a), _name(names, b)
    if a != b:
        names[a] = b


def inlined(network: Network, node: Expr, by: Network) -> Network | None:
    """The network with another one in place of every factor that is `node`."""
    parts = [
        by if f.node is node and f.window is None else _one(f, network) for f in network.factors
    ]
    axes = [f.axes for f in network.factors]
    found = product(parts, axes, network.out, network.sizes)
    return None if found is None else replace(found, scale=found.scale * network.scale)


def _one(factor: Factor, network: Network) -> Network:
    sizes = {a: network.sizes[a] for a in factor.axes}
    return Network((factor,), factor.axes, sizes, factor.node.dtype)


# What each operation makes of the networks of its operands


def _moved(node: Expr, x: Network) -> Network | None:
    return replace(x, out=tuple(x.out[p] for p in node.params["permutation"]))


def _repeated(node: Expr, x: Network) -> Network | None:
    (operand,) = node.args
    axes = node.params["axes"]
    if any(n != node.shape[a] for n, a in zip(operand.shape, axes, strict=True)):
        return None
    new, sizes = fresh_axes(node.shape)
    own = dict(zip(axes, x.out, strict=True))
    out = tuple(own.get(i, new[i]) for i in range(node.ndim))
    added = {a: sizes[a] for a in out if a in sizes}
    return replace(x, out=out, sizes={**x.sizes, **added})


def _summed(node: Expr, x: Network) -> Network | None:
    axes, sizes = fresh_axes(node.args[0].shape)
    out = tuple(a for i, a in enumerate(axes) if i not in node.params["axes"])
    return product([x], [axes], out, sizes)


def _reshaped(node: Expr, x: Network) -> Network | None:
    """Axes of size 1 come and go."""
    old = node.args[0].shape
    if [n for n in old if n != 1] != [n for n in node.shape if n != 1]:
        return None
    axes, sizes = fresh_axes(old)
    kept = iter(a for a in axes if sizes[a] != 1)
    out = tuple(next(_serial) if n == 1 else next(kept) for n in node.shape)
    return product([x], [axes], out, {**dict.fromkeys(out, 1), **sizes})


def _sliced(node: Expr, x: Network) -> Network | None:
    """A part of the result reads parts of the factors."""
    p, full = node.params, node.args[0].shape
    cut = {
        x.out[i]: (p["start"][i], p["stop"][i], p["step"][i], node.shape[i])
        for i, n in enumerate(full)
        if node.shape[i] != n
    }
    if any(x.out.count(a) > 1 for a in cut):
        return None
    if any(f.window is not None and not cut.keys().isdisjoint(f.axes) for f in x.factors):
        return None
    factors = tuple(_cut(f, cut) for f in x.factors)
    sizes = {a: cut[a][3] if a in cut else n for a, n in x.sizes.items()}
    return replace(x, factors=factors, sizes=sizes)


def _cut(factor: Factor, cut: Mapping[Axis, tuple[int, int, int, int]]) -> Factor:
    if cut.keys().isdisjoint(factor.axes):
        return factor
    whole = zip(factor.axes, factor.node.shape, strict=True)
    bounds = [cut[a][:3] if a in cut else (0, n, 1) for a, n in whole]
    start, stop, step = zip(*bounds, strict=True)
    return replace(factor, window=Window(start, stop, step))


def scaled(x: Network, by: Any) -> Network | None:
    value = complex(by) if np.iscomplexobj(by) else float(by)
    if not np.isfinite(value) or isinstance(value, complex):
        return None
    return replace(x, scale=x.scale * value)


def multiplied(node: Expr, x: Network, y: Network) -> Network | None:
    axes, sizes = fresh_axes(node.shape)
    own = [axes if a.ndim else () for a in node.args]
    return product([x, y], own, axes, sizes)


def divided(node: Expr, x: Network) -> Network | None:
    """By a number: x / c; an identity by an array: the diagonal of its reciprocals."""
    x_node, y = node.args
    value = literal_value(y) if y.ndim == 0 else uniform_value(y)
    if value is not None:
        return None if value == 0 else scaled(x, 1 / value)
    if not x.diagonal or x_node.shape != node.shape:
        return None
    axes, sizes = fresh_axes(node.shape)
    return product([x, leaf(1 / y)], [axes, axes if y.ndim else ()], axes, sizes)


def contracted(node: Expr, *operands: Network) -> Network | None:
    p = node.params
    if p["dtype"] is not None or any(a.dtype != node.dtype for a in node.args):
        return None
    number = {a: next(_serial) for names in p["indices"] for a in names}
    sizes = {
        number[a]: n
        for arg, names in zip(node.args, p["indices"], strict=True)
        for a, n in zip(names, arg.shape, strict=True)
    }
    axes = [tuple(number[a] for a in names) for names in p["indices"]]
    precision = _precision(operands, p["precision"])
    found = product(operands, axes, tuple(number[a] for a in p["out"]), sizes)
    if found is None or len(operands) == 1:
        return found
    if precision is DIFFERENT:
        return None
    return replace(found, precision=precision)


def solved(node: Expr, right: Network) -> Network | None:
    """A⁻¹ b as a product."""
    a, b = node.args
    axes, sizes = fresh_axes(b.shape)
    batch, rows = axes[: a.ndim - 2], axes[a.ndim - 2]
    (new,), new_size = fresh_axes((a.shape[-1],))
    of_inverse = (rows, new) if node.params["transpose"] else (new, rows)
    out = tuple(new if i == rows else i for i in axes)
    whole = inverse(a, definite=node.params["definite"])
    return product([leaf(whole), right], [(*batch, *of_inverse), axes], out, {**sizes, **new_size})


def masked(node: Expr, along: tuple[int, int] | None, x: Network) -> Network | None:
    """Zeros where a mask says so: off a diagonal, or wherever it is false."""
    axes, sizes = fresh_axes(node.shape)
    which = _mask(node.args[0]) if along is None else _identity(node, along)
    return product([x, which], [axes if node.args[1].ndim else (), axes], axes, sizes)


def _mask(which: Expr) -> Network:
    """A mask over the axes along which it varies."""
    if which.op is not broadcast:
        return leaf(which)
    return _repeated(which, leaf(which.args[0])) or leaf(which)


SINGLE: dict[Any, Callable[[Expr, Network], Network | None]] = {
    transpose: _moved,
    broadcast: _repeated,
    reduce_sum: _summed,
    reshape_op: _reshaped,
    slice_: _sliced,
    neg: lambda node, x: scaled(x, -1.0),
}


def identity_axes(node: Expr) -> tuple[int, int] | None:
    """The two axes along which an array is an identity matrix, repeated along all others."""
    if node.op is eye:
        return (0, 1)
    if node.op is convert_op:
        return diagonal_axes(node.args[0])
    if node.op is one_hot:
        (labels,) = node.args
        along = _counted_axis(labels) if labels.ndim else None
        if along is None or labels.shape[along] != node.params["size"]:
            return None
        axis = node.params["axis"]
        other = along + (along >= axis)
        return (min(axis, other), max(axis, other))
    return None


def diagonal_axes(mask: Expr) -> tuple[int, int] | None:
    """The two axes whose positions a mask compares for equality."""
    if mask.op is not eq or mask.ndim < 2:
        return None
    first, second = (_counted_axis(a) for a in mask.args)
    if first is None or second is None or first == second:
        return None
    if mask.shape[first] != mask.shape[second]:
        return None
    return (min(first, second), max(first, second))


def _counted_axis(e: Expr) -> int | None:
    """The axis along which an array counts 0, 1, 2, ..., constant along all others."""
    if e.op is iota:
        return e.params["axis"]
    if e.op is not broadcast or e.args[0].op is not iota:
        return None
    axis = e.params["axes"][e.args[0].params["axis"]]
    return axis if e.args[0].shape[e.args[0].params["axis"]] == e.shape[axis] else None


def _identity(node: Expr, along: tuple[int, int]) -> Network:
    axes, sizes = fresh_axes(node.shape)
    first, second = along
    out = tuple(axes[first] if i == second else a for i, a in enumerate(axes))
    return Network((), out, {a: sizes[a] for a in out}, node.dtype)


def own_network(node: Expr) -> Network | None:
    """The network of a constant that has structure."""
    if isinstance(node.type, tuple) or not node.type.inexact:
        return None
    along = identity_axes(node)
    if along is not None:
        return _identity(node, along)
    value = uniform_value(node)
    if value is not None and not np.iscomplexobj(value) and np.isfinite(value):
        axes, sizes = fresh_axes(node.shape)
        return Network((), axes, sizes, node.dtype, float(value))
    return None
