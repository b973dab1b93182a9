"""Batches: a graph evaluated for every row of some operands, by `jax.vmap`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symgrad.derive import Slot, pushforward
from symgrad.expr import Expr, LocalFunction, Nested, Op, Type, Types, fresh, literal, results
from symgrad.ops.bodies import (
    as_given,
    as_tuple,
    as_types,
    fresh_slots,
    graph_flops,
    numbers,
    pulled_back,
)
from symgrad.ops.shape import reduce_sum
from symgrad.walk import Graph, bind, dependents, substitute, topological


def _batched_type(*operands: Type, body: Graph, closed: int, size: int) -> Types:
    return as_types([o.type.with_shape((size, *o.shape)) for o in body.outputs])


def _batched_functions(e: Expr) -> tuple[LocalFunction, ...]:
    body, closed = e.params["body"], e.params["closed"]
    parameters = numbers(closed, len(body.inputs) - closed)
    returned = tuple(range(len(body.outputs)))
    return (LocalFunction("row", body, e.args[:closed], parameters, returned),)


def _batched_source(e: Expr) -> str:
    operands = ", ".join(f"xs[{i}]" for i in range(e.params["closed"], len(e.args)))
    return f"jax.vmap({{row}})({operands})"


def _outside(ans: Expr) -> tuple[list[Expr], dict[Expr, Expr]]:
    """Fresh stand-ins for the inputs that vary by row; shared inputs are the operands."""
    body, closed = ans.params["body"], ans.params["closed"]
    rows = [fresh(i.type) for i in body.inputs[closed:]]
    return rows, dict(zip(body.inputs, (*ans.args[:closed], *rows), strict=True))


def _batched_push(tangents: tuple[Slot, ...], ans: Expr, *args: Expr) -> Any:
    body, closed = ans.params["body"], ans.params["closed"]
    inside = fresh_slots(tangents, body.inputs)
    pushed = pushforward(body.outputs, body.inputs, inside, body.origins)
    rows, outer = _outside(ans)
    for own, given in zip(inside[:closed], tangents, strict=False):
        if own is not None and given is not None:
            outer[own] = given
    varying = [(i, t) for i, t in enumerate(pushed) if t is not None]
    found = batched(
        [*rows, *(t for t in inside[closed:] if t is not None)],
        substitute([t for _, t in varying], outer),
        [*args[closed:], *(t for t in tangents[closed:] if t is not None)],
        ans.params["size"],
    )
    slots: list[Slot] = [None] * len(pushed)
    for (i, _), r in zip(varying, found, strict=True):
        slots[i] = r
    return as_given(slots)


def _batched_pull(given: Any, wanted: Sequence[bool], ans: Expr, *args: Expr) -> tuple[Slot, ...]:
    """What every row shares gets the sum of the rows' cotangents."""
    body, closed = ans.params["body"], ans.params["closed"]
    cotangents = as_tuple(given)
    seeds = fresh_slots(cotangents, body.outputs)
    pulled = pulled_back(body, seeds, wanted)
    rows, outer = _outside(ans)
    present = [(i, c) for i, c in enumerate(pulled) if c is not None]
    found = batched(
        [*rows, *(s for s in seeds if s is not None)],
        substitute([c for _, c in present], outer),
        [*args[closed:], *(g for g in cotangents if g is not None)],
        ans.params["size"],
    )
    slots: list[Slot] = [None] * len(args)
    for (i, _), r in zip(present, found, strict=True):
        slots[i] = reduce_sum(r, axes=(0,)) if i < closed else r
    return tuple(slots)


batched_op = Op(
    "vmap",
    _batched_type,
    _batched_source,
    Nested(pullback=_batched_pull, pushforward=_batched_push),
    params=("body", "closed", "size"),
    flops=lambda e: e.params["size"] * graph_flops(e.params["body"]),
    functions=_batched_functions,
)
"""A graph evaluated for every row of its last operands, sharing the first `closed` ones."""


def batched(
    sources: Sequence[Expr], outputs: Sequence[Expr], operands: Sequence[Expr], size: int
) -> tuple[Expr, ...]:
    """`outputs` for each of `size` rows: `sources[i]` takes the rows of `operands[i]`.

    Nodes that do not depend on the sources are computed once, outside.
    """
    if not outputs:
        return ()
    order = topological(outputs)
    varying = dependents(order, sources)
    shared = dict.fromkeys(
        a
        for node in order
        if node in varying
        for a in node.args
        if a not in varying and a.op is not literal
    )
    shared |= dict.fromkeys(o for o in outputs if o not in varying and o.op is not literal)
    body = bind((*shared, *sources), outputs)
    return results(batched_op(*shared, *operands, body=body, closed=len(shared), size=size))
