"""Laws about sorting, over whole graphs: what is sorted by the same keys is sorted once."""

from __future__ import annotations

from symgrad.expr import Expr, results
from symgrad.ops.order import sort
from symgrad.walk import Graph, substitute


def merge_sorts(graph: Graph) -> Graph:
    """A sort that another sort repeats, with more operands moved along, is read off that other.

    Differentiation sorts positions along with the keys, to see where they went.
    """
    sorts = [n for n in graph.nodes if n.op is sort]
    replacement: dict[Expr, Expr] = {}
    for small in sorts:
        big = next((b for b in sorts if _repeats(small, b)), None)
        if big is not None:
            replacement |= dict(zip(results(small), results(big), strict=False))
    if not replacement:
        return graph
    return graph.with_roots(substitute(graph.roots, replacement), graph.origins)


def _repeats(small: Expr, big: Expr) -> bool:
    """Whether the first results of `big` are those of `small`."""
    count = len(small.args)
    more = len(big.args) > count and big.args[:count] == small.args
    return more and big.params == small.params
