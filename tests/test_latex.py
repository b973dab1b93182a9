"""Graphs in mathematical notation."""

from __future__ import annotations

import io
import re
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import primitives
import pytest
import samples
from jax import lax
from test_saved import made_graphs

import symgrad as sg
from symgrad.notation.contractions import chain_of
from symgrad.notation.symbols import symbol

A, X, B = np.ones((3, 3), np.float32), np.ones((5, 3), np.float32), np.ones(3, np.float32)
Y, S = np.ones(5, np.float32), np.float32(2.0)


def matrix_product(A, x):
    return A @ x


def quadratic(A, x):
    return x @ A @ x / 2


def affine(X, A, b):
    return X @ A.T + b


def layer(X, A, b):
    h = jnp.tanh(X @ A + b)
    return jnp.sum(h**2)


def regression(X, b, y):
    error = X @ b - y
    return jnp.mean(error**2)


def logistic(X, b, y):
    z = X @ b
    return jnp.sum(jax.nn.softplus(z) - y * z)


def entropy(x):
    p = jax.nn.softmax(x)
    return -jnp.sum(p * jnp.log(p))


def length(theta):
    return jnp.linalg.norm(theta)


def pooled(x):
    return jax.nn.logsumexp(x)


def clipped(x1, x2):
    return jnp.where(x1 > 0, jnp.sin(x1) * x2, 0.0)


def trilinear(T, x):
    return jnp.einsum("ijk,k->ij", T, x)


def energy(A, b):
    return b @ jnp.linalg.solve(A, b)


def recurrent(A, b, X):
    def step(h, x):
        h = jnp.tanh(A @ h + x)
        return h, jnp.sum(h)

    return jnp.sum(lax.scan(step, b, X)[1])


def book(x1, x2):
    return jnp.log(x1) + x1 * x2 - jnp.sin(x2)


T = np.ones((2, 3, 4), np.float32)
WHERE = r"x_{1} > 0 \\ 0 & \text{otherwise} \end{cases}"
GOLDEN = {
    "a product": (sg.trace(matrix_product, A, B), [r"f(A, x) &= A \, x"]),
    "a gradient": (
        sg.grad(quadratic, 1).graph(A, B),
        [
            r"f(A, x) &= 0.5 \, (A^{\top} \, x + A \, x)",
        ],
    ),
    "rows": (sg.trace(affine, X, A, B), [r"f(X, A, b) &= X \, A^{\top} + \mathbf{1} \, b^{\top}"]),
    "back through a layer": (
        sg.grad(layer, (1, 2)).graph(X, A, B),
        [
            r"v_{1} &= X \, A + \mathbf{1} \, b^{\top}",
            r"h &= \tanh(v_{1})",
            r"v_{2} &= 2 \, (h \odot \operatorname{sech}^{2}(v_{1}))",
            r"\bar{A} &= X^{\top} \, v_{2}",
            r"\bar{b} &= v_{2}^{\top} \, \mathbf{1}",
            r"f(X, A, b) &= (\bar{A}, \bar{b})",
        ],
    ),
    "least squares": (
        sg.grad(regression, 1).graph(X, B, Y),
        [
            r"\mathrm{error} &= X \, b - y",
            r"\bar{\mathrm{error}} &= \frac{1}{2.5} \mathrm{error}",
            r"f(X, b, y) &= X^{\top} \, \bar{\mathrm{error}}",
        ],
    ),
    "logistic regression": (
        sg.grad(logistic, 1).graph(X, B, Y),
        [
            r"z &= X \, b",
            r"\bar{z} &= \sigma(z) - y",
            r"f(X, b, y) &= X^{\top} \, \bar{z}",
        ],
    ),
    "a norm": (
        sg.grad(length).graph(B),
        [
            r"f(\theta) &= \frac{\theta}{\Vert \theta \Vert_{2}}",
        ],
    ),
    "a softmax": (sg.grad(pooled).graph(B), [r"f(x) &= \operatorname{softmax}(x)"]),
    "cases": (
        sg.grad(clipped, (0, 1)).graph(S, S),
        [
            r"\bar{x_{1}} &= \begin{cases} x_{2} \, \cos(x_{1}) & " + WHERE,
            r"\bar{x_{2}} &= \begin{cases} \sin(x_{1}) & " + WHERE,
            r"f(x_{1}, x_{2}) &= (\bar{x_{1}}, \bar{x_{2}})",
        ],
    ),
    "indices": (sg.trace(trilinear, T, Y[:4]), [r"f(T, x) &= [\sum_{k} T_{ijk} \, x_{k}]_{ij}"]),
    "a Hessian": (
        sg.hessian(quadratic, 1).graph(A, B),
        [r"f(A, x) &= 0.5 \, (A + A^{\top})"],
    ),
    "an inverse": (sg.jit(energy).graph(A, B), [r"f(A, b) &= b^{\top} \, A^{-1} \, b"]),
    "the textbook's example": (
        sg.grad(book, (0, 1)).graph(S, S),
        [
            r"\bar{x_{1}} &= x_{2} + \frac{1}{x_{1}}",
            r"\bar{x_{2}} &= x_{1} - \cos(x_{2})",
            r"f(x_{1}, x_{2}) &= (\bar{x_{1}}, \bar{x_{2}})",
        ],
    ),
}


def lines(latex: str) -> list[str]:
    """The equations, with plain brackets."""
    body = latex.removeprefix("\\begin{aligned}\n").removesuffix("\n\\end{aligned}")
    return [re.sub(r"\\left|\\right", "", line) for line in body.split(" \\\\\n")]


@pytest.mark.parametrize("name", GOLDEN)
def test_programs_read_like_textbooks(name: str) -> None:
    graph, expected = GOLDEN[name]
    assert lines(graph.latex()) == expected


def balanced(latex: str) -> bool:
    """Braces, brackets that grow, and environments are closed in the order they are opened."""
    stack = []
    text = latex.replace(r"\left\{", r"\left(").replace(r"\right.", r"\right)")
    for found in re.finditer(r"\\left|\\right|\\begin\{(\w+)\}|\\end\{(\w+)\}|(?<!\\)[{}]", text):
        token = found[0]
        if token == r"\left" or token == "{":
            stack.append(token)
        elif found[1]:
            stack.append(found[1])
        elif not stack or stack.pop() != {r"\right": r"\left", "}": "{"}.get(token, found[2]):
            return False
    return not stack


def test_every_operation_has_a_formula(subtests: Any) -> None:
    draws = np.random.default_rng(0)
    with jax.enable_x64(True):
        for sample in samples.SAMPLES:
            graph = sg.trace(sample.fun, *sample.draw(draws, np.float64))
            with subtests.test(str(sample)):
                assert balanced(graph.latex())
        for case in primitives.CASES:
            graph = sg.trace(case.fun, *case.variants()[0].draw(draws))
            with subtests.test(str(case)):
                assert balanced(graph.latex())
    for made, graph in made_graphs():
        with subtests.test(str(made)):
            assert balanced(graph.latex())


@pytest.mark.parametrize(
    "equation",
    [
        *("ij,jk->ik", "ij,kj->ik", "ji,jk->ik", "ij,jk->ki", "ij,j->i", "i,ij->j", "i,i->"),
        *("i,j->ij", "i,j->ji", "ij,jk,kl->il", "jk,ij,kl->il", "i,ij,j->", "ij,j,kj,lk->li"),
        *("ij,jk,k->i", "k,jk,ij->i", "ij,ij->", "i,i,i->", "ij,ij->i", "bij,bjk->bik", "ii->"),
        *("i,i->i", "ij,jk->", "i,jk->ijk", "ij,k->ij"),
    ],
)
def test_chains_of_products_are_what_the_einsum_is(equation: str) -> None:
    left, out = equation.split("->")
    draws = np.random.default_rng(0)
    operands = [draws.normal(size=(3,) * len(names)) for names in left.split(",")]
    numbers = [tuple(map(ord, names)) for names in left.split(",")]
    chain = chain_of(numbers, tuple(map(ord, out)))
    if chain is None:
        return
    columns = [o if o.ndim == 2 else o[:, None] for o in operands]
    product = reduce(np.matmul, [columns[i] if upright else columns[i].T for i, upright in chain])
    assert np.allclose(np.squeeze(product), np.einsum(equation, *operands))


def test_common_products_are_chains() -> None:
    for equation in ("ij,jk->ik", "i,ij,j->", "i,j->ij", "ij,jk,kl->il", "i,i->", "ij,j->i"):
        left, out = equation.split("->")
        assert chain_of([tuple(map(ord, n)) for n in left.split(",")], tuple(map(ord, out)))


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("x", "x"),
        ("x1", "x_{1}"),
        ("theta", r"\theta"),
        ("θ", r"\theta"),
        ("Σ", r"\Sigma"),
        ("lam", r"\lambda"),
        ("d_W2", r"\bar{W_{2}}"),
        ("d_d_z", r"\bar{\bar{z}}"),
        ("x_dot", r"\dot{x}"),
        ("y_hat", r"\hat{y}"),
        ("w_in", r"w_{\mathrm{in}}"),
        ("hidden", r"\mathrm{hidden}"),
        ("layer2_w", r"\mathrm{layer}_{2,w}"),
        ("a}b\\input{/etc/passwd}", r"a_{b,\mathrm{input},\mathrm{etc},\mathrm{passwd}}"),
    ],
)
def test_names_become_symbols(name: str, written: str) -> None:
    assert symbol(name) == written


def test_one_node_in_the_symbols_of_its_operands() -> None:
    graph = sg.trace(layer, X, A, B)
    (tanh,) = (n for n in graph.nodes if n.op.name == "tanh")
    assert graph.latex(tanh) == r"h = \tanh\left(v_{2}\right)"
    assert graph.latex(graph.inputs[0]) == "X"


def test_bodies_of_loops_are_functions() -> None:
    text = sg.trace(recurrent, A, B, X).latex()
    assert r"\operatorname{scan}" in text
    assert r"\mathrm{body}\left(h, x\right) &= \left\{\begin{aligned}" in text.replace("^{(2)}", "")
    assert balanced(text)


def test_notebooks_show_small_graphs_and_spare_large_ones() -> None:
    small = sg.trace(quadratic, A, B).grad(1).simplify()
    assert small._repr_latex_() == f"$\\displaystyle {small.latex()}$"

    def long(x):
        for _ in range(300):
            x = jnp.sin(x) * x
        return x

    assert sg.trace(long, S)._repr_latex_() is None


def test_long_chains_are_written_line_by_line() -> None:
    def long(x):
        for _ in range(3000):
            x = jnp.sin(x)
        return x

    text = sg.trace(long, S).latex()
    assert balanced(text)
    assert max(map(len, text.splitlines())) < 2000


@pytest.mark.parametrize("name", ["a gradient", "back through a layer", "a norm", "indices"])
def test_formulas_are_typeset(name: str) -> None:
    """Matplotlib reads all but environments; where it reads a line, the line is good LaTeX."""
    mathtext = pytest.importorskip("matplotlib.mathtext")
    for line in GOLDEN[name][0].latex().splitlines()[1:-1]:
        formula = line.removesuffix(r" \\").replace("&", "")
        mathtext.math_to_image(f"${formula}$", io.BytesIO(), format="svg")
