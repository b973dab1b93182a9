"""Sums of products as factors whose axes have names, however they were repeated or contracted.

Two sums over different axes of different arrays are compared by these names alone: what stands
along an axis of the result has the number of that axis, what is summed over has one beyond.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from symgrad.expr import Expr, Shape, mul
from symgrad.laws.terms import LONGEST, number, power_of, product, scaled
from symgrad.ops.contract import einsum, einsum_op
from symgrad.ops.shape import broadcast, reduce_sum, reshape_op, transpose

Names = tuple[int, ...]


class Factor(NamedTuple):
    """An array and the names of its axes."""

    array: Expr
    names: Names

    def renamed(self, names: Mapping[int, int]) -> Factor:
        return Factor(self.array, tuple(names.get(n, n) for n in self.names))


@dataclass(slots=True)
class Contraction:
    """coefficient * Σ of a product over the names that the result does not have.

    Attributes:
        rank: of the result; its axes have the names below.
        largest: the size of the largest array that the product is written with.
        einsum: whether it is written as one, which has a precision of its own.
        deeper: whether factors are sums that were not opened.
    """

    coefficient: float
    rank: int
    factors: list[Factor] = field(default_factory=list)
    sizes: dict[int, int] = field(default_factory=dict)
    largest: int = 0
    einsum: bool = False
    precision: Any = None
    deeper: bool = False

    @property
    def summed(self) -> Names:
        return tuple(n for n in used(self.factors) if n >= self.rank)

    def renamed(self, names: Mapping[int, int]) -> Counter[Factor]:
        return Counter(f.renamed(names) for f in self.factors)


def used(factors: Iterable[Factor]) -> Names:
    """The names of factors, those of the result first."""
    return tuple(sorted({n for f in factors for n in f.names}))


def contraction(coefficient: float, e: Expr, shape: Shape, depth: int) -> Contraction | None:
    """A number times `e` as a contraction; sums inside `depth` others are factors of it.

    Args:
        shape: of the sum that it is a term of; `e` has it or is a scalar.
    """
    found = Contraction(coefficient, len(shape), sizes=dict(enumerate(shape)))
    stack = [(e, tuple(range(e.ndim)), depth)]
    while stack:
        node, names, deep = stack.pop()
        coefficient, node = scaled(node)
        found.coefficient *= coefficient
        value = number(node)
        if value is not None:
            found.coefficient *= value
            continue
        # A number beside an array may have been what gave a scalar its shape.
        parts = _opened(found, node, names if node.ndim else (), deep)
        if parts is None:
            found.factors.append(Factor(node, names if node.ndim else ()))
        else:
            found.largest = max(found.largest, node.type.size)
            stack += reversed(parts)
        if len(found.factors) + len(stack) > LONGEST:
            return None
    if any(f.array.dtype != e.dtype or len(set(f.names)) < f.array.ndim for f in found.factors):
        return None
    # What is the same in all summands counts as often as there are any.
    summed = set(found.sizes).difference(range(len(shape)), found.summed)
    found.coefficient *= math.prod(found.sizes[n] for n in summed)
    return found if found.coefficient else None


_Part = tuple[Expr, Names, int]


def _opened(found: Contraction, e: Expr, names: Names, depth: int) -> list[_Part] | None:
    """What `e` is the product, the repetition or the sum of; None if it is none of these."""
    if e.op is mul:
        return [(x, names, depth) for x in e.args]
    if (power := power_of(e)) is not None and power[1] <= LONGEST:
        return [(power[0], names, depth)] * power[1]
    if e.op is reduce_sum:
        if not depth:
            found.deeper = True
            return None
        fresh = iter(_fresh(found, (e.args[0].shape[a] for a in e.params["axes"])))
        kept, summed = iter(names), e.params["axes"]
        inner = tuple(next(fresh if a in summed else kept) for a in range(e.args[0].ndim))
        return [(e.args[0], inner, depth - 1)]
    if e.op is einsum_op:
        return _opened_einsum(found, e, names, depth)
    inner = _moved(e, names)
    return None if inner is None else [(e.args[0], inner, depth)]


def _fresh(found: Contraction, sizes: Iterable[int]) -> list[int]:
    start = len(found.sizes)
    found.sizes.update(enumerate(sizes, start))
    return list(range(start, len(found.sizes)))


def _opened_einsum(found: Contraction, e: Expr, names: Names, depth: int) -> list[_Part] | None:
    p = e.params
    if any(x.dtype != e.dtype for x in e.args):
        return None
    if any(len(set(own)) < len(own) for own in (*p["indices"], p["out"])):
        return None
    sizes = {
        i: n
        for x, own in zip(e.args, p["indices"], strict=True)
        for i, n in zip(own, x.shape, strict=True)
    }
    summed = [i for i in sizes if i not in p["out"]]
    if summed and not depth:
        found.deeper = True
        return None
    if summed:
        found.einsum, found.precision = True, p["precision"]
    known = dict(zip(p["out"], names, strict=True))
    known |= dict(zip(summed, _fresh(found, (sizes[i] for i in summed)), strict=True))
    deeper = depth - bool(summed)
    return [
        (x, tuple(known[i] for i in own), deeper)
        for x, own in zip(e.args, p["indices"], strict=True)
    ]


def _moved(e: Expr, names: Names) -> Names | None:
    """The names of the operand's axes, where `e` is its entries in other places."""
    if e.op is transpose:
        place = e.params["permutation"]
        return tuple(names[place.index(a)] for a in range(e.ndim))
    x = e.args[0] if e.args else e
    if e.op is broadcast and x.shape == tuple(e.shape[a] for a in e.params["axes"]):
        return tuple(names[a] for a in e.params["axes"])
    if e.op is reshape_op and x.shape == tuple(n for n in e.shape if n != 1):
        return tuple(name for name, n in zip(names, e.shape, strict=True) if n != 1)
    return None


def renamings(
    names: Names, others: Names, sizes: Mapping[int, int], other_sizes: Mapping[int, int]
) -> Iterator[dict[int, int]]:
    """All ways to call names by other names of the same size."""
    choices = [[m for m in others if other_sizes[m] == sizes[n]] for n in names]
    for chosen in itertools.product(*choices):
        yield dict(zip(names, chosen, strict=True))


def placed(x: Factor, names: Names, sizes: Mapping[int, int]) -> Expr:
    """An array with axes of the given names, repeated along those that it does not have."""
    order = tuple(sorted(range(len(x.names)), key=lambda a: names.index(x.names[a])))
    array = x.array
    if order != tuple(range(array.ndim)):
        array = transpose(array, permutation=order)
    axes = tuple(names.index(x.names[a]) for a in order)
    shape = tuple(sizes[n] for n in names)
    return array if len(axes) == len(names) else broadcast(array, shape=shape, axes=axes)


def multiplied(factors: Sequence[Factor], sizes: Mapping[int, int]) -> Factor:
    """The product of factors, with all their names."""
    names = used(factors)
    return Factor(product([placed(f, names, sizes) for f in factors]), names)


def added_up(factors: Sequence[Factor], like: Contraction) -> Factor:
    """The product of factors, summed over the names that the result of `like` does not have."""
    names = used(factors)
    out = tuple(n for n in names if n < like.rank)
    if like.einsum and len(out) < len(names):
        arrays, indices = zip(*factors, strict=True)
        return Factor(einsum(*arrays, indices=indices, out=out, precision=like.precision), out)
    axes = tuple(range(len(out), len(names)))
    whole = multiplied(factors, like.sizes).array
    return Factor(reduce_sum(whole, axes=axes) if axes else whole, out)
