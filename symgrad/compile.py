"""From a graph to a function that runs under `jax.jit`.

The only place that executes generated text. The text is registered with
`linecache`, so tracebacks, debuggers and profilers show its lines.

A program with derivative rules of the user's carries them on: symgrad, when it traces
the program again, reads its graph, and JAX differentiates it by the graph's pushforward.
"""

from __future__ import annotations

import functools
import hashlib
import linecache
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symgrad.derive import instantiate, pushforward
from symgrad.emit.source import Program, emit
from symgrad.expr import Expr, Type, fresh
from symgrad.laws.book import phases, prepared
from symgrad.ops.calls import has_custom
from symgrad.ops.varying import with_casts
from symgrad.rewrite import simplify
from symgrad.tracing import Home, Homes, home_of, unsharded, with_weak_type
from symgrad.tracing.programs import Known, new_file, remember
from symgrad.walk import Graph, types_of

Function = Callable[..., list[Any]]
"""Leaves in, list of leaves out."""

NOWHERE = Homes()


@dataclass(frozen=True, slots=True)
class Executable:
    """A compiled program.

    Attributes:
        program: its text.
        jitted: leaves in, list of leaves out, under `jax.jit`.
        known: lets another trace read the program as its graph.
    """

    program: Program
    jitted: Any
    known: Known


def compile_program(
    program: Program,
    graph: Graph,
    outputs: Sequence[Type],
    donate: tuple[int, ...] = (),
    homes: Homes = NOWHERE,
) -> Executable:
    """Define the program's function and hand it to `jax.jit`.

    Args:
        graph: what the program computes, with the user's derivative rules still in it.
        outputs: the types of the results, weak-type flags included.
        donate: numbers of the inputs whose memory may be reused.
        homes: where inputs and outputs live.
    """
    run = load(program, outputs, homes)
    if has_custom(graph):
        run = _with_rules(run, graph, homes)
    file = new_file(program.name)
    run.__name__ = run.__qualname__ = program.name
    run.__code__ = run.__code__.replace(co_filename=file)
    jitted = jax.jit(run, donate_argnums=donate)
    known = Known(graph, jitted)
    remember(file, known)
    return Executable(program, jitted, known)


def _spread(run: Function, outputs: int, homes: Homes, captured: Iterable[Home | None]) -> Function:
    """`run` on a mesh with explicit axes: its text leaves the layout of values to the compiler."""
    elsewhere = unsharded((*homes.inputs, *homes.outputs, *captured))
    if elsewhere is None:
        return run
    results = homes.outputs or (None,) * outputs
    shardings = [(h if h is not None and h.explicit else elsewhere).sharding for h in results]
    axes = elsewhere.sharding.mesh.explicit_axes
    spread: Any = jax.sharding.auto_axes(run, axes=axes, out_sharding=shardings)
    return spread


def load(program: Program, outputs: Sequence[Type], homes: Homes = NOWHERE) -> Function:
    """The function that a program's text defines, with captured arrays filled in."""
    digest = hashlib.sha256(program.text.encode()).hexdigest()[:12]
    file = f"<symgrad {program.name} {digest}>"
    linecache.cache[file] = (len(program.text), None, program.text.splitlines(True), file)
    namespace: dict[str, Any] = dict(program.foreign)
    exec(compile(program.text, file, "exec"), namespace)
    emitted = namespace[program.name]
    captured = [c.array for c in program.captured]

    def whole(*leaves_and_arrays: Any) -> list[Any]:
        # The text hides broadcasts, whatever the user's code is allowed to do.
        with jax.numpy_rank_promotion("allow"):
            found = emitted(*leaves_and_arrays)
        found = found if isinstance(found, tuple) else (found,)
        return [with_weak_type(f, t.weak) for f, t in zip(found, outputs, strict=True)]

    everywhere = _spread(whole, len(outputs), homes, map(home_of, captured))

    def run(*leaves: Any) -> list[Any]:
        # NumPy's arrays cannot be indexed by traced ones.
        arrays = (jnp.asarray(a) if isinstance(a, np.ndarray) else a for a in captured)
        return everywhere(*leaves, *arrays)

    return run


def _with_rules(run: Function, graph: Graph, homes: Homes) -> Function:
    """`run`, differentiated by the pushforward of `graph` instead of its own text."""

    @functools.cache
    def pushed() -> Function:
        return _pushforward_function(graph, homes)

    def rule(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        moving = [t for t, i in zip(tangents, graph.inputs, strict=True) if i.type.inexact]
        found = iter(pushed()(*primals, *moving))
        dots = [
            next(found) if o.type.inexact else np.zeros(o.shape, jax.dtypes.float0)
            for o in graph.outputs
        ]
        return run(*primals), dots

    ruled = jax.custom_jvp(run)
    ruled.defjvp(rule)
    return lambda *leaves: ruled(*leaves)


def _pushforward_function(graph: Graph, homes: Homes) -> Function:
    """Tangents of the inexact outputs, given the inputs and the tangents of the inexact ones."""
    homes = Homes(
        (*homes.inputs, *_of_inexact(homes.inputs, graph.inputs)),
        _of_inexact(homes.outputs, graph.outputs),
    )
    sources = [i for i in graph.inputs if i.type.inexact]
    tangents = tuple(fresh(s.type) for s in sources)
    slots = pushforward(graph.outputs, sources, tangents, graph.origins)
    outputs = tuple(
        instantiate(t, o) for t, o in zip(slots, graph.outputs, strict=True) if o.type.inexact
    )
    raw = Graph((*graph.inputs, *tangents), outputs, origins=graph.origins)
    final = simplify(prepared(raw), phases("default")[1])
    final = with_casts(final, homes.varying_inputs, homes.varying_outputs)
    run = load(emit(final, "pushforward"), types_of(outputs), homes)
    return _with_rules(run, raw, homes) if has_custom(raw) else run


def _of_inexact(homes: Sequence[Home | None], nodes: Sequence[Expr]) -> list[Home | None]:
    return [h for h, n in zip(homes, nodes, strict=False) if n.type.inexact]
