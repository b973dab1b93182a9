"""A graph as a block of formulas, one line for each value that has a name or is used twice."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from symgrad.emit.source import schedule
from symgrad.expr import Expr, LocalFunction, Type, captured, item, literal
from symgrad.formula import Part
from symgrad.notation.arrays import formula
from symgrad.notation.symbols import Symbols
from symgrad.ops.shape import broadcast, reshape_op, transpose
from symgrad.walk import UNKNOWN, Graph

WIDEST = 70
"""A formula of more visible characters gets a line and a symbol."""

SHORT = 4
"""What is no longer than this is written again instead of named."""

RESTATED = (broadcast, reshape_op, transpose)
"""Never worth a symbol of their own: they only turn what they are applied to."""

MOST_IN_A_NOTEBOOK = 4_000


@dataclass(frozen=True, slots=True)
class Line:
    """One equation: what is defined, by which node, and how."""

    symbol: str
    formula: str
    node: Expr | None = None

    def __str__(self) -> str:
        return f"{self.symbol} &= {self.formula}"


def aligned(lines: Sequence[object]) -> str:
    """Equations below each other, their signs of equality in one column."""
    body = " \\\\\n".join(map(str, lines))
    return f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"


def program_latex(graph: Graph) -> str:
    """The whole graph; the last line says what it returns."""
    return aligned(list(program_lines(graph)))


def node_latex(graph: Graph, node: Expr) -> str:
    """The equation of one node, in the symbols of its operands."""
    parts = symbols_of(graph)
    if not node.args:
        return parts[node].text
    return f"{parts[node].text} = {formula(node, [parts[a] for a in node.args]).text}"


def symbols_of(graph: Graph) -> dict[Expr, Part]:
    """A symbol for every node; numbers and what is repeated stand for themselves."""
    symbols = Symbols()
    found = _inputs(graph, symbols)
    for node in schedule(graph):
        if node in found:
            continue
        if node.op in (literal, captured, item) or node.op is broadcast:
            found[node] = formula(node, [found[a] for a in node.args])
        else:
            found[node] = _claimed(graph, node, symbols)
    return found


def notebook_latex(graph: Graph) -> str | None:
    """The graph for a notebook, None if it would fill the page."""
    if len(graph.nodes) > MOST_IN_A_NOTEBOOK // 20:
        return None
    text = program_latex(graph)
    return f"$\\displaystyle {text}$" if len(text) <= MOST_IN_A_NOTEBOOK else None


def visible(text: str) -> int:
    """About how many characters a reader sees."""
    return len(re.sub(r"\\(?:left|right|operatorname|mathrm)|\\[a-zA-Z]+|[{}^_\\, ]", "", text))


def program_lines(graph: Graph) -> Iterator[Line]:
    """The equations of a graph in order, and what it returns."""
    symbols = Symbols()
    parts = _inputs(graph, symbols)
    inputs = ", ".join(parts[i].text for i in graph.inputs)
    yield from _definitions(graph, symbols, parts)
    outputs = [_returned(o, parts[o]) for o in graph.outputs]
    result = outputs[0] if len(outputs) == 1 else rf"\left({', '.join(outputs)}\right)"
    yield Line(rf"{symbols.claim('f').text}\left({inputs}\right)", result)


def _inputs(graph: Graph, symbols: Symbols) -> dict[Expr, Part]:
    names = [*graph.names, *("" for _ in graph.inputs)]
    wanted = [names[i] or f"x{i}" for i in range(len(graph.inputs))]
    return {e: symbols.claim(n) for n, e in zip(wanted, graph.inputs, strict=True)}


def _returned(node: Expr, part: Part) -> str:
    """A number that fills an array is told from a number."""
    if node.op is broadcast and not node.args[0].ndim:
        return rf"{part.within(4)} \, \mathbf{{1}}_{{{_shape(node.type)}}}"
    return part.text


def _shape(type: Type) -> str:
    return r" \times ".join(map(str, type.shape))


def _definitions(graph: Graph, symbols: Symbols, parts: dict[Expr, Part]) -> Iterator[Line]:
    order = [n for n in schedule(graph) if n not in parts]
    uses = Counter(a for n in order for a in n.args)
    uses.update(graph.roots)
    outputs = set(graph.outputs)
    closed = _closed_over(order)
    named_last = {name: n for n in order if (name := graph.origins.get(n, UNKNOWN).name)}
    bearers = set(named_last.values())
    results: dict[Expr, dict[int, Expr]] = {}
    for n in order:
        if n.op is item:
            results.setdefault(n.args[0], {})[n.params["index"]] = n
    for node in order:
        if isinstance(node.type, tuple) or (node.op.functions and node.op.functions(node)):
            yield from _multiple(graph, node, results.get(node, {}), symbols, parts)
            continue
        if node.op is item and node in parts:
            continue
        part = formula(node, [parts[a] for a in node.args])
        # Terms of a cotangent have its name too; the sum of them all is what it names.
        named = node in bearers and not (outputs == {node} and uses[node] == 1)
        turned = node.op in RESTATED and visible(part.text) <= 6 * SHORT
        plain = node.op in (literal, captured) or turned
        again = uses[node] > 1 and visible(part.text) > SHORT
        if plain or not (named or again or node in closed or visible(part.text) > WIDEST):
            parts[node] = part
            continue
        parts[node] = _claimed(graph, node, symbols)
        yield Line(parts[node].text, part.text, node)


def _claimed(graph: Graph, node: Expr, symbols: Symbols) -> Part:
    name = graph.origins.get(node, UNKNOWN).name
    return symbols.claim(name) if name else symbols.numbered()


def _closed_over(order: Sequence[Expr]) -> set[Expr]:
    """What bodies use from outside is named there."""
    return {c for n in order if n.op.functions for local in n.op.functions(n) for c in local.closed}


def _multiple(
    graph: Graph,
    node: Expr,
    results: Mapping[int, Expr],
    symbols: Symbols,
    parts: dict[Expr, Part],
) -> Iterator[Line]:
    """An operation with bodies or several results: the bodies first, then what they give."""
    names: list[str] = []
    for local in node.op.functions(node) if node.op.functions else ():
        name = symbols.claim(local.name).text
        names.append(name)
        yield Line(*_body(local, name, symbols, parts))
    operands = ", ".join([*names, *(parts[a].text for a in node.args)])
    called = node.op.name.replace("_", r"\_")
    text = rf"\operatorname{{{called}}}\left({operands}\right)"
    if not isinstance(node.type, tuple):
        parts[node] = _claimed(graph, node, symbols)
        yield Line(parts[node].text, text, node)
        return
    whole = symbols.numbered()
    parts[node] = whole
    shown = []
    for i in range(len(node.type)):
        if i in results:
            parts[results[i]] = _claimed(graph, results[i], symbols)
            shown.append(parts[results[i]].text)
        else:
            shown.append(r"\_")
    yield Line(rf"\left({', '.join(shown)}\right)" if shown else whole.text, text, node)


def _body(
    local: LocalFunction, name: str, symbols: Symbols, outer: Mapping[Expr, Part]
) -> tuple[str, str]:
    """A body as a function of what it does not close over."""
    inside = Symbols(frozenset(symbols.taken))
    graph = local.graph
    names = [*graph.names, *("" for _ in graph.inputs)]
    parts: dict[Expr, Part] = {}
    for i, node in enumerate(graph.inputs):
        if i < len(local.closed) and local.closed[i] in outer:
            parts[node] = outer[local.closed[i]]
        else:
            parts[node] = inside.claim(names[i] or f"x{i}")
    given = ", ".join(parts[i].text for i in graph.inputs[len(local.closed) :])
    lines = list(_definitions(graph, inside, parts))
    outputs = [_returned(o, parts[o]) for o in graph.outputs]
    result = outputs[0] if len(outputs) == 1 else rf"\left({', '.join(outputs)}\right)"
    if not lines:
        return rf"{name}\left({given}\right)", result
    inner = aligned([*lines, f"& {result}"])
    return rf"{name}\left({given}\right)", rf"\left\{{{inner}\right."
