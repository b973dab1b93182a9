"""What is exponential about a value: which logarithms simplify, and how products come apart.

Every node has a `Kind`: whether its logarithm is better computed another way, and
whether it is a sum or product of exponentials, whose logarithm is smooth. A product
comes apart into `w exp(u)`: the logarithm `u` of its exponential factors, and the rest.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import reduce as fold

import numpy as np

from symgrad.expr import Expr, Op, add, constant, div, mul, neg, sub
from symgrad.laws.moves import MOVES
from symgrad.laws.terms import are_opposite, squared, terms
from symgrad.ops import odds, pointwise, reduce, shape, stable, tails
from symgrad.ops.contract import einsum_op
from symgrad.ops.pointwise import log
from symgrad.ops.shape import uniform_value
from symgrad.structure import bounds, inferred


class Kind(IntEnum):
    """What is known of the logarithm of a value, from nothing to everything."""

    PLAIN = 0
    SIMPLER = 1
    """The logarithm has another form, which may be singular where the value is zero."""
    WEIGHTED = 2
    """Products of exponentials with other factors."""
    EXPONENTIAL = 3
    """The logarithm is smooth wherever the value is defined."""


def kind(e: Expr) -> Kind:
    """The kind of a node, from those of its operands."""
    return inferred(e, _kinds, _own_kind, KINDS)


_kinds: weakref.WeakKeyDictionary[Expr, Kind] = weakref.WeakKeyDictionary()

Operands = list[Kind]


def _own_kind(e: Expr, operands: Operands) -> Kind:
    rule = KINDS.get(e.op)
    real = not isinstance(e.type, tuple) and e.type.real
    return rule(e, operands) if rule is not None and real else Kind.PLAIN


def positive_number(e: Expr) -> float | None:
    """The value of a constant above zero, None for anything else."""
    value = uniform_value(e)
    if value is None or np.iscomplexobj(value):
        return None
    number = float(value)
    return number if 0 < number < math.inf else None


def _all_exponential(e: Expr, operands: Operands) -> bool:
    """Whether there are exponentials among the operands, and else only positive constants."""
    smooth = [k is Kind.EXPONENTIAL for k in operands]
    others = [a for a, s in zip(e.args, smooth, strict=True) if not s]
    return any(smooth) and all(positive_number(a) is not None for a in others)


def _of_product(e: Expr, operands: Operands) -> Kind:
    if squared(e) is not None:
        return _of_power(e, operands)
    if _all_exponential(e, operands):
        return Kind.EXPONENTIAL
    return min(max(operands), Kind.WEIGHTED)


def _of_sum(e: Expr, operands: Operands) -> Kind:
    low, high = bounds(e)
    if low >= 1 and high < math.inf and plus_square(e) is None:
        # Nothing leaves the range of numbers, and the sum is not near a zero of the logarithm
        # unless it is 1 + x, of which log1p keeps the digits.
        return Kind.PLAIN
    if _all_exponential(e, operands):
        return Kind.EXPONENTIAL
    simpler = max(operands) >= Kind.WEIGHTED or plus_square(e) is not None
    return Kind.SIMPLER if simpler else Kind.PLAIN


def plus_square(e: Expr) -> tuple[float, Expr] | None:
    """c and x of c (1 + x²), for a sum of a positive number and a square."""
    parts = terms(e) if e.op is add else None
    if parts is None or len(parts) != 2:
        return None
    (c, one), (k, power) = parts if parts[0][1] is None else parts[::-1]
    x = None if one is not None or power is None else squared(power)
    if x is None or min(c, k) <= 0:
        return None
    return c, x if c == k else x * math.sqrt(k / c)


def _of_difference(e: Expr, operands: Operands) -> Kind:
    simpler = max(operands) >= Kind.WEIGHTED or doubled_hyperbolic(e) is not None
    return Kind.SIMPLER if simpler else Kind.PLAIN


def doubled_hyperbolic(e: Expr) -> tuple[Op, Expr] | None:
    """cosh or sinh and x for `exp(x) + exp(-x)` and `expm1(x) - expm1(-x)`."""
    if e.op not in (add, sub):
        return None
    first, second = e.args
    wanted, function = (pointwise.exp, pointwise.cosh)
    if e.op is sub:
        wanted, function = (pointwise.expm1, pointwise.sinh)
    if not first.op is second.op is wanted or not are_opposite(first.args[0], second.args[0]):
        return None
    return function, first.args[0]


def _of_negative(e: Expr, operands: Operands) -> Kind:
    if e.args[0].op is pointwise.expm1:
        return Kind.SIMPLER
    return Kind.WEIGHTED if operands[0] >= Kind.WEIGHTED else Kind.PLAIN


def _of_power(e: Expr, operands: Operands) -> Kind:
    """Powers of signs neither over- nor underflow."""
    if e.args[0].op is pointwise.sign:
        return Kind.PLAIN
    return Kind.EXPONENTIAL if operands[0] is Kind.EXPONENTIAL else Kind.SIMPLER


def _of_root(e: Expr, operands: Operands) -> Kind:
    return Kind.SIMPLER if operands[0] is Kind.WEIGHTED else operands[0]


def _of_total(e: Expr, operands: Operands) -> Kind:
    if operands[0] < Kind.WEIGHTED or not e.args[0].type.size:
        return Kind.PLAIN
    return Kind.EXPONENTIAL if operands[0] is Kind.EXPONENTIAL else Kind.SIMPLER


def _of_choice(e: Expr, operands: Operands) -> Kind:
    branches = operands[1:]
    values = [uniform_value(a) for a in e.args[1:]]
    smooth = [
        k is Kind.EXPONENTIAL or (v is not None and float(v) >= 0)
        for k, v in zip(branches, values, strict=True)
    ]
    if Kind.EXPONENTIAL in branches and all(smooth):
        return Kind.EXPONENTIAL
    return min(max(branches), Kind.SIMPLER)


def _of_parts(e: Expr, operands: Operands) -> Kind:
    if _all_exponential(e, operands):
        return Kind.EXPONENTIAL
    return min(max(operands), Kind.SIMPLER)


def _of_contraction(e: Expr, operands: Operands) -> Kind:
    """A product that is summed, where writing the product out costs no more memory."""
    if terms_of_contraction(e) is None:
        return Kind.PLAIN
    if _all_exponential(e, operands):
        return Kind.EXPONENTIAL
    return Kind.SIMPLER if max(operands) >= Kind.WEIGHTED else Kind.PLAIN


SMALL = 1024
"""Products with no more entries are written out whatever the sizes of their operands."""


def terms_of_contraction(e: Expr) -> tuple[Expr, tuple[int, ...]] | None:
    """The product and the axes it is summed over, if it is small, or no larger than an operand."""
    indices, out = e.params["indices"], e.params["out"]
    names = list(dict.fromkeys((*out, *(i for own in indices for i in own))))
    distinct = all(len(set(own)) == len(own) for own in indices)
    summed = names[len(out) :]
    if not distinct or not summed or any(a.dtype != e.dtype for a in e.args):
        return None
    sizes: dict[int, int] = {}
    for factor, own in zip(e.args, indices, strict=True):
        sizes |= dict(zip(own, factor.shape, strict=True))
    whole = tuple(sizes[i] for i in names)
    if math.prod(whole) > max(SMALL, *(a.type.size for a in e.args)):
        return None
    factors = [_placed(a, own, names, whole) for a, own in zip(e.args, indices, strict=True)]
    return fold(mul, factors), tuple(range(len(out), len(names)))


def _placed(x: Expr, own: Sequence[int], names: Sequence[int], whole: tuple[int, ...]) -> Expr:
    order = sorted(range(len(own)), key=lambda i: names.index(own[i]))
    if order != list(range(len(own))):
        x = shape.transpose(x, permutation=tuple(order))
    axes = tuple(names.index(own[i]) for i in order)
    return x if x.shape == whole else shape.broadcast(x, shape=whole, axes=axes)


def _first(e: Expr, operands: Operands) -> Kind:
    return operands[0]


def _always(found: Kind) -> Callable[[Expr, Operands], Kind]:
    return lambda e, operands: found


KINDS: dict[Op, Callable[[Expr, Operands], Kind]] = {
    **dict.fromkeys(
        (
            *(pointwise.exp, pointwise.exp2, pointwise.logistic, reduce.softmax),
            odds.one_minus_softmax_op,
            *(pointwise.cosh, stable.sech, pointwise.sech_squared),
            *(pointwise.logistic_slope, pointwise.gaussian, pointwise.erfc, tails.ndtr),
            pointwise.lorentzian,
        ),
        _always(Kind.EXPONENTIAL),
    ),
    **dict.fromkeys(
        (pointwise.sinh, pointwise.expm1, pointwise.softplus),
        _always(Kind.SIMPLER),
    ),
    **dict.fromkeys((reduce.reduce_prod, reduce.cumprod), _of_power),
    **dict.fromkeys((*MOVES, reduce.reduce_max, reduce.reduce_min), _first),
    **dict.fromkeys((mul, div), _of_product),
    add: _of_sum,
    sub: _of_difference,
    neg: _of_negative,
    pointwise.square: _of_power,
    pointwise.integer_power_op: _of_power,
    pointwise.power: _of_power,
    **dict.fromkeys((pointwise.sqrt, pointwise.rsqrt, pointwise.cbrt), _of_root),
    shape.reduce_sum: _of_total,
    reduce.cumsum: lambda e, operands: (
        Kind.EXPONENTIAL if operands[0] is Kind.EXPONENTIAL else Kind.PLAIN
    ),
    pointwise.select: _of_choice,
    shape.concatenate: _of_parts,
    einsum_op: _of_contraction,
}
"""For each operation, the kind of its result from those of its operands."""


# Products


@dataclass(frozen=True, slots=True)
class Factors:
    """A product: `above` over `below`, and whether its sign was turned."""

    above: tuple[Expr, ...]
    below: tuple[Expr, ...]
    negative: bool


LARGEST_PRODUCT = 32
"""So many factors are told apart."""


def factors(e: Expr, least: Kind = Kind.SIMPLER) -> Factors:
    """The factors of a product, as far as their kinds differ from plain."""
    above: list[Expr] = []
    below: list[Expr] = []
    negative = False
    waiting = [(e, True)]
    while waiting:
        node, up = waiting.pop()
        apart = kind(node) >= least and len(above) + len(below) < LARGEST_PRODUCT
        if apart and node.op is neg:
            negative = not negative
            waiting.append((node.args[0], up))
        elif apart and node.op in (mul, div) and squared(node) is None:
            first, second = node.args
            waiting += [(second, up if node.op is mul else not up), (first, up)]
        else:
            (above if up else below).append(node)
    return Factors(tuple(above), tuple(below), negative)


def product(above: Sequence[Expr], below: Sequence[Expr], negative: bool = False) -> Expr | None:
    """The product of factors; None for that of none."""
    if not above and not below:
        return None
    bottom = fold(mul, below) if below else None
    if above:
        top = fold(mul, above)
        found = top if bottom is None else top / bottom
    else:
        assert bottom is not None
        found = 1 / bottom
    return -found if negative else found


@dataclass(frozen=True, slots=True)
class Term:
    """`weight * exp(exponent)`; None is 1 and 0."""

    exponent: Expr | None
    weight: Expr | None


def term(e: Expr) -> Term:
    """A product as its exponential factors, and the others."""
    found = factors(e, Kind.WEIGHTED)
    exponent: Expr | None = None
    rest: dict[bool, list[Expr]] = {True: [], False: []}
    for up, members in ((True, found.above), (False, found.below)):
        for factor in members:
            if kind(factor) is not Kind.EXPONENTIAL:
                rest[up].append(factor)
                continue
            part = log(factor)
            if exponent is None:
                exponent = part if up else -part
            else:
                exponent = exponent + part if up else exponent - part
    weight = product(rest[True], rest[False])
    if found.negative:
        weight = constant(-1, e.dtype) if weight is None else -weight
    return Term(exponent, weight)
