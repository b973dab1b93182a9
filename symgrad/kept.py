"""Values that are no arrays, carried through pytrees as part of their structure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax


@jax.tree_util.register_static
class Kept:
    """A value in the place of a leaf: trees with the same value in it have one structure."""

    __slots__ = ("_hash", "value")

    def __init__(self, value: Any):
        self.value = value
        try:
            self._hash: int | None = hash(value)
        except TypeError:
            self._hash = None

    def __hash__(self) -> int:
        return id(self.value) if self._hash is None else self._hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Kept) or type(self.value) is not type(other.value):
            return False
        if self.value is other.value:
            return True
        return self._hash is not None and bool(self.value == other.value)

    def __repr__(self) -> str:
        return repr(self.value)


def keep(tree: Any, which: Callable[[Any], bool]) -> Any:
    """`tree` with the leaves that `which` picks made part of its structure."""
    return jax.tree.map(lambda leaf: Kept(leaf) if which(leaf) else leaf, tree)


def release(tree: Any) -> Any:
    """`tree` with what was kept as leaves again."""
    is_kept = lambda x: isinstance(x, Kept)  # noqa: E731
    return jax.tree.map(lambda x: x.value if is_kept(x) else x, tree, is_leaf=is_kept)
