"""JAX primitives that hold jaxprs or rules: loops, branches, functions with custom derivatives."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jax.extend import core as jex

from symgrad.errors import NoDerivativeError
from symgrad.expr import Expr, Type, constant, fresh, literal_value, results
from symgrad.ops import branch, calls, checkpoint, loops, pointwise, reduce, shape
from symgrad.ops.shape import broadcast
from symgrad.tracing.homes import Home, home_of_aval, struct, where_read
from symgrad.tracing.primitives import aligned
from symgrad.walk import Graph

ReadGraph = Callable[..., Graph]
"""From a closed jaxpr to a graph, whose last outputs are what the policy `save` asks for."""


def readers(read_graph: ReadGraph) -> dict[str, Callable[..., Any]]:
    """The readers of this family, given how the jaxprs they hold are read."""
    table = {
        "scan": _read_scan,
        "while": _read_while,
        "cond": _read_cond,
        "custom_jvp_call": _read_custom_jvp,
        "custom_vjp_call": _read_custom_vjp,
        "linear_call": _read_linear_call,
        "remat2": _read_checkpoint,
    }
    found = {name: functools.partial(reader, read_graph) for name, reader in table.items()}
    return {**found, "optimization_barrier": checkpoint.barrier}


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
    condition, body = read_graph(cond_jaxpr), read_graph(body_jaxpr)
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
    tested = _unread(condition.inputs[:condition_consts])
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

    def rule(moving: calls.Flags) -> Graph:
        """Results and their tangents as a function of operands and the tangents that move."""
        jaxpr, consts, zeros_out = jvp_jaxpr_fun.call_wrapped(*[not m for m in moving[num_consts:]])
        graph = read_graph(jex.ClosedJaxpr(jaxpr, consts))
        primals, tangents = graph.inputs[: len(own)], graph.inputs[len(own) :]
        plain = calls.inline_custom_below(with_zero_tangents(graph, zeros_out), tangents)
        unread = [c for c, m in zip(closed, moving, strict=False) if m]
        inputs = (*_unread(closed), *primals, *_unread(unread), *tangents)
        return Graph(inputs, plain.outputs, (), plain.origins)

    return calls.custom_jvp(
        *operands,
        body=read_graph(call_jaxpr),
        rule=_rule(rule),
        symbolic_zeros=symbolic_zeros,
    )


def _rule(build: Callable[..., Graph]) -> calls.Rule:
    """A rule of the user's, which may only read what it is given."""

    def checked(*flags: calls.Flags) -> Graph:
        try:
            return build(*flags)
        except jax.errors.UnexpectedTracerError:
            raise NoDerivativeError(
                "the derivative rule of a function uses a traced value that it closes over, which "
                "is gone when the derivative is taken",
                fix="pass the value to the function as an argument, and from a custom_vjp's "
                "forward rule to its backward rule as a residual",
            ) from None

    return calls.Rule(where_read(checked))


def _unread(operands: Sequence[Expr]) -> list[Expr]:
    """Inputs for values that a function closes over: its rules have them already."""
    return [fresh(o.type) for o in operands]


def with_zero_tangents(graph: Graph, zeros_out: Sequence[bool]) -> Graph:
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
) -> Expr:
    body = read_graph(call_jaxpr)
    closed, own = operands[:num_consts], operands[num_consts:]
    homes: dict[calls.Flags, list[Home | None]] = {}

    def forward(moving: calls.Flags) -> Graph:
        """Results and residuals as a function of the operands."""
        jaxpr, consts = fwd_jaxpr_thunk.call_wrapped(*moving[num_consts:])
        graph = read_graph(jex.ClosedJaxpr(jaxpr, consts))
        _, residual_tree, forwarded = out_trees()
        count = len(graph.outputs) - len(body.outputs)
        inputs, kept = (*_unread(closed), *graph.inputs), iter(graph.outputs[:count])
        residuals = [next(kept) if i is None else inputs[i] for i in forwarded]
        found = iter(jaxpr.outvars)
        known = [v.aval for v in (*call_jaxpr.jaxpr.invars[:num_consts], *jaxpr.invars)]
        avals = [next(found).aval if i is None else known[i] for i in forwarded]
        homes[moving] = [home_of_aval(a) for a in avals]
        assert len(residuals) == residual_tree.num_leaves
        return Graph(inputs, (*graph.outputs[count:], *residuals), (), graph.origins)

    def backward(moving: calls.Flags, given: calls.Flags) -> Graph:
        """Cotangents of the operands as a function of residuals and the cotangents given."""
        residuals = forward_rule(moving).outputs[len(body.outputs) :]
        arrays = [r.type for r in residuals]
        arrays += [o.type for o, g in zip(body.outputs, given, strict=True) if g]
        result_homes = [
            home_of_aval(a) for a, g in zip(call_jaxpr.out_avals, given, strict=True) if g
        ]
        present: list[bool] = []

        def flat(*values: Any) -> list[Any]:
            cotangents = iter(values[len(residuals) :])
            slots = [
                next(cotangents) if g else _symbolic_zero(o.type)
                for g, o in zip(given, body.outputs, strict=True)
            ]
            known = [_known(r, v) for r, v in zip(residuals, values, strict=False)]
            found = bwd.call_wrapped(*known, *slots)
            present[:] = [isinstance(f, jax.Array | jax.core.Tracer) for f in found]
            return [f for f, p in zip(found, present, strict=True) if p]

        avals = [
            struct(Type(t.shape, t.dtype), h)
            for t, h in zip(arrays, (*homes[moving], *result_homes), strict=True)
        ]
        graph = read_graph(jax.make_jaxpr(flat)(*avals))
        found = iter(graph.outputs)
        full = [next(found) if p else _nothing(o) for p, o in zip(present, own, strict=True)]
        nothing = map(_nothing, closed)
        return Graph(graph.inputs, (*nothing, *full), (), graph.origins)

    forward_rule = _rule(forward)
    return calls.custom_vjp(
        *operands,
        body=body,
        forward=forward_rule,
        backward=_rule(backward),
        closed=num_consts,
        symbolic_zeros=symbolic_zeros,
    )


def _nothing(operand: Expr) -> Expr:
    """The cotangent of an operand that has none; that of integers and keys is never read."""
    return shape.zeros(operand.type) if operand.type.inexact else constant(0, bool)


def _known(residual: Expr, value: Any) -> Any:
    """A residual that is a number is given to the backward rule as one: it may branch on it."""
    number = literal_value(residual)
    if number is None:
        return value
    return number.item() if number.dtype == bool or residual.type.weak else number


def _symbolic_zero(type: Type) -> SymbolicZero:
    """The cotangent of a result that nothing depends on, as rules that ask for it get it."""
    aval = jax.typeof(jax.ShapeDtypeStruct(type.shape, type.dtype))
    return SymbolicZero(aval.to_tangent_aval())


def _read_linear_call(
    read_graph: ReadGraph,
    *operands: Expr,
    callee: Any,
    transpose_thunk: Any,
    num_callee_consts: int,
    num_res: int,
) -> Expr:
    constants = num_callee_consts + num_res

    def backward() -> Graph:
        transposed, consts = transpose_thunk()
        graph = read_graph(transposed, known=consts)
        return Graph(
            (*_unread(operands[:num_callee_consts]), *graph.inputs),
            graph.outputs,
            (),
            graph.origins,
        )

    return calls.linear_call(
        *operands, body=read_graph(callee), backward=_rule(backward), constants=constants
    )


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
