"""Primitives that other packages define: they run as in JAX."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from closeness import close
from jax import lax
from jax.extend import core as jex
from jax.interpreters import mlir

import symgrad as sg

X = np.array([0.3, -1.2, 2.0], np.float32)


def primitive(name, fun):
    """A primitive that computes `fun`, elementwise, and has no rules."""
    made = jex.Primitive(name)
    made.def_impl(jax.jit(fun))
    made.def_abstract_eval(lambda x, *others: x)
    mlir.register_lowering(made, mlir.lower_fun(fun, multiple_results=False))
    return made


cube_p = primitive("cube", lambda x: x**3)


def test_a_name_means_one_thing_in_all_scopes():
    """Functions inside a program call primitives by names that no variable around them takes."""
    twice = lambda x: x * jnp.sin(x)  # noqa: E731
    cubed = lambda x: twice(cube_p.bind(x))  # noqa: E731

    def fun(x):
        return cubed(lax.cond(x[0] > 0, lambda x: cubed(cubed(x)), jnp.sin, x))

    close(sg.jit(fun)(X), jax.jit(fun)(X), 1e-5)
