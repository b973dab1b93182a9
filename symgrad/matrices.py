"""Facts of matrices in the last two axes, read off the graph: identity, symmetric."""

from __future__ import annotations

import functools
import itertools
import weakref
from collections.abc import Callable, Sequence

from symgrad.expr import Expr, Shape, add, literal_value, mul, sub
from symgrad.ops.assume import says
from symgrad.ops.contract import einsum_op
from symgrad.ops.inverse import inverse, through_transposes
from symgrad.ops.linalg import cholesky
from symgrad.ops.matrix import diagonal, eye, tril, triu
from symgrad.ops.pointwise import (
    abs_,
    arctan,
    convert_op,
    cos,
    cosh,
    eq,
    integer_power_op,
    select,
    sin,
    square,
    tanh,
)
from symgrad.ops.reduce import one_hot, reduce_sum
from symgrad.ops.shape import (
    broadcast,
    full,
    iota,
    kept_along,
    reshape_op,
    spread,
    transpose,
    uniform_value,
)

LARGEST_COMPARED = 400
"""Matrices that are made of more nodes are not compared with their transposes."""

EVEN = (square, abs_, cos, cosh)
ODD = (sin, tanh, arctan)

MOST_FACTORS = 5
"""Products of more factors are taken as they are written."""


def is_identity(x: Expr) -> bool:
    """Whether each matrix in the last two axes is an identity."""
    while x.op is broadcast:
        axes = x.params["axes"]
        if axes[-2:] != (x.ndim - 2, x.ndim - 1):
            return False
        (x,) = x.args
    if x.op is eye:
        return True
    if x.op is one_hot:
        return x.ndim == 2 and _counted_axis(x.args[0]) == 0 and x.shape[0] == x.shape[1]
    return x.op is convert_op and _on_diagonal(x.args[0])


def is_diagonal(x: Expr) -> bool:
    """Whether each matrix in the last two axes is zero outside of its diagonal."""
    if x.op is select and _on_diagonal(x.args[0]):
        return uniform_value(x.args[2]) == 0
    return is_identity(x) or says(x, "diagonal")


def diagonal_entries(x: Expr) -> Expr | None:
    """The diagonals, as vectors, of matrices that are zero elsewhere; None for all others."""
    scales: list[Expr] = []
    while x.op is mul:
        first, second = x.args
        x, scale = (first, second) if _may_be_diagonal(first) else (second, first)
        scales.append(scale)
    entries = _unscaled_entries(x)
    if entries is None:
        return None
    return functools.reduce(mul, [_along_diagonal(s) for s in scales], entries)


def _may_be_diagonal(x: Expr) -> bool:
    while x.op is mul:
        x = next((a for a in x.args if a.ndim and not kept_along(a, a.ndim - 1)), x.args[0])
    return _unscaled_entries(x) is not None


def _along_diagonal(x: Expr) -> Expr:
    """The diagonals of matrices; what is repeated along rows or columns is not gathered."""
    for axis in (x.ndim - 1, x.ndim - 2):
        if x.ndim and (kept := kept_along(x, axis)) is not None:
            return kept
    return diagonal(x) if x.ndim else x


def _unscaled_entries(x: Expr) -> Expr | None:
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        return None
    if is_identity(x):
        return full(1, x.type.with_shape(x.shape[:-1]))
    if x.op is select and _on_diagonal(x.args[0]) and uniform_value(x.args[2]) == 0:
        entries = _along_diagonal(x.args[1])
        return entries if entries.ndim else spread(entries, x.shape[:-1])
    return diagonal(x) if says(x, "diagonal") else None


def is_definite(x: Expr) -> bool:
    """Whether each matrix is symmetric and positive definite, as far as was said.

    A sum of squares is so in exact arithmetic only: a matrix that is nearly singular may lose
    it to rounding, and has no Cholesky factor then.
    """
    return says(x, "positive_definite")


def triangle(x: Expr) -> str | None:
    """`"lower"` or `"upper"` of triangular matrices."""
    if x.op in (tril, triu):
        inside = x.params["offset"] <= 0 if x.op is tril else x.params["offset"] >= 0
        return ("lower" if x.op is tril else "upper") if inside else None
    if x.op is cholesky or says(x, "lower_triangular"):
        return "lower"
    return "upper" if says(x, "upper_triangular") else None


def is_orthogonal(x: Expr) -> bool:
    """Whether the transpose of each matrix is its inverse, as far as was said."""
    return says(x, "orthogonal")


def _on_diagonal(mask: Expr) -> bool:
    """Whether a mask is true on the diagonals of square matrices, false elsewhere."""
    if mask.op is broadcast and mask.params["axes"] == (mask.ndim - 2, mask.ndim - 1):
        (mask,) = mask.args
    if mask.op is not eq or mask.ndim < 2 or mask.shape[-1] != mask.shape[-2]:
        return False
    return {_counted_axis(a) for a in mask.args} == {mask.ndim - 2, mask.ndim - 1}


def _counted_axis(x: Expr) -> int | None:
    """The axis along which an array counts 0, 1, 2, ..., constant along all others."""
    if x.op is add:
        left = [a for a in x.args if literal_value(a) != 0]
        x = left[0] if len(left) == 1 else x
    if x.op is iota:
        return x.params["axis"]
    if x.op is not broadcast or x.args[0].op is not iota:
        return None
    axis = x.params["axes"][x.args[0].params["axis"]]
    return axis if x.args[0].shape[x.args[0].params["axis"]] == x.shape[axis] else None


def as_vector(x: Expr) -> Expr | None:
    """The array that `x` has as its only column."""
    if x.op not in (broadcast, reshape_op) or x.ndim < 2 or x.shape[-1] != 1:
        return None
    (vector,) = x.args
    repeated = x.op is broadcast and x.params["axes"] != tuple(range(x.ndim - 1))
    return vector if vector.shape == x.shape[:-1] and not repeated else None


_symmetric: weakref.WeakKeyDictionary[Expr, bool] = weakref.WeakKeyDictionary()


def is_symmetric(x: Expr) -> bool:
    """Whether exchanging the last two axes gives the same expression."""
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        return False
    if x not in _symmetric:
        front = tuple(range(x.ndim - 2))
        table = _Exchanged()
        as_it_is = table.of(x, (*front, x.ndim - 2, x.ndim - 1))
        exchanged = table.of(x, (*front, x.ndim - 1, x.ndim - 2))
        _symmetric[x] = as_it_is is not None and as_it_is is exchanged
    return _symmetric[x]


Axes = tuple[int, ...]
_View = tuple[Expr, Axes]
"""An array with its axes in another order."""


class _Exchanged:
    """Views as nodes in a normal form: axes are reordered at the leaves.

    Operands of what is commutative are sorted, so that equal expressions are one node.
    """

    def __init__(self) -> None:
        self.known: dict[_View, Expr] = {}

    def of(self, x: Expr, order: Axes) -> Expr | None:
        """None if there is too much to look at."""
        stack = [(x, order)]
        while stack:
            view = stack[-1]
            if len(self.known) > LARGEST_COMPARED:
                return None
            below, build = _parts(*view)
            waiting = [v for v in below if v not in self.known]
            if waiting:
                stack.extend(waiting)
                continue
            self.known[stack.pop()] = build([self.known[v] for v in below])
        return self.known[x, order]


_Parts = tuple[Sequence[_View], Callable[[Sequence[Expr]], Expr]]


def _parts(x: Expr, order: Axes) -> _Parts:
    """The views that a view is made of, and how."""
    natural = tuple(range(x.ndim))
    if _is_own_transpose(x) and order[:-2] == natural[:-2]:
        return (), lambda _: x
    if x.op.elementwise and x.args:
        below = [(a, order if a.ndim else ()) for a in x.args]
        return below, lambda args: _elementwise(x, args)
    if x.op is transpose:
        inner = tuple(x.params["permutation"][i] for i in order)
        return [(x.args[0], inner)], lambda args: args[0]
    if x.op is broadcast:
        return _broadcast_parts(x, order)
    if x.op is iota:
        shape = _permuted(x.shape, order)
        axis = order.index(x.params["axis"])
        return (), lambda _: iota(**{**x.params, "shape": shape, "axis": axis})
    if x.op is reduce_sum:
        axes = x.params["axes"]
        kept = [i for i in range(x.args[0].ndim) if i not in axes]
        inner = (*(kept[i] for i in order), *sorted(axes))
        last = tuple(range(x.ndim, len(inner)))
        return [(x.args[0], inner)], lambda args: reduce_sum(args[0], axes=last)
    if x.op is einsum_op:
        return _product_parts(x, order)
    if x.op is inverse and order[:-2] == natural[:-2]:
        return [(x.args[0], order)], lambda args: inverse(args[0], **x.params)
    return (), lambda _: x if order == natural else transpose(x, permutation=order)


def _is_own_transpose(x: Expr) -> bool:
    return is_diagonal(x) or says(x, "symmetric", "positive_definite")


def _permuted(shape: Shape, order: Axes) -> Shape:
    return tuple(shape[i] for i in order)


def _elementwise(x: Expr, args: Sequence[Expr]) -> Expr:
    if x.op.commutative:
        args = sorted(args, key=id)
    if x.op in EVEN or (x.op is integer_power_op and x.params["exponent"] % 2 == 0):
        args = [_up_to_sign(args[0])]
    return x.op(*args, **x.params)


def _up_to_sign(x: Expr) -> Expr:
    """A difference, or an odd function of one, with its terms in order."""
    if x.op is sub:
        return sub(*sorted(x.args, key=id))
    if x.op in ODD and x.args[0].op is sub:
        return x.op(sub(*sorted(x.args[0].args, key=id)))
    return x


def _broadcast_parts(x: Expr, order: Axes) -> _Parts:
    (operand,), axes = x.args, x.params["axes"]
    places = [order.index(a) for a in axes]
    inner = tuple(sorted(range(operand.ndim), key=places.__getitem__))
    shape, new = _permuted(x.shape, order), tuple(sorted(places))
    return [(operand, inner)], lambda args: broadcast(args[0], shape=shape, axes=new)


def _product_parts(x: Expr, order: Axes) -> _Parts:
    """Factors in an order that does not depend on how they were written."""
    factors = _factors(x)
    out = tuple(x.params["out"][i] for i in order)
    below = [(a, tuple(range(a.ndim))) for a, _ in factors]

    def build(args: Sequence[Expr]) -> Expr:
        named = [(a, names) for a, (_, names) in zip(args, factors, strict=True)]
        ways = (_numbered(way, out) for way in itertools.permutations(named))
        nodes, indices, result = min(ways, key=lambda w: (tuple(map(id, w[0])), w[1:]))
        return einsum_op(*nodes, **{**x.params, "indices": indices, "out": result})

    return below, build


def _factors(product: Expr) -> list[tuple[Expr, Axes]]:
    """The factors of a product, with those that were multiplied into them entry by entry."""
    given = list(zip(product.args, product.params["indices"], strict=True))
    found: list[tuple[Expr, Axes]] = []
    while given:
        x, names = through_transposes(*given.pop())
        if x.op is mul and len(given) + len(found) + 2 <= MOST_FACTORS:
            given += [(a, names if a.ndim else ()) for a in x.args]
        elif x.op is broadcast and _named_elsewhere(x, names, given + found):
            given.append((x.args[0], tuple(names[i] for i in x.params["axes"])))
        else:
            found.append((x, names))
    return found


def _named_elsewhere(x: Expr, names: Axes, others: Sequence[tuple[Expr, Axes]]) -> bool:
    """Whether other factors have the axes along which an array is repeated."""
    repeated = {i for k, i in enumerate(names) if k not in x.params["axes"]}
    return repeated <= {i for _, own in others for i in own}


def _numbered(
    factors: Sequence[tuple[Expr, Axes]], out: Axes
) -> tuple[tuple[Expr, ...], tuple[Axes, ...], Axes]:
    number: dict[int, int] = {}
    for _, names in factors:
        for i in names:
            number.setdefault(i, len(number))
    indices = tuple(tuple(number[i] for i in names) for _, names in factors)
    return tuple(a for a, _ in factors), indices, tuple(number[i] for i in out)
