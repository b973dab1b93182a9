"""Functions of one operand that share work: a pass over a whole graph, before it is printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from symgrad.expr import Expr, Op, add, mul, neg, sub
from symgrad.ops import companions
from symgrad.ops.pointwise import logistic, logistic_slope, softplus
from symgrad.ops.reduce import logsumexp, softmax
from symgrad.walk import UNKNOWN, Graph, exchanged, map_bodies, map_graphs

BY_DISTANCE = {
    logistic: (companions.sigmoid, companions.sigmoid_of_minus),
    softplus: (companions.softplus, companions.softplus_of_minus),
    logistic_slope: (logistic_slope, logistic_slope),
}
"""Functions that exp(-|x|) is enough for: of x, and of -x."""

Change = tuple[Op, tuple[Expr, ...]]
"""Another operation, and its operands."""


def with_companions(graph: Graph) -> Graph:
    """`graph` with functions computed together where that is less work, in loop bodies too."""
    graph = map_bodies(graph, lambda node: map_graphs(node.params, with_companions))
    graph = _with_products_of_others(_with_one_shift(graph))
    changes = _by_distance(graph.nodes) | _beside_softmax(graph.nodes)
    if not changes:
        return graph
    new: dict[Expr, Expr] = {}
    origins = dict(graph.origins)
    for node in graph.nodes:
        op, args = changes.get(node, (node.op, node.args))
        args = tuple(new[a] for a in args)
        same = op is node.op and args == node.args
        new[node] = node if same else op(*args, **node.params)
        origins.setdefault(new[node], graph.origins.get(node, UNKNOWN))
    return graph.with_roots([new[r] for r in graph.roots], origins)


def _by_distance(nodes: Sequence[Expr]) -> dict[Expr, Change]:
    """What takes the place of functions of x and -x that would need several exponentials."""
    rank = {node: i for i, node in enumerate(nodes)}
    families: dict[Expr, list[tuple[Expr, bool]]] = {}
    for node in nodes:
        # Half precision would round between the steps, which JAX takes in single.
        if node.op in BY_DISTANCE and node.dtype in (np.float32, np.float64):
            x, turned = _unsigned(node.args[0], rank)
            families.setdefault(x, []).append((node, turned))
    return {
        node: (BY_DISTANCE[node.op][turned], (x,))
        for x, members in families.items()
        if len({_exponential(node.op, turned) for node, turned in members}) > 1
        for node, turned in members
    }


def _unsigned(x: Expr, rank: Mapping[Expr, int]) -> tuple[Expr, bool]:
    """One operand for x and -x, and whether it is the opposite of this one."""
    if x.op is neg:
        return x.args[0], True
    if x.op is sub:
        opposite = sub(x.args[1], x.args[0])
        if rank.get(opposite, len(rank)) < rank[x]:
            return opposite, True
    return x, False


def _exponential(op: Op, turned: bool) -> tuple[str, bool]:
    """What JAX's own function takes the exponential of."""
    return ("x", turned) if op is logistic else ("|x|", turned and op is softplus)


def _with_products_of_others(graph: Graph) -> Graph:
    found = ((n, companions.as_product_of_others(n)) for n in graph.nodes if n.op is mul)
    return exchanged(graph, {old: new for old, new in found if new is not None})


def _with_one_shift(graph: Graph) -> Graph:
    """softmax(x + c) for softmax(x) where the logarithm of the sum is that of x + c."""
    sums = {_unshifted(n): n.args[0] for n in graph.nodes if n.op is logsumexp}
    moved: dict[Expr, Expr] = {}
    for node in graph.nodes:
        if node.op is softmax and sums.get(_unshifted(node), node.args[0]) is not node.args[0]:
            moved[node] = softmax(sums[_unshifted(node)], **node.params)
    return exchanged(graph, moved)


def _beside_softmax(nodes: Sequence[Expr]) -> dict[Expr, Change]:
    """Logarithms of sums of exponentials that a softmax takes too."""
    known = {(n.args[0], n.params["axis"]) for n in nodes if n.op is softmax}
    return {
        n: (companions.logsumexp, n.args)
        for n in nodes
        if n.op is logsumexp and (n.args[0], n.params["axis"]) in known
    }


def _unshifted(e: Expr) -> tuple[Expr, int]:
    """The operand, less numbers that were added to all of it, and the axis."""
    (x,) = e.args
    while x.op in (add, sub) and x.args[0].ndim and not x.args[1].ndim:
        x = x.args[0]
    return x, e.params["axis"]
