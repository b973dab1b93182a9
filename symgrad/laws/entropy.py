"""Weights times logarithms: 0 log 0 is 0, in entropies, divergences and likelihoods.

A weight that may be zero and a logarithm that may be that of zero become one operation,
whose value and slopes there are the limits. Where they cannot meet nothing changes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from symgrad.expr import Expr, Op, add, div, literal_value, mul, sub
from symgrad.laws.exponential import Kind, kind, terms_of_contraction
from symgrad.laws.moves import moved, unmoved
from symgrad.laws.norms import length_of_square
from symgrad.laws.terms import factors, power_of, product, quotient_factors, scaled, total
from symgrad.ops.contract import einsum_op
from symgrad.ops.entropy import (
    power_times_log_op,
    relative_entropy_op,
    times_log1p_op,
    times_log_op,
)
from symgrad.ops.index import dynamic_slice_op
from symgrad.ops.pick import pick
from symgrad.ops.pointwise import abs_, integer_power, log, log1p
from symgrad.ops.shape import reduce_sum, slice_, uniform_value
from symgrad.ops.stable import log_abs
from symgrad.pattern import rewrites
from symgrad.structure import bounds

PRODUCTS: dict[Op, tuple[Op, float]] = {log: (times_log_op, 0.0), log1p: (times_log1p_op, -1.0)}
"""For each logarithm, the product with it, and where it is minus infinity."""


def _may_be_zero(x: Expr) -> bool:
    return x.op not in PRODUCTS and 0.0 in bounds(x)


def _moves_to_log(e: Expr) -> list[Expr] | None:
    """The nodes from `e` down to a logarithm that only move its entries, and the logarithm."""
    moves, logarithm = unmoved(e)
    return [*moves, logarithm] if logarithm.op in PRODUCTS else None


def _singular_log(e: Expr) -> list[Expr] | None:
    """As `_moves_to_log`, for a logarithm that may be minus infinity."""
    path = _moves_to_log(e)
    if path is None or not e.type.real:
        return None
    (y,) = path[-1].args
    padded = y.op is add and any((literal_value(a) or 0) > 0 for a in y.args)
    return path if PRODUCTS[path[-1].op][1] in bounds(y) and not padded else None


def _has_singular_log(e: Expr) -> bool:
    inner, _ = _unscaled(e)
    return inner.op is log_abs or _singular_log(inner) is not None


def _product(x: Expr, path: list[Expr]) -> Expr:
    """`x` times a logarithm, given as the nodes down to it."""
    op = PRODUCTS[path[-1].op][0]
    return op(x, moved(path[-1].args[0], path[:-1]))


@rewrites(mul, exact=False, written_only=True, protects="0 log 0, and the slope there")
def power_times_its_log(e: Expr) -> Expr | None:
    """x² log(x) and x² log |x| have the slope 0 at 0, and so have higher powers"""
    if not e.type.real:
        return None
    above, below = quotient_factors(e)
    found = next((f for f in above if f.op is log_abs or (f.op is log and _singular_log(f))), None)
    if found is None or found.shape != e.shape:
        return None
    above.remove(found)
    k, x = scaled(*found.args)
    exponent = _taken_out(factors(x) or [x], above)
    powers = [_power_and_rest(f, x) for f in above]
    exponent += sum(n for n, _ in powers)
    if exponent < (1 if found.op is log_abs else 2):
        return None
    rest = [r for _, r in powers if r is not None]
    whole = functools.reduce(div, below, product([_times_log(found, exponent), *rest]))
    return total([(k**-exponent, whole)], e.type)


def _taken_out(members: list[Expr], above: list[Expr]) -> int:
    """How many times a product is among factors, which are removed."""
    count = 0
    while all(above.count(m) >= members.count(m) for m in members):
        for m in members:
            above.remove(m)
        count += 1
    return count


def _power_and_rest(e: Expr, x: Expr) -> tuple[int, Expr | None]:
    """How many times a factor has the factor x, and what it has beside."""
    if length_of_square(e) is x:
        return 2, None
    base, exponent = power_of(e) or (e, 1)
    if base is x:
        return exponent, None
    members = factors(base) or [base]
    if x not in members:
        return 0, e
    members.remove(x)
    return exponent, integer_power(product(members), exponent) if members else None


def _times_log(logarithm: Expr, exponent: int) -> Expr:
    """xⁿ log(x) or xⁿ log |x|"""
    (x,) = logarithm.args
    if logarithm.op is log:
        return power_times_log_op(x, exponent=exponent)
    size, odd = abs_(x), exponent % 2
    if exponent == 1:
        return times_log_op(x, size)
    even = power_times_log_op(size, exponent=exponent - odd)
    return x * even if odd else even


@rewrites(mul, exact=False, written_only=True, protects="0 log 0")
def weight_times_log(e: Expr) -> Expr | None:
    """x log(y) is 0 where x and y are both 0"""
    for x, factor in (e.args, e.args[::-1]):
        inner, rescaled = _unscaled(factor)
        path = _singular_log(inner)
        if path is not None and _may_be_zero(x):
            return rescaled(_ratio(x, path) or _product(x, path))
    return None


def _ratio(x: Expr, path: list[Expr]) -> Expr | None:
    """x log(x / y), whose quotient is nan where both are 0."""
    (quotient,) = path[-1].args
    if len(path) > 1 or path[-1].op is not log or quotient.op is not div:
        return None
    above, below = quotient.args
    if above is x:
        return relative_entropy_op(x, below)
    return -relative_entropy_op(x, above) if below is x else None


def _is_number(e: Expr) -> bool:
    """Whether `e` is a constant, or the logarithm of one, by which other bases divide."""
    if e.op is log:
        (e,) = e.args
    return uniform_value(e) is not None


def _unscaled(e: Expr) -> tuple[Expr, Callable[[Expr], Expr]]:
    """`e` without a constant factor, and how to put it back."""
    if e.op is div and _is_number(e.args[1]):
        x, c = e.args
        return x, lambda found: found / c
    if e.op is mul:
        for c, x in (e.args, e.args[::-1]):
            if _is_number(c) and x.shape == e.shape:
                return x, lambda found, c=c: c * found
    return e, lambda found: found


@rewrites(mul, exact=False, written_only=True, protects="0 log 0")
def weight_of_weighted_log(e: Expr) -> Expr | None:
    """x (y log(z)) = (x y) log(z), which is 0 where the weight x y and z are both 0"""
    for x, weighted in (e.args, e.args[::-1]):
        if weighted.op in (times_log_op, times_log1p_op) and _may_be_zero(x):
            y, z = weighted.args
            return weighted.op(x * y, z)
    return None


@rewrites(mul, exact=False, written_only=True, protects="0 log 0")
def weight_times_difference_of_logs(e: Expr) -> Expr | None:
    """x (log(y) - log(z)) = x log(y) - x log(z), each 0 where x is 0"""
    for x, factor in (e.args, e.args[::-1]):
        whole, rescaled = _unscaled(factor)
        if whole.op not in (add, sub) or not _may_be_zero(x):
            continue
        if any(_has_singular_log(a) for a in whole.args) and whole.shape == e.shape:
            return rescaled(whole.op(*(x * a for a in whole.args)))
    return None


@rewrites(einsum_op, exact=False, written_only=True, protects="0 log 0")
def dot_with_log(e: Expr) -> Expr | None:
    """Σ x log(y) is a sum of products that are 0 where x and y are both 0"""
    if len(e.args) != 2:
        return None
    for x, factor in (e.args, e.args[::-1]):
        if _has_singular_log(factor) and _may_be_zero(x):
            found = terms_of_contraction(e)
            return None if found is None else reduce_sum(found[0], axes=found[1])
    return None


@rewrites(slice_, pick, dynamic_slice_op, exact=True, protects="0 / 0 in entries not read")
def log_of_entries(e: Expr) -> Expr | None:
    """log(x)[i] = log(x[i]): entries that are not read have no logarithm"""
    inner, *indices = e.args
    if inner.op not in PRODUCTS or kind(inner.args[0]) is not Kind.PLAIN:
        return None
    return inner.op(e.op(inner.args[0], *indices, **e.params))
