"""Measuring programs that compute the same thing, side by side.

Every case is measured in four ways. How long each program takes to make: `Stages`. What its
optimised form costs, the same on every run: `Figures`. How far its results are from float64. How
fast it runs, in turns: A B C A B C, each turn warm and waited for, so that whatever else the
machine does hits all programs alike. Ratios are taken within a round; their median counts.
"""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import symgrad as sg
from symgrad.transform import Transformed

ROUNDS = 60
TURN = 0.01
"""Seconds a program runs before it is the next one's turn, at least."""

REPEATS = 5
"""How often programs are made anew to time the making."""

SYMGRAD, INSIDE = "symgrad", "symgrad in jax.jit"


@dataclass(frozen=True, slots=True)
class Case:
    """One computation in several programs.

    Attributes:
        args: arrays that every program is called with.
        programs: symgrad's under the name `SYMGRAD`, then JAX's. Each is made anew by its entry,
            and has `.lower`; the first of JAX's, in float64, is the reference for errors.
    """

    name: str
    args: tuple[Any, ...]
    programs: Mapping[str, Callable[[], Any]]

    @property
    def references(self) -> list[str]:
        return [name for name in self.programs if name != SYMGRAD]


@dataclass(frozen=True, slots=True)
class Stages:
    """Seconds from a Python function to an executable; the first three are symgrad's alone.

    Attributes:
        derive: lifting, differentiating and simplifying: what is left of the time to the text.
        lower: what `jax.jit` does before XLA; of JAX's own programs that includes the derivative.
    """

    trace: float
    derive: float
    emit: float
    lower: float
    compile: float

    @property
    def total(self) -> float:
        return sum(getattr(self, f.name) for f in fields(self))


@dataclass(frozen=True, slots=True)
class Figures:
    """What XLA says of a program it has optimised; the body of a loop counts once.

    Attributes:
        products: matrix products and convolutions.
        temp_bytes: memory beside inputs and outputs.
    """

    flops: int
    products: int
    bytes: int
    temp_bytes: int


@dataclass(frozen=True, slots=True)
class Measured:
    """One program."""

    stages: Stages
    figures: Figures
    error: float


@dataclass(frozen=True, slots=True)
class Ratio:
    """The median of ratios, and their quartiles: half of the rounds lie between."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


@dataclass(frozen=True, slots=True)
class Comparison:
    """A case, measured.

    Attributes:
        seconds: the median time of a call; symgrad's is there twice, called directly and `INSIDE`
            a function that `jax.jit` compiles, where nothing is left but the program.
        called: each reference's time over symgrad's, called directly.
        inside: the same inside `jax.jit`.
    """

    name: str
    programs: dict[str, Measured]
    seconds: dict[str, float]
    called: dict[str, Ratio]
    inside: dict[str, Ratio]


@dataclass(frozen=True, slots=True)
class Fact:
    """One ratio of times that belongs to no case."""

    name: str
    ratio: Ratio


def compare(case: Case, rounds: int = ROUNDS) -> Comparison:
    """Measure everything about a case."""
    made = {name: make() for name, make in case.programs.items()}
    calls = {SYMGRAD: made[SYMGRAD], INSIDE: jax.jit(lambda *args: made[SYMGRAD](*args)), **made}
    exact = in_float64(case)
    stages = {name: [] for name in made}
    for _ in range(REPEATS):
        for name, make in case.programs.items():
            stages[name].append(time_stages(make(), case.args))
    programs = {
        name: Measured(
            median_stages(stages[name]),
            figures(program.lower(*case.args).compile()),
            relative_error(program(*case.args), exact),
        )
        for name, program in made.items()
    }
    times = take_turns({n: lambda f=f: f(*case.args) for n, f in calls.items()}, rounds)
    return Comparison(
        case.name,
        programs,
        {name: statistics.median(t) for name, t in times.items()},
        {name: ratio(times[name], times[SYMGRAD]) for name in case.references},
        {name: ratio(times[name], times[INSIDE]) for name in case.references},
    )


def take_turns(
    functions: Mapping[str, Callable[[], Any]], rounds: int, turn: float = TURN
) -> dict[str, list[float]]:
    """Seconds per call of each function in each round; they are warm before the first."""
    calls = {name: calls_in(function, turn) for name, function in functions.items()}
    times = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            times[name].append(seconds_per_call(function, calls[name]))
    return times


def calls_in(function: Callable[[], Any], turn: float) -> int:
    """How many calls fill a turn; warms the function up."""
    jax.block_until_ready(function())
    return max(1, round(turn / seconds_per_call(function, 3)))


def seconds_per_call(function: Callable[[], Any], calls: int) -> float:
    """The median of some calls, each waited for before the next."""
    return statistics.median(
        timed(lambda: jax.block_until_ready(function()))[1] for _ in range(calls)
    )


def ratio(over: Sequence[float], under: Sequence[float]) -> Ratio:
    """Round by round."""
    ratios = [a / b for a, b in zip(over, under, strict=True)]
    low, median, high = np.quantile(ratios, (0.25, 0.5, 0.75))
    return Ratio(float(median), float(low), float(high))


def timed(function: Callable[..., Any], *args: Any) -> tuple[Any, float]:
    """A result, and the seconds it took."""
    start = time.perf_counter()
    result = function(*args)
    return result, time.perf_counter() - start


def time_stages(program: Any, args: tuple[Any, ...]) -> Stages:
    """How long it takes to make an executable of a program that has not been called yet."""
    trace = text = emit = 0.0
    if isinstance(program, Transformed):
        _, trace = timed(sg.trace, program.fun, *args[program.extra :])
        _, text = timed(program.source, *args)
        _, emit = timed(program.graph(*args).source)
    lowered, lower = timed(program.lower, *args)
    _, compile_ = timed(lowered.compile)
    return Stages(trace, max(0.0, text - trace - emit), emit, lower, compile_)


def median_stages(several: Sequence[Stages]) -> Stages:
    """Stage by stage."""
    return Stages(*(statistics.median(getattr(s, f.name) for s in several) for f in fields(Stages)))


def figures(compiled: Any) -> Figures:
    """The deterministic figures of a compiled program."""
    cost = compiled.cost_analysis()
    return Figures(
        flops=int(cost.get("flops", 0)),
        products=count_products(compiled.as_text()),
        bytes=int(cost["bytes accessed"]),
        temp_bytes=compiled.memory_analysis().temp_size_in_bytes,
    )


PRODUCTS = re.compile(r" (dot|convolution)\(|custom_call_target=\"[^\"]*(gemm|matmul|conv)", re.I)


def count_products(hlo: str) -> int:
    """Matrix products and convolutions in the text of an optimised program."""
    return len(PRODUCTS.findall(hlo))


def in_float64(case: Case) -> Any:
    """What the case computes, by JAX in float64."""
    with jax.enable_x64(True):
        wide = jax.tree.map(widened, case.args)
        return jax.tree.map(np.asarray, case.programs[case.references[0]]()(*wide))


def widened(x: Any) -> Any:
    """Floating-point arrays in float64, others as they are."""
    return x.astype(jnp.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x


def relative_error(found: Any, exact: Any) -> float:
    """The largest difference in a leaf over the largest entry of the exact leaf, worst leaf."""

    def error(x: Any, y: np.ndarray) -> float:
        scale = float(np.max(np.abs(y), initial=0.0)) or 1.0
        return float(np.max(np.abs(np.asarray(x, np.float64) - y), initial=0.0)) / scale

    return max(jax.tree.leaves(jax.tree.map(error, found, exact)))


def value_and_grad(name: str, loss: Callable[..., Any], *args: Any) -> Case:
    """The case of a loss and its gradient in the first argument."""
    return Case(
        name,
        args,
        {
            SYMGRAD: lambda: sg.value_and_grad(loss),
            "jax": lambda: jax.jit(jax.value_and_grad(loss)),
        },
    )
