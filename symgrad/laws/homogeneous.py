"""Quotients in which exponentials may all be scaled: each leaves the range, the quotient not.

Numerator and denominator grow by the same power of a common factor, so the exponentials may
be taken relative to the largest of those that are added up below. That is a softmax with
weights, a mask, or whatever else is multiplied and summed on the way.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from symgrad.expr import Expr, Op, add, div, mul, neg, sub
from symgrad.laws.moves import MOVES
from symgrad.ops import pointwise, shape
from symgrad.ops.contract import einsum_op
from symgrad.ops.pointwise import eq, exp, gaussian, maximum, not_, select, square
from symgrad.ops.reduce import reduce_max
from symgrad.ops.shape import broadcast, reduce_sum, spread, transpose, uniform_value
from symgrad.ops.shares import exp_within_range, overflow_shift
from symgrad.pattern import rewrites
from symgrad.structure import bounds

OVERFLOW = "overflow of exp over itself"
LONGEST = 40
"""So many nodes are looked at."""
HARMLESS = 30.0
"""Exponentials of smaller numbers are nowhere near the ends of the range, squares included."""

Name = int | str
"""An axis: where it is in the quotient, or a name of its own for one that is summed over."""
Names = tuple[Name, ...]


@rewrites(div, exact=False, written_only=True, protects=OVERFLOW)
def exponentials_relative_to_the_largest(e: Expr) -> Expr | None:
    """f(exp(x)) / g(exp(x)) = f(exp(x - m)) / g(exp(x - m)), f and g homogeneous of one degree"""
    if not e.type.real:
        return None
    names = tuple(range(e.ndim))
    below = _Side()
    bottom = below.walk(e.args[1], names[: e.args[1].ndim], ())
    if bottom is None or not below.summed or not any(map(_may_leave_the_range, below.leaves)):
        return None
    for preferred in ({leaf.node for leaf in below.leaves}, None):
        above = _Side(preferred)
        top = above.walk(e.args[0], names[: e.args[0].ndim], ())
        if top is not None and top.degree == bottom.degree:
            break
    else:
        return None
    leaves = (*below.leaves, *above.leaves)
    kept = [n for n in names if all(n in leaf.names for leaf in leaves)]
    largest = [leaf.largest(kept) for leaf in below.leaves]
    if any(m is None for m in largest):
        return None
    most = functools.reduce(maximum, dict.fromkeys(m for m in largest if m is not None))
    degree = float(bottom.degree)
    shift = overflow_shift(most) if degree == 1 else overflow_shift(most * degree) / degree
    weightless = {leaf.node for leaf in below.leaves if leaf.dead}

    def relative(node: Expr, own: Names) -> Expr:
        exponent = _exponent(node)
        axes = tuple(own.index(n) for n in kept)
        less = exponent - (broadcast(shift, shape=node.shape, axes=axes) if kept else shift)
        return exp_within_range(less) if node in weightless else exp(less)

    return top.rebuilt(relative) / bottom.rebuilt(relative)


def _exponent(e: Expr) -> Expr:
    return -square(*e.args) if e.op is gaussian else e.args[0]


@dataclass(frozen=True, slots=True)
class _Leaf:
    """An exponential, its axes, and where nothing but 0 is made of it."""

    node: Expr
    names: Names
    dead: tuple[tuple[Expr, Names], ...]

    def largest(self, kept: Sequence[Name]) -> Expr | None:
        """The largest exponent for each entry of the kept axes."""
        x = _exponent(self.node)
        for condition, names in self.dead:
            if not set(names) <= set(self.names):
                return None
            x = select(_aligned(condition, names, self), -math.inf, x)
        axes = tuple(a for a, n in enumerate(self.names) if n not in kept)
        found = reduce_max(x, axes=axes) if axes else x
        left = [n for n in self.names if n in kept]
        order = tuple(left.index(n) for n in kept)
        return found if order == tuple(range(len(order))) else transpose(found, permutation=order)


def _aligned(x: Expr, names: Names, leaf: _Leaf) -> Expr:
    if not names:
        return spread(x, leaf.node.shape) if leaf.node.ndim else x
    places = [leaf.names.index(n) for n in names]
    order = tuple(sorted(range(len(places)), key=places.__getitem__))
    if order != tuple(range(len(order))):
        x = transpose(x, permutation=order)
    axes = tuple(sorted(places))
    whole = axes == tuple(range(leaf.node.ndim))
    return x if whole else broadcast(x, shape=leaf.node.shape, axes=axes)


def _may_leave_the_range(leaf: _Leaf) -> bool:
    low, high = bounds(_exponent(leaf.node))
    return low < -HARMLESS or high > HARMLESS


Relative = Callable[[Expr, Names], Expr]


@dataclass(frozen=True, slots=True)
class _Scaling:
    """A node that is multiplied by a power of what the exponentials in it are multiplied by."""

    degree: float
    rebuilt: Callable[[Relative], Expr]


Dead = tuple[tuple[Expr, Names], ...]


@dataclass(slots=True)
class _Side:
    """The exponentials that one side of a fraction scales with."""

    preferred: set[Expr] | None = None
    """Of several exponentials that are multiplied one scales, the same above and below."""
    leaves: list[_Leaf] = field(default_factory=list)
    summed: bool = False
    visited: int = 0

    def walk(self, e: Expr, names: Names, dead: Dead) -> _Scaling | None:
        """How a node scales; None if it is to stay as it is."""
        self.visited += 1
        if self.visited > LONGEST or len(names) != e.ndim:
            return None
        if e.op in (exp, gaussian):
            return self._leaf(e, names, dead)
        rule = RULES.get(e.op, _of_moved if e.op in MOVES else None)
        if rule is None:
            return None
        before = len(self.leaves)
        found = rule(self, e, names, dead)
        if found is None:
            del self.leaves[before:]
        return found

    def _leaf(self, e: Expr, names: Names, dead: Dead) -> _Scaling | None:
        known = any(n.op is overflow_shift for n in _near(e.args[0]))
        if known or not e.type.size or e not in (self.preferred or (e,)):
            return None
        self.leaves.append(_Leaf(e, names, dead))
        return _Scaling(1.0, lambda relative: relative(e, names))

    def operand(self, e: Expr, x: Expr, names: Names, dead: Dead) -> _Scaling | None:
        """How an operand of an elementwise operation scales."""
        return self.walk(x, names if x.ndim == e.ndim else (), dead)


def _near(e: Expr) -> list[Expr]:
    """The nodes of a difference, what is taken off looked for under a broadcast."""
    found = [e, *e.args]
    return [*found, *(a for x in found if x.op in (broadcast, div) for a in x.args)]


def _with(e: Expr, args: Sequence[Expr]) -> Expr:
    return e.op(*args, **e.params)


def _weightless(x: Expr, names: Names) -> Dead:
    """Where a factor is 0."""
    return ((eq(x, 0), names),) if 0.0 in bounds(x) else ()


def _of_product(side: _Side, e: Expr, names: Names, dead: Dead) -> _Scaling | None:
    x, y = e.args
    own = [names if a.ndim == e.ndim else () for a in e.args]
    first = side.walk(x, own[0], (*dead, *_weightless(y, own[1])))
    if x is y and first is not None:
        return _Scaling(2 * first.degree, lambda r: square(first.rebuilt(r)))
    if first is not None:
        # A second exponential is a weight of the first.
        return _Scaling(first.degree, lambda r: first.rebuilt(r) * y)
    second = side.walk(y, own[1], (*dead, *_weightless(x, own[0])))
    return second and _Scaling(second.degree, lambda r: x * second.rebuilt(r))


def _of_quotient(side: _Side, e: Expr, names: Names, dead: Dead) -> _Scaling | None:
    x, y = e.args
    top = side.operand(e, x, names, dead)
    return top and _Scaling(top.degree, lambda r: top.rebuilt(r) / y)


def _of_sum(side: _Side, e: Expr, names: Names, dead: Dead) -> _Scaling | None:
    x, y = (side.operand(e, a, names, dead) for a in e.args)
    if x is None or y is None or x.degree != y.degree:
        return None
    return _Scaling(x.degree, lambda r: e.op(x.rebuilt(r), y.rebuilt(r)))


def _of_select(side: _Side, e: Expr, names: Names, dead: Dead) -> _Scaling | None:
    condition, *branches = e.args
    own = names if condition.ndim else ()
    masks = (not_(condition), condition)
    found: list[_Scaling | None] = []
    for branch, mask in zip(branches, masks, strict=True):
        if uniform_value(branch) == 0:
            found.append(None)
            continue
        scaling = side.operand(e, branch, names, (*dead, (mask, own)))
        if scaling is None:
            return None
        found.append(scaling)
    degrees = {s.degree for s in found if s is not None}
    if len(degrees) != 1:
        return None

    def rebuilt(r: Relative) -> Expr:
        chosen = [b if s is None else s.rebuilt(r) for b, s in zip(branches, found, strict=True)]
        return select(condition, *chosen)

    return _Scaling(degrees.pop(), rebuilt)


def _of_total(side: _Side, e: Expr, names: Names, dead: Dead) -> _Scaling | None:
    (x,), axes = e.args, e.params["axes"]
    left = iter(names)
    own = tuple(_fresh(side, a) if a in axes else next(left) for a in range(x.ndim))
    side.summed = side.summed or x.type.size > e.type.size
    found = side.walk(x, own, dead)
    return found and _Scaling(found.degree, lambda r: _with(e, [found.rebuilt(r)]))


def _fresh(side: _Side, label: object) -> str:
    return f"{side.visited}:{label}"


def _of_contraction(side: _Side, e: Expr, names: Names, dead: Dead) -> _Scaling | None:
    indices, out = e.params["indices"], e.params["out"]
    outer = dict(zip(out, names, strict=True))
    fresh = {i: _fresh(side, i) for own in indices for i in own}
    owns = [tuple(outer.get(i, fresh[i]) for i in own) for own in indices]
    if any(len(set(own)) != len(own) for own in indices):
        return None
    for place, (x, own) in enumerate(zip(e.args, owns, strict=True)):
        others = [(a, o) for i, (a, o) in enumerate(zip(e.args, owns, strict=True)) if i != place]
        zeros = [d for a, o in others for d in _weightless(a, o)]
        found = side.walk(x, own, (*dead, *zeros))
        if found is not None:
            side.summed = side.summed or set(fresh) != set(out)
            return _Scaling(found.degree, functools.partial(_contracted, e, place, found))
    return None


def _contracted(e: Expr, place: int, found: _Scaling, relative: Relative) -> Expr:
    return _with(e, [*e.args[:place], found.rebuilt(relative), *e.args[place + 1 :]])


def _of_power(factor: Callable[[Expr], float]) -> Callable[..., _Scaling | None]:
    def rule(side: _Side, e: Expr, names: Names, dead: Dead) -> _Scaling | None:
        found = side.walk(e.args[0], names, dead)
        if found is None or factor(e) <= 0:
            return None
        return _Scaling(factor(e) * found.degree, lambda r: _with(e, [found.rebuilt(r)]))

    return rule


def _of_moved(side: _Side, e: Expr, names: Names, dead: Dead) -> _Scaling | None:
    """Axes that a move does not keep in a known place are as those summed over."""
    x = e.args[0]
    own: Names = tuple(_fresh(side, a) for a in range(x.ndim))
    if e.op is broadcast:
        places = [(a, p) for a, p in enumerate(e.params["axes"]) if x.shape[a] == e.shape[p]]
    elif e.op is transpose:
        places = [(a, i) for i, a in enumerate(e.params["permutation"])]
    elif e.op in (pointwise.stop_gradient, pointwise.name, pointwise.convert_op):
        places = [(a, a) for a in range(x.ndim)]
    elif e.op is shape.reshape_op:
        longer = [[a for a, n in enumerate(s) if n != 1] for s in (x.shape, e.shape)]
        sizes = [[s[a] for a in axes] for s, axes in zip((x.shape, e.shape), longer, strict=True)]
        places = list(zip(*longer, strict=True)) if sizes[0] == sizes[1] else []
    elif e.op is shape.slice_:
        places = [(a, a) for a in range(x.ndim) if x.shape[a] == e.shape[a]]
        places = [p for p in places if e.params["step"][p[0]] == 1]
    elif e.op is shape.reverse:
        places = [(a, a) for a in range(x.ndim) if a not in e.params["axes"]]
    else:
        places = []
    known = dict(places)
    own = tuple(names[known[a]] if a in known else n for a, n in enumerate(own))
    found = side.walk(x, own, dead)
    return found and _Scaling(
        found.degree, lambda r: e.op(found.rebuilt(r), *e.args[1:], **e.params)
    )


RULES: dict[Op, Callable[..., _Scaling | None]] = {
    mul: _of_product,
    div: _of_quotient,
    **dict.fromkeys((add, sub), _of_sum),
    select: _of_select,
    **dict.fromkeys((reduce_sum, reduce_max), _of_total),
    einsum_op: _of_contraction,
    square: _of_power(lambda e: 2.0),
    pointwise.integer_power_op: _of_power(lambda e: float(e.params["exponent"])),
    pointwise.sqrt: _of_power(lambda e: 0.5),
    **dict.fromkeys((neg, pointwise.abs_), _of_power(lambda e: 1.0)),
}
"""For each operation, how it scales, from how its operands do."""
