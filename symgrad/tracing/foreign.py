"""Primitives of other packages, differentiated by the rules that their authors gave them.

An author tells JAX how tangents go through a primitive and, where it is linear, what its
transpose is. Such a rule is a Python function like that of a `custom_jvp`: it is traced, and
what it computes becomes part of the graph. The rules of JAX's own primitives are not asked.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
from jax.extend.core import Primitive, primitives
from jax.interpreters import ad

from symgrad.errors import NoDerivativeError
from symgrad.expr import Expr
from symgrad.ops import calls, shape
from symgrad.tracing.custom import traced, with_tangents
from symgrad.tracing.nested import ReadGraph
from symgrad.tracing.values import type_of_aval
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


@dataclass(frozen=True, slots=True)
class _Rules:
    """The rules of a primitive with its parameters, on operands and to results of these types."""

    read_graph: ReadGraph
    primitive: Primitive
    params: dict[str, Any]
    operands: Sequence[Any]
    results: Sequence[Any]

    def rule(self, moving: calls.Flags) -> Graph:
        """Results and their tangents as a function of operands and the tangents that move."""
        count, avals = len(self.results), [*self.operands, *_only(self.operands, moving)]
        push = functools.partial(self._push, moving)
        graph, found = traced(self.read_graph, push, avals)
        full = with_tangents(graph, graph.outputs[:count], found[count:])
        return calls.inline_custom_below(full, graph.inputs[len(self.operands) :])

    def _push(self, moving: calls.Flags, *values: Any) -> list[Any]:
        """Results, and a tangent of each: None for zero."""
        primals, tangents = values[: len(moving)], iter(values[len(moving) :])
        given = [
            next(tangents) if m else _zero(a) for m, a in zip(moving, self.operands, strict=True)
        ]
        pushed = ad.primitive_jvps[self.primitive](primals, given, **self.params)
        found, dots = pushed if self.primitive.multiple_results else ([p] for p in pushed)
        return [*found, *map(_unless_zero, dots)]

    def backward(self, linear: calls.Flags) -> Graph:
        """Cotangents of the linear operands as a function of the others and of cotangents."""
        constants = _only(self.operands, [not i for i in linear])
        avals = [*constants, *filter(_inexact, self.results)]
        graph, found = traced(self.read_graph, functools.partial(self._pull, linear), avals)
        types = [type_of_aval(a) for a in _only(self.operands, linear)]
        full = [shape.zeros(t) if f is None else f for f, t in zip(found, types, strict=True)]
        return Graph(graph.inputs, tuple(full), (), graph.origins)

    def _pull(self, linear: calls.Flags, *values: Any) -> list[Any]:
        """Cotangents of the linear operands, None for zero."""
        transpose = ad.primitive_transposes.get(self.primitive)
        if transpose is None:
            raise NoDerivativeError(
                f"`{self.primitive.name}` has no transpose, which reverse mode needs",
                fix="use forward mode (sg.jvp, sg.jacfwd), or register a transpose with JAX",
            )
        known, given = iter(values), iter(values[linear.count(False) :])
        operands = [
            ad.UndefinedPrimal(a) if i else next(known)
            for i, a in zip(linear, self.operands, strict=True)
        ]
        slots = [next(given) if _inexact(a) else _zero(a) for a in self.results]
        cotangents = slots if self.primitive.multiple_results else slots[0]
        pulled = transpose(cotangents, *operands, **self.params)
        return [_unless_zero(p) for p in _only(pulled, linear)]


def with_rules(read_graph: ReadGraph, eqn: Any, operands: Sequence[Expr], body: Graph) -> Expr:
    """A node that runs as `body` does and knows the rules of the primitive that is in it."""
    avals, outs = [v.aval for v in eqn.invars], [v.aval for v in eqn.outvars]
    rules = _Rules(read_graph, eqn.primitive, eqn.params, avals, outs)
    return calls.foreign(
        *operands,
        body=body,
        rule=calls.Rule(rules.rule),
        backward=calls.Rule(rules.backward),
        linear=(),
    )


def _only(values: Sequence[Any], flags: Sequence[bool]) -> list[Any]:
    return [v for v, f in zip(values, flags, strict=True) if f]


def _unless_zero(value: Any) -> Any:
    return None if isinstance(value, ad.Zero) else value


def _zero(aval: Any) -> ad.Zero:
    return ad.Zero(aval.to_tangent_aval())


def _inexact(aval: Any) -> bool:
    return jax.dtypes.issubdtype(aval.dtype, jax.numpy.inexact)
