"""What matrices are known to be: triangles, and factorisations that contain one another."""

from __future__ import annotations

import numpy as np

from symgrad.expr import Expr, add, item, literal_value, mul, neg
from symgrad.matrices import (
    as_vector,
    is_definite,
    is_diagonal,
    is_identity,
    is_orthogonal,
    is_symmetric,
    triangle,
)
from symgrad.ops.contract import einsum_op
from symgrad.ops.inverse import applied, as_solution, inverse, slogdet, solve
from symgrad.ops.linalg import cholesky, eig, svd
from symgrad.ops.matrix import (
    as_matrix,
    diagonal,
    identity,
    is_complex,
    on_columns,
    transposed,
    tril,
    triu,
)
from symgrad.ops.pointwise import abs_, ge, log, select, sign
from symgrad.ops.reduce import reduce_prod, reduce_sum
from symgrad.ops.shape import broadcast, iota, reshape, transpose
from symgrad.ops.solve import triangular_solve
from symgrad.pattern import rewrites
from symgrad.walk import Graph, substitute


@rewrites(select, exact=True)
def triangle_from_comparison(e: Expr) -> Expr | None:
    """where(row + k >= column, x, 0) = tril(x, k), and the other way round triu(x, k + 1)"""
    which, on_true, on_false = e.args
    offset = _diagonal_of(which)
    if offset is None:
        return None
    if on_true.shape == e.shape and _is_zero(on_false):
        return tril(on_true, offset=offset)
    if on_false.shape == e.shape and _is_zero(on_true):
        return triu(on_false, offset=offset + 1)
    return None


def _is_zero(x: Expr) -> bool:
    value = literal_value(x.args[0] if x.op is broadcast else x)
    return value is not None and value == 0 and not np.signbit(np.real(value))


def _diagonal_of(mask: Expr) -> int | None:
    """k if a mask says row + k >= column in the last two axes."""
    if mask.op is broadcast and mask.params["axes"] == (mask.ndim - 2, mask.ndim - 1):
        (mask,) = mask.args
    if mask.op is not ge or mask.ndim != 2:
        return None
    rows, columns = (_counted(x, axis) for x, axis in zip(mask.args, (0, 1), strict=True))
    return None if rows is None or columns is None else rows - columns


def _counted(x: Expr, axis: int) -> int | None:
    """k if `x` counts k, k + 1, ... along one axis of a matrix."""
    if x.op is not broadcast or x.params["axes"] != (axis,):
        return None
    (counter,) = x.args
    start = 0
    if counter.op is add:
        values = [literal_value(a) for a in counter.args]
        start = next((int(v) for v in values if v is not None), 0)
        (counter, *rest) = [a for a, v in zip(counter.args, values, strict=True) if v is None]
        if rest:
            return None
    full = counter.shape == (x.shape[axis],)
    return start if counter.op is iota and full and np.dtype(counter.dtype).kind == "i" else None


@rewrites(tril, exact=True)
def triangle_of_a_factor(e: Expr) -> Expr | None:
    """tril(L) = L for a lower triangular factor"""
    (x,) = e.args
    return x if x.op is cholesky and e.params["offset"] >= 0 else None


@rewrites(einsum_op, exact=False)
def product_with_inverse(e: Expr) -> Expr | None:
    """A⁻¹ b is the solution of A x = b"""
    return as_solution(e)


@rewrites(solve, exact=False)
def solution_for_identity(e: Expr) -> Expr | None:
    """A X = 1 has the solution A⁻¹"""
    a, b = e.args
    if b.ndim != a.ndim or not is_identity(b):
        return None
    found = inverse(a, definite=e.params["definite"])
    return transposed(found) if e.params["transpose"] else found


@rewrites(inverse, solve, exact=False)
def transposed_matrix(e: Expr) -> Expr | None:
    """(Aᵀ)⁻¹ = (A⁻¹)ᵀ"""
    a, *others = e.args
    if a.op is not transpose or transposed(a.args[0]) is not a:
        return None
    if e.op is solve:
        turned, definite = e.params["transpose"], e.params["definite"]
        turned = not (turned or definite)
        return solve(*a.args, *others, transpose=turned, definite=definite)
    return transposed(inverse(*a.args, **e.params))


@rewrites(item, exact=False)
def determinant_of_transpose(e: Expr) -> Expr | None:
    """det Aᵀ = det A"""
    (owner,) = e.args
    if owner.op is not slogdet:
        return None
    (a,) = owner.args
    if a.op is not transpose or transposed(a.args[0]) is not a:
        return None
    return item(slogdet(*a.args, **owner.params), **e.params)


@rewrites(solve, exact=False, derivatives_only=True)
def solution_for_multiple(e: Expr) -> Expr | None:
    """A⁻¹ (c b) = c A⁻¹ b"""
    a, b = e.args
    if b.op is neg:
        return -solve(a, *b.args, **e.params)
    if b.op is not mul:
        return None
    scale, x = b.args if b.args[0].ndim == 0 else b.args[::-1]
    return scale * solve(a, x, **e.params) if scale.ndim == 0 else None


@rewrites(solve, exact=False)
def symmetric_equations(e: Expr) -> Expr | None:
    """Aᵀ x = b is A x = b for symmetric matrices"""
    if e.params["transpose"] and is_symmetric(e.args[0]):
        return solve(*e.args, **{**e.params, "transpose": False})
    return None


@rewrites(transpose, exact=False)
def transpose_of_symmetric(e: Expr) -> Expr | None:
    """Aᵀ = A for symmetric matrices"""
    (x,) = e.args
    return x if x.ndim > 1 and transposed(x) is e and is_symmetric(x) else None


@rewrites(solve, exact=True)
def solution_for_one_column(e: Expr) -> Expr | None:
    """A matrix of one column is a vector"""
    a, b = e.args
    vector = as_vector(b) if b.ndim == a.ndim else None
    return None if vector is None else reshape(solve(a, vector, **e.params), shape=b.shape)


@rewrites(item, exact=False)
def determinant_of_definite(e: Expr) -> Expr | None:
    """log det A = 2 Σ log diag L for A = L Lᵀ that is known to be positive definite"""
    (owner,) = e.args
    if owner.op is not slogdet or owner.params["definite"] or not is_definite(*owner.args):
        return None
    return item(slogdet(*owner.args, definite=True), **e.params)


@rewrites(inverse, solve, exact=False)
def definite_matrix(e: Expr) -> Expr | None:
    """A matrix that is known to be positive definite has a Cholesky factor"""
    if e.params["definite"] or not is_definite(e.args[0]):
        return None
    turned = {"transpose": False} if e.op is solve else {}
    return e.op(*e.args, **{**e.params, **turned, "definite": True})


@rewrites(inverse, solve, exact=False)
def diagonal_matrix(e: Expr) -> Expr | None:
    """A⁻¹ b of a diagonal matrix is a quotient entry by entry"""
    a, *right = e.args
    if not is_diagonal(a):
        return None
    entries = diagonal(a)
    if e.op is solve:
        return right[0] / (entries if right[0].ndim < a.ndim else on_columns(entries, e.shape))
    return identity(a) * on_columns(1 / entries, a.shape)


@rewrites(solve, exact=False)
def triangular_matrix(e: Expr) -> Expr | None:
    """A⁻¹ b of a triangular matrix is found row by row"""
    a, b = e.args
    which = triangle(a)
    if which is None:
        return None
    column = as_matrix(b) if b.ndim < a.ndim else b
    lower, turned = which == "lower", e.params["transpose"]
    found = triangular_solve(a, column, left=True, lower=lower, transpose=turned)
    return reshape(found, shape=b.shape)


@rewrites(inverse, solve, exact=False)
def orthogonal_matrix(e: Expr) -> Expr | None:
    """A⁻¹ = Aᵀ for orthogonal matrices"""
    a, *right = e.args
    if not is_orthogonal(a) or is_complex(a):
        return None
    if e.op is inverse:
        return transposed(a)
    return applied(a if e.params["transpose"] else transposed(a), *right)


@rewrites(item, exact=False)
def determinant_by_entries(e: Expr) -> Expr | None:
    """log |det A| = Σ log |aᵢᵢ| of a triangular matrix"""
    (owner,) = e.args
    if owner.op is not slogdet or is_complex(owner.args[0]):
        return None
    (a,) = owner.args
    if triangle(a) is None and not is_diagonal(a):
        return None
    entries = diagonal(a)
    last = (entries.ndim - 1,)
    if e.params["index"]:
        return reduce_sum(log(abs_(entries)), axes=last)
    return reduce_prod(sign(entries), axes=last)


@rewrites(inverse, exact=False)
def inverse_of_inverse(e: Expr) -> Expr | None:
    """(A⁻¹)⁻¹ = A"""
    (x,) = e.args
    return x.args[0] if x.op is inverse else None


def merge_factorisations(graph: Graph) -> Graph:
    """Singular values and eigenvalues are read off a factorisation that has the vectors too.

    Their derivatives need the vectors, so differentiation asks for them.
    """
    nodes = graph.nodes
    replacement = {}
    for node in nodes:
        if node.op is svd and not node.params["compute_uv"]:
            same = {"full_matrices": False, "compute_uv": True}
            replacement |= _read_off(node, {**node.params, **same}, 1, nodes)
        elif node.op is eig and not (node.params["left"] or node.params["right"]):
            replacement |= _read_off(node, {**node.params, "right": True}, 0, nodes)
    if not replacement:
        return graph
    renamed = dict(zip(nodes, substitute(nodes, replacement), strict=True))
    origins = {renamed[n]: o for n, o in graph.origins.items() if n in renamed}
    return graph.with_roots([renamed[r] for r in graph.roots], {**graph.origins, **origins})


def _read_off(node: Expr, params: dict[str, object], index: int, nodes: list[Expr]) -> dict:
    whole = node.op(*node.args, **params)
    return {node: item(whole, index=index)} if whole in nodes else {}
