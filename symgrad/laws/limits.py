"""Removable singularities: a function that is 0/0 at a point goes on through it.

Which expressions are, is decided one variable at a time. An elementwise expression is written
as a sum of terms, each a product of a function of that variable and of factors that are left
alone: `v sin(r)/r + w cos(r)` is `v` times one function of `r`, `w` times another. Where a
division by zero leaves poles in the Laurent series of no term, the expression is analytic,
and each function takes the value of its series near the point.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import jax.numpy as jnp
import numpy as np

from symgrad.expr import Expr, Type, add, constant, div, item, literal, literal_value, mul, neg, sub
from symgrad.laws import algebra
from symgrad.laws.norms import squared_length
from symgrad.ops.calls import custom_jvp, custom_vjp
from symgrad.ops.limit import limit_op, variable
from symgrad.ops.norm import hypot, length, norm, ratio
from symgrad.ops.pointwise import (
    abs_,
    convert,
    convert_op,
    eq,
    exp,
    exp2,
    ge,
    gt,
    integer_power,
    integer_power_op,
    le,
    logistic,
    lt,
    ne,
    not_,
    rsqrt,
    select,
    softplus,
    sqrt,
    square,
)
from symgrad.ops.reduce import softmax
from symgrad.ops.shape import broadcast, reduce_sum, reshape, reshape_op, uniform_value, zeros
from symgrad.pattern import Rule, rewrites
from symgrad.rewrite import simplify
from symgrad.series import ANALYTIC, laurent, leading, real_value
from symgrad.structure import bounds
from symgrad.walk import Graph, substitute, topological

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
        return _times(_power_of(t, self.power), self.function)

    def times(self, other: Term) -> Term:
        return Term(
            self.factors + other.factors,
            self.divisors + other.divisors,
            self.power + other.power,
            _times(self.function, other.function),
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


def _is_one(e: Expr) -> bool:
    value = uniform_value(e)
    return value is not None and value == 1


def _times(x: Expr, y: Expr) -> Expr:
    if _is_one(x) or _is_one(y):
        return y if _is_one(x) else x
    for factor, other in ((x, y), (y, x)):
        if factor.op is div and _is_one(factor.args[0]):
            return _over(other, factor.args[1])
    return x * y


def _over(x: Expr, y: Expr) -> Expr:
    """A quotient; what is divided by itself, or by a reciprocal, is not divided."""
    if _is_one(y):
        return x
    if x is y:
        return constant(1, x.dtype)
    return _times(x, y.args[1]) if y.op is div and _is_one(y.args[0]) else x / y


def _power_of(t: Expr, power: Fraction) -> Expr:
    """A power of the variable; halves are written with its root."""
    whole, half = divmod(power, 1)
    found = integer_power(t, int(whole))
    return _times(found, sqrt(t)) if half else found


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
    table = {n: _power_of_variable(v, 2) for n in _squares(v)} | {v: _power_of_variable(v, 1)}
    stack = [e]
    while stack:
        node = stack[-1]
        if node in table:
            stack.pop()
            continue
        inside = node.op in RULES
        waiting = [a for a in node.args if a not in table] if inside else []
        if waiting:
            stack.extend(waiting)
            continue
        if len(table) > LARGEST_REGION:
            return None
        known = [table[a] for a in node.args] if inside else []
        table[node] = _separated(node, known, inside)
        if len(table[node].terms) > LARGEST_SUM:
            return None
    return table[e]


def _power_of_variable(v: Expr, power: int) -> Separated:
    one = constant(1, v.dtype)
    return Separated(tuple(range(v.ndim)), (of_variable(one, Fraction(power)),))


def _squares(v: Expr) -> list[Expr]:
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
    return found or Separated(None, (Term((node,), (), NONE, constant(1, node.dtype)),))


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
    inner = (_times(_power_of(t, s.power - power), s.function) for s in (x, y))
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
    if len(x.terms) != 1 or abs(exponent) > LARGEST_ORDER:
        return None
    (t,) = x.terms
    factors, divisors = t.factors * abs(exponent), t.divisors * abs(exponent)
    if exponent < 0:
        factors, divisors = divisors, factors
    function = t.function if _is_one(t.function) else integer_power(t.function, exponent)
    return Separated(x.axes, (Term(factors, divisors, t.power * exponent, function),))


def _of_root(e: Expr, known: list[Separated]) -> Separated | None:
    """Roots of powers that are real on one side only, or even on both."""
    (x,) = known
    t = x.terms[0]
    plain = x.pure is not None and _is_one(t.function) and t.power.denominator == 1
    if not plain or (t.power % 2 == 0 and t.power % 4):
        return _of_function(e, known)
    return Separated(x.axes, (of_variable(t.function, t.power / (2 if e.op is sqrt else -2)),))


def _of_function(e: Expr, known: list[Separated]) -> Separated | None:
    arguments = [k.pure for k in known]
    if any(a is None for a in arguments):
        return None
    return Separated(_common_axes(known), (of_variable(e.op(*arguments, **e.params)),))


def _of_broadcast(e: Expr, known: list[Separated]) -> Separated:
    (x,) = known
    places = e.params["axes"]
    axes = None if x.axes is None else tuple(places[a] for a in x.axes)

    def repeated(a: Expr) -> Expr:
        return broadcast(a, **e.params) if a.ndim else a

    return Separated(axes, tuple(t.mapped(repeated) for t in x.terms))


def _of_conversion(e: Expr, known: list[Separated]) -> Separated | None:
    (x,) = known
    if not all(jnp.issubdtype(d, np.floating) for d in (e.dtype, e.args[0].dtype)):
        return None

    def converted(a: Expr) -> Expr:
        return convert(a, dtype=e.dtype)

    arrays = [t.mapped(converted) for t in x.terms]
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
    whole = _product(Term(tuple(factors), tuple(divisors), NONE, constant(1, e.dtype)), None)
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

PASSES_ON = (
    *(add, sub, neg, mul, div, ratio, square, integer_power_op),
    *(broadcast, reshape_op, reduce_sum, convert_op),
)
"""Operations that have the poles of their operands, unless these cancel."""


@dataclass(frozen=True, slots=True)
class Pole:
    """A point at which a variable makes a node infinite."""

    variable: Expr
    centre: float


_poles: weakref.WeakKeyDictionary[Expr, tuple[Pole, ...]] = weakref.WeakKeyDictionary()


def poles(e: Expr) -> tuple[Pole, ...]:
    """Where the divisions around a node leave it infinite."""
    stack = [e]
    while stack:
        node = stack[-1]
        waiting = [a for a in node.args if a not in _poles] if node.op in PASSES_ON else []
        if node in _poles:
            stack.pop()
        elif waiting:
            stack.extend(waiting)
        else:
            _poles[node] = tuple(p for p in _candidates(node) if _is_pole(node, p))
    return _poles[e]


def _candidates(e: Expr) -> tuple[Pole, ...]:
    inherited = [p for a in e.args for p in poles(a)] if e.op in PASSES_ON else []
    return tuple(dict.fromkeys([*inherited, *_own_candidates(e)]))[:LARGEST_SUM]


def _is_pole(e: Expr, pole: Pole) -> bool:
    """Whether a term is infinite at the point; its series may need a root that is yet to come."""
    found = separate(e, pole.variable)
    return found is not None and any(_is_infinite(t, pole.centre) for t in found.terms)


def _is_infinite(t: Term, centre: float) -> bool:
    power = Fraction(0) if centre else t.power
    first = leading(t.function, centre)
    if first is not None:
        return power + first[0] < 0
    if power >= 0 and real_value(t.function, centre) is not None:
        return False
    series = laurent(t.whole, centre)
    return series is None or series.valuation < 0


def _own_candidates(e: Expr) -> list[Pole]:
    """Where the divisor of a division may be zero."""
    divisor = _divisor(e)
    if divisor is None or not _may_be_zero(divisor):
        return []
    found = []
    for v in _variables(divisor):
        separated = separate(divisor, v)
        if separated is None or len(separated.terms) != 1:
            continue
        function = separated.terms[0].whole
        low, high = bounds(v)
        for centre in _centres(function, v is divisor):
            if low <= centre <= high and _vanishes(function, centre):
                found.append(Pole(v, centre))
    return found


def _vanishes(function: Expr, centre: float) -> bool:
    first = leading(function, centre)
    if first is not None:
        return first[0] > 0
    return real_value(function, centre) == 0


def _divisor(e: Expr) -> Expr | None:
    if not e.args or not jnp.issubdtype(e.dtype, np.floating):
        return None
    if e.op in (div, ratio):
        return e.args[1]
    negative = e.op is integer_power_op and e.params["exponent"] < 0
    return e.args[0] if negative or e.op is rsqrt else None


def _may_be_zero(e: Expr) -> bool:
    if uniform_value(e) is not None or _is_positive(e):
        return False
    low, high = bounds(e)
    return low <= 0 <= high


POSITIVE = frozenset({exp, exp2, logistic, softplus, softmax})
"""Functions that underflow to zero and are positive nevertheless."""

SIGN_OF_OPERANDS = frozenset({reduce_sum, broadcast, reshape_op, sqrt, rsqrt, square, mul, div})


def _is_positive(e: Expr) -> bool:
    """Whether a number is positive if it is computed exactly."""
    waiting = [e]
    for _ in range(LARGEST_SUM):
        if not waiting:
            return True
        node = waiting.pop()
        if node.op in POSITIVE or bounds(node).low > 0:
            continue
        if node.op is add and all(bounds(a).low >= 0 for a in node.args):
            # One that is positive is enough, and a function says so at a glance.
            waiting.append(next((a for a in node.args if a.op in POSITIVE), node.args[0]))
        elif node.op in SIGN_OF_OPERANDS and node.args:
            waiting.extend(node.args)
        else:
            return False
    return False


def _variables(divisor: Expr) -> list[Expr]:
    """What a divisor may be taken as a function of: everything inside of it, and itself."""
    inside: dict[Expr, None] = {}
    stack = [divisor]
    while stack and len(inside) < LARGEST_SUM:
        node = stack.pop()
        if node in inside or node.op is literal or not jnp.issubdtype(node.dtype, np.floating):
            continue
        inside[node] = None
        if (length_of_it := squared_length(node)) is not None:
            inside[length_of_it] = None
        elif node.op in RULES and node.op is not reduce_sum:
            stack.extend(node.args)
    return list(reversed(inside))


def _centres(function: Expr, itself: bool) -> list[float]:
    """Zero, one, and the numbers that the function mentions."""
    if itself:
        return [0.0]
    found = [0.0, 1.0, -1.0]
    for node in topological([function]):
        value = literal_value(node)
        if value is not None and np.isfinite(value):
            found += [float(value), -float(value)]
    return list(dict.fromkeys(found))[:8]


ZERO_OVER_ZERO = "0/0 where the function has a limit, and lost digits near there"


@rewrites(*PASSES_ON, exact=False, protects=ZERO_OVER_ZERO)
def removable_singularity(e: Expr) -> Expr | None:
    """f(x) = Σ cₖ (x - a)ᵏ near a point a where f is 0/0 and its Laurent series has no pole"""
    for pole in _candidates(e):
        found = separate(e, pole.variable)
        if found is not None and (whole := _continued(e, found, pole)) is not None:
            return whole
    return None


def _continued(e: Expr, found: Separated, pole: Pole) -> Expr | None:
    """The sum of terms, each of which is analytic at the point."""
    if any(_is_infinite(t, pole.centre) for t in found.terms):
        return None
    functions = [_analytic(t, pole) for t in found.terms]
    varying = any(
        t.power or variable(pole.variable.dtype) in topological([t.function]) for t in found.terms
    )
    if any(f is None for f in functions) or not varying:
        return None
    total: Expr | None = None
    for t, f in zip(found.terms, functions, strict=True):
        value = _product(t, _stretched(f, e, found.axes))  # type: ignore[arg-type]
        total = value if total is None else total + value
    return total


def _stretched(f: Expr, e: Expr, axes: tuple[int, ...] | None) -> Expr:
    if f.ndim == 0 or f.shape == e.shape:
        return f
    return broadcast(f, shape=e.shape, axes=axes)


def _analytic(t: Term, pole: Pole) -> Expr | None:
    """A function of the variable, by its series near the point if it is 0/0 there."""
    v, centre = pole.variable, pole.centre
    function = _continuous(t.function, pole) if t.power >= 0 or centre else None
    if function is not None:
        return _times(_power_of(v, t.power), function)
    return _continuous(t.whole, pole)


def _continuous(function: Expr, pole: Pole) -> Expr | None:
    v, centre = pole.variable, pole.centre
    if real_value(function, centre) is not None:
        return substitute([function], {variable(v.dtype): v})[0]
    series = laurent(function, centre)
    if series is None or series.valuation < 0:
        return None
    if not series.coefficients:
        return zeros(Type(v.shape, function.dtype))
    side = _side(function, centre)
    if side is None:
        return None
    own = convert(function, dtype=v.dtype)
    coefficients = (0.0,) * series.valuation + series.coefficients
    found = limit_op(v, function=own, centre=centre, side=side, series=coefficients)
    return convert(found, dtype=function.dtype)


def _side(function: Expr, centre: float) -> int | None:
    """0 if a function is real around a point, 1 or -1 if it is on one side of it only."""
    step = 2.0**-10
    above, below = (real_value(function, centre + s * step) is not None for s in (1, -1))
    return {(True, True): 0, (True, False): 1, (False, True): -1}.get((above, below))


def _product(t: Term, function: Expr | None) -> Expr:
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


CUSTOM = (custom_jvp, custom_vjp)

ALGEBRA = tuple(r for r in vars(algebra).values() if isinstance(r, Rule))


@rewrites(limit_op, exact=False)
def simplified_function(e: Expr) -> Expr | None:
    """A function with a removable singularity, with the laws of arithmetic applied to it"""
    function = e.params["function"]
    (found,) = simplify(Graph((), (function,)), (ALGEBRA,)).outputs
    return None if found is function else limit_op(*e.args, **{**e.params, "function": found})


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
        if centre is None or not jnp.issubdtype(right.dtype, np.floating):
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
    if not jnp.issubdtype(e.dtype, np.floating):
        return None
    while guard is not None:
        at_point, elsewhere = (on_true, on_false) if guard.holds else (on_false, on_true)
        outside = _outside(elsewhere, condition, guard.holds)
        if outside.shape == e.shape:
            found = _unguarded(e, outside, _without_rule(at_point), guard)
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
    return _continued(e, found, pole) if _agree(found, wanted, guard) else None


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
