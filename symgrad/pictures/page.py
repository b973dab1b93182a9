"""A page with everything about a graph: to zoom, search, fold, step through; without network."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Sequence
from importlib import resources
from typing import Any

from symgrad.emit.names import comment
from symgrad.errors import Frame
from symgrad.notation.steps import Steps
from symgrad.pictures.boxes import Boxes, boxes_of
from symgrad.pictures.layout import layout
from symgrad.pictures.svg import described, drawn
from symgrad.walk import Graph

MOST_BOXES = 12_000
FOLDED_BOXES = 150
LARGE = 400
"""A graph with more boxes is shown folded at first."""

MOST_STEPS = 5_000


def page(graph: Graph, steps: Steps, title: str) -> str:
    """The page of a graph and of the laws that made it."""
    pictures = {"whole": boxes_of(graph, MOST_BOXES), "folded": boxes_of(graph, FOLDED_BOXES)}
    lines = _lines(graph)
    numbers = {(f.file, f.line): i for i, f in enumerate(lines)}
    data = {
        "lines": [_shown(f) for f in lines],
        "lines_of": {k: _lines_of(b, numbers) for k, b in pictures.items()},
        "steps": [_step(i, str(r)) for i, r in enumerate(steps.rewrites[:MOST_STEPS], 1)],
    }
    parts = {
        "TITLE": html.escape(title),
        "PRESSED": "true" if len(pictures["whole"].boxes) > LARGE else "false",
        "WHOLE": _picture(graph, pictures["whole"]),
        "FOLDED": _picture(graph, pictures["folded"]),
        "DATA": _embedded(data),
    }
    text = resources.files("symgrad.pictures").joinpath("page.html").read_text("utf-8")
    pieces = text.split("@@")
    return "".join(parts[p] if i % 2 else p for i, p in enumerate(pieces))


def _picture(graph: Graph, boxes: Boxes) -> str:
    return drawn(boxes, layout(boxes), described(graph, boxes))


def _step(number: int, text: str) -> str:
    return f"{number}. {text}"


def _embedded(data: Any) -> str:
    """JSON that no tag can end."""
    return json.dumps(data, ensure_ascii=True).replace("<", "\\u003c")


def _lines(graph: Graph) -> Sequence[Frame]:
    """The user's lines, file by file."""
    frames = {(f.file, f.line): f for o in graph.trimmed().values() if (f := o.frame) is not None}
    return [frames[place] for place in sorted(frames)]


def _shown(frame: Frame) -> str:
    return f"{os.path.basename(frame.file)}:{frame.line}  {comment(frame.text)}"


def _lines_of(boxes: Boxes, numbers: dict[tuple[str, int], int]) -> list[int | None]:
    return [None if b.line is None else numbers.get(b.line) for b in boxes.boxes]
