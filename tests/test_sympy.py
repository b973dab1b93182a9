"""SymPy and back: the same values at random points."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import samples
import sympy as sp

import symgrad as sg

x, y, z = sp.symbols("x y z")
P, Q = sp.MatrixSymbol("P", 2, 3), sp.MatrixSymbol("Q", 3, 3)

EXPRESSIONS = [
    x + y - z,
    x * y / z,
    x**3 - 2 * x**-2 + sp.sqrt(y) + y ** sp.Rational(-1, 2) + z**1.5,
    x**y + sp.exp(-x) * sp.log(y) + sp.pi,
    sp.sin(x) * sp.cos(y) - sp.tan(z) + sp.sec(x) + sp.cot(y),
    sp.asin(x / 4) + sp.acos(y / 4) + sp.atan(z) + sp.atan2(x, y),
    sp.sinh(x) + sp.cosh(y) + sp.tanh(z) + sp.asinh(x) + sp.acosh(1 + y) + sp.atanh(z / 4),
    sp.Abs(x - y) + sp.sign(x - z) + sp.floor(x) + sp.ceiling(y),
    sp.Max(x, y, z) - sp.Min(x, y),
    sp.Piecewise((sp.sin(x), x > y), (sp.cos(x), sp.And(x > z, y < z)), (x, True)),
    sp.erf(x) + sp.erfc(y) + sp.loggamma(z) + sp.polygamma(1, x),
    sp.Rational(1, 3) * x - sp.E,
]


@pytest.mark.parametrize("expr", EXPRESSIONS, ids=lambda e: str(e)[:40])
def test_expressions_there_and_back(expr: Any, float64: Any) -> None:
    graph = sg.from_sympy(expr, [x, y, z])
    again = graph.to_sympy()
    slope = graph.grad().simplify()
    run, run_slope = graph.compile(), slope.compile()
    smooth = not expr.has(sp.floor, sp.sign)
    by_sympy, by_sympy_slope = sp.lambdify((x, y, z), expr, "scipy"), sp.diff(expr, x)
    draws = np.random.default_rng(0)
    for point in draws.uniform(0.3, 2.0, (5, 3)):
        value = float(by_sympy(*point))
        assert np.allclose(run(*point), value, rtol=1e-12)
        at = dict(zip((x, y, z), map(float, point), strict=True))
        assert np.allclose(float(again.subs(at).evalf()), value, rtol=1e-10)
        if smooth:
            expected = float(by_sympy_slope.subs(at).evalf())
            assert np.allclose(float(run_slope(*point)), expected, rtol=1e-10)


MATRICES = [
    P * Q * P.T,
    P + 2 * P,
    sp.Trace(Q * Q),
    Q.inv() * P.T,
    Q**2 - 3 * sp.Identity(3),
    sp.Matrix([[x, y], [x * y, sp.sin(x)]]),
    P[0, 1] * Q[2, 2] + x,
]


@pytest.mark.parametrize("expr", MATRICES, ids=str)
def test_matrices(expr: Any, float64: Any) -> None:
    graph = sg.from_sympy(expr, [x, y, P, Q])
    draws = np.random.default_rng(0)
    p, q = draws.normal(size=(2, 3)), draws.normal(size=(3, 3)) + 3 * np.eye(3)
    found = graph.compile()(0.3, 0.7, p, q)
    given = {x: 0.3, y: 0.7, P: sp.ImmutableMatrix(p), Q: sp.ImmutableMatrix(q)}
    explicit = expr.subs(given).doit()
    explicit = explicit.as_explicit() if hasattr(explicit, "as_explicit") else explicit
    assert np.allclose(
        found, np.array(explicit.evalf().tolist() if found.ndim else explicit, float)
    )
    entries = sg.from_sympy(graph.to_sympy(), [x, y, P, Q]).compile()(0.3, 0.7, p, q)
    assert np.allclose(entries, found)


def least_squares(A, b, c):
    return jnp.sum((A @ b - c) ** 2) / 2


def softmax_loss(z, w):
    return -jnp.sum(w * jax.nn.log_softmax(z)) + jnp.linalg.norm(w)


@pytest.mark.parametrize(
    ("fun", "shapes"), [(least_squares, ((2, 3), (3,), (2,))), (softmax_loss, ((3,), (3,)))]
)
def test_programs_there_and_back(fun: Callable[..., Any], shapes: Any, float64: Any) -> None:
    draws = np.random.default_rng(0)
    args = [draws.uniform(0.2, 1.5, s) for s in shapes]
    for graph in (sg.jit(fun).graph(*args), sg.grad(fun).graph(*args)):
        columns = [a if a.ndim == 2 else a[:, None] for a in args]
        symbols = [sp.MatrixSymbol(n, *a.shape) for n, a in zip(graph.names, columns, strict=True)]
        again = sg.from_sympy(graph.to_sympy(), symbols)
        found, expected = again.compile()(*columns), graph.compile()(*args)
        assert np.allclose(np.ravel(found), np.ravel(expected))


def test_functions_of_numbers_there_and_back(float64: Any, subtests: Any) -> None:
    """Every operation that maps over entries has the values that SymPy gives it, or is named."""
    draws, known = np.random.default_rng(0), 0
    for sample in (*samples.UNARY, *samples.BINARY, *samples.SPECIAL):
        points = sample.draw(draws, np.float64, *[()] * len(sample.operands))
        args = [p.astype(np.float64) for p in points]
        with subtests.test(str(sample)):
            graph = sg.trace(sample.fun, *args)
            try:
                expr = graph.to_sympy()
            except sg.NotationError as error:
                assert "has no counterpart in SymPy" in str(error)
                continue
            known += 1
            if not getattr(graph.outputs[0].type, "real", False):
                continue
            at = {sp.Symbol(n): float(a) for n, a in zip(graph.names, args, strict=True)}
            value = expr.subs(at).evalf()
            assert np.allclose(float(value), np.asarray(sample.fun(*args), float), rtol=1e-7)
    assert known > 45


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: sg.from_sympy(sp.besselj(0, x), [x]), "besselj"),
        (lambda: sg.from_sympy(x + sp.I, [x]), "no real number"),
        (lambda: sg.from_sympy(x + y, [x]), "add y to the symbols"),
        (lambda: sg.from_sympy(x, [x, x]), "twice"),
        (lambda: sg.from_sympy(x, ["x"]), "not a Symbol"),
        (lambda: sg.from_sympy(x, [sp.MatrixSymbol("A", sp.Symbol("n"), 2)]), "no pair of numbers"),
        (lambda: sg.trace(jnp.sin, np.ones((40, 40), "float32")).to_sympy(), "1,600 entries"),
        (
            lambda: sg.trace(jnp.sort, np.ones(3, "float32")).to_sympy(),
            r"sort[\s\S]*no counterpart",
        ),
    ],
)
def test_what_has_no_counterpart_is_said(make: Callable[[], Any], says: str) -> None:
    with pytest.raises(sg.SymgradError, match=says):
        make()


def nested(depth: int) -> Any:
    """Every level has the one before it three times: a tree of 3 to the power of `depth`."""
    found = x
    for _ in range(depth):
        found = sp.sin(found) * found + sp.exp(-(found**2)) * y
    return found


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def test_nested_expressions_are_differentiated_ten_times_as_fast(float64: Any) -> None:
    """Differentiate, compile, and 1,000 evaluations, all together."""
    expr, points = nested(7), np.random.default_rng(0).uniform(0.2, 0.9, (1000, 2))
    found: dict[str, Any] = {}

    def ours() -> None:
        run = sg.from_sympy(expr, [x, y]).grad().simplify().compile()
        found["ours"] = [run(*p) for p in points]

    def theirs() -> None:
        run = sp.lambdify((x, y), sp.diff(expr, x), "math")
        found["theirs"] = [run(*p) for p in points]

    quick, slow = seconds(ours), seconds(theirs)
    assert np.allclose(found["ours"], found["theirs"], rtol=1e-8)
    assert slow > 10 * quick
