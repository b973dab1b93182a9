"""JAX's complaints about a function, as a sentence at the user's line with what to do."""

from __future__ import annotations

import ast
import re
from types import FrameType
from typing import Any

import jax
import jax.core
import numpy as np

from symgrad.errors import (
    Frame,
    SymgradError,
    TracingError,
    TracingIndexError,
    TracingValueError,
)
from symgrad.tracing.location import user_frame

Advice = tuple[type[Exception], str, str]

ADVICE: tuple[Advice, ...] = (
    (
        jax.errors.TracerBoolConversionError,
        "the condition of an `if`, `while`, `and`, `or` or `not` depends on the value of a "
        "traced array, which is not known when compiling",
        "choose with jnp.where(condition, a, b) or jax.lax.cond; loop with jax.lax.while_loop",
    ),
    (
        jax.errors.TracerArrayConversionError,
        "a NumPy function or conversion was applied to a traced array",
        "use the function of the same name in jax.numpy",
    ),
    (
        jax.errors.TracerIntegerConversionError,
        "the value of a traced array is used where Python needs an integer: a range, a shape, "
        "an index",
        "use jax.lax.fori_loop, or make the integer a static argument",
    ),
    (
        jax.errors.NonConcreteBooleanIndexError,
        "indexing with a traced mask of dtype bool gives an array whose shape depends on values",
        "keep the shape: jnp.where(mask, x, 0)",
    ),
    (
        jax.errors.ConcretizationTypeError,
        "the value of a traced array is needed when compiling",
        "compute with jax.numpy instead of float(), int() or the math module",
    ),
    (
        jax.errors.UnexpectedTracerError,
        "a value from an earlier trace was used: it was stored outside of the function that "
        "computed it",
        "return values instead of storing them in globals, lists or attributes",
    ),
)
"""What each of JAX's error classes means, and what to do."""

FIXES = (
    (
        r"concrete value|static start/stop|must be static",
        "shapes, sizes and bounds are known when compiling: pass them as integers of Python, "
        "not as arrays",
    ),
    (
        r"keyword argument|positional argument|required argument",
        "call the function with the arguments that it takes",
    ),
    (
        r"shape|dtype|dimension|broadcast|rank|size|axis|axes|float|int\b|array",
        "shapes and dtypes are above: reshape, transpose or convert an operand so that they fit",
    ),
)
"""What to do, by what JAX's message speaks of."""

OTHERWISE = "the function itself raises this, also without symgrad: call it alone with these types"

ABOUT_JAX = re.compile(r"^(The error occurred while tracing|If using `jit`)|static_argnums")
"""Lines of JAX's messages about the trace, which is not the user's."""


def explained(error: Exception) -> SymgradError | None:
    """The same mistake at the user's line; None if it is not the user's."""
    frame, live = user_frame(error) or (None, None)
    for kind, what, fix in ADVICE:
        if isinstance(error, kind):
            values = _operands(frame, live)
            values += [m for m in _mentioned(error) if not any(v.endswith(m) for v in values)]
            return _as_class(error)(what + _aside(values), frame=frame, fix=fix)
    if frame is None or not isinstance(error, TypeError | ValueError | IndexError):
        return None
    told = [line for line in str(error).splitlines() if line.strip()]
    what = "\n".join(line for line in told if not ABOUT_JAX.search(line))[:500]
    fix = next((fix for pattern, fix in FIXES if re.search(pattern, what)), OTHERWISE)
    return _as_class(error)(what + _aside(_operands(frame, live)), frame=frame, fix=fix)


def _as_class(error: Exception) -> type[SymgradError]:
    """The class of symgrad's that is caught by whoever catches JAX's."""
    if isinstance(error, IndexError):
        return TracingIndexError
    return TracingValueError if isinstance(error, ValueError) else TracingError


def _aside(values: list[str]) -> str:
    return f" ({', '.join(values)})" if values else ""


def _mentioned(error: Exception) -> list[str]:
    """The first type that JAX's message names."""
    found = re.search(r"\b[a-z]+\d*\[[\d,]*\]", str(error))
    return [found.group()] if found else []


def _operands(frame: Frame | None, live: FrameType | None) -> list[str]:
    """The arrays that the user's expression names, with their types."""
    if frame is None or live is None:
        return []
    try:
        tree = ast.parse(frame.expression.strip(), mode="eval")
    except SyntaxError:
        return []
    names = dict.fromkeys(n.id for n in ast.walk(tree) if isinstance(n, ast.Name))
    values = {n: live.f_locals.get(n, live.f_globals.get(n)) for n in names}
    return [f"`{n}` is {_type_name(v)}" for n, v in values.items() if _is_array(v)]


def _is_array(value: Any) -> bool:
    return isinstance(value, jax.Array | jax.core.Tracer | np.ndarray)


def _type_name(value: Any) -> str:
    return f"{value.dtype.name}[{','.join(map(str, value.shape))}]"
