"""Loops, branches, custom rules and the functions of `jax.nn`: every derivative, against JAX.

One sample is checked for its value, gradient, pushforward, Hessian-vector product and Jacobian,
in 64-bit arithmetic to ten digits.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import close, same_types
from jax import lax

import symgrad as sg
from symgrad.expr import Expr
from symgrad.ops.loops import scan
from symgrad.walk import Graph

pytestmark = pytest.mark.usefixtures("float64")

TOLERANCE = 1e-10


@dataclass(frozen=True)
class Sample:
    """A function of one array, and where it is differentiated.

    Attributes:
        fun: from the array to any tree of arrays.
        at: the array.
        reverse: whether reverse mode is defined.
    """

    fun: Callable[..., Any]
    at: Any
    reverse: bool = True


V = np.array([0.3, -0.8, 1.2])
S = 0.7
XS = np.linspace(-1.0, 1.5, 12).reshape(4, 3)
A = np.array([[0.2, -0.4, 0.1], [0.3, 0.5, -0.2], [-0.1, 0.2, 0.4]])


def floats(tree: Any) -> list[Any]:
    """The leaves that have derivatives."""
    leaves = jax.tree.leaves(tree)
    return [leaf for leaf in leaves if jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)]


def scalar(fun: Callable[..., Any]) -> Callable[..., Any]:
    """Every output of `fun`, weighted differently, as one number to differentiate."""

    def weighted(x):
        return sum(
            jnp.sum(jnp.cos(0.3 + jnp.arange(jnp.size(y))) * jnp.ravel(y)) * (i + 1.0)
            for i, y in enumerate(floats(fun(x)))
        )

    return weighted


def direction(x: Any) -> Any:
    return jnp.cos(1.0 + jnp.arange(jnp.size(x), dtype=x.dtype)).reshape(x.shape)


def by_symgrad(sample: Sample, x: Any) -> dict[str, Any]:
    loss, v = scalar(sample.fun), direction(x)
    found = {"value": sg.jit(sample.fun)(x), "pushed": sg.jvp(loss, (x,), (v,))[1]}
    if sample.reverse:
        found |= {"gradient": sg.grad(loss)(x), "hvp": sg.hvp(loss)(v, x)}
        found |= {"jacrev": sg.jacrev(lambda x: floats(sample.fun(x)))(x)}
    return found


def by_jax(sample: Sample, x: Any) -> dict[str, Any]:
    loss, v = scalar(sample.fun), direction(x)
    found = {"value": sample.fun(x), "pushed": jax.jvp(loss, (x,), (v,))[1]}
    if sample.reverse:
        found |= {"gradient": jax.grad(loss)(x), "hvp": jax.jvp(jax.grad(loss), (x,), (v,))[1]}
        found |= {"jacrev": jax.jacrev(lambda x: floats(sample.fun(x)))(x)}
    return found


def check_all(sample: Sample) -> None:
    """Everything by symgrad in one compilation, and by JAX in another."""
    x = jnp.asarray(sample.at)
    found, expected = (jax.jit(functools.partial(by, sample))(x) for by in (by_symgrad, by_jax))
    for name in expected:
        close(found[name], expected[name], TOLERANCE, 1.0)
        same_types(found[name], expected[name])


# Functions with rules of their own


@jax.custom_jvp
def clipped(x):
    """Its rule is not the derivative: beyond 1 it lets half of the tangent through."""
    return jnp.clip(x, -1.0, 1.0)


@clipped.defjvp
def _(primals, tangents):
    (x,), (t,) = primals, tangents
    return clipped(x), jnp.where(jnp.abs(x) > 1.0, 0.5 * x**2, 1.0) * t


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 2))
def applied(f, x, power):
    return f(x) ** power


@applied.defjvp
def _(f, power, primals, tangents):
    (x,), (t,) = primals, tangents
    return applied(f, x, power), 3.0 * jnp.sin(x) * t


@jax.custom_jvp
def sine_and_cosine(x, y):
    return jnp.sin(x) * y, jnp.cos(x) + y


@sine_and_cosine.defjvp
def _(primals, tangents):
    (x, y), (s, t) = primals, tangents
    out = sine_and_cosine(x, y)
    return out, (2.0 * out[1] * s, x * s - y * t)


@jax.custom_jvp
def repeated(x, n):
    return x**3 * n


@repeated.defjvp
def _(primals, tangents):
    (x, n), (t, _) = primals, tangents
    return repeated(x, n), 5.0 * x * t


@jax.custom_vjp
def straight_through(x):
    """Rounding whose derivative is said to be x."""
    return jnp.round(x)


straight_through.defvjp(lambda x: (jnp.round(x), x), lambda x, g: (g * x,))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def scaled_gradient(factor, x):
    return x


scaled_gradient.defvjp(lambda factor, x: (x, x), lambda factor, x, g: (factor * g * jnp.cos(x),))


@jax.custom_vjp
def two_outputs(x, i, y):
    return x * y, {"sum": x + y, "picked": y[i]}


def _two_outputs_forward(x, i, y):
    return two_outputs(x, i, y), (x, y)


def _two_outputs_backward(saved, g):
    x, y = saved
    return g[0] * y + 7.0 * g[1]["sum"], None, g[0] * x * g[1]["picked"]


two_outputs.defvjp(_two_outputs_forward, _two_outputs_backward)


def closed_over(x):
    @jax.custom_jvp
    def inner(y):
        return y * jnp.sum(W_CLOSED)

    inner.defjvp(lambda p, t: (inner(p[0]), 4.0 * p[0] * W_CLOSED * t[0]))
    return inner(jnp.sin(x))


def closed_over_backwards(x):
    @jax.custom_vjp
    def inner(y):
        return y * W_CLOSED

    inner.defvjp(lambda y: (inner(y), y), lambda y, g: (4.0 * g * W_CLOSED * y,))
    return inner(jnp.sin(x))


def closed_over_twice(x):
    """The same constant reaches two calls, one of them under jit."""

    @jax.custom_jvp
    def inner(y):
        return y * W_CLOSED

    inner.defjvp(lambda p, t: (inner(p[0]), 4.0 * p[0] * W_CLOSED * t[0]))
    return inner(jnp.sin(x)) * jnp.sum(jax.jit(inner)(x))


W_CLOSED = np.array([1.0, -2.0, 0.5])


def of_one_argument(fun: Callable[..., Any], *rest: Any) -> Callable[..., Any]:
    return lambda x: fun(x, *rest)


CUSTOM = {
    "custom_jvp": Sample(clipped, np.array([0.3, -1.8, 1.2])),
    "custom_jvp of a function": Sample(lambda x: applied(jnp.tanh, x, 2), V),
    "custom_jvp of two outputs": Sample(lambda x: sine_and_cosine(x, x[::-1] * 2.0), V),
    "custom_jvp, one output used": Sample(lambda x: sine_and_cosine(x, 2.0 * x)[1] * x, V),
    "custom_jvp of an integer": Sample(lambda x: repeated(x, 3), V),
    "custom_jvp over a constant": Sample(closed_over, V),
    "custom_jvp over constants, twice": Sample(closed_over_twice, V),
    "custom_jvp of itself": Sample(lambda x: clipped(clipped(2.0 * x) * x), V),
    "custom_jvp under vmap": Sample(jax.vmap(clipped), 2.0 * V),
    "custom_jvp under jit": Sample(lambda x: jax.jit(clipped)(2.0 * x), V),
    "custom_vjp": Sample(lambda x: straight_through(2.0 * x) * x, V),
    "custom_vjp of a number": Sample(lambda x: scaled_gradient(3.0, x**2), V),
    "custom_vjp of trees": Sample(lambda x: two_outputs(x, 1, x[::-1] + 1.0), V),
    "custom_vjp, one output used": Sample(lambda x: two_outputs(x, 2, x**2)[1]["sum"], V),
    "custom_vjp over a constant": Sample(closed_over_backwards, V),
    "custom_vjp under vmap": Sample(jax.vmap(straight_through), 2.0 * V),
    "checkpoint": Sample(jax.checkpoint(lambda x: jnp.sin(jnp.sin(x) * x)), V),
    "stop_gradient": Sample(lambda x: lax.stop_gradient(jnp.sin(x)) * x**2, V),
    "stop_gradient of all": Sample(lambda x: lax.stop_gradient(x) + 0.0 * x, V),
}


@pytest.mark.parametrize("name", CUSTOM)
def test_custom_rules(name):
    sample = CUSTOM[name]
    vjp_only = name.startswith("custom_vjp")
    if not vjp_only:
        check_all(sample)
        return
    loss = scalar(sample.fun)
    close(sg.jit(sample.fun)(sample.at), jax.jit(sample.fun)(sample.at), TOLERANCE, 1.0)
    close(sg.grad(loss)(sample.at), jax.jit(jax.grad(loss))(sample.at), TOLERANCE, 1.0)
    twice = [m.grad(lambda x, m=m: jnp.sum(m.grad(loss)(x) ** 2)) for m in (sg, jax)]
    close(twice[0](sample.at), jax.jit(twice[1])(sample.at), TOLERANCE, 1.0)
    close(sg.jacrev(sample.fun)(sample.at), jax.jacrev(sample.fun)(sample.at), TOLERANCE, 1.0)


def test_rules_are_honoured_where_they_are_not_the_derivative():
    """By hand: the rule beyond 1 is x²/2, so the second derivative is x, to the second order."""
    x = np.array(1.7)
    close(sg.grad(clipped)(x), 0.5 * 1.7**2, TOLERANCE)
    close(sg.grad(sg.grad(clipped))(x), 1.7, TOLERANCE)
    close(sg.hessian(clipped)(x), 1.7, TOLERANCE)
    close(sg.grad(straight_through)(x), 1.7, TOLERANCE)
    close(sg.grad(sg.grad(straight_through))(x), 1.0, TOLERANCE)


@pytest.mark.parametrize("fun", [clipped, straight_through, jax.nn.relu, closed_over])
def test_rules_are_honoured_through_nested_transformations(fun):
    """The gradient made by one `sg.grad` is differentiated by another, and by JAX."""

    def slope(m, x):
        return jnp.sum(m.grad(lambda x: jnp.sum(fun(x) ** 2))(x) ** 2)

    expected = jax.jit(jax.grad(lambda x: slope(jax, x)))(2.0 * V)
    close(sg.grad(lambda x: slope(sg, x))(2.0 * V), expected, TOLERANCE)
    close(jax.jit(jax.grad(lambda x: slope(sg, x)))(2.0 * V), expected, TOLERANCE)
    close(sg.grad(lambda x: slope(jax, x))(2.0 * V), expected, TOLERANCE)


def test_forward_mode_of_a_custom_vjp():
    """JAX has none; the pushforward is the transpose of the rule that is there."""
    with pytest.raises(TypeError):
        jax.jvp(straight_through, (V,), (V,))
    close(sg.jvp(straight_through, (V,), (np.ones(3),))[1], V, TOLERANCE)
    close(sg.jacfwd(straight_through)(V), np.diag(V), TOLERANCE)


# Loops


def rnn(w, h, xs):
    def step(h, x):
        h = jnp.tanh(w @ h + x)
        return h, h

    return lax.scan(step, h, xs)


def several_carries(x):
    def step(carry, row):
        (a, n), b = carry
        a = jnp.sin(a) * b + row[0]
        return ((a, n + 1), b * 0.9), (a * row, n, {"b": b})

    return lax.scan(step, ((x[0], 0), x[1]), jnp.asarray(XS) * x)


def over_pieces(x):
    """Slices of two arrays, one of them of integers, and a result for each."""
    ys = jnp.outer(jnp.arange(4.0), x)

    def step(c, slices):
        i, y = slices
        return c + jnp.where(i % 2 == 0, y, y**2), c * i

    return lax.scan(step, x, (jnp.arange(4), ys))


def nested_scan(x):
    def row(c, r):
        def entry(d, e):
            return jnp.sin(d + e * c), d * e

        d, ys = lax.scan(entry, c, r)
        return d, jnp.sum(ys)

    return lax.scan(row, x[0], jnp.asarray(XS) * x)


def scan_with_custom_rule(x):
    def step(c, r):
        c = clipped(c * r + 0.5)
        return c, jax.nn.relu(c) * straight_through(c)

    return lax.scan(step, x, jnp.asarray(XS))


def clipped_step(c, r):
    c = clipped(c * r + 0.5)
    return c, jax.nn.relu(c)


def unused_outputs(x):
    (c, _), (ys, _) = lax.scan(
        lambda c, r: ((jnp.tanh(c[0] * r), c[1] + r), (c[0], jnp.exp(r))),
        (x, x),
        jnp.asarray(XS),
    )
    return c, ys[1]


def heat(x):
    """One line of a stencil, repeated; the number of steps is a Python number."""
    return lax.fori_loop(0, 5, lambda i, u: u + 0.1 * (jnp.roll(u, 1) - 2 * u + jnp.roll(u, -1)), x)


def logistic_map(x):
    return lax.fori_loop(0, 4, lambda i, c: 3.2 * c * (1.0 - c) + 0.01 * i, x)


LOOPS = {
    "carry only": Sample(lambda x: lax.scan(lambda c, r: (jnp.sin(c) * r, None), x, XS)[0], V),
    "results only": Sample(lambda x: lax.scan(lambda c, r: (None, r * jnp.sin(r)), None, x)[1], V),
    "in the slices": Sample(lambda x: rnn(A, V, x), XS),
    "in the carry": Sample(lambda x: rnn(A, x, XS), V),
    "in the closed-over matrix": Sample(lambda w: rnn(w, V, XS), A),
    "reversed": Sample(
        lambda x: lax.scan(lambda c, r: (jnp.tanh(c * r), c), x, XS, reverse=True), V
    ),
    "length only": Sample(
        lambda x: lax.scan(lambda c, _: (jnp.cos(c) * x, c), x, None, length=3), V
    ),
    "unrolled": Sample(
        lambda x: lax.scan(lambda c, r: (jnp.tanh(c * r), c), x, XS, unroll=2), V
    ),
    "several carries": Sample(several_carries, V),
    "several slices": Sample(over_pieces, V),
    "nested": Sample(nested_scan, V),
    "unused outputs": Sample(unused_outputs, V),
    "no iteration": Sample(lambda x: lax.scan(lambda c, r: (c * r, c), x, XS[:0]), V),
    "one iteration": Sample(lambda x: lax.scan(lambda c, r: (c * r, c), x, XS[:1]), V),
    "carry passed through": Sample(lambda x: lax.scan(lambda c, r: (c, c * r), x, XS), V),
    "carries exchanged": Sample(
        lambda x: lax.scan(lambda c, r: ((c[1], c[0] * r), c[0]), (x, jnp.sin(x)), XS), V
    ),
    "loop of a loop": Sample(
        lambda x: lax.scan(lambda c, r: (jnp.tanh(c * r), c), *rnn(A, x, XS)), V
    ),
    "vmap of a loop": Sample(
        jax.vmap(lambda s: lax.scan(lambda c, r: (jnp.sin(c * r[0]), c), s, XS)), V
    ),
    "loop of a vmap": Sample(
        lambda x: lax.scan(lambda c, r: (jax.vmap(jnp.sin)(c) * r, None), x, XS)[0], V
    ),
    "checkpointed body": Sample(
        lambda x: lax.scan(jax.checkpoint(lambda c, r: (jnp.sin(c) * r, c)), x, XS), V
    ),
    "fori_loop": Sample(heat, V),
    "fori_loop with its counter": Sample(logistic_map, V),
    "fori_loop from 2": Sample(
        lambda x: lax.fori_loop(2, 5, lambda i, c: c.at[0].add(x[1]) * c + i, x), V
    ),
    "map": Sample(lambda x: lax.map(lambda r: jnp.sin(r) * jnp.sum(r), x), XS),
    "map of batches": Sample(lambda x: lax.map(lambda r: jnp.exp(r[0]) * r, x, batch_size=2), XS),
    "associative_scan": Sample(lambda x: lax.associative_scan(jnp.multiply, x), 1.0 + V),
    "associative_scan of pairs": Sample(
        lambda x: lax.associative_scan(
            lambda a, b: (a[0] * b[0], a[1] * b[0] + b[1]), (jnp.cos(x), x), axis=0
        ),
        XS,
    ),
    "associative_scan, reversed": Sample(
        lambda x: lax.associative_scan(jnp.add, jnp.sin(x), reverse=True), V
    ),
    "cumulative": Sample(lambda x: (jnp.cumsum(jnp.sin(x)), jnp.cumprod(x)), V),
    "while_loop": Sample(
        lambda x: lax.while_loop(
            lambda c: c[0] < 4, lambda c: (c[0] + 1, jnp.sin(c[1]) * x), (0, x)
        ),
        V,
        reverse=False,
    ),
    "while_loop that depends on the data": Sample(
        lambda x: lax.while_loop(lambda c: jnp.sum(c) < 9.0, lambda c: c * (1.1 + x**2), x + 2.0),
        V,
        reverse=False,
    ),
    "while_loop in a scan": Sample(
        lambda x: lax.scan(
            lambda c, r: (lax.while_loop(lambda d: d[0] < 3.0, lambda d: d * 0.5 + 2.0, c) * r, c),
            x,
            XS,
        ),
        V,
        reverse=False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LOOPS)
def test_loops(name):
    check_all(LOOPS[name])


def unrolled(body, carry, xs):
    ys = []
    for row in xs:
        carry, y = body(carry, row)
        ys.append(y)
    return carry, jnp.stack(ys)


def test_rules_in_a_loop_are_honoured_to_second_order():
    """As in the loop written out; JAX itself forgets the rule of a value that a `scan` carries."""
    loop = Sample(lambda x: lax.scan(clipped_step, x, jnp.asarray(XS)), V)
    written_out = Sample(lambda x: unrolled(clipped_step, x, jnp.asarray(XS)), V)
    found = by_symgrad(loop, jnp.asarray(V))
    expected = jax.jit(functools.partial(by_jax, written_out))(jnp.asarray(V))
    close(found, expected, TOLERANCE, 1.0)


def test_custom_vjp_in_a_loop():
    loss = scalar(scan_with_custom_rule)
    close(sg.value_and_grad(loss)(V), jax.value_and_grad(loss)(V), TOLERANCE)


def test_zero_iterations_forwards_and_backwards():
    """A fori_loop that never runs is the identity."""
    close(sg.grad(lambda x: lax.fori_loop(0, 0, lambda i, c: c**2, x))(3.0), 1.0, 0.0)
    close(sg.jvp(lambda x: lax.fori_loop(3, 1, lambda i, c: c**2, x), (3.0,), (2.0,))[1], 2.0, 0.0)


def test_loop_whose_length_is_an_argument():
    """Forward mode only, and compiled once for all lengths."""

    def power(x, n):
        return lax.fori_loop(0, n, lambda i, c: c * x, 1.0)

    slope = sg.jacfwd(power)
    for n in (0, 1, 5):
        close(slope(1.3, n), n * 1.3 ** (n - 1), TOLERANCE)
    assert len(slope._plans) == 1


# What the backward loop reads


def scans(graph: Graph) -> list[Expr]:
    return [n for n in graph.nodes if n.op is scan]


def stacked(loop: Expr) -> list[tuple[int, ...]]:
    """The shapes of what a loop keeps of every iteration."""
    return [t.shape for t in loop.types[loop.params["carry"] :]]


STEPS, UNITS = 7, 3
LONG = np.linspace(-1.0, 1.0, STEPS * UNITS).reshape(STEPS, UNITS)


def last_state(w, h, xs):
    return jnp.sum(rnn(w, h, xs)[0] ** 2)


def test_backward_loop_reads_states_and_slopes_and_nothing_else():
    """The slopes of tanh and, for the derivative in w, the states."""
    forward, backward = scans(sg.grad(last_state).graph(A, V, LONG))
    assert stacked(forward) == [(STEPS, UNITS)] * 2
    assert not forward.params["reverse"] and backward.params["reverse"]
    assert len(stacked(backward)) == 0


def test_states_are_kept_once():
    """dW needs h before the step and the slope of tanh after it."""
    forward, _ = scans(sg.grad(last_state, argnums=0).graph(A, V, LONG))
    assert sum(np.prod(s) for s in stacked(forward)) <= 2 * STEPS * UNITS


def test_states_that_are_results_are_not_kept_twice():
    """Beside them are only the slopes of tanh, which states that were rounded do not tell."""

    def every_state(w, h, xs):
        return jnp.sum(rnn(w, h, xs)[1] ** 2)

    forward, _ = scans(sg.grad(every_state, argnums=1).graph(A, V, LONG))
    assert stacked(forward) == [(STEPS, UNITS)] * 2


def test_gradient_in_the_initial_state_keeps_one_array():
    forward, backward = scans(sg.grad(last_state, argnums=1).graph(A, V, LONG))
    assert stacked(forward) == [(STEPS, UNITS)]
    assert stacked(backward) == []


def kept_bytes(jaxpr: Any) -> int:
    """What the loops of a program keep of every iteration."""
    total = 0
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "scan":
            stacks = eqn.outvars[eqn.params["num_carry"] :]
            total += sum(v.aval.size * v.aval.dtype.itemsize for v in stacks)
        inner = (p.jaxpr for p in eqn.params.values() if hasattr(p, "jaxpr"))
        total += sum(map(kept_bytes, inner))
    return total


def gated(w, h, xs):
    def step(state, x):
        h, c = state
        z = w @ h + x
        c = jax.nn.sigmoid(z) * c + jnp.tanh(z)
        return (jax.nn.sigmoid(x) * jnp.tanh(c), c), h

    return jnp.sum(lax.scan(step, (h, h), xs)[1] ** 2)


def midpoint(w, h, xs):
    def step(y, _):
        half = y + 0.05 * jnp.sin(w @ y)
        return y + 0.1 * jnp.sin(w @ half), None

    return jnp.sum(lax.scan(step, h, xs)[0] ** 2)


def through_invariant(w, h, xs):
    mixing = jnp.sin(w @ w.T)
    return jnp.sum(lax.scan(lambda y, x: (jnp.tanh(mixing @ y + x), None), h, xs)[0])


def cube_root(w, h, xs):
    a = 2.0 + h**2
    return jnp.sum(lax.fori_loop(0, STEPS, lambda i, x: x - (x**3 - a) / (3 * x**2), a))


@pytest.mark.parametrize(
    ("fun", "most"),
    [(last_state, 0.5), (gated, 0.6), (midpoint, 1.0), (through_invariant, 0.7), (cube_root, 0.8)],
)
def test_loops_keep_no_more_than_those_of_jax(fun, most):
    """Bytes kept of every iteration for the backward loop, in units of what JAX keeps."""
    ours, theirs = (
        kept_bytes(jax.make_jaxpr(by.grad(fun, (0, 1)))(A, V, LONG).jaxpr) for by in (sg, jax)
    )
    assert 0 < ours <= most * theirs


def recurrent(w, h, xs):
    return jnp.sum(lax.scan(lambda h, x: (jnp.tanh(w @ h + x), None), h, xs)[0])


def long_short_term(w, h, xs):
    gates = jnp.concatenate([w, 2 * w, w.T, -w], 1)

    def step(state, x):
        h, c = state
        i, f, o, g = jnp.split(h @ gates + jnp.tile(x, 4), 4, 1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    h = jnp.stack([h, -h])
    return jnp.sum(lax.scan(step, (h, h), xs)[1] ** 2)


def used_twice(w, h, xs):
    """Both matrices of one round, and the sum of what is added in another way."""

    def step(state, x):
        h, total = state
        return (jnp.sin(w @ jnp.cos(w @ h) + x), total + w @ h), total

    (h, total), totals = lax.scan(step, (h, h), xs, reverse=True)
    return jnp.sum(h * total) + jnp.sum(totals**2)


def three_loops(w, h, xs):
    """Three loops, each on what the one before it returns."""
    h, hs = lax.scan(lambda h, x: ((y := jnp.tanh(w @ h + x)), y), h, xs)
    last = lax.scan(lambda c, x: (jax.nn.sigmoid(w @ c) * jnp.tanh(x), None), h, hs)[0]
    return long_short_term(w, last, hs)


@pytest.mark.parametrize(
    "fun", [recurrent, long_short_term, used_twice, gated, midpoint, three_loops]
)
def test_gradients_of_recurrences(fun):
    xs = np.sin(np.arange(21.0)).reshape(7, 3)
    close(sg.grad(fun, (0, 1, 2))(A, V, xs), jax.grad(fun, (0, 1, 2))(A, V, xs), 1e-12)
    rows = np.stack([V, 2 * V])
    ours, theirs = (jax.vmap(by.grad(fun), (None, 0, None))(A, rows, xs) for by in (sg, jax))
    close(ours, theirs, 1e-12)
    _, theirs = jax.jvp(lambda w: jax.grad(fun)(w, V, xs), (A,), (A.T,))
    close(sg.hvp(fun)(A.T, A, V, xs), theirs, 1e-12)


def carried(fun):
    """How many values the loops of a gradient carry, and how many they keep of every round."""
    loops = scans(sg.grad(fun).graph(A, V, np.ones((7, 3))))
    return [(p["carry"], len(p["body"].outputs) - p["carry"]) for p in (n.params for n in loops)]


def test_sums_of_products_are_taken_after_the_loop():
    """Where rounds leave the factors anyway, or others instead, the gradient is not carried."""
    loops = scans(sg.grad(recurrent, (0, 2)).graph(A, V, np.ones((7, 3))))
    assert [n.params["carry"] for n in loops] == [1, 1]
    (_, kept), (states, left) = carried(long_short_term)
    assert (states, left) == (2, 1)
    assert kept <= 8


@pytest.mark.parametrize(
    ("transform", "loops"), [(sg.grad, 6), (sg.value_and_grad, 6), (sg.hvp, 6)]
)
def test_loops_on_results_of_loops_run_once(transform, loops):
    """Each forward and once backward, of whatever order the derivative is."""
    vector = (A,) if transform is sg.hvp else ()
    graph = transform(three_loops).graph(*vector, A, V, np.ones((7, 3)))
    assert len(scans(graph)) == loops


def test_factors_that_overflow_together_stay_apart():
    """A cotangent of zero times two large numbers is zero."""

    def large(w, h, xs):
        step = lambda c, x: (c * (x * 1e25) * (x * 1e25) * 1e-38, None)  # noqa: E731
        return jnp.sum(lax.scan(step, h * 0, xs)[0] * 0)

    found = sg.grad(large, 1)(A, V, jnp.ones((7, 3)))
    assert jnp.isfinite(found).all()


def test_a_linear_loop_keeps_nothing():
    def linear(x):
        return jnp.sum(lax.scan(lambda c, r: (A @ c + r, None), x, LONG)[0])

    loops = scans(sg.grad(linear).graph(V))
    assert [stacked(loop) for loop in loops] == [[]]


def test_a_loop_that_is_not_differentiated_runs_as_it_was():
    def fun(x, xs):
        return jnp.sum(x * lax.scan(lambda c, r: (jnp.tanh(c + r), None), V, xs)[0])

    (loop,) = scans(sg.grad(fun).graph(V, LONG))
    assert stacked(loop) == []


def test_value_and_gradient_share_the_forward_loop():
    assert len(scans(sg.value_and_grad(last_state).graph(A, V, LONG))) == 2


def test_forward_mode_is_one_loop():
    pushed = sg.jit(lambda h, t: sg.jvp(lambda h: last_state(A, h, LONG), (h,), (t,)))
    close(pushed(V, V), jax.jvp(lambda h: last_state(A, h, LONG), (V,), (V,)), TOLERANCE)
    made = sg.trace(lambda h: last_state(A, h, LONG), V).pushforward().simplify()
    assert len(scans(made)) == 1


# Branches


def branches(x):
    return lax.switch(
        jnp.asarray(1),
        [jnp.sin, lambda x: x**2 * jnp.sum(x), lambda x: jnp.zeros_like(x)],
        x,
    )


def by_data(x):
    return lax.cond(jnp.sum(x) > 0.0, lambda x: jnp.sin(x) * x, lambda x: x**3, x)


def by_closure(x):
    y = jnp.exp(x)
    return lax.cond(x[0] > 1.0, lambda: y, lambda: y * x)


def with_trees(x):
    return lax.cond(
        x[1] < 0,
        lambda p: {"a": p[0] * p[1], "i": 1, "n": None},
        lambda p: {"a": p[1], "i": 2, "n": None},
        (x, jnp.sin(x)),
    )


def per_row(x):
    return jax.vmap(lambda s: lax.cond(s > 0.0, jnp.sin, lambda s: s**2, s))(x)


def switch_per_row(x):
    pick = jnp.array([2, 0, 1])
    bodies = [jnp.sin, lambda s: s**3, lambda s: 2.0 * s]
    return jax.vmap(lambda i, s: lax.switch(i, bodies, s))(pick, x)


BRANCHES = {
    "cond on the data": Sample(by_data, V),
    "cond, the other branch": Sample(by_data, -V),
    "cond that closes over": Sample(by_closure, V),
    "cond of trees": Sample(with_trees, V),
    "cond with a constant branch": Sample(
        lambda x: lax.cond(x[0] > 0, lambda x: x**2, lambda x: jnp.ones(3), x), V
    ),
    "cond in a cond": Sample(
        lambda x: lax.cond(x[0] > 0, by_data, lambda x: -by_data(x), x) * x, V
    ),
    "switch": Sample(branches, V),
    "switch out of range": Sample(lambda x: lax.switch(9, [jnp.sin, jnp.cos], x), V),
    "cond under vmap": Sample(per_row, V),
    "switch under vmap": Sample(switch_per_row, V),
    "cond in a loop": Sample(
        lambda x: lax.scan(lambda c, r: (by_data(c * r), c), x, jnp.asarray(XS)), V
    ),
    "loop in a cond": Sample(lambda x: lax.cond(x[0] > 0, heat, jnp.sin, x), V),
    "select": Sample(lambda x: jnp.where(x > 0, jnp.sin(x), x**2), V),
    "piecewise": Sample(lambda x: jnp.piecewise(x, [x < 0, x > 1], [jnp.sin, jnp.cos, 2.0]), V),
}  # fmt: skip


@pytest.mark.parametrize("name", BRANCHES)
def test_branches(name):
    check_all(BRANCHES[name])


def test_only_the_branch_taken_is_run():
    """The other one would divide by zero; its derivative does not poison the result."""

    def fun(x):
        return lax.cond(x > 0, lambda x: jnp.sqrt(x), lambda x: jnp.zeros_like(x), x)

    close(sg.grad(fun)(-1.0), 0.0, 0.0)
    close(sg.grad(fun)(0.0), 0.0, 0.0)
    close(sg.grad(fun)(4.0), 0.25, TOLERANCE)


# jax.nn

NN = {
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "leaky_relu": jax.nn.leaky_relu,
    "softplus": jax.nn.softplus,
    "sigmoid": jax.nn.sigmoid,
    "log_sigmoid": jax.nn.log_sigmoid,
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "hard_tanh": jax.nn.hard_tanh,
    "hard_swish": jax.nn.hard_swish,
    "soft_sign": jax.nn.soft_sign,
    "gelu": jax.nn.gelu,
    "gelu, exact": functools.partial(jax.nn.gelu, approximate=False),
    "silu": jax.nn.silu,
    "mish": jax.nn.mish,
    "elu": jax.nn.elu,
    "selu": jax.nn.selu,
    "celu": jax.nn.celu,
    "squareplus": jax.nn.squareplus,
    "softmax": jax.nn.softmax,
    "log_softmax": jax.nn.log_softmax,
    "logsumexp": jax.nn.logsumexp,
    "logsumexp along an axis": lambda x: jax.nn.logsumexp(x.reshape(2, -1), axis=1, keepdims=True),
    "logsumexp with weights": lambda x: jax.nn.logsumexp(x, b=jnp.arange(1.0, 7.0)),
    "logmeanexp": jax.nn.logmeanexp,
    "softmax with a mask": lambda x: jax.nn.softmax(x, where=x < 1.0),
    "standardize": jax.nn.standardize,
    "glu": jax.nn.glu,
    "one_hot": lambda x: jax.nn.one_hot(jnp.array([1, 0, 5, 2, 2, 9]), 4) * x[:, None],
}
POINTS = np.array([-2.5, -0.6, 0.1, 0.7, 1.9, 4.0])


@pytest.mark.parametrize("name", NN)
def test_functions_of_jax_nn(name):
    check_all(Sample(NN[name], POINTS))


@pytest.mark.parametrize("name", ["relu", "relu6", "elu", "selu", "celu", "hard_tanh", "gelu"])
def test_values_at_kinks(name):
    """Where the derivative jumps symgrad takes the side that JAX takes."""
    kinks = np.array([0.0, -0.0, 6.0, -1.0, 1.0])
    ours, theirs = (m.grad(lambda x: jnp.sum(NN[name](x)))(kinks) for m in (sg, jax))
    close(ours, theirs, TOLERANCE)


@pytest.mark.parametrize("name", ["softplus", "logsumexp", "softmax", "silu", "log_sigmoid", "elu"])
def test_far_out_derivatives_stay_finite(name):
    far = np.array([-800.0, -50.0, 50.0, 800.0])
    ours, theirs = (m.jacrev(NN[name])(far) for m in (sg, jax))
    assert np.all(np.isfinite(ours))
    close(ours, theirs, TOLERANCE)


# Larger ones


@pytest.mark.slow
@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("name", ["several carries", "nested", "carries exchanged", "fori_loop"])
def test_higher_orders_of_loops(name, order):
    """The gradient of the gradient, and of that, along fixed directions."""
    sample = LOOPS[name]

    def along(fun):
        return lambda x: jnp.sum(jnp.sin(jnp.arange(3.0)) * fun(x))

    def nested(m):
        fun = scalar(sample.fun)
        for _ in range(order):
            fun = along(m.grad(fun))
        return fun

    close(nested(sg)(sample.at), jax.jit(nested(jax))(sample.at), TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["in the closed-over matrix", "several carries", "nested"])
def test_hessians_of_loops(name):
    loss = scalar(LOOPS[name].fun)
    at = jnp.asarray(LOOPS[name].at)
    close(sg.hessian(loss)(at), jax.jit(jax.hessian(loss))(at), TOLERANCE)
