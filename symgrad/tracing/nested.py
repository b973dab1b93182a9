"""JAX primitives that hold jaxprs: loops, branches, what is computed again."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from jax.extend import core as jex

from symgrad.expr import Expr, captured, fresh, results
from symgrad.ops import branch, checkpoint, loops, pointwise, reduce
from symgrad.ops.shape import broadcast
from symgrad.walk import Graph, rewritten

ReadGraph = Callable[..., Graph]
"""From a closed jaxpr to a graph, whose last outputs are what the policy `save` asks for."""


def readers(read_graph: ReadGraph) -> dict[str, Callable[..., Any]]:
    """The readers of this family, given how the jaxprs they hold are read."""
    table = {
        "scan": _read_scan,
        "while": _read_while,
        "cond": _read_cond,
        "remat2": _read_checkpoint,
    }
    found = {name: functools.partial(reader, read_graph) for name, reader in table.items()}
    return {**found, "optimization_barrier": checkpoint.barrier}


def _closed_over(
    body: Graph, operands: Sequence[Expr], consts: int
) -> tuple[Graph, tuple[Expr, ...]]:
    """A body that reads captured arrays itself, and what is left of its first operands.

    What laws know of such an array they then know inside the loop.
    """
    known = {i for i, e in enumerate(operands[:consts]) if e.op is captured}
    if not known:
        return body, tuple(operands)
    inside = {body.inputs[i]: operands[i] for i in known}
    roots = rewritten(body.roots, inside)
    origins = {inside.get(node, node): origin for node, origin in body.origins.items()}
    inputs, left = (
        tuple(e for i, e in enumerate(of) if i not in known) for of in (body.inputs, operands)
    )
    names = tuple(n for i, n in enumerate(body.names) if i not in known)
    return replace(body, inputs=inputs, names=names).with_roots(roots, origins), left


def _read_scan(
    read_graph: ReadGraph,
    *operands: Expr,
    jaxpr: Any,
    num_consts: int,
    num_carry: int,
    length: int,
    reverse: bool,
    unroll: int,
) -> Expr:
    body, left = _closed_over(read_graph(jaxpr), operands, num_consts)
    return loops.scan(
        *left,
        body=body,
        consts=num_consts - (len(operands) - len(left)),
        carry=num_carry,
        length=length,
        reverse=reverse,
        unroll=unroll,
    )


def _read_while(
    read_graph: ReadGraph,
    *operands: Expr,
    cond_jaxpr: Any,
    body_jaxpr: Any,
    cond_nconsts: int,
    body_nconsts: int,
) -> Expr:
    condition, body = read_graph(cond_jaxpr), read_graph(body_jaxpr)
    condition, tested = _closed_over(condition, operands[:cond_nconsts], cond_nconsts)
    body, own = _closed_over(body, operands[cond_nconsts:], body_nconsts)
    body_nconsts -= len(operands) - cond_nconsts - len(own)
    cond_nconsts, operands = len(tested), (*tested, *own)
    if condition.outputs[0].ndim:
        operands = (*operands[:cond_nconsts], *operands)
        condition, body = _until_all_end(condition, body, cond_nconsts, body_nconsts)
        body_nconsts += cond_nconsts
    return loops.while_(
        *operands,
        condition=condition,
        body=body,
        condition_consts=cond_nconsts,
        body_consts=body_nconsts,
    )


def _until_all_end(
    condition: Graph, body: Graph, condition_consts: int, body_consts: int
) -> tuple[Graph, Graph]:
    """A loop that `jax.vmap` made of many: those that have ended keep their values.

    The new body takes the constants of the condition before its own.
    """
    (goes_on,) = condition.outputs
    any_left = reduce.reduce_or(goes_on, axes=tuple(range(goes_on.ndim)))
    tested = [fresh(i.type) for i in condition.inputs[:condition_consts]]
    before = body.inputs[body_consts:]
    (active,) = condition(*tested, *before)

    def kept(new: Expr, old: Expr) -> Expr:
        rows = broadcast(active, shape=new.shape, axes=tuple(range(active.ndim)))
        return pointwise.select(rows, new, old)

    after = tuple(kept(new, old) for new, old in zip(body.outputs, before, strict=True))
    names = body.names and ("",) * condition_consts + body.names
    return (
        Graph(condition.inputs, (any_left,), condition.names, condition.origins),
        Graph((*tested, *body.inputs), after, names, body.origins),
    )


def _read_cond(
    read_graph: ReadGraph,
    index: Expr,
    *operands: Expr,
    branches: Any,
    branches_platforms: Any = None,
) -> Expr | tuple[Expr, ...]:
    graphs = tuple(read_graph(b) for b in branches)
    if branches_platforms is None:
        return branch.switch(index, *operands, branches=graphs)
    # Code of Mosaic runs inside kernels of Pallas, which are never read.
    outside = [i for i, names in enumerate(branches_platforms) if names != ("mosaic",)]
    kept, platforms = ([of[i] for i in outside] for of in (graphs, branches_platforms))
    if platforms == [None] and not kept[0].effects:
        return kept[0](*operands)
    return branch.by_platform(*operands, branches=tuple(kept), platforms=tuple(platforms))


def _read_checkpoint(
    read_graph: ReadGraph,
    *operands: Expr,
    jaxpr: Any,
    prevent_cse: bool,
    differentiated: bool,
    policy: Any,
) -> tuple[Expr, ...]:
    """What is computed again is always kept apart from the original, whatever `prevent_cse`."""
    body = read_graph(jex.ClosedJaxpr(jaxpr, ()), save=policy)
    count = len(jaxpr.outvars)
    found = results(checkpoint.checkpoint(*operands, body=body, kept=len(body.outputs) - count))
    return found[:count]
