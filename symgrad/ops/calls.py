"""Calls: primitives left to JAX, and functions with a derivative rule of the user's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

from symgrad.derive import Slot, instantiate, transposed_pushforward
from symgrad.errors import NoDerivativeError
from symgrad.expr import CONSTANT, Expr, Nested, Op, Type, Types, item, no_flops, results
from symgrad.ops.bodies import (
    as_given,
    as_tuple,
    as_types,
    graph_flops,
    plain_function,
    type_of_body,
)
from symgrad.ops.checkpoint import checkpoint
from symgrad.ops.pointwise import stop_gradient
from symgrad.ops.shape import zeros
from symgrad.ops.solve import direct_solution, is_direct, linear_solve
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


Flags = tuple[bool, ...]


class Rule:
    """A graph made when it is first needed: a `custom_jvp` rule may call its own function.

    Rules that ask for it are told what is zero or constant, and give a graph for each case.
    """

    __slots__ = ("_build", "_graphs")

    def __init__(self, build: Callable[..., Graph]):
        self._build = build
        self._graphs: dict[tuple[Flags, ...], Graph] = {}

    @property
    def graphs(self) -> Mapping[tuple[Flags, ...], Graph]:
        """The graphs made so far."""
        return self._graphs

    @classmethod
    def of(cls, graphs: Mapping[tuple[Flags, ...], Graph], build: Callable[..., Graph]) -> Rule:
        """A rule that has these graphs already."""
        rule = cls(build)
        rule._graphs.update(graphs)
        return rule

    def __call__(self, *flags: Flags) -> Graph:
        if flags not in self._graphs:
            self._graphs[flags] = self._build(*flags)
        return self._graphs[flags]


def _custom_jvp_push(tangents: tuple[Slot, ...], ans: Expr, *args: Expr) -> Any:
    """The user's rule maps primals and tangents to results and their tangents."""
    moving = _moving(ans, [t is not None for t in tangents])
    given = [instantiate(t, a) for t, a, m in zip(tangents, args, moving, strict=True) if m]
    outputs = ans.params["rule"](moving)(*args, *given)
    count = len(ans.types)
    found = iter(outputs[count:])
    return as_given([next(found) if t.inexact else None for t in ans.types])


def _moving(node: Expr, given: Sequence[bool]) -> Flags:
    """Which tangents a rule gets: all there can be, unless it knows what to do with zeros."""
    if node.op is foreign or node.params["symbolic_zeros"]:
        return tuple(given)
    return tuple(a.type.inexact for a in node.args)


def _custom_jvp_primal(node: Expr, wanted: Sequence[bool]) -> tuple[Expr, ...]:
    moving = _moving(node, wanted)
    still = [zeros(a.type) for a, m in zip(node.args, moving, strict=True) if m]
    return node.params["rule"](moving)(*node.args, *still)[: len(node.types)]


custom_jvp = Op(
    "custom_jvp",
    type_of_body,
    "{body}(*xs)",
    Nested(pushforward=_custom_jvp_push, primal=_custom_jvp_primal),
    params=("body", "rule", "symbolic_zeros"),
    flops=lambda e: graph_flops(e.params["body"]),
    functions=lambda e: (plain_function("body", e.params["body"]),),
)


def _custom_vjp_pull(
    cotangents: Any, wanted: Sequence[bool], ans: Expr, *args: Expr
) -> tuple[Slot, ...]:
    """The user's forward rule gives residuals, the backward rule maps them to cotangents."""
    if any(wanted[: ans.params["closed"]]):
        raise NoDerivativeError(
            "the derivative in a value that a function with a custom_vjp rule closes over is not "
            "known: the rule gives derivatives in the function's arguments only",
            fix="pass the value as an argument, and let the rule return its cotangent too",
        )
    moving, slots = _moving(ans, wanted), as_tuple(cotangents)
    present = tuple(c is not None or not ans.params["symbolic_zeros"] for c in slots)
    given = [instantiate(c, r) for c, r, p in zip(slots, results(ans), present, strict=True) if p]
    residuals = ans.params["forward"](moving)(*args)[len(slots) :]
    found = ans.params["backward"](moving, present)(*residuals, *given)
    return tuple(f if w else None for f, w in zip(found, wanted, strict=True))


def _custom_vjp_primal(node: Expr, wanted: Sequence[bool]) -> tuple[Expr, ...]:
    return node.params["forward"](_moving(node, wanted))(*node.args)[: len(node.types)]


def _linear_call_push(tangents: tuple[Slot, ...], ans: Expr, *args: Expr) -> Any:
    """A linear function is its own pushforward."""
    count = ans.params["constants"]
    _check_constant([t is not None for t in tangents], ans)
    moved = [instantiate(t, a) for t, a in zip(tangents[count:], args[count:], strict=True)]
    return as_given(results(linear_call(*args[:count], *moved, **ans.params)))


def _linear_call_pull(
    cotangents: Any, wanted: Sequence[bool], ans: Expr, *args: Expr
) -> tuple[Slot, ...]:
    """The user's transpose, which is a linear call too, with the function as its transpose."""
    count = ans.params["constants"]
    _check_constant(wanted, ans)
    given = [instantiate(c, r) for c, r in zip(as_tuple(cotangents), results(ans), strict=True)]
    transposed = {"body": ans.params["backward"](), "backward": Rule(lambda: ans.params["body"])}
    found = results(linear_call(*args[:count], *given, **transposed, constants=count))
    return (*(None,) * count, *found)


def _check_constant(moving: Sequence[bool], node: Expr) -> None:
    """Raises NoDerivativeError if operands move that a linear call is not linear in."""
    if any(moving[: node.params["constants"]]):
        raise NoDerivativeError(
            "the derivative of a `linear_call` in its residual operands, or in values that its "
            "functions close over, is not known",
            fix="apply jax.lax.stop_gradient to them, or pass them as linear operands",
        )


custom_vjp = Op(
    "custom_vjp",
    type_of_body,
    "{body}(*xs)",
    Nested(pullback=_custom_vjp_pull, primal=_custom_vjp_primal),
    params=("body", "forward", "backward", "closed", "symbolic_zeros"),
    flops=lambda e: graph_flops(e.params["body"]),
    functions=lambda e: (plain_function("body", e.params["body"]),),
)


linear_call = Op(
    "linear_call",
    type_of_body,
    "{body}(*xs)",
    Nested(pullback=_linear_call_pull, pushforward=_linear_call_push),
    params=("body", "backward", "constants"),
    flops=lambda e: graph_flops(e.params["body"]),
    functions=lambda e: (plain_function("body", e.params["body"]),),
)
"""A function that is linear in the operands after the first `constants`, with its transpose."""


def _foreign_pull(
    cotangents: Any, wanted: Sequence[bool], ans: Expr, *args: Expr
) -> tuple[Slot, ...]:
    """The author's transpose where the primitive is applied to tangents, else that of its rule."""
    linear = ans.params["linear"]
    if not linear or any(w and not i for w, i in zip(wanted, linear, strict=True)):
        return tuple(transposed_pushforward(ans, cotangents, wanted))
    known = [a for a, i in zip(args, linear, strict=True) if not i]
    slots = zip(as_tuple(cotangents), results(ans), strict=True)
    given = [instantiate(c, r) for c, r in slots if r.type.inexact]
    found = iter(ans.params["backward"](linear)(*known, *given))
    return tuple(next(found) if i else None for i in linear)


foreign = Op(
    "foreign",
    type_of_body,
    "{body}(*xs)",
    Nested(pullback=_foreign_pull, pushforward=_custom_jvp_push, primal=_custom_jvp_primal),
    params=("body", "rule", "backward", "linear"),
    flops=no_flops,
    functions=lambda e: (plain_function("body", e.params["body"]),),
)
"""A primitive of another package with its author's rules.

`linear` marks the operands in which it is known to be linear, where it is applied to tangents.
"""

INLINED = (custom_jvp, custom_vjp, linear_call, checkpoint, foreign)
"""Calls that are their bodies once all derivatives are taken."""


def has_custom(graph: Graph) -> bool:
    """Whether a function with a rule of its own is called in a graph or in its bodies."""
    return any(
        node.op in (custom_jvp, custom_vjp, linear_solve)
        or any(has_custom(f.graph) for f in (node.op.functions(node) if node.op.functions else ()))
        for node in topological(graph.roots)
    )


def inline_custom_below(graph: Graph, sources: Sequence[Expr]) -> Graph:
    """A rule is linear in its tangents; functions that it applies to them need no rule.

    Those that know their transpose keep it.
    """
    return inline_custom(graph, dependents(graph.nodes, sources))


def _inlined_body(node: Expr, among: Set[Expr] | None) -> Graph:
    body = node.params["body"]
    if among is None:
        return inline_custom(body)
    moving = [i for i, a in zip(body.inputs, node.args, strict=True) if a in among]
    return inline_custom_below(body, moving)


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
        elif node.op is foreign and among is not None and node in among:
            linear = tuple(a in among for a in node.args)
            done[node] = foreign(*(done[a] for a in node.args), **{**node.params, "linear": linear})
        elif node.op in INLINED and (
            among is None or (node in among and node.op is not linear_call)
        ):
            body = _inlined_body(node, among)
            roots = body.applied(*(done[a] for a in node.args))
            effects[node], inlined[node] = roots[: len(body.effects)], roots[len(body.effects) :]
            done[node] = inlined[node][0]
        else:
            params = map_graphs(node.params, inline_custom) if among is None else node.params
            args = tuple(done[a] for a in node.args)
            same = args == node.args and params == node.params
            done[node] = node if same else node.op(*args, **params)
            if node.op is linear_solve and among is None and is_direct(node):
                inlined[node] = direct_solution(done[node])
                done[node] = inlined[node][0]
        if node in graph.origins:
            origins.setdefault(done[node], graph.origins[node])
    outputs = tuple(done[o] for o in graph.outputs)
    kept = tuple(e for n in graph.effects for e in effects.get(n, (done[n],)))
    return Graph(graph.inputs, outputs, graph.names, origins, kept)


def without_stops(graph: Graph) -> Graph:
    """Once all derivatives are taken, `stop_gradient` does nothing."""
    done: dict[Expr, Expr] = {}
    for node in graph.nodes:
        if node.op is stop_gradient:
            done[node] = done[node.args[0]]
            continue
        args, params = tuple(done[a] for a in node.args), map_graphs(node.params, without_stops)
        same = args == node.args and params == node.params
        done[node] = node if same else node.op(*args, **params)
    origins = {done[n]: o for n, o in graph.origins.items() if n in done}
    return graph.with_roots([done[r] for r in graph.roots], {**origins, **graph.origins})
