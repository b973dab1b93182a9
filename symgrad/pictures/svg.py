"""Pictures without scripts: an SVG that browsers, notebooks and papers show."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence

from symgrad.notation.program import notebook_latex
from symgrad.pictures.boxes import Box, Boxes, boxes_of
from symgrad.pictures.layout import HEIGHT, Layout, Placed, layout
from symgrad.walk import Graph

MOST_BOXES = 300
MOST_IN_A_NOTEBOOK = 200_000
"""Characters; a larger picture is folded further."""

COLOURS = {
    "input": ("#dbeafe", "#1d4ed8"),
    "forward": ("#ffffff", "#475569"),
    "backward": ("#ffedd5", "#c2410c"),
}
"""Fill and line of each kind of box; text is dark on all of them."""

TEXT, FAINT = "#111827", "#4b5563"


def svg(graph: Graph, most: int = MOST_BOXES) -> str:
    """The picture of a graph."""
    boxes = boxes_of(graph, most)
    return drawn(boxes, layout(boxes), described(graph, boxes))


def described(graph: Graph, boxes: Boxes) -> str:
    """The picture in words, for those who do not see it."""
    counts = {kind: sum(b.nodes for b in boxes.boxes if b.kind == kind) for kind in COLOURS}
    folded = " Operations of one line are folded." if any(b.nodes > 1 for b in boxes.boxes) else ""
    returned = ", ".join(b.label for b in boxes.boxes if b.output)
    return (
        f"A graph of {counts['input']} inputs, {counts['forward']} operations forward and "
        f"{counts['backward']} backward, from left to right; it returns {returned}.{folded}"
    )


def drawn(boxes: Boxes, at: Layout, about: str) -> str:
    """Arrows first, so that boxes stand on them."""
    size = f'width="{at.width:.0f}" height="{at.height:.0f}"'
    view = f'viewBox="0 0 {at.width:.0f} {at.height:.0f}"'
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {view} role="img" '
        f'aria-label="{html.escape(about)}" font-family="DejaVu Sans, Helvetica, sans-serif">'
    )
    lines = [head, f"<title>{html.escape(about)}</title>", ARROW, BACKGROUND]
    lines += _arrows(boxes, at)
    lines += [_box(i, b, p) for i, (b, p) in enumerate(zip(boxes.boxes, at.places, strict=True))]
    return "\n".join([*lines, "</svg>"])


ARROW = (
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" '
    'orient="auto"><path d="M0 0L8 4L0 8z" fill="#64748b"/></marker></defs>'
)
BACKGROUND = '<rect width="100%" height="100%" fill="#ffffff"/>'


def _arrows(boxes: Boxes, at: Layout) -> Iterator[str]:
    """One path an arrow; the shape of what flows stands where it leaves its box."""
    told: set[int] = set()
    for (a, b), points in zip(boxes.arrows, at.paths, strict=True):
        path = _curve(points)
        yield (
            f'<path class="arrow" data-from="{a}" data-to="{b}" d="{path}" fill="none" '
            f'stroke="#94a3b8" stroke-width="1.2" marker-end="url(#tip)"/>'
        )
        shape = boxes.boxes[a].type
        if shape and a not in told:
            told.add(a)
            (x, y), end = points[0], points[1]
            up = -5 if end[1] >= y else 12
            yield (
                f'<text x="{x + 4:.0f}" y="{y + up:.0f}" font-size="9" fill="{FAINT}">'
                f"{html.escape(shape)}</text>"
            )


def _curve(points: Sequence[tuple[float, float]]) -> str:
    """Level where it leaves, where it passes and where it arrives."""
    (x, y), *rest = points
    pieces = [f"M{x:.0f} {y:.0f}"]
    for to_x, to_y in rest:
        middle = (x + to_x) / 2
        pieces.append(f"C{middle:.0f} {y:.0f} {middle:.0f} {to_y:.0f} {to_x:.0f} {to_y:.0f}")
        x, y = to_x, to_y
    return "".join(pieces)


def _box(number: int, box: Box, at: Placed) -> str:
    fill, line = COLOURS[box.kind]
    corner = 14 if box.kind == "input" else 5
    left, top = at.x - at.width / 2, at.y - HEIGHT / 2
    width = 2.6 if box.output else 1.2
    dashes = ' stroke-dasharray="5 3"' if box.nodes > 1 else ""
    return (
        f'<g class="box {box.kind}" data-box="{number}"><title>{html.escape(box.title)}</title>'
        f'<rect x="{left:.0f}" y="{top:.0f}" width="{at.width:.0f}" height="{HEIGHT}" '
        f'rx="{corner}" fill="{fill}" stroke="{line}" stroke-width="{width}"{dashes}/>'
        f'<text x="{at.x:.0f}" y="{at.y + 4:.0f}" font-size="12" text-anchor="middle" '
        f'fill="{TEXT}">{html.escape(box.label)}</text></g>'
    )


def notebook_html(graph: Graph) -> str | None:
    """A picture that a notebook can keep; None where the formula says it better."""
    if notebook_latex(graph) is not None:
        return None
    most = MOST_BOXES
    text = svg(graph, most)
    while len(text) > MOST_IN_A_NOTEBOOK and most > 10:
        most //= 2
        text = svg(graph, most)
    return f'<div style="overflow:auto;max-height:40em">{text}</div>'
