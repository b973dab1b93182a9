"""Facts of values, read off the graph: bounds, signs, whole numbers, what sums to one.

A law whose two sides agree only for some values asks here. A fact says what holds
wherever the value is a number: nan is in every interval, and an input may be infinite.
Rounding may push a value past a bound by a unit in the last place, never past zero,
and a quotient by zero is that of the positive one.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import numpy as np

from symgrad.expr import Expr, Op, Type, add, captured, div, literal, literal_value, mul, neg, sub
from symgrad.ops import (
    distances,
    index,
    moments,
    norm,
    odds,
    order,
    pointwise,
    reduce,
    shape,
    special,
    stable,
    tails,
)
from symgrad.ops.assume import assumed, says
from symgrad.ops.contract import einsum_op
from symgrad.ops.pick import pick


class Interval(NamedTuple):
    """All numbers from `low` to `high`, both included; either may be infinite."""

    low: float
    high: float

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high


EVERYTHING = Interval(-math.inf, math.inf)
NOT_NEGATIVE = Interval(0.0, math.inf)
UNIT = Interval(0.0, 1.0)
SIGNED_UNIT = Interval(-1.0, 1.0)

LARGEST_READ = 2**20
"""Captured arrays with more entries than this are not looked at."""


def bounds(e: Expr) -> Interval:
    """An interval that holds every entry of `e` that is not nan."""
    return inferred(e, _bounds, _own_bounds, TRANSFER)


def is_nonnegative(e: Expr) -> bool:
    """Whether no entry is below zero."""
    return bounds(e).low >= 0


def is_positive(e: Expr) -> bool:
    """Whether every entry is above zero; `exp(x)` is not known to be, for x may be -inf."""
    return bounds(e).low > 0


def is_finite(e: Expr) -> bool:
    """Whether no entry is infinite."""
    low, high = bounds(e)
    return -math.inf < low and high < math.inf


def is_integer_valued(e: Expr) -> bool:
    """Whether every finite entry is a whole number."""
    return inferred(e, _whole, _own_whole, WHOLE)


def sums_to_one(e: Expr, axis: int) -> bool:
    """Whether the entries along `axis` add up to one."""
    if e.op is shape.broadcast and axis in e.params["axes"]:
        (x,), own = e.args, e.params["axes"].index(axis)
        return x.shape[own] == e.shape[axis] and sums_to_one(x, own)
    if e.op is pointwise.exp:
        (x,) = e.args
        return x.op is reduce.log_softmax and x.params["axis"] == axis
    if e.op is reduce.one_hot:
        return e.params["axis"] == axis and e.params["within"]
    if says(e, "simplex"):
        return axis == e.ndim - 1
    if e.op in (div, norm.ratio):
        # Where all are zero they are nan.
        whole = shape.reduce_sum(e.args[0], axes=(axis,))
        return e.args[1] in (whole, shape.expand(whole, (axis,), e.shape)) and e.type.inexact
    return e.op is reduce.softmax and e.params["axis"] == axis


_bounds: weakref.WeakKeyDictionary[Expr, Interval] = weakref.WeakKeyDictionary()
_whole: weakref.WeakKeyDictionary[Expr, bool] = weakref.WeakKeyDictionary()


def inferred(root: Expr, known: Any, own: Callable[..., Any], table: dict[Op, Any]) -> Any:
    """The fact of a node from those of its operands, each node looked at once.

    Operands of operations that the table says nothing about are not looked at.
    """
    found = known.get(root)
    if found is not None:
        return found
    stack = [root]
    while stack:
        node = stack[-1]
        operands = node.args if node.op in table else ()
        waiting = [a for a in operands if known.get(a) is None]
        if waiting:
            stack.extend(waiting)
            continue
        known[stack.pop()] = own(node, [known[a] for a in operands])
    return known[root]


def _own_bounds(e: Expr, operands: list[Interval]) -> Interval:
    if isinstance(e.type, tuple) or not _is_ordered(e.type):
        return EVERYTHING
    rule = TRANSFER.get(e.op)
    if rule is None:
        return _bounds_of_type(e.type)
    if any(isinstance(a.type, tuple) or not _is_ordered(a.type) for a in e.args):
        return NOT_NEGATIVE if e.op is pointwise.magnitude else EVERYTHING
    low, high = rule(e, *operands)
    low = -math.inf if math.isnan(low) else float(low)
    high = math.inf if math.isnan(high) else float(high)
    return _representable(Interval(low, high), e.type)


def _is_ordered(type: Type) -> bool:
    """Whether values of a type are real numbers or truth values."""
    if jax.dtypes.issubdtype(type.dtype, jax.dtypes.extended):
        return False
    return not jax.dtypes.issubdtype(type.dtype, np.complexfloating)


def _bounds_of_type(type: Type) -> Interval:
    if type.dtype == bool:
        return UNIT
    if type.inexact:
        return EVERYTHING
    limits = jax.numpy.iinfo(type.dtype)
    return Interval(float(limits.min), float(limits.max))


def _representable(found: Interval, type: Type) -> Interval:
    """What overflows is infinite in a float, and anything in an integer, which wraps around."""
    if not type.inexact:
        limits = _bounds_of_type(type)
        inside = limits.low <= found.low and found.high <= limits.high
        return found if inside else limits
    largest = float(jax.numpy.finfo(type.dtype).max)
    low = -math.inf if found.low < -largest else found.low
    return Interval(low, math.inf if found.high > largest else found.high)


# Sources


def _of_literal(e: Expr) -> Interval:
    value = literal_value(e)
    return EVERYTHING if np.isnan(value) else Interval(float(value), float(value))


def entries(e: Expr) -> np.ndarray | None:
    """The entries of a captured array; None if they are not at hand, or too many to look at."""
    array = e.params["array"].array
    if e.type.size > LARGEST_READ:
        return None
    try:
        return np.asarray(array)
    except (jax.errors.TracerArrayConversionError, RuntimeError):
        return None  # being traced, or spread over processes


def _of_captured(e: Expr) -> Interval:
    values = entries(e)
    if values is None or not values.size or (e.type.inexact and np.isnan(values).all()):
        return _bounds_of_type(e.type)
    smallest, largest = (np.fmin, np.fmax) if e.type.inexact else (np.minimum, np.maximum)
    if e.dtype == bool:
        return Interval(float(values.all()), float(values.any()))
    return Interval(float(smallest.reduce(values, None)), float(largest.reduce(values, None)))


# Arithmetic


def _product(x: float, y: float) -> float:
    """Of bounds: where 0 meets an infinity the value is nan, and others near it are 0."""
    return 0.0 if x == 0 or y == 0 else x * y


def _hull(values: Iterable[float]) -> Interval:
    found = list(values)
    return Interval(min(found), max(found))


def _of_product(e: Expr, x: Interval, y: Interval) -> Interval:
    if e.args[0] is e.args[1]:
        return _of_square(e, x)
    return _hull(_product(a, b) for a in x for b in y)


def _of_quotient(e: Expr, x: Interval, y: Interval) -> Interval:
    if not e.type.inexact:
        return EVERYTHING
    if y.low < 0 < y.high or y == (0, 0):
        return EVERYTHING
    return _hull(_ratio(a, b, negative=y.low < 0) for a in x for b in y)


def _ratio(x: float, y: float, *, negative: bool) -> float:
    """Of bounds, with y on one side of zero."""
    if y == 0:
        limit = 0.0 if x == 0 else math.copysign(math.inf, x)
        return -limit if negative else limit
    if math.isinf(y):
        return 0.0
    return x / y


def _of_square(e: Expr, x: Interval) -> Interval:
    return _of_even(x, lambda a: _product(a, a))


def _of_even(x: Interval, fun: Callable[[float], float]) -> Interval:
    """The image under a function that is even and grows with the absolute value."""
    nearest = 0.0 if 0.0 in x else min(abs(x.low), abs(x.high))
    return Interval(_safely(fun, nearest), _safely(fun, max(abs(x.low), abs(x.high))))


def _safely(fun: Callable[[float], Any], value: float) -> float:
    with np.errstate(all="ignore"):
        return float(fun(np.float64(value)))


def _of_integer_power(e: Expr, x: Interval) -> Interval:
    n = e.params["exponent"]
    if n < 0:
        return NOT_NEGATIVE if n % 2 == 0 or x.low >= 0 else EVERYTHING
    if n % 2 == 0:
        return _of_even(x, lambda a: a**n)
    return Interval(_safely(lambda a: a**n, x.low), _safely(lambda a: a**n, x.high))


def _of_power(e: Expr, x: Interval, y: Interval) -> Interval:
    exponent = literal_value(e.args[1])
    if x.low >= 0:
        if y.low < 0:
            return NOT_NEGATIVE
        return Interval(float(x.low >= 1), 1.0 if x.high <= 1 else math.inf)
    even = exponent is not None and float(exponent) % 2 == 0
    return NOT_NEGATIVE if even else EVERYTHING


# Functions


def _growing(fun: Callable[[Any], Any], domain: Interval = EVERYTHING) -> Callable[..., Interval]:
    """The rule of a function that does not fall, on its domain."""

    def rule(e: Expr, x: Interval) -> Interval:
        low, high = (min(max(a, domain.low), domain.high) for a in x)
        return Interval(_safely(fun, low), _safely(fun, high))

    return rule


def _falling(fun: Callable[[Any], Any], domain: Interval = EVERYTHING) -> Callable[..., Interval]:
    rule = _growing(fun, domain)
    return lambda e, x: Interval(*reversed(rule(e, x)))


def _within(interval: Interval) -> Callable[..., Interval]:
    return lambda e, *operands: interval


def _logistic(x: float) -> float:
    return 1 / (1 + np.exp(-x))


GROWING: dict[Op, Callable[..., Interval]] = {
    pointwise.exp: _growing(np.exp),
    pointwise.exp2: _growing(np.exp2),
    pointwise.expm1: _growing(np.expm1),
    pointwise.log: _growing(np.log, NOT_NEGATIVE),
    pointwise.log1p: _growing(np.log1p, Interval(-1.0, math.inf)),
    pointwise.sqrt: _growing(np.sqrt, NOT_NEGATIVE),
    pointwise.cbrt: _growing(np.cbrt),
    pointwise.arctan: _growing(np.arctan),
    pointwise.arcsin: _growing(np.arcsin, SIGNED_UNIT),
    pointwise.sinh: _growing(np.sinh),
    pointwise.tanh: _growing(np.tanh),
    pointwise.arcsinh: _growing(np.arcsinh),
    pointwise.arccosh: _growing(np.arccosh, Interval(1.0, math.inf)),
    pointwise.arctanh: _growing(np.arctanh, SIGNED_UNIT),
    pointwise.logistic: _growing(_logistic),
    pointwise.softplus: _growing(lambda x: np.logaddexp(x, 0)),
    pointwise.relu: _growing(lambda x: max(x, 0.0)),
    pointwise.erf: _growing(math.erf),
    pointwise.floor: _growing(np.floor),
    pointwise.ceil: _growing(np.ceil),
    pointwise.round_: _growing(np.round),
    pointwise.sign: _growing(np.sign),
}
FALLING: dict[Op, Callable[..., Interval]] = {
    neg: _falling(np.negative),
    pointwise.erfc: _falling(math.erfc),
    pointwise.arccos: _falling(np.arccos, SIGNED_UNIT),
    pointwise.rsqrt: _falling(lambda x: 1 / np.sqrt(x), NOT_NEGATIVE),
}
EVEN: dict[Op, Callable[..., Interval]] = {
    pointwise.square: _of_square,
    pointwise.abs_: lambda e, x: _of_even(x, abs),
    norm.length: lambda e, x: _of_even(x, abs),
    norm.norm: _within(NOT_NEGATIVE),
    norm.hypot: _within(NOT_NEGATIVE),
    moments.squared_deviations: _within(NOT_NEGATIVE),
    distances.squared_distances: _within(NOT_NEGATIVE),
    pointwise.cosh: lambda e, x: _of_even(x, np.cosh),
}
LIMITED: dict[Op, Callable[..., Interval]] = {
    pointwise.sin: _within(SIGNED_UNIT),
    pointwise.cos: _within(SIGNED_UNIT),
    pointwise.arctan2: _within(Interval(-math.pi, math.pi)),
    pointwise.magnitude: _within(NOT_NEGATIVE),
    special.igamma: _within(UNIT),
    special.igammac: _within(UNIT),
    special.regularized_incomplete_beta: _within(UNIT),
    special.bessel_i0e: _within(UNIT),
    special.bessel_i1e: _within(SIGNED_UNIT),
    **dict.fromkeys((pointwise.sech_squared, pointwise.logistic_slope), _within(UNIT)),
    **dict.fromkeys((pointwise.gaussian, pointwise.lorentzian), _within(UNIT)),
    **dict.fromkeys((pointwise.reciprocal_hypotenuse, stable.sech), _within(UNIT)),
    **dict.fromkeys((stable.log_cosh_op, tails.erfc_hazard_op), _within(NOT_NEGATIVE)),
    tails.ndtr: _within(UNIT),
    reduce.softmax: _within(UNIT),
    odds.one_minus_softmax_op: _within(UNIT),
    reduce.log_softmax: _within(Interval(-math.inf, 0.0)),
    reduce.one_hot: _within(UNIT),
    reduce.argmax: lambda e, x: Interval(0.0, e.args[0].shape[e.params["axis"]] - 1),
    reduce.argmin: lambda e, x: Interval(0.0, e.args[0].shape[e.params["axis"]] - 1),
}


# Choices and moves


def _union(*intervals: Interval) -> Interval:
    return Interval(min(i.low for i in intervals), max(i.high for i in intervals))


def _of_select(e: Expr, which: Interval, on_true: Interval, on_false: Interval) -> Interval:
    """The condition may bound the operand that it lets through: `where(x > 0, x, 1)`."""
    condition, x, y = e.args
    return _union(_where(condition, x, on_true, holds=True), _where(condition, y, on_false))


def _where(condition: Expr, x: Expr, own: Interval, *, holds: bool = False) -> Interval:
    if condition.op not in BELOW | ABOVE:
        return own
    left, right = condition.args
    value = literal_value(right if left is x else left)
    if value is None or np.isnan(value) or x not in (left, right):
        return own
    above = (condition.op in ABOVE) == ((left is x) == holds)
    # Where a comparison fails with a number, its converse holds.
    low, high = (float(value), math.inf) if above else (-math.inf, float(value))
    both = Interval(max(own.low, low), min(own.high, high))
    return both if both.low <= both.high else own


ABOVE = {pointwise.gt, pointwise.ge}
BELOW = {pointwise.lt, pointwise.le}


def _of_maximum(e: Expr, x: Interval, y: Interval) -> Interval:
    return Interval(max(x.low, y.low), max(x.high, y.high))


def _of_minimum(e: Expr, x: Interval, y: Interval) -> Interval:
    return Interval(min(x.low, y.low), min(x.high, y.high))


def _of_clamp(e: Expr, low: Interval, x: Interval, high: Interval) -> Interval:
    raised = _of_maximum(e, low, x)
    return _of_minimum(e, raised, high)


def _of_remainder(e: Expr, x: Interval, y: Interval) -> Interval:
    largest = max(abs(y.low), abs(y.high))
    return Interval(0.0 if x.low >= 0 else -largest, 0.0 if x.high <= 0 else largest)


def _unchanged(e: Expr, x: Interval, *others: Interval) -> Interval:
    return x


def _of_conversion(e: Expr, x: Interval) -> Interval:
    """A float that becomes an integer loses its fraction."""
    if e.dtype == bool:
        return UNIT
    return x if e.type.inexact else Interval(*(_safely(np.trunc, a) for a in x))


def _of_gather(e: Expr, x: Interval, *indices: Interval) -> Interval:
    """Windows that are not inside are zero."""
    return _union(x, Interval(0.0, 0.0))


def _of_filled_gather(e: Expr, x: Interval, *indices: Interval) -> Interval:
    fill = float(e.params["fill_value"].value)
    return x if math.isnan(fill) else _union(x, Interval(fill, fill))


# Reductions


def _count(e: Expr) -> int:
    """How many entries a reduction brings together."""
    return math.prod(e.args[0].shape[a] for a in e.params["axes"])


def _of_sum(e: Expr, x: Interval) -> Interval:
    return Interval(*(_product(a, _count(e)) for a in x))


def _of_running_sum(e: Expr, x: Interval) -> Interval:
    n = e.shape[e.params["axis"]]
    return Interval(min(x.low, _product(x.low, n)), max(x.high, _product(x.high, n)))


def _of_factors(e: Expr, x: Interval) -> Interval:
    """The product of any number of entries."""
    if x.low < 0:
        return SIGNED_UNIT if x.low >= -1 and x.high <= 1 else EVERYTHING
    return Interval(float(x.low >= 1), 1.0 if x.high <= 1 else math.inf)


def _of_extremum(e: Expr, x: Interval) -> Interval:
    return x if _count(e) else EVERYTHING


def _of_logsumexp(e: Expr, x: Interval) -> Interval:
    n = e.args[0].shape[e.params["axis"]]
    return Interval(*(a + math.log(n) for a in x)) if n else EVERYTHING


def _of_logaddexp(e: Expr, x: Interval, y: Interval) -> Interval:
    return Interval(*(float(np.logaddexp(a, b)) for a, b in zip(x, y, strict=True)))


def _of_einsum(e: Expr, *operands: Interval) -> Interval:
    squares = len(e.args) == 2 and e.args[0] is e.args[1] and len(set(e.params["indices"])) == 1
    nonnegative = squares or all(o.low >= 0 for o in operands)
    return NOT_NEGATIVE if nonnegative else EVERYTHING


def _of_assumed(e: Expr, x: Interval) -> Interval:
    limits = jax.numpy.finfo(e.dtype) if e.type.inexact else None
    smallest = float(limits.smallest_subnormal) if limits else 1.0
    low = smallest if says(e, "positive") else 0.0
    if says(e, "positive", "nonnegative", "simplex"):
        x = Interval(max(x.low, low), max(x.high, low))
    return Interval(x.low, min(x.high, 1.0)) if says(e, "simplex") else x


MOVES = (
    *(shape.broadcast, shape.reshape_op, shape.transpose, shape.slice_, shape.reverse, pick),
    *(pointwise.stop_gradient, pointwise.name, pointwise.reduce_precision),
    *(index.dynamic_slice_op, order.sort),
)
"""Operations whose entries are entries of their first operand."""

TRANSFER: dict[Op, Callable[..., Interval]] = {
    literal: _of_literal,
    captured: _of_captured,
    shape.iota: lambda e: Interval(0.0, e.shape[e.params["axis"]] - 1),
    add: lambda e, x, y: Interval(x.low + y.low, x.high + y.high),
    sub: lambda e, x, y: Interval(x.low - y.high, x.high - y.low),
    mul: _of_product,
    div: _of_quotient,
    pointwise.integer_power_op: _of_integer_power,
    pointwise.power: _of_power,
    **GROWING,
    **FALLING,
    **EVEN,
    **LIMITED,
    **dict.fromkeys(MOVES, _unchanged),
    pointwise.convert_op: _of_conversion,
    pointwise.select: _of_select,
    pointwise.maximum: _of_maximum,
    pointwise.minimum: _of_minimum,
    pointwise.clamp: _of_clamp,
    pointwise.rem: _of_remainder,
    pointwise.logaddexp: _of_logaddexp,
    assumed: _of_assumed,
    shape.concatenate: lambda e, *xs: _union(*xs),
    shape.pad: lambda e, x, fill: _union(x, fill),
    index.gather_op: _of_gather,
    index.gather_fill: _of_filled_gather,
    shape.reduce_sum: _of_sum,
    reduce.reduce_prod: _of_factors,
    reduce.reduce_max: _of_extremum,
    reduce.reduce_min: _of_extremum,
    reduce.cumsum: _of_running_sum,
    reduce.cumprod: _of_factors,
    reduce.logsumexp: _of_logsumexp,
    einsum_op: _of_einsum,
}
"""For each operation, the bounds of its result from those of its operands."""


# Whole numbers


def _own_whole(e: Expr, operands: list[bool]) -> bool:
    if isinstance(e.type, tuple) or not _is_ordered(e.type):
        return False
    rule = WHOLE.get(e.op)
    return not e.type.inexact or (rule is not None and rule(e, operands))


def _every_operand(e: Expr, operands: list[bool]) -> bool:
    return all(operands)


def _first_operand(e: Expr, operands: list[bool]) -> bool:
    return operands[0]


def _always(e: Expr, operands: list[bool]) -> bool:
    return True


def _whole_entries(e: Expr, operands: list[bool]) -> bool:
    values = entries(e)
    return values is not None and bool(np.all(values == np.trunc(values)))


WHOLE: dict[Op, Callable[[Expr, list[bool]], bool]] = {
    literal: lambda e, operands: float(literal_value(e)).is_integer(),
    captured: _whole_entries,
    **dict.fromkeys((shape.iota, reduce.one_hot, pointwise.sign), _always),
    **dict.fromkeys((pointwise.floor, pointwise.ceil, pointwise.round_), _always),
    **dict.fromkeys((*MOVES, pointwise.convert_op, index.gather_op), _first_operand),
    **dict.fromkeys((add, sub, mul, neg, pointwise.rem, einsum_op), _every_operand),
    **dict.fromkeys((pointwise.abs_, pointwise.square, pointwise.relu), _every_operand),
    **dict.fromkeys((pointwise.maximum, pointwise.minimum, pointwise.clamp), _every_operand),
    **dict.fromkeys((pointwise.select, shape.concatenate, shape.pad), _every_operand),
    **dict.fromkeys((shape.reduce_sum, reduce.reduce_prod, reduce.cumsum), _every_operand),
    **dict.fromkeys((reduce.reduce_max, reduce.reduce_min, reduce.cumprod), _every_operand),
    pointwise.integer_power_op: lambda e, operands: e.params["exponent"] > 0 and operands[0],
}
"""For each operation, whether its result is whole, from whether its operands are."""
