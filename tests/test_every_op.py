"""Every operation against JAX: value, both modes, second order, under vmap and jit, and as text.

The samples of a family are compiled together, which is many times faster than one by one; each
is a subtest.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import samples
from jax import lax
from samples import Made, Sample
from together import Jax, Problem, agree, attempt, compiled_together, generator

import symgrad as sg
from symgrad import expr, ops, walk
from symgrad.expr import Op, Type, add, div, mul, parameter
from symgrad.ops.contract import einsum_op
from symgrad.ops.pointwise import clamp, exp, maximum, tanh
from symgrad.ops.reduce import reduce_max, softmax
from symgrad.ops.shape import reduce_sum

TESTED_APART = {
    *("calls", "checkpoint", "conv", "cumulative", "index", "indexing", "monoid", "order"),
    *("random", "window", "fft", "linalg", "inverse", "matrix", "ragged", "solve", "stacked"),
    *("collectives", "placement", "sharded", "varying"),
}
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


class Sampled(Problem):
    """The problem of a sample; what JAX does not have of it is left out."""

    def __init__(self, sample: Sample, real: Any, *shapes: Any):
        draws = generator((sample, np.dtype(real)))
        super().__init__(sample.fun, sample.draw(draws, real, *shapes), draws)
        self.sample = sample
        self.order = sample.order if self.smooth else 0

    def account(self, by: Any, *args: Any) -> dict[str, Callable[[], Any]]:
        second = self.order == 2 and self.sample.reverse
        wanted = {
            "value": True,
            "jvp": self.order and self.sample.forward,
            "vjp": self.order and self.sample.reverse,
            "hvp": second,
            "grad of grad": second,
        }
        return {what: how for what, how in super().account(by, *args).items() if wanted[what]}

    def texts(self) -> dict[str, str]:
        """The programs of value and gradient."""
        args = self.args
        found = {"value": sg.jit(self.fun).source(*args)}
        if self.order and self.sample.reverse:
            found["gradient"] = sg.grad(self.loss, self.wrt).source(*args, self.bars)
        return found


def run_text(text: str, *leaves: Any) -> list[Any]:
    """What a printed program computes, with nothing in sight but what it imports."""
    scope: dict[str, Any] = {}
    exec(text, scope)
    name = next(line for line in reversed(text.splitlines()) if line.startswith("def "))
    found = scope[name.removeprefix("def ").split("(")[0]](*leaves)
    return list(found) if isinstance(found, tuple) else [found]


def family(members: Sequence[Any], size: int = 64) -> list[Any]:
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
        (*samples.BODIES, *samples.INTEGERS, *samples.BITS, *samples.PLAIN),
    )
    for part in family(members)
]


@pytest.mark.parametrize("members", FAMILIES)
def test_value_both_modes_and_second_order(members, real, subtests):
    problems = [Sampled(sample, real.dtype) for sample in members]

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
                assert jax.tree.map(jax.typeof, value) == jax.tree.map(jax.typeof, theirs[what])


@pytest.mark.parametrize("members", FAMILIES)
def test_samples_trace_to_their_operation(members, float64, subtests):
    for sample in members:
        problem = Sampled(sample, np.float64)
        with subtests.test(sample=str(sample)):
            graph = sg.trace(problem.fun, *problem.args)
            found = used_operations(graph) | used_operations(graph.simplify())
            assert sample.op in found


@pytest.mark.parametrize("members", FAMILIES)
def test_batched(members, float64, subtests):
    """`jax.vmap` takes what symgrad makes like any function of JAX."""
    problems = [Sampled(sample, np.float64) for sample in members]
    others = [Sampled(replace(p.sample, about=f"{p.sample} again"), np.float64) for p in problems]

    def rows(problem: Sampled, by: Any, *args: Any) -> Any:
        def each(*args: Any) -> Any:
            found = problem.account(by, *args)
            return {what: found[what]() for what in ("value", "vjp") if what in found}

        return jax.vmap(each)(*args)

    def everything(operands: list[Any]) -> list[Any]:
        return [
            attempt(lambda p=p, args=args: [rows(p, by, *args) for by in (sg, Jax)])
            for p, args in zip(problems, operands, strict=True)
        ]

    stacked = [
        jax.tree.map(lambda *rows: jnp.stack(rows), p.args, o.args)
        for p, o in zip(problems, others, strict=True)
    ]
    found = compiled_together(everything, stacked)
    for problem, result in zip(problems, found, strict=True):
        with subtests.test(sample=str(problem.sample)):
            if isinstance(result, Exception):
                raise result
            agree(*result, float64.tolerance)


@pytest.mark.parametrize("members", FAMILIES)
def test_programs_are_their_text(members, float64, subtests):
    """The printed value and gradient compute the same, given nothing but `jax`; always one text."""
    problems = [Sampled(s, np.float64) for s in members if s.standalone]
    texts = [attempt(p.texts) for p in problems]
    again = [attempt(Sampled(p.sample, np.float64).texts) for p in problems]

    def by_text(problem: Sampled, texts: dict[str, str], args: Any) -> Any:
        found = {"value": run_text(texts["value"], *args)}
        if "gradient" in texts:
            found["gradient"] = run_text(texts["gradient"], *args, *jax.tree.leaves(problem.bars))
        return found

    def by_jax(problem: Sampled, texts: dict[str, str], args: Any) -> Any:
        found = {"value": jax.tree.leaves(problem.fun(*args))}
        if "gradient" in texts:
            slope = jax.grad(problem.loss, problem.wrt)(*args, problem.bars)
            found["gradient"] = jax.tree.leaves(slope)
        return found

    def everything(operands: list[Any]) -> list[Any]:
        return [
            attempt(lambda p=p, t=t, a=a: (by_text(p, t, a), by_jax(p, t, a)))
            for p, t, a in zip(problems, texts, operands, strict=True)
        ]

    found = compiled_together(everything, [p.args for p in problems])
    for problem, text, second, result in zip(problems, texts, again, found, strict=True):
        with subtests.test(sample=str(problem.sample)):
            for error in (text, result):
                if isinstance(error, Exception):
                    raise error
            assert text == second
            assert not any(
                word in t for word in ("jax.vjp", "jax.jvp", "jax.grad") for t in text.values()
            )
            agree(*result, float64.tolerance)


SHAPES = {"scalar": (), "empty": (0, 3), "one": (1,), "rank 4": (2, 1, 3, 2)}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_entrywise_operations_in_every_shape(shape, float64, subtests):
    members = [s for s in samples.ENTRYWISE if s.order]
    problems = [Sampled(s, np.float64, *[shape] * len(s.operands)) for s in members]
    check_first_order(problems, float64.tolerance, subtests)


MIXED = {
    "array with scalar": ((2, 3), ()),
    "scalar with array": ((), (2, 3)),
    "row with column": ((1, 3), (2, 1)),
    "vector with matrix": ((3,), (2, 3)),
}


@pytest.mark.parametrize("shapes", MIXED.values(), ids=MIXED)
def test_entrywise_operations_broadcast(shapes, float64, subtests):
    entrywise = (*samples.ENTRYWISE, *samples.INTEGERS)
    members = [s for s in entrywise if len(s.operands) > 1 and s.op is not clamp]
    problems = [Sampled(s, np.float64, *((), *shapes)[-len(s.operands) :]) for s in members]
    check_first_order(problems, float64.tolerance, subtests)


def test_clamp_takes_scalar_bounds(float64):
    """JAX itself differentiates in bounds only if they have the shape of the operand."""
    args = np.float64(-0.2), np.array([-1.0, 0.1, 2.0, 3.0]), np.float64(1.5)
    bars = np.array([1.0, 10.0, 100.0, 1000.0])

    def spread_out(low: Any, x: Any, high: Any) -> Any:
        return lax.clamp(jnp.full_like(x, low), x, jnp.full_like(x, high))

    value, pull = sg.vjp(lax.clamp, *args)
    wanted, jax_pull = jax.vjp(spread_out, *args)
    agree((value, pull(bars)), (wanted, jax_pull(bars)), float64.tolerance)


def check_first_order(
    problems: Sequence[Sampled], tolerance: float, subtests: Any, scale: float = 0.0
) -> None:
    def everything(operands: list[Any]) -> list[Any]:
        return [
            attempt(lambda p=p, args=args: [first_order(p, by, args) for by in (sg, Jax)])
            for p, args in zip(problems, operands, strict=True)
        ]

    def first_order(problem: Sampled, by: Any, args: Any) -> list[Any]:
        found = problem.account(by, *args)
        return [found[what]() for what in ("value", "jvp", "vjp") if what in found]

    found = compiled_together(everything, [p.args for p in problems])
    for problem, result in zip(problems, found, strict=True):
        with subtests.test(sample=str(problem.sample)):
            if isinstance(result, Exception):
                raise result
            agree(*result, tolerance, scale)


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_short_floats(name, float32, subtests):
    """Half precision is off by a few units in the last place of the operands, of size 1."""
    dtype = jnp.dtype(name)
    members = [
        s
        for s in samples.SAMPLES
        if s.op in (add, mul, div, maximum, tanh, exp, reduce_sum, einsum_op, softmax, reduce_max)
    ]
    problems = [Sampled(s, dtype) for s in members]
    check_first_order(problems, 4 * float(jnp.finfo(dtype).eps), subtests, scale=1.0)


# Operations that derivatives make


@pytest.mark.parametrize("made", samples.MADE, ids=str)
def test_made_operations(made: Made, float64):
    """Value, both modes and second order of a graph built by hand, by the same passes."""
    draws = generator(made)
    args = tuple(o.draw(draws, np.float64) for o in made.operands)
    inputs = tuple(parameter(i, Type(a.shape, a.dtype)) for i, a in enumerate(args))
    graph = sg.Graph(inputs, made.build(*inputs), tuple("abc"[: len(inputs)]))
    wrt = tuple(range(len(args)))
    dots = tuple(draws.normal(size=a.shape) for a in args)
    bars = tuple(draws.normal(size=o.shape) for o in graph.outputs)
    pull = lambda *args: jax.vjp(made.fun, *args)[1](bars)  # noqa: E731
    reverse = graph.pullback(wrt)
    cases = [
        (graph, (), made.fun(*args)),
        (graph.pushforward(wrt), dots, jax.jvp(made.fun, args, dots)[1]),
        (reverse, bars, pull(*args)),
        (reverse.pushforward(wrt), (*bars, *dots), jax.jvp(pull, args, dots)[1]),
        (reverse.pullback(wrt), (*bars, *dots), jax.vjp(pull, *args)[1](dots)),
    ]
    assert made.op in used_operations(graph)
    for derived, more, wanted in cases:
        for version in (derived, derived.simplify()):
            found = version.compile()(*args, *more)
            agree(jax.tree.leaves(found), jax.tree.leaves(wanted), float64.tolerance)


def test_functions_that_close_over_traced_arrays(float64):
    """Under `jax.jit` a function may close over values that are being traced."""

    def slopes(by: Any, scale: Any, x: Any) -> Any:
        closed = lambda x: jnp.sum(jnp.sin(scale * x) + scale)  # noqa: E731
        value, pull = by.vjp(closed, x)
        return value, by.grad(closed)(x), pull(scale), by.jvp(closed, (x,), (x,))

    args = np.float64(1.5), np.arange(3.0)
    found, wanted = jax.jit(lambda *args: [slopes(by, *args) for by in (sg, Jax)])(*args)
    agree(found, wanted, float64.tolerance)


# Dtypes


ARITHMETIC = {
    "add": jnp.add,
    "subtract": jnp.subtract,
    "multiply": jnp.multiply,
    "divide": jnp.divide,
    "floor_divide": jnp.floor_divide,
    "remainder": jnp.remainder,
    "fmod": jnp.fmod,
    "power": lambda x, y: jnp.power(x, jnp.abs(y)),
    "maximum": jnp.maximum,
    "minimum": jnp.minimum,
    "greater": jnp.greater,
    "equal": jnp.equal,
    "negative": lambda x, y: -x,
    "absolute": lambda x, y: jnp.abs(x),
    "sign": lambda x, y: jnp.sign(x),
    "square": lambda x, y: jnp.square(x),
    "cube": lambda x, y: x**3,
    "clip": lambda x, y: jnp.clip(x, 1, 3),
    "invert": lambda x, y: ~x,
    "and": jnp.bitwise_and,
    "or": jnp.bitwise_or,
    "xor": jnp.bitwise_xor,
    "shift_left": jnp.left_shift,
    "shift_right": jnp.right_shift,
    "where": lambda x, y: jnp.where(x > y, x, y),
    "where with a number": lambda x, y: jnp.where(x > y, x, 0),
    "plus a number": lambda x, y: x + 1,
    "number minus": lambda x, y: 2 - x,
    "times a fraction": lambda x, y: x * 0.5,
    "sum": lambda x, y: x.sum(1),
    "narrow sum": lambda x, y: x.sum(1, dtype=x.dtype),
    "prod": lambda x, y: x.prod(0),
    "narrow prod": lambda x, y: x.prod(0, dtype=x.dtype),
    "max": lambda x, y: x.max(),
    "min": lambda x, y: x.min(0),
    "mean": lambda x, y: x.mean(),
    "cumsum": lambda x, y: jnp.cumsum(x, 1),
    "narrow cumsum": lambda x, y: jnp.cumsum(x, 1, dtype=x.dtype),
    "cumprod": lambda x, y: jnp.cumprod(x, 0),
    "narrow cumprod": lambda x, y: jnp.cumprod(x, 0, dtype=x.dtype),
    "reverse cumsum": lambda x, y: lax.cumsum(x, 1, reverse=True),
    "argmax": lambda x, y: jnp.argmax(x, 1),
    "all": lambda x, y: jnp.all(x > 0),
    "any": lambda x, y: jnp.any(x, 1),
    "bits of all": lambda x, y: jnp.bitwise_and.reduce(x, axis=1),
    "bits of any": lambda x, y: jnp.bitwise_or.reduce(x, axis=1),
    "matmul": lambda x, y: x @ y.T,
    "outer": lambda x, y: jnp.outer(x, y),
    "pad": lambda x, y: jnp.pad(x, 1, constant_values=1),
    "pad with zeros": lambda x, y: jnp.pad(x, 1),
    "concatenate": lambda x, y: jnp.concatenate([x, y]),
    "transpose": lambda x, y: x.T,
    "flip": lambda x, y: jnp.flip(x),
    "slice": lambda x, y: x[1:],
    "convert": lambda x, y: x.astype(np.float32) * y.astype(np.float32),
    "to bool": lambda x, y: x.astype(bool),
    "to int8": lambda x, y: x.astype(np.int8),
}


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.uint8, np.uint32, np.bool_])
def test_whole_numbers_and_booleans(dtype, float32, subtests):
    """Every function of whole numbers gives JAX's values, dtypes and weak types."""
    draws = generator(np.dtype(dtype))
    low, high = (0, 1) if dtype is np.bool_ else (1, 6)
    x, y = (draws.integers(low, high, (3, 4), endpoint=True).astype(dtype) for _ in "xy")
    if np.dtype(dtype).kind == "i":
        x = x - dtype(4)

    def everything(x: Any, y: Any) -> dict[str, Any]:
        found = {}
        for name, fun in ARITHMETIC.items():
            wanted = attempt(lambda fun=fun: fun(x, y))
            if not isinstance(wanted, Exception):
                found[name] = attempt(lambda fun=fun: sg.jit(fun)(x, y)), wanted
        return found

    found = compiled_together(lambda operands: everything(*operands), [x, y])
    assert len(found) >= len(ARITHMETIC) - 16
    for name, (value, wanted) in found.items():
        with subtests.test(function=name):
            if isinstance(value, Exception):
                raise value
            agree(value, wanted, 1e-6)
            assert jax.typeof(value) == jax.typeof(wanted)


TRAPS = {
    "numbers alone": lambda m, x, i: jnp.where(m, 1.0, 0.0),
    "whole numbers alone": lambda m, x, i: jnp.where(m, 1, 0),
    "numbers with an array": lambda m, x, i: jnp.where(m, x, 0.0),
    "constant": lambda m, x, i: 2.0,
    "constant array": lambda m, x, i: jnp.ones((2, 3)),
    "constant of a dtype": lambda m, x, i: jnp.float16(1.5),
    "zeros like": lambda m, x, i: jnp.zeros_like(x) * 2.0,
    "minus a number to a power": lambda m, x, i: (-2.0) ** i,
    "power of minus a number": lambda m, x, i: x**-2,
    "power to minus a number": lambda m, x, i: jnp.float32(-2.0) ** i.astype(np.float32),
    "minus in products": lambda m, x, i: -2.0 * x - -3.0 * (-x),
    "minus zero": lambda m, x, i: jnp.where(m, -0.0, x),
    "one over minus zero": lambda m, x, i: 1 / (x * -0.0),
    "infinities": lambda m, x, i: jnp.where(m, -jnp.inf, jnp.inf) + jnp.where(m, jnp.nan, x),
    "huge and tiny": lambda m, x, i: x * 1e30 + 1e-38 - 1.17549435e-38,
    "numbers without a short form": lambda m, x, i: x * 0.1 + 1 / 3 - np.float32(0.1),
    "mask as number": lambda m, x, i: m * x + m,
    "mask minus one": lambda m, x, i: 1 - m.astype(np.int32),
    "index as number": lambda m, x, i: x * i + i / 2,
    "index arithmetic": lambda m, x, i: (i + 1) // 2 % 3 - 7,
    "wide index": lambda m, x, i: i * 2147483647,
    "counter": lambda m, x, i: jnp.arange(3) * x + jnp.arange(3.0),
    "maximum with a number": lambda m, x, i: jnp.maximum(0.5, x) + jnp.minimum(i, 1),
    "comparison with a number": lambda m, x, i: (x > 0.1) & (i >= 1) | (x < -0.3),
    "clip": lambda m, x, i: jnp.clip(x, -0.5, 0.5) + jnp.clip(i, 0, 1),
    "power of a number": lambda m, x, i: 2**x + 2**i,
    "full": lambda m, x, i: jnp.full((2, 3), 7) + x,
    "full of a dtype": lambda m, x, i: jnp.full((2, 3), 7, np.int8),
    "logical": lambda m, x, i: ~m & (x > 0) ^ True,
    "negative of unsigned": lambda m, x, i: -(i.astype(np.uint8)),
    "round trip": lambda m, x, i: x.astype(np.int32).astype(np.float16) + np.float16(0.1),
    "nested": lambda m, x, i: jnp.where(m, jnp.where(x > 0, 1, 2), jnp.where(x > 0, 3.0, i)),
}


@pytest.mark.parametrize("wide", [False, True], ids=["32 bits", "64 bits"])
def test_literals_keep_their_dtype(wide, subtests):
    """Numbers printed in a program get the dtype and the weak type they had in the function."""
    draws = generator(wide)
    mask = draws.integers(0, 1, (2, 3), endpoint=True).astype(bool)
    x = draws.normal(size=(2, 3)).astype(np.float32)
    index = draws.integers(0, 4, (2, 3))

    def everything(operands: list[Any]) -> dict[str, Any]:
        return {
            name: attempt(lambda fun=fun: (sg.jit(fun)(*operands), jax.jit(fun)(*operands)))
            for name, fun in TRAPS.items()
        }

    with jax.enable_x64(wide):
        found = compiled_together(everything, [mask, x, jnp.asarray(index)])
    for name, result in found.items():
        with subtests.test(function=name):
            if isinstance(result, Exception):
                raise result
            agree(*result, 1e-6)
            assert jax.typeof(result[0]) == jax.typeof(result[1])
            assert np.array_equal(np.signbit(result[0]), np.signbit(result[1]))


WEAK = {
    "identity": lambda x: x,
    "sum with a number": lambda x: x + 1,
    "fraction": lambda x: x * 0.5,
    "function": lambda x: jnp.sin(x),
    "with an array": lambda x: x * np.float32(2),
    "array of one": lambda x: jnp.stack([x, x * 2]),
    "cast": lambda x: jnp.asarray(x, np.float32),
    "where": lambda x: jnp.where(x > 0, x, 0),
    "broadcast": lambda x: jnp.broadcast_to(x, (2,)),
    "sum": lambda x: jnp.sum(x),
    "max": lambda x: jnp.maximum(x, 2),
    "divide": lambda x: x / 3,
    "power": lambda x: x**2,
    "constant": lambda x: 1.0,
    "tuple": lambda x: (x, x * x, jnp.float32(3)),
}


@pytest.mark.parametrize("wide", [False, True], ids=["32 bits", "64 bits"])
@pytest.mark.parametrize(
    "x", [2.0, 3, True, np.float16(2), np.int8(3)], ids=lambda x: type(x).__name__
)
def test_weak_types_are_those_of_jax(x, wide, subtests):
    """Python numbers stay weak: values, gradients and tangents have JAX's dtype and weak type."""
    with jax.enable_x64(wide):
        for name, fun in WEAK.items():
            with subtests.test(function=name):
                found, wanted = (jax.eval_shape(by(fun), x) for by in (sg.jit, jax.jit))
                same_abstract(found, wanted)
            if not isinstance(x, float | np.floating):
                continue
            with subtests.test(gradient=name):
                scalar = lambda x, fun=fun: sum(map(jnp.sum, jax.tree.leaves(fun(x))))  # noqa: E731
                same_abstract(*(jax.eval_shape(by(scalar), x) for by in (sg.grad, jax.grad)))
            with subtests.test(tangent=name):
                same_abstract(
                    *(
                        jax.eval_shape(lambda x, by=by, fun=fun: by.jvp(fun, (x,), (x,)), x)
                        for by in (sg, jax)
                    )
                )


def same_abstract(actual: Any, expected: Any) -> None:
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for got, want in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert (got.shape, got.dtype, got.weak_type) == (want.shape, want.dtype, want.weak_type)


def test_one_function_under_both_widths():
    """One function object, called with and without 64-bit types, gives the right one each time."""
    slope = sg.grad(lambda x: jnp.sum(jnp.sin(x) * jnp.arange(3.0)))
    for wide, dtype in ((False, np.float32), (True, np.float64), (False, np.float32)):
        with jax.enable_x64(wide):
            assert slope(jnp.ones(3)).dtype == dtype


PROMOTION = {
    "row": lambda x: x * jnp.sum(x, 0)[None, :],
    "column": lambda x: x - jnp.max(x, 1, keepdims=True),
    "softmax": lambda x: jax.nn.softmax(x) * 2.0,
    "middle axis": lambda x: x[:, None, :] + jnp.sum(x, 0)[None, None, :],
}


@pytest.mark.parametrize("name", PROMOTION)
def test_strict_promotion_is_the_users_not_ours(name, strict, float32):
    """What JAX accepts with implicit promotion forbidden, symgrad accepts."""
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    loss = lambda x: jnp.sum(PROMOTION[name](x) ** 2)  # noqa: E731
    agree(sg.value_and_grad(loss)(x), jax.value_and_grad(loss)(x), 1e-5)
