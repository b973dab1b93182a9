"""Many problems in one compilation, by symgrad and by JAX: many times faster than one by one."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

QUICK = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
"""How tests compile: what is tested is the program, not XLA's last percent."""


def generator(name: object) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(str(name).encode()))


class Jax:
    """The transformations of JAX, with `hvp` as in symgrad."""

    jit, vjp, jvp, grad = jax.jit, jax.vjp, jax.jvp, jax.grad

    @staticmethod
    def hvp(fun: Callable[..., Any], wrt: tuple[int, ...]) -> Callable[..., Any]:
        def product(v: Any, *args: Any) -> Any:
            def slope(*moving: Any) -> Any:
                return jax.grad(fun, wrt)(*_replaced(args, wrt, moving))

            return jax.jvp(slope, tuple(args[i] for i in wrt), v)[1]

        return product


def _replaced(args: Sequence[Any], numbers: Sequence[int], values: Sequence[Any]) -> list[Any]:
    found = list(args)
    for i, value in zip(numbers, values, strict=True):
        found[i] = value
    return found


def inexact(leaf: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(leaf), np.inexact)


def inner(xs: Any, ys: Any) -> Any:
    """Σ x y over all entries that are no integers, its real part if they are complex."""
    pairs = zip(jax.tree.leaves(xs), jax.tree.leaves(ys), strict=True)
    products = [x * y for x, y in pairs if inexact(x)]
    return sum(jnp.sum(jnp.real(p) if jnp.iscomplexobj(p) else p) for p in products)


def differentiable(tree: Any) -> list[Any]:
    return [x for x in jax.tree.leaves(tree) if x.dtype != jax.dtypes.float0]


class Problem:
    """A function with operands, directions to move them in, and cotangents of its results."""

    def __init__(self, fun: Callable[..., Any], args: tuple[Any, ...], draws: np.random.Generator):
        self.fun, self.args = fun, args
        self.wrt = tuple(i for i, a in enumerate(args) if inexact(a))

        def direction(like: Any) -> Any:
            if not jnp.issubdtype(like.dtype, np.inexact):
                return np.zeros(like.shape, jax.dtypes.float0)
            values = draws.normal(size=like.shape)
            if jnp.issubdtype(like.dtype, np.complexfloating):
                values = values + 1j * draws.normal(size=like.shape)
            return jnp.asarray(values, like.dtype)

        self.dots = tuple(map(direction, args))
        outputs = jax.eval_shape(fun, *args)
        self.bars = jax.tree.map(direction, outputs)
        self.smooth = any(inexact(o) for o in jax.tree.leaves(outputs)) and bool(self.wrt)

    def loss(self, *args: Any) -> Any:
        return inner(self.fun(*args[:-1]), args[-1])

    def account(self, by: Any, *args: Any) -> dict[str, Callable[[], Any]]:
        """Value, both modes, and both ways to second order: how to compute each."""
        value = {"value": lambda: by.jit(self.fun)(*args)}
        if not self.smooth:
            return value
        moving = tuple(self.dots[i] for i in self.wrt)
        slope = by.grad(self.loss, self.wrt)

        def pulled() -> Any:
            value, pull = by.vjp(self.fun, *args)
            return value, differentiable(pull(self.bars))

        def along(*args: Any) -> Any:
            return inner(slope(*args), moving)

        return {
            **value,
            "jvp": lambda: differentiable(by.jvp(self.fun, args, self.dots)),
            "vjp": pulled,
            "hvp": lambda: by.hvp(self.loss, self.wrt)(moving, *args, self.bars),
            "grad of grad": lambda: by.grad(along, self.wrt)(*args, self.bars),
        }


def agree(actual: Any, expected: Any, tolerance: float, scale: float = 0.0) -> None:
    """Same trees, shapes and dtypes; equal integers; floats close on the scale of each array.

    `scale` is that of the operands, where small results are differences of large numbers.
    """
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for got, want in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert (jnp.shape(got), jnp.result_type(got)) == (jnp.shape(want), jnp.result_type(want))
        if not inexact(want):
            np.testing.assert_array_equal(got, want)
            continue
        wide = np.complex128 if jnp.iscomplexobj(want) else np.float64
        got, want = (np.asarray(x).astype(wide) for x in (got, want))
        finite = np.isfinite(want)
        np.testing.assert_array_equal(got[~finite], want[~finite])
        size = np.max(np.abs(want[finite]), initial=scale)
        error = np.max(np.abs(got[finite] - want[finite]), initial=0.0)
        assert error <= tolerance * size, f"off by {error}, size {size}:\n{got}\n{want}"


def attempt(problem: Callable[[], Any]) -> Any:
    """What it gives or raises: one sample that fails must not hide the others."""
    try:
        return problem()
    except Exception as error:
        return error


def compiled_together(accounts: Callable[[list[Any]], Any], operands: list[Any]) -> Any:
    """`accounts(operands)` in one compilation; errors in tracing stand for what they prevented."""
    errors: dict[int, Exception] = {}

    def without_errors(operands: list[Any]) -> Any:
        leaves, tree = jax.tree.flatten(accounts(operands))
        errors.update((i, x) for i, x in enumerate(leaves) if isinstance(x, Exception))
        places.append(tree)
        return [0 if i in errors else x for i, x in enumerate(leaves)]

    places: list[Any] = []
    leaves = jax.jit(without_errors, compiler_options=QUICK)(operands)
    return jax.tree.unflatten(places[0], [errors.get(i, x) for i, x in enumerate(leaves)])
