"""Quotients whose parts leave the range of numbers, or whose slopes cancel, where they do not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from symgrad.expr import Expr, add, div, mul, sub
from symgrad.laws.algebra import LARGEST_SCALE
from symgrad.laws.norms import length_of_square, squared_length
from symgrad.laws.terms import SPREADING, factors, number, power_of, product, scaled, squared, total
from symgrad.ops.contract import einsum_op, inner_axes
from symgrad.ops.differences import root_of_square_plus
from symgrad.ops.norm import cosine_op, norm, unit, unit_op
from symgrad.ops.pointwise import abs_, convert_op, integer_power, sqrt, square
from symgrad.ops.shape import broadcast, reduce_sum, uniform_value
from symgrad.ops.shares import geometric_mean, over_hypotenuse, share, softsign
from symgrad.pattern import equation, rewrites

OVERFLOW = "overflow on the way"
CANCELS = "a slope that is a difference of nearly equal numbers"
LARGEST_POWER = 3
"""By so many factors a number is divided one after the other."""


# Powers


def _power(e: Expr) -> tuple[Expr, int] | None:
    """A power that may leave the range as its base and exponent."""
    if e.op in SPREADING:
        (inner,) = e.args
        found = _power(inner) if inner.op not in SPREADING else None
        return None if found is None else (e.op(found[0], **e.params), found[1])
    if (length := length_of_square(e)) is not None:
        return length, 2
    return power_of(e)


@rewrites(div, exact=False, protects=OVERFLOW)
def division_by_a_power(e: Expr) -> Expr | None:
    """a / xⁿ = a (1/x) ... (1/x) and x y / r² = (x / r) (y / r), which stay in between

    Divisions one after the other would not do: XLA makes a / (x x) of a / x / x.
    """
    top, bottom = e.args
    factor, inner = scaled(bottom)
    if not e.type.real or not 1 / LARGEST_SCALE <= abs(factor) <= LARGEST_SCALE:
        return None
    found = _power(inner)
    if found is None or uniform_value(found[0]) is not None:
        return None
    base, exponent = found
    if exponent > LARGEST_POWER and uniform_value(top) != 1:
        return None
    inverse = 1 / base
    split = _split_power(top, inverse) if exponent == 2 else None
    split = _times_power(top, inverse, exponent) if split is None else split
    return total([(1 / factor, split)], e.type)


def _split_power(top: Expr, inverse: Expr) -> Expr | None:
    """Two factors above, each divided by one below."""
    if top.op is square:
        return square(top.args[0] * inverse)
    parts = factors(top) if top.op is mul else None
    if parts is None or len(parts) != 2 or any(number(p) is not None for p in parts):
        return None
    x, y = (p * inverse for p in parts)
    return square(x) if x is y else x * y


def _times_power(top: Expr, inverse: Expr, exponent: int) -> Expr:
    if uniform_value(top) == 1:
        return integer_power(inverse, exponent)
    for _ in range(exponent):
        top = top * inverse
    return top


@rewrites(div, mul, exact=False, written_only=True, protects=OVERFLOW)
def power_times_a_number_far_from_one(e: Expr) -> Expr | None:
    """c x² = x (x c) for a number c so large or small that x² alone may leave the range"""
    if not e.type.real or not any(number(a) for a in e.args):
        return None
    factor, inner = scaled(e)
    found = power_of(inner)
    if found is None or not factor or 1 / LARGEST_SCALE <= abs(factor) <= LARGEST_SCALE:
        return None
    # XLA gathers the numbers in a product, so that there may be one only.
    (k, base), exponent = scaled(found[0]), found[1]
    product_so_far = total([(factor * k**exponent, base)], base.type)
    for _ in range(exponent - 1):
        product_so_far = base * product_so_far
    return product_so_far if exponent <= LARGEST_POWER else None


# Lengths


class PowerSum(NamedTuple):
    """(Σ xᵐ)ⁿ over axes"""

    x: Expr
    axes: tuple[int, ...]
    inner: int
    outer: int


def _power_sum(e: Expr) -> PowerSum | None:
    whole, outer = power_of(e) or (e, 1)
    if (length := squared_length(whole)) is not None:
        return PowerSum(length.args[0], length.params["axes"], 2, outer)
    found = _whole_power(whole.args[0]) if whole.op is reduce_sum else None
    return found and PowerSum(found[0], whole.params["axes"], found[1], outer)


def _whole_power(e: Expr) -> tuple[Expr, int] | None:
    """A power, perhaps written as a product of equal factors."""
    parts = factors(e) or ()
    return (parts[0], len(parts)) if len(parts) > 1 and len(set(parts)) == 1 else power_of(e)


@rewrites(div, exact=False, protects=OVERFLOW)
def ratio_of_power_sums(e: Expr) -> Expr | None:
    """(Σx²)² / Σx⁴ = 1 / Σ(x / |x|)⁴, and so for all powers of one degree"""
    (a, first), (b, second) = map(scaled, e.args)
    above, below = _power_sum(first), _power_sum(second)
    if above is None or below is None or above[:2] != below[:2] or not e.type.real:
        return None
    if above.inner == below.inner or above.inner * above.outer != below.inner * below.outer:
        return None
    x, axes = above[:2]
    shares = unit(x, axes)
    top, bottom = (
        integer_power(reduce_sum(integer_power(shares, s.inner), axes=axes), s.outer)
        for s in (above, below)
    )
    # The squares of shares add up to 1.
    if below.inner == 2:
        return total([(a / b, top)], e.type)
    return total([(a / b, 1 / bottom if above.inner == 2 else top / bottom)], e.type)


@rewrites(div, exact=False, protects=OVERFLOW)
def cosine_of_an_angle(e: Expr) -> Expr | None:
    """x·y / (|x| |y|) = (x / |x|)·(y / |y|), also of many vectors"""
    top, bottom = e.args
    parts = factors(bottom) if e.type.real and top.ndim == e.ndim else None
    if parts is None or not any(_unconverted(_unrepeated(p)).op is norm for p in parts):
        return None
    found = _inner_product(top)
    if found is None:
        return None
    rest = [p for p in parts if not found.divided(p)]
    if len(rest) == len(parts):
        return None
    return found.rebuilt() / product(rest) if rest else found.rebuilt()


@dataclass(slots=True)
class _InnerProduct:
    """Arrays that are multiplied and summed over the axes whose names the result does not have.

    Half precision is added up in single.
    """

    node: Expr
    operands: list[Expr]
    indices: list[tuple[int, ...]]
    out: tuple[int, ...]

    def divided(self, length: Expr) -> bool:
        """Divide an operand by the lengths of its vectors, if these are such lengths."""
        node, names = length, self.out if length.ndim else ()
        if node.op is broadcast:
            (node,), axes = node.args, node.params["axes"]
            names = tuple(names[a] for a in axes)
        size, node = node, _unconverted(node)
        if node.op is not norm or len(names) != node.ndim:
            return False
        axes, vectors = node.params["axes"], _unconverted(*node.args)
        for i, (x, own) in enumerate(zip(self.operands, self.indices, strict=True)):
            kept = tuple(n for a, n in enumerate(own) if a not in axes)
            summed = not set(own).difference(kept) & set(self.out)
            if x is vectors and x.dtype == size.dtype and kept == names and summed:
                self.operands[i] = unit(x, axes, size)
                return True
        return False

    def rebuilt(self) -> Expr:
        if (cosine := self._cosine()) is not None:
            return cosine
        if self.node.op is einsum_op:
            return einsum_op(*self.operands, **self.node.params)
        if self.node.op is mul:
            return product(self.operands)
        (inner,) = self.node.args
        return self.node.op(replace(self, node=inner).rebuilt(), **self.node.params)

    def _cosine(self) -> Expr | None:
        """The inner products of one vector with one other, both of which have been divided."""
        axes = self.node.params.get("axes") if self.node.op is reduce_sum else inner_axes(self.node)
        x, y = self.operands if len(self.operands) == 2 else (self.node, self.node)
        divided = all(a.op is unit_op and a.params["axes"] == axes for a in (x, y))
        if not divided or x.dtype != self.node.dtype:
            return None
        (first, inverse), (second, other) = x.args, y.args
        return cosine_op(first, second, inverse, other, axes=axes)


def _inner_product(e: Expr) -> _InnerProduct | None:
    if e.op is einsum_op:
        p = e.params
        return _InnerProduct(e, list(e.args), list(p["indices"]), p["out"])
    total = _unconverted(e)
    if total.op is not reduce_sum:
        return None
    inner = _unconverted(*total.args)
    if inner.op is not mul or any(x.shape != inner.shape for x in inner.args):
        return None
    names = tuple(range(inner.ndim))
    out = tuple(a for a in names if a not in total.params["axes"])
    return _InnerProduct(e, list(inner.args), [names, names], out)


def _unconverted(e: Expr) -> Expr:
    return e.args[0] if e.op is convert_op else e


def _unrepeated(e: Expr) -> Expr:
    return e.args[0] if e.op is broadcast else e


@rewrites(sqrt, exact=False, protects=OVERFLOW)
def root_of_a_product(e: Expr) -> Expr | None:
    """√(x y) = √|x| √|y| where x and y have the same sign"""
    (inner,) = e.args
    if inner.op is not mul or not e.type.real:
        return None
    x, y = inner.args
    plain = x is not y and number(x) is None and number(y) is None and x.shape == y.shape
    return geometric_mean(x, y) if plain else None


@rewrites(sqrt, exact=False, protects=OVERFLOW)
def root_of_a_difference(e: Expr) -> Expr | None:
    """√(x² - c), scaled by x"""
    (inner,) = e.args
    if inner.op is not sub or not e.type.real:
        return None
    power, c = inner.args
    x = squared(power)
    return None if x is None else root_of_square_plus(x, -c)


# Shares


@rewrites(div, exact=True, protects=CANCELS)
def share_of_a_sum(e: Expr) -> Expr | None:
    """x / (x + c), whose slope is c / (x + c)²"""
    top, bottom = e.args
    if bottom.op is not add or top not in bottom.args or not e.type.real:
        return None
    c = bottom.args[1] if bottom.args[0] is top else bottom.args[0]
    return None if c is top or uniform_value(top) is not None else share(top, c)


@rewrites(div, exact=False, protects=OVERFLOW)
def product_over_a_sum(e: Expr) -> Expr | None:
    """x y / (x + c) = x / (x + c) y, whose parts stay in between"""
    top, bottom = e.args
    parts = factors(top) if top.op is mul and bottom.op is add and e.type.real else None
    shared = [p for p in parts or () if p in bottom.args and uniform_value(p) is None]
    if parts is None or not shared:
        return None
    parts.remove(shared[0])
    return shared[0] / bottom * product(parts)


@equation(exact=True, protects=CANCELS, when=lambda x: x.type.real)
def softsign_from_quotient(x, c):
    return x / (abs_(x) + c), softsign(x, c)


@rewrites(div, exact=False, protects=CANCELS)
def quotient_by_hypotenuse(e: Expr) -> Expr | None:
    """x / √(c + x²), whose slope is c / (c + x²)^³⁄₂"""
    x, root = e.args
    inner = root.args[0] if root.op is sqrt and e.type.real else None
    if inner is None or inner.op is not add:
        return None
    for power, c in (inner.args, inner.args[::-1]):
        if squared(power) is x:
            return over_hypotenuse(x, c)
    return None
