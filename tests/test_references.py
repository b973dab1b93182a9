"""Mutable references are read as the values they hold, against JAX, which differentiates them."""

from __future__ import annotations

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from together import Jax, Problem, agree, attempt, compiled_together, generator

import symgrad as sg


def indexed(index, write=None):
    """Reads, swaps, and adds to the entries of a reference that an index selects."""

    def program(x, i):
        ref = jax.new_ref(jnp.sin(x))
        key = index(i)
        first = ref[key]
        second = jax.ref.swap(ref, key, first * jnp.cos(first))
        jax.ref.addupdate(ref, key, second**2)
        ref[key] = ref[key] * 2.0
        return first, ref[...]

    return program


INDICES = {
    "everything": lambda i: ...,
    "number": lambda i: 1,
    "last": lambda i: -1,
    "beyond": lambda i: (5, 1),
    "entry": lambda i: (1, 2, 0),
    "slice": lambda i: (slice(None), slice(1, 3)),
    "slice in steps": lambda i: (slice(None), slice(0, 3, 2)),
    "computed": lambda i: i,
    "computed entry": lambda i: (i, 2, i + 1),
    "computed, beyond": lambda i: i + 7,
    "computed, negative": lambda i: i - 2,
    "computed and slice": lambda i: (slice(0, 1), i, slice(1, 4)),
    "computed and steps": lambda i: (i, slice(0, 3, 2)),
    "computed start": lambda i: (slice(None), jax.ds(i, 2)),
    "computed start, beyond": lambda i: (0, jax.ds(i + 5, 2)),
    "computed start in steps": lambda i: (slice(0, 1), slice(None), jax.ds(i, 2, 2)),
    "array": lambda i: jnp.array([0, 1]),
    "array of rows": lambda i: (slice(None), jnp.array([2, 0])),
    "apart": lambda i: (jnp.array([0, 1]), slice(None), jnp.array([1, 2])),
    "array and number": lambda i: (i, jnp.array([2, 0]), 1),
    "array and computed start": lambda i: (jnp.array([1, 0]), jax.ds(i, 2)),
    "grid": lambda i: (jnp.array([[0], [1]]), jnp.array([[0, 2]])),
}


def twice(x, i):
    """An entry that is added to twice."""
    ref = jax.new_ref(x)
    jax.ref.addupdate(
        ref, jnp.array([1, 0, 1]), x[:, :3].reshape(3, 2, 4)[:, 0].sum() * jnp.ones((3, 3, 4))
    )
    return jax.freeze(ref)


def in_calls(x, i):
    @jax.jit
    def scaled(ref, other):
        other[...] = other[...] + ref[0]
        ref[...] = ref[...] * 2.0
        return ref[i]

    ref, other = jax.new_ref(x), jax.new_ref(x[0])
    return scaled(ref, other) + scaled(ref, other), other[...]


def in_fori_loop(x, i):
    ref = jax.new_ref(x)

    def body(k, total):
        ref[i, k] = jnp.sin(ref[i, k]) * x[0, 0]
        return total + ref[0, k]

    return lax.fori_loop(0, 3, body, x[1, 1]), ref[...]


def in_scan(x, i):
    """One reference is written, one only read, one made anew each time, one taken in slices."""
    ref, read, rows = jax.new_ref(x), jax.new_ref(jnp.cos(x)), jax.new_ref(x * x)

    def body(total, given):
        row, factor = given
        own = jax.new_ref(row[...])
        own[i] = own[i + 1] * factor
        jax.ref.addupdate(ref, i, own[...] + read[0])
        row[...] = jnp.sin(row[...])
        return total * factor + ref[1, 1], own[...]

    found = lax.scan(body, x[0, 0], (rows, jnp.arange(2.0, dtype=x.dtype)), reverse=True)
    return found, jax.freeze(ref), rows[...]


def in_cond(x, i):
    ref, other = jax.new_ref(x), jax.new_ref(x[0])

    def yes(y):
        ref[i] = jnp.sin(other[...])
        return y * 2.0

    def no(y):
        other[...] = y
        return y

    found = lax.cond(x[0, 0, 0] > i, yes, no, x[1]), lax.cond(i > 0, yes, no, x[0])
    return found, lax.switch(i, [lambda: other[...], lambda: ref[0]]), ref[...]


def in_vmap(x, i):
    def row(y):
        ref = jax.new_ref(y)
        ref[i] = jnp.sin(ref[0])
        return ref[...]

    return jax.vmap(row)(x)


def empty_and_freed(x, i):
    ref, other = jax.empty_ref(jax.typeof(x)), jax.new_ref(2.0)
    ref[...] = x * other[...]
    jax.free_ref(other)
    return ref[i]


PROGRAMS = {
    **{f"index: {name}": indexed(index) for name, index in INDICES.items()},
    **{f.__name__: f for f in (twice, in_calls, in_fori_loop, in_scan, in_cond, in_vmap)},
    empty_and_freed.__name__: empty_and_freed,
}


def problem(name, dtype):
    x = generator(name).normal(size=(2, 3, 4)).astype(dtype)
    return Problem(PROGRAMS[name], (jnp.asarray(x), jnp.int32(1)), generator(name))


@pytest.fixture(scope="module", params=(np.float64, np.float32), ids=lambda t: t.__name__)
def outcomes(request):
    with jax.enable_x64(request.param == np.float64):
        made = {n: attempt(partial(problem, n, request.param)) for n in PROGRAMS}
        problems = {name: p for name, p in made.items() if isinstance(p, Problem)}
        operands = [p.args for p in problems.values()]

        def accounts(operands):
            return [
                [{k: attempt(f) for k, f in p.account(by, *given).items()} for by in (sg, Jax)]
                for p, given in zip(problems.values(), operands, strict=True)
            ]

        found = compiled_together(accounts, operands)
        return request.param, made | dict(zip(problems, found, strict=True))


@pytest.mark.parametrize("name", PROGRAMS)
def test_derivatives_are_those_of_jax(outcomes, name):
    """The gradient of a slope is the product with the Hessian, which JAX knows only so.

    What a version of JAX does not run is refused with its words.
    """
    dtype, found = outcomes
    if isinstance(found[name], Exception):
        with pytest.raises(sg.TracingValueError, match=re.escape(str(found[name]))):
            sg.jit(PROGRAMS[name])(jnp.ones((2, 3, 4)), jnp.int32(1))
        return
    ours, theirs = found[name]
    for way in theirs:
        expected = theirs["hvp" if way == "grad of grad" else way]
        for result in (ours[way], expected):
            if isinstance(result, Exception):
                raise AssertionError(way) from result
        agree(ours[way], expected, 1e-12 if dtype == np.float64 else 1e-5)


def filled(x):
    ref = jax.new_ref(jnp.zeros(3))
    ref[1] = jnp.sin(x)
    return ref[...] @ ref[...]


def test_batched_and_compiled_by_jax():
    x = np.linspace(0, 1, 4, dtype=np.float32)
    ours, theirs = jax.jit(jax.vmap(sg.grad(filled)))(x), [jax.grad(filled)(each) for each in x]
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_a_reference_is_nothing_but_what_it_holds():
    def plain(x):
        ref = jnp.zeros(3).at[1].set(jnp.sin(x))
        return ref @ ref

    assert sg.grad(filled).graph(1.0) == sg.grad(plain).graph(1.0)
    text = sg.jit(filled).source(1.0)
    assert "ref = jnp.zeros((3,), jnp.float32).at[1].set(jnp.sin(x))" in text


def test_references_to_integers():
    """JAX fails where it would need what their derivatives add up to."""

    def program(x):
        count = jax.new_ref(jnp.zeros(3, int))

        def body(k, total):
            jax.ref.addupdate(count, k % 2, k)
            return total * x[count[0]]

        return lax.fori_loop(0, 3, body, jnp.float32(1.0))

    x = jnp.array([2.0, 3.0, 5.0])
    value, slope = sg.value_and_grad(program)(x)
    np.testing.assert_allclose(value, x[0] ** 2 * x[2], rtol=1e-6)
    np.testing.assert_allclose(slope, [2 * x[0] * x[2], 0, x[0] ** 2], rtol=1e-6)


def in_while_loop(x):
    ref, factor = jax.new_ref(x), jax.new_ref(2 * x)

    def body(i):
        ref[i] = ref[i] * factor[0]
        return i + 1

    lax.while_loop(lambda i: i < 2, body, 0)
    return ref[...]


def test_while_loop():
    x = jnp.array([1.5, 2.0, 3.0])
    ours, theirs = (by.jvp(in_while_loop, (x,), (jnp.cos(x),)) for by in (sg, jax))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), ours, theirs)


def test_the_condition_of_a_loop_sees_what_its_body_writes():
    """JAX's own program goes on forever."""

    def program(x):
        ref = jax.new_ref(x)

        def body(i):
            ref[0] = ref[0] * 2.0
            return i + 1

        return lax.while_loop(lambda i: ref[0] < 10.0, body, 0), ref[...]

    value, tangent = sg.jvp(program, (jnp.array([3.0, 1.0]),), (jnp.ones(2),))
    assert value[0] == 2
    assert value[1].tolist() == [12.0, 1.0]
    assert tangent[1].tolist() == [4.0, 1.0]


def test_what_is_shown_inside_of_a_loop_is_shown(capsys):
    def program(x):
        ref = jax.new_ref(x)

        def body(i, _):
            jax.debug.print("{}", ref[i], ordered=True)

        lax.fori_loop(0, 2, body, None)
        return ref[0] ** 2

    assert sg.grad(program)(jnp.array([3.0, 4.0])).tolist() == [6.0, 0.0]
    jax.effects_barrier()
    assert capsys.readouterr().out == "3.0\n4.0\n"


def test_a_reference_from_outside_is_written_to():
    ref = jax.new_ref(jnp.zeros(2))

    def program(x):
        ref[0] = lax.stop_gradient(x)
        return x * x

    assert sg.jit(program)(3.0) == 9.0
    assert ref[0] == 3.0


def checkpointed(ref):
    return jax.checkpoint(lambda: ref[0] * 2)()


def with_rule(ref):
    ruled = jax.custom_jvp(lambda r: r[0] * 2)
    ruled.defjvp(lambda primals, tangents: (primals[0][0], tangents[0][0]))
    return ruled(ref)


def condition_that_writes(ref):
    def condition(i):
        ref[0] = ref[0] + 1.0
        return i < 2

    return lax.while_loop(condition, lambda i: i + 1, 0) * ref[0]


@pytest.mark.parametrize(
    ("use", "name"),
    [
        (checkpointed, "checkpoint"),
        (with_rule, "custom_jvp_call"),
        (condition_that_writes, "while"),
    ],
    ids=lambda p: getattr(p, "__name__", None),
)
def test_where_references_are_not_followed(use, name):
    with pytest.raises(sg.TracingError, match=f"`{name}` gets a mutable reference") as caught:
        sg.jit(lambda x: use(jax.new_ref(x)))(jnp.ones(3))
    assert caught.value.frame is not None
    assert caught.value.frame.function == use.__name__


def test_views_that_are_no_indices_are_refused():
    with pytest.raises(sg.TracingError, match="`get` gets a mutable reference"):
        sg.jit(lambda x: jax.new_ref(x).reshape(2, 2)[...])(jnp.ones(4))
