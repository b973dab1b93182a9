"""What several products have in common: a factor of a sum, a pair of factors within one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from symgrad.expr import Expr, Type
from symgrad.ops.inverse import inverse
from symgrad.plan.network import ANY, Axis, Factor, Network, Sum, trimmed
from symgrad.plan.order import build

LARGEST_SEARCHED = 10
"""Products of more factors are not searched for what they have in common."""


Rank = Callable[[Expr], int]
"""A number for every node, the same in every run."""


def collected(terms: Sum, rank: Rank) -> Sum:
    """Terms that are the same product, added up."""
    if len(terms) < 2:
        return terms
    found: dict[object, Network] = {}
    for term in terms:
        key = _canonical(term, rank)
        same = found.get(key)
        found[key] = term if same is None else replace(same, scale=same.scale + term.scale)
    return tuple(found.values()) if len(found) < len(terms) else terms


def _canonical(network: Network, rank: Rank) -> object:
    """A key that equal products share, whatever their axes are called.

    Axes are numbered from the result inwards, so that products in a chain have one key.
    """
    number: dict[Axis, int] = {}
    for a in network.out:
        number.setdefault(a, len(number))
    places = []
    left = list(network.factors)
    while left:
        unknown = len(number)
        factor = min(
            left,
            key=lambda f: ([number.get(a, unknown) for a in f.axes], rank(f.node)),
        )
        left.remove(factor)
        own = tuple(number.setdefault(a, len(number)) for a in factor.axes)
        places.append((factor.node, factor.window, own))
    out = tuple(number[a] for a in network.out)
    return out, tuple(places), tuple(network.sizes[a] for a in network.out), network.precision


def common_factors(terms: Sum) -> Iterator[tuple[int, int, Network]]:
    """A B + A C = A (B + C): pairs of terms, and the one that takes their place."""
    for (i, x), (j, y) in itertools.combinations(enumerate(terms), 2):
        if max(len(x.factors), len(y.factors)) > LARGEST_SEARCHED or not _agree(x, y):
            continue
        for a, b in itertools.product(range(len(x.factors)), range(len(y.factors))):
            found = _factored(x, a, y, b)
            if found is not None:
                yield i, j, found


def _agree(x: Network, y: Network) -> bool:
    return ANY in (x.precision, y.precision) or x.precision == y.precision


def _factored(x: Network, a: int, y: Network, b: int) -> Network | None:
    """x + y with factor `a` of x, which is factor `b` of y, taken out of both."""
    common, other = x.factors[a], y.factors[b]
    if common.node is not other.node or common.window != other.window or x.diagonal or y.diagonal:
        return None
    names: dict[Axis, Axis] = {}
    for mine, theirs in ((x.out, y.out), (common.axes, other.axes)):
        for m, t in zip(mine, theirs, strict=True):
            if names.setdefault(t, m) != m:
                return None
    if len(set(names.values())) < len(names):
        return None
    axes = set(common.axes)
    rests = [_without(x, a), _without(y, b)]
    if any(len(r.factors) == 1 and r.factors[0].node.op is inverse for r in rests):
        # A sum would need the inverse itself, a product only a solution.
        return None
    open_axes = [
        (
            {names[t] for f in r.factors for t in f.axes if t in names}
            if k
            else {t for f in r.factors for t in f.axes}
        )
        & (axes | set(x.out))
        for k, r in enumerate(rests)
    ]
    if open_axes[0] != open_axes[1] or not open_axes[0]:
        return None
    out = tuple(sorted(open_axes[0]))
    back = {m: t for t, m in names.items()}
    if any(m not in back for m in out):
        return None
    first = replace(rests[0], out=out)
    second = replace(rests[1], out=tuple(back[m] for m in out))
    total = _node(first) + _node(second)
    factors = (common, Factor(total, out))
    precision = y.precision if x.precision is ANY else x.precision
    return trimmed(replace(x, factors=factors, scale=1.0, precision=precision))


def _without(network: Network, number: int) -> Network:
    factors = network.factors
    return replace(network, factors=(*factors[:number], *factors[number + 1 :]))


def _node(network: Network) -> Expr:
    """A network over nodes as they were written, built."""
    shape = tuple(network.sizes[a] for a in network.out)
    type = Type(shape, network.dtype)
    return build(network, [f.operand for f in network.factors], type)


def repeated_pairs(
    network: Network, known: Callable[[Expr], bool], rank: Rank
) -> Iterator[Network]:
    """(A B)ᵀ (A B) from Bᵀ Aᵀ A B: pairs of factors with the same product, computed once.

    Args:
        known: whether a product is computed anyway.
    """
    factors = network.factors
    if not 3 <= len(factors) <= LARGEST_SEARCHED:
        return
    pairs: dict[object, list[_Pair]] = {}
    for i, j in itertools.permutations(range(len(factors)), 2):
        pair = _pair(network, i, j, rank)
        if pair is not None:
            pairs.setdefault(pair.signature, []).append(pair)
    for same in pairs.values():
        apart = _disjoint(same)
        found = [_turned(network, apart, turn) for turn in (False, True)]
        there = [(node, turned) for node, turned in found if known(node)]
        if there or len(apart) > 1:
            node, turned = there[0] if there else found[0]
            yield _shared(network, turned, node)


def _disjoint(pairs: Sequence[_Pair]) -> list[_Pair]:
    """The first pairs that have no factor in common."""
    found: list[_Pair] = []
    taken: set[int] = set()
    for p in pairs:
        if taken.isdisjoint((p.first, p.second)):
            found.append(p)
            taken |= {p.first, p.second}
    return found


def _turned(network: Network, pairs: list[_Pair], turn: bool) -> tuple[Expr, list[_Pair]]:
    """The product of a pair, or its transpose, and the pairs with their axes in that order."""
    if turn:
        pairs = [replace(p, open_axes=p.open_axes[::-1]) for p in pairs]
    first = pairs[0]
    taken = (network.factors[first.first], network.factors[first.second])
    pair = replace(network, factors=taken, out=first.open_axes, scale=1.0)
    return _node(trimmed(pair)), pairs


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two factors that are contracted: their positions, what they are, the axes that stay."""

    first: int
    second: int
    signature: object
    open_axes: tuple[Axis, ...]
    summed: frozenset[Axis]


def _pair(network: Network, i: int, j: int, rank: Rank) -> _Pair | None:
    x, y = network.factors[i], network.factors[j]
    if rank(x.node) > rank(y.node):
        return None
    outside = set(network.out).union(
        *(f.axes for k, f in enumerate(network.factors) if k not in (i, j))
    )
    shared = set(x.axes) & set(y.axes)
    summed = shared - outside
    if not summed or len(set(x.axes)) < len(x.axes) or len(set(y.axes)) < len(y.axes):
        return None
    number: dict[Axis, int] = {}
    places = tuple(number.setdefault(a, len(number)) for a in (*x.axes, *y.axes))
    kept = tuple(a for a in number if a not in summed)
    which = tuple(number[a] for a in kept)
    windows = (x.window, y.window)
    return _Pair(i, j, (x.node, y.node, windows, places, which), kept, frozenset(summed))


def _shared(network: Network, pairs: Sequence[_Pair], node: Expr) -> Network:
    gone = {k for p in pairs for k in (p.first, p.second)}
    rest = tuple(f for k, f in enumerate(network.factors) if k not in gone)
    factors = (*rest, *(Factor(node, p.open_axes) for p in pairs))
    return trimmed(replace(network, factors=factors))


def with_core(network: Network) -> Network:
    """A diagonal array with what stands on its diagonals as one factor."""
    if not network.diagonal or len(network.factors) < 2:
        return network
    out = tuple(dict.fromkeys(network.out))
    if not all(any(a in f.axes for f in network.factors) for a in out):
        out = tuple(a for a in out if any(a in f.axes for f in network.factors))
    core = replace(network, out=out, scale=1.0)
    return trimmed(replace(network, factors=(Factor(_node(trimmed(core)), out),)))


def components(network: Network) -> list[Network]:
    """The parts of a product that have no axis in common; numbers are a part of their own."""
    groups: list[tuple[set[Axis], list[Factor]]] = []
    for factor in network.factors:
        axes, members = set(factor.axes), [factor]
        joined = [g for g in groups if not g[0].isdisjoint(axes) or not (g[0] or axes)]
        for group in joined:
            groups.remove(group)
            axes |= group[0]
            members = [*group[1], *members]
        groups.append((axes, members))
    return [_part(network, axes, members) for axes, members in groups]


def outer_parts(terms: Sum) -> Network | None:
    """u vᵀ of a product that falls into parts, if these are smaller than it is."""
    (term, *others) = terms
    if others or term.diagonal or len(term.factors) < 2:
        return None
    groups = components(term)
    parts = [p for p in groups if p.out]
    entries = sum(math.prod(term.sizes[a] for a in p.out) for p in parts)
    if len(parts) < 2 or entries >= math.prod(term.sizes[a] for a in term.out):
        return None
    numbers = tuple(f for p in groups if not p.out for f in p.factors)
    factors = tuple(Factor(_node(p), p.out) for p in parts)
    return trimmed(replace(term, factors=(*numbers, *factors)))


def _part(term: Network, axes: set[Axis], members: list[Factor]) -> Network:
    out = tuple(dict.fromkeys(a for a in term.out if a in axes))
    return trimmed(replace(term, factors=tuple(members), out=out, scale=1.0))
