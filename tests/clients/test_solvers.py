"""Lineax and Optimistix: solutions of equations and optima as functions of their data."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import Draws, Program, check_programs

lineax = pytest.importorskip("lineax")
optimistix = pytest.importorskip("optimistix")


def definite(draw: Draws, n: int):
    a = draw(n, n)
    return a @ a.T + n * np.eye(n, dtype=draw.dtype)


# Lineax

TAGS = lineax.positive_semidefinite_tag

LINEAR = {
    "LU": (lineax.LU(), ()),
    "QR": (lineax.QR(), ()),
    "Cholesky": (lineax.Cholesky(), TAGS),
    "automatic": (lineax.AutoLinearSolver(well_posed=True), ()),
    "automatic for definite": (lineax.AutoLinearSolver(well_posed=True), TAGS),
    "CG": (lineax.CG(rtol=1e-12, atol=1e-12, max_steps=20), TAGS),
    "GMRES": (lineax.GMRES(rtol=1e-12, atol=1e-12, restart=4), ()),
    "SVD": (lineax.SVD(), ()),
}


def linear(draw: Draws, name: str) -> Program:
    solver, tags = LINEAR[name]

    def fun(data):
        matrix, vector = data
        matrix = (matrix + matrix.T) / 2 if tags else matrix
        operator = lineax.MatrixLinearOperator(matrix, tags)
        return jnp.sum(lineax.linear_solve(operator, vector, solver).value ** 2)

    data = (definite(draw, 3), draw(3))
    return Program(fun, (data,), twice=name in ("LU", "Cholesky"))


def least_squares(draw: Draws) -> Program:
    def fun(data):
        matrix, vector = data
        operator = lineax.MatrixLinearOperator(matrix)
        solver = lineax.AutoLinearSolver(well_posed=None)
        return jnp.sum(lineax.linear_solve(operator, vector, solver).value ** 2)

    return Program(fun, ((draw(5, 3), draw(5)),))


def matrix_free(draw: Draws) -> Program:
    def fun(data):
        scale, vector = data
        product = lambda x: scale * x + 0.1 * jnp.roll(x, 1)  # noqa: E731
        like = jax.ShapeDtypeStruct(vector.shape, vector.dtype)
        operator = lineax.FunctionLinearOperator(product, like)
        return jnp.sum(lineax.linear_solve(operator, vector, lineax.GMRES(1e-6, 1e-6)).value)

    return Program(fun, ((draw.positive(3) + 1, draw(3)),), tolerance=1e-4)


def structured(draw: Draws) -> Program:
    def fun(data):
        diagonal, above, below, vector = data
        banded = lineax.TridiagonalLinearOperator(diagonal, below, above)
        scaled = lineax.DiagonalLinearOperator(diagonal)
        solve = lambda a: lineax.linear_solve(a, vector).value  # noqa: E731
        return jnp.sum(solve(banded) * solve(scaled))

    return Program(fun, ((draw.positive(4) + 2, draw(3), draw(3), draw(4)),))


# Optimistix


def root(draw: Draws, solver) -> Program:
    def fun(a):
        equation = lambda y, a: jnp.tanh(y) + y - a  # noqa: E731
        found = optimistix.root_find(equation, solver, jnp.zeros_like(a), a, max_steps=50)
        return jnp.sum(found.value**2)

    return Program(fun, (draw(3),), tolerance=1e-4)


def fixed_point(draw: Draws) -> Program:
    def fun(a):
        solver = optimistix.FixedPointIteration(rtol=1e-10, atol=1e-10)
        step = lambda y, a: 0.3 * jnp.sin(y) + a  # noqa: E731
        return jnp.sum(optimistix.fixed_point(step, solver, jnp.zeros_like(a), a).value ** 2)

    return Program(fun, (draw(3),), tolerance=1e-4)


def curve(draw: Draws, solver) -> Program:
    x = draw(6)

    def fun(y):
        residual = lambda p, y: p[0] * jnp.tanh(p[1] * x) - y  # noqa: E731
        start = jnp.ones(2, draw.dtype)
        return jnp.sum(optimistix.least_squares(residual, solver, start, y).value ** 2)

    return Program(fun, (np.tanh(x) + draw(6) / 10,), tolerance=1e-3)


def minimum(draw: Draws, adjoint) -> Program:
    def fun(a):
        objective = lambda y, a: jnp.sum((y - a) ** 2 + jnp.cosh(y))  # noqa: E731
        solver = optimistix.BFGS(rtol=1e-5, atol=1e-5)
        found = optimistix.minimise(
            objective, solver, jnp.zeros_like(a), a, max_steps=20, adjoint=adjoint
        )
        return jnp.sum(found.value**2)

    return Program(fun, (draw(2),), tolerance=1e-3)


DIRECT = {
    **{f"lineax {n}": lambda draw, n=n: linear(draw, n) for n in ("LU", "QR", "Cholesky")},
    "lineax structured": structured,
}

PROGRAMS = {
    **{f"lineax {n}": lambda draw, n=n: linear(draw, n) for n in LINEAR},
    "lineax least squares": least_squares,
    "lineax matrix-free": matrix_free,
    "lineax structured": structured,
    "optimistix Newton": lambda draw: root(draw, optimistix.Newton(rtol=1e-8, atol=1e-8)),
    "optimistix fixed point": fixed_point,
    "optimistix Levenberg-Marquardt": lambda draw: curve(
        draw, optimistix.LevenbergMarquardt(rtol=1e-6, atol=1e-6)
    ),
    "optimistix BFGS": lambda draw: minimum(draw, optimistix.ImplicitAdjoint()),
}

MORE = {
    "optimistix Dogleg": lambda draw: root(draw, optimistix.Dogleg(rtol=1e-6, atol=1e-6)),
    "optimistix Gauss-Newton": lambda draw: curve(
        draw, optimistix.GaussNewton(rtol=1e-6, atol=1e-6)
    ),
    "optimistix BFGS, unrolled": lambda draw: minimum(
        draw, optimistix.RecursiveCheckpointAdjoint()
    ),
}


def test_programs(float64, subtests):
    check_programs(PROGRAMS, float64, subtests)


def test_direct_solvers_in_single_precision(float32, subtests):
    check_programs(DIRECT, float32, subtests)


@pytest.mark.slow
def test_more_programs(float64, subtests):
    check_programs(MORE, float64, subtests)
