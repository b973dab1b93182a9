"""Pictures of graphs: well formed, complete, told in words, and of a size that can be kept."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_derivation import read

import symgrad as sg
from symgrad.pictures.boxes import boxes_of
from symgrad.pictures.layout import HEIGHT, layout
from symgrad.pictures.svg import MOST_BOXES, MOST_IN_A_NOTEBOOK

SVG = "{http://www.w3.org/2000/svg}"


def loss(params, x, y):
    h = jnp.tanh(x @ params["W1"] + params["b1"])
    z = h @ params["W2"] + params["b2"]
    return jnp.mean((z - y) ** 2)


def shaped(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, np.float32)


PARAMS = {"W1": shaped(3, 4), "b1": shaped(4), "W2": shaped(4, 2), "b2": shaped(2)}
NETWORK = sg.grad(loss).graph(PARAMS, shaped(8, 3), shaped(8, 2))


def test_a_network_and_its_derivative() -> None:
    root = ET.fromstring(NETWORK.svg())
    assert root.get("role") == "img"
    about = root.get("aria-label") or ""
    assert about.startswith("A graph of 6 inputs")
    assert "backward, from left to right" in about
    boxes = root.findall(f"{SVG}g")
    labels = [g.findtext(f"{SVG}text") for g in boxes]
    assert labels[:6] == ["W₁", "W₂", "b₁", "b₂", "x", "y"]
    assert "h = tanh" in labels
    titles = [g.findtext(f"{SVG}title") or "" for g in boxes]
    assert any("float32[8,4]" in t and 'h = jnp.tanh(x @ params["W1"]' in t for t in titles)
    shapes = [t.text for t in root.findall(f"{SVG}text")]
    assert {"8×3", "3×4", "8×4", "8×2"} <= set(shapes)


def test_forward_stands_left_of_backward() -> None:
    boxes = boxes_of(NETWORK, MOST_BOXES)
    at = layout(boxes)
    kinds = [b.kind for b in boxes.boxes]
    places = [p.x for p in at.places]
    forward = max(x for k, x in zip(kinds, places, strict=True) if k != "backward")
    assert forward < min(x for k, x in zip(kinds, places, strict=True) if k == "backward")
    assert all(places[a] < places[b] for a, b in boxes.arrows)


def test_boxes_do_not_overlap_and_arrows_end_at_boxes() -> None:
    boxes = boxes_of(NETWORK, MOST_BOXES)
    at = layout(boxes)
    for i, p in enumerate(at.places):
        assert p.width / 2 <= p.x <= at.width - p.width / 2
        assert HEIGHT / 2 <= p.y <= at.height - HEIGHT / 2
        for q in at.places[:i]:
            apart = abs(p.x - q.x) >= (p.width + q.width) / 2 or abs(p.y - q.y) >= HEIGHT
            assert apart
    for (a, b), points in zip(boxes.arrows, at.paths, strict=True):
        assert points[0] == (at.places[a].x + at.places[a].width / 2, at.places[a].y)
        assert points[-1] == (at.places[b].x - at.places[b].width / 2, at.places[b].y)


def crossings(graph: sg.Graph) -> int:
    """How often arrows between neighbouring places cross."""
    at = layout(boxes_of(graph, MOST_BOXES))
    pieces = {(p, q) for points in at.paths for p, q in pairwise(points)}
    return sum(
        abs(a[0] - c[0]) < 40 and abs(b[0] - d[0]) < 40 and (a[1] - c[1]) * (b[1] - d[1]) < 0
        for a, b in pieces
        for c, d in pieces
    )


def test_arrows_cross_no_more_than_they_must() -> None:
    def tree(a, b, c, d):
        return jnp.sin(a * b) * jnp.cos(c * d)

    assert crossings(sg.trace(tree, 1.0, 2.0, 3.0, 4.0)) == 0
    assert crossings(NETWORK) // 2 <= 12


def chain(x, w):
    for _ in range(400):
        h = jnp.tanh(x * w)
        x = h + jnp.sin(x)
    return x


def test_large_graphs_are_folded() -> None:
    graph = sg.trace(chain, 1.0, 2.0).grad()
    found = boxes_of(graph, MOST_BOXES)
    assert len(found.boxes) <= MOST_BOXES
    assert all(a < b for a, b in found.arrows)
    root = ET.fromstring(graph.svg())
    assert "folded" in (root.get("aria-label") or "")
    assert sum(b.nodes for b in found.boxes) > 2000


def test_folding_goes_on_where_one_function_is_too_long() -> None:
    names: dict[str, Any] = {"jnp": jnp}
    body = "\n".join(f"    x{i + 1} = jnp.sin(x{i}) * x0" for i in range(200))
    exec(f"def straight(x0):\n{body}\n    return x200", names)
    graph = sg.trace(names["straight"], 1.0)
    assert 1 < len(boxes_of(graph, 60).boxes) <= 60


def test_notebooks_get_a_formula_or_a_picture() -> None:
    small = sg.trace(lambda x: x * x, 1.0).grad()
    assert small._repr_html_() is None
    assert small._repr_latex_() is not None
    large = sg.trace(chain, 1.0, 2.0).grad()
    assert large._repr_latex_() is None
    text = large._repr_html_() or ""
    assert 0 < len(text) < MOST_IN_A_NOTEBOOK + 200
    assert "tanh" in read(text)


def test_names_of_strangers_stay_text() -> None:
    def evil(p):
        return p["<script>alert(1)</script>"] * 2.0

    graph = sg.trace(evil, {"<script>alert(1)</script>": 1.0})
    assert "<script" not in graph.svg()
    ET.fromstring(graph.svg())


def test_every_picture_is_the_same_every_time_and_has_no_script() -> None:
    assert NETWORK.svg() == NETWORK.svg()
    assert not re.search(r"<script|\son\w+=|href=", NETWORK.svg())


def test_loops_and_factorisations_are_boxes() -> None:
    def program(a, x):
        w, v = jnp.linalg.eigh(a + a.T)
        return jax.lax.fori_loop(0, 3, lambda i, y: v @ (w * y), x)

    root = ET.fromstring(sg.trace(program, np.eye(3, dtype="f"), np.ones(3, "f")).svg())
    labels = [g.findtext(f"{SVG}text") for g in root.findall(f"{SVG}g")]
    assert "eigh" in labels
    assert any("scan" in (label or "") for label in labels)


def embedded(text: str) -> Any:
    """The data of a page."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert found
    return json.loads(found[1])


def test_a_page_has_everything_and_needs_no_network(tmp_path: Path) -> None:
    NETWORK.html(tmp_path / "page.html", "the gradient of <loss>")
    text = (tmp_path / "page.html").read_text()
    assert "<title>the gradient of &lt;loss&gt;</title>" in text
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert "@@" not in text
    data = embedded(text)
    assert len(data["steps"]) == len(NETWORK.steps())
    assert any(
        line.endswith('h = jnp.tanh(x @ params["W1"] + params["b1"])') for line in data["lines"]
    )
    pictures = re.findall(r"<svg.*?</svg>", text, re.S)
    assert [len(data["lines_of"][k]) for k in ("whole", "folded")] == [
        len(ET.fromstring(p).findall(f"{SVG}g")) for p in pictures
    ]
    known = {n for numbers in data["lines_of"].values() for n in numbers if n is not None}
    assert known <= set(range(len(data["lines"])))


def test_a_page_of_ten_thousand_operations(tmp_path: Path) -> None:
    graph = sg.trace(repeated, 1.0, 2.0).grad()
    assert len(graph) > 10_000
    graph.html(tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size < 8_000_000


def repeated(x, w):
    for _ in range(1100):
        h = jnp.tanh(x * w)
        x = h + jnp.sin(x)
    return x


def test_a_page_keeps_names_of_strangers_as_text(tmp_path: Path) -> None:
    name = "</script><script>alert(1)</script>"
    graph = sg.trace(lambda p: p[name] * 2.0 * 1.0, {name: 1.0}).simplify()
    graph.html(tmp_path / "page.html", name)
    assert "<script>alert" not in (tmp_path / "page.html").read_text()


BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)

DRIVE = """<script>
const log = [];
window.addEventListener("error", event => log.push(event.message));
at("search").value = "tanh";
at("search").dispatchEvent(new Event("input"));
log.push(at("found").textContent);
at("fold").click();
log.push(at("whole").hidden);
at("fold").click();
log.push(at("whole").hidden);
at("after").click();
log.push(at("number").textContent);
at("lines").children[0].click();
log.push(picture().querySelectorAll(".box.chosen").length > 0);
picture().querySelector(".box.forward").dispatchEvent(new MouseEvent("click", {bubbles: true}));
log.push(document.querySelectorAll("button.chosen").length);
const before = view[2];
stage.dispatchEvent(new WheelEvent("wheel", {deltaY: -300, clientX: 90, clientY: 90}));
log.push(view[2] < before);
document.documentElement.dataset.log = JSON.stringify(log);
</script></body>"""


@pytest.mark.skipif(not BROWSER, reason="no browser is installed")
def test_a_page_works_in_a_browser(tmp_path: Path) -> None:
    """Search, fold, step, choose a line, choose a box, zoom; and nothing on the console."""
    page = tmp_path / "page.html"
    NETWORK.html(page)
    page.write_text(page.read_text().replace("</body>", DRIVE))
    options = ("--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr")
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    ran = subprocess.run(
        [BROWSER, *options, profile, "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found = re.search(r'data-log="(.*?)"', ran.stdout)
    assert found
    log = json.loads(html.unescape(found[1]))
    assert log == ["6 found", True, False, f"2 of {len(NETWORK.steps())}", True, 1, True]
    assert "CONSOLE" not in ran.stderr
