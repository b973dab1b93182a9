"""What the documents say is true: examples run, links and paths exist, the layers are those."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType

import jax
import pytest
from test_layers import LAYERS

import symgrad as sg
from symgrad import (
    api,
    assumptions,
    certificate,
    curvature,
    errors,
    graph,
    report,
    structured,
    transform,
)

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)

CURVATURE = [
    importlib.import_module(f"symgrad.curvature.{m.name}")
    for m in pkgutil.iter_modules(curvature.__path__)
]
EXAMPLES = [
    found
    for module in (
        *(api, assumptions, certificate, errors, graph, report, structured, transform),
        *CURVATURE,
    )
    for found in doctest.DocTestFinder().find(module, "symgrad")
    if found.examples
]

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
programs = pytest.mark.parametrize(
    "page", [p for p in PAGES if p.stem != "errors"], ids=lambda page: page.stem
)
"""The examples of the page on errors raise them, and are tested with the errors."""


def blocks(page: Path, language: str) -> Iterator[tuple[int, str]]:
    """The line before each code block, and the block."""
    text = page.read_text()
    for found in BLOCK.finditer(text):
        if found[1] == language:
            yield text[: found.start(2)].count("\n"), found[2]


@programs
def test_examples_run(page: Path) -> None:
    """Each page is one program; a failure shows the line of the page."""
    namespace: dict[str, object] = {"__name__": page.stem}
    with jax.enable_x64(False):
        for line, source in blocks(page, "python"):
            exec(compile("\n" * line + source, str(page), "exec"), namespace)


@pages
def test_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


@pages
def test_paths_exist(page: Path) -> None:
    for path in re.findall(r"`((?:symgrad|tests|benchmarks|docs)/[\w/.]*)`", page.read_text()):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_docstrings_of_the_interface_are_true(example: doctest.DocTest) -> None:
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    runner = doctest.DocTestRunner(optionflags=flags)
    with jax.enable_x64(False):
        assert runner.run(example, clear_globs=False).failed == 0


def public_names() -> Iterator[str]:
    """Functions and classes of the interface, and the methods and properties of these."""
    for value in [v for n, v in vars(sg).items() if n[0] != "_"]:
        if inspect.isfunction(value):
            yield value.__name__
        if inspect.isclass(value):
            yield value.__name__
            kinds = (FunctionType, property, classmethod, staticmethod)
            own = {n for n, v in vars(value).items() if n[0] != "_" and isinstance(v, kinds)}
            yield from (f"{value.__name__}.{name}" for name in own)
    yield from (f"Transformed.{n}" for n, v in vars(transform.Transformed).items() if n[0] != "_")


def test_the_interface_is_shown_by_examples() -> None:
    shown = {example.name.removeprefix("symgrad.") for example in EXAMPLES}
    assert set(public_names()) <= shown


def test_the_design_lists_the_layers_that_are_enforced() -> None:
    (text,) = (b for _, b in blocks(ROOT / "docs" / "design.md", "") if b.startswith("cli"))
    known = {name for layer in LAYERS for name in layer}
    listed = [[n for n in re.split(r"  +", line) if n in known] for line in text.splitlines()]
    assert listed == [list(layer) for layer in reversed(LAYERS)]


def table(text: str) -> list[list[str]]:
    """The cells of all tables of a page, row by row."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_figures_of_the_readme_are_those_that_were_measured() -> None:
    """Against JAX: time inside `jax.jit`, FLOPs, temporary bytes, time to the first result."""
    networks, _, _ = (ROOT / "benchmarks" / "results.md").read_text().partition("## algebra")
    results = table(networks)
    measured = {
        row[0]: [float(row[i].split()[0]) for i in (2, 4, 6)]
        for row in results
        if row[1] == "jax" and len(row) == 8 and " to " in row[2]
    }
    for row in results:
        if row[0] in measured and row[1] == "jax" and " to " not in row[2]:
            measured[row[0]].append(1 / float(row[-1]))
    _, _, section = (ROOT / "README.md").read_text().partition("## How it compares")
    shown = {row[0]: [float(cell) for cell in row[1:]] for row in table(section)[2:]}
    assert shown.keys() == measured.keys()
    for name, figures in shown.items():
        assert figures == pytest.approx(measured[name], abs=0.005)
