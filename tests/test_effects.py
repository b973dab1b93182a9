"""What a program does besides computing happens once, in order, as under JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.experimental import io_callback

import symgrad as sg

FLOAT = jax.ShapeDtypeStruct((), np.float32)


class Recorder:
    """Collects what a program shows to the world outside."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def __call__(self, *values: Any) -> None:
        self.seen.append(tuple(np.asarray(v).tolist() for v in values))

    def double(self, x: Any) -> np.float32:
        self(x)
        return np.float32(2 * x)

    def during(self, run: Callable[[], Any]) -> tuple[Any, list[Any]]:
        """The result of a run, and what it showed."""
        self.seen.clear()
        found = jax.block_until_ready(run())
        jax.effects_barrier()
        return found, list(self.seen)


def in_order(seen: Recorder, x: Any) -> Any:
    jax.debug.callback(seen, x, ordered=True)
    y = jnp.sin(x)
    jax.debug.callback(seen, y, x, ordered=True)
    jax.debug.callback(seen, x, ordered=True)
    return y * x


def unused(seen: Recorder, x: Any) -> Any:
    jax.debug.callback(seen, x)
    return jnp.float32(1.0) * x


def inside_loop(seen: Recorder, x: Any) -> Any:
    def body(carry: Any, i: Any) -> Any:
        jax.debug.callback(seen, i, ordered=True)
        return carry * jnp.cos(x), carry

    last, kept = lax.scan(body, x, jnp.arange(3))
    return last + kept.sum()


def inside_branch(seen: Recorder, x: Any) -> Any:
    def shown(x: Any) -> Any:
        jax.debug.callback(seen, x)
        return x * x

    return lax.cond(x > 0, shown, lambda x: -x, x) + lax.cond(x < 0, shown, lambda x: -x, x)


def inside_calls(seen: Recorder, x: Any) -> Any:
    @jax.jit
    def inner(x: Any) -> Any:
        jax.debug.callback(seen, x, ordered=True)
        return x + 1

    @jax.custom_jvp
    def ruled(x: Any) -> Any:
        jax.debug.callback(seen, -x, ordered=True)
        return x**3

    ruled.defjvps(lambda t, y, x: 3 * x**2 * t)
    return inner(inner(x)) * ruled(x)


def answers(seen: Recorder, x: Any) -> Any:
    """The answer of the world outside is used, and does not depend on `x`."""
    scale = io_callback(seen.double, FLOAT, jnp.float32(3.0), ordered=True)
    return scale * x**2


PROGRAMS = (in_order, unused, inside_loop, inside_branch, inside_calls, answers)

WAYS = {
    "value": lambda by, f: by.jit(f),
    "value and gradient": lambda by, f: by.value_and_grad(f),
    "second derivative": lambda by, f: by.grad(by.grad(f)),
    "forward": lambda by, f: lambda x: by.jvp(f, (x,), (jnp.float32(1.0),)),
    "jit around": lambda by, f: jax.jit(by.value_and_grad(f)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_effects_happen_once_and_in_order(program, way):
    seen = Recorder()
    x = np.float32(0.75)
    ours, theirs = (
        seen.during(lambda by=by: WAYS[way](by, lambda x: program(seen, x))(x)) for by in (sg, jax)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), ours[0], theirs[0])
    assert ours[1] == theirs[1] != []


def test_each_call_has_its_effect():
    seen = Recorder()
    gradient = sg.grad(lambda x: in_order(seen, x))
    first = seen.during(lambda: gradient(np.float32(0.5)))
    again = seen.during(lambda: gradient(np.float32(0.5)))
    assert first == again


def test_prints_are_readable():
    def talkative(x):
        jax.debug.print("{} and {name}, 100 % {{sure}}", x, name=2 * x, ordered=True)
        return x

    text = sg.grad(talkative).source(1.0)
    printed = 'jax.debug.print("{} and {name}, 100 % {{sure}}", x, name=2.0 * x, ordered=True)'
    assert printed in text.replace("x * 2.0", "2.0 * x")


def test_prints_print(capsys):
    def talkative(x):
        jax.debug.print("x = {x:.2f}", x=x, ordered=True)
        return x**2

    assert sg.grad(talkative)(1.5) == 3.0
    jax.effects_barrier()
    assert capsys.readouterr().out == "x = 1.50\n"


def callback_of(callback: Callable[..., Any], **options: Any) -> Callable[[Any], Any]:
    return lambda x: callback(lambda v: np.float32(v), FLOAT, x, **options)


REFUSED = {
    "pure": lambda x: callback_of(jax.pure_callback)(x) * x,
    "io": lambda x: callback_of(io_callback)(x) * x,
    "io, unused": lambda x: (callback_of(io_callback, ordered=True)(x), x**2)[1],
    "io, without result": lambda x: (io_callback(lambda v: None, None, x), x**2)[1],
}


@pytest.mark.parametrize("fun", REFUSED.values(), ids=REFUSED)
def test_callbacks_refuse_differentiation(fun):
    """The value runs; the derivative is refused where JAX refuses it, at the user's line."""
    assert sg.jit(fun)(np.float32(2.0)) == jax.jit(fun)(np.float32(2.0))
    with pytest.raises(ValueError, match="JVP"):
        jax.grad(fun)(2.0)
    with pytest.raises(sg.SymgradError, match=r"no derivative of `(pure|io)_callback`") as caught:
        sg.grad(fun)(2.0)
    assert "test_effects.py" in str(caught.value)
