"""Logarithms of determinants, which leave the range of numbers where the logarithm does not."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np

from symgrad.expr import Expr, add, item, mul, neg, sub
from symgrad.ops.calls import custom_jvp
from symgrad.ops.inverse import slogdet
from symgrad.ops.matrix import is_complex
from symgrad.ops.pointwise import abs_, exp, log
from symgrad.ops.shape import reshape_op, slice_
from symgrad.pattern import rewrites

WRITTEN_OUT = 3
"""JAX writes out the determinants of matrices with so many rows, or fewer."""

MOST_TERMS = 12

Entry = tuple[int, int]
Polynomial = Mapping[tuple[Entry, ...], int]
"""The coefficient of each product of entries of a matrix."""


@rewrites(log, exact=False, protects="underflow of determinants")
def log_of_determinant(e: Expr) -> Expr | None:
    """log det A = log |det A| + log sign det A"""
    (x,) = e.args
    magnitude = x.op is abs_
    owner = _determinant(*x.args if magnitude else (x,))
    if owner is None:
        return None
    logs = item(owner, index=1)
    return logs if magnitude else logs + log(item(owner, index=0))


def _determinant(x: Expr) -> Expr | None:
    """Sign and logarithm of a determinant."""
    if is_complex(x):
        return None
    if x.op is custom_jvp and not x.params["body"].effects:
        # JAX has a rule of its own for its derivative, which need not be taken then.
        owner = _exponential(x.params["body"].outputs[0])
        if owner is None or owner.args != x.params["body"].inputs:
            return None
        return slogdet(*x.args, **owner.params)
    if x.op in (add, sub):
        matrix = _written_out(x)
        return None if matrix is None else slogdet(matrix, definite=False)
    return _exponential(x)


def _exponential(x: Expr) -> Expr | None:
    """What a determinant is computed from as the exponential of a logarithm, times its sign."""
    if x.op is not mul or x.args[1].op is not exp:
        return None
    sign, (logs,) = x.args[0], x.args[1].args
    same = sign.op is item and logs.op is item and sign.args == logs.args
    return logs.args[0] if same and logs.args[0].op is slogdet else None


def _written_out(x: Expr) -> Expr | None:
    """The matrix of which `x` is the sum over permutations."""
    found: dict[Expr, tuple[Expr | None, Polynomial]] = {}
    stack = [x]
    while stack:
        node = stack[-1]
        below = node.args if node.op in (add, sub, mul, neg) else ()
        waiting = [a for a in below if a not in found]
        if waiting:
            stack.extend(waiting)
            continue
        known = _entry(node) if not below else _combined(node, [found[a] for a in below])
        if known is None:
            return None
        found[stack.pop()] = known
    matrix, polynomial = found[x]
    size = WRITTEN_OUT
    if x.dtype not in (np.float32, np.float64):
        return None  # LAPACK has no others
    if matrix is None or matrix.shape[-2:] != (size, size) or matrix.shape[:-2] != x.shape:
        return None
    return matrix if polynomial == _sum_over_permutations(size) else None


def _entry(x: Expr) -> tuple[Expr, Polynomial] | None:
    """One entry of each matrix."""
    if x.op is not reshape_op or x.args[0].op is not slice_:
        return None
    part = x.args[0]
    (matrix,), start = part.args, part.params["start"]
    if part.shape != (*matrix.shape[:-2], 1, 1) or x.shape != matrix.shape[:-2]:
        return None
    return matrix, {((start[-2], start[-1]),): 1}


def _combined(
    node: Expr, parts: list[tuple[Expr | None, Polynomial]]
) -> tuple[Expr | None, Polynomial] | None:
    """The polynomial of a sum or a product of polynomials in the entries of one matrix."""
    (matrix, first), *others = parts
    if any(m is not matrix for m, _ in others):
        return None
    if node.op is neg:
        return matrix, {k: -c for k, c in first.items()}
    ((_, second),) = others
    total: dict[tuple[Entry, ...], int] = {}
    if node.op is mul:
        for (k, c), (other, d) in itertools.product(first.items(), second.items()):
            key = tuple(sorted((*k, *other)))
            total[key] = total.get(key, 0) + c * d
    else:
        total = dict(first)
        for k, c in second.items():
            total[k] = total.get(k, 0) + (c if node.op is add else -c)
    return (matrix, total) if len(total) <= MOST_TERMS else None


def _sum_over_permutations(size: int) -> Polynomial:
    found = {}
    for order in itertools.permutations(range(size)):
        swaps = sum(a > b for a, b in itertools.combinations(order, 2))
        found[tuple(enumerate(order))] = (-1) ** swaps
    return found
