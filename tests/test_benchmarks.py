"""The benchmarks measure what they say, and gradients of networks cost no more than JAX's."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symgrad as sg
from benchmarks import __main__ as command
from benchmarks import algebra, corpus, first_path, harness, networks, products, report
from benchmarks.harness import SYMGRAD, Case, Comparison, Fact, Figures, Measured, Ratio, Stages

MARGIN = 1.02
"""How much more than JAX's the deterministic figures of a gradient may be."""


# Never more than JAX


@pytest.mark.parametrize(
    ("network", "images", "kept"),
    [(first_path.mlp, 8, 8 * 128 * 4), (first_path.lenet, 4, 0)],
    ids=["MLP", "LeNet"],
)
def test_gradients_of_networks_cost_no_more_than_those_of_jax(
    network: Callable[[int], Case], images: int, kept: int
) -> None:
    """`kept`: bytes of the operands of tanh, from which its slope has all digits."""
    case = network(images)
    own, theirs = (
        harness.figures(case.programs[name]().lower(*case.args).compile())
        for name in (SYMGRAD, "jax")
    )
    assert own.products == theirs.products
    assert own.flops <= MARGIN * theirs.flops
    assert own.temp_bytes <= MARGIN * theirs.temp_bytes + kept


def work(case: Case, name: str) -> float:
    """Operations of the optimised program, a transcendental function as ten."""
    cost = case.programs[name]().lower(*case.args).compile().cost_analysis()
    return cost.get("flops", 0.0) + 10 * cost.get("transcendentals", 0.0)


@pytest.mark.parametrize("case", corpus.cases()[::9], ids=lambda c: c.name)
def test_functions_of_the_corpus_are_as_accurate_as_in_jax(case: Case) -> None:
    exact = harness.in_float64(case)
    own, theirs = (
        harness.relative_error(case.programs[name]()(*case.args), exact)
        for name in (SYMGRAD, "jax")
    )
    assert own <= 4 * theirs + 1e-6


@pytest.mark.slow
def test_functions_of_the_corpus_need_no_more_work_than_in_jax() -> None:
    """Bodies of loops count once there: a product taken out of a loop would count in full."""
    loopless = [
        c for c in corpus.cases() if "scan" not in str(jax.make_jaxpr(c.programs["jax"]())(*c.args))
    ]
    ratios = [work(c, SYMGRAD) / max(1.0, work(c, "jax")) for c in loopless]
    assert len(ratios) > 50
    assert math.exp(sum(map(math.log, ratios)) / len(ratios)) <= 1


SMALL: dict[str, Callable[[], Case]] = {
    "MLP": lambda: first_path.mlp(images=2),
    "LeNet": lambda: first_path.lenet(images=1),
    "products": lambda: products.mlp(images=2),
    "joint products": lambda: products.joint(images=2),
    "many products": lambda: products.many_mlp(images=2, count=3),
    "many products of logistic": lambda: products.many_logistic(5, 2, 3),
    "attention": lambda: networks.attention(batch=2, length=3, width=4, heads=2),
    "transformer": lambda: networks.transformer(layers=2, batch=2, length=3, width=4, heads=2),
    "RNN": lambda: networks.rnn(time=3, batch=2, width=2, hidden=3),
    "ResNet": lambda: networks.resnet(batch=2, side=4, channels=2),
    "RBF": lambda: networks.rbf(points=4, centres=3, dimensions=2),
    "logistic": lambda: networks.logistic(points=5, features=2),
    "chain": lambda: algebra.chain(n=4),
    "difference": lambda: algebra.difference(n=4),
    "entry": lambda: algebra.entry(n=4),
    "power": lambda: algebra.power(n=4),
    "cyclic": lambda: algebra.cyclic(n=4),
    "length": lambda: algebra.length(n=4),
    "quadratic": lambda: algebra.quadratic(n=4),
    "logistic Hessian": lambda: algebra.logistic(n=4),
    "factorisation": lambda: algebra.factorisation(n=4, rank=2),
    "hourglass": lambda: algebra.hourglass(n=6, waist=2),
    "divergence": lambda: algebra.divergence(n=4),
    "Laplacian": lambda: algebra.laplacian(inputs=3, widths=(4, 5, 1)),
    "nodes": lambda: algebra.nodes_laplacian(batch=2, nodes=3, width=4),
}

small_cases = pytest.mark.parametrize("make", SMALL.values(), ids=SMALL)


@small_cases
def test_programs_of_a_case_return_the_same_types(make: Callable[[], Case]) -> None:
    case = make()
    first, *others = (jax.eval_shape(p(), *case.args) for p in case.programs.values())
    assert others
    assert all(other == first for other in others)


@pytest.mark.parametrize(
    ("make", "least"),
    [
        (lambda: algebra.chain(n=48), 20),
        (lambda: algebra.difference(n=48), 10),
        (lambda: algebra.entry(n=48), 100),
        (lambda: algebra.power(n=48), 4.5),
        (lambda: algebra.cyclic(n=48), 1.2),
        (lambda: algebra.length(n=48), 20),
        (lambda: algebra.quadratic(n=48), 50),
        (lambda: algebra.logistic(n=48), 1.9),
        (lambda: algebra.factorisation(n=12, rank=4), 10),
        (lambda: algebra.hourglass(n=48, waist=4), 3),
        (lambda: algebra.divergence(n=48), 10),
        (lambda: algebra.laplacian(inputs=20, widths=(24, 24, 16, 1)), 1.8),
        (lambda: algebra.nodes_laplacian(batch=2, nodes=6, width=8), 10),
    ],
)
def test_algebra_saves_what_it_promises(make: Callable[[], Case], least: float) -> None:
    """`least`: FLOPs of the naive source under `jax.jit` over symgrad's."""
    case = make()
    own, theirs = (
        _flops(case.programs[name]().lower(*case.args).compile()) for name in (SYMGRAD, "jax")
    )
    assert theirs >= least * own


def _flops(compiled: Any) -> float:
    """No less than 1: XLA says nothing of a program without any."""
    return max(1.0, compiled.cost_analysis().get("flops", 0.0))


@pytest.mark.slow
@small_cases
def test_programs_of_a_case_compute_the_same(make: Callable[[], Case]) -> None:
    case = make()
    exact = harness.in_float64(case)
    for program in case.programs.values():
        assert harness.relative_error(program()(*case.args), exact) < 1e-5


# Turns


def test_programs_take_turns() -> None:
    called = []
    functions = {name: lambda name=name: called.append(name) for name in "abc"}
    times = harness.take_turns(functions, rounds=4, turn=0.0)
    assert called[-12:] == list("abc" * 4)
    assert {name: len(t) for name, t in times.items()} == {"a": 4, "b": 4, "c": 4}


def test_a_call_is_waited_for_and_its_median_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 10.0, 13.0, 20.0, 29.0])
    waited = []
    monkeypatch.setattr(harness.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(harness.jax, "block_until_ready", waited.append)
    assert harness.seconds_per_call(lambda: "result", 3) == 3.0
    assert waited == ["result"] * 3


def test_ratios_are_taken_within_rounds() -> None:
    found = harness.ratio([2.0, 20.0, 4.0, 5.0, 3.0], [1.0, 10.0, 1.0, 1.0, 1.0])
    assert (found.low, found.median, found.high) == (2.0, 3.0, 4.0)
    assert str(found) == "3.00 (2.00 to 4.00)"


# Figures and errors


def test_figures_of_a_matrix_product() -> None:
    n = 16
    compiled = jax.jit(lambda x, y: x @ y).lower(jnp.ones((n, n)), jnp.ones((n, n))).compile()
    found = harness.figures(compiled)
    assert found.flops == pytest.approx(2 * n**3, rel=0.1)
    assert found.products == 1
    assert found.bytes >= 3 * 4 * n**2


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("%dot.3 = f32[8,10]{1,0} dot(%a, %b), lhs_contracting_dims={1}", 1),
        ("ROOT %convolution.1 = f32[4]{0} convolution(%x, %w), window={size=3x3}", 1),
        ('%c = f32[8]{0} custom-call(%a), custom_call_target="__cublas$gemm"', 1),
        ("%dot_fusion = f32[8]{0} fusion(%a, %dot.3), kind=kLoop, calls=%dots", 0),
    ],
)
def test_products_in_the_text_of_a_program(line: str, count: int) -> None:
    assert harness.count_products(line) == count


@pytest.mark.parametrize(
    ("found", "exact", "error"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([1.0, 2.2], [1.0, 2.0], 0.1),
        ([0.0, 1e-3], [0.0, 0.0], 1e-3),
        ([], [], 0.0),
    ],
)
def test_relative_error(found: list[float], exact: list[float], error: float) -> None:
    trees = ({"x": np.array(values)} for values in (found, exact))
    assert harness.relative_error(*trees) == pytest.approx(error)


def test_a_wrong_value_is_not_hidden_by_a_larger_leaf() -> None:
    assert harness.relative_error((1e6, 2.0), (1e6, 1.0)) == 1.0


# Whole cases


def case_of(loss: Callable[..., Any], *args: Any) -> Case:
    return harness.value_and_grad("small", loss, *args)


def test_the_reference_is_in_float64_and_whole_numbers_stay() -> None:
    case = case_of(lambda x, i: jnp.sum(x[i] ** 2), jnp.arange(3.0), jnp.array([0, 2]))
    value, gradient = harness.in_float64(case)
    assert value.dtype == gradient.dtype == np.float64
    assert gradient.tolist() == [0.0, 0.0, 4.0]


def test_only_symgrad_has_stages_before_lowering() -> None:
    loss, x = lambda x: jnp.sum(jnp.tanh(x)), jnp.ones(3)
    own = harness.time_stages(sg.value_and_grad(loss), (x,))
    theirs = harness.time_stages(jax.jit(jax.value_and_grad(loss)), (x,))
    assert min(own.trace, own.emit, own.lower, own.compile) > 0
    assert (theirs.trace, theirs.derive, theirs.emit) == (0, 0, 0)
    assert theirs.total == theirs.lower + theirs.compile


def test_compare_measures_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "REPEATS", 1)
    monkeypatch.setattr(harness, "TURN", 0.0)
    found = harness.compare(case_of(lambda x: jnp.sum(x**3), jnp.ones(4)), rounds=2)
    assert list(found.programs) == [SYMGRAD, "jax"]
    assert set(found.seconds) == {SYMGRAD, harness.INSIDE, "jax"}
    assert list(found.called) == list(found.inside) == ["jax"]
    assert all(m.error < 1e-6 for m in found.programs.values())


# Reports


def comparison() -> Comparison:
    own = Measured(Stages(1, 1, 1, 1, 6), Figures(100, 2, 10, 0), 1e-7)
    theirs = Measured(Stages(0, 0, 0, 5, 15), Figures(150, 2, 10, 0), 2e-7)
    ratios = {"jax": Ratio(1.5, 1.4, 1.6)}
    return Comparison("a case", {SYMGRAD: own, "jax": theirs}, {SYMGRAD: 1.0}, ratios, ratios)


def test_a_report_is_a_table_of_ratios() -> None:
    page = report.markdown({"row": ("About it.", [comparison(), Fact("imports", Ratio(1, 1, 1))])})
    assert "| a case | jax | 1.50 (1.40 to 1.60) |" in page
    assert "| 1.500 | 1.000 | 1.000 | 1.0e-07, 2.0e-07 |" in page
    assert "| 0.05 | 0.05 | 0.05 | 0.05 | 0.30 | 0.50 |" in page
    assert "| imports | 1.00 (1.00 to 1.00) |" in page


@pytest.mark.parametrize(
    ("theirs", "own", "text"), [(3, 2, "1.500"), (0, 0, "1.000"), (2, 0, "inf"), (0, 2, "0.000")]
)
def test_quotients_of_figures(theirs: int, own: int, text: str) -> None:
    assert report.quotient(theirs, own) == text


def test_the_command_measures_one_row_and_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "measure", lambda row: [comparison()])
    command.main(["--only", "products", "--output", str(tmp_path)])
    out, _ = capsys.readouterr()
    assert (tmp_path / "results.md").read_text() in out
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert list(rows) == ["products"]
    assert math.isclose(rows["products"][0]["programs"]["jax"]["stages"]["compile"], 15)
