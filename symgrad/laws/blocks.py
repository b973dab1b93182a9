"""What arrays are known to hold: diagonals, blocks of zeros, comparisons of counters."""

from __future__ import annotations

import functools
import itertools
import operator

import numpy as np

from symgrad.expr import Expr, add, constant
from symgrad.ops.contract import einsum, einsum_op
from symgrad.ops.index import gather_op, scatter_add
from symgrad.ops.pointwise import convert_op, eq, ge, gt, le, lt, select
from symgrad.ops.shape import (
    broadcast,
    concatenate,
    full,
    iota,
    pad,
    slice_,
    spread,
    uniform_value,
)
from symgrad.pattern import rewrites
from symgrad.structure import bounds

LARGEST_SUM = 8
"""Terms among which blocks are looked for."""

# Comparisons of counters


@rewrites(lt, le, gt, ge, exact=True)
def comparison_of_bounded_integers(e: Expr) -> Expr | None:
    """x < y is known where all x are below, or none are"""
    x, y = e.args
    if any(not np.issubdtype(a.dtype, np.integer) for a in e.args):
        return None
    if e.op in (gt, le):
        x, y = y, x
    low, high = bounds(x), bounds(y)
    strict = e.op in (lt, gt)
    if low.high < high.low:
        below = True
    elif low.low >= high.high:
        below = False
    else:
        return None
    return spread(constant(below if strict else not below, bool), e.shape)


@rewrites(convert_op, exact=True)
def counting_in_another_type(e: Expr) -> Expr | None:
    """A counter of another integer type is a counter"""
    (x,) = e.args
    if x.op is not iota or not np.issubdtype(e.dtype, np.integer):
        return None
    fits = x.shape[x.params["axis"]] - 1 <= min(np.iinfo(t.dtype).max for t in (x, e))
    return iota(**{**x.params, "dtype": e.dtype}) if fits else None


# Diagonals


def _diagonal(e: Expr, operands: int) -> bool:
    """Whether the windows are the entries along the diagonal of a matrix of any rank."""
    x, indices, indexing = e.args[0], e.args[operands:], e.params["indexing"]
    n = len(indices)
    return (
        n > 1
        and indexing.start_index_map == tuple(range(n)) == tuple(range(x.ndim))
        and indexing.collapsed_slice_dims == tuple(range(n))
        and all(
            i.op is iota and i.ndim == 1 and i.shape == (s,)
            for i, s in zip(indices, x.shape, strict=True)
        )
    )


@rewrites(gather_op, exact=True)
def entries_of_the_diagonal(e: Expr) -> Expr | None:
    """x[arange(n), arange(n)] is the diagonal of x"""
    if not _diagonal(e, 1):
        return None
    x = e.args[0]
    return einsum(x, indices=((0,) * x.ndim,), out=(0,))


@rewrites(scatter_add, exact=True)
def diagonal_from_entries(e: Expr) -> Expr | None:
    """zeros.at[arange(n), arange(n)].add(x) is zero where the row is not the column"""
    x, updates = e.args[:2]
    if x.ndim != 2 or uniform_value(x) != 0 or not _diagonal(e, 2):
        return None
    (n, _) = x.shape
    counter = iota(shape=(n,), dtype=np.dtype("int32"), axis=0)
    same = eq(*(broadcast(counter, shape=x.shape, axes=(a,)) for a in (0, 1)))
    return select(same, broadcast(updates, shape=x.shape, axes=(0,)), full(0, x.type))


# Blocks of zeros


def _zero(e: Expr) -> bool:
    return uniform_value(e) == 0


@rewrites(concatenate, exact=True)
def blocks_of_zeros_around(e: Expr) -> Expr | None:
    """[0, x, 0] is x with zeros around it"""
    axis, parts = e.params["axis"], e.args
    rest = [i for i, p in enumerate(parts) if not _zero(p)]
    if len(rest) != 1 or len(parts) == 1 or not e.type.inexact:
        return None
    (kept,) = rest
    before = sum(p.shape[axis] for p in parts[:kept])
    after = sum(p.shape[axis] for p in parts[kept + 1 :])
    return _padded(parts[kept], axis, before, after)


def _padded(x: Expr, axis: int, before: int, after: int) -> Expr:
    low = tuple(before if a == axis else 0 for a in range(x.ndim))
    high = tuple(after if a == axis else 0 for a in range(x.ndim))
    return pad(x, constant(0, x.dtype), low=low, high=high, interior=(0,) * x.ndim)


def _is_zero_padding(e: Expr) -> bool:
    if e.op is not pad or uniform_value(e.args[1]) != 0:
        return False
    p = e.params
    return min((*p["low"], *p["high"])) >= 0


@rewrites(add, exact=False)
def sum_of_blocks_side_by_side(e: Expr) -> Expr | None:
    """[x, 0] + [0, y] = [x, y]"""
    terms = _added(e)
    blocks = [t for t in terms if _is_zero_padding(t) and len(_padded_axes(t)) == 1]
    for x, y in itertools.permutations(blocks, 2):
        (axis,) = _padded_axes(x)
        size = x.args[0].shape[axis]
        if _padded_axes(y) == [axis] and y.params["low"][axis] == x.params["low"][axis] + size:
            both = concatenate(*_parts(x.args[0], axis), *_parts(y.args[0], axis), axis=axis)
            whole = _padded(both, axis, x.params["low"][axis], y.params["high"][axis])
            rest = [t for t in terms if t is not x and t is not y]
            return functools.reduce(operator.add, rest, whole)
    return None


def _parts(x: Expr, axis: int) -> tuple[Expr, ...]:
    return x.args if x.op is concatenate and x.params["axis"] == axis else (x,)


def _added(e: Expr) -> list[Expr]:
    """The terms of a sum of few."""
    found, stack = [], [e]
    while stack:
        node = stack.pop()
        if node.op is add and len(stack) + len(found) < LARGEST_SUM:
            stack.extend(node.args)
        else:
            found.append(node)
    return found


def _padded_axes(e: Expr) -> list[int]:
    p = e.params
    if any(p["interior"]):
        return []
    return [a for a in range(e.ndim) if p["low"][a] or p["high"][a]]


@rewrites(pad, exact=True)
def zeros_around_zeros(e: Expr) -> Expr | None:
    """Zeros around zeros around x are zeros around x"""
    (x, _) = e.args
    if not (_is_zero_padding(e) and _is_zero_padding(x)):
        return None
    if any((*e.params["interior"], *x.params["interior"])):
        return None
    sums = {
        name: tuple(a + b for a, b in zip(e.params[name], x.params[name], strict=True))
        for name in ("low", "high")
    }
    return pad(*x.args, **sums, interior=e.params["interior"])


@rewrites(einsum_op, exact=False, protects="zero times infinity")
def product_with_zeros_around(e: Expr) -> Expr | None:
    """[x, 0] y = x y₁, and the same for rows: what is multiplied by zeros is not read"""
    p = e.params
    for position, (x, names) in enumerate(zip(e.args, p["indices"], strict=True)):
        if not _is_zero_padding(x) or len(set(names)) < len(names):
            continue
        found = _within_padding(e, position, names)
        if found is not None:
            return found
    return None


def _within_padding(e: Expr, position: int, names: tuple[int, ...]) -> Expr | None:
    """The product with what stands between the zeros, and the zeros around the result."""
    p, x = e.params, e.args[position]
    (inner, _), sides = x.args, {}
    for i, axis in enumerate(names):
        side = tuple(x.params[k][i] for k in ("low", "high", "interior"))
        if any(side):
            sides[axis] = side
    if len(set(p["out"])) < len(p["out"]) or 0 in inner.shape:
        return None
    sizes = dict(zip(names, inner.shape, strict=True))
    cut = {a: _between(low, sizes[a], gap) for a, (low, _, gap) in sides.items()}
    operands = [
        inner if i == position else _cut(arg, own, cut)
        for i, (arg, own) in enumerate(zip(e.args, p["indices"], strict=True))
    ]
    product = einsum(*operands, **p)
    if sides.keys().isdisjoint(p["out"]):
        return product
    low, high, interior = zip(*(sides.get(a, (0, 0, 0)) for a in p["out"]), strict=True)
    return pad(product, constant(0, e.dtype), low=low, high=high, interior=interior)


Cut = tuple[int, int, int]


def _between(low: int, size: int, gap: int) -> Cut:
    """Where what zeros were put around is, as a slice."""
    return low, low + (size - 1) * (gap + 1) + 1, gap + 1


def _cut(x: Expr, names: tuple[int, ...], cut: dict[int, Cut]) -> Expr:
    if cut.keys().isdisjoint(names):
        return x
    parts = [cut.get(a, (0, n, 1)) for a, n in zip(names, x.shape, strict=True)]
    start, stop, step = zip(*parts, strict=True)
    return slice_(x, start=start, stop=stop, step=step)


@rewrites(einsum_op, exact=False)
def product_with_stacked_blocks(e: Expr) -> Expr | None:
    """[x; y] z = [x z; y z], where a block of the stack has zeros that need no product"""
    p = e.params
    for position, (x, names) in enumerate(zip(e.args, p["indices"], strict=True)):
        if x.op is not concatenate or not any(map(_is_zero_padding, x.args)):
            continue
        along = names[x.params["axis"]]
        others = [n for i, n in enumerate(p["indices"]) if i != position]
        if p["out"].count(along) != 1 or any(along in n for n in others):
            continue
        parts = [
            einsum(*e.args[:position], block, *e.args[position + 1 :], **p) for block in x.args
        ]
        return concatenate(*parts, axis=p["out"].index(along))
    return None
