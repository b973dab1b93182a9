"""From emitted text to a function that runs under `jax.jit`.

The only place that executes generated text. The text is registered with
`linecache`, so tracebacks, debuggers and profilers show its lines.
"""

from __future__ import annotations

import hashlib
import linecache
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from symgrad.emit.source import Program
from symgrad.expr import Type
from symgrad.tracing import with_weak_type


@dataclass(frozen=True, slots=True)
class Executable:
    """A compiled program.

    Attributes:
        program: its text.
        function: leaves in, list of leaves out; traceable by JAX.
        jitted: the same under `jax.jit`.
    """

    program: Program
    function: Callable[..., list[Any]]
    jitted: Any


def compile_program(
    program: Program, outputs: Sequence[Type], donate: tuple[int, ...] = ()
) -> Executable:
    """Define the program's function and hand it to `jax.jit`.

    Args:
        outputs: the types of the results, weak-type flags included.
        donate: numbers of the inputs whose memory may be reused.
    """
    emitted = load(program)
    arrays = tuple(c.array for c in program.captured)

    def run(*leaves: Any) -> list[Any]:
        # The text hides broadcasts, whatever the user's code is allowed to do.
        with jax.numpy_rank_promotion("allow"):
            found = emitted(*leaves, *arrays)
        found = found if isinstance(found, tuple) else (found,)
        return [with_weak_type(f, t.weak) for f, t in zip(found, outputs, strict=True)]

    run.__name__ = run.__qualname__ = program.name
    return Executable(program, run, jax.jit(run, donate_argnums=donate))


def load(program: Program) -> Callable[..., Any]:
    """The function that a program's text defines."""
    digest = hashlib.sha256(program.text.encode()).hexdigest()[:12]
    file = f"<symgrad {program.name} {digest}>"
    linecache.cache[file] = (len(program.text), None, program.text.splitlines(True), file)
    namespace: dict[str, Any] = dict(program.foreign)
    exec(compile(program.text, file, "exec"), namespace)
    return namespace[program.name]
