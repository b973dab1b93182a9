"""Primitives of other packages, differentiated by the rules that their authors gave them.

An author tells JAX how tangents go through a primitive and, where it is linear, what its
transpose is. Such a rule is a Python function like that of a `custom_jvp`: it is traced, and
what it computes becomes part of the graph. The rules of JAX's own primitives are not asked.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
from jax.extend.core import Primitive, primitives
from jax.interpreters import ad

from symgrad.errors import NoDerivativeError
from symgrad.expr import Expr
from symgrad.ops import calls, shape
from symgrad.tracing.nested import ReadGraph, with_zero_tangents
from symgrad.walk import Graph


def has_rule(primitive: Any) -> bool:
    """Whether the author of a primitive, who is not JAX, says how it is differentiated."""
    rules = ad.primitive_jvps.get(primitive), ad.primitive_transposes.get(primitive)
    if rules[0] is None or primitive in PRIMITIVES_OF_JAX:
        return False
    return any(not _of_jax(f) for rule in rules for f in _parts(rule))


PRIMITIVES_OF_JAX = frozenset(p for p in vars(primitives).values() if isinstance(p, Primitive))
"""Other packages have been seen to add rules to these too."""


def _parts(rule: Any) -> Iterator[Any]:
    """The functions that a rule is put together from."""
    match rule:
        case functools.partial(func=function, args=args):
            yield from _parts((function, *args))
        case list() | tuple():
            for part in rule:
                yield from _parts(part)
        case _ if callable(rule):
            yield rule


def _of_jax(function: Any) -> bool:
    return (getattr(function, "__module__", None) or "jax").partition(".")[0] == "jax"


def with_rules(read_graph: ReadGraph, eqn: Any, operands: Sequence[Expr], body: Graph) -> Expr:
    """A node that runs as `body` does and knows the rules of the primitive that is in it."""
    primitive, params = eqn.primitive, eqn.params
    avals, outs = [v.aval for v in eqn.invars], [v.aval for v in eqn.outvars]

    def rule(moving: calls.Flags) -> Graph:
        """Results and their tangents as a function of operands and the tangents that move."""
        zeros: list[bool] = []

        def push(*values: Any) -> list[Any]:
            tangents = iter(values[len(avals) :])
            given = [next(tangents) if m else _zero(a) for m, a in zip(moving, avals, strict=True)]
            pushed = ad.primitive_jvps[primitive](values[: len(avals)], given, **params)
            found, dots = pushed if primitive.multiple_results else ([p] for p in pushed)
            zeros[:] = [isinstance(d, ad.Zero) for d in dots]
            return [*found, *(d for d, zero in zip(dots, zeros, strict=True) if not zero)]

        graph = _traced(read_graph, push, [*avals, *_only(avals, moving)])
        tangents = graph.inputs[len(avals) :]
        return calls.inline_custom_below(with_zero_tangents(graph, zeros), tangents)

    def backward(linear: calls.Flags) -> Graph:
        """Cotangents of the linear operands as a function of the others and of cotangents."""
        transpose = ad.primitive_transposes.get(primitive)
        if transpose is None:
            raise NoDerivativeError(
                f"`{primitive.name}` has no transpose, which reverse mode needs",
                fix="use forward mode (sg.jvp, sg.jacfwd), or register a transpose with JAX",
            )
        constants = _only(avals, [not i for i in linear])
        absent: list[bool] = []

        def pull(*values: Any) -> list[Any]:
            known, given = iter(values), iter(values[len(constants) :])
            args = [
                ad.UndefinedPrimal(a) if i else next(known)
                for i, a in zip(linear, avals, strict=True)
            ]
            slots = [next(given) if _inexact(a) else _zero(a) for a in outs]
            pulled = transpose(slots if primitive.multiple_results else slots[0], *args, **params)
            found = _only(pulled, linear)
            absent[:] = [f is None or isinstance(f, ad.Zero) for f in found]
            return [f for f, a in zip(found, absent, strict=True) if not a]

        graph = _traced(read_graph, pull, [*constants, *filter(_inexact, outs)])
        found = iter(graph.outputs)
        types = [o.type for o in _only(operands, linear)]
        full = [shape.zeros(t) if a else next(found) for a, t in zip(absent, types, strict=True)]
        return Graph(graph.inputs, tuple(full), (), graph.origins)

    return calls.foreign(
        *operands, body=body, rule=calls.Rule(rule), backward=calls.Rule(backward), linear=()
    )


def _traced(read_graph: ReadGraph, function: Callable[..., Any], avals: Sequence[Any]) -> Graph:
    return read_graph(jax.make_jaxpr(function)(*avals))


def _only(values: Sequence[Any], flags: Sequence[bool]) -> list[Any]:
    return [v for v, f in zip(values, flags, strict=True) if f]


def _zero(aval: Any) -> ad.Zero:
    return ad.Zero(aval.to_tangent_aval())


def _inexact(aval: Any) -> bool:
    return jax.dtypes.issubdtype(aval.dtype, jax.numpy.inexact)
