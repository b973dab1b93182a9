"""Matrices put together of smaller ones: blocks on the diagonal, Kronecker products, low rank.

What is asked of the whole is asked of the parts, which are never multiplied out.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass

from symgrad.expr import Expr, add, div, item, mul, neg, sub
from symgrad.laws.poles import is_positive_if_exact
from symgrad.laws.terms import terms, total
from symgrad.matrices import diagonal_entries
from symgrad.ops.contract import einsum, einsum_op
from symgrad.ops.inverse import inverse, mahalanobis, slogdet, solve, through_transposes
from symgrad.ops.matrix import (
    as_matrix,
    identity,
    is_complex,
    on_columns,
    padded,
    product,
    transposed,
)
from symgrad.ops.pointwise import abs_, integer_power, log, sign
from symgrad.ops.reduce import reduce_prod
from symgrad.ops.shape import (
    broadcast,
    concatenate,
    full,
    kept_along,
    pad,
    reduce_sum,
    reshape,
    reshape_op,
    slice_,
    transpose,
    uniform_value,
)
from symgrad.pattern import rewrites
from symgrad.structure import is_nonnegative

# Blocks on the diagonal


def _blocks(x: Expr) -> tuple[Expr, ...]:
    """The square blocks on the diagonal of a matrix that is zero elsewhere; none if it is not."""
    if x.ndim != 2 or x.op is not concatenate or x.params["axis"] != 0:
        return ()
    found, start = [], 0
    for rows in x.args:
        if rows.op is not pad or uniform_value(rows.args[1]) != 0:
            return ()
        block, size = rows.args[0], rows.shape[0]
        around = {"low": (0, start), "high": (0, x.shape[1] - start - size), "interior": (0, 0)}
        if block.shape != (size, size) or rows.params != around:
            return ()
        found.append(block)
        start += size
    return tuple(found)


@rewrites(solve, inverse, exact=False)
def inverse_by_blocks(e: Expr) -> Expr | None:
    """diag(A, B)⁻¹ = diag(A⁻¹, B⁻¹)"""
    a, *right = e.args
    parts = _blocks(a)
    if not parts:
        return None
    sizes = [p.shape[0] for p in parts]
    starts = list(itertools.accumulate(sizes, initial=0))
    if e.op is solve:
        (b,) = right
        rows = [_rows(b, start, n) for start, n in zip(starts, sizes, strict=False)]
        found = [solve(p, r, **e.params) for p, r in zip(parts, rows, strict=True)]
        return concatenate(*found, axis=0)
    total = sum(sizes)
    found = [
        padded(inverse(p, **e.params), 0, 0, start, total - start - n)
        for p, start, n in zip(parts, starts, sizes, strict=False)
    ]
    return concatenate(*found, axis=0)


def _rows(x: Expr, start: int, count: int) -> Expr:
    rest = (0,) * (x.ndim - 1)
    stop = (start + count, *x.shape[1:])
    return slice_(x, start=(start, *rest), stop=stop, step=(1,) * x.ndim)


@rewrites(item, exact=False)
def determinant_by_blocks(e: Expr) -> Expr | None:
    """det diag(A, B) = det A det B"""
    (owner,) = e.args
    parts = _blocks(*owner.args) if owner.op is slogdet else ()
    found = [item(slogdet(p, **owner.params), **e.params) for p in parts]
    return functools.reduce(add if e.params["index"] else mul, found) if found else None


# Kronecker products


@dataclass(frozen=True, slots=True)
class _Kronecker:
    """A ⊗ B of two matrices."""

    first: Expr
    second: Expr

    @property
    def square(self) -> bool:
        return all(x.shape[0] == x.shape[1] for x in (self.first, self.second))

    def written_out(self) -> Expr:
        (a, b), (c, d) = self.first.shape, self.second.shape
        shape = (a, c, b, d)
        whole = broadcast(self.first, shape=shape, axes=(0, 2))
        whole *= broadcast(self.second, shape=shape, axes=(1, 3))
        return reshape(whole, shape=(a * c, b * d))


def _kronecker(x: Expr) -> _Kronecker | None:
    if x.op is not reshape_op or x.ndim != 2 or x.args[0].op is not mul or x.args[0].ndim != 4:
        return None
    a, c, b, d = x.args[0].shape
    if x.shape != (a * c, b * d) or 0 in x.shape:
        return None
    for first, second in (x.args[0].args, x.args[0].args[::-1]):
        if _varies_along(first, (0, 2)) and _varies_along(second, (1, 3)):
            return _Kronecker(*first.args, *second.args)
    return None


def _varies_along(x: Expr, axes: tuple[int, int]) -> bool:
    """Whether a matrix is repeated along all other axes."""
    whole = tuple(x.shape[a] for a in axes)
    return x.op is broadcast and x.params["axes"] == axes and x.args[0].shape == whole


@rewrites(einsum_op, exact=False)
def product_with_kronecker(e: Expr) -> Expr | None:
    """(A ⊗ B) vec(X) = vec(A X Bᵀ), with the rows of X one after the other"""
    p = e.params
    for position, (x, names) in enumerate(zip(e.args, p["indices"], strict=True)):
        found = _kronecker(x) if p["dtype"] is None else None
        if found is not None:
            return _without_kronecker(e, position, found, names)
    return None


def _without_kronecker(e: Expr, position: int, x: _Kronecker, names: tuple[int, ...]) -> Expr:
    p = e.params
    fresh = itertools.count(1 + max(i for own in p["indices"] for i in own))
    (a, b), (c, d) = x.first.shape, x.second.shape
    split = {i: (next(fresh), next(fresh)) for i in dict.fromkeys(names)}
    sizes = dict(zip(names, ((a, c), (b, d)), strict=True))

    def apart(own: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(k for i in own for k in split.get(i, (i,)))

    operands, indices = [], []
    for k, (arg, own) in enumerate(zip(e.args, p["indices"], strict=True)):
        if k == position:
            rows, columns = (split[i] for i in own)
            operands += [x.first, x.second]
            indices += [(rows[0], columns[0]), (rows[1], columns[1])]
        else:
            shape = (
                n for i, size in zip(own, arg.shape, strict=True) for n in sizes.get(i, (size,))
            )
            operands.append(reshape(arg, shape=tuple(shape)))
            indices.append(apart(own))
    product = einsum(
        *operands, indices=tuple(indices), out=apart(p["out"]), precision=p["precision"]
    )
    return reshape(product, shape=e.shape)


@rewrites(solve, inverse, exact=False)
def inverse_of_kronecker(e: Expr) -> Expr | None:
    """(A ⊗ B)⁻¹ = A⁻¹ ⊗ B⁻¹"""
    a, *right = e.args
    found = _kronecker(a)
    if found is None or not found.square:
        return None
    params = {**e.params, "definite": False}
    if e.op is inverse:
        return _Kronecker(
            inverse(found.first, **params), inverse(found.second, **params)
        ).written_out()
    # Both factors may be negative definite where their product is positive.
    (b,) = right
    n, m = found.first.shape[0], found.second.shape[0]
    columns = math.prod(b.shape[1:])
    x = solve(found.first, reshape(b, shape=(n, m * columns)), **params)
    x = transpose(reshape(x, shape=(n, m, columns)), permutation=(1, 0, 2))
    x = solve(found.second, reshape(x, shape=(m, n * columns)), **params)
    x = transpose(reshape(x, shape=(m, n, columns)), permutation=(1, 0, 2))
    return reshape(x, shape=b.shape)


@rewrites(item, exact=False)
def determinant_of_kronecker(e: Expr) -> Expr | None:
    """det(A ⊗ B) = (det A)ᵐ (det B)ⁿ for A of n rows and B of m"""
    (owner,) = e.args
    found = _kronecker(*owner.args) if owner.op is slogdet else None
    if found is None or not found.square:
        return None
    n, m = found.first.shape[0], found.second.shape[0]
    parts = [item(slogdet(x, definite=False), **e.params) for x in (found.first, found.second)]
    if e.params["index"]:
        return m * parts[0] + n * parts[1]
    return integer_power(parts[0], m) * integer_power(parts[1], n)


# A diagonal and a matrix of low rank (M. Woodbury, Inverting modified matrices, 1950)

LARGEST_RANK = 0.25
"""Up to which part of the rows it pays to work with a matrix of low rank."""


@dataclass(frozen=True, slots=True)
class _LowRank:
    """D + U Uᵀ for a diagonal D of positive numbers, or of one number.

    Its inverse is that of D and of the small matrix C = 1 + Uᵀ D⁻¹ U, whose condition is no
    worse.
    """

    entries: Expr
    factor: Expr
    positive: bool

    @property
    def scaled_factor(self) -> Expr:
        """D⁻¹ U"""
        return self.factor / on_columns(self.entries, self.factor.shape)

    @property
    def capacitance(self) -> Expr:
        inner = product(transposed(self.factor), self.scaled_factor)
        return identity(inner) + inner

    def solved(self, b: Expr) -> Expr:
        """D⁻¹ b - D⁻¹ U C⁻¹ Uᵀ D⁻¹ b"""
        column = as_matrix(b) if b.ndim < self.factor.ndim else b
        alone = column / on_columns(self.entries, column.shape)
        inner = solve(
            self.capacitance,
            product(transposed(self.factor), alone),
            transpose=False,
            definite=False,
        )
        return reshape(alone - product(self.scaled_factor, inner), shape=b.shape)


def _low_rank(x: Expr) -> _LowRank | None:
    if x.ndim < 2 or x.shape[-1] != x.shape[-2] or is_complex(x):
        return None
    diagonals, others = [], []
    for term in terms(x) or ():
        entries = None if term[1] is None else diagonal_entries(term[1])
        if entries is None:
            others.append(term)
        else:
            diagonals.append((term[0], entries))
    if not diagonals or len(others) != 1:
        return None
    ((scale, gram),) = others
    factor = None if gram is None else _gram_factor(gram)
    entries = total(diagonals, x.type.with_shape(x.shape[:-1]))
    same = _is_one_number(entries)
    positive = is_positive_if_exact(entries) or (same and is_nonnegative(entries))
    if factor is None or scale <= 0 or not (same or positive):
        return None
    return _LowRank(entries, factor if scale == 1 else factor * math.sqrt(scale), positive)


def _is_one_number(entries: Expr) -> bool:
    """Whether all entries of each vector are the same."""
    waiting = [entries]
    while waiting:
        node = waiting.pop()
        if node.op in (add, sub, neg, mul, div):
            waiting += node.args
        elif kept_along(node, node.ndim - 1) is None:
            return False
    return True


def _gram_factor(x: Expr) -> Expr | None:
    """U of U Uᵀ for a U of few columns."""
    operands = _named_operands(x)
    if operands is None:
        return None
    ((u, names), (v, others)), out = operands
    front, (i, j) = out[:-2], out[-2:]
    summed = tuple(k for k in names if k not in out)
    rows = i if i in names else j
    exchanged = tuple({i: j, j: i}.get(a, a) for a in names)
    if u is not v or exchanged != others or sorted((*front, rows, *summed)) != sorted(names):
        return None
    columns = math.prod(u.shape[names.index(k)] for k in summed)
    if len(summed) > 1 or columns > LARGEST_RANK * x.shape[-1] or len(set(out)) < len(out):
        return None
    order = tuple(names.index(a) for a in (*front, rows, *summed))
    ordered = u if order == tuple(range(u.ndim)) else transpose(u, permutation=order)
    return ordered if summed else as_matrix(ordered)


_Named = tuple[Expr, tuple[int, ...]]


def _named_operands(x: Expr) -> tuple[tuple[_Named, _Named], tuple[int, ...]] | None:
    """Two arrays with names of their axes, and those of their product."""
    if x.op is mul and all(a.op is broadcast for a in x.args):
        first, second = ((a.args[0], a.params["axes"]) for a in x.args)
        return (first, second), tuple(range(x.ndim))
    if x.op is not einsum_op or len(x.args) != 2 or x.params["dtype"] is not None:
        return None
    named = zip(x.args, x.params["indices"], strict=True)
    first, second = (_without_unit_axes(*through_transposes(a, names)) for a, names in named)
    return (first, second), x.params["out"]


def _without_unit_axes(x: Expr, names: tuple[int, ...]) -> _Named:
    """What axes of size 1 were added to."""
    grown = x.op in (broadcast, reshape_op)
    if not grown or x.args[0].shape != tuple(n for n in x.shape if n != 1):
        return x, names
    return x.args[0], tuple(k for k, n in zip(names, x.shape, strict=True) if n != 1)


@rewrites(solve, inverse, exact=False)
def inverse_of_low_rank(e: Expr) -> Expr | None:
    """(D + U Uᵀ)⁻¹ = D⁻¹ - D⁻¹ U (1 + Uᵀ D⁻¹ U)⁻¹ Uᵀ D⁻¹ for a diagonal D"""
    a, *right = e.args
    found = _low_rank(a)
    return None if found is None else found.solved(*(right or [identity(a)]))


@rewrites(mahalanobis, exact=False)
def length_by_low_rank(e: Expr) -> Expr | None:
    """bᵀ (D + U Uᵀ)⁻¹ b by the inverse of a small matrix"""
    a, b = e.args
    found = _low_rank(a)
    return None if found is None else reduce_sum(b * found.solved(b), axes=(a.ndim - 2,))


@rewrites(item, exact=False)
def determinant_of_low_rank(e: Expr) -> Expr | None:
    """det(D + U Uᵀ) = det D det(1 + Uᵀ D⁻¹ U) for a diagonal D"""
    (owner,) = e.args
    found = _low_rank(*owner.args) if owner.op is slogdet else None
    if found is None:
        return None
    small = slogdet(found.capacitance, definite=False)
    last = (found.entries.ndim - 1,)
    if e.params["index"]:
        sizes = found.entries if found.positive else abs_(found.entries)
        return reduce_sum(log(sizes), axes=last) + item(small, index=1)
    if found.positive:
        return full(1, e.type)
    return reduce_prod(sign(found.entries), axes=last) * item(small, index=0)
