"""Rewrite rules as data: equations between expressions, and matching them.

A rule is an equation whose two sides are built by calling operations on pattern
variables, so it can be read, evaluated and tested:

    @equation(exact=True)
    def negation_is_an_involution(x):
        return -(-x), x

Laws about axes and shapes are functions from a node to a node, or to None where
they do not apply. There is no third kind.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from symgrad.expr import Expr, Op, Operand, Type
from symgrad.formula import equation_latex
from symgrad.ops.shape import full, spread, uniform_value
from symgrad.verified import VERIFIED


class Variable(Operand):
    """Matches any node, or any parameter, the same one everywhere in a rule."""

    __slots__ = ("name",)

    def __init__(self, name: str):
        self.name = name

    @classmethod
    def apply(cls, op: Op, args: tuple[Any, ...], params: dict[str, Any]) -> Pattern:
        return Pattern(op, args, params)

    def __repr__(self) -> str:
        return self.name


class Pattern(Operand):
    """An operation applied to patterns, variables and numbers."""

    __slots__ = ("args", "op", "params")

    def __init__(self, op: Op, args: tuple[Any, ...], params: dict[str, Any]):
        self.op, self.args, self.params = op, args, params

    @classmethod
    def apply(cls, op: Op, args: tuple[Any, ...], params: dict[str, Any]) -> Pattern:
        return cls(op, args, params)

    def __repr__(self) -> str:
        return f"{self.op.name}({', '.join(map(repr, self.args))})"


Bindings = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """One law.

    Attributes:
        name: the law's name, as reports show it.
        law: the law in words or as a formula.
        roots: operations at the root of what it rewrites.
        rewrite: the node that equals the given one, None where the law does not apply.
        exact: whether every floating-point bit is kept.
        sides: both sides of an equation, None for a law about shapes.
        derivatives_only: applied to nodes that differentiation made, never to the user's own:
            the law re-associates products, and the user's order may guard against overflow.
        written_only: applied to the user's own nodes, never to those that differentiation made.
        protects: what goes wrong where the law is not applied, such as "overflow of exp".
        guard: what an equation asks of the nodes that its variables of the same names stand for.
    """

    name: str
    law: str
    roots: tuple[Op, ...]
    rewrite: Callable[[Expr], Expr | None]
    exact: bool
    sides: tuple[Any, Any] | None = None
    derivatives_only: bool = False
    written_only: bool = False
    protects: str = ""
    guard: Callable[..., bool] | None = None

    @property
    def latex(self) -> str:
        """The equation in mathematical notation, empty for a law about shapes."""
        return equation_latex(*self.sides) if self.sides else ""

    @property
    def verified(self) -> tuple[str, ...]:
        """How the law was verified; nothing for rules that are not symgrad's own."""
        return VERIFIED.get(self.name, ())

    def __repr__(self) -> str:
        return self.name


def equation(
    *, exact: bool, when: Callable[..., bool] | None = None, protects: str = ""
) -> Callable[[Any], Rule]:
    """Make a rule of a function that returns both sides of an equation.

    Args:
        exact: whether both sides agree in every bit.
        when: a guard, called with what the variables of the same names are bound to.
        protects: what goes wrong where the law is not applied.
    """

    def make_rule(function: Callable[..., tuple[Any, Any]]) -> Rule:
        names = tuple(inspect.signature(function).parameters)
        left, right = function(*(Variable(n) for n in names))
        guard = tuple(inspect.signature(when).parameters) if when else ()

        def rewrite(node: Expr) -> Expr | None:
            for bindings in match(left, node, {}):
                if when is None or when(*(bindings[n] for n in guard)):
                    return fit(instantiate(right, bindings), node.type)
            return None

        return Rule(
            function.__name__,
            inspect.getdoc(function) or f"{left!r} = {right!r}",
            (left.op,),
            rewrite,
            exact,
            (left, right),
            protects=protects,
            guard=when,
        )

    return make_rule


def rewrites(
    *roots: Op,
    exact: bool,
    derivatives_only: bool = False,
    written_only: bool = False,
    protects: str = "",
) -> Callable[[Callable[[Expr], Expr | None]], Rule]:
    """Make a rule of a function from a node with one of these operations to an equal node."""

    def make_rule(function: Callable[[Expr], Expr | None]) -> Rule:
        def rewrite(node: Expr) -> Expr | None:
            found = function(node)
            return None if found is None or found is node else fit(found, node.type)

        law = inspect.getdoc(function) or function.__name__.replace("_", " ")
        return Rule(
            function.__name__,
            law,
            roots,
            rewrite,
            exact,
            derivatives_only=derivatives_only,
            written_only=written_only,
            protects=protects,
        )

    return make_rule


def fit(found: Any, type: Type) -> Expr:
    """What a rule made, with the shape of what it replaces."""
    if not isinstance(found, Expr):
        return full(found, type)
    return spread(found, type.shape) if found.ndim == 0 and type.shape else found


def match(pattern: Any, node: Expr, bindings: Bindings) -> Iterator[Bindings]:
    """All ways to bind the variables of `pattern` so that it equals `node`."""
    if isinstance(pattern, Variable):
        bound = bindings.get(pattern.name)
        if bound is None:
            yield {**bindings, pattern.name: node}
        elif bound is node:
            yield bindings
    elif isinstance(pattern, Pattern):
        yield from _match_operation(pattern, node, bindings)
    elif (value := uniform_value(node)) is not None and _is_number(value, pattern):
        yield bindings


def _is_number(value: Any, wanted: float) -> bool:
    """Equality that tells zeros of different sign apart."""
    return bool(value == wanted) and (value != 0 or np.signbit(value) == np.signbit(wanted))


def _match_operation(pattern: Pattern, node: Expr, bindings: Bindings) -> Iterator[Bindings]:
    if node.op is not pattern.op or len(node.args) != len(pattern.args):
        return
    with_params = _match_params(pattern.params, node.params, bindings)
    if with_params is None:
        return
    orders = [node.args]
    if pattern.op.commutative and node.args[0] is not node.args[1]:
        orders.append(node.args[::-1])
    for args in orders:
        found = [with_params]
        for sub_pattern, arg in zip(pattern.args, args, strict=True):
            found = [b for earlier in found for b in match(sub_pattern, arg, earlier)]
        yield from found


def _match_params(
    wanted: Mapping[str, Any], given: Mapping[str, Any], bindings: Bindings
) -> Bindings | None:
    for name, value in wanted.items():
        if isinstance(value, Variable):
            if bindings.get(value.name, given[name]) != given[name]:
                return None
            bindings = {**bindings, value.name: given[name]}
        elif value != given[name]:
            return None
    return bindings


def instantiate(pattern: Any, bindings: Mapping[str, Any]) -> Any:
    """The right side of an equation with its variables bound."""
    if isinstance(pattern, Variable):
        return bindings[pattern.name]
    if isinstance(pattern, Pattern):
        args = [instantiate(a, bindings) for a in pattern.args]
        params = {k: instantiate(v, bindings) for k, v in pattern.params.items()}
        return pattern.op(*args, **params)
    return pattern
