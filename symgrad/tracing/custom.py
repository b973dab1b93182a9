"""Functions whose derivative rules the user gave: their rules become part of the graph."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jax.extend import core as jex

from symgrad.derive import instantiate
from symgrad.errors import NoDerivativeError
from symgrad.expr import Expr, Type, constant, fresh, literal_value
from symgrad.ops import calls, entropy, pointwise, shape, tails
from symgrad.tracing.homes import Home, home_of_aval, struct, where_read
from symgrad.tracing.location import definition_of
from symgrad.tracing.nested import ReadGraph
from symgrad.tracing.primitives import aligned
from symgrad.tracing.solvers import is_slogdet, read_slogdet
from symgrad.walk import Graph


def readers(read_graph: ReadGraph) -> dict[str, Callable[..., Any]]:
    """The readers of this family, given how the jaxprs they hold are read."""
    table = {
        "custom_jvp_call": _read_custom_jvp,
        "custom_vjp_call": _read_custom_vjp,
        "linear_call": _read_linear_call,
    }
    return {name: functools.partial(reader, read_graph) for name, reader in table.items()}


def traced(
    read_graph: ReadGraph, function: Callable[..., Sequence[Any]], avals: Sequence[Any]
) -> tuple[Graph, list[Expr | None]]:
    """A function as a graph, and the list of its results: None where it returns None."""
    jaxpr, shapes = jax.make_jaxpr(function, return_shape=True)(*avals)
    graph = read_graph(jaxpr)
    found = iter(graph.outputs)
    return graph, [None if s is None else next(found) for s in shapes]


def with_tangents(graph: Graph, primals: Sequence[Expr], tangents: Sequence[Expr | None]) -> Graph:
    """A rule that gives results and one tangent for every inexact one, zeros for None."""
    pairs = zip(tangents, primals, strict=True)
    kept = [instantiate(t, p) for t, p in pairs if p.type.inexact]
    return Graph(graph.inputs, (*primals, *kept), graph.names, graph.origins)


@functools.cache
def _library_functions() -> dict[str, Any]:
    """Functions of JAX with rules of their own that symgrad has operations for."""

    def definition(function: Callable[..., Any], *args: float) -> str:
        closed = jax.make_jaxpr(function)(*args)
        return definition_of(closed.jaxpr.eqns[0].params["call_jaxpr"].jaxpr)

    return {
        definition(jax.nn.relu, 1.0): pointwise.relu,
        definition(jnp.logaddexp, 1.0, 1.0): pointwise.logaddexp,
        definition(jax.scipy.special.log_ndtr, 1.0): tails.log_ndtr_op,
        definition(jax.scipy.special.xlogy, 1.0, 1.0): entropy.xlogy,
        definition(jax.scipy.special.xlog1py, 1.0, 1.0): entropy.xlog1py,
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
    if len(operands) == 1 and is_slogdet(call_jaxpr.jaxpr):
        return read_slogdet(*operands)
    closed, own = operands[:num_consts], operands[num_consts:]

    def rule(moving: calls.Flags) -> Graph:
        """Results and their tangents as a function of operands and the tangents that move."""
        jaxpr, consts, zeros_out = jvp_jaxpr_fun.call_wrapped(*[not m for m in moving[num_consts:]])
        graph = read_graph(jex.ClosedJaxpr(jaxpr, consts))
        primals, tangents = graph.inputs[: len(own)], graph.inputs[len(own) :]
        count = len(zeros_out)
        moved = iter(graph.outputs[count:])
        slots = [None if zero else next(moved) for zero in zeros_out]
        full = with_tangents(graph, graph.outputs[:count], slots)
        plain = calls.inline_custom_below(full, tangents)
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


@dataclass(frozen=True, slots=True)
class _Forward:
    """The forward rule of a `custom_vjp` on operands of which some move.

    Attributes:
        graph: from the operands to the results of the function, and residuals after them.
        residuals: the last outputs of the graph.
        homes: where they live.
    """

    graph: Graph
    residuals: tuple[Expr, ...]
    homes: tuple[Home | None, ...]


@dataclass(frozen=True, slots=True)
class _CustomVjp:
    """The rules of a function with a `custom_vjp`.

    Attributes:
        read_graph: how a jaxpr becomes a graph.
        call: the function, as JAX traced it.
        body: the same as a graph.
        closed: how many of its inputs are values that it closes over.
        trace_forward: traces the forward rule, told which arguments move.
        forwarded: once it is traced, for each residual the number of the input that it is,
            or None.
        pull: runs the backward rule on residuals and cotangents.
    """

    read_graph: ReadGraph
    call: Any
    body: Graph
    closed: int
    trace_forward: Callable[..., tuple[Any, Sequence[Any]]]
    forwarded: Callable[[], Sequence[int | None]]
    pull: Callable[..., Sequence[Any]]

    def forward(self, moving: calls.Flags) -> _Forward:
        jaxpr, consts = self.trace_forward(*moving[self.closed :])
        graph = self.read_graph(jex.ClosedJaxpr(jaxpr, consts))
        inputs = (*_unread(self.body.inputs[: self.closed]), *graph.inputs)
        input_vars = (*self.call.jaxpr.invars[: self.closed], *jaxpr.invars)
        count = len(graph.outputs) - len(self.body.outputs)
        given = list(zip(inputs, input_vars, strict=True))
        made = iter(zip(graph.outputs[:count], jaxpr.outvars, strict=False))
        kept = [next(made) if i is None else given[i] for i in self.forwarded()]
        residuals = tuple(node for node, _ in kept)
        homes = tuple(home_of_aval(var.aval) for _, var in kept)
        outputs = (*graph.outputs[count:], *residuals)
        return _Forward(Graph(inputs, outputs, (), graph.origins), residuals, homes)

    def backward(self, forward: _Forward, given: calls.Flags) -> Graph:
        """Cotangents of the operands as a function of residuals and the cotangents given."""
        results = zip(self.body.outputs, map(home_of_aval, self.call.out_avals), given, strict=True)
        operands = [*zip(forward.residuals, forward.homes, strict=True)]
        operands += [(result, home) for result, home, g in results if g]
        avals = [struct(Type(o.shape, o.dtype), home) for o, home in operands]
        run = functools.partial(self._run_backward, forward.residuals, given)
        graph, found = traced(self.read_graph, run, avals)
        slots = (*(None,) * self.closed, *found)
        outputs = [
            _nothing(i) if s is None else s for i, s in zip(self.body.inputs, slots, strict=True)
        ]
        return Graph(graph.inputs, tuple(outputs), (), graph.origins)

    def _run_backward(
        self, residuals: Sequence[Expr], given: calls.Flags, *values: Any
    ) -> list[Any]:
        """Cotangents of the arguments, None for those that the rule leaves out."""
        known = [_known(r, v) for r, v in zip(residuals, values, strict=False)]
        cotangents = iter(values[len(residuals) :])
        slots = [
            next(cotangents) if g else _symbolic_zero(o.type)
            for g, o in zip(given, self.body.outputs, strict=True)
        ]
        found = self.pull(*known, *slots)
        return [f if isinstance(f, jax.Array | jax.core.Tracer) else None for f in found]


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
    rules = _CustomVjp(
        read_graph,
        call=call_jaxpr,
        body=read_graph(call_jaxpr),
        closed=num_consts,
        trace_forward=fwd_jaxpr_thunk.call_wrapped,
        forwarded=lambda: out_trees()[2],
        pull=bwd.call_wrapped,
    )
    forward = functools.cache(rules.forward)
    return calls.custom_vjp(
        *operands,
        body=rules.body,
        forward=_rule(lambda moving: forward(moving).graph),
        backward=_rule(lambda moving, given: rules.backward(forward(moving), given)),
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
