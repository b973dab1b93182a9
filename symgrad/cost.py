"""The price of a graph: operations, FLOPs, bytes moved, and peak live memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np

from symgrad.expr import Expr, Type, item, literal
from symgrad.ops.shape import broadcast
from symgrad.walk import Graph


@dataclass(frozen=True, slots=True)
class Cost:
    """What a graph costs if every operation is run once, on its own.

    XLA fuses operations, so `bytes` and `peak_bytes` are upper bounds to compare
    graphs by; `flops` counts multiplications and additions, transcendental functions
    as several.

    Attributes:
        nodes: operations.
        flops: floating-point operations.
        bytes: bytes read and written.
        peak_bytes: most bytes alive at once, inputs included.
    """

    nodes: int
    flops: int
    bytes: int
    peak_bytes: int


def type_bytes(type: Type) -> int:
    """Bytes of one array; PRNG keys count as 8 bytes an entry."""
    extended = jax.dtypes.issubdtype(type.dtype, jax.dtypes.extended)
    return type.size * (8 if extended else np.dtype(type.dtype).itemsize)


def node_bytes(node: Expr) -> int:
    """Bytes of the results; broadcasts and literals are never stored."""
    if node.op in (broadcast, literal, item):
        return 0
    return sum(type_bytes(t) for t in node.types)


def cost(graph: Graph) -> Cost:
    order = graph.nodes
    inputs = set(graph.inputs)
    work = [n for n in order if n not in inputs and n.op is not item]
    moved = sum(node_bytes(n) + sum(map(node_bytes, n.args)) for n in work)
    return Cost(len(graph), sum(n.flops for n in work), moved, _peak_bytes(order, graph.roots))


def _peak_bytes(order: Sequence[Expr], outputs: Sequence[Expr]) -> int:
    """Most bytes alive when the nodes run in this order and die after their last use."""
    last: dict[Expr, int] = {}
    for i, node in enumerate(order):
        for arg in node.args:
            last[arg] = i
    kept = set(outputs)
    dying: dict[int, int] = {}
    for node, i in last.items():
        if node not in kept:
            dying[i] = dying.get(i, 0) + node_bytes(node)
    alive = peak = 0
    for i, node in enumerate(order):
        alive += node_bytes(node)
        peak = max(peak, alive)
        alive -= dying.get(i, 0)
    return peak
