"""What the logarithms of products and sums mean, to any number of digits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from symgrad.exact.numbers import is_huge
from symgrad.expr import Expr, Op
from symgrad.ops import entropy, stable, tails

Value = Callable[..., Any]


def _reciprocal(mp: Any, x: Any) -> Any:
    return mp.inf if x == 0 else 1 / x


def _bose(mp: Any, x: Any) -> Any:
    if is_huge(mp, x):
        return mp.zero if x > 0 else -mp.one
    return _reciprocal(mp, mp.expm1(x))


def _over_sinh(mp: Any, x: Any, y: Any) -> Any:
    return mp.zero if is_huge(mp, y) else x * _reciprocal(mp, mp.sinh(y))


def _power_less_one(mp: Any, x: Any, y: Any) -> Any:
    if x <= -1 or is_huge(mp, y):
        return mp.power(1 + x, y) - 1
    return mp.expm1(y * mp.log1p(x))


def _log1mexp(mp: Any, x: Any) -> Any:
    if is_huge(mp, x):
        return mp.zero if x < 0 else mp.nan
    return mp.log(-mp.expm1(x)) if x else mp.ninf


def _log_cosh(mp: Any, x: Any) -> Any:
    size = abs(x)
    if is_huge(mp, x):
        return size
    return mp.log1p(2 * mp.sinh(size / 2) ** 2) if size < 1 else mp.log(mp.cosh(size))


def _log(mp: Any, x: Any) -> Any:
    return mp.log(x) if x else mp.ninf


def _times_log(mp: Any, x: Any, y: Any) -> Any:
    return mp.zero if x == 0 and y == 0 else x * _log(mp, y)


def _times_log1p(mp: Any, x: Any, y: Any) -> Any:
    if y == -1:
        return mp.zero if x == 0 else x * mp.ninf
    return x * mp.log1p(y)


def _relative_entropy(mp: Any, x: Any, y: Any) -> Any:
    if x == 0 and y >= 0:
        return mp.zero
    return x * (mp.inf if y == 0 else _log(mp, x / y))


def _x_exp_x(mp: Any, x: Any) -> Any:
    return mp.zero if x < 0 and (is_huge(mp, x) or mp.isinf(x)) else x * mp.exp(x)


def _times_masked(mp: Any, x: Any, y: Any) -> Any:
    return mp.zero if x == 0 and y == mp.ninf else x * y


def _log_erfc(mp: Any, x: Any) -> Any:
    if x > 10**6:
        return -x * x - mp.log(x * mp.sqrt(mp.pi)) if mp.isfinite(x) else mp.ninf
    return mp.log(2) if x < -(10**6) else mp.log(mp.erfc(x))


def _hazard(mp: Any, x: Any) -> Any:
    if abs(x) > 10**6:
        return 2 * x if x > 0 else mp.zero
    return 2 / mp.sqrt(mp.pi) * mp.exp(-x * x) / mp.erfc(x)


def _hazard_excess(mp: Any, x: Any) -> Any:
    if abs(x) > 10**6:
        return 1 / x if x > 0 else -2 * x
    return _hazard(mp, x) - 2 * x


def _hazard_slope(mp: Any, x: Any) -> Any:
    if abs(x) > 10**6:
        return 2 - 1 / x**2 if x > 0 else mp.zero
    return _hazard(mp, x) * _hazard_excess(mp, x)


def _hazard_curvature(mp: Any, x: Any) -> Any:
    if abs(x) > 10**6:
        return 2 / x**3 if x > 0 else mp.zero
    return _hazard(mp, x) * (_hazard_excess(mp, x) ** 2 + _hazard_slope(mp, x) - 2)


def _ndtr(mp: Any, x: Any) -> Any:
    if abs(x) > 10**9:
        return mp.one if x > 0 else mp.zero
    return mp.erfc(-x / mp.sqrt(2)) / 2


def _log_ndtr(mp: Any, x: Any) -> Any:
    if x > 10**6:
        return mp.zero
    z = x / mp.sqrt(2)
    return mp.log1p(-mp.erfc(z) / 2) if x > 0 else _log_erfc(mp, -z) - mp.log(2)


POINTWISE: Mapping[Op, Value] = {
    stable.log_abs: lambda mp, x: mp.log(abs(x)) if x else mp.ninf,
    entropy.times_log_op: _times_log,
    entropy.power_times_log_op: lambda mp, x, *, exponent: _times_log(mp, x**exponent, x),
    entropy.times_log1p_op: _times_log1p,
    entropy.xlogy: lambda mp, x, y: mp.zero if x == 0 else x * _log(mp, y),
    entropy.xlog1py: lambda mp, x, y: mp.zero if x == 0 else _times_log1p(mp, x, y),
    entropy.relative_entropy_op: _relative_entropy,
    entropy.x_exp_x_op: _x_exp_x,
    entropy.times_masked_op: _times_masked,
    tails.log_erfc_op: _log_erfc,
    tails.erfc_hazard_op: _hazard,
    tails.hazard_excess_op: _hazard_excess,
    tails.hazard_slope_op: _hazard_slope,
    tails.hazard_excess_slope_op: lambda mp, x: _hazard_slope(mp, x) - 2,
    tails.hazard_curvature_op: _hazard_curvature,
    tails.ndtr: _ndtr,
    tails.log_ndtr_op: _log_ndtr,
    stable.bose: _bose,
    stable.log1mexp_op: _log1mexp,
    stable.log_cosh_op: _log_cosh,
    stable.over_expm1: lambda mp, x, y: x * _bose(mp, y),
    stable.over_sinh: _over_sinh,
    stable.power_less_one: _power_less_one,
    stable.sech: lambda mp, x: mp.zero if is_huge(mp, x) else 1 / mp.cosh(x),
}


def _weighted_sum(mp: Any, x: Any, weights: Any) -> tuple[Any, Any]:
    """The largest exponent that has a weight, and the sum of what is left of the others."""
    terms = [(v, w) for v, w in zip(x, weights, strict=True) if w != 0]
    top = max((v for v, _ in terms), default=mp.ninf)
    if not mp.isfinite(top):
        return top, mp.one
    return top, mp.fsum(w * mp.exp(v - top) for v, w in terms)


def _over_axis(combine: Callable[[Any, Any, Any], Any]) -> Value:
    def value(mp: Any, e: Expr, x: Any, weights: Any) -> Any:
        axis = e.params["axis"]
        found = np.empty(e.shape, object)
        for i in np.ndindex(e.shape):
            place = (*i[:axis], slice(None), *i[axis:])
            found[i] = combine(mp, x[place], weights[place])
        return found

    return value


def _log_of_weighted_sum(mp: Any, x: Any, weights: Any) -> Any:
    top, rest = _weighted_sum(mp, x, weights)
    return top + mp.log(abs(rest)) if rest else mp.ninf


ALONG_AXES: Mapping[Op, Value] = {
    stable.weighted_logsumexp: _over_axis(_log_of_weighted_sum),
    stable.weighted_sum_sign: _over_axis(lambda mp, x, w: mp.sign(_weighted_sum(mp, x, w)[1])),
}
