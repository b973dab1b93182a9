"""Programs written with other people's libraries, by symgrad and by JAX, compiled together."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import symgrad as sg

QUICK = {"xla_backend_optimization_level": 0}
"""How tests compile: what is tested is the program, not XLA's last percent."""


@dataclass(frozen=True)
class Program:
    """A scalar function and arguments, of which the first is differentiated.

    Attributes:
        aux: the function returns a scalar and something else.
        twice: in double precision its Hessian is compared too, along one direction.
        tolerance: where the library computes in another precision, or the problem is badly
            conditioned; else that of the test.
    """

    fun: Callable[..., Any]
    args: tuple[Any, ...]
    aux: bool = False
    twice: bool = False
    tolerance: float | None = None

    def account(self, by: Any, args: tuple[Any, ...]) -> dict[str, Any]:
        """Value, gradient and product with the Hessian, by symgrad or by JAX."""
        found = {"gradient": attempt(by.value_and_grad(self.fun, has_aux=self.aux), *args)}
        if self.twice and jax.config.jax_enable_x64:
            slope = by.grad(lambda x: jax.tree.leaves(self.fun(x, *args[1:]))[0])
            along = jax.tree.map(_direction, args[0])
            found["hessian"] = attempt(lambda: by.jvp(slope, (args[0],), (along,))[1])
        return found


def _direction(like: Any) -> Any:
    return jnp.sin(1 + jnp.arange(like.size, dtype=like.dtype)).reshape(like.shape)


def attempt(compute: Callable[..., Any], *args: Any) -> Any:
    """A result, or the exception that prevented it."""
    try:
        return compute(*args)
    except Exception as error:
        return error


class Draws:
    """Numbers that depend only on a name, in the precision of the test."""

    def __init__(self, name: str, dtype: Any):
        self._generator, self.dtype = np.random.default_rng(zlib.crc32(name.encode())), dtype

    def __call__(self, *shape: int) -> np.ndarray:
        return self._generator.normal(size=shape).astype(self.dtype)

    def positive(self, *shape: int) -> np.ndarray:
        return self._generator.uniform(0.5, 1.5, shape).astype(self.dtype)

    def whole(self, high: int, *shape: int) -> np.ndarray:
        return self._generator.integers(0, high, shape, dtype=np.int32)

    def parameters(self, init: Callable[..., Any], *args: Any) -> Any:
        """What `init(*args)` makes, filled with small positive numbers without running it."""
        return jax.tree.map(self._filled, jax.eval_shape(init, *args))

    def _filled(self, leaf: Any) -> Any:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.key(0)
        if jnp.issubdtype(leaf.dtype, np.inexact):
            return self._generator.uniform(-0.5, 1.0, leaf.shape).astype(leaf.dtype)
        return np.zeros(leaf.shape, leaf.dtype)


def check_programs(
    programs: Mapping[str, Callable[[Draws], Program]], precision: Any, subtests: Any
) -> None:
    """Each program has the value and the derivatives that JAX gives it."""
    made = {n: make(Draws(n, precision.dtype)) for n, make in programs.items()}
    errors: dict[tuple[Any, ...], Exception] = {}

    def everything(args: dict[str, Any]) -> Any:
        found = {
            (n, who): p.account(by, args[n])
            for n, p in made.items()
            for who, by in (("symgrad", sg), ("jax", jax))
        }
        for key, account in found.items():
            for what, result in account.items():
                if isinstance(result, Exception):
                    errors[*key, what] = result
                    account[what] = 0
        return found

    run = jax.jit(everything, compiler_options=QUICK)
    found = run({n: p.args for n, p in made.items()})
    for name, program in made.items():
        ours, theirs = found[name, "symgrad"], found[name, "jax"]
        for what, result in ours.items():
            with subtests.test(program=name, what=what):
                for who in ("jax", "symgrad"):
                    if (name, who, what) in errors:
                        raise errors[name, who, what]
                agree(result, theirs[what], program.tolerance or precision.tolerance)


def agree(actual: Any, expected: Any, tolerance: float) -> None:
    """Same trees, shapes and dtypes, and entries equal on the scale of their array.

    Arrays much smaller than the largest are small because large numbers cancel.
    """
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    pairs = list(zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True))
    for got, want in pairs:
        assert (jnp.shape(got), jnp.result_type(got)) == (jnp.shape(want), jnp.result_type(want))
    floats = [(np.asarray(g), np.asarray(w)) for g, w in pairs if inexact(w)]
    scale = max((np.max(np.abs(w), initial=0.0) for _, w in floats), default=0.0)
    assert np.isfinite(scale), "the example is out of JAX's own range"
    for got, want in floats:
        error = np.max(np.abs(got - want), initial=0.0)
        size = np.max(np.abs(want), initial=scale / 10)
        assert error <= tolerance * size, f"off by {error}, size {size}:\n{got}\n{want}"
    for got, want in pairs:
        if not inexact(want):
            assert jnp.array_equal(got, want)


def inexact(leaf: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(leaf), np.inexact)
