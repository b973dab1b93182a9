"""Minus infinity as a mask: what it masks weighs nothing, also where everything is masked.

An infinity is a mask if the program writes it: as a constant, or in a captured array.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable

import numpy as np

from symgrad.expr import Expr, Op, add, captured, div, literal, literal_value, mul, neg, sub
from symgrad.laws.moves import MOVES, unmoved
from symgrad.ops import index, pointwise, reduce, shape
from symgrad.ops.entropy import (
    masked_log_softmax,
    masked_logaddexp,
    masked_logsumexp,
    masked_softmax,
    times_masked_op,
    x_exp_x_op,
)
from symgrad.pattern import equation, rewrites
from symgrad.structure import bounds, entries, inferred


def is_masked(e: Expr) -> bool:
    """Whether infinities that the program writes may be among the entries."""
    return inferred(e, _masked, _own_masked, MASKED)


_masked: weakref.WeakKeyDictionary[Expr, bool] = weakref.WeakKeyDictionary()


def _own_masked(e: Expr, operands: list[bool]) -> bool:
    if isinstance(e.type, tuple) or not e.type.real:
        return False
    rule = MASKED.get(e.op)
    return rule is not None and rule(e, operands)


def _any(e: Expr, operands: list[bool]) -> bool:
    return any(operands)


def _holds_infinity(e: Expr, operands: list[bool]) -> bool:
    values = entries(e)
    return values is not None and bool(np.any(np.isneginf(values)))


def _log_of_mask(e: Expr, operands: list[bool]) -> bool:
    """The logarithm of truth values, or of numbers of which some are written as zero."""
    (x,) = e.args
    if x.op is pointwise.convert_op and x.args[0].dtype == bool:
        return True
    values = entries(x) if x.op is captured else None
    return values is not None and bool(np.any(values == 0))


MASKED: dict[Op, Callable[[Expr, list[bool]], bool]] = {
    literal: lambda e, operands: bool(np.isinf(literal_value(e))),
    captured: _holds_infinity,
    pointwise.log: _log_of_mask,
    **dict.fromkeys((*MOVES, add, sub, mul, div, neg, pointwise.convert_op), _any),
    **dict.fromkeys((pointwise.select, shape.concatenate, shape.pad), _any),
    **dict.fromkeys((pointwise.maximum, pointwise.minimum, pointwise.logaddexp), _any),
    **dict.fromkeys((reduce.log_softmax, reduce.logsumexp, masked_log_softmax), _any),
    **dict.fromkeys((masked_logsumexp, masked_logaddexp, index.gather_op), _any),
}
"""For each operation, whether its result may be masked, from whether its operands are."""


@equation(exact=False)
def adding_nothing_in_the_log_domain(x):
    return pointwise.logaddexp(x, -np.inf), x


@rewrites(mul, exact=False, protects="0 times infinity")
def probability_times_its_log(e: Expr) -> Expr | None:
    """softmax(x) log_softmax(x) is 0 where x is minus infinity"""
    for p, logarithm in (e.args, e.args[::-1]):
        positive = p.args[0] if p.op is neg else p
        if _is_exp_of(positive, logarithm) and is_masked(logarithm):
            found = x_exp_x_op(logarithm)
            return found if positive is p else -found
    return None


def _is_exp_of(p: Expr, logarithm: Expr) -> bool:
    if p.op is pointwise.exp:
        return p.args[0] is logarithm
    pairs = ((reduce.softmax, reduce.log_softmax), (masked_softmax, masked_log_softmax))
    same = p.args == logarithm.args and dict(p.params) == dict(logarithm.params)
    return same and (p.op, logarithm.op) in pairs


LOGS = (reduce.log_softmax, reduce.logsumexp, masked_log_softmax)


@rewrites(mul, exact=False, written_only=True, protects="0 times infinity")
def weight_times_masked_log(e: Expr) -> Expr | None:
    """x log_softmax(y) is 0 where x is 0 and y minus infinity"""
    for x, logarithm in (e.args, e.args[::-1]):
        _, inner = unmoved(logarithm)
        if inner.op in LOGS and x.op is not literal and is_masked(logarithm):
            return times_masked_op(x, logarithm) if 0.0 in bounds(x) else None
    return None


@rewrites(mul, exact=False, written_only=True, protects="0 times infinity")
def weight_times_difference_of_masked_logs(e: Expr) -> Expr | None:
    """x (log_softmax(y) - z) = x log_softmax(y) - x z, each 0 where x is 0"""
    for x, total in (e.args, e.args[::-1]):
        if total.op not in (add, sub) or total.shape != e.shape:
            continue
        if any(a.op in LOGS and is_masked(a) for a in total.args) and 0.0 in bounds(x):
            return total.op(*(x * a for a in total.args))
    return None
