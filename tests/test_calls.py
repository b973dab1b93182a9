"""Functions with derivative rules of their own, and functions that are computed again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.custom_batching import custom_vmap
from jax.custom_derivatives import SymbolicZero, linear_call
from together import agree, attempt, compiled_together

import symgrad as sg

X = np.array([0.3, -0.7, 1.1])


# Rules of the user's


@partial(jax.custom_vjp, nondiff_argnums=(0, 2))
def applied_scaled(fun, x, scale):
    return scale * fun(x)


applied_scaled.defvjp(
    lambda fun, x, scale: (scale * fun(x), x),
    lambda fun, scale, x, g: (10.0 * scale * g * fun(x),),
)


@jax.custom_vjp
def selective(x, y):
    return x * y, x + y


def _selective_forward(x, y):
    assert isinstance(x.perturbed, bool)
    assert isinstance(y.perturbed, bool)
    return selective(x.value, y.value), (x.value if y.perturbed else None, y.value, x.perturbed)


def _selective_backward(kept, cotangents):
    x, y, _ = kept
    product, total = cotangents
    product = 0.0 if isinstance(product, SymbolicZero) else product
    total = 0.0 if isinstance(total, SymbolicZero) else 3.0 * total
    return product * y + total, None if x is None else product * x + total


selective.defvjp(_selective_forward, _selective_backward, symbolic_zeros=True)


@jax.custom_jvp
def forgetful(x, y):
    return jnp.sin(x) * y


def _forgetful_rule(primals, tangents):
    x, y = primals
    x_dot, y_dot = tangents
    result = forgetful(x, y)
    if isinstance(y_dot, SymbolicZero):
        return result, jnp.cos(x) * y * x_dot
    if isinstance(x_dot, SymbolicZero):
        return result, 5.0 * jnp.sin(x) * y_dot
    return result, jnp.cos(x) * y * x_dot + 7.0 * jnp.sin(x) * y_dot


forgetful.defjvp(_forgetful_rule, symbolic_zeros=True)


@jax.custom_gradient
def with_gradient(x, y):
    return x * y, lambda g: (g * (y + 1.0), g * (x + 2.0))


@jax.custom_jvp
def recursive(x):
    return x**3


recursive.defjvps(lambda t, y, x: t * 3.0 * recursive(x) / x)


@jax.custom_jvp
def iterated(x):
    return lax.scan(lambda c, _: (jnp.sin(c) * x, None), x, None, length=3)[0]


@iterated.defjvp
def _iterated_rule(primals, tangents):
    (x,), (t,) = primals, tangents

    def both(pair, _):
        c, dot = pair
        return (jnp.sin(c) * x, jnp.cos(c) * dot * x + jnp.sin(c) * t), None

    return lax.scan(both, (x, t), None, length=3)[0]


def converted(x):
    pure, closed = jax.closure_convert(lambda y: y * x.sum(), x)
    return pure(x, *closed)


def linear_in_second(x, y):
    """Solves a diagonal system; the transpose is given, not derived."""

    def solve(d, b):
        return b / d

    return linear_call(solve, lambda d, g: solve(d, 2.0 * g), lax.stop_gradient(x) + 2.0, y)


@custom_vmap
def batched_its_way(x):
    return jnp.sin(x)


@batched_its_way.def_vmap
def _batched_rule(size, batched, x):
    return jnp.sin(x), batched[0]


RULES: dict[str, Callable[..., Any]] = {
    "nondiff_argnums": lambda x: applied_scaled(jnp.sin, x, 3.0).sum(),
    "symbolic zeros, all": lambda x: sum(r.sum() for r in selective(x, jnp.cos(x))),
    "symbolic zeros, one operand": lambda x: selective(x, jnp.array(2.0))[0].sum(),
    "symbolic zeros, other operand": lambda x: selective(jnp.array(X), x)[0].sum(),
    "symbolic zeros, one result": lambda x: selective(x, x**2)[1].sum(),
    "symbolic tangents, all": lambda x: forgetful(x, x**2).sum(),
    "symbolic tangents, first": lambda x: forgetful(x, X).sum(),
    "symbolic tangents, second": lambda x: forgetful(X, x).sum(),
    "custom_gradient": lambda x: with_gradient(x, jnp.sin(x)).sum(),
    "closure_convert": lambda x: converted(x).sum(),
    "recursive": lambda x: recursive(x).sum(),
    "in a loop": lambda x: lax.scan(lambda c, y: (recursive(c) * y, c), x[0], x)[0],
    "loop in the rule": lambda x: iterated(x).sum(),
    "loop in the rule, in a loop": lambda x: lax.scan(lambda c, y: (iterated(c) * y, c), x[0], x)[
        0
    ],
    "linear_call": lambda x: (linear_in_second(x, jnp.sin(x)) * x).sum(),
}


def orders(by: Any, fun: Callable[..., Any], x: Any) -> list[Any]:
    slope = by.grad(fun)
    return [by.jit(fun)(x), slope(x), by.grad(lambda x: (slope(x) * X).sum())(x)]


def both(compute: Callable[[Any], Any]) -> list[Any]:
    return [attempt(lambda by=by: compute(by)) for by in (sg, jax)]


def compare(found: list[Any], tolerance: float) -> None:
    for result in found:
        if isinstance(result, Exception):
            raise result
    agree(*found, tolerance)


def test_rules_are_honoured(float64, subtests):
    def everything(x: Any) -> list[Any]:
        return [both(lambda by, f=f: orders(by, f, x)) for f in RULES.values()]

    for name, found in zip(RULES, compiled_together(everything, X), strict=True):
        with subtests.test(name):
            compare(found, float64.tolerance)


def test_rules_are_honoured_forward(float64, subtests):
    names = [n for n in RULES if "tangents" in n or n in ("recursive", "linear_call")]
    forward = {n: RULES[n] for n in names} | {"custom_vmap": batched_its_way}

    def everything(x: Any) -> list[Any]:
        return [both(lambda by, f=f: by.jvp(f, (x,), (X,))) for f in forward.values()]

    for name, found in zip(forward, compiled_together(everything, X), strict=True):
        with subtests.test(name):
            compare(found, float64.tolerance)


def closing_over(*, also_in_forward_rule: bool) -> Callable[..., Any]:
    def fun(x):
        @jax.custom_vjp
        def scaled(y):
            return y * x

        forward = (lambda y: (y * x, y)) if also_in_forward_rule else (lambda y: (y, y))
        scaled.defvjp(forward, lambda _, g: (g,))
        return scaled(2.0)

    return fun


@pytest.mark.parametrize("also_in_forward_rule", [False, True])
def test_closed_over_values_have_no_rule(also_in_forward_rule):
    """JAX refuses too: the rule gives derivatives in the function's arguments only."""
    fun = closing_over(also_in_forward_rule=also_in_forward_rule)
    with pytest.raises(sg.SymgradError, match=r"closes over[\s\S]*test_calls.py"):
        sg.grad(fun)(3.0)


def test_residuals_of_linear_calls_have_no_derivative():
    def fun(x):
        return linear_call(lambda d, b: b / d, lambda d, g: g / d, x, 2.0)

    with pytest.raises(sg.SymgradError, match=r"linear_call[\s\S]*test_calls.py"):
        sg.grad(fun)(3.0)


# jax.checkpoint


def layer(x, w):
    return jnp.tanh(checkpoint_name(jnp.sin(x @ w), "sine"))


policies = jax.checkpoint_policies
WRAPPERS: dict[str, Callable[..., Any]] = {
    "plain": lambda f: f,
    "checkpoint": jax.checkpoint,
    "dots": partial(jax.checkpoint, policy=policies.dots_saveable),
    "names": partial(jax.checkpoint, policy=policies.save_only_these_names("sine")),
    "everything": partial(jax.checkpoint, policy=policies.everything_saveable),
    "no cse": partial(jax.checkpoint, prevent_cse=False),
    "nested": lambda f: jax.checkpoint(lambda x, w: jax.checkpoint(f)(jax.checkpoint(f)(x, w), w)),
}


def unrolled(wrap: Callable[..., Any]) -> Callable[..., Any]:
    def loss(ws, x):
        for w in ws:
            x = wrap(layer)(x, w)
        return jnp.sum(x**2)

    return loss


def scanned(wrap: Callable[..., Any]) -> Callable[..., Any]:
    def loss(ws, x):
        return jnp.sum(lax.scan(lambda x, w: (wrap(layer)(x, w), None), x, ws)[0] ** 2)

    return loss


@pytest.mark.parametrize("loss", [unrolled, scanned])
def test_checkpointed_functions_have_the_same_derivatives(loss, float64, subtests):
    rng = np.random.default_rng(0)
    ws, x = rng.normal(size=(3, 4, 4)), rng.normal(size=(2, 4))

    def everything(operands: Any) -> list[Any]:
        return [both(lambda by, w=w: orders_of(by, loss(w), operands)) for w in WRAPPERS.values()]

    def orders_of(by: Any, fun: Any, operands: Any) -> list[Any]:
        slope = by.grad(fun)
        second = by.jvp(lambda ws: slope(ws, operands[1]), operands[:1], operands[:1])
        return [by.jit(fun)(*operands), slope(*operands), second]

    found = compiled_together(everything, (ws, x))
    for name, result in zip(WRAPPERS, found, strict=True):
        with subtests.test(name):
            compare(result, float64.tolerance)


def memory(compiled: Any) -> int:
    return compiled.memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("name", ["checkpoint", "dots", "names", "no cse"])
def test_checkpointed_loops_use_the_memory_they_use_in_jax(name):
    """What is computed again is not kept: no more temporary bytes than JAX's program has."""
    ws, x = jnp.zeros((8, 32, 32)), jnp.zeros((64, 32))
    loss = scanned(WRAPPERS[name])
    ours = memory(sg.grad(loss).lower(ws, x).compile())
    assert ours <= 1.02 * memory(jax.jit(jax.grad(loss)).lower(ws, x).compile())
    plain = scanned(WRAPPERS["plain"])
    assert ours < 0.8 * memory(jax.jit(jax.grad(plain)).lower(ws, x).compile())
    assert ours <= memory(sg.grad(plain).lower(ws, x).compile())


def test_only_derivatives_have_barriers():
    ws, x = jnp.zeros((2, 4, 4)), jnp.zeros((3, 4))
    assert "optimization_barrier" in sg.grad(unrolled(jax.checkpoint)).source(ws, x)
    assert "optimization_barrier" not in sg.jit(unrolled(jax.checkpoint)).source(ws, x)


def test_barriers_are_differentiated(float64):
    def fun(x):
        y, z = lax.optimization_barrier((jnp.sin(x), x**2))
        return jnp.sum(y * z)

    def everything(x: Any) -> list[Any]:
        return [orders(by, fun, x) for by in (sg, jax)]

    agree(*compiled_together(everything, X), float64.tolerance)
    assert "lax.optimization_barrier((" in sg.grad(fun).source(X)


def test_a_backward_rule_gets_numbers_as_numbers():
    """A backward rule may branch on what the forward rule returned as a Python number."""

    @jax.custom_vjp
    def fun(x):
        return jnp.sin(x)

    def backward(kept, g):
        slope, doubled, count = kept
        return (g * slope * (count if doubled else 1),)

    fun.defvjp(lambda x: (fun(x), (jnp.cos(x), True, 3)), backward)
    loss = lambda x: jnp.sum(fun(x))  # noqa: E731
    x = X.astype(np.float32)
    for scalar in (loss, jax.jit(loss)):
        agree(sg.grad(scalar)(x), jax.grad(scalar)(x), 1e-6)


def test_a_rule_for_a_function_of_a_random_key():
    @jax.custom_vjp
    def noisy(x, key):
        return x * jax.random.normal(key, x.shape)

    noisy.defvjp(
        lambda x, key: (noisy(x, key), key),
        lambda key, g: (3.0 * g * jax.random.normal(key, g.shape), None),
    )
    loss = lambda x, key: jnp.sum(noisy(x, key))  # noqa: E731
    args = X.astype(np.float32), jax.random.key(1)
    agree(sg.grad(loss)(*args), jax.grad(loss)(*args), 1e-6)


@jax.custom_vjp
def with_clipped_gradient(x):
    return x


with_clipped_gradient.defvjp(lambda x: (x, None), lambda _, g: (jnp.clip(g, -0.5, 0.5),))


def squared(x):
    return with_clipped_gradient(3 * x) ** 2


def test_a_rule_that_is_not_linear_is_kept_by_reverse_mode():
    args = X.astype(np.float32)
    for of_sg, of_jax in ((sg.jacobian, jax.jacobian), (sg.jacrev, jax.jacrev)):
        agree(of_sg(squared)(args), of_jax(squared)(args), 1e-6)
    wide = lambda x: jnp.stack([squared(x), -squared(x)])  # noqa: E731
    agree(sg.jacobian(wide)(np.float32(0.7)), jax.jacobian(wide)(np.float32(0.7)), 1e-6)


@pytest.mark.parametrize("transformed", [sg.jacfwd(squared), sg.laplacian(squared)], ids=repr)
def test_forward_mode_does_not_know_the_transpose_of_a_rule_that_is_not_linear(transformed):
    with pytest.raises(sg.NoDerivativeError, match="not linear in the cotangent"):
        transformed(X.astype(np.float32))
