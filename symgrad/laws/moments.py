"""Sums of squares that cancel: variances, covariances and squared distances."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

from symgrad.expr import Expr, Type, add, mul, sub
from symgrad.laws.terms import Term, factors, scaled, terms, total, without_repetition
from symgrad.ops.contract import inner_axes, is_einsum
from symgrad.ops.moments import centered, squared_deviations
from symgrad.ops.pointwise import square
from symgrad.ops.shape import broadcast, reduce_sum
from symgrad.pattern import rewrites

PROTECTS = "cancellation of large squares"


class Product(NamedTuple):
    """factor * Σ x y over axes; no axes: the product itself."""

    factor: float
    x: Expr
    y: Expr
    axes: tuple[int, ...]

    @property
    def is_square(self) -> bool:
        return self.x is self.y

    @property
    def size(self) -> int:
        return math.prod(self.x.shape[a] for a in self.axes)


def _product(term: Term) -> Product | None:
    """A term as a product of two arrays of one shape, summed over some axes."""
    coefficient, e = term
    if e is None:
        return None
    if is_einsum(e):
        return _inner_product(coefficient, e)
    axes = e.params["axes"] if e.op is reduce_sum else ()
    inner, e = scaled(e.args[0] if e.op is reduce_sum else e)
    if e.op is square:
        factor, x = scaled(e.args[0])
        return Product(coefficient * inner * factor**2, x, x, axes)
    parts = (factors(e) or []) if e.op is mul else []
    if len(parts) != 2 or parts[0].shape != parts[1].shape:
        return None
    (a, x), (b, y) = (scaled(p) for p in parts)
    return Product(coefficient * inner * a * b, x, y, axes)


def _inner_product(coefficient: float, e: Expr) -> Product | None:
    axes = inner_axes(e)
    if axes is None:
        return None
    (a, x), (b, y) = (scaled(p) for p in e.args)
    return Product(coefficient * a * b, x, y, axes)


def _is_zero(sum: float, scale: float) -> bool:
    """Whether coefficients cancel, but for the rounding of their quotients in double precision."""
    return abs(sum) <= 1e-14 * abs(scale)


def _merged(parts: list[Term], type: Type) -> Iterator[Expr]:
    """What takes the place of a sum of products, in each way that merges two or three terms."""
    products = [_product(p) for p in parts]
    known = [i for i, p in enumerate(products) if p is not None]
    for i, j, k in itertools.permutations(known, 3):
        found = _square_of_difference(products[i], products[j], products[k]) if i < j else None
        if found is not None:
            yield _with_others(found, parts, (i, j, k), type)
    for i, j in itertools.permutations(known, 2):
        found = _about_the_mean(products[i], products[j])
        if found is not None:
            yield _with_others(found, parts, (i, j), type)


def _with_others(found: Term, parts: list[Term], merged: tuple[int, ...], type: Type) -> Expr:
    return total([found, *(p for i, p in enumerate(parts) if i not in merged)], type)


@rewrites(add, sub, exact=False, protects=PROTECTS)
def sums_of_products(e: Expr) -> Expr | None:
    """Σx² + Σy² - 2 Σxy = Σ(x - y)² and Σxy - n mean(x) mean(y) = Σ(x - mean(x))(y - mean(y))"""
    parts = terms(e) if e.type.real else None
    if parts is None or len(parts) < 2:
        return None
    found = next(_merged(parts, e.type), None)
    unrepeated = without_repetition(parts) if found is None else None
    if unrepeated is None:
        return found
    parts, repetition = unrepeated
    found = next(_merged(parts, repetition.args[0].type), None)
    return None if found is None else broadcast(found, **repetition.params)


def _square_of_difference(
    first: Product | None, second: Product | None, mixed: Product | None
) -> Term | None:
    """c Σx² + c Σy² ± 2c Σxy = c Σ(x ± y)²"""
    if first is None or second is None or mixed is None or mixed.is_square:
        return None
    x, y, factor = first.x, second.x, first.factor
    squares = first.is_square and second.is_square and {x, y} == {mixed.x, mixed.y}
    if not squares or len({first.axes, second.axes, mixed.axes}) != 1 or x.shape != y.shape:
        return None
    ratio = second.factor / factor
    if ratio <= 0 or abs(mixed.factor) != 2 * abs(factor) * math.sqrt(ratio):
        return None
    other = y if ratio == 1 else y * math.sqrt(ratio)
    power = square(x + other if mixed.factor * factor > 0 else x - other)
    return factor, reduce_sum(power, axes=first.axes) if first.axes else power


def _sum(e: Expr) -> tuple[float, Expr, tuple[int, ...]] | None:
    """`e` as a number times the sum of an array over axes."""
    factor, e = scaled(e)
    if e.op is not reduce_sum:
        return None
    inner, x = scaled(e.args[0])
    return factor * inner, x, e.params["axes"]


def _about_the_mean(products: Product | None, means: Product | None) -> Term | None:
    """c Σxy - c/n Σx Σy = c Σ(x - mean(x))(y - mean(y))"""
    if products is None or means is None or means.axes or not products.axes:
        return None
    first, second = _sum(means.x), _sum(means.y)
    if first is None or second is None:
        return None
    a, x, axes = first
    b, y, others = second
    if {x, y} != {products.x, products.y} or not axes == others == products.axes:
        return None
    factor = products.factor
    if not _is_zero(means.factor * a * b * products.size + factor, factor):
        return None
    if x is y:
        return factor, squared_deviations(x, axes=axes)
    return factor, reduce_sum(centered(x, axes=axes) * centered(y, axes=axes), axes=axes)
