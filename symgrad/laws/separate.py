"""Expressions one variable at a time: sums of functions of it times what is left alone.

`v sin(r)/r + w cos(r)` is `v` times one function of `r`, `w` times another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from symgrad.expr import Expr, add, constant, div, literal, literal_value, mul, neg, sub
from symgrad.ops.entropy import power_times_log_op, times_log1p_op, times_log_op, xlog1py, xlogy
from symgrad.ops.limit import limit_op, variable
from symgrad.ops.norm import hypot, norm, ratio
from symgrad.ops.pointwise import (
    convert,
    convert_op,
    integer_power,
    integer_power_op,
    log,
    log1p,
    rsqrt,
    sqrt,
    square,
)
from symgrad.ops.shape import broadcast, reduce_sum, reshape, reshape_op, uniform_value
from symgrad.series import ANALYTIC

LARGEST_REGION, LARGEST_SUM, LARGEST_ORDER = 100, 12, 6
"""Nodes that are looked at around a division, terms of a sum, order of a pole."""


@dataclass(frozen=True, slots=True)
class Term:
    """factors / divisors * variable**power * function(variable).

    Factors and divisors are arrays, `function` is an expression in `variable`; powers of the
    variable are kept apart, so that they cancel. Halves stand for roots.
    """

    factors: tuple[Expr, ...]
    divisors: tuple[Expr, ...]
    power: Fraction
    function: Expr

    @property
    def monomial(self) -> frozenset[tuple[Expr, int]]:
        powers: dict[Expr, int] = {}
        for sign, atoms in ((1, self.factors), (-1, self.divisors)):
            for a in atoms:
                powers[a] = powers.get(a, 0) + sign
        return frozenset((a, n) for a, n in powers.items() if n)

    @property
    def whole(self) -> Expr:
        """What the term is of the variable, its power included."""
        t = variable(self.function.dtype)
        if self.power < 0:
            return _over(self.function, power_of(t, -self.power))
        return times(power_of(t, self.power), self.function)

    def times(self, other: Term) -> Term:
        return Term(
            self.factors + other.factors,
            self.divisors + other.divisors,
            self.power + other.power,
            times(self.function, other.function),
        )

    def over(self, other: Term) -> Term:
        return Term(
            self.factors + other.divisors,
            self.divisors + other.factors,
            self.power - other.power,
            _over(self.function, other.function),
        )

    def mapped(self, change: Callable[[Expr], Expr]) -> Term:
        """The term with other arrays."""
        factors, divisors = tuple(map(change, self.factors)), tuple(map(change, self.divisors))
        return Term(factors, divisors, self.power, self.function)

    def with_function(self, function: Expr) -> Term:
        return Term(self.factors, self.divisors, self.power, function)


NONE = Fraction(0)


def of_variable(function: Expr, power: Fraction = NONE) -> Term:
    return Term((), (), power, function)


def is_one(e: Expr) -> bool:
    value = uniform_value(e)
    return value is not None and value == 1


def times(x: Expr, y: Expr) -> Expr:
    if is_one(x) or is_one(y):
        return y if is_one(x) else x
    for factor, other in ((x, y), (y, x)):
        if factor.op is div and is_one(factor.args[0]):
            return _over(other, factor.args[1])
    return x * y


def _over(x: Expr, y: Expr) -> Expr:
    """A quotient; what is divided by itself, or by a reciprocal, is not divided."""
    if is_one(y):
        return x
    if x is y:
        return constant(1, x.dtype)
    return times(x, y.args[1]) if y.op is div and is_one(y.args[0]) else x / y


def power_of(t: Expr, power: Fraction) -> Expr:
    """A power of the variable; halves are written with its root."""
    whole, half = divmod(power, 1)
    found = integer_power(t, int(whole))
    return times(found, sqrt(t)) if half else found


@dataclass(frozen=True, slots=True)
class Separated:
    """A node as a sum of terms.

    Attributes:
        axes: which axes of the node are those of the variable; None if it does not occur.
    """

    axes: tuple[int, ...] | None
    terms: tuple[Term, ...]

    @property
    def pure(self) -> Expr | None:
        """The function that the node is of the variable alone."""
        if len(self.terms) == 1 and not self.terms[0].factors and not self.terms[0].divisors:
            return self.terms[0].whole
        return None


def separate(e: Expr, v: Expr) -> Separated | None:
    """`e` as a sum of terms in the variable `v`, None if that takes too many."""
    known = _known_sums(v)
    if e not in known:
        table = separated_parts(e, v) if all(known.get(a, a) for a in e.args) else None
        known[e] = None if table is None else table[e]
    return known[e]


@lru_cache(maxsize=32)
def _known_sums(v: Expr) -> dict[Expr, Separated | None]:
    return {}


def separated_parts(e: Expr, v: Expr) -> dict[Expr, Separated] | None:
    """Every node that `e` is put together of as a sum of terms in the variable `v`."""
    known = _known_parts(v)
    table: dict[Expr, Separated] = {}
    entered: set[Expr] = set()
    stack = [e]
    while stack:
        node = stack[-1]
        if node in table:
            stack.pop()
            continue
        inside = node.op in RULES and node not in _given(v)
        if node not in entered:
            entered.add(node)
            if len(entered) > LARGEST_REGION:
                return None
            stack.extend(a for a in node.args if inside and a not in table)
            continue
        stack.pop()
        if node not in known:
            known[node] = _separated(node, [table[a] for a in node.args] if inside else [], inside)
        table[node] = known[node]
        if len(table[node].terms) > LARGEST_SUM:
            return None
    return table


@lru_cache(maxsize=32)
def _known_parts(v: Expr) -> dict[Expr, Separated]:
    """What nodes have been separated into: the same for all that are put together of them."""
    return dict(_given(v))


@lru_cache(maxsize=32)
def _given(v: Expr) -> Mapping[Expr, Separated]:
    """The variable and its square."""
    return {n: _power_of_variable(v, 2) for n in squares(v)} | {v: _power_of_variable(v, 1)}


def _power_of_variable(v: Expr, power: int) -> Separated:
    one = constant(1, v.dtype)
    return Separated(tuple(range(v.ndim)), (of_variable(one, Fraction(power)),))


def squares(v: Expr) -> list[Expr]:
    """The nodes that are the square of a root or a length."""
    if v.op is sqrt:
        return [v.args[0]]
    if v.op is norm:
        (x,) = v.args
        return [reduce_sum(y, axes=v.params["axes"]) for y in (square(x), x * x)]
    if v.op is hypot:
        x, y = v.args
        return [square(x) + square(y), x * x + y * y]
    return []


def _separated(node: Expr, known: list[Separated], inside: bool) -> Separated:
    if node.op is literal:
        return Separated(None, (of_variable(node),))
    axes = {k.axes for k in known if k.axes is not None}
    found = RULES[node.op](node, known) if inside and len(axes) <= 1 else None
    return found or _alone(node)


def _alone(node: Expr) -> Separated:
    return Separated(None, (Term((node,), (), NONE, constant(1, node.dtype)),))


def _common_axes(known: Sequence[Separated]) -> tuple[int, ...] | None:
    return next((k.axes for k in known if k.axes is not None), None)


def _collected(axes: tuple[int, ...] | None, terms: Iterable[Term]) -> Separated:
    """Terms with the same factors are one."""
    found: dict[Any, Term] = {}
    for t in terms:
        earlier = found.get(t.monomial)
        found[t.monomial] = t if earlier is None else _added(earlier, t)
    return Separated(axes, tuple(found.values()))


def _added(x: Term, y: Term) -> Term:
    """The sum of two terms with the same factors: the smaller power comes out."""
    power = min(x.power, y.power)
    t = variable(x.function.dtype)
    inner = (times(power_of(t, s.power - power), s.function) for s in (x, y))
    return Term(x.factors, x.divisors, power, add(*inner))


def _negated(t: Term) -> Term:
    value = literal_value(t.function)
    opposite = -t.function if value is None else constant(-value, t.function.dtype)
    return t.with_function(opposite)


def _of_sum(e: Expr, known: list[Separated]) -> Separated:
    x, y = known
    second = tuple(map(_negated, y.terms)) if e.op is sub else y.terms
    return _collected(_common_axes(known), (*x.terms, *second))


def _of_negative(e: Expr, known: list[Separated]) -> Separated:
    (x,) = known
    return Separated(x.axes, tuple(map(_negated, x.terms)))


def _of_product(e: Expr, known: list[Separated]) -> Separated:
    x, y = known
    return _collected(_common_axes(known), (s.times(t) for s in x.terms for t in y.terms))


def _of_quotient(e: Expr, known: list[Separated]) -> Separated | None:
    x, y = known
    if len(y.terms) != 1:
        return None
    return _collected(_common_axes(known), (t.over(y.terms[0]) for t in x.terms))


def _of_power(e: Expr, known: list[Separated]) -> Separated | None:
    (x,) = known
    exponent = e.params.get("exponent", 2)
    if abs(exponent) > LARGEST_ORDER:
        return _of_function(e, known)
    if len(x.terms) != 1:
        return None
    (t,) = x.terms
    factors, divisors = t.factors * abs(exponent), t.divisors * abs(exponent)
    if exponent < 0:
        factors, divisors = divisors, factors
    function = t.function if is_one(t.function) else integer_power(t.function, exponent)
    return Separated(x.axes, (Term(factors, divisors, t.power * exponent, function),))


def _of_root(e: Expr, known: list[Separated]) -> Separated | None:
    """Roots of powers that are real on one side only, or even on both."""
    (x,) = known
    t = x.terms[0]
    plain = x.pure is not None and is_one(t.function) and t.power.denominator == 1
    if not plain or (t.power % 2 == 0 and t.power % 4):
        return _of_function(e, known)
    return Separated(x.axes, (of_variable(t.function, t.power / (2 if e.op is sqrt else -2)),))


def _of_function(e: Expr, known: list[Separated]) -> Separated | None:
    arguments = [k.pure for k in known]
    if any(a is None for a in arguments):
        return None
    return Separated(_common_axes(known), (of_variable(e.op(*arguments, **e.params)),))


def _of_product_with_log(e: Expr, known: list[Separated]) -> Separated | None:
    """x log(y) and x log(1 + y) as the products that they are."""
    x, y = known
    logarithm = (log if e.op in (times_log_op, xlogy) else log1p)(e.args[1])
    second = _of_function(logarithm, [y]) or _alone(logarithm)
    return _of_product(e, [x, second])


def _of_power_times_log(e: Expr, known: list[Separated]) -> Separated | None:
    (x,), (base,) = known, e.args
    power = _of_power(e, known)
    logarithm = _of_function(log(base), [x]) or _alone(log(base))
    return power and _of_product(e, [power, logarithm])


def _of_broadcast(e: Expr, known: list[Separated]) -> Separated:
    (x,) = known
    places = e.params["axes"]
    axes = None if x.axes is None else tuple(places[a] for a in x.axes)

    def repeated(a: Expr) -> Expr:
        return broadcast(a, **e.params) if a.ndim else a

    return Separated(axes, tuple(t.mapped(repeated) for t in x.terms))


def _of_conversion(e: Expr, known: list[Separated]) -> Separated | None:
    (x,) = known
    if not (e.type.real and e.args[0].type.real):
        return None

    def converted(a: Expr) -> Expr:
        return convert(a, dtype=e.dtype)

    arrays = [t.mapped(converted) for t in x.terms]
    if e.dtype == e.args[0].dtype:
        return Separated(x.axes, tuple(arrays))
    terms = (Term(t.factors, t.divisors, NONE, converted(t.whole)) for t in arrays)
    return Separated(x.axes, tuple(terms))


def _of_reshape(e: Expr, known: list[Separated]) -> Separated | None:
    """Only axes of size 1 may come and go."""
    (x,) = known
    (operand,) = e.args
    old = [i for i, n in enumerate(operand.shape) if n != 1]
    new = [i for i, n in enumerate(e.shape) if n != 1]
    places = dict(zip(old, new, strict=False))
    plain = [operand.shape[i] for i in old] == [e.shape[i] for i in new]
    if not plain or any(a not in places for a in x.axes or ()):
        return None
    axes = None if x.axes is None else tuple(places[a] for a in x.axes)

    def reshaped(a: Expr) -> Expr:
        return reshape(a, shape=e.shape) if a.ndim else a

    return Separated(axes, tuple(t.mapped(reshaped) for t in x.terms))


def _of_reduction(e: Expr, known: list[Separated]) -> Separated | None:
    """What is the same along the axes comes out of the sum."""
    (x,) = known
    summed = e.params["axes"]
    if any(a in summed for a in x.axes or ()):
        return None
    kept = [i for i in range(e.args[0].ndim) if i not in summed]
    axes = None if x.axes is None else tuple(kept.index(a) for a in x.axes)
    return Separated(axes, tuple(_summed(e, t) for t in x.terms))


def _summed(e: Expr, t: Term) -> Term:
    factors, divisors = ([a for a in atoms if a.ndim] for atoms in (t.factors, t.divisors))
    numbers, below = (tuple(a for a in atoms if not a.ndim) for atoms in (t.factors, t.divisors))
    if not factors and not divisors:
        count = int(np.prod([e.args[0].shape[a] for a in e.params["axes"]], dtype=np.int64))
        return Term(numbers, below, t.power, t.function * count)
    whole = product(Term(tuple(factors), tuple(divisors), NONE, constant(1, e.dtype)), None)
    return Term((*numbers, reduce_sum(whole, **e.params)), below, t.power, t.function)


RULES: Mapping[Any, Callable[[Expr, list[Separated]], Separated | None]] = {
    **{op: _of_function for op in ANALYTIC},
    limit_op: _of_function,
    sqrt: _of_root,
    rsqrt: _of_root,
    add: _of_sum,
    sub: _of_sum,
    neg: _of_negative,
    mul: _of_product,
    **dict.fromkeys((times_log_op, times_log1p_op, xlogy, xlog1py), _of_product_with_log),
    power_times_log_op: _of_power_times_log,
    div: _of_quotient,
    ratio: _of_quotient,
    square: _of_power,
    integer_power_op: _of_power,
    broadcast: _of_broadcast,
    reshape_op: _of_reshape,
    reduce_sum: _of_reduction,
    convert_op: _of_conversion,
}
"""How a node is put together from separated operands."""


def product(t: Term, function: Expr | None) -> Expr:
    """The term with `function` in place of its function; nothing is divided needlessly."""
    found = function
    value = None if function is None else uniform_value(function)
    factors = list(t.factors)
    if factors and (found is None or (value is not None and value == 1)):
        found = factors.pop(0)
    if found is None:
        found = constant(1, t.function.dtype)
    for factor in factors:
        found = factor * found
    for divisor in t.divisors:
        found = found / divisor
    return found
