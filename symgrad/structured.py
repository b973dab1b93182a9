"""Derivatives that are mostly zeros, or products of something smaller, kept as that.

A Jacobian or Hessian that the planner knows as a sum of networks need not be written out: the
arrays on its diagonals and the factors of its outer products say it all.
"""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symgrad.errors import ArgumentValueError
from symgrad.expr import Expr, Shape
from symgrad.plan.network import Axis, Network, leaf, trimmed
from symgrad.plan.order import build
from symgrad.plan.planner import sums_of
from symgrad.plan.sharing import components
from symgrad.walk import Graph


@dataclass(frozen=True, slots=True)
class Term:
    """A product of arrays, as the subscripts of an einsum whose result may repeat an index.

    Attributes:
        operands: the indices of each array.
        out: the indices of the result; where one comes twice, entries off that diagonal are zero.
    """

    operands: tuple[tuple[int, ...], ...]
    out: tuple[int, ...]

    @property
    def diagonal(self) -> bool:
        return len(set(self.out)) < len(self.out)


@jax.tree_util.register_pytree_node_class
class StructuredArray:
    """An array as a sum of products of smaller arrays, some of them on diagonals.

    What `sg.jacobian(fun, structured=True)` and `sg.hessian(fun, structured=True)` return in place
    of each dense array. Its first axes are those of an output of `fun`, its last ones those of an
    input: as a linear operator it maps arrays shaped like the input to arrays shaped like the
    output. It is a pytree, and may be made and used inside `jax.jit`.

    Attributes:
        shape: of the dense array.
        rows: how many of the axes are those of the output.

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> H = sg.hessian(lambda x: jnp.sum(x**4), structured=True)(jnp.arange(3.0))
        >>> H
        StructuredArray(float32[3,3]: diagonal)
        >>> H @ jnp.ones(3)
        Array([ 0., 12., 48.], dtype=float32)
    """

    def __init__(self, arrays: Sequence[Any], terms: tuple[Term, ...], shape: Shape, rows: int):
        self.arrays, self.terms = tuple(arrays), terms
        self.shape, self.rows = shape, rows

    def tree_flatten(self) -> tuple[Any, Any]:
        """The arrays, and what is static, as JAX asks a pytree for them.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> H = sg.hessian(lambda x: jnp.sum(x**4), structured=True)(jnp.array([1.0, 2.0]))
            >>> len(H.tree_flatten()[0])
            1
        """
        return self.arrays, (self.terms, self.shape, self.rows)

    @classmethod
    def tree_unflatten(cls, static: Any, arrays: Any) -> StructuredArray:
        """The inverse of `tree_flatten`.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> H = sg.hessian(lambda x: jnp.sum(x**4), structured=True)(jnp.array([1.0, 2.0]))
            >>> arrays, static = H.tree_flatten()
            >>> sg.StructuredArray.tree_unflatten(static, arrays).shape
            (2, 2)
        """
        return cls(arrays, *static)

    @property
    def dtype(self) -> Any:
        """Of its entries.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> H = sg.hessian(lambda x: jnp.sum(x**4), structured=True)(jnp.array([1.0, 2.0]))
            >>> print(H.dtype)
            float32
        """
        return self.arrays[0].dtype

    @property
    def ndim(self) -> int:
        """The number of axes of the dense array.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> H = sg.hessian(lambda x: jnp.sum(x**4), structured=True)(jnp.array([1.0, 2.0]))
            >>> H.ndim
            2
        """
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays it is made of.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> H = sg.hessian(lambda x: jnp.sum(x**4), structured=True)(jnp.array([1.0, 2.0]))
            >>> H.nbytes
            8
        """
        return sum(a.nbytes for a in self.arrays)

    @property
    def T(self) -> StructuredArray:
        """The operator from outputs to inputs.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> H = sg.hessian(lambda x: jnp.sum(x**4), structured=True)(jnp.array([1.0, 2.0]))
            >>> H.T.shape
            (2, 2)
        """
        turn = lambda axes: (*axes[self.rows :], *axes[: self.rows])  # noqa: E731
        terms = tuple(Term(t.operands, turn(t.out)) for t in self.terms)
        return StructuredArray(self.arrays, terms, turn(self.shape), self.ndim - self.rows)

    def __repr__(self) -> str:
        name = np.dtype(self.dtype).name
        kinds = " + ".join(map(self._kind, self.terms))
        return f"StructuredArray({name}[{','.join(map(str, self.shape))}]: {kinds})"

    def _kind(self, term: Term) -> str:
        first, last = term.out[: self.rows], term.out[self.rows :]
        if first == last and len(set(first)) == len(first):
            return "diagonal"
        if term.diagonal:
            return "block diagonal"
        return "dense" if len(term.operands) == 1 else "outer product"

    def todense(self) -> jax.Array:
        """The array itself.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> H = sg.hessian(lambda x: jnp.sum(x**4), structured=True)(jnp.array([1.0, 2.0]))
            >>> H.todense()
            Array([[12.,  0.],
                   [ 0., 48.]], dtype=float32)
        """
        return sum((self._dense(t, a) for t, a in self._parts()), jnp.zeros(self.shape, self.dtype))

    def __matmul__(self, v: Any) -> jax.Array:
        """The product with an array shaped like the input, or several along a last axis.

        Raises:
            ArgumentValueError: `v` has neither shape.
        """
        v = jnp.asarray(v)
        wanted = self.shape[self.rows :]
        extra = v.ndim - len(wanted)
        if v.shape[: len(wanted)] != wanted or extra not in (0, 1):
            raise ArgumentValueError(
                f"an operator on arrays of shape {wanted} cannot take one of shape {v.shape}",
                fix=f"pass an array of shape {wanted}, or {(*wanted, 'k')} for several at once",
            )
        first, *rest = (self._applied(t, a, v, extra) for t, a in self._parts())
        return sum(rest, first)

    def diagonal(self) -> jax.Array:
        """The entries whose output index is their input index, shaped like the input.

        Raises:
            ArgumentValueError: outputs and inputs have different shapes.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> H = sg.hessian(lambda x: jnp.sum(x**4), structured=True)(jnp.array([1.0, 2.0]))
            >>> H.diagonal()
            Array([12., 48.], dtype=float32)
        """
        self._check_square("diagonal")
        found = [self._on_diagonal(t, a) for t, a in self._parts()]
        return sum(found[1:], found[0])

    def solve(self, b: Any) -> jax.Array:
        """x with `self @ x == b`; entry by entry, or block by block, where the structure allows it.

        Args:
            b: an array shaped like the output.

        Raises:
            ArgumentValueError: outputs and inputs have different shapes, or `b` another one.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> H = sg.hessian(lambda x: jnp.sum(x**4), structured=True)(jnp.array([1.0, 2.0]))
            >>> H.solve(jnp.array([12.0, 24.0]))
            Array([1. , 0.5], dtype=float32)
        """
        self._check_square("solve")
        b = jnp.asarray(b)
        if b.shape != self.shape[: self.rows]:
            raise ArgumentValueError(
                f"a right side of shape {b.shape} for an operator to arrays of shape "
                f"{self.shape[: self.rows]}",
                fix="pass an array shaped like the output",
            )
        if all(self._kind(t) == "diagonal" for t in self.terms):
            return b / self.diagonal()
        size = math.prod(b.shape)
        return jnp.linalg.solve(self.todense().reshape(size, size), b.reshape(size)).reshape(
            b.shape
        )

    def _check_square(self, what: str) -> None:
        if self.shape[: self.rows] != self.shape[self.rows :]:
            raise ArgumentValueError(
                f"{what} needs outputs and inputs of one shape, these are "
                f"{self.shape[: self.rows]} and {self.shape[self.rows :]}",
                fix="use .todense() for an array of any shape",
            )

    def _parts(self) -> list[tuple[Term, tuple[Any, ...]]]:
        arrays = iter(self.arrays)
        return [(t, tuple(next(arrays) for _ in t.operands)) for t in self.terms]

    def _sizes(self, term: Term) -> dict[int, int]:
        return dict(zip(term.out, self.shape, strict=True))

    def _product(self, term: Term, arrays: Sequence[Any], out: Sequence[int]) -> jax.Array:
        """The product of a term's arrays over these indices, each once; all of them are there."""
        sizes = self._sizes(term)
        present = {i for names in term.operands for i in names}
        repeated = [i for i in out if i not in present]
        ones = [jnp.ones(sizes[i], self.dtype) for i in repeated]
        return _einsum([*arrays, *ones], [*term.operands, *((i,) for i in repeated)], out)

    def _dense(self, term: Term, arrays: Sequence[Any]) -> jax.Array:
        unique = tuple(dict.fromkeys(term.out))
        core = self._product(term, arrays, unique)
        places = [term.out.index(i) for i in unique]
        whole = jax.lax.broadcast_in_dim(core, self.shape, places)
        for place, index in enumerate(term.out):
            first = term.out.index(index)
            if first != place:
                rows, columns = (
                    jax.lax.broadcasted_iota(int, self.shape, p) for p in (first, place)
                )
                whole = jnp.where(rows == columns, whole, 0)
        return whole

    def _applied(self, term: Term, arrays: Sequence[Any], v: Any, extra: int) -> jax.Array:
        rows, columns = term.out[: self.rows], term.out[self.rows :]
        if len(set(rows)) < len(rows) or len(set(columns)) < len(columns):
            axes = len(columns)
            return jnp.tensordot(self._dense(term, arrays), v, axes)
        sizes = self._sizes(term)
        present = {i for names in (*term.operands, columns) for i in names}
        missing = [i for i in rows if i not in present]
        ones = [jnp.ones(sizes[i], self.dtype) for i in missing]
        last = (
            max(term.out, default=-1) + 1 + max(map(max, filter(None, term.operands)), default=0),
        )
        several = last if extra else ()
        return _einsum(
            [*arrays, *ones, v],
            [*term.operands, *((i,) for i in missing), (*columns, *several)],
            (*rows, *several),
        )

    def _on_diagonal(self, term: Term, arrays: Sequence[Any]) -> jax.Array:
        same: dict[int, int] = {}
        rows, columns = term.out[: self.rows], term.out[self.rows :]
        for i, j in zip(rows, columns, strict=True):
            row, column = same.get(i, i), same.get(j, j)
            same = {k: row if v == column else v for k, v in same.items()} | {column: row}

        def renamed(names: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(same.get(i, i) for i in names)

        merged = Term(tuple(map(renamed, term.operands)), renamed(term.out))
        wanted = merged.out[: self.rows]
        if len(set(wanted)) == len(wanted):
            return self._product(merged, arrays, wanted)
        shape = self.shape[: self.rows]
        return StructuredArray(arrays, (Term(merged.operands, wanted),), shape, 0).todense()


def _einsum(arrays: Sequence[Any], indices: Sequence[Sequence[int]], out: Sequence[int]) -> Any:
    letters: dict[int, str] = {}
    for i in (*(i for names in indices for i in names), *out):
        letters.setdefault(i, string.ascii_letters[len(letters)])
    spell = lambda names: "".join(letters[i] for i in names)  # noqa: E731
    return jnp.einsum(f"{','.join(map(spell, indices))}->{spell(out)}", *arrays, optimize="auto")


def compressed(graph: Graph, count: int) -> tuple[Graph, list[tuple[Term, ...]]]:
    """A graph that returns, for the first `count` outputs, the arrays they are made of, and how."""
    arrays: list[Expr] = []
    layouts = []
    for output, networks in zip(graph.outputs[:count], sums_of(graph)[:count], strict=True):
        terms = []
        for together in _alike(networks or (leaf(output),)):
            term, found = _compressed(together, output)
            terms.append(term)
            arrays += found
        layouts.append(tuple(terms))
    roots = [*graph.effects, *arrays, *graph.outputs[count:]]
    return graph.with_roots(roots, graph.origins), layouts


def assembled(
    results: Sequence[Any],
    layouts: Sequence[tuple[Term, ...]],
    shapes: Sequence[Shape],
    rows: Sequence[int],
) -> list[Any]:
    """Structured arrays of what a compressed graph returns, and what it returns after them."""
    left = iter(results)
    found: list[Any] = [
        StructuredArray([next(left) for t in terms for _ in t.operands], terms, shape, r)
        for terms, shape, r in zip(layouts, shapes, rows, strict=True)
    ]
    return [*found, *left]


def _alike(networks: Sequence[Network]) -> list[list[Network]]:
    """Networks in groups that stand on the same diagonals; others alone."""
    groups: dict[object, list[Network]] = {}
    for i, network in enumerate(networks):
        pattern = tuple(network.out.index(a) for a in network.out)
        groups.setdefault(pattern if network.diagonal else i, []).append(network)
    return list(groups.values())


def _compressed(networks: Sequence[Network], output: Expr) -> tuple[Term, list[Expr]]:
    """The parts of networks on the same diagonals, built, and the indices of all."""
    (network, *others) = networks
    number: dict[Axis, int] = {a: i for i, a in enumerate(dict.fromkeys(network.out))}
    pattern = tuple(number[a] for a in network.out)
    if others:
        cores = [_core(n, tuple(dict.fromkeys(n.out)), output) for n in networks]
        return Term((tuple(number.values()),), pattern), [sum(cores[1:], cores[0])]
    parts = _parts(network)
    nodes = [
        _core(replace(p, scale=1.0 if i else network.scale), p.out, output)
        for i, p in enumerate(parts)
    ]
    return Term(tuple(tuple(number[a] for a in p.out) for p in parts), pattern), nodes


def _core(network: Network, out: tuple[Axis, ...], output: Expr) -> Expr:
    """The result of a network over some of its axes, each once."""
    shape = tuple(network.sizes[a] for a in out)
    operands = [f.operand for f in network.factors]
    return build(replace(network, out=out), operands, output.type.with_shape(shape))


def _parts(network: Network) -> list[Network]:
    """The factors of a network that are worth keeping apart: they are smaller than their product.

    There is one at least.
    """
    if not network.factors:
        return [replace(network, out=())]
    parts = [p for whole in components(network) for p in _factors(whole, network)]
    present = tuple(a for a in dict.fromkeys(network.out) if any(a in p.out for p in parts))
    if len(parts) > 1 and _entries(parts) >= math.prod(network.sizes[a] for a in present):
        return [replace(network, out=present)]
    return parts


def _factors(whole: Network, network: Network) -> list[Network]:
    """The factors of a part that sums nothing, where they are smaller than it."""
    summed = {a for f in whole.factors for a in f.axes} - set(whole.out)
    repeats = any(len(set(f.axes)) < len(f.axes) for f in whole.factors)
    truths = any(f.node.dtype != whole.factors[0].node.dtype for f in whole.factors)
    single = [trimmed(replace(whole, factors=(f,), out=f.axes, scale=1.0)) for f in whole.factors]
    if summed or repeats or truths or _entries(single) >= _entries([whole]):
        return [whole]
    return single


def _entries(networks: Sequence[Network]) -> int:
    return sum(math.prod(n.sizes[a] for a in n.out) for n in networks)
