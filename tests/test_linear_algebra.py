"""Solutions, inverses and determinants: one factorisation for all that is asked of a matrix."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
import numpy as np
import pytest
from together import agree, generator

import symgrad as sg
from symgrad.matrices import is_symmetric
from symgrad.structure import bounds, is_nonnegative, is_positive, sums_to_one

N = 6


def regular(name: str, *front: int) -> np.ndarray:
    return 0.4 * generator(name).normal(size=(*front, N, N)) + 3 * np.eye(N)


def vectors(name: str, *shape: int) -> np.ndarray:
    return generator(name).normal(size=shape)


def _kernel(theta: Any, x: Any) -> Any:
    squares = jnp.sum((x[:, None] - x[None]) ** 2, -1)
    return theta[0] ** 2 * jnp.exp(-squares / theta[1] ** 2) + theta[2] ** 2 * jnp.eye(len(x))


def evidence_by_lu(theta: Any, x: Any, y: Any) -> Any:
    k = _kernel(theta, x)
    return -0.5 * y @ jnp.linalg.solve(k, y) - 0.5 * jnp.linalg.slogdet(k)[1]


def evidence_by_cholesky(theta: Any, x: Any, y: Any) -> Any:
    factor = jnp.linalg.cholesky(_kernel(theta, x))
    a = jsl.cho_solve((factor, True), y)
    return -0.5 * y @ a - jnp.sum(jnp.log(jnp.diag(factor)))


def evidence_by_whitening(theta: Any, x: Any, y: Any) -> Any:
    factor = jnp.linalg.cholesky(_kernel(theta, x))
    z = jsl.solve_triangular(factor, y, lower=True)
    return -0.5 * jnp.sum(z**2) - jnp.log(jnp.diagonal(factor)).sum()


def evidence_by_upper_factor(theta: Any, x: Any, y: Any) -> Any:
    factor = jsl.cho_factor(_kernel(theta, x))
    return -0.5 * y @ jsl.cho_solve(factor, y) - jnp.sum(jnp.log(jnp.diag(factor[0])))


def evidence_of_scipy(theta: Any, x: Any, y: Any) -> Any:
    return jax.scipy.stats.multivariate_normal.logpdf(y, jnp.zeros(len(y)), _kernel(theta, x))


THETA = np.array([1.2, 0.8, 0.5])
DATA = (THETA, vectors("x", N, 2), vectors("y", N))


@dataclass(frozen=True)
class Case:
    """A loss, what to call it with, and how many factorisations its derivatives may do."""

    name: str
    fun: Callable[..., Any]
    args: tuple[Any, ...]
    lu: int = 1
    cholesky: int = 0

    def __str__(self) -> str:
        return self.name


A, B = regular("a"), vectors("b", N)
MANY, BATCH, OF_BATCH = vectors("many", N, 3), regular("batch", 4), vectors("of batch", 4, N)

CASES = [
    Case("solution", lambda a, b: jnp.sum(jnp.linalg.solve(a, b) ** 2), (A, B)),
    Case("solutions", lambda a, b: jnp.sum(jnp.linalg.solve(a, b) ** 3), (A, MANY)),
    Case("inverse", lambda a: jnp.sum(jnp.sin(jnp.linalg.inv(a))), (A,)),
    Case("product with inverse", lambda a, b: jnp.sum((jnp.linalg.inv(a) @ b) ** 2), (A, B)),
    Case("chain", lambda a, b: b @ jnp.linalg.inv(a) @ a.T @ jnp.linalg.inv(a) @ b, (A, B)),
    Case("transposed", lambda a, b: jnp.sum(jnp.linalg.solve(a.T, b) ** 2), (A, B)),
    Case("log-determinant", lambda a: jnp.linalg.slogdet(a)[1], (A,)),
    Case("determinant", lambda a: jnp.log(jnp.linalg.det(a)), (A,)),
    Case(
        "signed",
        lambda a, b: jnp.linalg.slogdet(-a)[0] * jnp.sum(jnp.linalg.solve(-a, b)),
        (A[:5, :5], B[:5]),
    ),
    Case(
        "all of one",
        lambda a, b: (
            jnp.linalg.slogdet(a)[1] + b @ jnp.linalg.solve(a, b) + jnp.linalg.inv(a)[0, 1]
        ),
        (A, B),
    ),
    Case("batch", lambda a, b: jnp.sum(jax.vmap(jnp.linalg.solve)(a, b) ** 3), (BATCH, OF_BATCH)),
    Case(
        "one matrix for a batch",
        lambda a, b: jnp.sum(jax.vmap(jnp.linalg.solve, in_axes=(None, 0))(a, b) ** 3),
        (A, OF_BATCH),
    ),
    Case(
        "batch along another axis",
        lambda a, b: jnp.sum(jax.vmap(jnp.linalg.solve, in_axes=(1, 0))(a, b) ** 3),
        (np.moveaxis(BATCH, 0, 1), OF_BATCH),
    ),
    Case("determinants", lambda a: jnp.sum(jnp.linalg.slogdet(a)[1] ** 2), (BATCH,)),
    Case(
        "positive",
        lambda a, b: jnp.sum(jsl.solve(a @ a.T, b, assume_a="pos") ** 2),
        (A, B),
        lu=0,
        cholesky=1,
    ),
    Case("evidence by LU", evidence_by_lu, DATA),
    Case("evidence by Cholesky", evidence_by_cholesky, DATA, 0, 1),
    Case("evidence by whitening", evidence_by_whitening, DATA, 0, 1),
    Case("evidence by an upper factor", evidence_by_upper_factor, DATA, 0, 1),
    Case("density", evidence_of_scipy, DATA, 0, 1),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_derivatives_are_those_of_jax(case, float64):
    fun, args = case.fun, case.args
    wrt = tuple(range(len(args)))
    agree(sg.value_and_grad(fun, wrt)(*args), jax.value_and_grad(fun, wrt)(*args), 1e-9)
    directions = tuple(vectors(f"{case} {i}", *a.shape) for i, a in enumerate(args))
    agree(sg.jvp(fun, args, directions), jax.jvp(fun, args, directions), 1e-9)
    slope = jax.grad(fun)

    def along(first: Any) -> Any:
        return slope(first, *args[1:])

    expected = jax.jvp(along, args[:1], directions[:1])[1]
    agree(sg.hvp(fun)(directions[0], *args), expected, 1e-8)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_value_and_its_gradient_factorise_once(case, float64):
    slope = sg.value_and_grad(case.fun, tuple(range(len(case.args))))
    text = slope.lower(*case.args).as_text()
    assert len(re.findall(r"call @\w*getrf|lapack_\w?getrf\w*", text)) <= case.lu
    assert len(re.findall(r"stablehlo.cholesky|lapack_\w?potrf\w*", text)) == case.cholesky


def test_hessians_of_a_log_determinant_factorise_once(float64):
    hessian = sg.hessian(lambda a: jnp.linalg.slogdet(a)[1])
    agree(hessian(A), jax.hessian(lambda a: jnp.linalg.slogdet(a)[1])(A), 1e-8)
    assert hessian.source(A).count("lu_factor(") + hessian.source(A).count("linalg.inv(") == 1


def test_programs_read_as_people_write_them(float32):
    assert "return jnp.linalg.solve(a, b)" in sg.jit(jnp.linalg.solve).source(A, B)
    assert "return jnp.linalg.inv(a)" in sg.jit(jnp.linalg.inv).source(A)
    product = sg.jit(lambda a, b: jnp.linalg.inv(a) @ b)
    assert "return jnp.linalg.solve(a, b)" in product.source(A, B)
    turned = sg.jit(lambda a, b: b @ jnp.linalg.inv(a))
    assert "return jnp.linalg.solve(a.T, b)" in turned.source(A, B)
    logs = sg.jit(lambda a: jnp.linalg.slogdet(a)[1])
    assert "jnp.linalg.slogdet(a)" in logs.source(A)


def test_evidence_reads_as_the_formula(float64):
    by_lu = sg.value_and_grad(evidence_by_lu).source(*DATA)
    assert (by_lu.count("lu_factor("), by_lu.count("linalg.lu(")) == (1, 0)
    for evidence in (evidence_by_cholesky, evidence_by_whitening, evidence_by_upper_factor):
        text = sg.value_and_grad(evidence).source(*DATA)
        assert text.count("lax.linalg.cholesky(") == 1
        assert "0.5 * jnp.sum(jnp.log" not in text
        assert "tril" not in text, "no derivative of a Cholesky factor"


def test_the_trace_of_a_low_rank_change_needs_no_inverse(float64):
    u, v = vectors("u", 200), vectors("v", 200)
    a = np.eye(200) + 0.01 * vectors("large", 200, 200)
    fun = lambda a, u, v: jnp.trace(jnp.linalg.inv(a) @ jnp.outer(u, v))  # noqa: E731
    text = sg.jit(fun).source(a, u, v)
    assert "jnp.linalg.solve(a, u)" in text
    agree(sg.jit(fun)(a, u, v), v @ np.linalg.solve(a, u), 1e-10)


def test_loops_keep_the_matrix_not_its_inverse(float64):
    def fun(a: Any, b: Any) -> Any:
        def step(x: Any, shift: Any) -> Any:
            return jnp.linalg.solve(a + shift * jnp.eye(N), x), None

        return jnp.sum(jax.lax.scan(step, b, jnp.arange(1.0, 4.0))[0] ** 2)

    agree(sg.grad(fun, (0, 1))(A, B), jax.grad(fun, (0, 1))(A, B), 1e-9)
    assert "linalg.inv" not in sg.grad(fun).source(A, B)


# What is known of matrices

SYMMETRIC = {
    "sum with transpose": lambda x: x @ x[::-1].T + (x @ x[::-1].T).T,
    "Gram": lambda x: x @ x.T,
    "other Gram": lambda x: x.T @ x,
    "weighted": lambda x: (x * x[0]) @ x.T,
    "squared exponential": lambda x: _kernel(THETA, x),
    "squares taken apart": lambda x: (
        jnp.sum(x**2, 1)[:, None] + jnp.sum(x**2, 1)[None] - 2 * x @ x.T
    ),
    "by two maps": lambda x: jax.vmap(
        lambda y: jax.vmap(lambda z: jnp.exp(-jnp.sum(jnp.abs(y - z))))(x)
    )(x),
    "periodic": lambda x: jnp.exp(-(jnp.sin(x[:, 0][:, None] - x[:, 0]) ** 2)),
    "diagonal": lambda x: jnp.diag(x[0]) + 1.0,
}
NOT_SYMMETRIC = {
    "differences": lambda x: x[:, 0][:, None] - x[:, 0],
    "two arrays": lambda x: x @ x[::-1].T,
    "triangle": lambda x: jnp.tril(x @ x.T),
    "odd": lambda x: jnp.sin(x[:, 0][:, None] - x[:, 0]),
    "uneven weights": lambda x: x[:, 0][:, None] * (x @ x.T),
}


@pytest.mark.parametrize("name", [*SYMMETRIC, *NOT_SYMMETRIC])
def test_symmetry_is_read_off_the_expression(name, float64):
    fun = (SYMMETRIC | NOT_SYMMETRIC)[name]
    (found,) = sg.jit(fun).graph(vectors("x", 4, 3)).outputs
    assert is_symmetric(found) == (name in SYMMETRIC)


def test_a_factor_of_what_may_not_be_symmetric_stays(float64):
    def fun(a: Any, b: Any) -> Any:
        return jnp.sum(jsl.cho_solve((jax.lax.linalg.cholesky(a, symmetrize_input=False), True), b))

    a = A @ A.T
    assert "triangular_solve" in sg.jit(fun).source(a, B)
    agree(sg.grad(fun)(a, B), jax.grad(fun)(a, B), 1e-9)


# Assumptions

KNOWN = {
    "symmetric": (A @ A.T, "lu_factor"),
    "positive_definite": (A @ A.T, "cholesky"),
    "lower_triangular": (np.tril(A), "triangular_solve"),
    "upper_triangular": (np.triu(A), "triangular_solve"),
    "diagonal": (np.diag(np.diag(A)), "/"),
    "orthogonal": (np.linalg.qr(A)[0], "@"),
}


def _questions(a: Any, b: Any) -> Any:
    return b @ jnp.linalg.solve(a, b) + jnp.sum(jnp.linalg.inv(a) @ b) + jnp.linalg.slogdet(a)[1]


@pytest.mark.parametrize("fact", KNOWN)
def test_assumptions_choose_the_solver(fact, float64):
    matrix, how = KNOWN[fact]

    def fun(a: Any, b: Any) -> Any:
        return _questions(sg.assume(a, fact), b)

    slope = sg.value_and_grad(fun, 1)
    assert how in slope.source(matrix, B)
    if fact not in ("symmetric", "orthogonal"):
        assert "lu_factor" not in slope.source(matrix, B)
    agree(slope(matrix, B), jax.value_and_grad(_questions, 1)(matrix, B), 1e-9)
    agree(sg.hessian(fun, 1)(matrix, B), jax.hessian(_questions, 1)(matrix, B), 1e-8)
    assert sg.check_assumptions(fun)(matrix, B)


def test_assumptions_are_the_identity_for_jax(float64):
    fun = lambda a, b: jnp.linalg.solve(sg.assume(a, "symmetric"), b)  # noqa: E731
    agree(jax.vmap(fun)(BATCH, OF_BATCH), jax.vmap(jnp.linalg.solve)(BATCH, OF_BATCH), 1e-12)
    assert sg.assume(B, "positive") is not None


def test_assumptions_hold_for_each_of_a_batch(float64):
    fun = lambda a, b: jnp.linalg.solve(sg.assume(a, "positive_definite"), b)  # noqa: E731
    a = BATCH @ np.swapaxes(BATCH, -1, -2)
    batched = sg.jit(jax.vmap(fun))
    assert "cholesky" in batched.source(a, OF_BATCH)
    agree(batched(a, OF_BATCH), jax.vmap(jnp.linalg.solve)(a, OF_BATCH), 1e-9)
    # Which axes are those of matrices cannot be told here.
    square = sg.jit(jax.vmap(fun, in_axes=(1, 0)))
    cube, rows = np.moveaxis(regular("cube", N), 0, 1), vectors("rows", N, N)
    assert "cholesky" not in square.source(cube, rows)


def test_derivatives_by_jax_inside_do_not_spread_assumptions(float64):
    def fun(a: Any) -> Any:
        return jnp.sum(sg.assume(a, "symmetric") ** 3)

    inner = lambda a: jnp.sum(jax.grad(fun)(a) @ A)  # noqa: E731
    agree(sg.grad(inner)(A), jax.grad(inner)(A), 1e-10)


def test_assumed_values_are_known_to_the_laws(float32):
    known = lambda *facts: sg.trace(lambda x: sg.assume(x, *facts), B).outputs[0]  # noqa: E731
    assert is_positive(known("positive"))
    assert is_nonnegative(known("nonnegative"))
    assert not is_positive(known("nonnegative"))
    assert sums_to_one(known("simplex"), 0)
    assert bounds(known("simplex")) == (0, 1)


WRONG = [
    (("symetric",), A, "does not know the fact 'symetric'"),
    ((), A, "got no fact"),
    (("symmetric",), B, r"shape \(6,\) cannot be assumed symmetric"),
    (("diagonal", "positive"), A, "is both diagonal and positive"),
    (("positive",), 1j * B, "dtype complex64 cannot be assumed positive"),
    (("simplex",), np.arange(3), "cannot be assumed to be a simplex"),
]


@pytest.mark.parametrize(("facts", "x", "message"), WRONG)
def test_impossible_assumptions_are_refused(facts, x, message, float32):
    with pytest.raises(sg.SymgradError, match=message) as caught:
        sg.assume(x, *facts)
    assert "fix:" in str(caught.value)


def test_wrong_assumptions_are_found_at_their_line(float64):
    def fun(a: Any, p: Any) -> Any:
        a = sg.assume(a, "symmetric", "lower_triangular")
        return jnp.sum(a) + jnp.sum(sg.assume(p, "simplex"))

    found = sg.check_assumptions(fun)(np.tril(A), jax.nn.softmax(B))
    assert [(a.fact, a.holds) for a in found.found] == [
        ("symmetric", False),
        ("lower_triangular", True),
        ("simplex", True),
    ]
    assert not found
    (wrong,) = found.wrong
    assert wrong.frame is not None
    assert 'sg.assume(a, "symmetric", "lower_triangular")' in str(wrong)
    assert not sg.check_assumptions(fun)(A @ A.T, B)
    assert sg.check_assumptions(jnp.sin)(B)
