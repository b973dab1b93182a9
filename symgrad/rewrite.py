"""The rewriting engine: phases of rules, applied bottom-up until nothing changes.

Rules are indexed by the operation at their root; every node is brought to its
normal form once and remembered. The number of rewrites is bounded: a set of
rules that goes in circles stops and says so in the log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from weakref import WeakSet

from symgrad.expr import Expr, Op, literal
from symgrad.pattern import Rule
from symgrad.walk import UNKNOWN, Graph, Origin, Origins, map_graphs, topological

REWRITES_PER_NODE = 40
"""Budget: a graph of n nodes may be rewritten this many times n."""

Phase = tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One use of a rule: what was there, what took its place, and the user's line."""

    rule: Rule
    before: Expr
    after: Expr
    origin: Origin


@dataclass(slots=True)
class Log:
    """What fired, in order; `exhausted` when the budget ended the rewriting."""

    steps: list[Step] = field(default_factory=list)
    exhausted: bool = False

    def copy(self) -> Log:
        return Log(list(self.steps), self.exhausted)


def simplify(graph: Graph, phases: Sequence[Phase], log: Log | None = None) -> Graph:
    """`graph` with every phase of rules applied in turn, loop bodies and branches included.

    Args:
        log: gains one step for every rule that fires.
    """
    log = Log() if log is None else log
    for phase in phases:
        graph = _Normaliser(phase, graph, log).run()
    return graph


class _Normaliser:
    """Brings the nodes of one graph to their normal form under one phase."""

    def __init__(self, phase: Phase, graph: Graph, log: Log):
        self.phase, self.graph, self.log = phase, graph, log
        self.rules = _by_root(phase)
        self.settled = _settled(phase)
        self.normal: dict[Expr, Expr] = {}
        self.becomes: dict[Expr, Expr] = {}
        self.origins: Origins = dict(graph.origins)
        self.budget = REWRITES_PER_NODE * (len(topological(graph.roots)) + 10)

    def run(self) -> Graph:
        roots = [self.normalise(r) for r in self.graph.roots]
        # Origins of nodes that are gone stay: differentiation may need such a node again.
        return self.graph.with_roots(roots, self.origins)

    def normalise(self, root: Expr) -> Expr:
        """The normal form of `root`; a node waits on the stack until its operands have theirs.

        A node that comes to stand inside of what it was rewritten to stays as it is.
        """
        stack = [root]
        entered: set[Expr] = set()
        while stack:
            node = stack[-1]
            if node in self.normal:
                stack.pop()
                continue
            entered.add(node)
            successor = self.becomes.get(node)
            if successor is None:
                waiting = [a for a in node.args if a not in self.normal]
                if waiting:
                    self.normal.update((a, a) for a in waiting if a in entered)
                    stack.extend(a for a in waiting if a not in entered)
                    continue
                successor = self._step(node)
                if successor is node:
                    self.normal[node] = node
                    continue
                self.becomes[node] = successor
            if successor in self.normal:
                self.normal[node] = self.normal[successor]
            else:
                stack.append(successor)
        return self.normal[root]

    def _step(self, node: Expr) -> Expr:
        """`node` with normal operands, or what the first rule that applies makes of it."""
        args = tuple(self.normal[a] for a in node.args)
        params = map_graphs(node.params, self._inner) if node.op.functions else node.params
        if args != node.args or params != node.params:
            rebuilt = node.op(*args, **params)
            if self._leads_to(rebuilt, node):
                return node
            self._inherit(node, rebuilt)
            return rebuilt
        derived = self.origins.get(node, UNKNOWN).backward
        settled = self.settled[derived]
        if node in settled:
            return node
        goes_in_circles = False
        for rule in self.rules.get(node.op, ()):
            if rule.written_only if derived else rule.derivatives_only:
                continue
            if self.budget <= 0:
                self.log.exhausted = True
                return node
            found = rule.rewrite(node)
            if found is not None and self._leads_to(found, node):
                goes_in_circles = True
            elif found is not None:
                self.budget -= 1
                self._inherit(node, found)
                origin = self.origins.get(node, UNKNOWN)
                self.log.steps.append(Step(rule, node, found, origin))
                return found
        if not goes_in_circles:
            settled.add(node)
        return node

    def _leads_to(self, start: Expr, node: Expr) -> bool:
        """Whether rewriting has been here before: laws may undo each other inside a body."""
        while start in self.becomes and start is not node:
            start = self.becomes[start]
        return start is node

    def _inner(self, body: Graph) -> Graph:
        return _Normaliser(self.phase, body, self.log).run()

    def _inherit(self, old: Expr, new: Expr) -> None:
        """What replaces a node keeps the node's name and line."""
        origin = self.origins.get(old)
        if origin is None or new.op is literal:
            return
        known = self.origins.get(new)
        if known is None:
            self.origins[new] = origin
        elif origin.name and not known.name and known.backward == origin.backward:
            self.origins[new] = Origin(known.frame, origin.name, known.backward)
        unnamed = Origin(origin.frame, "", origin.backward)
        stack = list(new.args)
        while stack:
            node = stack.pop()
            if node.args and node not in self.origins and node not in self.normal:
                self.origins[node] = unnamed
                stack.extend(node.args)


@lru_cache(maxsize=64)
def _settled(phase: Phase) -> tuple[WeakSet[Expr], WeakSet[Expr]]:
    """Nodes that no rule of a phase applies to: the user's, and those of derivatives."""
    return WeakSet(), WeakSet()


def _by_root(phase: Phase) -> Mapping[Op, list[Rule]]:
    index: dict[Op, list[Rule]] = {}
    for rule in phase:
        for root in rule.roots:
            index.setdefault(root, []).append(rule)
    return index
