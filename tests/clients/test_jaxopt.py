"""JAXopt: its losses, and solutions differentiated implicitly."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import Draws, Program, check_programs

jaxopt = pytest.importorskip("jaxopt")


def ridge(draw: Draws) -> Program:
    x, y = draw(6, 3), draw(6)

    def objective(w, strength):
        return jnp.mean((x @ w - y) ** 2) + strength * jnp.sum(w**2)

    def loss(strength):
        solver = jaxopt.GradientDescent(objective, maxiter=200, tol=1e-6, implicit_diff=True)
        return jnp.sum(solver.run(jnp.zeros(3, draw.dtype), strength).params ** 2)

    return Program(loss, (draw.dtype(0.5),), tolerance=1e-3)


def quasi_newton(draw: Draws) -> Program:
    def objective(w, a):
        return jnp.sum((w - a) ** 2 + jnp.cosh(w))

    def loss(a):
        solver = jaxopt.LBFGS(objective, maxiter=20, tol=1e-6, implicit_diff=True)
        return jnp.sum(solver.run(jnp.zeros_like(a), a).params ** 2)

    return Program(loss, (draw(2),), tolerance=1e-3)


def lasso(draw: Draws) -> Program:
    x, y = draw(6, 3), draw(6)

    def loss(strength):
        solver = jaxopt.ProximalGradient(
            jaxopt.objective.least_squares, jaxopt.prox.prox_lasso, maxiter=200, tol=1e-6
        )
        start = jnp.zeros(3, draw.dtype)
        return jnp.sum(solver.run(start, strength, (x, y)).params ** 2)

    return Program(loss, (draw.dtype(0.1),), tolerance=1e-3)


def unrolled(draw: Draws) -> Program:
    def loss(a):
        step = lambda w, a: 0.3 * jnp.sin(w) + a  # noqa: E731
        solver = jaxopt.FixedPointIteration(step, maxiter=20, implicit_diff=False, unroll=True)
        return jnp.sum(solver.run(jnp.zeros_like(a), a).params ** 2)

    return Program(loss, (draw(2),), tolerance=1e-4)


def root(draw: Draws) -> Program:
    @jaxopt.implicit_diff.custom_root(lambda y, a: y**3 + y - a)
    def solve(start, a):
        return jax.lax.fori_loop(0, 20, lambda _, y: y - (y**3 + y - a) / (3 * y**2 + 1), start)

    return Program(lambda a: jnp.sum(solve(jnp.zeros_like(a), a) ** 2), (draw(3),), tolerance=1e-4)


def quadratic(draw: Draws) -> Program:
    """An equality-constrained quadratic program."""
    q = draw(3, 3)
    q = q @ q.T + 3 * np.eye(3, dtype=draw.dtype)

    def loss(data):
        q, c = data
        a, b = jnp.ones((1, 3), draw.dtype), jnp.ones(1, draw.dtype)
        found = jaxopt.EqualityConstrainedQP().run(params_obj=(q, c), params_eq=(a, b)).params
        return jnp.sum(found.primal**2)

    return Program(loss, ((q, draw(3)),), tolerance=1e-3)


def projections(draw: Draws) -> Program:
    project = jaxopt.projection

    def loss(x):
        simplex = project.projection_simplex(x)
        ball = project.projection_l2_ball(x, 0.5)
        l1 = project.projection_l1_ball(x, 0.5)
        box = project.projection_box(x, (-0.3, 0.4))
        return jnp.sum((simplex + ball + l1 + box) ** 2)

    return Program(loss, (draw(5),))


def losses(draw: Draws) -> Program:
    labels = draw.whole(3, 4)
    binary = draw.whole(2, 4)

    def loss(logits):
        each = jax.vmap(jaxopt.loss.multiclass_logistic_loss)(labels, logits)
        sparse = jax.vmap(jaxopt.loss.multiclass_sparsemax_loss)(labels, logits)
        pairs = jax.vmap(jaxopt.loss.binary_logistic_loss)(binary, logits[:, 0])
        huber = jaxopt.loss.huber_loss(jnp.ones(4, draw.dtype), logits[:, 1])
        return jnp.sum(each + sparse + pairs + huber)

    return Program(loss, (draw(4, 3),), twice=True)


SOLUTIONS = {
    "ridge regression": ridge,
    "LBFGS": quasi_newton,
    "lasso": lasso,
    "unrolled fixed point": unrolled,
    "custom root": root,
    "quadratic program": quadratic,
}

FUNCTIONS = {"projections": projections, "losses": losses}


def test_solutions(float64, subtests):
    check_programs(SOLUTIONS, float64, subtests)


def test_functions(real, subtests):
    check_programs(FUNCTIONS, real, subtests)
