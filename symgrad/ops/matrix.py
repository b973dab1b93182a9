"""Matrices and batches of them, in the last two axes: what linear algebra is written with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from jax import lax

from symgrad.expr import CONSTANT, Expr, Linear, Op, Shape, Type, no_flops
from symgrad.ops.contract import einsum
from symgrad.ops.index import gather
from symgrad.ops.indexing import entries_along, rows
from symgrad.ops.pointwise import conj
from symgrad.ops.shape import (
    broadcast,
    constant,
    dtype_source,
    pad,
    reduce_sum,
    reshape,
    slice_,
    stretched,
    transpose,
)

EXACT = (lax.Precision.HIGHEST, lax.Precision.HIGHEST)
"""The precision JAX asks for in the derivatives of factorisations."""


def _triangle(name: str) -> Op:
    def source(e: Expr) -> str:
        offset = e.params["offset"]
        return f"jnp.{name}(x, {offset})" if offset else f"jnp.{name}(x)"

    return Op(name, lambda x, *, offset: x, source, None, params=("offset",), flops=no_flops)


tril = replace(_triangle("tril"), derivative=Linear(lambda g, y, x: tril(g, **y.params)))
"""The entries on and below the diagonal with this offset, zeros above."""
triu = replace(_triangle("triu"), derivative=Linear(lambda g, y, x: triu(g, **y.params)))
"""The entries on and above the diagonal with this offset, zeros below."""

eye = Op(
    "eye",
    lambda *, size, dtype: Type((size, size), dtype),
    lambda e: f"jnp.eye({e.shape[0]}, dtype={dtype_source(e.dtype)})",
    CONSTANT,
    params=("size", "dtype"),
    flops=no_flops,
)
"""The identity matrix."""


def is_complex(x: Expr) -> bool:
    return np.issubdtype(x.dtype, np.complexfloating)


def conjugate(x: Expr) -> Expr:
    """Complex conjugate; real numbers stay real."""
    return conj(x) if is_complex(x) else x


def transposed(x: Expr) -> Expr:
    """Rows become columns."""
    front = tuple(range(x.ndim - 2))
    return transpose(x, permutation=(*front, x.ndim - 1, x.ndim - 2))


def adjoint(x: Expr) -> Expr:
    """The conjugate transpose."""
    return conjugate(transposed(x))


def product(x: Expr, y: Expr, precision: Any = EXACT) -> Expr:
    """x y, matrix by matrix."""
    front = tuple(range(x.ndim - 2))
    i, j, k = range(x.ndim - 2, x.ndim + 1)
    return einsum(
        x, y, indices=((*front, i, j), (*front, j, k)), out=(*front, i, k), precision=precision
    )


def identity(like: Expr) -> Expr:
    """An identity matrix for each square matrix."""
    return stretched(eye(size=like.shape[-1], dtype=like.dtype), like.shape)


def on_rows(x: Expr, shape: Shape) -> Expr:
    """Each vector as the rows of a matrix: the entries vary along the last axis."""
    return broadcast(x, shape=shape, axes=(*range(x.ndim - 1), x.ndim))


def on_columns(x: Expr, shape: Shape) -> Expr:
    """Each vector as the columns of a matrix: the entries vary along the last axis but one."""
    return broadcast(x, shape=shape, axes=tuple(range(x.ndim)))


def column_sums(x: Expr) -> Expr:
    return reduce_sum(x, axes=(x.ndim - 2,))


def part(x: Expr, rows: slice, columns: slice) -> Expr:
    """x[..., rows, columns]"""
    front = tuple(slice(0, n) for n in x.shape[:-2])
    bounds = [s.indices(n) for s, n in zip((*front, rows, columns), x.shape, strict=True)]
    start, stop, step = zip(*bounds, strict=True)
    stop = tuple(max(a, b) for a, b in zip(start, stop, strict=True))
    return slice_(x, start=start, stop=stop, step=step)


def padded(x: Expr, above: int, below: int, left: int, right: int) -> Expr:
    """Zero rows and columns around a matrix; negative numbers take some away."""
    front = (0,) * (x.ndim - 2)
    low, high = (*front, above, left), (*front, below, right)
    if not any((*low, *high)):
        return x
    return pad(x, constant(0, x.dtype), low=low, high=high, interior=(0,) * x.ndim)


def resized(x: Expr, height: int, width: int) -> Expr:
    """The matrix with rows and columns of zeros added, or the last ones taken away."""
    return padded(x, 0, height - x.shape[-2], 0, width - x.shape[-1])


def taken(x: Expr, order: Expr, axis: int) -> Expr:
    """Rows (`axis=-2`) or columns (`axis=-1`) in the order a permutation gives."""
    axis += x.ndim
    if x.ndim == 2:
        indexing = rows(x.shape, 1, axis)
    else:
        indexing = entries_along(x.ndim, axis)
        front = tuple(range(x.ndim - 2))
        order = broadcast(order, shape=x.shape, axes=(*front, axis))
    return gather(x, order, indexing=replace(indexing, unique_indices=True))


def diagonal(x: Expr) -> Expr:
    """The diagonals of square matrices as vectors."""
    front, n = tuple(range(x.ndim - 2)), x.ndim - 2
    return einsum(x, indices=((*front, n, n),), out=(*front, n))


def as_matrix(x: Expr) -> Expr:
    """A batch of vectors as matrices of one column."""
    return reshape(x, shape=(*x.shape, 1))
