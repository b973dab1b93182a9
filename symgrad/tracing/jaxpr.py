"""Reading jaxprs into graphs.

`trace` runs a function on abstract values, as `jax.make_jaxpr` does, and reads
the result once, equation by equation. A primitive is read by the entry of
`READERS` with its name; one that has no entry, or has a parameter the entry does
not know, becomes an opaque node.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import jax
import jax.core
import numpy as np
from jax.extend import core as jex

from symgrad.errors import Frame, OutputError, SymgradError
from symgrad.expr import Expr, Type, item, parameter, results
from symgrad.ops import calls
from symgrad.tracing import (
    custom,
    foreign,
    indexing,
    linalg,
    nested,
    programs,
    references,
    sharded,
    special,
)
from symgrad.tracing.homes import Home, home_of_aval, struct
from symgrad.tracing.location import Place, definition, definition_of, place_of, user_file
from symgrad.tracing.mistakes import explained
from symgrad.tracing.primitives import PLAIN
from symgrad.tracing.references import Cell
from symgrad.tracing.special import SPECIAL, read_library
from symgrad.tracing.unread import OBSERVERS, Foreign
from symgrad.tracing.values import constant_node, literal_node, type_of_aval
from symgrad.walk import UNKNOWN, Graph, Origin, Origins


@dataclass(frozen=True, slots=True)
class Traced:
    """A traced function.

    Attributes:
        graph: from the leaves of the arguments to the leaves of the result.
        out_tree: structure of the result.
        out_types: types of its leaves as JAX has them, weak-type flags included.
        out_homes: where its leaves live.
    """

    graph: Graph
    out_tree: Any
    out_types: tuple[Type, ...]
    out_homes: tuple[Home | None, ...]


def trace(
    fun: Callable[..., Any],
    in_tree: Any,
    types: Sequence[Type],
    names: Sequence[str] = (),
    homes: Sequence[Home | None] = (),
) -> Traced:
    """Trace `fun(*args, **kwargs)` on abstract values.

    Args:
        in_tree: structure of `(args, kwargs)`.
        types: of the leaves.
        names: of the leaves.
        homes: of the leaves; none are given for arrays that live nowhere special.

    Raises:
        TracingError: the function needs the value of a traced array, or returns what is
            not an array.
    """
    out_tree: Any = None

    def flat(*values: Any) -> list[Any]:
        nonlocal out_tree
        args, kwargs = jax.tree.unflatten(in_tree, values)
        flat_out, out_tree = jax.tree.flatten(fun(*args, **kwargs))
        _check_arrays(fun, flat_out)
        return flat_out

    avals = [struct(t, p) for t, p in zip(types, homes or (None,) * len(types), strict=True)]
    with programs.keeping():
        try:
            closed = jax.make_jaxpr(flat)(*avals)
        except SymgradError:
            raise
        except Exception as error:
            raise explained(error) or error from error
        inputs = tuple(parameter(i, t) for i, t in enumerate(types))
        reader = _Reader()
        reader.origins.update((i, Origin(name=n)) for i, n in zip(inputs, names, strict=False))
        outputs = reader.read(closed.jaxpr, closed.consts, inputs)
    graph = reader.graph(inputs, outputs, tuple(names))
    out_types = tuple(type_of_aval(a) for a in closed.out_avals)
    return Traced(graph, out_tree, out_types, tuple(map(home_of_aval, closed.out_avals)))


def _check_arrays(fun: Callable[..., Any], leaves: Sequence[Any]) -> None:
    for leaf in leaves:
        try:
            jax.typeof(leaf)
        except TypeError:
            raise OutputError(
                f"`{getattr(fun, '__name__', fun)}` returns a {type(leaf).__name__}, "
                "not an array or a number",
                frame=definition(fun),
                fix="return arrays, numbers, or pytrees of them",
            ) from None


class _Reader:
    """Reads jaxprs into nodes, remembering where each equation came from."""

    def __init__(self, save: Callable[..., Any] | None = None) -> None:
        self.origins: Origins = {}
        self.effects: list[Expr] = []
        self.saved: dict[Expr, None] = {}
        self._save = save
        self._named: dict[tuple[Frame | None, str], Expr] = {}
        self._call_site: Place | None = None

    def graph(self, inputs: Any, outputs: Sequence[Expr], names: tuple[str, ...]) -> Graph:
        """What has been read, as a function of `inputs`."""
        return Graph(inputs, tuple(outputs), names, self.origins, tuple(self.effects))

    def read(self, jaxpr: Any, consts: Sequence[Any], args: Sequence[Any]) -> list[Any]:
        env: dict[Any, Any] = dict(zip(jaxpr.invars, args, strict=True))
        env.update((v, constant_node(c)) for v, c in zip(jaxpr.constvars, consts, strict=True))

        def value(atom: Any) -> Any:
            return literal_node(atom) if isinstance(atom, jex.Literal) else env[atom]

        for eqn in jaxpr.eqns:
            operands = [value(v) for v in eqn.invars]
            found = self._equation(eqn, operands)
            for var, node in zip(eqn.outvars, found, strict=True):
                env[var] = node
        return [value(v) for v in jaxpr.outvars]

    def _equation(self, eqn: Any, operands: Sequence[Any]) -> Sequence[Any]:
        place = self._call_site or place_of(eqn.source_info)
        name, params = eqn.primitive.name, eqn.params
        cells = [o for o in operands if isinstance(o, Cell)]
        before = [*operands, *(c.value for c in cells)]
        if name in INLINED:
            nodes = self._inlined(params[INLINED[name]], operands, place)
        else:
            found = _read_known(eqn, operands)
            if found is None and cells:
                raise references.unsupported(name, place[0])
            made = _foreign_node(eqn, operands) if found is None else found
            nodes = results(made) if isinstance(made, Expr) else made
            if any(_is_effect(e, eqn, operands) for e in eqn.effects):
                changed = (c.value for c in cells if c.value not in before)
                ran = made if isinstance(made, Expr) else _owner(next(chain(nodes, changed)))
                self.effects.append(ran)
                self._remember(place, before, [ran])
            if self._save is not None and _is_saved(self._save, eqn):
                self.saved |= dict.fromkeys(n for n in nodes if n.args)
        self._remember(place, before, nodes)
        for cell in cells:
            self._remember((place[0], cell.names), before, [cell.value])
        return nodes

    def _inlined(self, inner: Any, operands: Sequence[Expr], place: Place) -> Sequence[Expr]:
        """The body of a call; that of a library function belongs to the line that calls it.

        JAX keeps the traced body for the next call, with the line of the first one.
        """
        jaxpr = getattr(inner, "jaxpr", inner)
        known = read_library(jaxpr, operands)
        if known is not None:
            return (known,)
        file = definition_of(jaxpr).partition(" at ")[2].rpartition(":")[0]
        graph = programs.behind(inner, file, operands)
        if graph is not None:
            applied = programs.applied(graph, operands)
            self.origins = {**applied.origins, **self.origins}
            self.effects += applied.effects
            return applied.outputs
        before = self._call_site
        if before is None and not user_file(file):
            self._call_site = place
        try:
            return self.read(jaxpr, getattr(inner, "consts", ()), operands)
        finally:
            self._call_site = before

    def _remember(self, place: Place, operands: Sequence[Any], nodes: Sequence[Any]) -> None:
        frame, names = place
        known = set(operands)
        stack = list(nodes)
        while stack:
            node = stack.pop()
            if node in known or node in self.origins or not node.args:
                continue
            self.origins[node] = Origin(frame)
            stack.extend(node.args)
        if len(names) == len(nodes):
            for node, name in zip(nodes, names, strict=True):
                if isinstance(node, Cell):
                    node.names = (name,)
                elif node not in known:
                    self._name(node, frame, name)

    def _name(self, node: Expr, frame: Frame | None, name: str) -> None:
        """A line that takes several equations names the last of them."""
        earlier = self._named.get((frame, name))
        if earlier is not None:
            self.origins[earlier] = Origin(frame)
            self._hint(earlier, "")
        self._named[frame, name] = node
        self.origins[node] = Origin(frame, name)
        self._hint(node, f"pre_{name}")

    def _hint(self, node: Expr, hint: str) -> None:
        """What a named function is applied to may be called after it."""
        if node.op.elementwise and len(node.args) == 1 and node.args[0].args:
            (inside,) = node.args
            known = self.origins.get(inside, UNKNOWN)
            if not known.name and inside.type == node.type:
                self.origins[inside] = replace(known, hint=hint)


def _read_known(eqn: Any, operands: Sequence[Any]) -> Expr | Sequence[Any] | None:
    """The node or nodes an equation means, None if symgrad has no record of it."""
    with_cells = any(isinstance(o, Cell) for o in operands)
    reader = (WITH_CELLS if with_cells else READERS).get(eqn.primitive.name)
    if reader is None:
        return None
    understood = _understood(reader)
    given = {}
    if "result_types" in understood:
        given["result_types"] = [type_of_aval(v.aval) for v in eqn.outvars]
    for key, value in eqn.params.items():
        if key in understood:
            given[key] = _plain(value)
        elif key not in LAYOUT and not (key in NEUTRAL and value == NEUTRAL[key]):
            return None
    return reader(*operands, **given)


def _plain(value: Any) -> Any:
    """A parameter as Python has it: JAX leaves NumPy integers among axes and shapes."""
    if isinstance(value, np.integer):
        return int(value)
    return type(value)(map(_plain, value)) if type(value) in (tuple, list) else value


@functools.cache
def _understood(reader: Callable[..., Any]) -> frozenset[str]:
    """The parameters of a primitive that its reader takes."""
    signature = inspect.signature(reader)
    return frozenset(
        p.name for p in signature.parameters.values() if p.kind is inspect.Parameter.KEYWORD_ONLY
    )


NEUTRAL: dict[str, Any] = {
    "accuracy": None,
    "out_dtype": None,
    "dimensions": None,
    "_split_transpose": False,
    "memory_space": None,
    "kind": None,
}
"""Parameters that mean nothing at this value."""

LAYOUT = frozenset({"out_sharding", "sharding"})
"""Parameters that say how a result is laid out over devices, not what it is."""

INLINED = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "custom_vmap_call": "call",
    "remat_opt": "fwd_jaxpr",
    "composite": "jaxpr",
}
"""Calls that are just their body, and the parameter that holds it."""


def _owner(node: Expr) -> Expr:
    """The operation that a node is a result of."""
    return node.args[0] if node.op is item else node


def _is_saved(save: Callable[..., Any], eqn: Any) -> bool:
    """Whether a policy of `jax.checkpoint` keeps the results of an equation, here or elsewhere."""
    answer = save(eqn.primitive, *(v.aval for v in eqn.invars), **eqn.params)
    return answer is True or type(answer).__name__ in ("SaveableType", "Offloadable")


def _is_effect(effect: Any, eqn: Any, operands: Sequence[Any]) -> bool:
    """Whether an equation must run for it; naming a mesh axis is no effect in this sense.

    Nor is what happens to references, unless they are from outside of the traced function.
    """
    if type(effect).__name__ in REFERENCE_EFFECTS:
        return any(map(references.held_by_jax, eqn.invars, operands))
    return type(effect).__name__ != "NamedAxisEffect"


REFERENCE_EFFECTS = {"ReadEffect", "WriteEffect", "AccumEffect", "InternalMutableArrayEffect"}


def _foreign_node(eqn: Any, operands: Sequence[Expr]) -> Expr:
    """A primitive that is left to JAX."""
    name, call = eqn.primitive.name, Foreign(eqn.primitive, eqn.params)
    if name in OBSERVERS:
        return calls.effect(*operands, name=name, call=call, text=OBSERVERS[name](**eqn.params))
    types = tuple(type_of_aval(v.aval) for v in eqn.outvars)
    if not foreign.has_rule(eqn.primitive):
        return calls.opaque(*operands, name=name, call=call, types=types)
    inputs = tuple(parameter(i, o.type) for i, o in enumerate(operands))
    body = Graph(inputs, results(calls.opaque(*inputs, name=name, call=call, types=types)))
    return foreign.with_rules(read_graph, eqn, operands, body)


def read_graph(
    closed: Any,
    save: Callable[..., Any] | None = None,
    known: Sequence[Any] = (),
    cells: Sequence[int] = (),
) -> Graph:
    """A closed jaxpr as a graph of its own: a loop body, a branch, a rule.

    Args:
        save: policy of `jax.checkpoint`; what it saves becomes outputs after the others.
        known: values of the first inputs, which are then none.
        cells: inputs that are references; what they hold at the end follows the outputs.
    """
    types = [type_of_aval(v.aval) for v in closed.jaxpr.invars[len(known) :]]
    inputs = tuple(parameter(i, t) for i, t in enumerate(types))
    reader = _Reader(save)
    held = {i: Cell(inputs[i]) for i in cells}
    given = (held.get(i, node) for i, node in enumerate(inputs))
    outputs = reader.read(closed.jaxpr, closed.consts, (*map(constant_node, known), *given))
    outputs += [c.value for c in held.values()]
    return reader.graph(inputs, (*outputs, *reader.saved), _argument_names(closed.jaxpr))


def _argument_names(jaxpr: Any) -> tuple[str, ...]:
    """The user's names of a body's arguments, as far as JAX remembers them."""
    names = getattr(jaxpr.debug_info, "arg_names", None) or ()
    return tuple(n or "" for n in names) if len(names) == len(jaxpr.invars) else ()


READERS = {
    **PLAIN,
    **SPECIAL,
    **special.readers(read_graph),
    **indexing.readers(read_graph),
    **nested.readers(read_graph),
    **custom.readers(read_graph),
    **linalg.readers(read_graph),
    **sharded.readers(read_graph),
    **references.CREATION,
}
WITH_CELLS = references.readers(read_graph)
"""The readers of equations that have a `Cell` among their operands."""
