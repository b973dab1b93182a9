"""What symgrad costs beside the program it makes: imports, symbolic work, calls."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

import symgrad as sg
from benchmarks.first_path import lenet
from benchmarks.harness import SYMGRAD, Fact, ratio, take_turns, time_stages, timed

ABOUT = "What symgrad costs beside the programs it makes."

SHORT, LONG = 10_000, 100_000
"""Operations in the chains."""

REPEATS = 5


def facts() -> list[Fact]:
    return [importing(), symbolic(), *chains(), *calls()]


IMPORTS = """\
import time
start = time.perf_counter()
import jax, jax.numpy
middle = time.perf_counter()
import symgrad
print(middle - start, time.perf_counter() - middle)
"""


def importing() -> Fact:
    """In fresh interpreters, after one that fills the caches of the file system."""
    runs = [
        subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True)
        for _ in range(REPEATS + 1)
    ]
    jax_seconds, own = zip(*(map(float, run.stdout.split()) for run in runs[1:]), strict=True)
    return Fact("`import symgrad` after `import jax`, over `import jax`", ratio(own, jax_seconds))


def symbolic() -> Fact:
    """Everything before JAX lowers the emitted text."""
    case = lenet()
    loss, theirs = sg.value_and_grad, jax.value_and_grad
    fun = case.programs[SYMGRAD]().fun
    own, jaxpr = [], []
    for _ in range(REPEATS):
        stages = time_stages(loss(fun), case.args)
        own.append(stages.trace + stages.derive + stages.emit)
        jaxpr.append(timed(jax.make_jaxpr(theirs(fun)), *case.args)[1])
    name = "LeNet's gradient from Python to text, over JAX's from Python to jaxpr"
    return Fact(name, ratio(own, jaxpr))


def chain(length: int) -> Callable[[Any], Any]:
    """A composition of elementwise operations."""

    def composition(x: Any) -> Any:
        for _ in range(length // 2):
            x = jnp.sin(x) * 1.01
        return x

    return composition


def chains() -> Iterator[Fact]:
    """Linear cost is a ratio of 10."""
    times: dict[int, list[tuple[float, ...]]] = {SHORT: [], LONG: []}
    for length, repeats in ((SHORT, 3), (LONG, 1)):
        for _ in range(repeats):
            graph, trace = timed(sg.trace, chain(length), 1.0)
            _, derive = timed(graph.grad)
            times[length].append((trace, derive))
    short, long = (tuple(map(statistics.median, zip(*t, strict=True))) for t in times.values())
    for name, before, after in zip(("tracing", "differentiating"), short, long, strict=True):
        title = f"{name} a chain of {LONG:,} operations, over one of {SHORT:,}"
        yield Fact(title, ratio([after], [before]))
    _, jaxpr = timed(jax.make_jaxpr(jax.grad(chain(SHORT))), 1.0)
    title = f"tracing and differentiating {SHORT:,} operations, over JAX's to a jaxpr"
    yield Fact(title, ratio([sum(short)], [jaxpr]))


def calls() -> Iterator[Fact]:
    """Of programs that compute next to nothing."""

    def squares(tree: Any) -> Any:
        return sum(jnp.sum(x**2) for x in jax.tree.leaves(tree))

    for leaves in (1, 20):
        tree = [jnp.ones(3) for _ in range(leaves)]
        own, theirs = sg.grad(squares), jax.jit(jax.grad(squares))
        times = take_turns(
            {"symgrad": lambda f=own, x=tree: f(x), "jax": lambda f=theirs, x=tree: f(x)}, 30
        )
        title = f"a call with {leaves} small array{'s' * (leaves > 1)}, over `jax.jit`'s"
        yield Fact(title, ratio(times["symgrad"], times["jax"]))
