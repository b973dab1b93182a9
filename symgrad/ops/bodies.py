"""What operations that hold graphs share: zeros made explicit, results and groups of operands."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence, Set
from typing import Any

from symgrad.derive import Slot, active_nodes, pullback, pushforward
from symgrad.expr import Expr, LocalFunction, Type, Types, div, fresh
from symgrad.ops.norm import ratio
from symgrad.ops.pointwise import TRANSCENDENTAL, rsqrt, sqrt
from symgrad.ops.shape import unrepeated
from symgrad.walk import Graph, dependents, topological

DIVISIONS = (div, ratio, rsqrt)


def as_types(types: Sequence[Type]) -> Types:
    """One result is itself, several are a tuple."""
    return types[0] if len(types) == 1 else tuple(types)


def type_of_body(*operands: Type, body: Graph, **others: Any) -> Types:
    """Type rule of operations whose results are those of a graph they hold."""
    return as_types([o.type for o in body.outputs])


def as_tuple(value: Any) -> tuple[Any, ...]:
    """The tuple of results of a node, also when there is one."""
    return value if isinstance(value, tuple) else (value,)


def as_given(values: Sequence[Slot]) -> Any:
    """Tangents in the form a pushforward returns them: bare for one result."""
    return values[0] if len(values) == 1 else tuple(values)


def fresh_slots(slots: Sequence[Slot], like: Sequence[Expr]) -> list[Slot]:
    """New variables for tangents or cotangents of `like`, none for those that are zero."""
    return [None if s is None else fresh(e.type) for s, e in zip(slots, like, strict=True)]


def plain_function(name: str, graph: Graph) -> LocalFunction:
    """One parameter per input, a tuple of all outputs."""
    inputs, outputs = range(len(graph.inputs)), range(len(graph.outputs))
    return LocalFunction(name, graph, (), tuple(inputs), tuple(outputs))


def graph_flops(graph: Graph) -> int:
    """Floating-point operations of one evaluation of a body."""
    return sum(n.flops for n in topological(graph.roots))


def group_source(first: int, count: int) -> str:
    """Operands `first`, ... as the pytree that a loop takes: bare, or a tuple, or None."""
    names = [f"xs[{i}]" for i in range(first, first + count)]
    return "None" if not names else names[0] if count == 1 else f"({', '.join(names)})"


def numbers(start: int, count: int) -> tuple[int, ...]:
    """`count` consecutive numbers."""
    return tuple(range(start, start + count))


def pulled_back(body: Graph, cotangents: Sequence[Slot], wanted: Sequence[bool]) -> list[Slot]:
    """Cotangents of the body's inputs that are wanted, None for the others."""
    sources = [i for i, w in zip(body.inputs, wanted, strict=True) if w]
    found = iter(pullback(body.outputs, cotangents, sources, body.origins))
    return [next(found) if w else None for w in wanted]


def varying_inputs(body: Graph, wanted: Sequence[bool], consts: int, carry: int) -> list[bool]:
    """Which inputs of a loop's body vary with the wanted ones, in some iteration."""
    order = topological(body.outputs)
    found = list(wanted)
    while True:
        active = active_nodes(order, [i for i, w in zip(body.inputs, found, strict=True) if w])
        reached = [
            *found[:consts],
            *(f or o in active for f, o in zip(found[consts:], body.outputs[:carry], strict=False)),
            *found[consts + carry :],
        ]
        if reached == found:
            return found
        found = reached


def advance(body: Graph, tangents: list[Slot], consts: int, carry: int) -> list[Slot]:
    """Tangents of the body's outputs, once the set of varying carries has settled.

    `tangents` (one per input of the body) gains an entry for each carry that
    varies in some later iteration.
    """
    while True:
        pushed = pushforward(body.outputs, body.inputs, tangents, body.origins)
        settled = True
        for i in range(carry):
            if pushed[i] is not None and tangents[consts + i] is None:
                tangents[consts + i] = fresh(body.inputs[consts + i].type)
                settled = False
        if settled:
            return pushed


def residuals(
    pulled: Sequence[Slot], seeds: Sequence[Expr], body: Graph, kept: Set[Expr]
) -> list[Expr]:
    """The values of the forward body that the backward body reads.

    A value that is computed entry by entry from `kept` ones, which the backward body
    has anyway, is computed again instead, and so is one that a little arithmetic gives
    from the others. Functions of a divisor are computed where it divides, so that it can be
    seen whether their quotient has a limit.
    """
    order = topological([p for p in pulled if p is not None])
    backward = dependents(order, seeds)
    forward = topological(body.outputs + tuple(order))
    primal = dependents(forward, body.inputs)
    found: dict[Expr, None] = {}
    for node in order:
        if node in backward:
            for arg in node.args:
                if arg not in backward and arg in primal:
                    found |= dict.fromkeys(_sources(arg, kept, primal) or _stored(arg))
    for quotient in [n for n in order if n.op in DIVISIONS]:
        _divide_later(quotient, found, primal - backward)
    for value in reversed(forward):
        if value in found and value not in kept:
            others = (kept | found.keys()) - {value}
            sources = _sources(value, others, primal, TRANSCENDENTAL * value.type.size)
            if sources is not None:
                del found[value]
                found |= dict.fromkeys(sources)
    return list(found)


def _divide_later(quotient: Expr, found: dict[Expr, None], primal: Set[Expr]) -> None:
    """Keep the parts of a quotient where functions of what its divisor is made of are kept."""
    divisor = unrepeated(quotient.args[-1])
    if found.keys().isdisjoint((quotient, divisor)):
        return
    chain = list(_chain(divisor, primal))
    for i, source in enumerate(chain):
        others = found.keys() - {source, quotient}
        if source in found or any(f in others and _sources(f, {source}, primal) for f in found):
            # A root is not smooth where it is zero, and what is divided by it may be.
            inside = next((s for s in chain[i:] if s.op is not sqrt), source)
            functions = [f for f in found if f is not inside and _sources(f, {inside}, primal)]
            for gone in (quotient, *functions):
                found.pop(gone, None)
            above = map(unrepeated, quotient.args[:-1])
            found |= dict.fromkeys(n for n in (*above, inside) if n in primal)
            return


def _chain(node: Expr, primal: Set[Expr]) -> Iterator[Expr]:
    """A value and, while it is a function of one value, that value."""
    inside = [node] if node in primal else []
    while len(inside) == 1:
        yield inside[0]
        inside = [a for a in inside[0].args if a in primal] if inside[0].op.elementwise else []


def _stored(node: Expr) -> tuple[Expr, ...]:
    """A value itself, or what it is computed from."""
    return node.args if node.op.recomputed else (unrepeated(node),)


def _sources(
    node: Expr, kept: Set[Expr], primal: Set[Expr], flops: float = math.inf
) -> list[Expr] | None:
    """The kept values a node is computed from entry by entry, None if it needs others.

    Computing it takes fewer than `flops` operations.
    """
    found: dict[Expr, None] = {}
    seen: set[Expr] = set()
    stack = [node]
    while stack:
        node = stack.pop()
        if node in kept:
            found[node] = None
        elif not node.op.elementwise:
            return None
        elif node not in seen:
            seen.add(node)
            flops -= node.flops
            if flops <= 0:
                return None
            stack.extend(a for a in node.args if a in primal)
    return list(found)
