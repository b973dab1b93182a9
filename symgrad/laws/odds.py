"""Weights of a softmax that are nearly 1, of which the others are what is left."""

from __future__ import annotations

import itertools

from symgrad.expr import Expr, add, sub
from symgrad.laws.moves import moved, unmoved
from symgrad.laws.terms import SPREADING, number, scaled, terms, total
from symgrad.ops.odds import log_odds_op, one_minus_softmax_op
from symgrad.ops.pointwise import expm1, log1p, softplus, square
from symgrad.ops.reduce import log_softmax, logsumexp, reduce_max, softmax
from symgrad.ops.shape import concatenate, reduce_sum, reshape, reshape_op, slice_
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
    """log_softmax(x)[i] = -softplus(logsumexp(x without x[i]) - x[i])"""
    (log_weights,) = e.args
    if log_weights.op is not log_softmax:
        return None
    (x,), axis = log_weights.args, log_weights.params["axis"]
    found = _odds_against(e, x, axis)
    return None if found is None else reshape(-softplus(found), shape=e.shape)


@rewrites(add, sub, exact=False, written_only=True, protects=PROTECTS)
def entry_less_logsumexp(e: Expr) -> Expr | None:
    """x[i] - logsumexp(x) = -softplus(logsumexp(x without x[i]) - x[i])"""
    parts = terms(e) if e.type.real else None
    for (i, (c, first)), (j, (k, second)) in itertools.permutations(enumerate(parts or ()), 2):
        if first is None or second is None or second.op is not logsumexp or c != -k:
            continue
        if first.op is not reshape_op or first.args[0].op is not slice_:
            continue
        (entry,), (x,), axis = first.args, second.args, second.params["axis"]
        found = _odds_against(entry, x, axis) if entry.args[0] is x else None
        if found is not None and found.shape == first.shape == e.shape:
            rest = [p for n, p in enumerate(parts or ()) if n not in (i, j)]
            return total([(-c, softplus(found)), *rest], e.type)
    return None


def _odds_against(entry: Expr, x: Expr, axis: int) -> Expr | None:
    """logsumexp(x without x[i]) - x[i], where a slice takes one entry along an axis."""
    count = x.shape[axis]
    if entry.shape[axis] != 1 or count == 1 or number(x) is not None:
        return None
    here = entry.params["start"][axis]
    ends = [(start, stop) for start, stop in ((0, here), (here + 1, count)) if start < stop]
    others = [_along(entry, x, axis, *interval) for interval in ends]
    rest = others[0] if len(others) == 1 else concatenate(*others, axis=axis)
    kept = tuple(n for a, n in enumerate(entry.shape) if a != axis)
    alone = rest.shape[axis] == 1
    rest = reshape(rest, shape=kept) if alone else logsumexp(rest, axis=axis)
    return rest - reshape(slice_(x, **entry.params), shape=kept)


def _along(e: Expr, x: Expr, axis: int, start: int, stop: int) -> Expr:
    """The entries of x that a slice has, but those from start to stop along one axis."""
    ends = {"start": start, "stop": stop, "step": 1}
    changed = {k: (*e.params[k][:axis], v, *e.params[k][axis + 1 :]) for k, v in ends.items()}
    return slice_(x, **{**e.params, **changed})


@rewrites(reduce_max, exact=False, written_only=True, protects=PROTECTS)
def log_of_largest_weight(e: Expr) -> Expr | None:
    """max(log_softmax(x)) = -softplus(-max(log_odds(x)))"""
    (log_weights,) = e.args
    if log_weights.op is not log_softmax or e.params["axes"] != (log_weights.params["axis"],):
        return None
    return -softplus(-reduce_max(log_odds_op(*log_weights.args, **log_weights.params), **e.params))
