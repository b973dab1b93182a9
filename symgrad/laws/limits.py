"""Removable singularities: a function that is 0/0 at a point goes on through it.

Where a division by zero leaves poles in the Laurent series of no term, an expression is
analytic in the variable, and each of its functions takes the value of its series near the point.
"""

from __future__ import annotations

from symgrad.expr import Expr, Type
from symgrad.laws import algebra, growth, lift
from symgrad.laws.poles import PASSES_ON, Pole, candidates, grows, is_infinite
from symgrad.laws.separate import Separated, Term, power_of, product, separate, times
from symgrad.ops.limit import limit_op, variable
from symgrad.ops.pointwise import (
    convert,
)
from symgrad.ops.shape import broadcast, zeros
from symgrad.pattern import Rule, rewrites
from symgrad.rewrite import simplify
from symgrad.series import laurent, real_value
from symgrad.walk import Graph, substitute, topological

ZERO_OVER_ZERO = "0/0 where the function has a limit, and lost digits near there"


@rewrites(*PASSES_ON, exact=False, protects=ZERO_OVER_ZERO)
def removable_singularity(e: Expr) -> Expr | None:
    """f(x) = Σ cₖ (x - a)ᵏ near a point a where f is 0/0 and its Laurent series has no pole"""
    for pole in candidates(e):
        found = None if grows(e, pole) else separate(e, pole.variable)
        if found is not None and (whole := continued(e, found, pole)) is not None:
            return whole
    return None


def continued(e: Expr, found: Separated, pole: Pole) -> Expr | None:
    """The sum of terms, each of which is analytic at the point."""
    if any(is_infinite(t, pole.centre) for t in found.terms):
        return None
    functions = [analytic(t, pole) for t in found.terms]
    varying = any(
        t.power or variable(pole.variable.dtype) in topological([t.function]) for t in found.terms
    )
    if any(f is None for f in functions) or not varying:
        return None
    total: Expr | None = None
    for t, f in zip(found.terms, functions, strict=True):
        value = product(t, repeated(f, e, found.axes))  # type: ignore[arg-type]
        total = value if total is None else total + value
    return total


def repeated(f: Expr, e: Expr, axes: tuple[int, ...] | None) -> Expr:
    """An array over these axes of `e`, with the shape of `e`."""
    if f.ndim == 0 or f.shape == e.shape:
        return f
    return broadcast(f, shape=e.shape, axes=axes)


def analytic(t: Term, pole: Pole) -> Expr | None:
    """A function of the variable, by its series near the point if it is 0/0 there."""
    v, centre = pole.variable, pole.centre
    function = _continuous(t.function, pole) if t.power >= 0 or centre else None
    if function is not None:
        return times(power_of(v, t.power), function)
    return _continuous(t.whole, pole)


def _continuous(function: Expr, pole: Pole) -> Expr | None:
    if real_value(function, pole.centre) is not None:
        return substitute([function], {variable(pole.variable.dtype): pole.variable})[0]
    return by_series(function, pole)


def by_series(function: Expr, pole: Pole) -> Expr | None:
    """A function of the variable, by its Taylor series near the point, None if it has none."""
    v, centre = pole.variable, pole.centre
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


ARITHMETIC = tuple(
    r for module in (algebra, lift) for r in vars(module).values() if isinstance(r, Rule)
)
RANGES = (growth.quotient_of_exponentials, growth.quotient_by_expm1, growth.quotient_by_sinh)


@rewrites(limit_op, exact=False)
def simplified_function(e: Expr) -> Expr | None:
    """A function with a removable singularity, with the laws of arithmetic and quotients applied"""
    function = e.params["function"]
    (found,) = simplify(Graph((), (function,)), (ARITHMETIC, RANGES)).outputs
    return None if found is function else limit_op(*e.args, **{**e.params, "function": found})
