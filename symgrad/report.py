"""What symgrad did to a program: costs by stage, rules with the user's lines, opaque parts."""

from __future__ import annotations

import html
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from symgrad.account import Change, Stage, changes
from symgrad.errors import Frame
from symgrad.ops.calls import opaque
from symgrad.rewrite import Step
from symgrad.walk import UNKNOWN, Graph


@dataclass(frozen=True, slots=True)
class Firing:
    """One rule: how often it fired, on which of the user's lines, what it protects against."""

    rule: str
    law: str
    count: int
    lines: tuple[str, ...]
    protects: str = ""


@dataclass(frozen=True, slots=True)
class Opaque:
    """A primitive without a record: it runs as JAX has it, and has no derivative."""

    primitive: str
    line: str


@dataclass(frozen=True, slots=True)
class Choice:
    """Which of several ways to the same result was taken.

    Attributes:
        prices: of each way's simplified graph: floating-point operations, and 256 for starting
            each operation.
        taken: the way that runs.
    """

    prices: Mapping[str, float]
    taken: str

    @property
    def why(self) -> str:
        """The reason in words."""
        first, rest = (
            next(iter(self.prices)),
            [p for n, p in self.prices.items() if n != self.taken],
        )
        if self.taken != first:
            saved = 1 - self.prices[self.taken] / self.prices[first]
            return f"{self.taken} costs {saved:.0%} less than {first}"
        if self.prices[first] <= min(rest):
            return f"nothing costs less than {first}"
        return f"nothing costs clearly less than {first}"


@dataclass(frozen=True, slots=True)
class Report:
    """The account of one compilation; `print` it, or show it in a notebook.

    Attributes:
        title: what was compiled.
        stages: the program after each stage, in order, with its name and cost.
        steps: every use of a rule, in order.
        opaque: operations symgrad passes through to JAX.
        exhausted: whether simplification stopped because its budget was spent.
        choice: which of several orders of differentiating was taken, None if there is only one.
        reordered: the lines whose products were put in another order, which costs less.

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> report = sg.grad(jnp.sin).explain(1.0)
        >>> print(report.title, report.opaque)
        grad_sin ()
    """

    title: str
    stages: tuple[Stage, ...]
    steps: tuple[Step, ...]
    opaque: tuple[Opaque, ...]
    exhausted: bool = False
    choice: Choice | None = None
    reordered: tuple[str, ...] = ()

    @property
    def firings(self) -> tuple[Firing, ...]:
        """The rules that fired, most frequent first.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> report = sg.jit(lambda x: jnp.log(1 + jnp.exp(x))).explain(1.0)
            >>> [(f.rule, f.count) for f in report.firings]
            [('softplus_from_log', 1)]
        """
        return firings(self.steps)

    @property
    def changes(self) -> Mapping[str, Change]:
        """What each rule, and each stage beside its rules, added to the program or took from it.

        The names of stages are in brackets. All together is the difference between the last
        stage and the first. Where more than a million nodes would have to be looked at, the
        changes of a stage are not told apart by rules.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> report = sg.grad(lambda x: jnp.log(1 + jnp.exp(x))).explain(1.0)
            >>> sum(c.nodes for c in report.changes.values())
            -3
        """
        return changes(self.stages, self.steps)

    def __str__(self) -> str:
        lines = [self.title, "", *_table(("stage", *COLUMNS), [_stage_row(s) for s in self.stages])]
        if self.choice is not None:
            lines += [
                "",
                *_table(*_choice_table(self.choice), numbers=(1,)),
                f"  {self.choice.why}",
            ]
        fired = self.firings
        lines += [
            "",
            *_table(("rule", *CHANGES, "at"), self._change_rows(fired), numbers=(1, 2, 3)),
        ]
        guards = [f for f in fired if f.protects]
        if guards:
            lines += [
                "",
                "protected against",
                *(f"  {f.protects}: {f.rule}{at_lines(f)}" for f in guards),
            ]
        if self.reordered:
            lines += ["", f"products in another order: {', '.join(self.reordered)}"]
        for o in self.opaque:
            lines += ["", f"opaque: {o.primitive} at {o.line} runs as in JAX"]
        if self.exhausted:
            lines += ["", "simplification stopped early: its budget of rewrites was spent"]
        return "\n".join(lines)

    def _change_rows(self, fired: Sequence[Firing]) -> list[tuple[str, ...]]:
        """How often each rule fired and what it changed, what stages did beside, and the sum."""
        known, none = self.changes, Change()
        rows = [
            (f.rule, str(f.count), *_signed(known.get(f.rule, none)), ", ".join(f.lines))
            for f in fired
        ]
        stages = {n: c for n, c in known.items() if n.startswith("(") and c != none}
        rows += [(name, "", *_signed(change), "") for name, change in stages.items()]
        return [*rows, ("all", str(len(self.steps)), *_signed(sum(known.values(), none)), "")]

    def _repr_html_(self) -> str:
        parts = [f"<p><b>{html.escape(self.title)}</b></p>"]
        parts.append(_html_table(("stage", *COLUMNS), [_stage_row(s) for s in self.stages]))
        if self.choice is not None:
            parts.append(_html_table(*_choice_table(self.choice)))
            parts.append(f"<p>{html.escape(self.choice.why)}</p>")
        fired = self.firings
        known = {f.rule: (f.law, f.protects) for f in fired}
        rows = [
            (rule, known.get(rule, ("", ""))[0], *rest, known.get(rule, ("", ""))[1])
            for rule, *rest in self._change_rows(fired)
        ]
        parts.append(_html_table(("rule", "law", *CHANGES, "at", "protects against"), rows))
        if self.reordered:
            places = html.escape(", ".join(self.reordered))
            parts.append(f"<p>products in another order: {places}</p>")
        parts += [
            f"<p>opaque: <code>{html.escape(o.primitive)}</code> at {html.escape(o.line)}</p>"
            for o in self.opaque
        ]
        return "".join(parts)


CHANGES = ("fired", "nodes", "FLOPs")
COLUMNS = ("nodes", "FLOPs", "bytes", "peak bytes")


def firings(steps: Sequence[Step]) -> tuple[Firing, ...]:
    """The steps counted by rule, most frequent first."""
    counts = Counter(step.rule for step in steps)
    places: dict[object, dict[str, None]] = {}
    for step in steps:
        if step.origin.frame is not None:
            places.setdefault(step.rule, {})[short_place(step.origin.frame)] = None
    return tuple(
        Firing(rule.name, rule.law, n, tuple(places.get(rule, ())), rule.protects)
        for rule, n in counts.most_common()
    )


def new_places(before: Graph, after: Graph) -> tuple[str, ...]:
    """The lines of what is computed in one graph and not in another."""
    known = set(before.nodes)
    frames = [after.origins.get(n, UNKNOWN).frame for n in after.nodes if n not in known]
    return tuple(dict.fromkeys(short_place(f) for f in frames if f is not None))


def at_lines(firing: Firing) -> str:
    """Where a rule fired, as the end of a sentence."""
    return f" at {', '.join(firing.lines)}" if firing.lines else ""


def opaque_nodes(graph: Graph) -> tuple[Opaque, ...]:
    """The opaque operations of a graph and of the loop bodies and branches inside it."""
    found: list[Opaque] = []
    for node in graph.nodes:
        if node.op is opaque:
            frame = graph.origins.get(node, UNKNOWN).frame
            found.append(Opaque(node.params["name"], short_place(frame) if frame else "?"))
        for local in node.op.functions(node) if node.op.functions else ():
            found += opaque_nodes(local.graph)
    return tuple(found)


def short_place(frame: Frame) -> str:
    return f"{os.path.basename(frame.file)}:{frame.line}"


def _choice_table(choice: Choice) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    rows = [
        (name, f"{price:,.0f}", "taken" if name == choice.taken else "")
        for name, price in choice.prices.items()
    ]
    return ("order of differentiating", "price", ""), rows


def _signed(change: Change) -> tuple[str, str]:
    return f"{change.nodes:+,}", f"{change.flops:+,}"


def _stage_row(stage: Stage) -> tuple[str, ...]:
    cost = stage.cost
    figures = (cost.nodes, cost.flops, cost.bytes, cost.peak_bytes)
    return (stage.name, *(f"{n:,}" for n in figures))


def _table(
    header: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = (1, 2, 3, 4)
) -> list[str]:
    """Columns aligned, numbers to the right."""
    cells = [tuple(header), *map(tuple, rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        padded = [
            c.rjust(w) if i in numbers else c.ljust(w)
            for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ]
        return "  " + "  ".join(padded).rstrip()

    return [line(cells[0]), "  " + "  ".join("-" * w for w in widths), *map(line, cells[1:])]


def _html_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(h)}</th>" for h in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
