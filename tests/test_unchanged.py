"""What no law applies to is compiled to the same instructions as in JAX."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import symgrad as sg

X = np.linspace(-1.0, 2.0, 12, dtype=np.float32).reshape(3, 4)
Y = np.linspace(0.5, 3.0, 20, dtype=np.float32).reshape(4, 5)


def network(x, w):
    return jnp.maximum(x @ w, 0.0).sum(1)


def smooth_steps(x, w):
    def step(state, row):
        state = jnp.sin(state) + row
        return state, state.sum()

    return lax.scan(step, jnp.ones(5), x @ w)[1]


def windows(x, w):
    image = (x @ w)[None, :, :, None]
    return lax.reduce_window(image, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 1, 1, 1), "VALID")


PROGRAMS: dict[str, Callable[[Any, Any], Any]] = {
    "network": network,
    "window": windows,
    "waves": lambda x, w: jnp.cos(x).sum(0) + jnp.arctan2(w[:, 0], w[:, 1]),
    "order": lambda x, w: jnp.sort(x, 1)[:, ::-1] @ w,
    "entries": lambda x, w: x[jnp.array([2, 0])] @ w + jnp.cumsum(w, 0)[:2, :],
    "choice": lambda x, w: jnp.where(x > 0.5, x, x * 3.0 + 1.0) @ w,
    "bits": lambda x, w: (x > 0).sum() + jnp.floor(w).astype(jnp.int32).max(),
    "transform": lambda x, w: jnp.abs(jnp.fft.rfft(x, axis=1)).sum() * w.max(),
    "blocks": lambda x, w: jnp.concatenate([x.T, w], 1).reshape(-1)[3:17],
}


def instructions(fun: Callable[..., Any]) -> str:
    """The optimised program, its names numbered in the order in which they appear."""
    text = jax.jit(fun).lower(X, Y).compile().as_text()
    lines = [line for line in text.splitlines() if re.match(r"(%|ENTRY|  (ROOT )?%|})", line)]
    text = re.sub(r", metadata=\{[^}]*\}", "", "\n".join(lines))
    numbers: dict[str, str] = {}

    def numbered(match: re.Match[str]) -> str:
        return numbers.setdefault(match.group(0), f"%{len(numbers)}")

    return re.sub(r"%[\w.\-]+", numbered, text)


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_same_instructions(name):
    fun = PROGRAMS[name]
    assert instructions(sg.jit(fun)) == instructions(fun)


def test_a_loop_has_the_same_operations():
    """What it carries may stand in another order."""
    ours, theirs = (
        Counter(re.findall(r" = (\S+ [\w-]+)\(", instructions(f)))
        for f in (sg.jit(smooth_steps), smooth_steps)
    )
    assert ours == theirs
