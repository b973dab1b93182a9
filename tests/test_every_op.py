"""Every operation against JAX: value, both modes, second order, under vmap and jit, and as text.

The samples of a family are compiled together, which is many times faster than one by one; each
is a subtest.
"""

from __future__ import annotations

import importlib
import pkgutil
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import samples
from jax import lax
from samples import Made, Operand, Sample

import symgrad as sg
from symgrad import expr, ops, walk
from symgrad.expr import Op, Type, parameter

QUICK = {"xla_backend_optimization_level": 0}
"""How tests compile: what is tested is the program, not XLA's last percent."""

TESTED_APART = {"conv", "index", "indexing", "order", "window"}
"""Families with samples and test files of their own."""


def operations(module: Any) -> dict[str, Op]:
    return {name: value for name, value in vars(module).items() if isinstance(value, Op)}


def test_every_operation_has_a_sample():
    names = [m.name for m in pkgutil.iter_modules(ops.__path__) if m.name not in TESTED_APART]
    modules = [expr, *(importlib.import_module(f"{ops.__name__}.{name}") for name in names)]
    known = {op for module in modules for op in operations(module).values()}
    assert known - {s.op for s in (*samples.SAMPLES, *samples.MADE)} == set()


@pytest.mark.parametrize("family", sorted(TESTED_APART))
def test_families_tested_apart_exist(family):
    importlib.import_module(f"{ops.__name__}.{family}")


def used_operations(graph: walk.Graph) -> set[Op]:
    """The operations of a graph and of the graphs they hold."""
    found = set()
    for node in walk.topological(graph.outputs):
        found.add(node.op)
        for local in node.op.functions(node) if node.op.functions else ():
            found |= used_operations(local.graph)
    return found


def generator(name: object) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(str(name).encode()))


# What is computed of a function, by symgrad and by JAX


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
    """Σ x y over all entries that are no integers."""
    pairs = zip(jax.tree.leaves(xs), jax.tree.leaves(ys), strict=True)
    return sum(jnp.sum(x * y) for x, y in pairs if inexact(x))


def differentiable(tree: Any) -> list[Any]:
    return [x for x in jax.tree.leaves(tree) if x.dtype != jax.dtypes.float0]


class Problem:
    """A sample with operands, directions to move them in, and cotangents of its results."""

    def __init__(self, sample: Sample, real: Any, *shapes: Any):
        draws = generator((sample, np.dtype(real)))
        self.sample, self.fun = sample, sample.fun
        self.args = sample.draw(draws, real, *shapes)
        self.wrt = tuple(i for i, a in enumerate(self.args) if inexact(a))

        def direction(like: Any) -> np.ndarray:
            if not jnp.issubdtype(like.dtype, np.inexact):
                return np.zeros(like.shape, jax.dtypes.float0)
            return draws.normal(size=like.shape).astype(like.dtype)

        self.dots = tuple(map(direction, self.args))
        outputs = jax.eval_shape(self.fun, *self.args)
        self.bars = jax.tree.map(direction, outputs)
        smooth = any(inexact(o) for o in jax.tree.leaves(outputs)) and bool(self.wrt)
        self.smooth = sample.smooth and smooth

    def loss(self, *args: Any) -> Any:
        return inner(self.fun(*args[:-1]), args[-1])

    def account(self, by: Any, *args: Any) -> dict[str, Callable[[], Any]]:
        """Value, both modes, and both ways to second order: how to compute each."""
        found = {"value": lambda: by.jit(self.fun)(*args)}
        if not self.smooth:
            return found
        found["jvp"] = lambda: differentiable(by.jvp(self.fun, args, self.dots))
        if not self.sample.reverse:
            return found
        moving = tuple(self.dots[i] for i in self.wrt)
        slope = by.grad(self.loss, self.wrt)
        along = lambda *args: inner(slope(*args), moving)  # noqa: E731

        def pulled() -> Any:
            value, pull = by.vjp(self.fun, *args)
            return value, differentiable(pull(self.bars))

        found["vjp"] = pulled
        found["hvp"] = lambda: by.hvp(self.loss, self.wrt)(moving, *args, self.bars)
        found["grad of grad"] = lambda: by.grad(along, self.wrt)(*args, self.bars)
        return found

    def texts(self) -> dict[str, str]:
        """The programs of value and gradient."""
        args = self.args
        found = {"value": sg.jit(self.fun).source(*args)}
        if self.smooth and self.sample.reverse:
            found["gradient"] = sg.grad(self.loss, self.wrt).source(*args, self.bars)
        return found


def run_text(text: str, *leaves: Any) -> list[Any]:
    """What a printed program computes, with nothing in sight but what it imports."""
    scope: dict[str, Any] = {}
    exec(text, scope)
    name = next(line for line in reversed(text.splitlines()) if line.startswith("def "))
    found = scope[name.removeprefix("def ").split("(")[0]](*leaves)
    return list(found) if isinstance(found, tuple) else [found]


def agree(actual: Any, expected: Any, tolerance: float) -> None:
    """Same trees, types and weak types; equal integers; floats close on the scale of each array."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for got, want in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert got.aval == want.aval
        if not inexact(want):
            np.testing.assert_array_equal(got, want)
            continue
        got, want = (np.asarray(x).astype(np.float64) for x in (got, want))
        finite = np.isfinite(want)
        np.testing.assert_array_equal(got[~finite], want[~finite])
        size = np.max(np.abs(want[finite]), initial=0.0)
        error = np.max(np.abs(got[finite] - want[finite]), initial=0.0)
        assert error <= tolerance * size, f"off by {error}, size {size}:\n{got}\n{want}"


def family(members: Sequence[Any], size: int = 24) -> list[Any]:
    """Parameters of a test: so many members at a time."""
    parts = [tuple(members[i : i + size]) for i in range(0, len(members), size)]
    return [pytest.param(part, id=f"{part[0]} to {part[-1]}") for part in parts]


FAMILIES = [
    part
    for members in (
        samples.ENTRYWISE,
        samples.KINKS,
        samples.SHAPE,
        samples.REDUCTIONS,
        samples.CONTRACTIONS,
        (*samples.BODIES, *samples.INTEGERS, *samples.PLAIN),
    )
    for part in family(members)
]


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


@pytest.mark.parametrize("members", FAMILIES)
def test_value_both_modes_and_second_order(members, real, subtests):
    problems = [Problem(sample, real.dtype) for sample in members]

    def everything(operands: list[Any]) -> list[Any]:
        return [
            [
                {what: attempt(compute) for what, compute in p.account(by, *args).items()}
                for by in (sg, Jax)
            ]
            for p, args in zip(problems, operands, strict=True)
        ]

    found = compiled_together(everything, [p.args for p in problems])
    for problem, (ours, theirs) in zip(problems, found, strict=True):
        for what, value in ours.items():
            with subtests.test(sample=str(problem.sample), what=what):
                if isinstance(value, Exception):
                    raise value
                agree(value, theirs[what], real.tolerance)
