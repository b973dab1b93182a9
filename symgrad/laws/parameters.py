"""Functions of a product over one of its factors: (xᵏ - 1) / k and sin(k x) / k at k = 0.

A quotient by `k` of a function of `u = k x` has a limit at `k = 0`, which depends on `x`: it is
`x` times a function of `u` alone that has one at `u = 0`. Where `u` is not small nothing changes.
In place of `k` may stand any function of it that has a simple zero, as `log(1 + k)` has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from symgrad.expr import Expr, constant, div
from symgrad.laws.limits import ZERO_OVER_ZERO, analytic, continued, repeated
from symgrad.laws.poles import PASSES_ON, Pole, candidates, divisor, grows, own_candidates
from symgrad.laws.separate import (
    NONE,
    RULES,
    Separated,
    Term,
    of_variable,
    product,
    separate,
    separated_parts,
    times,
)
from symgrad.laws.terms import number, scaled, total
from symgrad.ops.entropy import times_log1p_op, times_log_op, xlog1py, xlogy
from symgrad.ops.limit import variable
from symgrad.ops.norm import ratio
from symgrad.ops.pointwise import (
    abs_,
    convert,
    eq,
    exp,
    integer_power,
    integer_power_op,
    log,
    lt,
    power,
    select,
    square,
)
from symgrad.ops.shape import broadcast, expand, reduce_sum, spread
from symgrad.pattern import rewrites
from symgrad.series import laurent, leading
from symgrad.walk import rebuild, substitute, topological

SMALL = 1.0
"""Up to which product the limit is looked at; there it has no other singularity nearby."""


@rewrites(*PASSES_ON, exact=False, protects=ZERO_OVER_ZERO)
def limit_in_a_parameter(e: Expr) -> Expr | None:
    """F(k x) / kⁿ = xⁿ F(u) / uⁿ for small u = k x, where F is 0/0 and has a limit"""
    for pole in candidates(e):
        if not grows(e, pole) and (found := _near(e, pole)) is not None:
            near, small, axes = found
            far = divided_safely(e, pole, small)
            return select(repeated(small, e, axes), near, far)
    return None


@rewrites(power, exact=False, protects=ZERO_OVER_ZERO)
def power_in_a_parameter(e: Expr) -> Expr | None:
    """(1 + k x)^(1 / k) is the exponential of the limit of log(1 + k x) / k for small k x"""
    base, exponent = e.args
    if not exponent.type.inexact:
        return None
    logarithm = exponent * log(base)
    for pole in candidates(exponent):
        if not grows(logarithm, pole) and (found := _near(logarithm, pole)) is not None:
            near, small, axes = found
            far = power(base, divided_safely(exponent, pole, small))
            return select(repeated(small, e, axes), exp(near), far)
    return None


@rewrites(div, exact=False, protects=ZERO_OVER_ZERO)
def sum_over_a_parameter(e: Expr) -> Expr | None:
    """Σ F(k x) / k is a sum of quotients with limits"""
    top, bottom = e.args
    factor, whole = scaled(top)
    if whole.op is not reduce_sum or whole.shape != e.shape or not e.type.real:
        return None
    (entries,), axes = whole.args, whole.params["axes"]
    divisors = expand(bottom, axes, entries.shape) if bottom.ndim else bottom
    quotient = limit_in_a_parameter.rewrite(entries / divisors)
    return quotient and total([(factor, reduce_sum(quotient, axes=axes))], e.type)


@dataclass(frozen=True, slots=True)
class _Product:
    """factor * u, where u = small * x.

    `small` is a function of the variable with a simple zero at the pole, `x` does not mention it;
    `axes` are those of `u` that are the variable's.
    """

    factor: float
    u: Expr
    small: Term
    x: Term
    axes: tuple[int, ...]

    def over(self, other: _Product) -> float | None:
        """How many times another product this one is, None if it is no multiple of it."""
        if self.x.monomial != other.x.monomial or self.u.dtype != other.u.dtype:
            return None
        (a, f), (b, g) = _scaled(self.small.function), _scaled(other.small.function)
        same = f is g and self.small.power == other.small.power
        return self.factor * a / b if same else None


def _scaled(function: Expr) -> tuple[float, Expr | None]:
    value = number(function)
    return scaled(function) if value is None else (value, None)


def _near(e: Expr, pole: Pole) -> tuple[Expr, Expr, tuple[int, ...]] | None:
    """What `e` is where a product with a variable is small, where that is, and along which axes."""
    parts = separated_parts(e, pole.variable)
    products = {} if parts is None else _products(e, pole, parts)
    if parts is None or not products:
        return None
    first = next(iter(products.values()))
    found = {node: p.over(first) for node, p in products.items()}
    multiples = {node: multiple for node, multiple in found.items() if multiple is not None}
    if len(multiples) < len(found):
        return None
    in_product = _in_product(e, pole, parts, multiples, first)
    separated = None if in_product is None else separate(in_product, first.u)
    if separated is None or separated.axes is None:
        return None
    reduced = Separated(separated.axes, tuple(map(_reduced, separated.terms)))
    if any(set(t.divisors) & set(first.x.factors) for t in reduced.terms):
        return None
    near = continued(e, reduced, Pole(first.u, 0.0))
    return near and (near, lt(abs_(first.u), SMALL), separated.axes)


def _reduced(t: Term) -> Term:
    """A term without the arrays that it is both multiplied and divided by."""
    factors, divisors = list(t.factors), []
    for d in t.divisors:
        if d in factors:
            factors.remove(d)
        else:
            divisors.append(d)
    return Term(tuple(factors), tuple(divisors), t.power, t.function)


Parts = Mapping[Expr, Separated]


def _products(e: Expr, pole: Pole, parts: Parts) -> dict[Expr, _Product]:
    """The products with functions of the variable that other functions in `e` are of."""
    found: dict[Expr, _Product] = {}
    stack, seen = [(e, False)], set()
    while stack:
        node, inside = stack.pop()
        if (node, inside) in seen or node is pole.variable or node.op not in RULES:
            continue
        seen.add((node, inside))
        here = _power(node, pole, parts) if node.op is power else _product(node, pole, parts)
        if here is not None and (inside or node.op is power):
            found[node] = here
        else:
            below = node.args[_linear_operands(node) :]
            stack.extend((a, inside or a in below) for a in node.args)
    return found


def _linear_operands(e: Expr) -> int:
    """How many of the first operands a node is linear in."""
    if e.op in (div, ratio, times_log_op, times_log1p_op, xlogy, xlog1py):
        return 1
    return len(e.args) if e.op in PASSES_ON and e.op not in (square, integer_power_op) else 0


def _product(node: Expr, pole: Pole, parts: Parts) -> _Product | None:
    terms = parts[node].terms if node in parts else ()
    if len(terms) != 1 or not terms[0].monomial or _order(terms[0], pole) != 1:
        return None
    factor, u = scaled(node)
    small, x = _split(terms[0])
    if factor != 1:
        value, function = _scaled(small.function)
        scale = constant(value / factor, u.dtype)
        small = of_variable(scale if function is None else scale * function, small.power)
    return _Product(factor, u, small, x, parts[node].axes or ())


def _power(node: Expr, pole: Pole, parts: Parts) -> _Product | None:
    """The exponent of the exponential that a power is."""
    base, exponent = node.args
    logarithm = log(base)
    terms = parts[exponent].terms if exponent in parts else ()
    if len(terms) != 1 or not exponent.type.inexact:
        return None
    small, x = _split(terms[0])
    u = exponent * logarithm
    if _order(small, pole) == 1:
        return _Product(1.0, u, small, x.times(_array(logarithm)), parts[exponent].axes or ())
    varies = small.power or variable(u.dtype) in topological([small.function])
    of_base = parts[base].pure if base in parts and parts[base].axes is not None else None
    if varies or of_base is None or not x.monomial:
        return None
    small = of_variable(times(small.function, log(of_base)))
    if _order(small, pole) != 1:
        return None
    return _Product(1.0, u, small, x, parts[base].axes or ())


def _split(t: Term) -> tuple[Term, Term]:
    """A term as the function of the variable, and the arrays around it."""
    one = constant(1, t.function.dtype)
    return of_variable(t.function, t.power), Term(t.factors, t.divisors, NONE, one)


def _array(e: Expr) -> Term:
    return Term((e,), (), NONE, constant(1, e.dtype))


def _order(t: Term, pole: Pole) -> int | None:
    """The power of the distance from the pole that a term is near there."""
    first = leading(t.whole, pole.centre)
    if first is not None:
        return int(first[0]) if int(first[0]) == first[0] else None
    series = laurent(t.whole, pole.centre)
    return series.valuation if series is not None and series.coefficients else None


def _in_product(
    e: Expr, pole: Pole, parts: Parts, multiples: Mapping[Expr, float], first: _Product
) -> Expr | None:
    """`e` with the distance from the pole written as a quotient of `u`."""
    v = pole.variable
    to_distance = from_distance(first.small, pole)
    if to_distance is None or v.dtype != first.u.dtype or len(first.axes) != v.ndim:
        return None

    places = {"shape": first.u.shape, "axes": first.axes}

    def spread_out(x: Expr) -> Expr:
        """What the variable's axes are those of, over the axes of `u`."""
        return x if x.shape in ((), first.u.shape) else broadcast(x, **places)

    alone = first.u / product(first.x, None) / spread_out(to_distance[1])
    done: dict[Expr, Expr] = {}
    stack = [e]
    while stack:
        node = stack[-1]
        known = parts.get(node)
        if node in done:
            stack.pop()
        elif node in multiples:
            multiple = first.u * multiples[node]
            done[node] = exp(multiple) if node.op is power else multiple
        elif node.op not in RULES and node is not v:
            done[node] = node
        elif known is not None and known.axes is not None and known.pure is not None:
            found = from_distance(known.terms[0], pole)
            if found is None:
                return None
            order, limit = found
            if order and (
                node.dtype != alone.dtype or node.shape not in ((), v.shape, alone.shape)
            ):
                return None
            done[node] = times(integer_power(alone, order), spread_out(limit)) if order else node
        elif waiting := [a for a in node.args if a not in done]:
            stack.extend(waiting)
        else:
            args = tuple(done[a] for a in node.args)
            if any(new.shape != old.shape for new, old in zip(args, node.args, strict=True)):
                args = tuple(map(spread_out, args))
            rebuilt = _rebuilt(node, args, first.axes)
            if rebuilt is None:
                return None
            done[node] = rebuilt
    return done[e]


def from_distance(t: Term, pole: Pole) -> tuple[int, Expr] | None:
    """A function of the variable as a power of the distance from the pole, and the rest."""
    order = _order(t, pole)
    if order is None:
        return None
    own, dtype = variable(pole.variable.dtype), t.function.dtype
    if pole.centre or own.dtype != dtype:
        distance = convert(own - pole.centre if pole.centre else own, dtype=dtype)
        rest = of_variable(times(t.whole, integer_power(distance, -order)))
    else:
        rest = of_variable(t.function, t.power - order)
    limit = analytic(rest, pole)
    return None if limit is None else (order, limit)


def _rebuilt(node: Expr, args: tuple[Expr, ...], axes: tuple[int, ...]) -> Expr | None:
    """`node` with operands that may have more axes than before; None where that has no meaning."""
    if all(new.shape == old.shape for new, old in zip(args, node.args, strict=True)):
        return rebuild(node, args)
    shape = next(a.shape for a in args if a.ndim)
    if node.op is broadcast:
        unmoved = node.args[0].ndim == 0 or node.params["axes"] == axes
        return args[0] if shape == node.shape and unmoved else None
    if not node.op.elementwise or any(a.shape not in ((), shape) for a in args):
        return None
    return rebuild(node, tuple(spread(a, shape) if not a.ndim else a for a in args))


def divided_safely(e: Expr, pole: Pole, small: Expr) -> Expr:
    """`e` with divisors that are not zero at the pole, which are the same where it is used."""
    safe: dict[Expr, Expr] = {}
    for node in separated_parts(e, pole.variable) or ():
        below = divisor(node) if pole in own_candidates(node) else None
        if below is not None:
            changed = dict(zip(node.args, substitute(node.args, safe), strict=True))
            unused = small if small.shape == below.shape else eq(changed[below], 0)
            changed[below] = select(unused, 1, changed[below])
            safe[node] = rebuild(node, tuple(changed[a] for a in node.args))
    return substitute([e], safe)[0]
