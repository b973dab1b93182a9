"""Logarithms of products, quotients, powers and sums of exponentials.

The laws are compositional: each takes one operation apart, and what is left under
a logarithm is taken apart by the next. A factor that may be negative keeps its sign:
log(x y) = log |x| + log |y| + log(sign(x) sign(y)), where the last term is 0 or nan.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce as fold

from symgrad.expr import Expr, Op, add, constant, div, mul, neg, sub
from symgrad.laws.exponential import (
    Kind,
    Term,
    doubled_hyperbolic,
    factors,
    kind,
    positive_number,
    product,
    term,
    terms_of_contraction,
)
from symgrad.laws.moves import MOVES
from symgrad.laws.terms import scaled, total
from symgrad.ops import pointwise, reduce, shape
from symgrad.ops.contract import einsum_op
from symgrad.ops.cumulative import cumlogsumexp_op
from symgrad.ops.entropy import xlogy
from symgrad.ops.odds import log_odds_op, one_minus_softmax_op
from symgrad.ops.pointwise import abs_, exp, log, log1p, logaddexp, sign, softplus, tanh
from symgrad.ops.products import log1p_square, log1p_tanh, log_softplus
from symgrad.ops.reduce import logsumexp
from symgrad.ops.shape import concatenate, reduce_sum, reshape, spread, uniform_value
from symgrad.ops.stable import (
    log1mexp_op,
    log_abs,
    log_cosh_op,
    sech,
    weighted_logsumexp,
    weighted_sum_sign,
)
from symgrad.ops.tails import log_erfc_op, log_ndtr_op, ndtr
from symgrad.pattern import equation, rewrites
from symgrad.structure import bounds, is_nonnegative


@equation(exact=False)
def log_of_absolute_value(x):
    return log(abs_(x)), log_abs(x)


@equation(exact=False)
def log_of_absolute_value_of_absolute_value(x):
    return log_abs(abs_(x)), log_abs(x)


@equation(exact=False)
def log_of_absolute_value_of_negative(x):
    return log_abs(-x), log_abs(x)


@rewrites(log_abs, exact=False)
def log_of_positive(e: Expr) -> Expr | None:
    """log |x| = log(x) for x ≥ 0"""
    (x,) = e.args
    return log(x) if is_nonnegative(x) else None


@rewrites(log, log_abs, exact=False)
def log_of_function(e: Expr) -> Expr | None:
    """log(exp(x)) = x, log(cosh(x)) = log_cosh(x), log(x²) = 2 log |x|, log(√x) = log(x) / 2"""
    (x,) = e.args
    rule = FUNCTIONS.get(x.op)
    if rule is None or kind(x) is Kind.PLAIN:
        return None
    return rule(e, *x.args)


def _of_sinh(e: Expr, x: Expr) -> Expr:
    """sinh(x) = exp(x) (1 - exp(-2x)) / 2"""
    size = abs_(x) if e.op is log_abs else x
    return size + log1mexp_op(-2 * size) - math.log(2)


def _of_integer_power(e: Expr, x: Expr) -> Expr:
    n = e.args[0].params["exponent"]
    return n * (log_abs(x) if n % 2 == 0 or e.op is log_abs else log(x))


def _of_power(e: Expr, x: Expr, exponent: Expr) -> Expr | None:
    value = uniform_value(exponent)
    if not exponent.type.inexact or (value is not None and not math.isfinite(value)):
        return None
    if not value:
        return _of_variable_power(e, x, exponent)
    return exponent * (log_abs(x) if float(value) % 2 == 0 or e.op is log_abs else log(x))


def _of_variable_power(e: Expr, x: Expr, exponent: Expr) -> Expr:
    """0⁰ is 1, and the power of a negative number has a sign, or is none."""
    if is_nonnegative(x):
        return xlogy(exponent, x)
    unit = _sign_of(e.args[0])
    # Not the logarithm of that sign: XLA makes y log |x| of log(x**y).
    outside = pointwise.ne(unit if e.op is log else abs_(unit), 1)
    negative = pointwise.and_(pointwise.lt(x, 0), outside)
    return pointwise.select(negative, math.nan, xlogy(exponent, abs_(x)))


FUNCTIONS: dict[Op, Callable[..., Expr | None]] = {
    pointwise.exp: lambda e, x: x,
    pointwise.exp2: lambda e, x: x * math.log(2),
    pointwise.logistic: lambda e, x: -softplus(-x),
    one_minus_softmax_op: lambda e, x: -softplus(log_odds_op(x, **e.args[0].params)),
    pointwise.erfc: lambda e, x: log_erfc_op(x),
    ndtr: lambda e, x: log_ndtr_op(x),
    pointwise.cosh: lambda e, x: log_cosh_op(x),
    sech: lambda e, x: -log_cosh_op(x),
    pointwise.sech_squared: lambda e, x: -2 * log_cosh_op(x),
    pointwise.logistic_slope: lambda e, x: -softplus(x) - softplus(-x),
    pointwise.gaussian: lambda e, x: -pointwise.square(x),
    pointwise.lorentzian: lambda e, x: -log1p_square(x),
    pointwise.softplus: lambda e, x: log_softplus(x),
    pointwise.sinh: _of_sinh,
    pointwise.square: lambda e, x: 2 * log_abs(x),
    mul: lambda e, x, y: 2 * log_abs(x) if x is y else None,
    pointwise.integer_power_op: _of_integer_power,
    pointwise.power: _of_power,
    pointwise.sqrt: lambda e, x: log(x) * 0.5,
    pointwise.rsqrt: lambda e, x: log(x) * -0.5,
    pointwise.cbrt: lambda e, x: e.op(x) / 3,
}
"""For each function, the logarithm of its value."""


@rewrites(log, log_abs, exact=False)
def log_of_moved(e: Expr) -> Expr | None:
    """log(x[i]) = log(x)[i] for exponentials x, and so for all that only moves entries"""
    (x,) = e.args
    if x.op not in MOVES or kind(x) is Kind.PLAIN:
        return None
    first, *others = x.args
    return x.op(e.op(first), *others, **x.params)


@rewrites(log, exact=False)
def log_of_extremum(e: Expr) -> Expr | None:
    """log(max(x)) = max(log(x)) for exponentials x"""
    (x,) = e.args
    if x.op not in (reduce.reduce_max, reduce.reduce_min) or kind(x) is Kind.PLAIN:
        return None
    return x.op(log(*x.args), **x.params) if is_nonnegative(*x.args) else None


@rewrites(log, log_abs, exact=False)
def log_of_selected(e: Expr) -> Expr | None:
    """log(where(c, x, y)) = where(c, log(x), log(y)) for exponentials"""
    (x,) = e.args
    if x.op is not pointwise.select or kind(x) is Kind.PLAIN:
        return None
    condition, *branches = x.args
    return pointwise.select(condition, *(_log_of_entry(e.op, b) for b in branches))


def _log_of_entry(op: Op, x: Expr) -> Expr:
    """The logarithm of what may be a constant: that of zero is written down."""
    value = uniform_value(x)
    if value is None or value < 0:
        return op(x)
    return constant(math.log(value) if value else -math.inf, x.dtype)


@rewrites(log, log_abs, exact=False)
def log_of_concatenated(e: Expr) -> Expr | None:
    """log([x, y]) = [log(x), log(y)] for exponentials"""
    (x,) = e.args
    if x.op is not concatenate or kind(x) is Kind.PLAIN:
        return None
    return concatenate(*(e.op(a) for a in x.args), **x.params)


# Products


@rewrites(log, exact=False, protects="cancellation")
def log_of_twice_logistic(e: Expr) -> Expr | None:
    """log(2 logistic(2 x)) = log(1 + tanh(x))"""
    c, curve = scaled(e.args[0])
    if c != 2 or curve.op is not pointwise.logistic:
        return None
    k, x = scaled(curve.args[0])
    return log1p_tanh(total([(k / 2, x)], x.type))


@rewrites(log, log_abs, exact=False)
def log_of_product(e: Expr) -> Expr | None:
    """log(x y / z) = log(x) + log(y) - log(z) for exponentials and powers; signs are kept"""
    (x,) = e.args
    if x.op not in (mul, div) or kind(x) is Kind.PLAIN:
        return None
    found = factors(x)
    parts: list[tuple[Expr, bool]] = []
    rest: dict[bool, list[Expr]] = {True: [], False: []}
    for up, members in ((True, found.above), (False, found.below)):
        for factor in members:
            if kind(factor) is Kind.PLAIN:
                rest[up].append(factor)
            else:
                parts.append((factor, up))
    plain = product(rest[True], rest[False], found.negative)
    if plain is None and found.negative and e.op is log:
        return None
    if plain is not None and uniform_value(plain) != 1:
        parts.append((plain, True))
    return _sum_of_logs(e, parts)


def _sum_of_logs(e: Expr, parts: list[tuple[Expr, bool]]) -> Expr | None:
    """The sum of the logarithms of factors, and the logarithm of their common sign."""
    if not parts or (len(parts) == 1 and parts[0][0] is e.args[0]):
        return None
    unsure = [p for p, _ in parts if not is_nonnegative(p)]
    split = e.op is log and len(unsure) > 1
    if split and not all(map(_has_sign, unsure)):
        return None
    op = log_abs if e.op is log_abs or split else log
    total: Expr | None = None
    for part, up in parts:
        found = _log_of_factor(op if part in unsure else log, part)
        if total is None:
            total = found if up else -found
        else:
            total = total + found if up else total - found
    assert total is not None
    return total + log(fold(mul, map(_sign_of, unsure))) if split else total


def _log_of_factor(op: Op, x: Expr) -> Expr:
    value = positive_number(x)
    return op(x) if value is None else constant(math.log(value), x.dtype)


def _has_sign(x: Expr) -> bool:
    """Whether the sign can be told where the value over- or underflows."""
    return kind(x) is Kind.PLAIN or x.op in (
        pointwise.integer_power_op,
        pointwise.sinh,
        pointwise.expm1,
        pointwise.power,
        reduce.reduce_prod,
    )


def _sign_of(x: Expr) -> Expr:
    """The sign of a factor, which may itself over- or underflow."""
    if x.op in (pointwise.integer_power_op, pointwise.sinh, pointwise.expm1):
        return sign(x.args[0])
    if x.op is pointwise.power:
        base, exponent = x.args
        return pointwise.stop_gradient(pointwise.power(sign(base), exponent))
    if x.op is reduce.reduce_prod:
        return reduce.reduce_prod(sign(x.args[0]), **x.params)
    return sign(x)


@rewrites(log, log_abs, exact=False)
def log_of_product_over_axes(e: Expr) -> Expr | None:
    """log(∏ x) = Σ log |x| + log(∏ sign(x))"""
    (x,) = e.args
    if x.op is not reduce.reduce_prod or kind(x) is Kind.PLAIN:
        return None
    (entries,) = x.args
    total = reduce_sum(log_abs(entries), **x.params)
    return total if _sign_is_known(e.op, entries) else total + log(_sign_of(x))


@rewrites(log, log_abs, exact=False)
def log_of_running_product(e: Expr) -> Expr | None:
    """log(cumprod(x)) = cumsum(log |x|) + log(cumprod(sign(x)))"""
    (x,) = e.args
    if x.op is not reduce.cumprod or kind(x) is Kind.PLAIN:
        return None
    (entries,) = x.args
    total = reduce.cumsum(log_abs(entries), **x.params)
    if _sign_is_known(e.op, entries):
        return total
    return total + log(reduce.cumprod(sign(entries), **x.params))


@rewrites(log, log_abs, exact=False)
def log_of_running_sum(e: Expr) -> Expr | None:
    """log(cumsum(exp(x))) = cumlogsumexp(x)"""
    (x,) = e.args
    if x.op is not reduce.cumsum or kind(x) is Kind.PLAIN:
        return None
    return cumlogsumexp_op(log(*x.args), **x.params)


def _sign_is_known(op: Op, x: Expr) -> bool:
    return op is log_abs or is_nonnegative(x)


# Sums


LONGEST_SUM = 16
"""So many terms are told apart."""


def _terms(e: Expr) -> list[tuple[Expr, bool]] | None:
    """The terms of a sum and whether each is added, None if they are too many."""
    found: list[tuple[Expr, bool]] = []
    waiting = [(e, True)]
    while waiting:
        node, plus = waiting.pop()
        if node.op in (add, sub):
            first, second = node.args
            waiting += [(second, plus if node.op is add else not plus), (first, plus)]
        elif node.op is neg:
            waiting.append((node.args[0], not plus))
        else:
            found.append((node, plus))
        if len(found) > LONGEST_SUM:
            return None
    return found


@rewrites(log, log_abs, exact=False)
def log_of_sum(e: Expr) -> Expr | None:
    """log(exp(x) + exp(y)) = logaddexp(x, y), log(1 - exp(x)) = log1mexp(x), and with weights"""
    (x,) = e.args
    if x.op not in (add, sub) or kind(x) is Kind.PLAIN:
        return None
    hyperbolic = doubled_hyperbolic(x)
    if hyperbolic is not None:
        function, u = hyperbolic
        return e.op(2 * function(u))
    members = _terms(x)
    return None if members is None else _log_of_terms(e.op, members, x)


@rewrites(log1p, exact=False)
def log1p_of_exponential(e: Expr) -> Expr | None:
    """log1p(-exp(x)) = log(1 - exp(x)), and so for all that is exponential

    Where weights are variables nothing changes: log1p keeps the digits of a small sum, which a
    weighted logsumexp beside 1 does not; nor where the sum is bounded, so that log1p has them all.
    """
    (x,) = e.args
    curve = x.args[0] if x.op is neg else x
    if curve.op is tanh and x.type.real:
        return log1p_tanh(-curve.args[0] if x.op is neg else curve.args[0])
    if curve.op is pointwise.erf:
        return log_erfc_op(curve.args[0] if x.op is neg else -curve.args[0])
    low, high = bounds(x)
    if kind(x) < Kind.WEIGHTED or (low >= 0 and high < math.inf):
        return None
    members = _terms(x)
    if members is None:
        return None
    one = (constant(1, x.dtype), True)
    return _log_of_smooth(log, [(term(m), plus) for m, plus in (one, *members)], x)


@rewrites(log, log_abs, exact=False)
def log_of_expm1(e: Expr) -> Expr | None:
    """log(exp(x) - 1) = x + log(1 - exp(-x)), log(1 - exp(x)) = log1mexp(x)"""
    (x,) = e.args
    inner = x.args[0] if x.op is neg else x
    if inner.op is not pointwise.expm1 or not x.type.real:
        return None
    (u,) = inner.args
    if e.op is log_abs:
        return pointwise.maximum(u, 0) + log1mexp_op(-abs_(u))
    return log1mexp_op(u) if x.op is neg else u + log1mexp_op(-u)


def _log_of_terms(op: Op, members: list[tuple[Expr, bool]], like: Expr) -> Expr | None:
    """The logarithm of a sum of terms with exponentials among them."""
    found = [(term(m), plus) for m, plus in members]
    if all(t.exponent is None for t, _ in found):
        return None
    smooth = _log_of_smooth(op, found, like)
    return _log_of_weighted(op, found, like) if smooth is None else smooth


def _log_of_smooth(op: Op, found: list[tuple[Term, bool]], like: Expr) -> Expr | None:
    """The same where weights are numbers and at most one of two terms is subtracted."""
    if all(t.exponent is None for t, _ in found):
        return None
    exponents = [_smooth_log(t, like) for t, _ in found]
    plus = [u for u, (_, p) in zip(exponents, found, strict=True) if p and u is not None]
    minus = [u for u, (_, p) in zip(exponents, found, strict=True) if not p and u is not None]
    if len(plus) == len(found):
        return fold(_log_of_two, plus)
    if len(plus) == len(minus) == 1 and len(found) == 2:
        return _log_of_difference(op, plus[0], minus[0])
    return None


def _smooth_log(t: Term, like: Expr) -> Expr | None:
    """The logarithm of a term whose weight is a positive constant."""
    weight = 1.0 if t.weight is None else positive_number(t.weight)
    if weight is None:
        return None
    shift = constant(math.log(weight), like.dtype)
    if t.exponent is None:
        return shift
    return t.exponent if weight == 1 else t.exponent + shift


def _log_of_two(x: Expr, y: Expr) -> Expr:
    for u, v in ((x, y), (y, x)):
        if uniform_value(u) == 0:
            return softplus(v)
    return logaddexp(x, y)


def _log_of_difference(op: Op, x: Expr, y: Expr) -> Expr:
    """log(exp(x) - exp(y))"""
    if op is log_abs:
        return pointwise.maximum(x, y) + log1mexp_op(-abs_(x - y))
    if uniform_value(x) == 0:
        return log1mexp_op(y)
    return x + log1mexp_op(-x if uniform_value(y) == 0 else y - x)


def _log_of_weighted(op: Op, found: list[tuple[Term, bool]], like: Expr) -> Expr:
    exponents, weights = [], []
    for t, plus in found:
        u = constant(0, like.dtype) if t.exponent is None else t.exponent
        w = constant(1, like.dtype) if t.weight is None else t.weight
        exponents.append(_as_entry(u, like))
        weights.append(_as_entry(w if plus else -w, like))
    axis = like.ndim
    return _weighted(op, concatenate(*exponents, axis=axis), concatenate(*weights, axis=axis), axis)


def _as_entry(x: Expr, like: Expr) -> Expr:
    """`x` in the shape of the sum it is a term of, with one more axis."""
    whole = spread(x, like.shape) if x.ndim == 0 else x
    return reshape(whole, shape=(*like.shape, 1))


def _weighted(op: Op, exponents: Expr, weights: Expr, axis: int) -> Expr:
    """The logarithm of a weighted sum, nan where the sum is negative."""
    if is_nonnegative(weights):
        return weighted_logsumexp(exponents, weights, axis=axis, signed=False)
    total = weighted_logsumexp(exponents, weights, axis=axis, signed=True)
    if op is log_abs:
        return total
    return total + log(weighted_sum_sign(exponents, weights, axis=axis))


@rewrites(log, log_abs, exact=False)
def log_of_sum_over_axes(e: Expr) -> Expr | None:
    """log Σ w exp(x) = logsumexp(x) with weights w, also of a contraction"""
    (x,) = e.args
    if x.op not in (reduce_sum, einsum_op) or kind(x) is Kind.PLAIN:
        return None
    found = terms_of_contraction(x) if x.op is einsum_op else (x.args[0], x.params["axes"])
    if found is None or not found[0].type.size:
        return None
    summand, axes = found
    parts = term(summand)
    if parts.exponent is None:
        return None
    exponents = _merged(parts.exponent, summand, axes)
    axis = exponents.ndim - 1
    weight = 1.0 if parts.weight is None else positive_number(parts.weight)
    if weight is not None:
        total = logsumexp(exponents, axis=axis)
        return total if weight == 1 else total + math.log(weight)
    assert parts.weight is not None
    return _weighted(e.op, exponents, _merged(parts.weight, summand, axes), axis)


def _merged(x: Expr, like: Expr, axes: tuple[int, ...]) -> Expr:
    """`x` in the shape of the summand, with the summed axes as one, the last."""
    whole = spread(x, like.shape) if x.ndim == 0 else x
    kept = [i for i in range(like.ndim) if i not in axes]
    order = (*kept, *axes)
    if order != tuple(range(like.ndim)):
        whole = shape.transpose(whole, permutation=order)
    count = math.prod(like.shape[a] for a in axes)
    return reshape(whole, shape=(*(like.shape[i] for i in kept), count))


# What is left


@rewrites(log, exact=False)
def log_of_one_plus(e: Expr) -> Expr | None:
    """log(1 + x) = log1p(x)"""
    (x,) = e.args
    if x.op not in (add, sub) or kind(x) is not Kind.PLAIN or not x.type.real:
        return None
    first, second = x.args
    if uniform_value(first) == 1:
        return log1p(second if x.op is add else -second)
    return log1p(first) if x.op is add and uniform_value(second) == 1 else None


@equation(exact=False)
def one_minus_tanh_squared(x):
    return 1 - pointwise.square(tanh(x)), pointwise.sech_squared(x)


@equation(exact=False)
def product_of_tanh_margins(x):
    return (1 - tanh(x)) * (1 + tanh(x)), pointwise.sech_squared(x)


@equation(exact=False)
def sqrt_of_sech_squared(x):
    return pointwise.sqrt(pointwise.sech_squared(x)), sech(x)


@equation(exact=False)
def odds_of_logistic(x):
    return pointwise.logistic(x) / pointwise.logistic(-x), exp(x)


@equation(exact=False)
def odds_against_logistic(x):
    return pointwise.logistic(-x) / pointwise.logistic(x), exp(-x)


@equation(exact=False)
def log_odds_of_logistic(x):
    return softplus(x) - softplus(-x), x


@equation(exact=False)
def logistic_of_two_classes(x, y):
    return exp(x) / (exp(x) + exp(y)), pointwise.logistic(x - y)
