"""Contractions: one n-ary einsum for every product that sums over shared axes.

Axes are integers, numbered in order of first appearance, so equal contractions
are equal nodes whatever letters or dimension numbers they were written with.
"""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from symgrad.errors import ShapeError
from symgrad.expr import Expr, Multilinear, Op, Type
from symgrad.ops.pointwise import convert, eq, select
from symgrad.ops.shape import broadcast, dtype_source, iota, transpose

Indices = tuple[int, ...]


def _sizes(shapes: Any, indices: tuple[Indices, ...]) -> dict[int, int]:
    sizes: dict[int, int] = {}
    for shape, names in zip(shapes, indices, strict=True):
        if len(shape) != len(names):
            raise ShapeError(f"{len(names)} indices for an array of shape {shape}")
        for n, name in zip(shape, names, strict=True):
            if sizes.setdefault(name, n) != n:
                raise ShapeError(f"contracted axes have sizes {sizes[name]} and {n}")
    return sizes


def natural_dtype(*types: Type) -> Any:
    """The dtype of a product, whatever JAX is told about promotion elsewhere."""
    if len({t.dtype for t in types}) == 1:
        return types[0].dtype
    with jax.numpy_dtype_promotion("standard"):
        return jnp.result_type(*(t.dtype for t in types))


def _einsum_type(*types: Type, indices: Any, out: Indices, precision: Any, dtype: Any) -> Type:
    sizes = _sizes([t.shape for t in types], indices)
    shape = tuple(sizes[i] for i in out)
    return Type(shape, dtype or natural_dtype(*types), all(t.weak for t in types))


def _einsum_adjoint(g: Expr, position: int, y: Expr, *operands: Expr) -> Expr:
    """Exchange the operand with the cotangent and the operand's indices with the result's."""
    x, p = operands[position], y.params
    wanted = p["indices"][position]
    others = (*operands[:position], g, *operands[position + 1 :])
    indices = (*p["indices"][:position], p["out"], *p["indices"][position + 1 :])
    present = {i for names in indices for i in names}
    kept = tuple(dict.fromkeys(i for i in wanted if i in present))
    wide = natural_dtype(*(o.type for o in others))
    others = [o if o.dtype == wide else convert(o, dtype=wide) for o in others]
    pulled = einsum(*others, indices=indices, out=kept, precision=p["precision"])
    # An index that only this operand has was summed away: its cotangent repeats.
    axes = tuple(wanted.index(name) for name in kept)
    repeated = pulled if kept == wanted else broadcast(pulled, shape=x.shape, axes=axes)
    for i, name in enumerate(wanted):
        if wanted.index(name) != i:
            repeated = _where_equal(repeated, wanted.index(name), i)
    return convert(repeated, dtype=x.dtype, weak=repeated.type.weak)


def _where_equal(x: Expr, first: int, second: int) -> Expr:
    """Zeros where the positions along two axes differ: only a diagonal was read."""
    counter = iota(shape=(x.shape[first],), dtype=jnp.dtype("int32"), axis=0)
    places = (broadcast(counter, shape=x.shape, axes=(a,)) for a in (first, second))
    return select(eq(*places), x, 0)


def _einsum_flops(e: Expr) -> int:
    indices = e.params["indices"]
    sizes = _sizes([a.shape for a in e.args], indices)
    contracted = len(sizes) > len(e.params["out"])
    return math.prod(sizes.values()) * max(1, len(e.args) - 1 + contracted)


MATMULS = {
    "ab,bc->ac": "x @ y",
    "ab,cb->ac": "x @ y.T",
    "ab,ac->bc": "x.T @ y",
    "ab,ca->bc": "x.T @ y.T",
    "ab,bc->ca": "(x @ y).T",
    "ab,ac->cb": "y.T @ x",
    "ab,cb->ca": "y @ x.T",
    "ab,ca->cb": "y @ x",
    "ab,b->a": "x @ y",
    "ab,a->b": "y @ x",
    "a,ab->b": "x @ y",
    "a,ba->b": "y @ x",
    "a,a->": "x @ y",
    "abc,acd->abd": "x @ y",
}
"""Contractions that people write with `@`."""


def equation(e: Expr) -> str:
    """The subscripts as `numpy.einsum` reads them."""
    letters = string.ascii_letters
    spell = lambda names: "".join(letters[i] for i in names)  # noqa: E731
    operands = ",".join(spell(names) for names in e.params["indices"])
    return f"{operands}->{spell(e.params['out'])}"


def precision_source(precision: Any) -> str:
    """A precision, a pair of them, or an algorithm as JAX's `precision=` takes it."""
    match precision:
        case lax.Precision():
            return f"lax.Precision.{precision.name}"
        case lax.DotAlgorithmPreset():
            return f"lax.DotAlgorithmPreset.{precision.name}"
        case lax.DotAlgorithm():
            fields = (repr(f) if isinstance(f, int) else dtype_source(f) for f in precision)
            return f"lax.DotAlgorithm({', '.join(fields)})"
        case (first, second) if first == second:
            return precision_source(first)
        case _:
            return f"({', '.join(map(precision_source, precision))})"


def _einsum_source(e: Expr) -> str:
    options = ""
    if e.params["precision"] is not None:
        options += f", precision={precision_source(e.params['precision'])}"
    if e.params["dtype"] is not None:
        options += f", preferred_element_type={dtype_source(e.params['dtype'])}"
    text = equation(e)
    if text == "aa->a":
        return "jnp.diagonal(x)"
    product = MATMULS.get(text) if _same_dtype(e.args) else None
    if product is None:
        if text == "a,b->ab" and not options:
            return "jnp.outer(x, y)"
        return f'jnp.einsum("{text}", *xs{options})'
    if not options or product.startswith("("):
        return product if not options else f'jnp.einsum("{text}", *xs{options})'
    left, right = product.split(" @ ")
    return f"jnp.matmul({left}, {right}{options})"


def _same_dtype(operands: Sequence[Expr]) -> bool:
    return len({o.dtype for o in operands}) == 1


einsum_op = Op(
    "einsum",
    _einsum_type,
    _einsum_source,
    Multilinear(_einsum_adjoint),
    params=("indices", "out", "precision", "dtype"),
    flops=_einsum_flops,
)


def einsum(
    *operands: Expr,
    indices: tuple[Indices, ...],
    out: Indices,
    precision: Any = None,
    dtype: Any = None,
) -> Expr:
    """Sum of products: `indices[k]` names the axes of operand `k`, `out` those of the result."""
    scalar = next((i for i, o in enumerate(operands) if o.ndim == 0), None)
    if scalar is not None and len(operands) > 1 and dtype is None and _same_dtype(operands):
        rest = operands[:scalar] + operands[scalar + 1 :]
        names = indices[:scalar] + indices[scalar + 1 :]
        return einsum(*rest, indices=names, out=out, precision=precision) * operands[scalar]
    number: dict[int, int] = {}
    for names in (*indices, out):
        for name in names:
            number.setdefault(name, len(number))
    indices = tuple(tuple(number[i] for i in names) for names in indices)
    out = tuple(number[i] for i in out)
    if dtype is not None and dtype == natural_dtype(*(o.type for o in operands)):
        dtype = None
    if len(operands) == 1 and dtype is None and sorted(indices[0]) == sorted(out):
        permutation = tuple(indices[0].index(i) for i in out)
        if permutation == tuple(range(len(out))):
            return operands[0]
        return transpose(operands[0], permutation=permutation)
    return einsum_op(*operands, indices=indices, out=out, precision=precision, dtype=dtype)


def is_einsum(e: Expr) -> bool:
    return e.op is einsum_op


def inner_axes(e: Expr) -> tuple[int, ...] | None:
    """The axes over which an einsum adds up the products of two arrays, entry by entry.

    None for anything else, and where products are added up in another type.
    """
    if e.op is not einsum_op or len(e.args) != 2 or any(a.dtype != e.dtype for a in e.args):
        return None
    (first, second), out = e.params["indices"], e.params["out"]
    kept = tuple(name for name in first if name in out)
    if first != second or kept != tuple(out) or len(set(first)) != len(first):
        return None
    return tuple(i for i, name in enumerate(first) if name not in out)


def dot_general(
    x: Expr, y: Expr, *, contract: Any, batch: Any, precision: Any = None, dtype: Any = None
) -> Expr:
    """JAX's `dot_general` as an einsum: result axes are batch, then x's, then y's own."""
    x_names = list(range(x.ndim))
    y_names = list(range(x.ndim, x.ndim + y.ndim))
    for i, j in (*zip(*contract, strict=True), *zip(*batch, strict=True)):
        y_names[j] = x_names[i]
    shared = [x_names[i] for i in batch[0]]
    summed = {x_names[i] for i in contract[0]}
    own = [i for i in x_names if i not in shared and i not in summed]
    own += [i for i in y_names if i not in shared and i not in summed]
    indices = (tuple(x_names), tuple(y_names))
    return einsum(x, y, indices=indices, out=(*shared, *own), precision=precision, dtype=dtype)
