"""Primitives that are left to JAX: how they are called, and how those that print are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax


class Foreign:
    """A JAX primitive with its parameters, callable; equal only to itself."""

    __slots__ = ("params", "primitive")

    def __init__(self, primitive: Any, params: Mapping[str, Any]):
        self.primitive, self.params = primitive, dict(params)

    def __call__(self, *args: Any) -> Any:
        functions, params = (), self.primitive.get_bind_params(self.params)
        if isinstance(params, tuple):
            functions, params = params
        found = self.primitive.bind(*functions, *args, **params)
        alone = self.primitive.multiple_results and len(found) == 1
        return found[0] if alone else found


def _print_source(*, fmt: str, in_tree: Any, ordered: bool, static_args: Any, **_: Any) -> str:
    """`jax.debug.print` as it was called; empty if some of what it prints is no array."""
    if static_args:
        return ""
    names = [f"xs[{i}]" for i in range(in_tree.num_leaves)]
    args, kwargs = jax.tree.unflatten(in_tree, names)
    shown = [_quoted(fmt), *args, *(f"{k}={v}" for k, v in kwargs.items())]
    if not all(isinstance(a, str) for a in (*args, *kwargs.values())):
        return ""
    text = f"jax.debug.print({', '.join(shown)}{', ordered=True' if ordered else ''})"
    return text.replace("{", "{{").replace("}", "}}")


def _quoted(text: str) -> str:
    """A string literal in double quotes where that takes no escapes."""
    literal = ascii(text)
    return literal if '"' in literal else f'"{literal[1:-1]}"'


OBSERVERS: dict[str, Callable[..., str]] = {
    "debug_print": _print_source,
    "debug_callback": lambda **_: "",
    "dce_sink": lambda **_: "",
    "inspect_sharding": lambda **_: "",
}
"""Primitives that only show their operands to the world outside, and how each is written."""
