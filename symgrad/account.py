"""What each rule and each stage changed of a program's size, so that nothing is left over."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from symgrad.cost import Cost, cost
from symgrad.rewrite import Step
from symgrad.walk import Graph, exchanged, map_bodies, map_graphs

MOST_WORK = 1_000_000
"""Nodes times steps up to which the steps of a stage are gone through one by one."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A program after one stage of its compilation.

    Attributes:
        fired: how many rules had fired by then.
        cost: of the graph.
    """

    name: str
    graph: Graph
    fired: int
    cost: Cost

    @classmethod
    def of(cls, name: str, graph: Graph, steps: Sequence[Step]) -> Stage:
        return cls(name, graph, len(steps), cost(graph))


@dataclass(frozen=True, slots=True)
class Change:
    """How many nodes and floating-point operations came, or went if negative."""

    nodes: int = 0
    flops: int = 0

    def __add__(self, other: Change) -> Change:
        return Change(self.nodes + other.nodes, self.flops + other.flops)


def changes(stages: Sequence[Stage], steps: Sequence[Step]) -> Mapping[str, Change]:
    """The changes by the name of the rule, or of the stage in brackets for what no rule did.

    They add up to the difference between the last stage and the first.
    """
    found: dict[str, Change] = {}

    def note(name: str, before: Graph, after: Graph) -> None:
        then, now = cost(before), cost(after)
        change = Change(now.nodes - then.nodes, now.flops - then.flops)
        found[name] = found.get(name, Change()) + change

    for earlier, later in itertools.pairwise(stages):
        graph, own = earlier.graph, steps[earlier.fired : later.fired]
        if len(own) * len(graph) <= MOST_WORK:
            for step in own:
                after = _applied(graph, step)
                note(step.rule.name, graph, after)
                graph = after
        note(f"({later.name})", graph, later.graph)
    return found


def _applied(graph: Graph, step: Step) -> Graph:
    """A graph with one step taken, in the body of a loop or branch if it belongs there."""
    if step.before in set(graph.nodes):
        return exchanged(graph, {step.before: step.after})
    return map_bodies(graph, lambda n: map_graphs(n.params, lambda g: _applied(g, step)))
