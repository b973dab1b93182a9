"""In which order the factors of a network are multiplied, what that costs, and the result.

The order is searched by opt_einsum (D. G. A. Smith and J. Gray, opt_einsum, JOSS 2018),
which prices a product of two factors by the number of its multiplications and additions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from opt_einsum.paths import auto

from symgrad.expr import Expr, Type, constant
from symgrad.ops.contract import einsum
from symgrad.ops.inverse import inverse
from symgrad.ops.matrix import EXACT
from symgrad.ops.pointwise import convert, eq, select
from symgrad.ops.shape import broadcast, full, iota, reduce_sum, transpose
from symgrad.plan.network import ANY, Axes, Axis, Network

STEP = 256
"""What starting one operation costs, in floating-point operations."""

SOLVE = 16 * STEP
"""What starting to solve linear equations costs."""

Path = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Order:
    """Which two factors are multiplied next, as positions in the list of those left."""

    path: Path
    price: float


def order(network: Network) -> Order:
    """The cheapest order of a network that was looked for."""
    number: dict[Axis, int] = {}
    for f in network.factors:
        for a in f.axes:
            number.setdefault(a, len(number))
    factors = tuple(tuple(number[a] for a in f.axes) for f in network.factors)
    out = tuple(dict.fromkeys(number[a] for a in network.out if a in number))
    sizes = tuple(network.sizes[a] for a in number)
    inverses = tuple(f.node.op is inverse and f.window is None for f in network.factors)
    found = _order(factors, out, sizes, inverses if any(inverses) else ())
    extra = math.prod(network.sizes[a] for a in set(network.out)) if network.scale != 1 else 0
    whole = math.prod(network.sizes[a] for a in network.out) if network.diagonal else 0
    return Order(found.path, found.price + extra + (whole and whole + STEP))


@lru_cache(maxsize=4096)
def _order(
    factors: tuple[Axes, ...], out: Axes, sizes: tuple[int, ...], inverses: tuple[bool, ...]
) -> Order:
    kept = set(out)
    price = 0.0
    inputs = []
    for i, axes in enumerate(factors):
        others = kept.union(*(f for j, f in enumerate(factors) if j != i))
        own = set(axes)
        lonely = own - others
        if lonely or len(own) < len(axes):
            price += math.prod(sizes[a] for a in own) + STEP
        inputs.append(frozenset(own - lonely))
    if len(inputs) < 2:
        return Order((), price)
    named = dict(enumerate(sizes))
    path = _path(inputs, frozenset(kept), named)
    left = list(inputs)
    unsolved = [f[-2:] if i else None for i, f in zip(inverses, factors, strict=False)]
    for pair in path:
        taken = [left.pop(i) for i in sorted(pair, reverse=True)]
        union = frozenset().union(*taken)
        result = union & kept.union(*left)
        price += _pair_price(union, result, named)
        if unsolved:
            sides = [unsolved.pop(i) for i in sorted(pair, reverse=True)]
            price += _solving_price(taken, sides, result, named)
            unsolved.append(None)
        left.append(result)
    return Order(path, price)


def _solving_price(
    taken: Sequence[frozenset[int]],
    sides: Sequence[Axes | None],
    result: frozenset[int],
    sizes: Mapping[int, int],
) -> float:
    """What a product with an inverse costs besides: one is a solution, others write it out."""
    price, solved = 0.0, False
    for side, other in zip(sides, reversed(taken), strict=True):
        if side is None:
            continue
        met = [a for a in side if a in other]
        if not solved and len(met) == 1 and met[0] not in result:
            price, solved = price + SOLVE, True
        else:
            price += 2 * sizes[side[0]] ** 3 + SOLVE
    return price


def _pair_price(union: frozenset[int], result: frozenset[int], sizes: Mapping[int, int]) -> float:
    entries = math.prod(sizes[a] for a in union)
    return entries * (1 if union == result else 2) + STEP


def _path(inputs: list[frozenset[int]], out: frozenset[int], sizes: Mapping[int, int]) -> Path:
    if len(inputs) == 2:
        return ((0, 1),)
    # opt_einsum calls indices strings and takes anything that has a hash.
    search: Callable[..., Any] = auto
    return tuple(tuple(pair) for pair in search(inputs, out, dict(sizes)))


@dataclass(frozen=True, slots=True)
class _Part:
    """A product on the way: a node and the names of its axes, each once."""

    node: Expr
    axes: Axes


def build(network: Network, operands: Sequence[Expr], type: Type) -> Expr:
    """The node of a network, given the nodes of its factors, of this type."""
    out = set(network.out)
    parts = []
    for i, (operand, factor) in enumerate(zip(operands, network.factors, strict=True)):
        others = out.union(*(f.axes for j, f in enumerate(network.factors) if j != i))
        parts.append(_single(operand, factor.axes, others, type.dtype))
    path = order(network).path
    for pair in path:
        taken = [parts.pop(i) for i in sorted(pair, reverse=True)][::-1]
        kept = out.union(*(p.axes for p in parts))
        wanted = network.out if not parts else ()
        parts.append(_pair(taken[0], taken[1], kept, wanted, network, type.dtype))
    return _finished(parts[0] if parts else None, network, type)


def _single(operand: Expr, axes: Axes, others: set[Axis], dtype: Any) -> _Part:
    """A factor of which diagonals are read and axes of its own are summed."""
    own = tuple(dict.fromkeys(axes))
    kept = tuple(a for a in own if a in others)
    if len(kept) < len(axes):
        operand = _number(operand, dtype)
    if len(own) < len(axes):
        return _Part(einsum(operand, indices=(axes,), out=kept), kept)
    summed = tuple(i for i, a in enumerate(axes) if a not in others)
    return _Part(reduce_sum(operand, axes=summed) if summed else operand, kept)


def _number(node: Expr, dtype: Any) -> Expr:
    """Truth values as 1 and 0: only these can be added."""
    return convert(node, dtype=dtype) if node.dtype == bool else node


def _pair(x: _Part, y: _Part, kept: set[Axis], wanted: Axes, network: Network, dtype: Any) -> _Part:
    union = tuple(dict.fromkeys((*x.axes, *y.axes)))
    left = tuple(a for a in union if a in kept)
    if len(left) < len(union) and x.node.dtype == y.node.dtype == bool:
        x = _Part(_number(x.node, dtype), x.axes)
    axes = tuple(a for a in dict.fromkeys(wanted) if a in left) if wanted else left
    truths = x.node.dtype == bool or y.node.dtype == bool
    if len(left) == len(union) or truths:
        target = axes if len(left) == len(union) else union
        product = _entrywise(x, y, target, network.sizes)
        if target is axes:
            return _Part(product, axes)
        summed = tuple(i for i, a in enumerate(union) if a not in kept)
        return _Part(reduce_sum(product, axes=summed), left)
    # What was a sum of products of numbers keeps their precision, whatever that of matrices is.
    precision = EXACT if network.precision is ANY else network.precision
    node = einsum(x.node, y.node, indices=(x.axes, y.axes), out=axes, precision=precision)
    return _Part(node, axes)


def _entrywise(x: _Part, y: _Part, axes: Axes, sizes: Mapping[Axis, int]) -> Expr:
    a, b = (_spread(p, axes, sizes) for p in (x, y))
    if a.dtype != bool and b.dtype != bool:
        return a * b
    if a.dtype == bool and b.dtype == bool:
        return select(a, b, full(False, b.type))
    which, kept = (a, b) if a.dtype == bool else (b, a)
    shape = tuple(sizes[i] for i in axes)
    kept = kept if kept.shape == shape else broadcast(kept, shape=shape, axes=())
    return select(which, kept, full(0, kept.type))


def _spread(part: _Part, axes: Axes, sizes: Mapping[Axis, int]) -> Expr:
    """A part with these axes, in this order; one number stays one."""
    if not part.axes and part.node.dtype != bool:
        return part.node
    shape = tuple(sizes[a] for a in axes)
    return _placed(part.node, part.axes, axes, shape)


def _placed(node: Expr, own: Axes, axes: Axes, shape: tuple[int, ...]) -> Expr:
    places = [axes.index(a) for a in own]
    if len(own) == len(axes):
        if own == axes:
            return node
        return transpose(node, permutation=tuple(own.index(a) for a in axes))
    by_place = tuple(sorted(range(len(own)), key=places.__getitem__))
    if by_place != tuple(range(len(own))):
        node = transpose(node, permutation=by_place)
    return broadcast(node, shape=shape, axes=tuple(sorted(places)))


def _finished(part: _Part | None, network: Network, type: Type) -> Expr:
    """Scaled, repeated along the axes that no factor has, and put on its diagonals."""
    axes = tuple(dict.fromkeys(network.out))
    shape = tuple(network.sizes[a] for a in axes)
    if part is None:
        found = full(network.scale, type.with_shape(shape))
    else:
        node = _number(part.node, type.dtype)
        node = node if network.scale == 1 else _times(node, network.scale)
        found = _placed(node, part.axes, axes, shape)
    if network.diagonal:
        found = _on_diagonals(found, axes, network.out, type)
    return found


def _times(node: Expr, scale: float) -> Expr:
    return -node if scale == -1 else node * constant(scale, node.dtype)


def _on_diagonals(core: Expr, axes: Axes, out: Axes, type: Type) -> Expr:
    """Zeros, and the entries of `core` where the positions along equal axes are equal."""
    first = {a: out.index(a) for a in axes}
    whole = broadcast(core, shape=type.shape, axes=tuple(first[a] for a in axes))
    mask: Any = None
    for i, a in enumerate(out):
        if first[a] == i:
            continue
        n = type.shape[i]
        count = iota(shape=(n,), dtype="int32", axis=0)
        same = eq(*(broadcast(count, shape=type.shape, axes=(k,)) for k in (first[a], i)))
        mask = same if mask is None else select(mask, same, full(False, same.type))
    return select(mask, whole, full(0, whole.type))
