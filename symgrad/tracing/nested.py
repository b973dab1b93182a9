"""JAX primitives that hold jaxprs or rules: loops, branches, functions with custom derivatives."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
from jax.extend import core as jex

from symgrad.expr import Expr, fresh
from symgrad.ops import branch, calls, loops, pointwise, shape
from symgrad.tracing.primitives import aligned
from symgrad.walk import Graph

ReadGraph = Callable[[Any], Graph]
"""From a closed jaxpr to a graph."""


def readers(read_graph: ReadGraph) -> dict[str, Callable[..., Any]]:
    """The readers of this family, given how the jaxprs they hold are read."""
    table = {
        "scan": _read_scan,
        "while": _read_while,
        "cond": _read_cond,
        "custom_jvp_call": _read_custom_jvp,
        "custom_vjp_call": _read_custom_vjp,
    }
    return {name: functools.partial(reader, read_graph) for name, reader in table.items()}


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
    return loops.scan(
        *operands,
        body=read_graph(jaxpr),
        consts=num_consts,
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
    return loops.while_(
        *operands,
        condition=read_graph(cond_jaxpr),
        body=read_graph(body_jaxpr),
        condition_consts=cond_nconsts,
        body_consts=body_nconsts,
    )


def _read_cond(read_graph: ReadGraph, index: Expr, *operands: Expr, branches: Any) -> Expr:
    return branch.switch(index, *operands, branches=tuple(read_graph(b) for b in branches))


def definition_of(jaxpr: Any) -> str:
    """Name, file and line of the Python function behind a jaxpr, as JAX writes them."""
    info = jaxpr.debug_info
    return info.func_src_info or "" if info is not None else ""


@functools.cache
def _library_functions() -> dict[str, Any]:
    """Functions of JAX with rules of their own that symgrad has operations for."""

    def definition(function: Callable[..., Any], *args: float) -> str:
        closed = jax.make_jaxpr(function)(*args)
        return definition_of(closed.jaxpr.eqns[0].params["call_jaxpr"].jaxpr)

    return {
        definition(jax.nn.relu, 1.0): pointwise.relu,
        definition(jnp.logaddexp, 1.0, 1.0): pointwise.logaddexp,
    }


def _read_custom_jvp(
    read_graph: ReadGraph,
    *operands: Expr,
    call_jaxpr: Any,
    jvp_jaxpr_fun: Any,
    num_consts: int,
    symbolic_zeros: bool,
) -> Expr | None:
    known = _library_functions().get(definition_of(call_jaxpr.jaxpr))
    if known is not None and len(operands) == len(call_jaxpr.jaxpr.invars):
        return known(*aligned(operands))
    closed, own = operands[:num_consts], operands[num_consts:]

    def rule() -> Graph:
        jaxpr, consts, zeros_out = jvp_jaxpr_fun.call_wrapped(*[not o.type.inexact for o in own])
        graph = read_graph(jex.ClosedJaxpr(jaxpr, consts))
        primals, tangents = graph.inputs[: len(own)], graph.inputs[len(own) :]
        plain = calls.inline_custom_below(_with_zero_tangents(graph, zeros_out), tangents)
        inputs = (*_unread(closed), *primals, *_unread(_inexact(closed)), *tangents)
        return Graph(inputs, plain.outputs, (), plain.origins)

    return calls.custom_jvp(*operands, body=read_graph(call_jaxpr), rule=calls.Rule(rule))


def _unread(operands: Sequence[Expr]) -> list[Expr]:
    """Inputs for values that a function closes over: its rules have them already."""
    return [fresh(o.type) for o in operands]


def _inexact(operands: Sequence[Expr]) -> list[Expr]:
    return [o for o in operands if o.type.inexact]


def _with_zero_tangents(graph: Graph, zeros_out: Sequence[bool]) -> Graph:
    """A rule that returned symbolic zeros, with one tangent for every inexact result."""
    count = len(zeros_out)
    primals, tangents = graph.outputs[:count], iter(graph.outputs[count:])
    full = [
        shape.zeros(p.type) if zero else next(tangents)
        for p, zero in zip(primals, zeros_out, strict=True)
    ]
    kept = [t for t, p in zip(full, primals, strict=True) if p.type.inexact]
    return Graph(graph.inputs, (*primals, *kept), graph.names, graph.origins)


def _read_custom_vjp(
    read_graph: ReadGraph,
    *operands: Expr,
    call_jaxpr: Any,
    fwd_jaxpr_thunk: Any,
    num_consts: int,
    bwd: Any,
    out_trees: Any,
    symbolic_zeros: bool,
) -> Expr | None:
    if symbolic_zeros:
        return None
    body = read_graph(call_jaxpr)
    closed, own = operands[:num_consts], operands[num_consts:]

    def forward() -> Graph:
        """Results and residuals as a function of the operands."""
        jaxpr, consts = fwd_jaxpr_thunk.call_wrapped(*[o.type.inexact for o in own])
        graph = read_graph(jex.ClosedJaxpr(jaxpr, consts))
        _, residual_tree, forwarded = out_trees()
        count = len(graph.outputs) - len(body.outputs)
        inputs, kept = (*_unread(closed), *graph.inputs), iter(graph.outputs[:count])
        residuals = [next(kept) if i is None else inputs[i] for i in forwarded]
        assert len(residuals) == residual_tree.num_leaves
        return Graph(inputs, (*graph.outputs[count:], *residuals), (), graph.origins)

    def backward() -> Graph:
        """Cotangents of the operands as a function of residuals and cotangents."""
        residuals = forward_rule().outputs[len(body.outputs) :]
        types = [r.type for r in (*residuals, *body.outputs)]
        present: list[bool] = []

        def flat(*values: Any) -> list[Any]:
            found = bwd.call_wrapped(*values)
            present[:] = [isinstance(f, jax.Array | jax.core.Tracer) for f in found]
            return [f for f, p in zip(found, present, strict=True) if p]

        avals = [jax.ShapeDtypeStruct(t.shape, t.dtype) for t in types]
        graph = read_graph(jax.make_jaxpr(flat)(*avals))
        found = iter(graph.outputs)
        full = [
            next(found) if p else shape.zeros(o.type) for p, o in zip(present, own, strict=True)
        ]
        nothing = [shape.zeros(o.type) for o in closed]
        return Graph(graph.inputs, (*nothing, *full), (), graph.origins)

    forward_rule = calls.Rule(forward)
    return calls.custom_vjp(
        *operands, body=body, forward=forward_rule, backward=calls.Rule(backward)
    )
