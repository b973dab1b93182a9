"""Going over graphs without recursion: order, dependence, substitution, origins.

A `Graph` is the one data structure of symgrad: a program, a loop body and the
rule of a `custom_jvp` are all graphs. Where its nodes came from (the user's
line, the variable assigned there) is kept beside the nodes, in `origins`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from symgrad.errors import Frame
from symgrad.expr import Expr, Type, item, make, parameter


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a node came from.

    Attributes:
        frame: the user's line that computes it, or the line whose derivative it is part of.
        name: the variable the user assigned it to, or `d_` and that name for its cotangent.
        backward: whether differentiation made the node.
        hint: a name for it if it needs one, where the user gave none: `pre_h` for the `a` of
            `h = tanh(a)`.
    """

    frame: Frame | None = None
    name: str = ""
    backward: bool = False
    hint: str = ""


Origins = dict[Expr, Origin]
UNKNOWN = Origin()


@dataclass(frozen=True, slots=True)
class Graph:
    """Inputs, outputs and everything between; equal graphs compute the same expressions.

    Attributes:
        effects: nodes that run for what they do besides computing, in this order.
    """

    inputs: tuple[Expr, ...]
    outputs: tuple[Expr, ...]
    names: tuple[str, ...] = field(default=(), compare=False)
    origins: Mapping[Expr, Origin] = field(default_factory=dict, compare=False, repr=False)
    effects: tuple[Expr, ...] = ()

    @property
    def roots(self) -> tuple[Expr, ...]:
        """Everything that must be computed; effects come first, so that their order is kept."""
        return self.effects + self.outputs

    def with_roots(self, roots: Sequence[Expr], origins: Mapping[Expr, Origin]) -> Graph:
        """The same inputs, with other effects and outputs."""
        count = len(self.effects)
        effects, outputs = tuple(roots[:count]), tuple(roots[count:])
        return Graph(self.inputs, outputs, self.names, origins, effects)

    @property
    def nodes(self) -> list[Expr]:
        """All nodes the roots need and all inputs, operands before their users."""
        return topological(self.inputs + self.roots)

    def __len__(self) -> int:
        """Operations: inputs and the projections of multi-result nodes do not count."""
        inputs = set(self.inputs)
        return sum(1 for n in self.nodes if n not in inputs and n.op is not item)

    def trimmed(self) -> Mapping[Expr, Origin]:
        """The origins of the graph's own nodes."""
        return {n: self.origins[n] for n in self.nodes if n in self.origins}

    def __call__(self, *args: Expr) -> tuple[Expr, ...]:
        """The outputs with `args` in place of the inputs."""
        return substitute(self.outputs, dict(zip(self.inputs, args, strict=True)))

    def applied(self, *args: Expr) -> tuple[Expr, ...]:
        """The roots with `args` in place of the inputs."""
        return substitute(self.roots, dict(zip(self.inputs, args, strict=True)))


def topological(outputs: Iterable[Expr], known: Iterable[Expr] = ()) -> list[Expr]:
    """Every node below `outputs` once, operands first, in a deterministic order.

    Args:
        known: nodes to leave out, with what is only below them.
    """
    order: list[Expr] = []
    seen = set(known)
    stack: list[tuple[Expr, bool]] = [(o, False) for o in reversed(tuple(outputs))]
    while stack:
        node, operands_done = stack.pop()
        if operands_done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((a, False) for a in reversed(node.args) if a not in seen)
    return order


def dependents(order: Sequence[Expr], sources: Iterable[Expr]) -> set[Expr]:
    """The nodes of a topological `order` that are, or depend on, one of `sources`."""
    found = set(sources)
    for node in order:
        if not found.isdisjoint(node.args):
            found.add(node)
    return found


def rebuild(node: Expr, args: tuple[Expr, ...]) -> Expr:
    """`node` with other operands, of which the type rule is asked again."""
    return node if args == node.args else make(node.op, args, dict(node.params))


def substitute(outputs: Sequence[Expr], replacement: Mapping[Expr, Expr]) -> tuple[Expr, ...]:
    """`outputs` with every node in `replacement` exchanged; the rest of the graph is shared."""
    return rewritten(outputs, dict(replacement))


def substitute_throughout(
    outputs: Sequence[Expr], replacement: Mapping[Expr, Expr], done: dict[Expr, Expr] | None = None
) -> tuple[Expr, ...]:
    """As `substitute`, also inside of what takes the place of a node.

    A node whose replacement depends on it stays.

    Args:
        done: filled with what every visited node became.
    """
    active = dict(replacement)
    entered: set[Expr] = set()
    done = {} if done is None else done
    stack = list(outputs)
    while stack:
        node = stack[-1]
        if node in done:
            stack.pop()
            continue
        entered.add(node)
        below = (active[node],) if node in active else node.args
        waiting = [a for a in below if a not in done]
        for a in waiting:
            if a in entered:
                active.pop(a, None)
        if waiting:
            stack.extend(waiting)
        elif node in active:
            done[node] = done[active[node]]
        else:
            done[node] = rebuild(node, tuple(done[a] for a in node.args))
    return tuple(done[o] for o in outputs)


def exchanged(graph: Graph, replacement: Mapping[Expr, Expr]) -> Graph:
    """`graph` with other nodes in the place of some, which pass on where they came from."""
    if not replacement:
        return graph
    done: dict[Expr, Expr] = {}
    roots = substitute_throughout(graph.roots, replacement, done)
    known = graph.origins
    rebuilt = {new: known[old] for old, new in done.items() if old in known}
    exchanged = {new: known[old] for old, new in replacement.items() if old in known}
    return graph.with_roots(roots, {**rebuilt, **known, **exchanged})


def rewritten(outputs: Sequence[Expr], done: dict[Expr, Expr]) -> tuple[Expr, ...]:
    """As `substitute`, with a table that goes on: it gains every node that is visited."""
    for node in topological(outputs, known=done):
        done[node] = rebuild(node, tuple(done[a] for a in node.args))
    return tuple(done[o] for o in outputs)


def map_graphs(params: Mapping[str, Any], transform: Callable[[Graph], Graph]) -> dict[str, Any]:
    """Parameters with every graph among them transformed."""

    def changed(value: Any) -> Any:
        if isinstance(value, Graph):
            return transform(value)
        if isinstance(value, tuple) and value and isinstance(value[0], Graph):
            return tuple(transform(g) for g in value)
        return value

    return {name: changed(value) for name, value in params.items()}


def map_bodies(graph: Graph, params: Callable[[Expr], Mapping[str, Any]]) -> Graph:
    """`graph` with other parameters for the operations that hold graphs."""
    changed: dict[Expr, Expr] = {}
    origins = dict(graph.origins)
    for node in graph.nodes:
        new = params(node) if node.op.functions else node.params
        args = tuple(changed.get(a, a) for a in node.args)
        if args != node.args or new != node.params:
            changed[node] = node.op(*args, **new)
            origins[changed[node]] = graph.origins.get(node, UNKNOWN)
    if not changed:
        return graph
    return graph.with_roots([changed.get(r, r) for r in graph.roots], origins)


def bind(
    inputs: Sequence[Expr | None], outputs: Sequence[Expr | None], names: tuple[str, ...] = ()
) -> Graph:
    """A graph whose inputs are numbered parameters, so that equal bodies are equal graphs.

    None stands for an input or output that the caller has already left out.
    """
    given = [i for i in inputs if i is not None]
    made = [o for o in outputs if o is not None]
    renamed = {e: parameter(i, e.type) for i, e in enumerate(given)}
    return Graph(tuple(renamed.values()), substitute(made, renamed), names)


def mark(
    origins: Origins, roots: Iterable[Expr], origin: Origin, known: Mapping[Expr, Origin]
) -> None:
    """Give `origin` to the nodes below `roots` that have none yet, in either table."""
    stack = list(roots)
    while stack:
        node = stack.pop()
        if node in origins or node in known or not node.args:
            continue
        origins[node] = origin
        stack.extend(node.args)


def types_of(nodes: Iterable[Expr]) -> tuple[Type, ...]:
    return tuple(n.type for n in nodes)
