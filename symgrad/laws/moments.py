"""Sums of squares that cancel: variances, covariances and squared distances."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from symgrad.expr import Expr, Type, add, sub
from symgrad.laws.contractions import (
    Contraction,
    Factor,
    Names,
    added_up,
    contraction,
    multiplied,
    placed,
    renamings,
    used,
)
from symgrad.laws.terms import Term, scaled, squared, terms, total
from symgrad.ops.distances import common_point, squared_distances
from symgrad.ops.moments import centered, squared_deviations
from symgrad.ops.pointwise import convert, convert_op, square
from symgrad.ops.shape import expand, reduce_sum, reshape
from symgrad.pattern import rewrites

PROTECTS = "cancellation of large squares"

DEEPEST = 1
"""So many sums inside each other are opened: what is squared may itself be a sum."""

MOST_SUMMED = 6
"""Sums over more axes than that are not compared."""

SMALL = 4096
"""So many differences are computed, even if there is no array of that size yet: for more of them
a product of matrices is faster."""


def _is_zero(sum: float, scale: float) -> bool:
    """Whether coefficients cancel, but for the rounding of their quotients in double precision."""
    return abs(sum) <= 1e-14 * abs(scale)


@rewrites(add, sub, exact=False, protects=PROTECTS)
def moment_in_half_precision(e: Expr) -> Expr | None:
    """mean(x²) - mean(x)², where the means are rounded from single precision, in that"""
    half = e.type.real and e.dtype.itemsize == 2
    parts = terms(e) if half else None
    wider = [None if node is None else _in_single(node) for _, node in parts or ()]
    known = [node for node in wider if node is not None]
    if parts is None or not known or len(known) < len(wider):
        return None
    whole = total([(c, node) for (c, _), node in zip(parts, known, strict=True)], known[0].type)
    found = sums_of_products.rewrite(whole)
    return None if found is None else convert(found, dtype=e.dtype)


def _in_single(e: Expr) -> Expr | None:
    """A value that was rounded from single precision, or the square of one, before rounding."""
    root = squared(e)
    inner = e if root is None else root
    if inner.op is not convert_op or inner.args[0].dtype != np.float32:
        return None
    (c, node) = scaled(inner.args[0])
    if node.op is not reduce_sum or node.args[0].op is not convert_op:
        return None
    (x,) = node.args[0].args
    base = squared(x)
    entries = (
        convert(x, dtype=node.dtype) if base is None else square(convert(base, dtype=node.dtype))
    )
    found = total([(c, reduce_sum(entries, **node.params))], node.type)
    return found if root is None else square(found)


@rewrites(add, sub, exact=False, protects=PROTECTS)
def sums_of_products(e: Expr) -> Expr | None:
    """Σx² + Σy² - 2 Σxy = Σ(x - y)² and Σxy - n mean(x) mean(y) = Σ(x - mean(x))(y - mean(y))"""
    parts = terms(e) if e.type.real else None
    if parts is None or len(parts) < 2:
        return None
    for depth in range(DEEPEST + 1):
        read = [None if x is None else contraction(c, x, e.shape, depth) for c, x in parts]
        found = next(_merged(parts, read, e.type), None)
        # Two arrays may have matched as they are where the sums that they are would not.
        if found is not None or not any(p is not None and p.deeper for p in read):
            return found
    return None


def _merged(parts: list[Term], read: list[Contraction | None], type: Type) -> Iterator[Expr]:
    """What takes the place of a sum of products, in each way that merges two or three terms."""
    known = [i for i, p in enumerate(read) if p is not None and len(p.factors) > 1]
    every = tuple(range(len(type.shape)))
    for chosen in (*itertools.permutations(known, 2), *_triples(known)):
        some = [p for i in chosen if (p := read[i]) is not None]
        found = _about_the_mean(*some) if len(some) == 2 else _square_of_difference(*some)
        if found is not None:
            whole = placed(found[1], every, dict(enumerate(type.shape)))
            rest = [p for i, p in enumerate(parts) if i not in chosen]
            yield total([(found[0], whole), *rest], type)


def _triples(places: list[int]) -> Iterator[tuple[int, int, int]]:
    return ((i, j, k) for i, j, k in itertools.permutations(places, 3) if i < j)


Merged = tuple[float, Factor]
"""A coefficient, and what it multiplies with the names of its axes."""


# Means


def _about_the_mean(products: Contraction, means: Contraction) -> Merged | None:
    """c Σxy - c/n Σx Σy = c Σ(x - mean(x))(y - mean(y))"""
    if products.coefficient * means.coefficient >= 0 or not products.summed:
        return None
    if len(products.factors) != len(means.factors):
        return None
    if Counter(f.array for f in products.factors) != Counter(f.array for f in means.factors):
        return None
    if not len(products.summed) < len(means.summed) <= MOST_SUMMED:
        return None
    wanted = Counter(products.factors)
    for names in renamings(means.summed, products.summed, means.sizes, products.sizes):
        if means.renamed(names) == wanted:
            found = _divided(means, names)
            if found is not None:
                return _centred(products, means, found)
    return None


class _Sides(NamedTuple):
    """The factors of a product of two sums by the names that both are summed over as one."""

    first: list[Factor]
    second: list[Factor]
    common: list[Factor]
    names: Names


def _divided(means: Contraction, names: Mapping[int, int]) -> _Sides | None:
    """The factors that are summed apart, if they are those of two sums over the same axes."""
    count = Counter(names[n] for n in means.summed)
    twice = {n for n in means.summed if count[names[n]] > 1}
    sides: list[tuple[set[int], list[Factor]]] = []
    common = []
    for f in means.factors:
        apart, members = twice.intersection(f.names), [f.renamed(names)]
        if not apart:
            common += members
            continue
        for side in [s for s in sides if s[0] & apart]:
            sides.remove(side)
            apart, members = apart | side[0], side[1] + members
        sides.append((apart, members))
    shared = [sorted(names[n] for n in apart) for apart, _ in sides]
    if len(sides) != 2 or shared[0] != shared[1]:
        return None
    return _Sides(sides[0][1], sides[1][1], common, tuple(shared[0]))


def _centred(products: Contraction, means: Contraction, sides: _Sides) -> Merged | None:
    size, factor = math.prod(products.sizes[n] for n in sides.names), products.coefficient
    if not _is_zero(means.coefficient * size + factor, factor):
        return None
    x, y = (multiplied(side, products.sizes) for side in (sides.first, sides.second))
    rest = [f for f in sides.common if any(n >= products.rank for n in f.names)]
    outside = [f for f in sides.common if f not in rest]
    if x == y and not rest:
        axes = tuple(x.names.index(n) for n in sides.names)
        kept = tuple(n for n in x.names if n not in sides.names)
        found = Factor(squared_deviations(x.array, axes=axes), kept)
    else:
        deviations = [_deviations(side, sides.names) for side in (x, y)]
        found = added_up([*deviations, *rest], products)
    return factor, multiplied([found, *outside], products.sizes)


def _deviations(x: Factor, names: Names) -> Factor:
    return Factor(centered(x.array, axes=tuple(x.names.index(n) for n in names)), x.names)


# Differences


def _square_of_difference(
    first: Contraction, second: Contraction, mixed: Contraction
) -> Merged | None:
    """c Σx² + c Σy² ± 2c Σxy = c Σ(x ± y)²"""
    if first.coefficient * second.coefficient <= 0 or len(first.factors) % 2:
        return None
    if len(first.factors) + len(second.factors) != 2 * len(mixed.factors):
        return None
    x, y = _root(first), _root(second)
    if x is None or y is None:
        return None
    if Counter(f.array for f in (*x, *y)) != Counter(f.array for f in mixed.factors):
        return None
    if max(len(t.summed) for t in (first, second, mixed)) > MOST_SUMMED:
        return None
    wanted = Counter(mixed.factors)
    for names in renamings(first.summed, mixed.summed, first.sizes, mixed.sizes):
        renamed = [f.renamed(names) for f in x]
        if Counter(renamed) - wanted:
            continue
        for others in renamings(second.summed, mixed.summed, second.sizes, mixed.sizes):
            both = [f.renamed(others) for f in y]
            if Counter(renamed) + Counter(both) == wanted:
                return _differences((first, second, mixed), renamed, both)
    return None


def _root(term: Contraction) -> list[Factor] | None:
    """The factors of x of Σx²."""
    count = Counter(term.factors)
    if any(n % 2 for n in count.values()):
        return None
    return [f for f, n in count.items() for _ in range(n // 2)]


def _differences(
    parts: tuple[Contraction, Contraction, Contraction], x: list[Factor], y: list[Factor]
) -> Merged | None:
    first, second, mixed = parts
    # A square that is the same in all summands counts once for each of them.
    a = first.coefficient / _repeated(x, mixed)
    b = second.coefficient / _repeated(y, mixed)
    ratio = b / a
    expected = 2 * abs(a) * math.sqrt(ratio)
    if not _is_zero(abs(mixed.coefficient) - expected, expected):
        return None
    u, v = multiplied(x, mixed.sizes), multiplied(y, mixed.sizes)
    v = v if ratio == 1 else Factor(v.array * math.sqrt(ratio), v.names)
    v = Factor(-v.array, v.names) if mixed.coefficient * a > 0 else v
    names = used((u, v))
    largest = max(part.largest for part in parts)
    if math.prod(mixed.sizes[n] for n in names) <= max(SMALL, largest):
        return a, _sum_of_squares(u, v, mixed)
    return _by_rows(a, u, v, mixed) if mixed.einsum else None


def _repeated(factors: list[Factor], mixed: Contraction) -> int:
    return math.prod(mixed.sizes[n] for n in mixed.summed if n not in used(factors))


def _sum_of_squares(x: Factor, y: Factor, mixed: Contraction) -> Factor:
    names = used((x, y))
    power = square(placed(x, names, mixed.sizes) - placed(y, names, mixed.sizes))
    out = tuple(n for n in names if n < mixed.rank)
    axes = tuple(range(len(out), len(names)))
    return Factor(reduce_sum(power, axes=axes) if axes else power, out)


def _by_rows(factor: float, x: Factor, y: Factor, mixed: Contraction) -> Merged | None:
    """Σ(x - y)² for all pairs of many rows, without an array of all differences.

    A product of matrices stays one. A point that is near to all rows is taken off before, if
    there is any: it is what cancels when distances are small beside how far off all rows are.
    """
    own = [n for n in x.names if n not in y.names]
    others = [n for n in y.names if n not in x.names]
    both = [n for n in x.names if n in y.names and n < mixed.rank]
    summed = list(mixed.summed)
    if any(n >= mixed.rank for n in own + others) or not summed:
        return None
    sizes = [[mixed.sizes[n] for n in names] for names in (both, own, others, summed)]
    batch, n, m, d = sizes[0], *(math.prod(s) for s in sizes[1:])
    rows = reshape(placed(x, (*both, *own, *summed), mixed.sizes), shape=(*batch, n, d))
    columns = reshape(placed(y, (*both, *others, *summed), mixed.sizes), shape=(*batch, m, d))
    point = common_point(rows, columns)
    found = squared_distances(
        rows - _along(point, rows), columns - _along(point, columns), precision=mixed.precision
    )
    names = (*both, *own, *others)
    return factor, Factor(reshape(found, shape=(*batch, *sizes[1], *sizes[2])), names)


def _along(point: Expr, rows: Expr) -> Expr:
    return expand(point, (rows.ndim - 2,), rows.shape)
