"""Tables of backpropagation and chains of laws."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_latex import balanced

import symgrad as sg
from symgrad.notation.plain import plain


def book(x1, x2):
    return jnp.log(x1) + x1 * x2 - jnp.sin(x2)


def test_the_table_of_the_survey() -> None:
    """Baydin et al. (2018), Tables 2 and 3, at (2, 5)."""
    found = sg.trace(book, 2.0, 5.0).derivation(2.0, 5.0)
    assert str(found).splitlines() == [
        "forward primal trace     reverse adjoint trace",
        "----------------------   ---------------------------",
        "v₋₁ = x₁ = 2             v̄₅ = ȳ = 1",
        "v₀ = x₂ = 5              v̄₃ = v̄₅ = 1",
        "v₁ = log(v₋₁) = 0.6931   v̄₄ = -v̄₅ = -1",
        "v₂ = v₋₁ v₀ = 10         v̄₀ = v̄₄ cos(v₀) = -0.2837",
        "v₃ = v₁ + v₂ = 10.69     v̄₁ = v̄₃ = 1",
        "v₄ = sin(v₀) = -0.9589   v̄₂ = v̄₃ = 1",
        "v₅ = v₃ - v₄ = 11.65     v̄₋₁ = v̄₂ v₀ = 5",
        "y = v₅ = 11.65           v̄₀ = v̄₀ + v₋₁ v̄₂ = 1.716",
        "                         v̄₋₁ = v̄₋₁ + v̄₁/v₋₁ = 5.5",
    ]
    assert balanced(found.latex())
    assert found.latex().startswith("\\begin{array}{l|l}")


def network(w, x, y):
    h = jnp.tanh(x @ w)
    p = jax.nn.softmax(h, axis=1)
    return (
        -jnp.mean(jnp.sum(y * jnp.log(p), axis=1))
        + jnp.linalg.norm(w) * jnp.where(y > 0, 1, 0).sum()
    )


ARGS = tuple(np.random.default_rng(0).uniform(0.1, 1, s) for s in ((3, 2), (4, 3), (4, 2)))


def test_the_last_adjoints_are_the_gradient(float64: Any) -> None:
    for graph in (sg.trace(network, *ARGS), sg.jit(network).graph(*ARGS)):
        found = graph.derivation(*ARGS)
        last = {r.symbol: r.value for r in found.backward}
        expected = jax.grad(network, (0, 1, 2))(*ARGS)
        for name, slope in zip(
            (r"\bar{v_{-2}}", r"\bar{v_{-1}}", r"\bar{v_{0}}"), expected, strict=True
        ):
            assert np.allclose(last[name], slope)
        assert np.allclose(found.forward[-1].value, network(*ARGS))
        assert balanced(found.latex())


def test_a_table_without_numbers_and_one_of_factorisations(float64: Any) -> None:
    graph = sg.trace(lambda a: jnp.sum(jnp.linalg.eigh(a + a.T)[0]), ARGS[0][:2])
    assert all(r.value is None for r in graph.derivation().forward)
    last = graph.derivation(ARGS[0][:2]).backward[-1]
    assert np.allclose(last.value, 2 * np.eye(2))


def test_what_has_no_table_is_said() -> None:
    with pytest.raises(sg.OutputError, match="derivation of a graph with outputs"):
        sg.trace(jnp.sin, np.ones(3, np.float32)).derivation()
    with pytest.raises(sg.ArgumentValueError, match="one for each of x1, x2"):
        sg.trace(book, 2.0, 5.0).derivation(2.0)


class Text(HTMLParser):
    """The tags that are open, and everything between them."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        assert tag not in ("script", "iframe", "object")
        assert not [a for a, _ in attrs if a.startswith("on")]
        if tag not in ("br", "meta", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(html: str) -> str:
    parser = Text()
    parser.feed(html)
    assert not parser.open
    return parser.text


def test_tables_in_notebooks() -> None:
    text = read(sg.trace(book, 2.0, 5.0).derivation(2.0, 5.0)._repr_html_())
    assert "v̄₋₁ = v̄₋₁ + v̄₁/v₋₁ = 5.5" in text
    steps = sg.trace(network, *map(np.float32, ARGS)).grad().simplify().steps()
    assert "softmax" in read(steps._repr_html_())
    assert len(steps._repr_html_()) < 200_000


def test_steps_lead_from_the_raw_graph_to_the_simplified_one() -> None:
    graph = sg.trace(book, 2.0, 5.0).grad((0, 1))
    simplified = graph.simplify()
    assert str(graph.steps()) == str(simplified.steps())
    assert len(simplified.steps()) == len(simplified.log.steps)
    last = simplified.steps()[-1]
    assert (last.law, plain(last.before), plain(last.after)) == (
        "adding_a_negative",
        "-cos(x₂) + x₁",
        "x₁ - cos(x₂)",
    )
    assert last.equation
    assert balanced(simplified.steps().latex())
    assert str(sg.trace(lambda x: x, 1.0).steps()) == "no law applies"


def test_every_step_of_a_network_can_be_read() -> None:
    steps = sg.trace(network, *map(np.float32, ARGS)).grad((0, 1)).simplify().steps()
    assert len(steps) > 20
    assert all(balanced(side) for s in steps for side in (s.before, s.after, *s.where))
    assert max(len(plain(s.after)) for s in steps) < 400
    assert any(s.line.startswith("test_derivation.py") for s in steps)


def test_steps_in_loops_and_of_long_chains_end() -> None:
    def looped(x):
        return jax.lax.fori_loop(0, 3, lambda i, y: jnp.exp(jnp.log(y * 1.0)) + 0.0, x)

    assert "log" in str(sg.trace(looped, 1.0).steps())

    def long(x):
        for _ in range(2000):
            x = jnp.sin(x * 1.0)
        return x

    steps = sg.trace(long, 1.0).steps()
    assert len(steps) == 2000
    assert max(len(str(s)) for s in steps) < 500


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        (r"\frac{x + 1}{y_{2}}", "(x + 1)/y₂"),
        (r"x^{\top} \, W^{-1}", "xᵀ W⁻¹"),
        (r"\bar{v_{-1}} \odot \sigma'\left(z\right)", "v̄₋₁ ⊙ σ'(z)"),
        (r"\sum_{i} x_{i}", "Σᵢ xᵢ"),
        (r"\sqrt{x} + \sqrt{x + y}", "√x + √(x + y)"),
        (r"\mathrm{hidden}_{2} \neq \infty", "hidden₂ ≠ ∞"),
        (
            r"\begin{cases} x & x > 0 \\ 0 & \text{otherwise} \end{cases}",
            "{ x if x > 0; 0 if otherwise }",
        ),
    ],
)
def test_formulas_as_text(latex: str, text: str) -> None:
    assert plain(latex) == text
