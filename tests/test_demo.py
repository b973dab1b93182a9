"""The demo: honest data, two networks of the right shapes, a picture, and a tour that succeeds."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symgrad as sg
from symgrad.cli import main
from symgrad.demo import data, drawing, figures, models, tasks
from symgrad.demo.checks import Check, relative_error
from symgrad.demo.tour import first_batch
from symgrad.demo.training import Progress, make_optimizer, make_step, minibatches


@pytest.fixture(scope="module")
def digits() -> data.Digits:
    return data.load()


def test_shapes(digits: data.Digits) -> None:
    for split, n in (digits.train, 1437), (digits.held_out, 360):
        assert split.x.shape == (n, 64)
        assert split.images.shape == (n, 32, 32, 1)
        assert split.labels.shape == (n,)
        assert (split.x.dtype, split.labels.dtype) == (jnp.float32, jnp.int32)


def test_split_is_the_same_every_time(digits: data.Digits) -> None:
    again = data.load()
    jax.tree.map(np.testing.assert_array_equal, digits, again)


def test_no_image_is_on_both_sides(digits: data.Digits) -> None:
    train, held_out = ({row.tobytes() for row in np.asarray(s.x)} for s in digits)
    assert not train & held_out


def test_every_class_is_held_out_in_proportion(digits: data.Digits) -> None:
    train, held_out = (Counter(np.asarray(s.labels).tolist()) for s in digits)
    for digit in range(10):
        share = held_out[digit] / (held_out[digit] + train[digit])
        assert share == pytest.approx(data.HELD_OUT_FRACTION, abs=0.01)


def test_normalised_by_the_training_images(digits: data.Digits) -> None:
    assert float(digits.train.x.mean()) == pytest.approx(0, abs=1e-5)
    assert float(digits.train.x.std()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("make", [tasks.mlp, tasks.lenet])
def test_an_untrained_network_guesses(make, digits: data.Digits) -> None:
    task = make(digits)
    params = task.init(jax.random.key(0))
    inputs, labels = task.train.inputs[:64], task.train.labels[:64]
    assert jax.eval_shape(task.logits, params, inputs).shape == (64, 10)
    loss = jax.jit(task.loss)(params, inputs, labels)
    assert loss.shape == ()
    assert 0.5 * math.log(10) < float(loss) < 2 * math.log(10)


@pytest.mark.parametrize("make", [tasks.mlp, tasks.lenet])
def test_a_step_goes_downhill(make, digits: data.Digits) -> None:
    task = make(digits)
    params = task.init(jax.random.key(0))
    optimizer = make_optimizer(task)
    step, state = make_step(task, optimizer), optimizer.init(params)
    batch = task.train.inputs[:64], task.train.labels[:64]
    before = jax.jit(task.loss)(params, *batch)
    for _ in range(3):
        params, state = step(params, state, *batch)
    assert jax.jit(task.loss)(params, *batch) < before


def test_the_gradient_speaks_the_language_of_the_model(digits: data.Digits) -> None:
    with jax.default_matmul_precision(None):
        source = sg.grad(models.mlp_loss).source(*first_batch(tasks.mlp(digits)))
    assert "= x @ W1 + b1\n" in source
    assert "h = jnp.tanh(" in source
    assert "z = h @ W2 + b2" in source
    assert "q = jax.nn.softmax(z, axis=-1)" in source
    assert "(q - p) / 64.0" in source
    assert "return d_W1, d_W2, d_b1, d_b2" in source


def test_lenet_has_the_layers_of_lectures() -> None:
    params = models.lenet_init(jax.random.key(0))
    assert params["K1"].shape == (3, 3, 1, 6)
    assert params["K2"].shape == (3, 3, 6, 16)
    assert [params[w].shape[1] for w in ("W3", "W4", "W5")] == [120, 84, 10]


@pytest.mark.parametrize("make", [tasks.mlp, tasks.lenet])
def test_variations_keep_the_shape(make, digits: data.Digits) -> None:
    task = make(digits)
    inputs = task.train.inputs[:8]
    varied = task.vary(jax.random.key(1), inputs)
    assert (varied.shape, varied.dtype) == (inputs.shape, inputs.dtype)
    assert float(jnp.abs(varied - inputs).max()) > 0


def test_minibatches_hold_every_example_at_most_once() -> None:
    examples = tasks.Examples(jnp.arange(10), jnp.arange(10) * 2)
    batches = [(x, y) for _, x, y in minibatches(jax.random.key(0), examples, 3)]
    seen = np.concatenate([x for x, _ in batches])
    assert [x.shape for x, _ in batches] == [(3,)] * 3
    assert len(set(seen.tolist())) == 9
    assert all((y == 2 * x).all() for x, y in batches)


def test_checks_know_good_from_bad() -> None:
    assert Check("error", 1e-6, 1e-4).passed
    assert not Check("error", 1e-3, 1e-4).passed
    assert not Check("error", math.nan, 1e-4).passed
    assert Check("accuracy", 0.99, 0.97, at_least=True).passed
    assert not Check("accuracy", math.nan, 0.97, at_least=True).passed
    assert "accuracy is 0.9; it should be at least 0.97" in (
        Check("accuracy", 0.9, 0.97, at_least=True).sentence
    )


def test_relative_error_is_that_of_the_worst_leaf() -> None:
    expected = {"a": jnp.array([100.0, 0.0]), "b": jnp.array([1.0])}
    found = {"a": jnp.array([101.0, 0.0]), "b": jnp.array([1.5])}
    assert relative_error(found, expected) == pytest.approx(0.5)
    assert relative_error(expected, expected) == 0


class FakeOp(NamedTuple):
    name: str


class FakeNode(NamedTuple):
    op: FakeOp
    args: tuple[FakeNode, ...] = ()


class FakeGraph(NamedTuple):
    inputs: tuple[FakeNode, ...]
    nodes: list[FakeNode]
    names: tuple[str, ...]


def fake_gradient() -> tuple[FakeGraph, set[FakeNode]]:
    """`x`, `exp(x)`, and a derivative of two nodes, with a literal that is not drawn."""
    x, w, two = (FakeNode(FakeOp(name)) for name in ("x", "w", "two"))
    y = FakeNode(FakeOp("exp"), (x,))
    g = FakeNode(FakeOp("mul"), (y, two))
    h = FakeNode(FakeOp("add"), (g, w))
    return FakeGraph((x, w), [x, w, two, y, g, h], ("x", "weights")), {x, y}


def test_layout_runs_down_the_function_and_up_its_derivative() -> None:
    graph, forward = fake_gradient()
    x, w, two, y, g, h = graph.nodes
    drawn = drawing.lay_out(graph, forward)
    assert two not in drawn.places
    assert drawn.labels[w] == "weights"
    (xx, xy), (_, yy) = drawn.places[x], drawn.places[y]
    (gx, gy), (_, hy) = drawn.places[g], drawn.places[h]
    assert xy < yy
    assert hy < gy
    assert xx < gx
    assert len(set(drawn.places.values())) == len(drawn.places)
    assert set(drawn.edges) == {(y, x), (g, y), (h, g), (h, w)}


def test_loss_curves_are_drawn(tmp_path: Path) -> None:
    history = [Progress(1 / n, 2 / n, 1 - 0.1 / n) for n in range(1, 5)]
    figures.loss_curves({"MLP": history, "LeNet": history}, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_whole_tour(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--output", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "missed" not in out
    names = {"loss_curves.png", "simplification.png", "mlp_gradient.py", "lenet_gradient.py"}
    assert {file.name for file in tmp_path.iterdir()} == names
