"""Laws about whole graphs: what is computed anyway is read, not computed again."""

from __future__ import annotations

from symgrad.expr import Expr, Op
from symgrad.laws.algebra import scale_of
from symgrad.ops.shape import broadcast, reduce_sum, reshape_op, transpose
from symgrad.walk import Graph, Origin, exchanged, map_bodies, map_graphs, rebuild

LINEAR = (reduce_sum, reshape_op, transpose, broadcast)


def shared(graph: Graph) -> Graph:
    """`graph` without what it computes twice, written in two ways."""
    return share_scaled(merge_commuted(graph))


def merge_commuted(graph: Graph) -> Graph:
    """x y and y x are one node, written as the first of them is; so in loop bodies."""
    graph = map_bodies(graph, lambda node: map_graphs(node.params, merge_commuted))
    first: dict[tuple[Op, frozenset[Expr]], Expr] = {}
    done: dict[Expr, Expr] = {}
    for node in graph.nodes:
        done[node] = rebuild(node, tuple(done[a] for a in node.args))
        if node.op.commutative and not node.params:
            done[node] = first.setdefault((node.op, frozenset(done[node].args)), done[node])
    if all(old is new for old, new in done.items()):
        return graph
    origins: dict[Expr, Origin] = {}
    for node, origin in graph.origins.items():
        origins.setdefault(done.get(node, node), origin)
    return graph.with_roots([done[r] for r in graph.roots], origins)


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
