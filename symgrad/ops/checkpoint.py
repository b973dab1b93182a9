"""Recomputation: what a call computes on the way is computed again for its derivative."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symgrad.derive import Slot, pushforward
from symgrad.expr import Custom, Expr, Nested, Op, fresh, no_flops, results
from symgrad.ops.bodies import (
    as_given,
    as_tuple,
    as_types,
    fresh_slots,
    graph_flops,
    group_source,
    plain_function,
    pulled_back,
    type_of_body,
)
from symgrad.walk import bind, substitute, topological


def _behind_barrier(slots: Sequence[Slot]) -> tuple[Slot, ...]:
    found = iter(barrier(*(s for s in slots if s is not None)))
    return tuple(None if s is None else next(found) for s in slots)


def _barrier_pull(given: Any, ans: Expr, *args: Expr) -> tuple[Slot, ...]:
    return _behind_barrier(as_tuple(given))


def _barrier_push(tangents: tuple[Slot, ...], ans: Expr, *args: Expr) -> Any:
    return as_given(_behind_barrier(tangents))


barrier_op = Op(
    "again",
    lambda *operands: as_types(operands),
    lambda e: f"lax.optimization_barrier({group_source(0, len(e.args))})",
    Custom(pullback=_barrier_pull, pushforward=_barrier_push),
    flops=no_flops,
)
"""Its operands, none before all are computed, and not to be merged with the originals."""


def barrier(*operands: Expr) -> tuple[Expr, ...]:
    return results(barrier_op(*operands)) if operands else ()


def _checkpoint_push(tangents: tuple[Slot, ...], ans: Expr, *args: Expr) -> Any:
    """The tangents are a checkpointed call too, of primals and tangents."""
    body = ans.params["body"]
    inside = fresh_slots(tangents, body.inputs)
    pushed = pushforward(body.outputs, body.inputs, inside, body.origins)
    joined = bind((*body.inputs, *inside), pushed)
    if not joined.outputs:
        return as_given(pushed)
    given = (t for t in tangents if t is not None)
    found = iter(results(checkpoint(*args, *given, body=joined, kept=0)))
    return as_given([None if p is None else next(found) for p in pushed])


def _checkpoint_pull(
    given: Any, wanted: Sequence[bool], ans: Expr, *args: Expr
) -> tuple[Slot, ...]:
    """The pullback of the body, which is evaluated again from what is behind a barrier.

    The barrier waits for the cotangents, so that nothing is computed again before it is
    needed, and keeps the second evaluation from being merged with the first.
    """
    body, kept = ans.params["body"], ans.params["kept"]
    cotangents = as_tuple(given)
    seeds = fresh_slots(cotangents, body.outputs)
    pulled = pulled_back(body, seeds, wanted)
    present = [p for p in pulled if p is not None]
    first = len(body.outputs) - kept
    saved = {o: fresh(o.type) for o in body.outputs[first:]}
    cut = substitute(present, saved)
    below = set(topological(cut))
    inside = (*body.inputs, *saved.values(), *seeds)
    outside = (*args, *results(ans)[first:], *cotangents)
    read = {i: o for i, o in zip(inside, outside, strict=True) if i in below}
    again = dict(zip(read, barrier(*read.values()), strict=True))
    found = iter(substitute(cut, again))
    return tuple(None if p is None else next(found) for p in pulled)


checkpoint = Op(
    "checkpoint",
    type_of_body,
    "{body}(*xs)",
    Nested(pullback=_checkpoint_pull, pushforward=_checkpoint_push),
    params=("body", "kept"),
    flops=lambda e: graph_flops(e.params["body"]),
    functions=lambda e: (plain_function("body", e.params["body"]),),
)
"""As `jax.checkpoint`: the last `kept` results are values the policy saves for the derivative."""
