"""Hyperbolic functions and their inverses, written with exponentials, logarithms and roots."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from symgrad.expr import Expr, add, div, sub
from symgrad.laws.terms import Term, are_opposite, negated, terms, total
from symgrad.ops.differences import root_minus
from symgrad.ops.pointwise import (
    arcsinh,
    arctanh,
    cosh,
    exp,
    expm1,
    log,
    sinh,
    tanh,
)
from symgrad.pattern import equation, rewrites

PROTECTS = "cancellation"


@rewrites(add, sub, exact=False, protects=PROTECTS)
def opposite_exponentials(e: Expr) -> Expr | None:
    """exp(x) - exp(-x) = expm1(x) - expm1(-x), exp(x) - 2 + exp(-x) = -expm1(x) expm1(-x)"""
    parts = terms(e) if e.type.real else None
    if parts is None or sum(node is not None and node.op in (exp, expm1) for _, node in parts) < 2:
        return None
    found = _less_two(parts) or _apart(parts)
    return total(found, e.type) if found else None


def _apart(parts: Sequence[Term]) -> list[Term] | None:
    for (c, first), (d, second) in itertools.combinations(parts, 2):
        if first is None or second is None or not first.op is second.op is exp or c != -d:
            continue
        if are_opposite(*first.args, *second.args):
            pair = [(c, expm1(*first.args)), (d, expm1(*second.args))]
            return [*pair, *(t for t in parts if t[1] not in (first, second))]
    return None


def _less_two(parts: Sequence[Term]) -> list[Term] | None:
    rest, curves = _exponentials(parts)
    for (c, first), (d, second) in itertools.combinations(curves, 2):
        if not first.op is second.op is exp or c != d or rest != -2 * c:
            continue
        (x,), (y,) = first.args, second.args
        if are_opposite(x, y):
            others = [(k, node) for k, node in curves if node not in (first, second)]
            return [(-c, expm1(x) * expm1(y)), *others]
    return None


def _exponentials(parts: Sequence[Term]) -> tuple[float, list[tuple[float, Expr]]]:
    """A sum without expm1: the number in it, and its other terms."""
    rest, curves = 0.0, []
    for c, node in parts:
        if node is None or node.op is expm1:
            rest += c if node is None else -c
        if node is not None:
            curves.append((c, exp(*node.args) if node.op is expm1 else node))
    return rest, curves


@equation(exact=False, protects="overflow of both exponentials")
def tanh_from_quotient(x):
    return sinh(x) / cosh(x), tanh(x)


@equation(exact=False, protects="overflow of both exponentials")
def coth_from_quotient(x):
    return cosh(x) / sinh(x), 1 / tanh(x)


@rewrites(log, exact=False, protects=PROTECTS)
def arctanh_from_logarithm(e: Expr) -> Expr | None:
    """log((1 + x) / (1 - x)) = 2 arctanh(x)"""
    (quotient,) = e.args
    if quotient.op is not div or not e.type.real:
        return None
    top, bottom = (terms(a) for a in quotient.args)
    if top is None or bottom is None or (1.0, None) not in top or (1.0, None) not in bottom:
        return None
    x = [t for t in top if t != (1.0, None)]
    if len(x) != 1 or bottom not in ([(1.0, None), *negated(x)], [*negated(x), (1.0, None)]):
        return None
    return 2 * arctanh(total(x, e.type))


@equation(exact=False, protects=PROTECTS)
def arcsinh_from_logarithm(x):
    return log(root_minus(-x, 1)), arcsinh(x)


@equation(exact=False, protects=PROTECTS)
def arcsinh_of_minus_from_logarithm(x):
    return log(root_minus(x, 1)), -arcsinh(x)
