"""Where the nodes of a graph stand in a picture.

The function runs down the left side and its derivative up the right side, as cotangents do.
Within a side a node stands just before the first node that needs it; along a level, nodes are
ordered by the middle of their neighbours, so that few edges cross.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

SWEEPS = 8
GAP = 0.8

Node = Any
"""What a graph of symgrad is made of: has `op` and `args`."""

Place = tuple[float, float]
Levels = list[list[Node]]


class Drawing(NamedTuple):
    """Places and labels of the nodes; `y` grows downwards, a level is one unit."""

    places: dict[Node, Place]
    labels: dict[Node, str]
    edges: list[tuple[Node, Node]]
    """Pairs of a user and one of its operands."""
    forward: set[Node]
    width: float
    height: float


def lay_out(graph: Any, forward: Collection[Node]) -> Drawing:
    """Draw all of a graph but its literals.

    Args:
        forward: the nodes that belong to the function; an input stands beside what needs it.
    """
    nodes = [node for node in graph.nodes if node.args or node in graph.inputs]
    kept, forward = set(nodes), {node for node in forward if node.args}
    edges = [(user, arg) for user in nodes for arg in dict.fromkeys(user.args) if arg in kept]
    left = forward | {arg for user, arg in edges if user in forward}
    down = levels([node for node in nodes if node in left], edges)
    up = levels([node for node in nodes if node not in left], edges)
    for side in (down, up):
        order(side, edges)
    return _assemble(graph, down, up, edges)


def levels(nodes: Sequence[Node], edges: Sequence[tuple[Node, Node]]) -> Levels:
    """Operands above their users, as near to them as the longest path allows.

    `edges` come in the order of their users, operands first.
    """
    inside = [(user, arg) for user, arg in edges if {user, arg} <= set(nodes)]
    depth = dict.fromkeys(nodes, 0)
    for user, arg in inside:
        depth[user] = max(depth[user], depth[arg] + 1)
    users = {arg for _, arg in inside}
    latest = {node: len(nodes) if node in users else depth[node] for node in nodes}
    for user, arg in reversed(inside):
        latest[arg] = min(latest[arg], latest[user] - 1)
    found: Levels = [[] for _ in range(1 + max(depth.values(), default=0))]
    for node in nodes:
        found[latest[node]].append(node)
    return found


def order(side: Levels, edges: Sequence[tuple[Node, Node]]) -> None:
    """Sort each level by the mean position of its nodes' neighbours, some times over."""
    neighbours: dict[Node, list[Node]] = {node: [] for level in side for node in level}
    for user, arg in edges:
        if user in neighbours and arg in neighbours:
            neighbours[user].append(arg)
            neighbours[arg].append(user)
    position = {node: x for level in side for node, x in _centred(level)}
    for sweep in range(SWEEPS):
        for level in side if sweep % 2 == 0 else reversed(side):
            level.sort(key=lambda node: _mean(position, neighbours[node], position[node]))
            position.update(_centred(level))


def _mean(position: dict[Node, float], nodes: Sequence[Node], default: float) -> float:
    return sum(position[n] for n in nodes) / len(nodes) if nodes else default


def _centred(level: Sequence[Node]) -> list[tuple[Node, float]]:
    return [(node, i - (len(level) - 1) / 2) for i, node in enumerate(level)]


def _assemble(graph: Any, down: Levels, up: Levels, edges: list[tuple[Node, Node]]) -> Drawing:
    left, right = (max(map(len, side), default=0) for side in (down, up))
    height = max(len(down), len(up))
    places = {}
    for row, level in enumerate(down):
        places |= {node: (x + (left - 1) / 2, row) for node, x in _centred(level)}
    for row, level in enumerate(up):
        centre = left + GAP + (right - 1) / 2
        places |= {node: (centre + x, height - 1 - row) for node, x in _centred(level)}
    names = dict(zip(graph.inputs, graph.names, strict=False))
    labels = {node: names.get(node, node.op.name) for node in places}
    return Drawing(places, labels, edges, set().union(*down), left + GAP + right, height)
