"""Laws of arithmetic: identities, signs, constant folding, and scale factors."""

from __future__ import annotations

import operator
from typing import Any

import jax.numpy as jnp
import numpy as np

from symgrad.expr import Expr, add, constant, div, literal_value, mul, neg, sub
from symgrad.ops.pointwise import ELEMENTWISE, convert_op, log, maximum, minimum, select
from symgrad.ops.shape import (
    broadcast,
    reduce_sum,
    reshape_op,
    spread,
    transpose,
    uniform_value,
    zeros,
)
from symgrad.pattern import equation, rewrites


@equation(exact=False)
def adding_zero(x):
    return x + 0, x


@equation(exact=True)
def adding_minus_zero(x):
    return x + -0.0, x


@equation(exact=True)
def subtracting_zero(x):
    return x - 0, x


@equation(exact=False)
def subtracting_from_zero(x):
    return 0 - x, -x


@equation(exact=True)
def multiplying_by_one(x):
    return x * 1, x


@equation(exact=True)
def multiplying_by_minus_one(x):
    return x * -1, -x


@equation(exact=True)
def dividing_by_one(x):
    return x / 1, x


@equation(exact=True)
def double_negation(x):
    return neg(neg(x)), x


@equation(exact=True)
def adding_a_negative(x, y):
    return x + (-y), x - y


@equation(exact=True)
def subtracting_a_negative(x, y):
    return x - (-y), x + y


@equation(exact=False)
def subtracting_from_a_negative(x, y):
    return (-x) - y, -(x + y)


@equation(exact=False)
def negating_a_difference(x, y):
    return -(x - y), y - x


@equation(exact=True)
def negative_factor(x, y):
    return (-x) * y, -(x * y)


def _inexact(x: Expr) -> bool:
    """Integers wrap around, and -x is not always the opposite of x."""
    return x.type.inexact


@equation(exact=True, when=_inexact)
def negative_numerator(x, y):
    return (-x) / y, -(x / y)


@equation(exact=True, when=_inexact)
def negative_denominator(x, y):
    return x / (-y), -(x / y)


@equation(exact=True)
def selecting_between_equals(c, x):
    return select(c, x, x), x


@equation(exact=True)
def larger_of_equals(x):
    return maximum(x, x), x


@equation(exact=True)
def smaller_of_equals(x):
    return minimum(x, x), x


@equation(exact=True)
def at_least_minus_infinity(x):
    return maximum(x, -np.inf), x


@rewrites(*ELEMENTWISE, exact=True)
def fold_constants(e: Expr) -> Expr | None:
    """An operation on literals is a literal, where its result is correctly rounded"""
    values = [literal_value(a) for a in e.args]
    if not e.op.foldable or any(v is None for v in values):
        return None
    found = _fold(e, values)
    return None if found is None else constant(found, e.dtype, e.type.weak)


@rewrites(log, exact=True)
def logarithm_of_one(e: Expr) -> Expr | None:
    """log(1) = 0"""
    value = uniform_value(e.args[0])
    return zeros(e.type) if value is not None and value == 1 else None


def _fold(e: Expr, values: list[Any]) -> Any:
    """NumPy's value; None for a quotient that is easier to read unevaluated."""
    with np.errstate(all="ignore"):
        match e.op.name, values:
            case "add", (x, y):
                return x + y
            case "sub", (x, y):
                return x - y
            case "mul", (x, y):
                return x * y
            case "neg", (x,):
                return -x
            case "square", (x,):
                return x * x
            case "max", (x, y):
                return np.maximum(x, y)
            case "min", (x, y):
                return np.minimum(x, y)
            case "eq" | "ne" | "lt" | "le" | "gt" | "ge" as name, (x, y):
                return getattr(operator, name)(x, y)
            case "div", (x, y) if e.type.inexact and float(x / y).is_integer():
                return x / y
    return None


@rewrites(select, exact=True)
def selecting_by_a_constant(e: Expr) -> Expr | None:
    """where(True, x, y) = x, where(False, x, y) = y"""
    which, on_true, on_false = e.args
    value = uniform_value(which)
    if value is None:
        return None
    chosen = on_true if value else on_false
    return chosen if chosen.shape == e.shape else spread(chosen, e.shape)


@rewrites(convert_op, exact=True)
def fold_conversion(e: Expr) -> Expr | None:
    """A converted literal is a literal"""
    value = literal_value(e.args[0])
    if value is None or not _representable(value, e.dtype):
        return None
    return constant(value, e.dtype, e.type.weak)


def _representable(value: Any, dtype: Any) -> bool:
    """Whether NumPy and XLA agree on the conversion: they do not where a float leaves an integer's
    range, or is nan."""
    if not (np.issubdtype(dtype, np.integer) and np.issubdtype(value.dtype, np.floating)):
        return True
    limits = np.iinfo(dtype)
    return bool(np.isfinite(value)) and limits.min <= float(value) <= limits.max


@rewrites(convert_op, exact=True)
def convert_to_same_type(e: Expr) -> Expr | None:
    """x.astype(dtype of x) = x; whether a type is weak matters only at the boundary"""
    return e.args[0] if e.args[0].dtype == e.dtype else None


LARGEST_SCALE = 2.0**32
"""Scale factors in this range around 1 are moved: larger ones guard against overflow.

In float16, whose largest number is smaller than this, none are.
"""


def scale_of(e: Expr) -> tuple[Expr, Expr, bool] | None:
    """`e` as `rest * factor` or `rest / factor` with a moderate literal factor.

    Returns:
        The rest, the factor, and whether it divides.
    """
    if e.op is div and _moderate(e.args[1]):
        return e.args[0], e.args[1], True
    if e.op is mul:
        for factor, rest in (e.args, e.args[::-1]):
            if _moderate(factor):
                return rest, factor, False
    return None


def _movable(e: Expr) -> tuple[Expr, Expr, bool] | None:
    """As `scale_of`; a third factor that could not be multiplied with two others stays."""
    outer = scale_of(e)
    inner = scale_of(outer[0]) if outer else None
    return None if inner and scale_of(inner[0]) else outer


def _moderate(factor: Expr) -> bool:
    value = literal_value(factor)
    if value is None or not factor.type.real:
        return False
    if float(jnp.finfo(factor.dtype).max) < LARGEST_SCALE:
        return False
    return 1 / LARGEST_SCALE <= abs(float(value)) <= LARGEST_SCALE


def _scaled(rest: Expr, factor: Expr, divides: bool) -> Expr:
    return rest / factor if divides else rest * factor


@rewrites(mul, exact=False, derivatives_only=True)
def multiplying_by_a_quotient_of_constants(e: Expr) -> Expr | None:
    """x (a / b) = (x a) / b for literals a and b"""
    for x, quotient in (e.args, e.args[::-1]):
        if quotient.op is div and all(_moderate(a) for a in quotient.args):
            top, bottom = quotient.args
            return (x * top) / bottom
    return None


@rewrites(mul, exact=False, derivatives_only=True)
def scale_out_of_product(e: Expr) -> Expr | None:
    """(c x) y = c (x y) for a literal c"""
    for x, y in (e.args, e.args[::-1]):
        scale = _movable(x)
        if scale is not None and literal_value(y) is None:
            rest, factor, divides = scale
            return _scaled(rest * y, factor, divides)
    return None


@rewrites(div, exact=False, derivatives_only=True)
def scale_out_of_quotient(e: Expr) -> Expr | None:
    """(c x) / y = c (x / y) for a literal c"""
    scale = _movable(e.args[0])
    if scale is None or literal_value(e.args[1]) is not None:
        return None
    rest, factor, divides = scale
    return _scaled(rest / e.args[1], factor, divides)


@rewrites(reduce_sum, reshape_op, transpose, broadcast, exact=False, derivatives_only=True)
def scale_out_of_linear(e: Expr) -> Expr | None:
    """L(c x) = c L(x) for a literal c and a linear L that only moves or adds entries"""
    (x,) = e.args
    scale = _movable(x)
    if scale is None or x.ndim == 0 or uniform_value(scale[0]) is not None:
        return None
    rest, factor, divides = scale
    return _scaled(e.op(rest, **e.params), factor, divides)


@rewrites(reduce_sum, reshape_op, transpose, broadcast, exact=False)
def sign_out_of_linear(e: Expr) -> Expr | None:
    """L(-x) = -L(x) for a linear L that only moves or adds entries"""
    (x,) = e.args
    return -e.op(x.args[0], **e.params) if x.op is neg and x.ndim else None


@rewrites(mul, div, exact=False, derivatives_only=True)
def scale_of_scale(e: Expr) -> Expr | None:
    """c (d x) = (c d) x, (x / c) / d = x / (c d), (c x) / d = (c / d) x where c / d is exact"""
    outer = scale_of(e)
    inner = scale_of(outer[0]) if outer else None
    if outer is None or inner is None:
        return None
    rest, first, first_divides = inner
    _, second, second_divides = outer
    if first_divides == second_divides:
        value = literal_value(first) * literal_value(second)
        factor = constant(value, e.dtype)
        return _scaled(rest, factor, first_divides) if _moderate(factor) else None
    top, bottom = (second, first) if first_divides else (first, second)
    ratio = literal_value(top) / literal_value(bottom)
    if ratio * literal_value(bottom) != literal_value(top) or not _short(ratio):
        return _inverted(rest, top, bottom)
    return rest * constant(ratio, e.dtype)


def _short(value: Any) -> bool:
    """A number that people would rather read than a quotient of two others."""
    return float(value * 8).is_integer()


def _inverted(rest: Expr, top: Expr, bottom: Expr) -> Expr | None:
    """x (c / d) = x / (d / c) where d / c is a short number."""
    ratio = literal_value(bottom) / literal_value(top)
    exact = ratio * literal_value(top) == literal_value(bottom) and _short(ratio)
    return rest / constant(ratio, rest.dtype) if exact else None


@rewrites(add, sub, exact=False, derivatives_only=True)
def common_scale(e: Expr) -> Expr | None:
    """c x ± c y = c (x ± y) for a literal c"""
    x, y = (scale_of(a) for a in e.args)
    if x is None or y is None or x[1:] != y[1:] or x[0].shape != y[0].shape:
        return None
    return _scaled(e.op(x[0], y[0]), x[1], x[2])


@equation(exact=True)
def sum_of_equals(x):
    return x + x, x * 2


@rewrites(add, sub, exact=False, derivatives_only=True)
def common_factor(e: Expr) -> Expr | None:
    """x c ± y c = (x ± y) c"""
    first, second = e.args
    if first.op is not mul or second.op is not mul:
        return None
    for x, c in (first.args, first.args[::-1]):
        for y, d in (second.args, second.args[::-1]):
            if c is d and x.shape == y.shape:
                return e.op(x, y) * c
    return None
