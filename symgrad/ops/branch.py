"""Branches: the one taken for the value is taken for the derivative."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symgrad.derive import Slot, instantiate, pushforward
from symgrad.expr import Expr, LocalFunction, Nested, Op, Type, Types, fresh, results
from symgrad.ops.bodies import (
    as_given,
    as_tuple,
    as_types,
    graph_flops,
    plain_function,
    pulled_back,
)
from symgrad.walk import Graph, bind


def _switch_type(index: Type, *operands: Type, branches: tuple[Graph, ...]) -> Types:
    return as_types([o.type for o in branches[0].outputs])


def _branch_functions(e: Expr) -> tuple[LocalFunction, ...]:
    branches = e.params["branches"]
    return tuple(plain_function(f"branch_{i}", b) for i, b in enumerate(branches))


def _branch_flops(e: Expr) -> int:
    return max(graph_flops(b) for b in e.params["branches"])


def _switch_source(e: Expr) -> str:
    count = len(e.params["branches"])
    names = ", ".join(f"{{branch_{i}}}" for i in range(count))
    operands = "".join(f", xs[{i}]" for i in range(1, len(e.args)))
    return f"lax.switch(xs[0], [{names}]{operands})"


def _first(ans: Expr) -> int:
    """How many operands choose the branch; the others are given to it."""
    return len(ans.args) - len(ans.params["branches"][0].inputs)


def _with_branches(ans: Expr, branches: Sequence[Graph], *operands: Slot) -> tuple[Expr, ...]:
    """The same choice between other branches."""
    return results(ans.op(*operands, **{**ans.params, "branches": tuple(branches)}))


def _push(tangents: tuple[Slot, ...], ans: Expr, *args: Expr) -> Any:
    """The branch taken is taken for the tangents too."""
    branches, first = ans.params["branches"], _first(ans)
    moving = [i for i, t in enumerate(tangents[first:]) if t is not None]
    pushed = []
    inputs = []
    for b in branches:
        duals = {i: fresh(b.inputs[i].type) for i in moving}
        pushed.append(
            pushforward(
                b.outputs, b.inputs, [duals.get(i) for i in range(len(b.inputs))], b.origins
            )
        )
        inputs.append((*b.inputs, *duals.values()))
    varying = [
        i for i, o in enumerate(branches[0].outputs) if any(p[i] is not None for p in pushed)
    ]
    joined = [
        bind(ins, [instantiate(p[i], b.outputs[i]) for i in varying])
        for b, p, ins in zip(branches, pushed, inputs, strict=True)
    ]
    slots: list[Slot] = [None] * len(branches[0].outputs)
    if varying:
        found = _with_branches(ans, joined, *args, *(tangents[first + i] for i in moving))
        for i, r in zip(varying, found, strict=True):
            slots[i] = r
    return as_given(slots)


def _pull(given: Any, wanted: Sequence[bool], ans: Expr, *args: Expr) -> tuple[Slot, ...]:
    """Each branch pulls back through itself; the others contribute nothing."""
    branches, first = ans.params["branches"], _first(ans)
    live = [i for i, g in enumerate(as_tuple(given)) if g is not None]
    pulled = []
    inputs = []
    for b in branches:
        seeds = {i: fresh(b.outputs[i].type) for i in live}
        pulled.append(pulled_back(b, [seeds.get(i) for i in range(len(b.outputs))], wanted[first:]))
        inputs.append((*b.inputs, *seeds.values()))
    moving = [i for i in range(len(branches[0].inputs)) if any(p[i] is not None for p in pulled)]
    joined = [
        bind(ins, [instantiate(p[i], b.inputs[i]) for i in moving])
        for b, p, ins in zip(branches, pulled, inputs, strict=True)
    ]
    slots: list[Slot] = [None] * len(args)
    if moving:
        found = _with_branches(ans, joined, *args, *(as_tuple(given)[i] for i in live))
        for i, r in zip(moving, found, strict=True):
            slots[first + i] = r
    return tuple(slots)


switch = Op(
    "switch",
    _switch_type,
    _switch_source,
    Nested(pullback=_pull, pushforward=_push),
    params=("branches",),
    flops=_branch_flops,
    functions=_branch_functions,
)
"""As `jax.lax.switch`: the first operand chooses the branch that the others are given to."""


def _platform_type(*operands: Type, branches: tuple[Graph, ...], platforms: Any) -> Types:
    return as_types([o.type for o in branches[0].outputs])


def _platform_source(e: Expr) -> str:
    named = [
        f"{name}={{branch_{i}}}"
        for i, names in enumerate(e.params["platforms"])
        for name in names or ("default",)
    ]
    return f"lax.platform_dependent({', '.join(['*xs', *named])})"


by_platform = Op(
    "platform_dependent",
    _platform_type,
    _platform_source,
    Nested(pullback=_pull, pushforward=_push),
    params=("branches", "platforms"),
    flops=_branch_flops,
    functions=_branch_functions,
)
"""As `jax.lax.platform_dependent`; `platforms` names those of each branch, None if all others."""
