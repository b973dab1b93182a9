"""A graph evaluated for a stack of values, operation by operation.

What `batch` leaves to `jax.vmap` is written out here, so that the laws see through it: the
products with a stack of unit vectors that a Jacobian is made of are products with an identity.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace

from symgrad.expr import Expr, Op, Shape, add, constant, div, mul, neg, sub
from symgrad.ops.contract import einsum, einsum_op
from symgrad.ops.index import dynamic_slice_op, dynamic_update_slice_op, gather_op, scatter_add
from symgrad.ops.indexing import Indexing
from symgrad.ops.matrix import tril, triu
from symgrad.ops.pointwise import select
from symgrad.ops.reduce import cumsum, inner_product, log_softmax_slope, off_share, softmax_slope
from symgrad.ops.shape import (
    broadcast,
    concatenate,
    pad,
    reduce_sum,
    reshape,
    reshape_op,
    reverse,
    slice_,
    transpose,
)
from symgrad.walk import dependents, topological


def stacked(
    sources: Sequence[Expr], outputs: Sequence[Expr], stacks: Sequence[Expr], lead: Shape
) -> tuple[Expr, ...] | None:
    """`outputs` for each entry of a stack: `sources[i]` takes the entries of `stacks[i]`.

    Args:
        lead: the shape of the stack, in front of the shape of each source.

    Returns:
        The outputs, with the same shape in front; those that depend on no source are
        repeated. None if an operation is not one that can be written out.
    """
    order = topological(outputs)
    varying = dependents(order, sources)
    if not _can_be_written(varying.difference(sources)):
        return None
    found = dict(zip(sources, stacks, strict=True))
    for node in order:
        if node in varying and node not in found:
            found[node] = _stacked_node(node, found, lead)
    return tuple(found[o] if o in found else _repeated(o, lead) for o in outputs)


def stacked_sums(
    sources: Sequence[Expr], outputs: Sequence[Expr], stacks: Sequence[Expr], lead: Shape
) -> tuple[Expr, ...] | None:
    """The sums over the stack of what `stacked` gives.

    A sum commutes with every operation that is linear in what varies: it is taken as early as
    that allows, so that what follows is computed once, not for every entry of the stack. This is
    the forward Laplacian of R. Li et al., A computational framework for neural network-based
    variational Monte Carlo with forward Laplacian (2024), as one law.
    """
    order = topological(outputs)
    varying = dependents(order, sources)
    if not _can_be_written(varying.difference(sources)):
        return None
    early = _summed_early(order, outputs, varying, set(sources))
    entire = {
        a for n in order if n in varying and n not in early for a in n.args if a in varying
    } | {n for n in early if n in sources or not _is_linear(n, varying)}
    for node in reversed(order):
        if node in entire:
            entire.update(a for a in node.args if a in varying)
    found = dict(zip(sources, stacks, strict=True))
    for node in order:
        if node in entire and node not in found:
            found[node] = _stacked_node(node, found, lead)
    axes, count = _all(lead), math.prod(lead)
    total: dict[Expr, Expr] = {}
    for node in order:
        if node not in early:
            continue
        if node in found:
            total[node] = reduce_sum(found[node], axes=axes) if lead else found[node]
        else:
            joint = node.op in (add, sub)
            operands = [total[a] if a in varying else a * count if joint else a for a in node.args]
            total[node] = node.op(*operands, **node.params)
    return tuple(total[o] if o in total else o * count for o in outputs)


def _summed_early(
    order: Sequence[Expr], outputs: Sequence[Expr], varying: Set[Expr], sources: Set[Expr]
) -> set[Expr]:
    """The nodes of which only the sum is needed, found from the outputs down."""
    wanted = {o for o in outputs if o in varying}
    for node in reversed(order):
        if node in wanted and node not in sources and _is_linear(node, varying):
            wanted.update(a for a in node.args if a in varying)
    return wanted


def _is_linear(node: Expr, varying: Set[Expr]) -> bool:
    """Whether an operation is linear in its operands that vary, taken together."""
    moving = [i for i, a in enumerate(node.args) if a in varying]
    if not node.type.inexact:
        return False
    if node.op in (mul, einsum_op):
        return len(moving) == 1
    if node.op in (div, softmax_slope, log_softmax_slope):
        return moving == [0]
    if node.op is select:
        return 0 not in moving and len(moving) == 2
    return node.op in (add, sub, neg) or (
        node.op in RULES and node.op is not dynamic_update_slice_op
    )


def _can_be_written(nodes: Set[Expr]) -> bool:
    return all(n.op in RULES or n.op.elementwise for n in nodes)


def _repeated(x: Expr, lead: Shape) -> Expr:
    """The same array for every entry of the stack."""
    return broadcast(x, shape=(*lead, *x.shape), axes=tuple(range(len(lead), len(lead) + x.ndim)))


def _stacked_node(node: Expr, found: Mapping[Expr, Expr], lead: Shape) -> Expr:
    if node.op.elementwise:
        return _elementwise(node, found, lead)
    if node.op is einsum_op:
        return _einsum(node, found, lead)
    rule = RULES[node.op]
    changing = JOINT.get(node.op, 1)
    operands = [
        found[a] if a in found else _repeated(a, lead) for a in node.args[: changing or None]
    ]
    others = node.args[changing:] if changing else ()
    return rule(node, operands, others, lead)


def _elementwise(node: Expr, found: Mapping[Expr, Expr], lead: Shape) -> Expr:
    operands = []
    for a in node.args:
        if a in found:
            x = found[a]
            # One number for each entry of the stack reaches all of its array.
            axes = tuple(range(len(lead)))
            spread = a.ndim == 0 and node.ndim
            operands.append(broadcast(x, shape=(*lead, *node.shape), axes=axes) if spread else x)
        else:
            operands.append(_repeated(a, lead) if a.ndim else a)
    return node.op(*operands, **node.params)


def _einsum(node: Expr, found: Mapping[Expr, Expr], lead: Shape) -> Expr:
    p = node.params
    used = {i for names in (*p["indices"], p["out"]) for i in names}
    start = max(used, default=-1) + 1
    front = tuple(range(start, start + len(lead)))
    operands = [found.get(a, a) for a in node.args]
    indices = tuple(
        (*front, *names) if a in found else names
        for a, names in zip(node.args, p["indices"], strict=True)
    )
    return einsum(*operands, **{**p, "indices": indices, "out": (*front, *p["out"])})


Rule = Callable[[Expr, list[Expr], Sequence[Expr], Shape], Expr]


def _shift(axes: Sequence[int], lead: Shape) -> tuple[int, ...]:
    return tuple(a + len(lead) for a in axes)


def _all(lead: Shape) -> tuple[int, ...]:
    return tuple(range(len(lead)))


def _broadcast(node: Expr, xs: list[Expr], others: Sequence[Expr], lead: Shape) -> Expr:
    axes = (*_all(lead), *_shift(node.params["axes"], lead))
    return broadcast(xs[0], shape=(*lead, *node.shape), axes=axes)


def _transpose(node: Expr, xs: list[Expr], others: Sequence[Expr], lead: Shape) -> Expr:
    return transpose(xs[0], permutation=(*_all(lead), *_shift(node.params["permutation"], lead)))


def _slice(node: Expr, xs: list[Expr], others: Sequence[Expr], lead: Shape) -> Expr:
    p, zeros = node.params, (0,) * len(lead)
    ones = (1,) * len(lead)
    return slice_(
        xs[0], start=(*zeros, *p["start"]), stop=(*lead, *p["stop"]), step=(*ones, *p["step"])
    )


def _pad(node: Expr, xs: list[Expr], others: Sequence[Expr], lead: Shape) -> Expr:
    zeros = (0,) * len(lead)
    params = {name: (*zeros, *node.params[name]) for name in ("low", "high", "interior")}
    return pad(xs[0], *others, **params)


def _along_axes(node: Expr, xs: list[Expr], others: Sequence[Expr], lead: Shape) -> Expr:
    return node.op(*xs, **{**node.params, "axes": _shift(node.params["axes"], lead)})


def _along_axis(node: Expr, xs: list[Expr], others: Sequence[Expr], lead: Shape) -> Expr:
    return node.op(*xs, **{**node.params, "axis": node.params["axis"] + len(lead)})


def _softmax_slope(node: Expr, xs: list[Expr], others: Sequence[Expr], lead: Shape) -> Expr:
    """As a sum of products, so that one with an identity is a difference of two matrices."""
    x, weights = xs
    return weights * (x - inner_product(weights, x, node.params["axis"] + len(lead)))


def _log_softmax_slope(node: Expr, xs: list[Expr], others: Sequence[Expr], lead: Shape) -> Expr:
    x, weights = xs
    return off_share(x, weights, node.params["axis"] + len(lead))


def _matrices(node: Expr, xs: list[Expr], others: Sequence[Expr], lead: Shape) -> Expr:
    return node.op(*xs, **node.params)


def _windows(node: Expr, xs: list[Expr], others: Sequence[Expr], lead: Shape) -> Expr:
    return node.op(*xs, *others, indexing=_deeper(node.params["indexing"], lead))


def _deeper(old: Indexing, lead: Shape) -> Indexing:
    """Windows that reach through the axes of the stack."""
    return replace(
        old,
        slice_sizes=(*lead, *old.slice_sizes),
        starts=(*(0 for _ in lead), *old.starts),
        start_index_map=_shift(old.start_index_map, lead),
        collapsed_slice_dims=_shift(old.collapsed_slice_dims, lead),
        offset_dims=(*_all(lead), *_shift(old.offset_dims, lead)),
        operand_batching_dims=_shift(old.operand_batching_dims, lead),
    )


def _moving_slice(node: Expr, xs: list[Expr], others: Sequence[Expr], lead: Shape) -> Expr:
    dtype = others[0].dtype
    starts = (*(constant(0, dtype, weak=False) for _ in lead), *others)
    params = dict(node.params)
    if "slice_sizes" in params:
        params["slice_sizes"] = (*lead, *params["slice_sizes"])
    return node.op(*xs, *starts, **params)


JOINT: dict[Op, int] = {
    concatenate: 0,
    softmax_slope: 0,
    log_softmax_slope: 0,
    scatter_add: 2,
    dynamic_update_slice_op: 2,
}
"""How many operands vary with the stack, where that is not the first alone; 0 for all."""

RULES: dict[Op, Rule] = {
    broadcast: _broadcast,
    reshape_op: lambda node, xs, others, lead: reshape(xs[0], shape=(*lead, *node.shape)),
    transpose: _transpose,
    slice_: _slice,
    pad: _pad,
    reduce_sum: _along_axes,
    reverse: _along_axes,
    concatenate: _along_axis,
    cumsum: _along_axis,
    softmax_slope: _softmax_slope,
    log_softmax_slope: _log_softmax_slope,
    tril: _matrices,
    triu: _matrices,
    gather_op: _windows,
    scatter_add: _windows,
    dynamic_slice_op: _moving_slice,
    dynamic_update_slice_op: _moving_slice,
    einsum_op: _matrices,
}
