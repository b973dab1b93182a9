"""What the structure of second derivatives is good for: matrices, diagonals, preconditioners."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symgrad.api import hessian
from symgrad.curvature.products import Product
from symgrad.curvature.remembered import remembered
from symgrad.curvature.solving import factorised
from symgrad.curvature.vectors import Space
from symgrad.errors import ArgumentValueError

CHEAP_ENTRIES = 2**20
"""Arrays of so many entries are small, however few parameters there are."""

CHEAP_FACTOR = 16
"""So many arrays of the size of a leaf are as cheap as the leaf is."""

LARGEST_PROGRAM = 300
"""In programs of more operations nobody looks for structure unasked: that takes too long."""

LARGEST_BLOCK = 1024
"""A leaf with more entries has no dense block."""


def matrix(product: Product) -> jax.Array:
    """The matrix of a Hessian."""
    rows = jax.tree.leaves(hessian(product.loss)(product.params, *product.data))
    count, sizes = len(product.space.sizes), product.space.sizes
    return jnp.block(
        [
            [
                jnp.asarray(rows[i * count + j], product.space.dtype).reshape(sizes[i], sizes[j])
                for j in range(count)
            ]
            for i in range(count)
        ]
    )


def diagonal(product: Product) -> np.ndarray | None:
    """The diagonal of a Hessian, flat, where it is made of small arrays; None where not."""
    if product.batches is not None or len(product.along.graph(*product.example)) > LARGEST_PROGRAM:
        return None
    leaves = jax.tree.leaves(product.params)
    found = []
    for number, leaf in enumerate(leaves):
        second = _of_leaf(product.loss, number, True)
        arguments = (leaf, product.params, *product.data)
        shapes = jax.eval_shape(second, *arguments)
        entries = sum(a.size for a in shapes.arrays)
        if entries > max(CHEAP_ENTRIES, CHEAP_FACTOR * jnp.size(leaf)):
            return None
        found.append(np.ravel(second(*arguments).diagonal()))
    return np.concatenate(found).astype(float)


@remembered
def _of_leaf(loss: Callable[..., Any], number: int, structured: bool) -> Any:
    """Second derivatives in one leaf of the parameters."""

    def of_leaf(leaf: Any, params: Any, *data: Any) -> Any:
        leaves, tree = jax.tree.flatten(params)
        leaves[number] = leaf
        return loss(jax.tree.unflatten(tree, leaves), *data)

    return hessian(of_leaf, structured=structured)


def preconditioner(
    terms: Sequence[tuple[float, Product]],
    shift: float,
    space: Space,
    kind: str | Callable[[np.ndarray], np.ndarray] | None,
) -> Callable[[np.ndarray], np.ndarray] | None:
    """An approximate inverse of a sum, symmetric and positive definite; None where there is none.

    Raises:
        ArgumentValueError: there is none of this kind.
    """
    if kind is None or not isinstance(kind, str):
        return kind
    if kind not in ("auto", "diagonal", "block"):
        raise ArgumentValueError(
            f"solve knows no preconditioner {kind!r}",
            fix="pass 'auto', 'diagonal', 'block', None, or a function",
        )
    if kind == "auto" and not all(p.hessian and p.batches is None for _, p in terms):
        return None
    if kind == "block":
        return _blocks(terms, shift, space)
    parts = []
    for scale, product in terms:
        found = diagonal(product) if product.hessian else None
        if found is None:
            if kind == "auto":
                return None
            found = _by_products(product, space)
        parts.append(scale * found)
    whole = np.abs(sum(parts, np.full(space.size, shift)))
    # Where a curvature is tiny, its inverse would drown all others.
    inverse = 1 / np.maximum(whole, 1e-6 * whole.max(initial=1e-30))
    return lambda v: inverse * v


def _by_products(product: Product, space: Space) -> np.ndarray:
    columns = [
        np.diagonal(np.asarray(product.columns(jnp.eye(space.size, 64, -i, dtype=space.dtype)))[i:])
        for i in range(0, space.size, 64)
    ]
    return np.concatenate(columns)[: space.size].astype(float)


def _blocks(
    terms: Sequence[tuple[float, Product]], shift: float, space: Space
) -> Callable[[np.ndarray], np.ndarray]:
    """Solutions leaf by leaf, with the absolute values of the eigenvalues of each one's block."""
    solvers: list[tuple[slice, Callable[[np.ndarray], np.ndarray]]] = []
    start = 0
    for number, size in enumerate(space.sizes):
        place = slice(start, start + size)
        start += size
        if size > LARGEST_BLOCK:
            raise ArgumentValueError(
                f"the block of the leaf `params{space.paths[number]}` has {size} rows, too many "
                "to be factorised",
                fix="use precondition='diagonal'",
            )
        block = shift * np.eye(size)
        for scale, product in terms:
            block += scale * _block(product, number, place)
        values, vectors = np.linalg.eigh((block + block.T) / 2)
        kept = np.maximum(np.abs(values), 1e-6 * np.abs(values).max(initial=1e-30))
        solvers.append((place, factorised((vectors * kept) @ vectors.T)))

    def apply(v: np.ndarray) -> np.ndarray:
        return np.concatenate([solve(np.ravel(v)[place]) for place, solve in solvers])

    return apply


def _block(product: Product, number: int, place: slice) -> np.ndarray:
    size = place.stop - place.start
    if product.hessian and product.batches is None:
        leaf = jax.tree.leaves(product.params)[number]
        second = _of_leaf(product.loss, number, False)
        return np.asarray(second(leaf, product.params, *product.data), float).reshape(size, size)
    space = product.space
    units = jnp.eye(space.size, size, -place.start, dtype=space.dtype)
    return np.asarray(product.columns(units), float)[place]
