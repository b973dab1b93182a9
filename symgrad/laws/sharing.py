"""Laws about whole graphs: what is computed anyway is read, not computed again."""

from __future__ import annotations

from symgrad.expr import Expr
from symgrad.laws.algebra import scale_of
from symgrad.ops.shape import broadcast, reduce_sum, reshape_op, transpose
from symgrad.walk import Graph, exchanged

LINEAR = (reduce_sum, reshape_op, transpose, broadcast)


def share_scaled(graph: Graph) -> Graph:
    """c L(x) = L(c x) where c x is in the graph already.

    Scale factors were moved outward to let equal terms meet; here they go back to where
    a scaled value has other users.
    """
    nodes = graph.nodes
    alive = set(nodes)
    replacement: dict[Expr, Expr] = {}
    for node in nodes:
        scale = scale_of(node)
        if scale is None or scale[0].op not in LINEAR:
            continue
        moved, factor, divides = scale
        (x,) = moved.args
        scaled = x / factor if divides else x * factor
        if scaled in alive:
            replacement[node] = moved.op(scaled, **moved.params)
    return exchanged(graph, replacement)
