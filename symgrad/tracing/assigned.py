"""Which variable a line of the user's source assigns a value to.

Names in emitted programs come from here: the value computed by the right-hand
side of `h = jnp.tanh(z)` is called `h`, also when a helper function computes and
returns it.
"""

from __future__ import annotations

import ast
import functools
import linecache
from collections.abc import Sequence

from symgrad.errors import Frame

RETURNED = ("return",)
"""Stands for "the value of the call", to be named by the caller's line."""

Span = tuple[int, int, int, int]


def assigned_names(frames: Sequence[Frame]) -> tuple[str, ...]:
    """The variables that receive what the innermost frame computes, none if it goes elsewhere.

    Args:
        frames: innermost first; an outer one is asked when the inner one returns the value.
    """
    for frame in frames:
        found = _spans(frame.file, _version(frame.file)).get(
            (frame.line, frame.column, frame.end_line, frame.end_column), ()
        )
        if found is not RETURNED:
            return found
    return ()


def _version(file: str) -> tuple[object, ...]:
    linecache.getlines(file)
    return tuple(linecache.cache.get(file, ())[:2])


@functools.lru_cache(maxsize=256)
def _spans(file: str, version: tuple[object, ...]) -> dict[Span, tuple[str, ...]]:
    """For every expression that is assigned or returned as a whole, the name it gets."""
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except (SyntaxError, ValueError):
        return {}
    spans: dict[Span, tuple[str, ...]] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Return(value=ast.expr() as value) | ast.Lambda(body=value):
                spans[_span(value)] = RETURNED
            case (
                ast.Assign(targets=[target], value=value)
                | ast.AnnAssign(target=target, value=ast.expr() as value)
            ):
                spans[_span(value)] = _target_names(target)
            case ast.AugAssign(target=target):
                spans[_span(node)] = _target_names(target)
            case ast.NamedExpr(target=target, value=value):
                spans[_span(value)] = _target_names(target)
    return spans


def _target_names(target: ast.expr) -> tuple[str, ...]:
    match target:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return (name,)
        case ast.Tuple(elts=targets) if all(isinstance(t, ast.Name) for t in targets):
            return tuple(t.id for t in targets if isinstance(t, ast.Name))
    return ()


def _span(node: ast.expr | ast.stmt) -> Span:
    end_line = node.end_lineno or node.lineno
    return node.lineno, node.col_offset, end_line, node.end_col_offset or 0
