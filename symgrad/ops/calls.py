"""Calls: primitives left to JAX, and functions with a derivative rule of the user's."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from typing import Any

from symgrad.derive import Slot
from symgrad.expr import CONSTANT, Custom, Expr, Op, Type, Types, item, no_flops, results
from symgrad.ops.bodies import (
    as_given,
    as_tuple,
    as_types,
    graph_flops,
    instantiate,
    plain_function,
)
from symgrad.ops.shape import zeros
from symgrad.walk import Graph, dependents, map_graphs, topological


def _opaque_type(*operands: Type, name: str, call: Any, types: tuple[Type, ...]) -> Types:
    return as_types(types)


opaque = Op(
    "opaque",
    _opaque_type,
    lambda e: f"{e.params['name']}(*xs)",
    params=("name", "call", "types"),
    flops=no_flops,
)
"""A JAX primitive without a record of its own: it runs, it has no derivative."""

effect = Op(
    "effect",
    lambda *operands, name, call, text: (),
    lambda e: e.params["text"],
    CONSTANT,
    params=("name", "call", "text"),
    flops=no_flops,
)
"""A JAX primitive that shows its operands to the world outside, as `jax.debug.print` does.

`call` is a callable of the operands, a different one for each use; `text` is the source
of that call, empty if it can only be referred to.
"""


class Rule:
    """A graph made when it is first needed: a `custom_jvp` rule may call its own function."""

    __slots__ = ("_build", "_graph")

    def __init__(self, build: Callable[[], Graph]):
        self._build, self._graph = build, None

    def __call__(self) -> Graph:
        if self._graph is None:
            self._graph = self._build()
        return self._graph


def _custom_type(*operands: Type, body: Graph, **rules: Any) -> Types:
    return as_types([o.type for o in body.outputs])


def _custom_jvp_push(tangents: tuple[Slot, ...], ans: Expr, *args: Expr) -> Any:
    """The user's rule maps primals and tangents to results and their tangents."""
    graph = ans.params["rule"]()
    given = [instantiate(t, a) for t, a in zip(tangents, args, strict=True) if a.type.inexact]
    outputs = graph(*args, *given)
    count = len(ans.types)
    found = iter(outputs[count:])
    return as_given([next(found) if t.inexact else None for t in ans.types])


def _custom_jvp_primal(node: Expr) -> tuple[Expr, ...]:
    graph = node.params["rule"]()
    still = [zeros(a.type) for a in node.args if a.type.inexact]
    return graph(*node.args, *still)[: len(node.types)]


custom_jvp = Op(
    "custom_jvp",
    _custom_type,
    "{body}(*xs)",
    Custom(pushforward=_custom_jvp_push, primal=_custom_jvp_primal),
    params=("body", "rule"),
    flops=lambda e: graph_flops(e.params["body"]),
    functions=lambda e: (plain_function("body", e.params["body"]),),
)


def _custom_vjp_pull(cotangents: Any, ans: Expr, *args: Expr) -> tuple[Slot, ...]:
    """The user's forward rule gives residuals, the backward rule maps them to cotangents."""
    given = [instantiate(c, r) for c, r in zip(as_tuple(cotangents), results(ans), strict=True)]
    residuals = ans.params["forward"]()(*args)[len(given) :]
    return tuple(
        slot if a.type.inexact else None
        for slot, a in zip(ans.params["backward"]()(*residuals, *given), args, strict=True)
    )


def _custom_vjp_primal(node: Expr) -> tuple[Expr, ...]:
    return node.params["forward"]()(*node.args)[: len(node.types)]


custom_vjp = Op(
    "custom_vjp",
    _custom_type,
    "{body}(*xs)",
    Custom(pullback=_custom_vjp_pull, primal=_custom_vjp_primal),
    params=("body", "forward", "backward"),
    flops=lambda e: graph_flops(e.params["body"]),
    functions=lambda e: (plain_function("body", e.params["body"]),),
)


def has_custom(graph: Graph) -> bool:
    """Whether a function with a rule of its own is called in a graph or in its bodies."""
    return any(
        node.op in (custom_jvp, custom_vjp)
        or any(has_custom(f.graph) for f in (node.op.functions(node) if node.op.functions else ()))
        for node in topological(graph.roots)
    )


def inline_custom_below(graph: Graph, sources: Sequence[Expr]) -> Graph:
    """A rule is linear in its tangents; functions that it applies to them need no rule."""
    return inline_custom(graph, dependents(graph.nodes, sources))


def inline_custom(graph: Graph, among: Set[Expr] | None = None) -> Graph:
    """Once all derivatives are taken, a function with a rule of its own is just its body.

    Args:
        among: only these calls, all if None.
    """
    done: dict[Expr, Expr] = {}
    inlined: dict[Expr, tuple[Expr, ...]] = {}
    effects: dict[Expr, tuple[Expr, ...]] = {}
    origins = dict(graph.origins)
    for node in graph.nodes:
        if node.op is item and node.args[0] in inlined:
            done[node] = inlined[node.args[0]][node.params["index"]]
        elif node.op in (custom_jvp, custom_vjp) and (among is None or node in among):
            body = inline_custom(node.params["body"])
            roots = body.applied(*(done[a] for a in node.args))
            effects[node], inlined[node] = roots[: len(body.effects)], roots[len(body.effects) :]
            done[node] = inlined[node][0]
        else:
            params = node.params if among else map_graphs(node.params, inline_custom)
            args = tuple(done[a] for a in node.args)
            same = args == node.args and params == node.params
            done[node] = node if same else node.op(*args, **params)
        if node in graph.origins:
            origins.setdefault(done[node], graph.origins[node])
    outputs = tuple(done[o] for o in graph.outputs)
    kept = tuple(e for n in graph.effects for e in effects.get(n, (done[n],)))
    return Graph(graph.inputs, outputs, graph.names, origins, kept)
