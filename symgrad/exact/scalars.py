"""What every elementwise operation means at one point, as a function of mpmath numbers.

`VALUES[op](mp, *operands, **params)` is the value of `op` under the context `mp`. Infinities
follow IEEE 754 with zeros that have no sign. Outside its domain a function is whatever mpmath
says, or raises; `value_of` makes nan of that.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from symgrad.exact.numbers import is_huge
from symgrad.exact.stable import POINTWISE
from symgrad.expr import Op, add, div, mul, neg, sub
from symgrad.ops import (
    assume,
    differences,
    entropy,
    norm,
    pointwise,
    products,
    shares,
    special,
    waves,
)

Value = Callable[..., Any]


def _isnan(mp: Any, *values: Any) -> bool:
    return any(bool(mp.isnan(v)) for v in values)


def _quotient(mp: Any, x: Any, y: Any) -> Any:
    if isinstance(x, int) and isinstance(y, int):
        return int(mp.fdiv(x, y)) if y else -1
    if y == 0 and not _isnan(mp, x):
        return mp.nan if x == 0 else x * mp.inf
    return x / y


def _exp(mp: Any, x: Any) -> Any:
    if is_huge(mp, mp.re(x)):
        return mp.inf if mp.re(x) > 0 else mp.zero
    return mp.exp(x)


def _expm1(mp: Any, x: Any) -> Any:
    return mp.expm1(x) if mp.isfinite(x) and not is_huge(mp, x) else _exp(mp, x) - 1


def _log(mp: Any, x: Any) -> Any:
    return mp.ninf if x == 0 else mp.log(x)


def _log1p(mp: Any, x: Any) -> Any:
    return mp.log1p(x) if mp.isfinite(x) and x != -1 else _log(mp, 1 + x)


def _periodic(name: str) -> Value:
    def value(mp: Any, x: Any) -> Any:
        known = mp.isfinite(x) and not is_huge(mp, x)
        return getattr(mp, name)(x) if known else mp.nan

    return value


def _named(name: str) -> Value:
    return lambda mp, x: getattr(mp, name)(x)


def _sinh(mp: Any, x: Any) -> Any:
    return x * mp.inf if is_huge(mp, x) else mp.sinh(x)


def _cosh(mp: Any, x: Any) -> Any:
    return mp.inf if is_huge(mp, x) else mp.cosh(x)


def _tanh(mp: Any, x: Any) -> Any:
    return mp.sign(x) if mp.isinf(x) or is_huge(mp, x) else mp.tanh(x)


def _arctanh(mp: Any, x: Any) -> Any:
    return x * mp.inf if abs(x) == 1 else mp.atanh(x)


def _sech_squared(mp: Any, x: Any) -> Any:
    t = _exp(mp, -2 * abs(x))
    return 4 * t / (1 + t) ** 2


def _logistic_slope(mp: Any, x: Any) -> Any:
    t = _exp(mp, -abs(x))
    return t / (1 + t) ** 2


def _over_squared_length(mp: Any, x: Any, y: Any) -> Any:
    if mp.isinf(x) != mp.isinf(y):
        return mp.zero
    return _quotient(mp, y, x * x + y * y)


def _over_squared_roots(mp: Any, x: Any, y: Any, *, limit: float) -> Any:
    return mp.sign(x) * limit if mp.isinf(x) else _quotient(mp, x, y * y)


def _gaussian_derivative(mp: Any, x: Any, *, order: int) -> Any:
    value = _exp(mp, -x * x)
    return (-1) ** order * mp.hermite(order, x) * value if value else value


def _log_of_factors(mp: Any, *factors: Any, above: int) -> Any:
    return _log(mp, _quotient(mp, mp.fprod(factors[:above]), mp.fprod(factors[above:])))


def _exponential_quotient(
    mp: Any, x: Any, a: Any, b: Any, c: Any, d: Any, *, less_above: bool, less_below: bool
) -> Any:
    if x == mp.inf:
        return _quotient(mp, a, c)
    above, below = (_expm1(mp, x) if less else _exp(mp, x) for less in (less_above, less_below))
    return _quotient(mp, a * above + b, c * below + d)


def _logistic(mp: Any, x: Any) -> Any:
    small = _exp(mp, -abs(x))
    return 1 / (1 + small) if x >= 0 else small / (1 + small)


def _softplus(mp: Any, x: Any) -> Any:
    return x if x == mp.inf else max(x, mp.zero) + _log1p(mp, _exp(mp, -abs(x)))


def _logaddexp(mp: Any, x: Any, y: Any) -> Any:
    if x == y:
        return x + mp.log(2)
    return max(x, y) + _log1p(mp, _exp(mp, -abs(x - y)))


def _cbrt(mp: Any, x: Any) -> Any:
    return mp.sign(x) * mp.cbrt(abs(x))


def _rsqrt(mp: Any, x: Any) -> Any:
    return mp.inf if x == 0 else 1 / mp.sqrt(x)


def _erf_inv(mp: Any, x: Any) -> Any:
    return x * mp.inf if abs(x) == 1 else mp.erfinv(x)


def _sign(mp: Any, x: Any) -> Any:
    return x if _isnan(mp, x) else mp.sign(x)


def _integer_power(mp: Any, x: Any, *, exponent: int) -> Any:
    if exponent < 0:
        return _quotient(mp, mp.one, _integer_power(mp, x, exponent=-exponent))
    return x**exponent


def _power(mp: Any, x: Any, y: Any) -> Any:
    if y == 0 or x == 1:
        return mp.one
    if x == 0 and not _isnan(mp, y):
        return mp.inf if y < 0 else mp.zero
    if mp.isinf(x) or mp.isinf(y):
        return _exp(mp, y * _log(mp, x)) if x > 0 else mp.nan
    return mp.power(x, y)


def _larger(mp: Any, x: Any, y: Any) -> Any:
    return mp.nan if _isnan(mp, x, y) else max(x, y)


def _smaller(mp: Any, x: Any, y: Any) -> Any:
    return mp.nan if _isnan(mp, x, y) else min(x, y)


def _clamp(mp: Any, low: Any, x: Any, high: Any) -> Any:
    return _smaller(mp, _larger(mp, low, x), high)


def _remainder(mp: Any, x: Any, y: Any) -> Any:
    if y == 0 or mp.isinf(x):
        return mp.nan
    return mp.sign(x) * (abs(x) % abs(y)) if mp.isfinite(y) else x


def _round(mp: Any, x: Any, *, to_even: bool) -> Any:
    if not mp.isfinite(x):
        return x
    return mp.nint(x) if to_even else mp.sign(x) * mp.floor(abs(x) + mp.mpf(0.5))


def _whole(name: str) -> Value:
    return lambda mp, x: getattr(mp, name)(x) if mp.isfinite(x) else x


def _arctan2(mp: Any, x: Any, y: Any) -> Any:
    if mp.isinf(y) and mp.isfinite(x):
        return mp.zero if y > 0 else mp.sign(x) * mp.pi
    return mp.atan2(x, y)


def _converted(mp: Any, x: Any, *, dtype: Any, weak: bool) -> Any:
    """Exact numbers are not rounded; to an integer they are cut, within its range."""
    if np.issubdtype(dtype, np.bool_):
        return bool(x != 0)
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        return x if isinstance(x, int) else int(min(max(x, limits.min), limits.max))
    return mp.convert(x)


def _lgamma(mp: Any, x: Any) -> Any:
    if mp.isinf(x) or (x <= 0 and x == mp.floor(x)):
        return mp.inf
    return mp.loggamma(x) if x > 0 else mp.log(abs(mp.gamma(x)))


def _igamma(mp: Any, a: Any, x: Any) -> Any:
    return mp.gammainc(a, 0, x, regularized=True)


def _scaled_bessel(order: int) -> Value:
    return lambda mp, x: mp.exp(-abs(x)) * mp.besseli(order, x)


def _erfc(mp: Any, x: Any) -> Any:
    """Beyond a billion, where mpmath gives up, it is as good as its limit."""
    if mp.isfinite(x) and abs(x) > 10**9:
        return mp.zero if x > 0 else 2 * mp.one
    return mp.erfc(x)


ARITHMETIC: Mapping[Op, Value] = {
    add: lambda mp, x, y: x + y,
    sub: lambda mp, x, y: x - y,
    mul: lambda mp, x, y: x * y,
    div: _quotient,
    neg: lambda mp, x: -x,
    pointwise.square: lambda mp, x: x * x,
    pointwise.integer_power_op: _integer_power,
    pointwise.power: _power,
    pointwise.abs_: lambda mp, x: abs(x),
    pointwise.sign: _sign,
    pointwise.maximum: _larger,
    pointwise.minimum: _smaller,
    pointwise.clamp: _clamp,
    pointwise.relu: lambda mp, x: _larger(mp, x, mp.zero),
    pointwise.rem: _remainder,
    pointwise.floor: _whole("floor"),
    pointwise.ceil: _whole("ceil"),
    pointwise.round_: _round,
    pointwise.select: lambda mp, which, x, y: x if which else y,
    pointwise.convert_op: _converted,
    pointwise.reduce_precision: lambda mp, x, **to: x,
    pointwise.stop_gradient: lambda mp, x: x,
    pointwise.name: lambda mp, x, **called: x,
    assume.assumed: lambda mp, x, **facts: x,
    pointwise.real: lambda mp, x: mp.re(x),
    pointwise.imag: lambda mp, x: mp.im(x),
    pointwise.conj: lambda mp, x: mp.conj(x),
    pointwise.complex_: lambda mp, x, y: mp.mpc(x, y),
    pointwise.magnitude: lambda mp, x: abs(x),
}

LOGIC: Mapping[Op, Value] = {
    pointwise.eq: lambda mp, x, y: bool(x == y),
    pointwise.ne: lambda mp, x, y: bool(x != y),
    pointwise.lt: lambda mp, x, y: bool(x < y),
    pointwise.le: lambda mp, x, y: bool(x <= y),
    pointwise.gt: lambda mp, x, y: bool(x > y),
    pointwise.ge: lambda mp, x, y: bool(x >= y),
    pointwise.eq_to: lambda mp, x, y: bool(x == y) or (_isnan(mp, x) and _isnan(mp, y)),
    pointwise.lt_to: lambda mp, x, y: bool(x < y) or (_isnan(mp, y) and not _isnan(mp, x)),
    pointwise.le_to: lambda mp, x, y: bool(x <= y) or _isnan(mp, y),
    pointwise.is_finite: lambda mp, x: bool(mp.isfinite(x)),
    pointwise.and_: lambda mp, x, y: x & y,
    pointwise.or_: lambda mp, x, y: x | y,
    pointwise.not_: lambda mp, x: not x if isinstance(x, bool) else ~x,
    pointwise.xor: lambda mp, x, y: x ^ y,
    pointwise.shift_left: lambda mp, x, y: operator.lshift(x, y),
    pointwise.shift_right_arithmetic: lambda mp, x, y: operator.rshift(x, y),
}

FUNCTIONS: Mapping[Op, Value] = {
    pointwise.exp: _exp,
    pointwise.exp2: lambda mp, x: _exp(mp, x * mp.log(2)),
    pointwise.expm1: _expm1,
    pointwise.log: _log,
    pointwise.log1p: _log1p,
    pointwise.sqrt: _named("sqrt"),
    pointwise.rsqrt: _rsqrt,
    pointwise.cbrt: _cbrt,
    pointwise.sin: _periodic("sin"),
    pointwise.cos: _periodic("cos"),
    pointwise.tan: _periodic("tan"),
    pointwise.arcsin: _named("asin"),
    pointwise.arccos: _named("acos"),
    pointwise.arctan: _named("atan"),
    pointwise.arctan2: _arctan2,
    pointwise.sinh: _sinh,
    pointwise.cosh: _cosh,
    pointwise.tanh: _tanh,
    pointwise.arcsinh: _named("asinh"),
    pointwise.arccosh: _named("acosh"),
    pointwise.arctanh: _arctanh,
    pointwise.logistic: _logistic,
    pointwise.softplus: _softplus,
    pointwise.logaddexp: _logaddexp,
    entropy.masked_logaddexp: _logaddexp,
    pointwise.sech_squared: _sech_squared,
    pointwise.logistic_slope: _logistic_slope,
    pointwise.difference_of_squares: lambda mp, x, y: (x - y) * (x + y),
    pointwise.difference_of_powers: lambda mp, x, y, *, exponent: x**exponent - y**exponent,
    pointwise.exact_sum: lambda mp, *xs: mp.fsum(xs),
    products.over_one_plus_square: lambda mp, x: mp.zero if mp.isinf(x) else x / (1 + x * x),
    products.saturation: lambda mp, x, c, *, top, exponent: x**top / (c + x**exponent),
    products.log1p_tanh: lambda mp, x: _log(mp, 2 * _logistic(mp, 2 * x)),
    products.log1p_square: lambda mp, x: _log1p(mp, x * x),
    products.log_of_factors: _log_of_factors,
    products.log_softplus: lambda mp, x: _log(mp, _softplus(mp, x)),
    products.softplus_hazard: lambda mp, x: _quotient(mp, _logistic(mp, x), _softplus(mp, x)),
    shares.share: lambda mp, x, c: _quotient(mp, x, x + c),
    shares.softsign: lambda mp, x, c: _quotient(mp, x, c + abs(x)),
    shares.over_hypotenuse: lambda mp, x, c: _quotient(mp, x, mp.sqrt(c + x * x)),
    shares.inverse_hypotenuse: lambda mp, x, c: _quotient(mp, mp.one, mp.sqrt(c + x * x)),
    shares.overflow_shift: lambda mp, x: mp.zero,
    shares.exp_within_range: _exp,
    shares.exponential_quotient: _exponential_quotient,
    shares.geometric_mean: lambda mp, x, y: mp.sqrt(x * y),
    pointwise.lorentzian: lambda mp, x: 1 / (1 + x * x),
    pointwise.reciprocal_hypotenuse: lambda mp, x: 1 / mp.sqrt(1 + x * x),
    pointwise.gaussian_derivative: _gaussian_derivative,
    pointwise.gaussian: lambda mp, x: _exp(mp, -x * x),
    differences.over_roots_op: lambda mp, x, y, *, limit: x if mp.isinf(x) else _quotient(mp, x, y),
    differences.over_squared_roots_op: _over_squared_roots,
    differences.reciprocal_difference_op: lambda mp, x, y, apart: (
        _quotient(mp, mp.one, x) - _quotient(mp, mp.one, y)
    ),
    pointwise.over_squared_length: _over_squared_length,
    pointwise.erf: _named("erf"),
    pointwise.erfc: _erfc,
    pointwise.erf_inv: _erf_inv,
    special.lgamma: _lgamma,
    special.digamma: lambda mp, x: mp.psi(0, x),
    special.polygamma: lambda mp, n, x: mp.psi(int(n), x),
    special.zeta: lambda mp, s, q: mp.zeta(s, q),
    special.igamma: _igamma,
    special.igammac: lambda mp, a, x: mp.gammainc(a, x, mp.inf, regularized=True),
    special.igamma_grad_a: lambda mp, a, x: mp.diff(lambda b: _igamma(mp, b, x), a),
    special.regularized_incomplete_beta: lambda mp, a, b, x: mp.betainc(
        a, b, 0, x, regularized=True
    ),
    special.bessel_i0e: _scaled_bessel(0),
    special.bessel_i1e: _scaled_bessel(1),
}

DIFFERENCES: Mapping[Op, Value] = {
    waves.sin_of_sum: lambda mp, x, y: _periodic("sin")(mp, x + y),
    waves.cos_of_sum: lambda mp, x, y: _periodic("cos")(mp, x + y),
    waves.difference_of_tangents: lambda mp, x, d: (
        _periodic("tan")(mp, x + d) - _periodic("tan")(mp, x)
    ),
    differences.root_of_square_plus: lambda mp, x, y: mp.sqrt(x * x + y),
    differences.root_minus: lambda mp, x, y: mp.sqrt(x * x + y) - x,
    differences.relative_root_minus: lambda mp, x, y: 1 - x / mp.sqrt(x * x + y),
}

LENGTHS: Mapping[Op, Value] = {
    norm.ratio: lambda mp, x, y: mp.zero if y == 0 else _quotient(mp, x, y),
    norm.hypot: lambda mp, x, y: mp.hypot(x, y),
    norm.direction: lambda mp, x, y, size: _quotient(mp, x, size),
    norm.length: lambda mp, x: abs(x),
}

VALUES: Mapping[Op, Value] = {
    **LENGTHS,
    **DIFFERENCES,
    **ARITHMETIC,
    **LOGIC,
    **FUNCTIONS,
    **POINTWISE,
}
"""Operations on the patterns of bits are left out: exact numbers have none."""


def value_of(mp: Any, op: Op, *operands: Any, **params: Any) -> Any:
    """`op` at one point, nan outside its domain.

    Complex results of real operands are outside: a program of real numbers cannot have them.
    """
    try:
        found = VALUES[op](mp, *operands, **params)
    except (ZeroDivisionError, ValueError, mp.NoConvergence):
        return mp.nan
    if isinstance(found, mp.mpc) and op is not pointwise.complex_:
        return found if any(isinstance(x, mp.mpc) for x in operands) else mp.nan
    return found
