"""Measurements as a Markdown page of ratios, and as JSON with everything."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from benchmarks.harness import SYMGRAD, Comparison, Fact

Results = Mapping[str, tuple[str, Sequence[Comparison | Fact]]]
"""By row: what it is about, and what was measured."""

INTRODUCTION = """\
# Benchmarks

Written by `python -m benchmarks` on {machine}.

Figures about programs are JAX's over symgrad's: **above 1, symgrad needs less**. Times are medians
of interleaved rounds, with the quartiles in brackets; where those lie on both sides of 1, nobody is
ahead. "In `jax.jit`" is the program alone, as in a training step that is jitted as a whole;
"called" includes the way from Python into the program. FLOPs, products (matrix products and
convolutions) and temporary bytes are XLA's, of the optimised program, and the same on every run.
Errors are the largest relative ones against float64, symgrad's and JAX's.
"""

FIRST_RESULT = """\
Time to the first result, in units of what JAX takes to lower and compile; here **below 1, symgrad
needs less**:
"""


def machine() -> str:
    """The class of the machine, not its name."""
    device = jax.devices()[0]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cpu = f"a {cores}-core {platform.machine()} CPU"
    where = cpu if device.platform == "cpu" else f"{device.device_kind} with {cpu}"
    return f"{where}, Python {platform.python_version()}, jax {jax.__version__}"


def markdown(results: Results) -> str:
    lines = [INTRODUCTION.format(machine=machine())]
    for row, (about, measured) in results.items():
        lines += [f"## {row}\n", f"{about}\n"]
        comparisons = [m for m in measured if isinstance(m, Comparison)]
        facts = [m for m in measured if isinstance(m, Fact)]
        if comparisons:
            lines += [_table(RUNNING, _running(comparisons))]
            lines += [f"{_overall(comparisons)}\n"] if len(comparisons) >= MANY else []
            lines += [FIRST_RESULT, _table(MAKING, _making(comparisons))]
        if facts:
            lines += [_table(("what", "ratio"), [(f.name, str(f.ratio)) for f in facts])]
    return "\n".join(lines).rstrip() + "\n"


MANY = 20
"""So many cases are summed up."""


def _overall(comparisons: Sequence[Comparison]) -> str:
    ratios = {c.name: c.inside[next(iter(c.inside))].median for c in comparisons}
    worst = min(ratios, key=ratios.__getitem__)
    mean = math.exp(sum(map(math.log, ratios.values())) / len(ratios))
    return (
        f"Geometric mean of {len(ratios)} in `jax.jit`: {mean:.3f}; "
        f"the worst, {worst}: {ratios[worst]:.2f}."
    )


RUNNING = (
    *("case", "against", "in `jax.jit`", "called"),
    *("FLOPs", "products", "temporary bytes", "errors"),
)


def _running(comparisons: Sequence[Comparison]) -> Iterator[tuple[str, ...]]:
    for c in comparisons:
        own = c.programs[SYMGRAD]
        for name, inside in c.inside.items():
            theirs = c.programs[name]
            pair = theirs.figures, own.figures
            yield (
                c.name,
                name,
                str(inside),
                str(c.called[name]),
                quotient(*(f.flops for f in pair)),
                quotient(*(f.products for f in pair)),
                quotient(*(f.temp_bytes for f in pair)),
                f"{own.error:.1e}, {theirs.error:.1e}",
            )


MAKING = ("case", "against", "trace", "derive", "emit", "lower", "compile", "together")


def _making(comparisons: Sequence[Comparison]) -> Iterator[tuple[str, ...]]:
    for c in comparisons:
        own = c.programs[SYMGRAD].stages
        for name in c.inside:
            unit = c.programs[name].stages.total
            seconds = (own.trace, own.derive, own.emit, own.lower, own.compile, own.total)
            yield (c.name, name, *(f"{s / unit:.2f}" for s in seconds))


def quotient(theirs: int, own: int) -> str:
    """Equal figures have the quotient 1, also when both are 0."""
    return f"{1 if theirs == own else theirs / own if own else math.inf:.3f}"


def _table(header: Sequence[str], rows: Iterator[tuple[str, ...]] | Sequence[Any]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def data(results: Results) -> dict[str, Any]:
    """Everything, in seconds, operations and bytes."""
    rows = {
        row: [dataclasses.asdict(m) for m in measured] for row, (_, measured) in results.items()
    }
    return {"machine": machine(), "rows": rows}


def write(results: Results, folder: Path) -> None:
    """`results.md` and `results.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.md").write_text(markdown(results))
    (folder / "results.json").write_text(json.dumps(data(results), indent=2) + "\n")
