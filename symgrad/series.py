"""Laurent series of functions of one variable, found from their values on circles.

Cauchy's integral over a circle around the centre gives every coefficient; on equally spaced
points it is a discrete Fourier transform, which converges geometrically (Lyness and Moler,
SIAM J. Numer. Anal. 4, 1967). Two circles must agree: they do not where the function has a
branch cut, an essential singularity, or another singularity inside of the larger circle.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from symgrad.exact import context
from symgrad.exact.numbers import number
from symgrad.expr import Expr, Op, Type, add, argument, div, literal, mul, neg, parameter, sub
from symgrad.ops import differences, entropy, norm, pointwise, special, stable, waves
from symgrad.ops.limit import limit_op
from symgrad.walk import topological

DIGITS = 60
POINTS = 64
"""On the circle; functions are real on the real axis, so half of them are computed."""

LOWEST, HIGHEST = -8, 44
"""The coefficients that are looked at."""

RADII = (2.0**-2, 2.0**-5, 2.0**-9, 2.0**-14)

CERTAIN = 1e-24
"""What is smaller than this, next to the largest, is zero."""


def _named(name: str) -> Callable[..., Any]:
    return lambda mp, z: getattr(mp, name)(z)


FUNCTIONS: Mapping[Op, str] = {
    pointwise.exp: "exp",
    pointwise.expm1: "expm1",
    pointwise.log: "log",
    pointwise.sqrt: "sqrt",
    pointwise.sin: "sin",
    pointwise.cos: "cos",
    pointwise.tan: "tan",
    pointwise.arcsin: "asin",
    pointwise.arccos: "acos",
    pointwise.arctan: "atan",
    pointwise.sinh: "sinh",
    pointwise.cosh: "cosh",
    pointwise.tanh: "tanh",
    pointwise.arcsinh: "asinh",
    pointwise.arccosh: "acosh",
    pointwise.arctanh: "atanh",
    pointwise.erf: "erf",
    pointwise.erfc: "erfc",
    special.lgamma: "loggamma",
}

LARGEST_NEGATIVE = 50
"""Down to which number polygamma functions are computed: they go up from there step by step."""


def _psi(mp: Any, order: int, x: Any) -> Any:
    if mp.re(x) < -LARGEST_NEGATIVE:
        raise OverflowError("a polygamma function of a negative number takes as many steps")
    return mp.psi(order, x)


ANALYTIC: Mapping[Op, Callable[..., Any]] = {
    add: lambda mp, x, y: x + y,
    sub: lambda mp, x, y: x - y,
    mul: lambda mp, x, y: x * y,
    div: lambda mp, x, y: x / y,
    neg: lambda mp, x: -x,
    norm.ratio: lambda mp, x, y: x / y,
    pointwise.square: lambda mp, x: x * x,
    pointwise.convert_op: lambda mp, x, *, dtype, weak: x,
    pointwise.integer_power_op: lambda mp, x, *, exponent: x**exponent,
    pointwise.power: lambda mp, x, y: mp.power(x, y),
    pointwise.log1p: lambda mp, x: mp.log(1 + x),
    entropy.times_log_op: lambda mp, x, y: x * mp.log(y),
    entropy.power_times_log_op: lambda mp, x, *, exponent: x**exponent * mp.log(x),
    entropy.times_log1p_op: lambda mp, x, y: x * mp.log(1 + y),
    pointwise.rsqrt: lambda mp, x: 1 / mp.sqrt(x),
    pointwise.exp2: lambda mp, x: mp.power(2, x),
    pointwise.logistic: lambda mp, x: 1 / (1 + mp.exp(-x)),
    pointwise.softplus: lambda mp, x: mp.log(1 + mp.exp(x)),
    pointwise.sech_squared: lambda mp, x: 1 / mp.cosh(x) ** 2,
    pointwise.logistic_slope: lambda mp, x: 1 / (2 * mp.cosh(x / 2)) ** 2,
    pointwise.difference_of_squares: lambda mp, x, y: x * x - y * y,
    pointwise.lorentzian: lambda mp, x: 1 / (1 + x * x),
    pointwise.reciprocal_hypotenuse: lambda mp, x: 1 / mp.sqrt(1 + x * x),
    pointwise.gaussian: lambda mp, x: mp.exp(-x * x),
    pointwise.gaussian_derivative: lambda mp, x, *, order: (
        (-1) ** order * mp.hermite(order, x) * mp.exp(-x * x)
    ),
    differences.over_roots_op: lambda mp, x, y, *, limit: x / y,
    differences.over_squared_roots_op: lambda mp, x, y, *, limit: x / (y * y),
    differences.reciprocal_difference_op: lambda mp, x, y, apart: 1 / x - 1 / y,
    pointwise.over_squared_length: lambda mp, x, y: y / (x * x + y * y),
    waves.sin_of_sum: lambda mp, x, y: mp.sin(x + y),
    waves.cos_of_sum: lambda mp, x, y: mp.cos(x + y),
    waves.difference_of_tangents: lambda mp, x, d: mp.tan(x + d) - mp.tan(x),
    differences.root_of_square_plus: lambda mp, x, y: mp.sqrt(x * x + y),
    differences.root_minus: lambda mp, x, y: mp.sqrt(x * x + y) - x,
    differences.relative_root_minus: lambda mp, x, y: 1 - x / mp.sqrt(x * x + y),
    stable.bose: lambda mp, x: 1 / mp.expm1(x),
    stable.over_expm1: lambda mp, x, y: x / mp.expm1(y),
    stable.over_sinh: lambda mp, x, y: x / mp.sinh(y),
    stable.power_less_one: lambda mp, x, y: mp.power(1 + x, y) - 1,
    stable.log1mexp_op: lambda mp, x: mp.log(1 - mp.exp(x)),
    stable.log_cosh_op: lambda mp, x: mp.log(mp.cosh(x)),
    stable.sech: lambda mp, x: 1 / mp.cosh(x),
    **{op: _named(name) for op, name in FUNCTIONS.items()},
    special.digamma: lambda mp, x: _psi(mp, 0, x),
    special.polygamma: lambda mp, n, x: _psi(mp, int(mp.re(n)), x),
}
"""Operations as functions of a complex number."""


@dataclass(frozen=True, slots=True)
class Series:
    """A Laurent series: coefficient `k` belongs to the power `valuation + k`; none means zero."""

    valuation: int
    coefficients: tuple[float, ...]


ARITHMETIC = (add, sub, mul, div, neg, norm.ratio, pointwise.square, pointwise.convert_op)


@cache
def _context() -> Any:
    return context(DIGITS)


def complex_number(z: complex) -> Any:
    """A complex number with as many digits as others here have."""
    return _context().mpc(z)


def magnitude(z: Any) -> Any:
    """The binary logarithm of an absolute value, in whole numbers."""
    return _context().mag(z)


def value_at(function: Expr, z: Any) -> Any:
    """The value of an expression in `variable` at a complex number.

    Raises:
        KeyError: an operation is not known as an analytic function.
        ArithmeticError, ValueError: there is no value.
    """
    values: dict[Expr, Any] = {}
    for node in topological([function]):
        if node.op is argument:
            values[node] = z
            continue
        known = _values.setdefault(node, {})
        if z not in known:
            known[z] = computed(node, [values[a] for a in node.args])
        values[node] = known[z]
    return values[function]


_values: weakref.WeakKeyDictionary[Expr, dict[Any, Any]] = weakref.WeakKeyDictionary()
"""Functions of one program share most of their parts, and the points they are looked at."""


def computed(node: Expr, operands: Sequence[Any]) -> Any:
    """The value of an operation of complex numbers; it raises what `value_at` does."""
    mp = _context()
    if node.op is literal:
        return number(mp, node.params["value"].value)
    if node.op is limit_op:
        return _limit_at(node, *operands)
    if node.op not in ARITHMETIC and any(_is_huge(mp, z) for z in operands):
        raise OverflowError(f"{node.op.name} of a number that takes as many digits to work out")
    return ANALYTIC[node.op](mp, *operands, **node.params)


LARGEST_EXPONENT = 64
"""Of operands, to base 2: an exponential of larger ones has an exponent that is a long number."""


def _is_huge(mp: Any, z: Any) -> bool:
    return bool(mp.isfinite(z)) and z != 0 and mp.mag(z) > LARGEST_EXPONENT


def _limit_at(node: Expr, z: Any) -> Any:
    p = node.params
    return p["series"][0] if z == p["centre"] else value_at(p["function"], z)


def real_value(function: Expr, x: float) -> Any:
    """The value at a real number, None where there is no finite real one."""
    mp = _context()
    try:
        found = value_at(function, mp.mpf(x))
    except (KeyError, ArithmeticError, ValueError, TypeError):
        return None
    if not mp.isfinite(found) or abs(mp.im(found)) > 1e-40 * (1 + abs(found)):
        return None
    return mp.re(found)


Leading = tuple[float, Any]
"""The lowest power of a series, perhaps a fraction, and its coefficient."""

_leading: weakref.WeakKeyDictionary[Expr, dict[float, Leading | None]] = weakref.WeakKeyDictionary()


def leading(function: Expr, centre: float) -> Leading | None:
    """The first term of a series, None where only the whole series would tell.

    It follows from the first terms of the operands, unless these cancel.
    """
    for node in topological([function]):
        table = _leading.setdefault(node, {})
        if centre not in table:
            operands = [_leading[a][centre] for a in node.args]
            table[centre] = _first_term(node, operands, centre)
    return _leading[function][centre]


def _first_term(e: Expr, operands: list[Leading | None], centre: float) -> Leading | None:
    mp = _context()
    if e.op is argument:
        return (0, mp.mpf(centre)) if centre else (1, mp.one)
    if e.op is literal:
        value = number(mp, e.params["value"].value)
        return (0, value) if value and mp.isfinite(value) else None
    if any(o is None for o in operands):
        return None
    try:
        found = _combined(mp, e, operands)  # type: ignore[arg-type]
    except (KeyError, ArithmeticError, ValueError, TypeError):
        return None
    usable = found is not None and found[1] and mp.isfinite(found[1]) and not mp.im(found[1])
    return found if usable else None


def _combined(mp: Any, e: Expr, operands: list[Leading]) -> Leading | None:
    (n, a), (m, b) = operands[0], operands[-1]
    match e.op:
        case op if op is mul:
            return n + m, a * b
        case op if op in (div, norm.ratio):
            return n - m, a / b
        case op if op is neg:
            return n, -a
        case op if op in (pointwise.square, pointwise.integer_power_op):
            exponent = e.params.get("exponent", 2)
            return n * exponent, a**exponent
        case op if op in (add, sub):
            b = -b if op is sub else b
            if n != m:
                return (n, a) if n < m else (m, b)
            return (n, a + b) if abs(a + b) > CERTAIN * abs(a) else None
        case op if op is pointwise.convert_op:
            return n, a
        case op if op in (pointwise.sqrt, pointwise.rsqrt):
            sign = 1 if op is pointwise.sqrt else -1
            return sign * n / 2, mp.sqrt(a) ** sign
        case op if op is pointwise.power and not m:
            return float(n * b), mp.power(a, b)
        case op if op is limit_op and n > 0 and not e.params["centre"]:
            power = next(k for k, c in enumerate(e.params["series"]) if c)
            return n * power, e.params["series"][power] * a**power
    if any(power < 0 for power, _ in operands):
        return None
    values = [c if power == 0 else mp.zero for power, c in operands]
    if e.op is limit_op:
        return 0, _limit_at(e, *values)
    found = ANALYTIC[e.op](mp, *values, **e.params)
    if found == 0 and len(operands) == 1 and n > 0:
        return _at_zero_of(e.op, n, a)
    return 0, found


def _at_zero_of(op: Op, n: float, a: Any) -> Leading | None:
    """The first term of a function that is zero at zero, of an operand with this first term."""
    series = laurent(op(parameter(0, Type((), np.dtype(float)))), 0.0)
    if series is None or not series.coefficients:
        return None
    return n * series.valuation, series.coefficients[0] * a**series.valuation


_known: weakref.WeakKeyDictionary[Expr, dict[float, Series | None]] = weakref.WeakKeyDictionary()


def laurent(function: Expr, centre: float) -> Series | None:
    """The series of an expression in `variable`, None if it has none around `centre`."""
    table = _known.setdefault(function, {})
    if centre not in table:
        table[centre] = _laurent(function, centre)
    return table[centre]


def _laurent(function: Expr, centre: float) -> Series | None:
    for radius in RADII:
        try:
            if not _is_single_valued(function, centre, radius):
                continue
            found = _fourier(_on_circle(function, centre, radius))
            if _sums_to(function, centre, radius, found):
                return _series(found, radius)
        except KeyError:
            return None
        except (ArithmeticError, ValueError, TypeError):
            continue
    return None


APPROACH = (2.0**-6, 2.0**-12, 2.0**-18)
GROWTH = 6


def has_pole(function: Expr, centre: float) -> bool:
    """Whether an expression in `variable` grows towards a point as one with a pole there does.

    Where it does not, a pole is possible too: this is what can be told at a glance.
    """
    mp = _context()
    try:
        far, near, nearest = (
            abs(value_at(function, centre + step * mp.mpc(1, 0.25))) for step in APPROACH
        )
    except (KeyError, ArithmeticError, ValueError, TypeError):
        return False
    return bool(nearest > GROWTH * near and near > GROWTH * far)


def _is_single_valued(function: Expr, centre: float, radius: float) -> bool:
    """Whether both ways round the centre, through conjugate values, end in the same value."""
    mp = _context()
    ends = [value_at(function, mp.mpf(centre) + sign * radius) for sign in (1, -1)]
    return all(abs(mp.im(v)) <= CERTAIN * abs(v) for v in ends)


def _on_circle(function: Expr, centre: float, radius: float) -> list[Any]:
    """Values on the upper half of a circle, from the positive real axis on."""
    return [value_at(function, centre + radius * z) for z in _roots()[: POINTS // 2 + 1]]


@cache
def _roots() -> list[Any]:
    mp = _context()
    return [mp.expjpi(mp.mpf(2 * i) / POINTS) for i in range(POINTS)]


def _fourier(values: list[Any]) -> dict[int, Any]:
    """Coefficients times the power of the radius, of a function that is real on the real axis."""
    mp = _context()
    weighted = [v * (1 if i in (0, POINTS // 2) else 2) / POINTS for i, v in enumerate(values)]
    parts = [mp.re(v) for v in weighted] + [mp.im(v) for v in weighted]
    return {k: mp.fdot(parts, _turned(k)) for k in range(LOWEST - 2, HIGHEST)}


@cache
def _turned(k: int) -> list[Any]:
    """The `k`-th powers of the roots of unity in the upper half, real and imaginary parts."""
    mp, roots = _context(), _roots()
    turned = [roots[k * i % POINTS] for i in range(POINTS // 2 + 1)]
    return [mp.re(r) for r in turned] + [mp.im(r) for r in turned]


INSIDE = (0.25 + 0.4375j, -0.4375 + 0.125j)
"""Points inside of the unit circle where a series must give the function."""


def _sums_to(function: Expr, centre: float, radius: float, found: Mapping[int, Any]) -> bool:
    mp = _context()
    size = max(map(abs, found.values()))
    for point in INSIDE:
        z = mp.mpc(point)
        total = mp.fsum(c * z**k for k, c in found.items())
        actual = value_at(function, centre + radius * z)
        if not abs(total - actual) <= CERTAIN * size:
            return False
    return True


def _series(found: Mapping[int, Any], radius: float) -> Series | None:
    mp = _context()
    size = max(map(abs, found.values()))
    powers = [k for k, c in found.items() if abs(c) > CERTAIN * size]
    if not powers:
        return Series(0, ())
    if powers[0] < LOWEST:
        return None
    kept = [
        found[k] / mp.mpf(radius) ** k if abs(found[k]) > mp.mpf(10) ** -45 * size else mp.zero
        for k in range(powers[0], HIGHEST)
    ]
    return Series(powers[0], tuple(float(c) for c in kept))
