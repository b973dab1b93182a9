"""Primitives that other packages define: they run as in JAX, and keep their authors' rules."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import close
from jax import lax
from jax.extend import core as jex
from jax.interpreters import ad, batching, mlir

import symgrad as sg
from symgrad.tracing import foreign

X = np.array([0.3, -1.2, 2.0])
Y = np.array([1.5, 0.7, -0.4])


def primitive(name, fun, *, several=False):
    """An elementwise primitive that computes `fun` and has no rules."""
    made = jex.Primitive(name)
    made.multiple_results = several
    made.def_impl(jax.jit(fun))
    made.def_abstract_eval(lambda *xs: jax.tree.map(jax.typeof, jax.eval_shape(fun, *xs)))
    mlir.register_lowering(made, mlir.lower_fun(fun, multiple_results=several))

    def batch(xs, axes):
        pairs = list(zip(xs, axes, strict=True))
        size = next(x.shape[a] for x, a in pairs if a is not None)
        found = made.bind(*(batching.bdim_at_front(x, a, size) for x, a in pairs))
        return found, jax.tree.map(lambda _: 0, found)

    batching.primitive_batchers[made] = batch
    return made


cube_p = primitive("cube", lambda x: x**3)
quotient_p = primitive("quotient", lambda x, y: [x / y, jnp.sign(y).astype(np.int32)], several=True)


def quotient(x, y):
    return quotient_p.bind(x, y)[0]


def quotient_jvp(primals, tangents):
    """Linear in x, where the primitive is applied to what moves."""
    (x, y), (dx, dy) = primals, tangents
    ratio, sign = quotient_p.bind(x, y)
    moved = ad.instantiate_zeros(dx)
    if not isinstance(dy, ad.Zero):
        moved = moved - ratio * dy
    return [ratio, sign], [quotient(moved, y), ad.Zero(jax.typeof(sign).to_tangent_aval())]


def quotient_transpose(cotangents, x, y):
    assert ad.is_undefined_primal(x) and not ad.is_undefined_primal(y)
    return [quotient(cotangents[0], y), None]


ad.primitive_jvps[quotient_p] = quotient_jvp
ad.primitive_transposes[quotient_p] = quotient_transpose

scale_p = primitive("scale", lambda x: x * 3)
ad.deflinear2(scale_p, lambda g, x: [scale_p.bind(g)])

slope_p = primitive("slope", jnp.sin)
ad.defjvp(slope_p, lambda t, x: scale_p.bind(t) * jnp.cos(x))

forward_p = primitive("forward", lambda x: x * 2)
ad.primitive_jvps[forward_p] = lambda xs, ts: (forward_p.bind(*xs), forward_p.bind(*ts))


@jax.custom_jvp
def solved(x, y):
    return x / y


@solved.defjvp
def _solved_jvp(primals, tangents):
    """Tangents go through other functions with rules on their way to the primitive."""
    (x, y), (dx, dy) = primals, tangents
    return solved(x, y), through(dx - solved(x, y) * dy, y)


@jax.custom_jvp
def through(x, y):
    return quotient(x, y)


through.defjvp(lambda xs, ts: (through(*xs), through(ts[0], xs[1]) - through(through(*xs), xs[1])))


def looped(x, y):
    def step(c, a):
        return quotient(c, a + 3) * x, c

    last, every = lax.scan(step, jnp.sin(x), jnp.stack([y, x]))
    return last + every.sum(0)


FUNCTIONS = {
    "both operands": quotient,
    "nested": lambda x, y: quotient(quotient(x, y) * x, quotient(y, x + 4)),
    "one operand constant": lambda x, y: quotient(x, np.full(3, 2.0)) * y,
    "the same operand twice": lambda x, y: quotient(x, x) * y + quotient(jnp.sin(x), x),
    "whole result": lambda x, y: x * quotient_p.bind(x, y)[1] + y * y,
    "linear": lambda x, y: scale_p.bind(x * y) * x,
    "rule of tangents": lambda x, y: slope_p.bind(x * y),
    "in a rule": solved,
    "in a loop": looped,
    "in a branch": lambda x, y: lax.cond(x[0] > 0, quotient, lambda x, y: x * y, x, y),
}


def hessian(by, fun):
    return by.jacfwd(by.grad(fun, (0, 1)), (0, 1))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_rules_of_authors(name, float64):
    """Value, gradient, both modes and second order are JAX's."""
    fun = FUNCTIONS[name]
    loss = lambda x, y: jnp.sum(jnp.sin(fun(x, y)))  # noqa: E731

    def account(by, x, y):
        return [
            by.jit(fun)(x, y),
            by.grad(loss, (0, 1))(x, y),
            by.jvp(fun, (x, y), (y, x)),
            hessian(by, loss)(x, y),
            by.grad(lambda x, y: jnp.sum(by.grad(loss)(x, y) ** 2), (0, 1))(x, y),
        ]

    found, wanted = jax.jit(lambda x, y: [account(by, x, y) for by in (sg, jax)])(X, Y)
    close(found, wanted, 1e-10)


def test_under_vmap_and_differentiated_by_jax(float64):
    loss = lambda x, y: jnp.sum(solved(x, y) + quotient(x, y))  # noqa: E731
    found = jax.vmap(sg.grad(loss, (0, 1)))(np.stack([X, Y]), np.stack([Y, X]))
    close(found, jax.vmap(jax.grad(loss, (0, 1)))(np.stack([X, Y]), np.stack([Y, X])), 1e-10)
    close(jax.hessian(sg.jit(loss), (0, 1))(X, Y), hessian(jax, loss)(X, Y), 1e-10)


def test_a_rule_is_told_what_does_not_move(float64):
    seen = []

    def rule(primals, tangents):
        seen.append([isinstance(t, ad.Zero) for t in tangents])
        return jnp.zeros(3), tangents[1]

    told_p = primitive("told", lambda x, y: x + y)
    ad.primitive_jvps[told_p] = rule
    sg.grad(lambda y: jnp.sum(told_p.bind(X, y)))(Y)
    assert seen == [[True, False]]


def test_forward_mode_needs_no_transpose(float64):
    fun = lambda x: jnp.sum(forward_p.bind(x) ** 2)  # noqa: E731
    close(sg.jacfwd(fun)(X), jax.jacfwd(fun)(X), 1e-10)
    with pytest.raises(sg.NoDerivativeError, match="`forward` has no transpose"):
        sg.grad(fun)(X)


def test_rules_of_jax_are_not_asked():
    """Nor those that other packages add to primitives of JAX."""
    of_jax = [p for p in vars(jex.primitives).values() if isinstance(p, jex.Primitive)]
    assert len(of_jax) > 100
    assert not [p.name for p in of_jax if foreign.has_rule(p)]
    assert all(map(foreign.has_rule, (quotient_p, scale_p, slope_p, forward_p)))
    assert not foreign.has_rule(cube_p)


def test_a_rule_that_is_added_to_a_primitive_of_jax_is_not_asked(monkeypatch):
    monkeypatch.setitem(ad.primitive_transposes, jex.primitives.stop_gradient_p, lambda g, x: [g])
    assert not foreign.has_rule(jex.primitives.stop_gradient_p)


def test_a_transpose_of_the_users_is_kept_in_a_rule(float64):
    """Also one that is not what its function says, as JAX keeps it."""
    tripled = functools.partial(
        jax.custom_derivatives.linear_call,
        lambda _, x: 3.0 * x,
        lambda _, g: 5.0 * g,
        (),
    )

    @jax.custom_jvp
    def fun(x):
        return jnp.sin(x)

    fun.defjvps(lambda t, _, x: tripled(t) * jnp.cos(x))
    loss = lambda x: jnp.sum(fun(x))  # noqa: E731
    close(sg.grad(loss)(X), jax.grad(loss)(X), 1e-10)
    close(sg.jvp(loss, (X,), (Y,)), jax.jvp(loss, (X,), (Y,)), 1e-10)


def test_a_name_means_one_thing_in_all_scopes():
    """Functions inside a program call primitives by names that no variable around them takes."""
    twice = lambda x: x * jnp.sin(x)  # noqa: E731
    cubed = lambda x: twice(cube_p.bind(x))  # noqa: E731

    def fun(x):
        return cubed(lax.cond(x[0] > 0, lambda x: cubed(cubed(x)), jnp.sin, x))

    x = X.astype(np.float32)
    close(sg.jit(fun)(x), jax.jit(fun)(x), 1e-5)
