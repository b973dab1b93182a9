"""Notebooks run, and print what is committed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
LARGEST = 200_000
"""Bytes: outputs are committed, so they are kept light."""

notebooks = pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)


def cells(notebook: Any) -> Iterator[Any]:
    return (cell for cell in notebook["cells"] if cell["cell_type"] == "code")


def printed(notebook: Any) -> list[str]:
    """What each cell writes to its standard output."""
    return [
        "".join("".join(o["text"]) for o in cell["outputs"] if o["output_type"] == "stream")
        for cell in cells(notebook)
    ]


@notebooks
def test_outputs_are_there_and_light(file: Path) -> None:
    notebook = json.loads(file.read_text())
    counts = [cell["execution_count"] for cell in cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))
    assert file.stat().st_size < LARGEST


@pytest.mark.slow
@notebooks
def test_notebook_runs(file: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    notebook = nbformat.read(file, as_version=4)
    committed = printed(notebook)
    folder = {"metadata": {"path": str(file.parent)}}
    nbclient.NotebookClient(notebook, timeout=300, resources=folder).execute()
    assert printed(notebook) == committed
