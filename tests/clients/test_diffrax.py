"""Diffrax: differential equations solved in loops whose reverse keeps a few checkpoints."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest
from agreement import Draws, Program, check_programs

diffrax = pytest.importorskip("diffrax")

EVENLY = diffrax.ConstantStepSize()
ADAPTIVE = diffrax.PIDController(rtol=1e-3, atol=1e-3)


def neural_ode(draw: Draws, adjoint, solver, steps=EVENLY, tolerance=None) -> Program:
    """A vector field with weights, and its solution at a few times."""
    params = (draw(2, 3), draw(3, 2), draw(2))
    targets = draw(3, 2)

    def loss(params):
        w, v, y0 = params
        field = lambda t, y, args: jnp.tanh(y @ args[0]) @ args[1]  # noqa: E731
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(field),
            solver,
            t0=0.0,
            t1=1.0,
            dt0=0.2,
            y0=y0,
            args=(w, v),
            saveat=diffrax.SaveAt(ts=jnp.array([0.3, 0.7, 1.0])),
            stepsize_controller=steps,
            max_steps=32,
            adjoint=adjoint,
        )
        return jnp.mean((solution.ys - targets) ** 2)

    return Program(loss, (params,), tolerance=tolerance)


def implicit(draw: Draws) -> Program:
    finder = diffrax.VeryChord(rtol=1e-3, atol=1e-3)
    adjoint = diffrax.RecursiveCheckpointAdjoint()
    steps = diffrax.PIDController(rtol=1e-2, atol=1e-2)
    return neural_ode(draw, adjoint, diffrax.Kvaerno3(root_finder=finder), steps, 1e-4)


def stochastic(draw: Draws) -> Program:
    """A stochastic equation along a Brownian path."""

    def loss(params):
        rate, spread = params
        path = diffrax.VirtualBrownianTree(0.0, 1.0, tol=0.1, shape=(), key=jax.random.key(0))
        terms = diffrax.MultiTerm(
            diffrax.ODETerm(lambda t, y, args: -rate * y),
            diffrax.ControlTerm(lambda t, y, args: spread * jnp.sin(y), path),
        )
        y0 = jnp.ones((), draw.dtype)
        solution = diffrax.diffeqsolve(terms, diffrax.Heun(), 0.0, 1.0, 0.25, y0)
        return solution.ys[-1] ** 2

    return Program(loss, ((draw.positive(), draw.positive()),))


def controlled(draw: Draws) -> Program:
    """A controlled equation along a cubic through data."""
    ts = jnp.linspace(0.0, 1.0, 4, dtype=draw.dtype)

    def loss(params):
        xs, w = params
        path = diffrax.CubicInterpolation(ts, diffrax.backward_hermite_coefficients(ts, xs))
        field = lambda t, y, args: jnp.tanh(w * y[:, None])  # noqa: E731
        term = diffrax.ControlTerm(field, path).to_ode()
        y0 = jnp.ones(2, draw.dtype)
        return jnp.sum(diffrax.diffeqsolve(term, diffrax.Euler(), 0.0, 1.0, 0.25, y0).ys ** 2)

    return Program(loss, ((draw(4, 3), draw(2, 3)),))


ADJOINTS = {
    "checkpointed": diffrax.RecursiveCheckpointAdjoint(),
    "direct": diffrax.DirectAdjoint(),
    "backsolve": diffrax.BacksolveAdjoint(),
}


def test_adjoints(float64, subtests):
    programs = {
        name: lambda draw, a=adjoint: neural_ode(draw, a, diffrax.Euler())
        for name, adjoint in ADJOINTS.items()
    }
    check_programs(programs, float64, subtests)


MORE = {
    **{
        f"{name}, adaptive": lambda draw, a=adjoint: neural_ode(draw, a, diffrax.Tsit5(), ADAPTIVE)
        for name, adjoint in ADJOINTS.items()
    },
    "few checkpoints": lambda draw: neural_ode(
        draw, diffrax.RecursiveCheckpointAdjoint(checkpoints=2), diffrax.Heun()
    ),
    "implicit": implicit,
    "stochastic": stochastic,
    "controlled": controlled,
}


@pytest.mark.slow
def test_more_programs(float64, subtests):
    check_programs(MORE, float64, subtests)
