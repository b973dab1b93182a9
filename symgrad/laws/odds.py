"""Weights of a softmax that are nearly 1, of which the others are what is left."""

from __future__ import annotations

import itertools

from symgrad.expr import Expr, add, sub
from symgrad.laws.moves import moved, unmoved
from symgrad.laws.terms import SPREADING, number, scaled, terms, total
from symgrad.ops.odds import log_odds_op, one_minus_softmax_op
from symgrad.ops.pointwise import expm1, log1p, softplus, square
from symgrad.ops.reduce import log_softmax, logsumexp, reduce_max, softmax
from symgrad.ops.shape import reduce_sum, reshape, reshape_op, slice_
from symgrad.pattern import equation, rewrites

PROTECTS = "a weight that rounds to 1"


@rewrites(log1p, exact=False, protects=PROTECTS)
def log_of_one_minus_weight(e: Expr) -> Expr | None:
    """log(1 - softmax(x)) = -softplus(log_odds(x)), also of entries"""
    factor, entries = scaled(*e.args)
    moves, weights = unmoved(entries)
    if weights.op is not softmax or factor != -1:
        return None
    found = moved(log_odds_op(*weights.args, **weights.params), moves)
    return -softplus(found)


@equation(exact=False, protects="0/0 where the weight rounds to 1")
def one_minus_weight_over_its_log(x, axis):
    log_weight = log_softmax(x, axis=axis)
    return one_minus_softmax_op(x, axis=axis) / log_weight, -expm1(log_weight) / log_weight


@rewrites(add, sub, exact=False, protects=PROTECTS)
def one_minus_sum_of_squared_weights(e: Expr) -> Expr | None:
    """1 - Σ p² = Σ p (1 - p) for p = softmax(x)"""
    parts = terms(e) if e.type.real else None
    if parts is None or len(parts) != 2:
        return None
    for (c, node), (k, one) in (parts, parts[::-1]):
        if one is not None or node is None or k != -c:
            continue
        moves, summed = unmoved(node, SPREADING)
        found = _sum_of_margins(summed)
        if found is not None:
            return total([(k, moved(found, moves))], e.type)
    return None


def _sum_of_margins(e: Expr) -> Expr | None:
    if e.op is not reduce_sum or e.args[0].op is not square:
        return None
    (weights,) = e.args[0].args
    if weights.op is not softmax or e.params["axes"] != (weights.params["axis"],):
        return None
    margins = weights * one_minus_softmax_op(*weights.args, **weights.params)
    return reduce_sum(margins, **e.params)


@rewrites(slice_, exact=False, written_only=True, protects=PROTECTS)
def log_of_one_weight(e: Expr) -> Expr | None:
    """log_softmax(x)[i] = -softplus(-log_odds(x)[i])"""
    (log_weights,) = e.args
    if log_weights.op is not log_softmax or number(*log_weights.args) is not None:
        return None
    (x,), axis = log_weights.args, log_weights.params["axis"]
    found = _odds_of_entry(e, x, axis)
    return None if found is None else -softplus(-found)


@rewrites(add, sub, exact=False, written_only=True, protects=PROTECTS)
def entry_less_logsumexp(e: Expr) -> Expr | None:
    """x[i] - logsumexp(x) = -softplus(-log_odds(x)[i])"""
    parts = terms(e) if e.type.real else None
    for (i, (c, first)), (j, (k, second)) in itertools.permutations(enumerate(parts or ()), 2):
        if first is None or second is None or second.op is not logsumexp or c != -k:
            continue
        if first.op is not reshape_op or first.args[0].op is not slice_:
            continue
        (entry,), (x,), axis = first.args, second.args, second.params["axis"]
        found = _odds_of_entry(entry, x, axis) if entry.args[0] is x else None
        if found is not None and first.type.size == second.type.size and first.shape == e.shape:
            rest = [p for n, p in enumerate(parts or ()) if n not in (i, j)]
            return total([(-c, softplus(-reshape(found, shape=e.shape))), *rest], e.type)
    return None


def _odds_of_entry(entry: Expr, x: Expr, axis: int) -> Expr | None:
    """The logarithm of the odds of the weight at which a slice takes one entry along an axis."""
    if entry.shape[axis] != 1 or x.shape[axis] == 1:
        return None
    return slice_(log_odds_op(x, axis=axis), **entry.params)


@rewrites(reduce_max, exact=False, written_only=True, protects=PROTECTS)
def log_of_largest_weight(e: Expr) -> Expr | None:
    """max(log_softmax(x)) = -softplus(-max(log_odds(x)))"""
    (log_weights,) = e.args
    if log_weights.op is not log_softmax or e.params["axes"] != (log_weights.params["axis"],):
        return None
    return -softplus(-reduce_max(log_odds_op(*log_weights.args, **log_weights.params), **e.params))
