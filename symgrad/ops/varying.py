"""Which values of a manually sharded program may differ from device to device, axis by axis.

Inside `jax.shard_map` with `check_vma`, JAX keeps these axes in the types of values. Arithmetic
takes operands that differ in them; loops and branches do not, and a derivative starts its loops
with zeros, which are alike everywhere. `settled` adds the casts that are missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from jax.sharding import PartitionSpec

from symgrad.expr import Expr, captured, item
from symgrad.ops.branch import switch
from symgrad.ops.calls import opaque
from symgrad.ops.checkpoint import barrier_op
from symgrad.ops.collectives import Axes, all_gather, axis_index, pmax, pmin, psum, pvary
from symgrad.ops.loops import scan, while_
from symgrad.walk import Graph, Origins

Varying = frozenset[str]
"""The axes over which a value may differ."""

INVARIANT: Varying = frozenset()
REDUCING = (psum, pmax, pmin)


def spec_axes(spec: PartitionSpec) -> Axes:
    """The axes that a specification mentions."""
    entries = (e if isinstance(e, tuple) else (e,) for e in spec)
    return tuple(a for entry in entries for a in entry if a is not None)


@dataclass(frozen=True, slots=True)
class Settled:
    """A graph in which all casts are written, and what its nodes vary over.

    Attributes:
        graph: the graph.
        outputs: what its outputs vary over.
        table: what the results of each node of the graph that was given vary over.
    """

    graph: Graph
    outputs: tuple[Varying, ...]
    table: dict[Expr, tuple[Varying, ...]] = field(repr=False)

    def cast(self, wanted: Sequence[Varying]) -> Graph:
        """The graph with outputs that vary over at least the axes wanted."""
        outputs = tuple(
            cast(o, v, w) for o, v, w in zip(self.graph.outputs, self.outputs, wanted, strict=True)
        )
        return self.graph.with_roots((*self.graph.effects, *outputs), self.graph.origins)


def cast(value: Expr, varying: Varying, wanted: Varying) -> Expr:
    """A value as one that varies over the axes wanted as well."""
    missing = tuple(sorted(wanted - varying))
    return pvary(value, axes=missing) if missing else value


def with_casts(
    graph: Graph, inputs: Sequence[Varying] = (), outputs: Sequence[Varying] = ()
) -> Graph:
    """`graph` as JAX wants it written.

    Args:
        inputs: what the inputs vary over, if the program runs on shards itself.
        outputs: what the outputs have to vary over.
    """
    if not any(inputs) and not any(outputs) and not _about_shards(graph):
        return graph
    found = settled(graph, inputs or (INVARIANT,) * len(graph.inputs))
    return found.cast(outputs or found.outputs)


def _about_shards(graph: Graph) -> bool:
    """Whether anything in a graph or in its bodies knows of axes over which values differ."""
    for node in graph.nodes:
        if "check_vma" in node.params or (node.op is captured and node.params["array"].varying):
            return True
        if node.op.functions and any(_about_shards(f.graph) for f in node.op.functions(node)):
            return True
    return False


def settled(graph: Graph, given: Sequence[Varying]) -> Settled:
    """`graph` for inputs that vary over the axes given."""
    new: dict[Expr, Expr] = dict(zip(graph.inputs, graph.inputs, strict=True))
    table: dict[Expr, tuple[Varying, ...]] = {
        i: (v,) for i, v in zip(graph.inputs, given, strict=True)
    }
    origins: Origins = dict(graph.origins)
    for node in graph.nodes:
        if node in table:
            continue
        args = [new[a] for a in node.args]
        if node.op is item:
            table[node] = (table[node.args[0]][node.params["index"]],)
            new[node] = item(*args, **node.params)
        else:
            new[node], table[node] = _settle(node, args, [table[a][0] for a in node.args])
        if node in graph.origins:
            origins.setdefault(new[node], graph.origins[node])
    axes = tuple(table[o][0] for o in graph.outputs)
    return Settled(graph.with_roots([new[r] for r in graph.roots], origins), axes, table)


def _settle(node: Expr, args: list[Expr], axes: list[Varying]) -> tuple[Expr, tuple[Varying, ...]]:
    """A node for settled operands, and what its results vary over."""
    op, p = node.op, dict(node.params)
    joined = INVARIANT.union(*axes)
    if op is scan:
        return _settle_scan(node, args, axes)
    if op is while_:
        return _settle_while(node, args, axes)
    if op is switch:
        branches = [settled(b, axes[1:]) for b in p["branches"]]
        found = tuple(INVARIANT.union(*v) for v in zip(*(b.outputs for b in branches), strict=True))
        return op(*args, branches=tuple(b.cast(found) for b in branches)), found
    if "body" in p:
        return _settle_body(node, args, axes)
    if op is barrier_op:
        return op(*args), tuple(axes)
    if op is captured:
        joined = p["array"].varying
    elif op is axis_index:
        joined = frozenset(p["axes"])
    elif op is pvary:
        joined |= frozenset(p["axes"])
    elif op in REDUCING or (op is all_gather and p["invariant"]):
        # JAX casts an operand that varies over none of the axes, and refuses one that is mixed.
        summed = frozenset(p["axes"])
        args = [cast(a, joined, summed) for a in args] if joined & summed else args
        joined -= summed
    elif op is opaque:
        args = [cast(a, v, joined) for a, v in zip(args, axes, strict=True)]
    return op(*args, **p), (joined,) * len(node.types)


def _settle_body(
    node: Expr, args: list[Expr], axes: list[Varying]
) -> tuple[Expr, tuple[Varying, ...]]:
    """A body with an input for every operand: a call, the rows of a `vmap`, shards."""
    p = node.params
    own = frozenset(p.get("axes", ()))
    specs = p.get("in_specs", ())
    if not p.get("check_vma", True):
        return node.op(*args, **p), (INVARIANT.union(*axes),) * len(node.types)
    inside = [v | own.intersection(spec_axes(s)) for v, s in zip(axes, specs, strict=False)]
    body = settled(p["body"], inside or axes)
    return node.op(*args, **{**p, "body": body.graph}), tuple(v - own for v in body.outputs)


def _settle_scan(
    node: Expr, args: list[Expr], axes: list[Varying]
) -> tuple[Expr, tuple[Varying, ...]]:
    p = node.params
    first, last = p["consts"], p["consts"] + p["carry"]
    body, carries = _carried(p["body"], axes, first, last)
    inits = [
        cast(a, v, w) for a, v, w in zip(args[first:last], axes[first:last], carries, strict=True)
    ]
    found = (*carries, *body.outputs[p["carry"] :])
    operands = (*args[:first], *inits, *args[last:])
    return scan(*operands, **{**p, "body": body.cast(found)}), found


def _settle_while(
    node: Expr, args: list[Expr], axes: list[Varying]
) -> tuple[Expr, tuple[Varying, ...]]:
    p = node.params
    first, second = p["condition_consts"], p["body_consts"]
    start = first + second
    body, carries = _carried(p["body"], axes[first:], second, len(axes) - first)
    inits = [cast(a, v, w) for a, v, w in zip(args[start:], axes[start:], carries, strict=True)]
    condition = settled(p["condition"], (*axes[:first], *carries)).graph
    params = {**p, "condition": condition, "body": body.cast(carries)}
    return while_(*args[:start], *inits, **params), tuple(carries)


def _carried(
    body: Graph, axes: Sequence[Varying], first: int, last: int
) -> tuple[Settled, list[Varying]]:
    """A loop body, and what its carries vary over once that does not grow any more."""
    carries = list(axes[first:last])
    while True:
        found = settled(body, (*axes[:first], *carries, *axes[last:]))
        grown = [c | o for c, o in zip(carries, found.outputs, strict=False)]
        if grown == carries:
            return found, carries
        carries = grown
