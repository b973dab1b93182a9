"""What a picture of a graph shows: boxes and arrows, folded where there are too many."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from symgrad.emit.names import comment
from symgrad.emit.source import schedule
from symgrad.expr import Expr, captured, item, literal
from symgrad.formula import Part
from symgrad.notation.arrays import formula
from symgrad.notation.contractions import chain_of
from symgrad.notation.plain import plain
from symgrad.notation.symbols import symbol
from symgrad.ops.contract import einsum_op
from symgrad.ops.pointwise import convert_op
from symgrad.ops.shape import broadcast
from symgrad.walk import UNKNOWN, Graph

LONGEST_LABEL = 26
LONGEST_TITLE = 300

SIGNS = {"add": "+", "sub": "−", "mul": "×", "div": "÷", "neg": "−", "sum": "Σ", "prod": "Π"}


@dataclass(frozen=True, slots=True)
class Box:
    """One thing in a picture.

    Attributes:
        label: what stands in it.
        title: what is shown on pointing at it.
        kind: "input", "forward" or "backward".
        output: whether the graph returns it.
        type: shape of what leaves it, empty for a number.
        line: file and number of the user's line, or None.
        nodes: how many operations it stands for.
    """

    label: str
    title: str
    kind: str
    output: bool = False
    type: str = ""
    line: tuple[str, int] | None = None
    nodes: int = 1


@dataclass(frozen=True, slots=True)
class Boxes:
    """Boxes in an order in which every arrow leads onward, and arrows between their numbers."""

    boxes: tuple[Box, ...]
    arrows: tuple[tuple[int, int], ...]


def boxes_of(graph: Graph, most: int) -> Boxes:
    """The picture of a graph: its operations, or its lines and functions if there are too many."""
    shown = [n for n in _order(graph) if not _is_hidden(n)]
    groups = [[n] for n in shown]
    for key in (_line_key(graph), _function_key(graph)):
        if len(groups) > most:
            groups = [[n for g in run for n in g] for run in _runs(graph, groups, key)]
    if len(groups) > most:
        size = -(-len(groups) // most)
        parts = [groups[i : i + size] for i in range(0, len(groups), size)]
        groups = [[n for g in part for n in g] for part in parts]
    place = {n: i for i, group in enumerate(groups) for n in group}
    arrows: dict[tuple[int, int], None] = {}
    for node in shown:
        for a in _sources(node):
            if place[a] != place[node]:
                arrows[place[a], place[node]] = None
    outputs = {s for o in graph.outputs for s in _through(o)}
    names = _names(graph)
    found = tuple(_box(graph, g, outputs, names) for g in groups)
    return Boxes(found, tuple(arrows))


def _order(graph: Graph) -> list[Expr]:
    inputs = set(graph.inputs)
    return [*graph.inputs, *(n for n in schedule(graph) if n not in inputs)]


Key = Callable[[Expr], Any]


def _line_key(graph: Graph) -> Key:
    def key(node: Expr) -> Any:
        origin = graph.origins.get(node, UNKNOWN)
        place = (origin.frame.file, origin.frame.line) if origin.frame else None
        return (place, origin.backward) if node.args else node

    return key


def _function_key(graph: Graph) -> Key:
    def key(node: Expr) -> Any:
        origin = graph.origins.get(node, UNKNOWN)
        place = (origin.frame.file, origin.frame.function) if origin.frame else None
        return (place, origin.backward) if node.args else node

    return key


def _runs(graph: Graph, groups: Sequence[list[Expr]], key: Key) -> list[list[list[Expr]]]:
    """Neighbours in the order of computing that belong together: so no arrow leads back."""
    return [list(run) for _, run in groupby(groups, key=lambda g: key(g[0]))]


def _is_number(node: Expr) -> bool:
    return node.op is literal or (node.op in (broadcast, convert_op) and _is_number(node.args[0]))


def _is_hidden(node: Expr) -> bool:
    """Numbers stand in the boxes that use them; what only repeats or converts is an arrow."""
    through = node.op in (broadcast, convert_op) or isinstance(node.type, tuple)
    return _is_number(node) or (bool(node.args) and through and not isinstance(node.type, tuple))


def _through(node: Expr) -> list[Expr]:
    """The boxes that an operand comes from."""
    while node.op in (broadcast, convert_op):
        node = node.args[0]
    return [] if node.op is literal else [node]


def _sources(node: Expr) -> list[Expr]:
    return list(dict.fromkeys(s for a in node.args for s in _through(a)))


def _names(graph: Graph) -> dict[Expr, str]:
    """What the user calls the inputs and the values of a graph."""
    given = [*graph.names, *("" for _ in graph.inputs)]
    inputs = {e: given[i] or f"x{i}" for i, e in enumerate(graph.inputs)}
    named = {n: o.name for n, o in graph.origins.items() if o.name}
    return {**named, **inputs}


def _box(graph: Graph, group: Sequence[Expr], outputs: set[Expr], names: Mapping[Expr, str]) -> Box:
    last = group[-1]
    origin = graph.origins.get(last, UNKNOWN)
    kind = "backward" if origin.backward else "forward" if last.args else "input"
    line = (origin.frame.file, origin.frame.line) if origin.frame else None
    is_output = not outputs.isdisjoint(group)
    shape = "" if isinstance(last.type, tuple) else "×".join(map(str, last.type.shape))
    if len(group) == 1:
        label, title = _label(last, names), _title(graph, last, names)
        return Box(label, title, kind, is_output, shape, line)
    frames = {graph.origins.get(n, UNKNOWN).frame for n in group}
    places = {(f.file, f.line) for f in frames if f is not None}
    text = comment(origin.frame.text) if origin.frame else "operations"
    if origin.frame and len(places) > 1:
        text = f"in {comment(origin.frame.function)}"
    title = f"{text}\n{len(group)} operations of {len(places)} lines"
    label = _clipped(text, LONGEST_LABEL)
    return Box(label, title, kind, is_output, shape, line, len(group))


def _clipped(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _name(node: Expr, names: Mapping[Expr, str]) -> str:
    return names.get(node) or (node.params["array"].name if node.op is captured else "")


def _label(node: Expr, names: Mapping[Expr, str]) -> str:
    name = _name(node, names)
    shown = plain(symbol(name)) if name else ""
    if not node.args:
        return _clipped(shown or node.op.name, LONGEST_LABEL)
    done = _operation(node)
    return _clipped(f"{shown} = {done}" if shown else done, LONGEST_LABEL)


def _operation(node: Expr) -> str:
    """An operation by its sign, with the numbers among its operands."""
    if node.op is einsum_op:
        indices, out = node.params["indices"], node.params["out"]
        turned = len(indices) == 2 and chain_of(indices, out) is not None
        return "@" if turned else "Σ×"
    if node.op is item:
        return f"[{node.params['index']}]"
    sign = SIGNS.get(node.op.name)
    numbers = [a for a in node.args if _is_number(a)]
    if sign and len(node.args) == 2 and numbers:
        number = _number_text(numbers[0])
        return f"{number} {sign}" if node.args[0] in numbers else f"{sign} {number}"
    if node.op.name in ("square", "integer_pow", "pow"):
        return plain(formula(node, _dots(node)).text)
    return sign or node.op.name.replace("_", " ")


def _number_text(node: Expr) -> str:
    while node.op is not literal:
        node = node.args[0]
    return plain(formula(node, []).text)


def _dots(node: Expr) -> list[Part]:
    return [Part(_number_text(a)) if _is_number(a) else Part("x") for a in node.args]


def _title(graph: Graph, node: Expr, names: Mapping[Expr, str]) -> str:
    """The formula, the type and the user's line."""
    parts = [_name(node, names) or node.op.name]
    if node.args:
        parts = [plain(formula(node, [_operand(a, names) for a in node.args]).text)]
    parts.append(", ".join(map(str, node.types)))
    frame = graph.origins.get(node, UNKNOWN).frame
    if frame is not None:
        parts.append(f"line {frame.line}: {comment(frame.text)}")
    return _clipped("\n".join(parts), LONGEST_TITLE)


def _operand(node: Expr, names: Mapping[Expr, str]) -> Part:
    if _is_number(node):
        return Part(_number_text(node))
    (source,) = _through(node)
    name = _name(source, names)
    return Part(symbol(name)) if name else Part(rf"\mathrm{{{source.op.name.replace('_', ' ')}}}")
