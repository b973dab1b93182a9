"""Averages of powers: Rényi and Tsallis entropies, power means, cumulants where they are 0/0.

An average S = Σ wᵢ exp(k yᵢ) with weights that add up to one is 1 at k = 0, so that (S - 1) / k,
log(S) / k and S^(1 / k) have limits there. Each is a function of the average V of
yᵢ (exp(u) - 1) / u with u = k yᵢ, for S - 1 = k V.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np

from symgrad.expr import Expr, add, captured, constant, div, sub
from symgrad.laws.limits import ZERO_OVER_ZERO, by_series, repeated
from symgrad.laws.parameters import divided_safely, from_distance
from symgrad.laws.poles import Pole, own_candidates
from symgrad.laws.separate import Term, of_variable, product, separate
from symgrad.laws.terms import factors, number, scaled, terms, total
from symgrad.ops.limit import variable
from symgrad.ops.pointwise import (
    abs_,
    and_,
    convert,
    convert_op,
    eq,
    exp,
    expm1,
    log,
    log1p,
    lt,
    or_,
    power,
    select,
)
from symgrad.ops.reduce import logsumexp, reduce_max
from symgrad.ops.shape import full, reduce_sum, uniform_value
from symgrad.ops.stable import weighted_logsumexp
from symgrad.pattern import rewrites
from symgrad.series import laurent, real_value
from symgrad.structure import entries, sums_to_one

SMALL = 1.0
"""Up to which exponent the limit is looked at."""

LARGEST_SHIFT = 100.0
"""The logarithm of the largest number of terms of an average."""


@dataclass(frozen=True, slots=True)
class _Part:
    """coefficient * Σ terms, summed over `axes`; None stands for terms that are not summed."""

    coefficient: float
    terms: Expr
    axes: tuple[int, ...] | None

    def summed(self, x: Expr) -> Expr:
        return x if self.axes is None else reduce_sum(x, axes=self.axes)


@dataclass(frozen=True, slots=True)
class _Powers:
    """weights * exp(distance * slopes), where the distance is that of the variable from a pole."""

    weights: Expr
    slopes: Expr
    exponents: Expr


@dataclass(frozen=True, slots=True)
class _Average:
    """V of S - 1 = distance * V, and where all exponents are small."""

    rise: Expr
    small: Expr


@rewrites(div, exact=False, written_only=True, protects=ZERO_OVER_ZERO)
def difference_of_averages(e: Expr) -> Expr | None:
    """(Σ wᵢ exp(k yᵢ) - 1) / k = Σ wᵢ yᵢ (exp(u) - 1) / u with u = k yᵢ, where Σ wᵢ = 1"""
    top, bottom = e.args
    found = _parts(top) if e.type.real and top.op in (add, sub) else None
    # One power alone has laws of its own.
    if found is None or (len(found[0]) == 1 and found[0][0].axes is None):
        return None
    limits = [
        (average.small, average.rise * rate)
        for average, _, rate in _averages(
            e, bottom, lambda pole: _average(*found, pole, 0.0, e.dtype)
        )
    ]
    return _continued(e, limits)


@rewrites(div, exact=False, written_only=True, protects=ZERO_OVER_ZERO)
def logarithm_of_average(e: Expr) -> Expr | None:
    """log(Σ wᵢ exp(k yᵢ)) / k = V log(1 + k V) / (k V), where Σ wᵢ = 1"""
    top, bottom = e.args
    found = _of_logarithm(top) if e.type.real else None
    if found is None:
        return None
    factor, parts = found
    limits = [
        (average.small, factor * _logarithm(average, e, bottom, pole) * rate)
        for average, pole, rate in _averages(
            e, bottom, lambda pole: _average(parts, 0.0, pole, 1.0, e.dtype)
        )
    ]
    return _continued(e, limits)


@rewrites(power, exact=False, written_only=True, protects=ZERO_OVER_ZERO)
def power_of_average(e: Expr) -> Expr | None:
    """(Σ wᵢ exp(k yᵢ))^(1 / k) is the exponential of the limit of its logarithm over k"""
    base, exponent = e.args
    found = _parts(base) if e.type.real and exponent.type.inexact else None
    if found is None or number(exponent) is not None:
        return None
    averages = _averages(e, exponent, lambda pole: _average(*found, pole, 1.0, e.dtype))
    for average, pole, rate in averages:
        near = exp(_logarithm(average, e, exponent, pole) * rate)
        far = power(base, divided_safely(exponent, pole, average.small))
        return select(average.small, near, far)
    return None


def _continued(quotient: Expr, limits: Sequence[tuple[Expr, Expr]]) -> Expr | None:
    """A quotient that has limits; each comes with where it is looked at."""
    if not limits:
        return None
    top, bottom = quotient.args
    small = functools.reduce(or_, (small for small, _ in limits))
    found = top / select(small, 1, bottom)
    for small, near in limits:
        found = select(small, near, found)
    return found


def _logarithm(average: _Average, e: Expr, divisor: Expr, pole: Pole) -> Expr:
    """log(1 + k V) / k"""
    found = separate(divisor, pole.variable)
    assert found is not None
    distance = repeated(_distance(pole, e.dtype), e, found.axes)
    t = variable(e.dtype)
    slope = by_series(log1p(t) / t, Pole(distance * average.rise, 0.0))
    assert slope is not None
    return average.rise * slope


def _distance(pole: Pole, dtype: np.dtype) -> Expr:
    v = pole.variable
    return convert(v - pole.centre if pole.centre else v, dtype=dtype)


# How fast a divisor vanishes


def _averages(
    e: Expr, divided: Expr, average: Callable[[Pole], _Average | None]
) -> list[tuple[_Average, Pole, Expr]]:
    """The averages at simple poles, and what is divided times the distance from each.

    `divided` is the divisor of a quotient or the exponent of a power. A factor of it is the
    variable only where all of it is not.
    """
    found = []
    for pole in own_candidates(e if e.op is div else divided):
        t, here = _reciprocal(e, divided, pole), average(pole)
        limit = None if t is None or here is None else from_distance(t, pole)
        if t is None or here is None or limit is None or limit[0] != -1:
            continue
        separated = (separate(x, pole.variable) for x in e.args)
        axes = next((s.axes for s in separated if s is not None and s.axes), ())
        found.append((t, (here, pole, product(t, repeated(limit[1], e, axes)))))
    alone = [which for t, which in found if not t.divisors]
    return alone or [which for _, which in found]


def _reciprocal(e: Expr, divided: Expr, pole: Pole) -> Term | None:
    found = separate(divided, pole.variable)
    if found is None or len(found.terms) != 1:
        return None
    (t,) = found.terms
    return of_variable(constant(1, t.function.dtype)).over(t) if e.op is div else t


# What is averaged


def _parts(e: Expr) -> tuple[list[_Part], float] | None:
    """A sum as sums of terms, and the number that is added to them."""
    found, rest = [], 0.0
    scale, whole = _unscaled(e)
    for c, node in terms(whole) or ():
        if node is None:
            rest += scale * c
            continue
        k, inner = _unscaled(node)
        summed = inner.op is reduce_sum
        entries_of_it, axes = (inner.args[0], inner.params["axes"]) if summed else (inner, None)
        found.append(_Part(scale * c * k, entries_of_it, axes))
    return (found, rest) if found else None


def _unscaled(e: Expr) -> tuple[float, Expr]:
    """`scaled`, through conversions from one precision to another."""
    factor, x = scaled(e)
    while x.op is convert_op and x.args[0].type.real and x.args[0].type.inexact:
        more, x = scaled(*x.args)
        factor *= more
    return factor, x


def _of_logarithm(e: Expr) -> tuple[float, list[_Part]] | None:
    """c and S of c log S, where numbers may have been added to the logarithm."""
    logarithm: tuple[float, Expr] | None = None
    shift = 0.0
    scale, whole = _unscaled(e)
    for c, node in terms(whole) or ():
        value = 1.0 if node is None else real_value(node, 0.0)
        if value is not None:
            shift += c * float(value)
        elif logarithm is not None or node is None:
            return None
        else:
            logarithm = c, node
    if logarithm is None:
        return None
    factor, (more, node) = logarithm[0], _unscaled(logarithm[1])
    factor *= more
    parts = _inside_logarithm(node)
    if parts is None or not factor or abs(shift / factor) > LARGEST_SHIFT:
        return None
    weight = math.exp(shift / factor)
    return scale * factor, [replace(p, coefficient=p.coefficient * weight) for p in parts]


def _inside_logarithm(e: Expr) -> list[_Part] | None:
    if e.op is log:
        found = _parts(*e.args)
        return found[0] if found is not None and found[1] == 0 else None
    if e.op is logsumexp:
        return [_Part(1.0, exp(*e.args), (e.params["axis"],))]
    if e.op is weighted_logsumexp and not e.params["signed"]:
        exponents, weights = e.args
        return [_Part(1.0, weights * exp(exponents), (e.params["axis"],))]
    return None


def _average(
    parts: list[_Part], rest: float, pole: Pole, wanted: float, dtype: np.dtype
) -> _Average | None:
    """What the parts have in common with an average; at the pole they are `wanted` together."""
    rises: list[tuple[float, Expr | None]] = []
    small: list[Expr] = []
    weights: dict[Expr | None, float] = {None: rest}
    for part in parts:
        powers = _powers(part.terms, pole)
        whole = part.terms if powers is None else powers.weights
        for c, node in _sum_of(whole, part.axes) or [(1.0, part.summed(whole))]:
            weights[node] = weights.get(node, 0.0) + part.coefficient * c
        if powers is None:
            continue
        t = variable(powers.exponents.dtype)
        slope = by_series(expm1(t) / t, Pole(powers.exponents, 0.0))
        assert slope is not None
        rise = part.summed(powers.weights * powers.slopes * slope)
        rises.append((part.coefficient, rise))
        size = abs_(powers.exponents)
        largest = size if part.axes is None else reduce_max(size, axes=part.axes)
        small.append(lt(largest, SMALL))
    tolerance = 8 * float(jnp.finfo(parts[0].terms.dtype).eps)
    missing = {**weights, None: weights[None] - wanted}
    types = {rise.type for _, rise in rises if rise is not None}
    if len(types) != 1 or any(abs(c) > tolerance for c in missing.values()):
        return None
    rise = convert(total(rises, types.pop()), dtype=dtype)
    return _Average(rise, functools.reduce(and_, small))


def _powers(e: Expr, pole: Pole) -> _Powers | None:
    """Terms as weights times exponentials of what grows with the distance from the pole."""
    weights, exponents = [], []
    for factor in factors(e) or ():
        x = _exponent(factor)
        found = None if x is None else separate(x, pole.variable)
        if x is None or found is None or found.axes is None:
            weights.append(factor)
        else:
            exponents.append(x)
    found = separate(functools.reduce(add, exponents), pole.variable) if exponents else None
    if found is None:
        return None
    levels: list[Expr] = []
    slopes: list[Expr] = []
    for t in found.terms:
        line = _line(t, pole.centre)
        if line is None:
            return None
        for c, part in zip(line, (levels, slopes), strict=True):
            if c:
                part.append(product(t, constant(c, e.dtype)))
    if not slopes:
        return None
    weights += [_exponential(x) for x in levels]
    weight = functools.reduce(operator.mul, weights) if weights else full(1, e.type)
    slope = functools.reduce(add, slopes)
    if uniform_value(weight) is None:
        slope = select(eq(weight, 0), 0, slope)
    distance = repeated(_distance(pole, e.dtype), e, found.axes)
    return _Powers(weight, slope, distance * slope)


def _exponent(factor: Expr) -> Expr | None:
    """The exponent of an exponential, that of e in a power."""
    if factor.op is exp:
        return factor.args[0]
    if factor.op is power and factor.args[1].type.inexact:
        return factor.args[1] * log(factor.args[0])
    if factor.op is convert_op and (inner := _exponent(factor.args[0])) is not None:
        return convert(inner, dtype=factor.dtype)
    return None


def _exponential(x: Expr) -> Expr:
    return x.args[0] if x.op is log else exp(x)


def _line(t: Term, centre: float) -> tuple[float, float] | None:
    """The value at the centre and the slope of a function that is a straight line."""
    series = laurent(t.whole, centre)
    if series is None or series.valuation < 0:
        return None
    coefficients = [0.0] * series.valuation + [float(c) for c in series.coefficients]
    level, slope, *others = (*coefficients, 0.0, 0.0)
    return None if any(others) else (level, slope)


def _sum_of(x: Expr, axes: tuple[int, ...] | None) -> list[tuple[float, Expr | None]] | None:
    """The sum of weights as a sum of terms, as far as it is known."""
    if axes is None:
        return terms(x)
    count = math.prod(x.shape[a] for a in axes)
    if (value := number(x)) is not None:
        return [(value * count, None)]
    if len(axes) == 1 and sums_to_one(x, *axes):
        return [(1.0, None)]
    values = entries(x) if x.op is captured else None
    sums = None if values is None else values.sum(axes, dtype=np.float64)
    if sums is None or not sums.size or not x.type.inexact:
        return None
    if np.ptp(sums) > 8 * float(jnp.finfo(x.dtype).eps):
        return None
    return [(float(sums.flat[0]), None)]
