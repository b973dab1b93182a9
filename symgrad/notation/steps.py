"""Simplification step by step: what each law found, and what it put there."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from symgrad.expr import Expr, argument, captured, item, literal
from symgrad.formula import Part
from symgrad.notation.arrays import formula
from symgrad.notation.plain import plain
from symgrad.notation.program import visible
from symgrad.notation.symbols import Symbols
from symgrad.report import short_place
from symgrad.rewrite import Step
from symgrad.walk import Graph, topological

SHORT = 24
"""A subexpression of no more visible characters is written out rather than given a symbol."""

MOST_IN_A_NOTEBOOK = 200


@dataclass(frozen=True, slots=True)
class Rewrite:
    """One use of a law.

    Attributes:
        law: its name.
        equation: the law in LaTeX, or in words where it is about shapes.
        before, after: what was there and what took its place, in LaTeX.
        where: what the symbols stand for that are not the user's, in LaTeX.
        line: the user's line it belongs to, as `file.py:3`.
    """

    law: str
    equation: str
    before: str
    after: str
    where: tuple[str, ...] = ()
    line: str = ""

    def __str__(self) -> str:
        place = f" at {self.line}" if self.line else ""
        known = f"\n    where {', '.join(map(plain, self.where))}" if self.where else ""
        before, after = plain(self.before), plain(self.after)
        same = "  (in another order or shape)" if before == after else ""
        return f"{self.law}{place}\n    {before}\n  = {after}{same}{known}"


@dataclass(frozen=True, slots=True)
class Steps(Sequence[Rewrite]):
    """The chain of laws from a raw derivative to the simplified one.

    `print` it, show it in a notebook, take `.latex()`, or go through its rewrites one by one.
    """

    rewrites: tuple[Rewrite, ...]

    def __len__(self) -> int:
        return len(self.rewrites)

    def __getitem__(self, index):  # type: ignore[override]
        return self.rewrites[index]

    def __iter__(self) -> Iterator[Rewrite]:
        return iter(self.rewrites)

    def __str__(self) -> str:
        if not self.rewrites:
            return "no law applies"
        return "\n".join(f"{i}. {r}" for i, r in enumerate(self.rewrites, 1))

    def latex(self) -> str:
        """An `align*` of all steps, each with the name of its law."""
        if not self.rewrites:
            return r"\text{no law applies}"
        lines = [
            rf"{r.before} &= {r.after} && \text{{{r.law.replace('_', ' ')}}}" for r in self.rewrites
        ]
        body = " \\\\\n".join(lines)
        return f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"

    def _repr_html_(self) -> str:
        shown = self.rewrites[:MOST_IN_A_NOTEBOOK]
        rows = "".join(_html_row(i, r) for i, r in enumerate(shown, 1))
        heads = "".join(f"<th>{h}</th>" for h in ("", "law", "before", "after", "line"))
        left = len(self.rewrites) - len(shown)
        more = f"<p>and {left:,} more</p>" if left else ""
        return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>{more}"


def _html_row(number: int, r: Rewrite) -> str:
    equation = plain(r.equation) if r.equation else ""
    law = f'<span title="{html.escape(equation)}">{html.escape(r.law.replace("_", " "))}</span>'
    where = f"<br><small>{html.escape(', '.join(map(plain, r.where)))}</small>" if r.where else ""
    cells = (
        str(number),
        law,
        html.escape(plain(r.before)) + where,
        html.escape(plain(r.after)),
        html.escape(r.line),
    )
    return "<tr>" + "".join(f'<td style="text-align:left">{c}</td>' for c in cells) + "</tr>"


def steps(graph: Graph, log: Sequence[Step]) -> Steps:
    """The steps of a log, in the symbols of the graph."""
    symbols = Symbols()
    named = {node: symbols.claim(name) for node, name in _names(graph)}
    return Steps(tuple(_rewrite(step, named, symbols) for step in log))


def _names(graph: Graph) -> Iterator[tuple[Expr, str]]:
    names = [*graph.names, *("" for _ in graph.inputs)]
    for i, node in enumerate(graph.inputs):
        yield node, names[i] or f"x{i}"
    for node, origin in graph.origins.items():
        if origin.name and node not in graph.inputs:
            yield node, origin.name


def _rewrite(step: Step, named: dict[Expr, Part], symbols: Symbols) -> Rewrite:
    """Both sides down to what they share."""
    shared = set(_near(step.before)) & set(_near(step.after)) - {step.before, step.after}
    parts: dict[Expr, Part] = {}
    where: list[str] = []
    before = _side(step.before, shared, parts, named, symbols, where)
    after = _side(step.after, shared, parts, named, symbols, where)
    frame = step.origin.frame
    return Rewrite(
        step.rule.name,
        step.rule.latex,
        before,
        after,
        tuple(where),
        short_place(frame) if frame else "",
    )


def _side(
    root: Expr,
    shared: set[Expr],
    parts: dict[Expr, Part],
    named: dict[Expr, Part],
    symbols: Symbols,
    where: list[str],
) -> str:
    for node in _down_to(root, shared, named):
        if node in parts:
            continue
        if node is not root and node in named:
            parts[node] = named[node]
            continue
        for a in node.args:
            if a not in parts:
                parts[a] = _abbreviated(a, named, symbols, where)
        if node.op is argument:
            parts[node] = _abbreviated(node, named, symbols, where)
            continue
        part = formula(node, [parts[a] for a in node.args])
        plainly = node is root or node.op in (literal, captured, item)
        if plainly or visible(part.text) <= SHORT:
            parts[node] = part
        else:
            parts[node] = named[node] = symbols.numbered()
            where.append(f"{parts[node].text} = {part.text}")
    return parts[root].text


def _abbreviated(node: Expr, named: dict[Expr, Part], symbols: Symbols, where: list[str]) -> Part:
    """A symbol for what is too far below to be shown."""
    if node.op is not argument and not node.args:
        return formula(node, [])
    if node not in named:
        named[node] = symbols.numbered()
        if node.args:
            name = node.op.name.replace("_", r"\_")
            where.append(rf"{named[node].text} = \operatorname{{{name}}}\left(\dots\right)")
    return named[node]


DEEPEST = 6
"""How many operations down a side is written; below, everything has a symbol."""


def _near(
    root: Expr, last: Callable[[Expr, int], bool] = lambda node, depth: False
) -> dict[Expr, int]:
    """The nodes not too far below, and how far; not what is below the `last` ones."""
    depth = {root: 0}
    queue = [root]
    for node in queue:
        if depth[node] < DEEPEST and not last(node, depth[node]):
            fresh = [a for a in node.args if a not in depth]
            depth.update((a, depth[node] + 1) for a in fresh)
            queue += dict.fromkeys(fresh)
    return depth


def _down_to(root: Expr, shared: set[Expr], named: Mapping[Expr, Part]) -> list[Expr]:
    """The nodes that one side is made of, operands first."""

    def last(node: Expr, depth: int) -> bool:
        return node is not root and (node in named or (node in shared and depth > 2))

    depth = _near(root, last)
    edge = {n for n in depth if depth[n] == DEEPEST and n.args}
    outside = {a for n in depth for a in n.args if a not in depth} | edge
    return topological([root], known=outside)
