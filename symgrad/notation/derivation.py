"""Backpropagation as textbooks tabulate it: each value beside its adjoint, with numbers.

The table is that of Baydin, Pearlmutter, Radul and Siskind, "Automatic differentiation in machine
learning: a survey" (2018), Table 3: inputs are v with indices up to zero, what is computed from
them v1, v2, ...; on the way back every edge of the graph adds its term to an adjoint.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from symgrad.derive import pullback
from symgrad.expr import Expr, captured, fresh, item, literal, make
from symgrad.formula import Part
from symgrad.notation.arrays import formula
from symgrad.notation.plain import plain
from symgrad.notation.symbols import symbol
from symgrad.ops.shape import full
from symgrad.walk import Graph, dependents, substitute, topological

MOST_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a trace, in LaTeX.

    Attributes:
        symbol: what is computed.
        formula: how, in the symbols of the lines before.
        value: the number, or None where no values were given.
    """

    symbol: str
    formula: str
    value: Any = None

    @property
    def latex(self) -> str:
        """The line, with its number."""
        return " = ".join(p for p in (self.symbol, self.formula, _number(self.value)) if p)

    def __str__(self) -> str:
        return plain(self.latex)


@dataclass(frozen=True, slots=True)
class Derivation:
    """The forward primal trace and the reverse adjoint trace of a program.

    `print` it, show it in a notebook, or take `.latex()`.

    Attributes:
        forward: from the inputs to the result.
        backward: from the result to the adjoints of the inputs, in the order of computing.
    """

    forward: tuple[Row, ...]
    backward: tuple[Row, ...]

    def __str__(self) -> str:
        left = ["forward primal trace", *map(str, self.forward)]
        right = ["reverse adjoint trace", *map(str, self.backward)]
        width = max(map(len, left))
        rows = zip_longest(left, right, fillvalue="")
        lines = [f"{a.ljust(width)}   {b}".rstrip() for a, b in rows]
        lines.insert(1, f"{'-' * width}   {'-' * max(map(len, right))}")
        return "\n".join(lines)

    def latex(self) -> str:
        """The table as an `array` of two columns."""
        heads = (r"\text{forward primal trace}", r"\text{reverse adjoint trace}")
        rows = zip_longest(
            (r.latex for r in self.forward), (r.latex for r in self.backward), fillvalue=""
        )
        body = " \\\\\n".join(f"{a} & {b}" for a, b in rows)
        start = "\\begin{array}{l|l}\n" + " & ".join(heads)
        return f"{start} \\\\ \\hline\n{body}\n\\end{{array}}"

    def _repr_html_(self) -> str:
        def cells(a: Row | None, b: Row | None) -> str:
            shown = (html.escape(str(r)) if r else "" for r in (a, b))
            return "".join(f'<td style="text-align:left">{c}</td>' for c in shown)

        rows = zip_longest(self.forward, self.backward)
        body = "".join(f"<tr>{cells(a, b)}</tr>" for a, b in rows)
        head = "<th>forward primal trace</th><th>reverse adjoint trace</th>"
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


Evaluate = Callable[[Graph], Sequence[Any]]


def derivation(graph: Graph, evaluate: Evaluate | None) -> Derivation:
    """The two traces of a graph with one output.

    Args:
        evaluate: the values of the outputs of a graph with the same inputs; None for no numbers.
    """
    order = [n for n in graph.nodes if not isinstance(n.type, tuple)]
    symbols = _symbols(graph, order)
    traced = [n for n in order if n in symbols.numbered]
    steps = list(_steps(graph, order, symbols))
    wanted = (*traced, *(s.adjoint for s in steps))
    values: Sequence[Any] = [None] * len(wanted)
    if evaluate is not None:
        values = evaluate(Graph(graph.inputs, wanted, graph.names, graph.origins))
    forward = [
        Row(symbols.parts[n].text, _definition(graph, n, symbols), v)
        for n, v in zip(traced, values, strict=False)
    ]
    (output,) = graph.outputs
    found = dict(zip(traced, values, strict=False))
    forward.append(Row("y", symbols.parts[output].text, found.get(output)))
    backward = [
        Row(s.symbol, s.formula, v) for s, v in zip(steps, values[len(traced) :], strict=True)
    ]
    return Derivation(tuple(forward), tuple(backward))


@dataclass(frozen=True, slots=True)
class _Symbols:
    parts: Mapping[Expr, Part]
    numbered: frozenset[Expr]


@dataclass(frozen=True, slots=True)
class _Step:
    """An adjoint after one more term: how it is written, and as a node of the graph."""

    symbol: str
    formula: str
    adjoint: Expr


def _symbols(graph: Graph, order: Sequence[Expr]) -> _Symbols:
    """v with indices up to zero for the inputs, and from one on for the rest."""
    parts: dict[Expr, Part] = {}
    count = len(graph.inputs)
    for i, node in enumerate(graph.inputs):
        parts[node] = Part(f"v_{{{i + 1 - count}}}")
    number = 0
    for node in order:
        if node in parts:
            continue
        if _is_plain(node):
            parts[node] = formula(node, [parts[a] for a in node.args])
        else:
            number += 1
            parts[node] = Part(f"v_{{{number}}}")
    return _Symbols(parts, frozenset(n for n in order if not _is_plain(n)))


def _is_plain(node: Expr) -> bool:
    """A number, which stands for itself, also where it fills an array."""
    return node.op in (literal, captured) or (
        bool(node.args) and node.op.name in ("broadcast", "convert") and _is_plain(node.args[0])
    )


def _definition(graph: Graph, node: Expr, symbols: _Symbols) -> str:
    if node in graph.inputs:
        i = graph.inputs.index(node)
        name = graph.names[i] if i < len(graph.names) else ""
        return symbol(name or f"x{i + 1}")
    if node.op is item:
        inner = node.args[0]
        whole = formula(inner, [symbols.parts[a] for a in inner.args])
        return formula(node, [whole]).text
    return formula(node, [symbols.parts[a] for a in node.args]).text


def _steps(graph: Graph, order: Sequence[Expr], symbols: _Symbols) -> Any:
    """Each edge of the graph adds its term, users before what they use."""
    (output,) = graph.outputs
    moving = dependents(graph.nodes, [i for i in graph.inputs if i.type.inexact])
    adjoints: dict[Expr, Expr] = {output: full(1.0, output.type)}
    yield _Step(_bar(symbols.parts[output]), r"\bar{y}", adjoints[output])
    for node in reversed(order):
        if node not in adjoints or not node.args or node not in moving:
            continue
        primal = node.args[0] if node.op is item else node
        operands = [a for a in dict.fromkeys(primal.args) if a in moving]
        for operand, term, shown in _terms(node, primal, operands, symbols):
            seeds = {shown.seed: adjoints[node], **shown.places}
            (added,) = substitute([term], seeds)
            before = adjoints.get(operand)
            adjoints[operand] = added if before is None else before + added
            text = shown.text
            if before is not None:
                text = f"{_bar(symbols.parts[operand])} + {text}"
            yield _Step(_bar(symbols.parts[operand]), text, adjoints[operand])


@dataclass(frozen=True, slots=True)
class _Shown:
    text: str
    seed: Expr
    places: Mapping[Expr, Expr]


def _terms(node: Expr, primal: Expr, operands: Sequence[Expr], symbols: _Symbols) -> Any:
    """What one operation passes on to each operand, with symbols in the place of its operands."""
    places = {a: fresh(a.type) for a in dict.fromkeys(primal.args)}
    literals = {a: a for a in places if _is_plain(a)}
    inside = {**places, **literals}
    local = make(primal.op, tuple(inside[a] for a in primal.args), dict(primal.params))
    result = item(local, index=node.params["index"]) if node.op is item else local
    seed = fresh(node.type)
    pulled = pullback([result], [seed], [inside[a] for a in operands], {}, {})
    known: dict[Expr, Part] = {inside[a]: symbols.parts[a] for a in places}
    known[seed] = Part(_bar(symbols.parts[node]))
    known[result] = symbols.parts[node]
    back = {v: k for k, v in inside.items()}
    for operand, term in zip(operands, pulled, strict=True):
        if term is not None:
            shown = _Shown(_text(term, known), seed, {**back, result: node, local: primal})
            yield operand, term, shown


def _text(root: Expr, known: dict[Expr, Part]) -> str:
    for node in topological([root], known=known):
        if node not in known:
            known[node] = formula(node, [known[a] for a in node.args if a in known])
    return known[root].text


def _bar(part: Part) -> str:
    return rf"\bar{{{part.text}}}"


def _number(value: Any) -> str:
    """A number with a few digits; a small array entry by entry."""
    if value is None:
        return ""
    array = np.asarray(value)
    if array.ndim == 0:
        return f"{array.item():.{MOST_DIGITS}g}"
    if array.size > 6 or array.ndim > 1:
        return rf"\text{{{array.dtype.name}}} " + r" \times ".join(map(str, array.shape))
    return rf"\left({', '.join(f'{v:.{MOST_DIGITS}g}' for v in array.tolist())}\right)"
