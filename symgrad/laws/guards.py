"""Limits that are written as a branch: `where(x == 0, 1, sin(x) / x)` is the function itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from symgrad.errors import NoExactValueError
from symgrad.exact import VALUES, evaluate
from symgrad.exact.arrays import ARRAYS
from symgrad.expr import Expr, add, div, fresh, item, mul, neg, sub
from symgrad.laws.averages import difference_of_averages, logarithm_of_average, power_of_average
from symgrad.laws.divided import divided_difference
from symgrad.laws.limits import ZERO_OVER_ZERO, continued, removable_singularity
from symgrad.laws.parameters import limit_in_a_parameter, power_in_a_parameter
from symgrad.laws.poles import Pole
from symgrad.laws.separate import LARGEST_REGION, RULES, Separated, Term, separate
from symgrad.laws.terms import factors
from symgrad.ops.calls import custom_jvp, custom_vjp
from symgrad.ops.limit import limit_op
from symgrad.ops.norm import length
from symgrad.ops.pointwise import (
    abs_,
    and_,
    eq,
    ge,
    gt,
    le,
    lt,
    ne,
    not_,
    select,
)
from symgrad.ops.reduce import reduce_max
from symgrad.ops.shape import broadcast, full, reshape_op, uniform_value, unrepeated
from symgrad.pattern import fit, rewrites
from symgrad.rewrite import simplify
from symgrad.series import laurent, real_value
from symgrad.structure import bounds
from symgrad.walk import Graph, substitute, topological

CUSTOM = (custom_jvp, custom_vjp)

MIRRORED = {eq: eq, ne: ne, lt: gt, gt: lt, le: ge, ge: le}


@dataclass(frozen=True, slots=True)
class Guard:
    """A condition under which a variable has one value, or is as close to it as `within`."""

    variable: Expr
    centre: float
    within: float
    holds: bool

    @staticmethod
    def of(condition: Expr) -> Guard | None:
        """The guard that a condition, or its opposite, is."""
        holds = True
        while condition.op in (broadcast, reshape_op, not_):
            holds ^= condition.op is not_
            (condition,) = condition.args
        if condition.op not in (eq, ne, lt, le, gt, ge):
            return None
        left, right = condition.args
        if uniform_value(left) is not None:
            condition = MIRRORED[condition.op](right, left)
            left, right = condition.args
        centre = uniform_value(right)
        if centre is None or not right.type.real:
            return None
        found = _guarded(condition, left, float(centre))
        return found and Guard(*found[:3], found[3] is holds)

    def of_operand(self) -> Guard | None:
        """The same condition on x, if the variable is a multiple of x or x plus a number."""
        v = self.variable
        if v.op is neg:
            return Guard(v.args[0], -self.centre, self.within, self.holds)
        if v.op not in (mul, div, add, sub):
            return None
        swapped = v.op.commutative and uniform_value(v.args[0]) is not None
        x, other = v.args[::-1] if swapped else v.args
        value = uniform_value(other)
        if value is None or not value or not np.isfinite(value):
            return None
        number = float(value)
        if v.op in (add, sub):
            centre = self.centre - number if v.op is add else self.centre + number
            return Guard(x, centre, self.within, self.holds)
        scale = number if v.op is mul else 1 / number
        return Guard(x, self.centre / scale, self.within / abs(scale), self.holds)


def _guarded(condition: Expr, v: Expr, centre: float) -> tuple[Expr, float, float, bool] | None:
    """Variable, value, distance, and whether the condition says that they are so close."""
    op = condition.op
    if op in (eq, ne):
        return v, centre, 0.0, op is eq
    if v.op in (abs_, length) and (centre > 0 or op in (le, gt)):
        inner, middle = _distance(v.args[0])
        return inner, middle, centre, op in (lt, le)
    low, high = bounds(v)
    if centre == low and op in (le, gt):
        return v, centre, 0.0, op is le
    if centre == high and op in (ge, lt):
        return v, centre, 0.0, op is ge
    return None


def _distance(e: Expr) -> tuple[Expr, float]:
    """x and a of x - a"""
    value = uniform_value(e.args[1]) if e.op in (sub, add) else None
    if value is None:
        return e, 0.0
    return e.args[0], float(value) if e.op is sub else -float(value)


@rewrites(select, exact=False, written_only=True, protects=ZERO_OVER_ZERO)
def guarded_limit(e: Expr) -> Expr | None:
    """where(x = a, f(a), f(x)) = f(x) for the limit f(a) of a function that is 0/0 at a"""
    condition, on_true, on_false = e.args
    guard = Guard.of(condition)
    if not e.type.real:
        return None
    while guard is not None:
        at_point, elsewhere = (on_true, on_false) if guard.holds else (on_false, on_true)
        outside = _outside(elsewhere, condition, guard.holds)
        if outside.shape == e.shape:
            found = _unguarded(e, outside, _without_rule(at_point), guard)
            found = _in_a_parameter(e, at_point, outside, guard) if found is None else found
            if found is not None:
                return found
        guard = guard.of_operand()
    return None


def _unguarded(e: Expr, outside: Expr, at_point: Expr, guard: Guard) -> Expr | None:
    found, wanted = separate(outside, guard.variable), separate(at_point, guard.variable)
    if found is None or wanted is None:
        return None
    if not any(_is_removable(t.whole, guard.centre) for t in found.terms):
        return None
    pole = Pole(guard.variable, guard.centre)
    return continued(e, found, pole) if _agree(found, wanted, guard) else None


def _in_a_parameter(e: Expr, at_point: Expr, outside: Expr, guard: Guard) -> Expr | None:
    """The same where the limit depends on other arrays: it is right near the point as well."""
    if guard.centre or guard.within:
        return None
    for rule in (limit_in_a_parameter, power_in_a_parameter):
        outside = (outside.op in rule.roots and rule.rewrite(outside)) or outside
    chosen = _near_and_far(outside)
    if len({n.args[0] for n in chosen}) != 1:
        return None
    small = chosen[0].args[0]
    if small.shape != outside.shape:
        return None
    near, far = (
        substitute([outside], {n: fit(n.args[i], n.type) for n in chosen})[0] for i in (1, 2)
    )
    (u,) = small.args[0].args
    if not _agree_at_zero(near, at_point, u, guard.variable):
        return None
    written = select(e.args[0], *((at_point, far) if guard.holds else (far, at_point)))
    return None if written is e else select(small, near, written)


@rewrites(select, exact=False, written_only=True, protects=ZERO_OVER_ZERO)
def guarded_limit_of_several(e: Expr) -> Expr | None:
    """where(x = y, f(x, x), f(x, y)) = f(x, y) for the limit of a function that is 0/0 there"""
    condition, on_true, on_false = e.args
    for old, new, holds in _equalities(condition) if e.type.real else ():
        at_point, elsewhere = (on_true, on_false) if holds else (on_false, on_true)
        outside = _outside(elsewhere, condition, holds)
        if outside is not elsewhere:
            outside = simplify(Graph((), (outside,)), (CONTINUED,)).outputs[0]
        chosen = _near_and_far(outside)
        if len({n.args[0] for n in chosen}) != 1 or outside.shape != e.shape:
            continue
        small = fit(chosen[0].args[0], e.type)
        near, far = (
            substitute([outside], {n: fit(n.args[i], n.type) for n in chosen})[0] for i in (1, 2)
        )
        if small.shape != e.shape or not _are_equal(near, at_point, {old: new}):
            continue
        written = select(condition, *((at_point, far) if holds else (far, at_point)))
        return None if written is e else select(small, near, written)
    return None


def _equalities(condition: Expr) -> Iterator[tuple[Expr, Expr, bool]]:
    """What has to be replaced by what where a guard is for one point, and whether it is for it."""
    holds, inner = True, condition
    while inner.op in (broadcast, reshape_op, not_):
        holds ^= inner.op is not_
        (inner,) = inner.args
    guard = Guard.of(condition)
    while guard is not None and not guard.within:
        v = guard.variable
        yield v, full(guard.centre, v.type), guard.holds
        if v.op is sub and not guard.centre:
            x, y = v.args
            yield from _either(x, y, guard.holds)
        guard = guard.of_operand()
    if inner.op in (eq, ne):
        x, y = inner.args
        yield from _either(x, y, holds is (inner.op is eq))


def _either(x: Expr, y: Expr, holds: bool) -> Iterator[tuple[Expr, Expr, bool]]:
    if x.type.real and x.type == y.type:
        yield x, y, holds
        yield y, x, holds


def _are_equal(near: Expr, at_point: Expr, given: Mapping[Expr, Expr]) -> bool:
    """Whether two expressions have the same value, by that at a random point."""
    if any(old in topological([new]) for old, new in given.items()):
        return False
    roots = substitute([near, at_point], dict(given))
    leaves = _leaves(roots)
    if leaves is None:
        return False
    inputs = {e: fresh(e.type) for e in leaves}
    graph = Graph(tuple(inputs.values()), tuple(substitute(roots, inputs)))
    random = np.random.default_rng(0)
    points = [random.uniform(0.5, 1.5, e.shape) for e in leaves]
    try:
        found, wanted = evaluate(graph, points, DIGITS)
    except (ArithmeticError, ValueError, TypeError, NoExactValueError):
        return False
    precision = 4 * float(jnp.finfo(near.dtype).eps)
    entries = zip(*(np.broadcast_to(x, near.shape).flat for x in (found, wanted)), strict=True)
    return all(abs(a - b) <= precision * abs(a) for a, b in entries)


DIGITS = 30
LARGEST_PROOF = 20000
"""So many numbers are computed to see whether two expressions are equal."""

LOOKED_INTO = frozenset({*VALUES, *ARRAYS, limit_op})

CONTINUED = (
    divided_difference,
    difference_of_averages,
    logarithm_of_average,
    power_of_average,
    removable_singularity,
    limit_in_a_parameter,
    power_in_a_parameter,
)
"""The laws that find limits, for what a guard inside of a guarded expression kept from them."""


def _leaves(roots: Sequence[Expr]) -> list[Expr] | None:
    """What expressions are put together of, None if that is too much."""
    found: dict[Expr, bool] = {}
    stack = list(roots)
    size = 0
    while stack:
        node = stack.pop()
        if node in found:
            continue
        known = node.op in LOOKED_INTO
        if not known and not (node.type.real and node.type.inexact):
            return None
        size += node.type.size
        if size > LARGEST_PROOF or len(found) > 4 * LARGEST_REGION:
            return None
        found[node] = known
        stack.extend(node.args if known else ())
    return [node for node, known in found.items() if not known]


def _near_and_far(e: Expr) -> list[Expr]:
    """The nodes in an expression that choose between a limit and what was written."""
    found: dict[Expr, bool] = {}
    stack = [e]
    while stack and len(found) < LARGEST_REGION:
        node = stack.pop()
        if node not in found:
            found[node] = node.op is select and _is_small(node.args[0])
            stack.extend(node.args if node.op in RULES else ())
    return [n for n, chooses in found.items() if chooses]


def _is_small(condition: Expr) -> bool:
    condition = unrepeated(condition)
    if condition.op is and_:
        return all(map(_is_small, condition.args))
    return condition.op is lt and unrepeated(condition.args[0]).op in (abs_, reduce_max)


def _agree_at_zero(near: Expr, at_point: Expr, u: Expr, k: Expr) -> bool:
    """Whether two expressions are equal where `k`, and therefore its multiple `u`, is zero."""
    while near.op is at_point.op and near.op.elementwise and len(near.args) == 1:
        (near,), (at_point,) = near.args, at_point.args
    found, wanted = separate(near, u), separate(at_point, u)
    if found is None or wanted is None:
        return False
    zero = set(factors(k) or [k])
    left = [t for t in found.terms if not zero <= set(map(unrepeated, t.factors))]
    return _agree(Separated(found.axes, tuple(left)), wanted, Guard(u, 0.0, 0.0, True))


def _without_rule(e: Expr) -> Expr:
    """What a call of a function with a derivative rule of the user's computes."""
    call, number = (e.args[0], e.params["index"]) if e.op is item else (e, 0)
    return call.params["body"](*call.args)[number] if call.op in CUSTOM else e


def _outside(e: Expr, condition: Expr, holds: bool) -> Expr:
    """`e` where the condition is known not to hold (if `holds`), or to hold."""
    known: dict[Expr, Expr] = {}
    stack, seen = [e], set()
    while stack and len(seen) < LARGEST_REGION:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if node.op is select and node.args[0] is condition:
            chosen = node.args[2 if holds else 1]
            known[node] = chosen if chosen.shape == node.shape else node
        elif node.op in RULES:
            stack.extend(node.args)
    return substitute([e], known)[0] if known else e


def _is_removable(function: Expr, centre: float) -> bool:
    if any(node.op is limit_op for node in topological([function])):
        return True
    return real_value(function, centre) is None


def _agree(found: Separated, wanted: Separated, guard: Guard) -> bool:
    """Whether what was written for the point is the limit there, to the last digits."""
    values = {t.monomial: _limit(t.whole, guard) for t in found.terms}
    others = {t.monomial: _limit(t.whole, guard) for t in wanted.terms}
    precision = 4 * float(jnp.finfo(guard.variable.dtype).eps)
    for monomial in {**values, **others}:
        limit, written = values.get(monomial, 0.0), others.get(monomial, 0.0)
        if limit is None or written is None:
            return False
        if abs(limit - written) > precision * abs(limit):
            return False
    return all(_is_flat(t, wanted, guard, precision) for t in found.terms)


def _limit(function: Expr, guard: Guard) -> float | None:
    value = real_value(function, guard.centre)
    if value is not None:
        return float(value)
    series = laurent(function, guard.centre)
    if series is None or series.valuation < 0:
        return None
    return series.coefficients[0] if series.coefficients and not series.valuation else 0.0


def _is_flat(t: Term, wanted: Separated, guard: Guard, precision: float) -> bool:
    """Whether a function differs from what stands for it nowhere near the point."""
    if not guard.within:
        return True
    (other,) = [w.whole for w in wanted.terms if w.monomial == t.monomial] or [None]
    difference = t.whole if other is None else t.whole - other
    series = laurent(difference, guard.centre)
    size = abs(_limit(t.whole, guard) or 0.0)
    if series is None or series.valuation < 0:
        return False
    powers = enumerate(series.coefficients, series.valuation)
    return sum(abs(c) * guard.within**k for k, c in powers) <= precision * size
