"""The demo's two pictures: loss curves, and a gradient before and after simplification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Patch
from matplotlib.text import Text

from symgrad.demo.drawing import Drawing, Place, lay_out
from symgrad.demo.training import Progress

BLUE, ORANGE, GREY = "#2b6cb0", "#c05621", "#4a5568"
FILLS = {BLUE: "#dbeafe", ORANGE: "#fde6d3", GREY: "#f1f3f5"}


def loss_curves(histories: Mapping[str, Sequence[Progress]], file: Path) -> None:
    """Training and held-out loss of each network, epoch by epoch."""
    figure = Figure(figsize=(5 * len(histories), 4), layout="constrained")
    panels = figure.subplots(1, len(histories), squeeze=False)[0]
    for axes, (name, history) in zip(panels, histories.items(), strict=True):
        epochs = range(1, 1 + len(history))
        axes.semilogy(epochs, [p.train_loss for p in history], color=BLUE, label="training")
        axes.semilogy(epochs, [p.held_out_loss for p in history], color=ORANGE, label="held out")
        axes.set_title(f"{name}: {history[-1].accuracy:.1%} of held-out digits right")
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("cross-entropy")
    panels[-1].legend(frameon=False)
    figure.savefig(file, dpi=150)


def before_and_after(forward: Any, raw: Any, simplified: Any, file: Path) -> None:
    """The graph of a gradient as differentiation leaves it, beside the one that runs.

    Args:
        forward: the graph of the function; its nodes are drawn blue, all others orange.
    """
    known = {*forward.nodes, *forward.simplify().nodes}
    drawings = [lay_out(raw, known), lay_out(simplified, known)]
    widths = [drawing.width for drawing in drawings]
    height = max(drawing.height for drawing in drawings)

    figure = Figure(figsize=(1.0 * sum(widths) + 1, 0.62 * height + 1.4), layout="constrained")
    panels = figure.subplots(1, 2, width_ratios=widths)
    titles = f"as differentiated: {len(raw)}", f"simplified: {len(simplified)}"
    for axes, drawing, title in zip(panels, drawings, titles, strict=True):
        _draw(axes, drawing, height)
        axes.set_title(f"{title} operations", fontsize=14, pad=12)
    kinds = {"input": GREY, "the function": BLUE, "its derivative": ORANGE}
    patches = [Patch(facecolor=FILLS[c], edgecolor=c, label=kind) for kind, c in kinds.items()]
    figure.legend(handles=patches, loc="outside lower center", ncols=3, frameon=False, fontsize=12)
    figure.draw_without_rendering()  # arrows end at boxes, which have a size only now
    figure.savefig(file, dpi=150)


def _draw(axes: Axes, drawing: Drawing, height: float) -> None:
    axes.set_xlim(-0.6, drawing.width - 0.4)
    axes.set_ylim(height - 0.5, -0.5)
    axes.axis("off")
    boxes = {
        node: _box(place, drawing.labels[node], _colour(drawing, node))
        for node, place in drawing.places.items()
    }
    for box in boxes.values():
        axes.add_artist(box)
    for user, operand in drawing.edges:
        axes.add_patch(_arrow(drawing, boxes, operand, user))


def _colour(drawing: Drawing, node: Any) -> str:
    if not node.args:
        return GREY
    return BLUE if node in drawing.forward else ORANGE


def _box(place: Place, label: str, colour: str) -> Text:
    outline = {"boxstyle": "round,pad=0.35", "facecolor": FILLS[colour], "edgecolor": colour}
    return Text(
        *place, label, fontsize=9, color="#1a202c", ha="center", va="center", bbox=outline, zorder=2
    )


def _arrow(drawing: Drawing, boxes: Mapping[Any, Text], operand: Any, user: Any) -> FancyArrowPatch:
    """From box to box; bent where a straight line would run through the boxes between."""
    start, end = drawing.places[operand], drawing.places[user]
    across, along = abs(start[0] - end[0]), abs(start[1] - end[1])
    bend = 0.25 if across < 0.6 and along > 1 else 0.12 if along < 0.5 and across > 1 else 0
    return FancyArrowPatch(
        start,
        end,
        patchA=boxes[operand].get_bbox_patch(),
        patchB=boxes[user].get_bbox_patch(),
        connectionstyle=f"arc3,rad={bend}",
        arrowstyle="-|>,head_width=2.5,head_length=4",
        color=_colour(drawing, user),
        alpha=0.6,
        shrinkA=0,
        shrinkB=1,
    )
