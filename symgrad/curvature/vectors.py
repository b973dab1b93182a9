"""Vectors over a tree of parameters: as such a tree, or flat, one or several at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from symgrad.arguments import structure
from symgrad.errors import ArgumentError
from symgrad.tracing import type_of

TREE, FLAT, TREES, MATRIX = "tree", "flat", "trees", "matrix"
"""Forms of vectors: `TREES` has a leading axis on every leaf, `MATRIX` a vector in each column."""


@dataclass(frozen=True, slots=True)
class Space:
    """The vectors that have the structure of some parameters.

    Attributes:
        tree: structure of the parameters.
        shapes: of the leaves.
        dtypes: of the leaves.
        paths: of the leaves, as people write them after the name of the tree.
    """

    tree: Any
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[Any, ...]
    paths: tuple[str, ...]

    @classmethod
    def of(cls, params: Any) -> Space:
        """The space of the vectors that parameters can be moved along.

        Raises:
            ArgumentError: there are no parameters, or a leaf is no array of real floating-point
                numbers.
        """
        leaves, tree = jax.tree_util.tree_flatten_with_path(params)
        paths = tuple(jax.tree_util.keystr(path) for path, _ in leaves)
        if not leaves:
            raise ArgumentError(
                "the parameters have no leaf, so there is nothing to differentiate in",
                fix="pass an array, or a pytree of arrays",
            )
        types = []
        for path, (_, leaf) in zip(paths, leaves, strict=True):
            try:
                types.append(type_of(leaf))
            except TypeError:
                raise ArgumentError(
                    f"`params{path}` is a {type(leaf).__name__}, not an array of numbers",
                    fix="keep what is no array out of the parameters",
                ) from None
        for path, kind in zip(paths, types, strict=True):
            if not jnp.issubdtype(kind.dtype, jnp.floating):
                is_complex = jnp.issubdtype(kind.dtype, jnp.complexfloating)
                raise ArgumentError(
                    f"`params{path}` is {kind}; the operators are symmetric in real "
                    "floating-point parameters only",
                    fix="make the real and the imaginary part leaves of their own"
                    if is_complex
                    else f"pass `params{path}` as floats, or close over it",
                )
        return cls(tree, tuple(t.shape for t in types), tuple(t.dtype for t in types), paths)

    @property
    def sizes(self) -> list[int]:
        """Entries of each leaf."""
        return [math.prod(shape) for shape in self.shapes]

    @property
    def size(self) -> int:
        """The dimension."""
        return sum(self.sizes)

    @property
    def dtype(self) -> Any:
        """Of flat vectors, which iterations add up: single precision at least."""
        return jnp.result_type(*self.dtypes, jnp.float32)

    def flat(self, vector: Any) -> jax.Array:
        """A tree as one array; leading axes that all leaves have are kept."""
        leaves = jax.tree.leaves(vector)
        extra = jnp.ndim(leaves[0]) - len(self.shapes[0])
        rows = [jnp.asarray(x, self.dtype).reshape(*x.shape[:extra], -1) for x in leaves]
        return jnp.concatenate(rows, axis=-1)

    def unflat(self, vector: Any) -> Any:
        """The inverse of `flat`; vectors lie along the last axis."""
        leaves, start = [], 0
        for shape, dtype, size in zip(self.shapes, self.dtypes, self.sizes, strict=True):
            part = vector[..., start : start + size]
            leaves.append(jnp.asarray(part, dtype).reshape(*vector.shape[:-1], *shape))
            start += size
        return jax.tree.unflatten(self.tree, leaves)

    def cast(self, vector: Any) -> Any:
        """A tree of this structure with the dtypes of the parameters."""
        leaves = jax.tree.leaves(vector)
        cast = [jnp.asarray(x, dtype) for x, dtype in zip(leaves, self.dtypes, strict=True)]
        return jax.tree.unflatten(self.tree, cast)

    def form(self, vector: Any) -> str:
        """In which form a vector, or several, are given.

        Raises:
            ArgumentError: in none; the message names the leaf.
        """
        shapes, tree = _shapes(vector)
        if tree == self.tree and shapes == self.shapes:
            return TREE
        if jax.tree_util.treedef_is_leaf(tree):
            (shape,) = shapes
            if shape == (self.size,):
                return FLAT
            if len(shape) == 2 and shape[0] == self.size:
                return MATRIX
        if tree != self.tree:
            raise ArgumentError(
                f"the vector has the structure {structure(tree)}, the parameters the structure "
                f"{structure(self.tree)}{self._first_difference(vector)}",
                fix=f"pass a tree like the parameters, or an array of shape {(self.size,)}",
            )
        counts = {shape[:1] for shape in shapes}
        if shapes == tuple((*next(iter(counts)), *shape) for shape in self.shapes):
            return TREES
        wrong = [
            found
            for found in zip(self.paths, shapes, self.shapes, strict=True)
            if found[1] != found[2]
        ]
        path, given, wanted = next((w for w in wrong if w[1][1:] != w[2]), wrong[0])
        raise ArgumentError(
            f"the leaf `v{path}` of the vector has shape {given}, the parameter shape {wanted}",
            fix=f"pass {wanted}, or one more axis in front, the same for all leaves, for several "
            "vectors at once",
        )

    def _first_difference(self, vector: Any) -> str:
        given = [
            jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(vector)
        ]
        missing = [f": `v{p}` is missing" for p in self.paths if p not in given]
        unknown = [f": `v{p}` is no parameter" for p in given if p not in self.paths]
        return next(iter(missing + unknown), "")


def _shapes(vector: Any) -> tuple[tuple[tuple[int, ...], ...], Any]:
    leaves, tree = jax.tree.flatten(vector)
    return tuple(jnp.shape(leaf) for leaf in leaves), tree
