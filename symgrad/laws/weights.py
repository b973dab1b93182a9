"""Exponentials over sums of them, which overflow where their quotients do not."""

from __future__ import annotations

import math

from symgrad.expr import Expr, add, div
from symgrad.laws.exponential import doubled_hyperbolic
from symgrad.laws.lift import along_axes
from symgrad.laws.moves import unmoved
from symgrad.laws.terms import SPREADING, Term, factors, number, product, scaled, terms, total
from symgrad.ops.contract import einsum_op
from symgrad.ops.pointwise import cosh, exp, expm1, logistic
from symgrad.ops.reduce import softmax
from symgrad.ops.shape import broadcast, reduce_sum, reshape_op
from symgrad.ops.stable import sech
from symgrad.pattern import rewrites


@rewrites(div, exact=False, protects="overflow on the way")
def sech_from_reciprocal(e: Expr) -> Expr | None:
    """a / (b cosh(x)) = (a / b) sech(x) for numbers a and b, also where cosh is written out"""
    top, (b, bottom) = number(e.args[0]), scaled(e.args[1])
    if top is None or not e.type.real:
        return None
    doubled = doubled_hyperbolic(bottom)
    if doubled is not None and doubled[0] is cosh:
        return total([(top / b / 2, sech(doubled[1]))], e.type)
    return total([(top / b, sech(bottom.args[0]))], e.type) if bottom.op is cosh else None


@rewrites(div, exact=False, protects="overflow of exp over itself")
def logistic_from_weighted_exponentials(e: Expr) -> Expr | None:
    """a eˣ / (b eˣ + c) = (a / b) logistic(x + log(b / c)) for positive numbers b and c"""
    a, top = _exponential(e.args[0])
    parts = _exponentials(e.args[1]) if top is not None and e.type.real else None
    if top is None or parts is None or len(parts) != 2 or any(c <= 0 for c, _ in parts):
        return None
    exponents = [x for _, x in parts]
    wanted = top[0]
    if wanted not in exponents:
        return None
    place = exponents.index(wanted)
    (b, x), (c, y) = parts[place], parts[1 - place]
    shift = [(math.log(b / c), None)] if b != c else []
    z = total(
        [*([(1.0, x)] if x is not None else []), *([(-1.0, y)] if y is not None else []), *shift],
        e.type,
    )
    return total([(a / b, logistic(z))], e.type)


def _exponential(e: Expr) -> tuple[float, tuple[Expr | None] | None]:
    """A term as a number times an exponential, given by its exponent; that of 1 is None."""
    value = number(e)
    if value is not None:
        return value, (None,)
    factor, rest = scaled(e)
    return factor, (rest.args[0],) if rest.op is exp else None


def _exponentials(e: Expr) -> list[Term] | None:
    """The terms of a sum as numbers times exponentials, given by their exponents."""
    parts = terms(e) if e.op is add or e.op is not exp else None
    found: dict[Expr | None, float] = {}
    for c, node in parts or ():
        if node is not None and node.op not in (exp, expm1):
            return None
        exponent = None if node is None else node.args[0]
        found[exponent] = found.get(exponent, 0.0) + c
        if node is not None and node.op is expm1:
            found[None] = found.get(None, 0.0) - c
    return [(c, x) for x, c in found.items() if c]


@rewrites(div, exact=False, protects="overflow of exp over itself")
def mean_weighted_by_exponentials(e: Expr) -> Expr | None:
    """Σ exp(x) y / Σ exp(x) = Σ softmax(x) y"""
    (a, top), (b, bottom) = (scaled(x) for x in e.args)
    _, whole = unmoved(bottom, SPREADING)
    if whole.op is not reduce_sum or whole.args[0].op is not exp or not e.type.real:
        return None
    (weights,), axes = whole.args, whole.params["axes"]
    q = along_axes(softmax, weights.args[0], axes)
    found = _reweighted_sum(top, bottom, weights, q)
    found = _reweighted_einsum(top, bottom, weights, q, axes) if found is None else found
    return None if found is None else total([(a / b, found)], e.type)


def _reweighted_sum(top: Expr, bottom: Expr, weights: Expr, q: Expr) -> Expr | None:
    if top.op is not reduce_sum or bottom.op is not reduce_sum or top.params != bottom.params:
        return None
    parts = factors(top.args[0]) or []
    if weights not in parts:
        return None
    parts[parts.index(weights)] = q
    return reduce_sum(product(parts), **top.params)


def _reweighted_einsum(
    top: Expr, bottom: Expr, weights: Expr, q: Expr, summed: tuple[int, ...]
) -> Expr | None:
    """As for attention: the rows of a product, each divided by the sum of its weights."""
    if top.op is not einsum_op or weights not in top.args:
        return None
    place = top.args.index(weights)
    own, out = top.params["indices"][place], top.params["out"]
    kept = tuple(name for a, name in enumerate(own) if a not in summed)
    if any(own[a] in out for a in summed) or any(i not in out for i in kept):
        return None
    if len(set(own)) != len(own):
        return None
    axes = tuple(out.index(i) for i in kept)
    if bottom.op is broadcast and (_axes(bottom) != axes or bottom.shape != top.shape):
        return None
    if bottom.op is not broadcast and bottom.ndim and axes != tuple(range(top.ndim)):
        return None
    operands = (*top.args[:place], q, *top.args[place + 1 :])
    return einsum_op(*operands, **top.params)


def _axes(e: Expr) -> tuple[int, ...] | None:
    """Where the axes of a sum are after it has been repeated, axes of size 1 left out."""
    (x,) = e.args
    axes = e.params["axes"]
    if x.op is reshape_op:
        axes = tuple(a for a, n in zip(axes, x.shape, strict=True) if n != 1)
        (x,) = x.args
    return axes if x.op is reduce_sum and len(axes) == x.ndim else None
