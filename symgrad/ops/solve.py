"""Solutions of linear equations. Both modes solve with the operator of the forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgrad.derive import Slot, instantiate, pullback, pushforward
from symgrad.errors import MissingTransposeError, ShapeError
from symgrad.expr import Custom, Expr, LocalFunction, Op, Type, Types, constant, fresh, results
from symgrad.ops.bodies import (
    as_given,
    as_tuple,
    as_types,
    fresh_slots,
    graph_flops,
    group_source,
    numbers,
)
from symgrad.ops.indexing import call_source
from symgrad.ops.loops import while_
from symgrad.ops.matrix import conjugate, product, transposed, tril, triu
from symgrad.ops.shape import pad, reduce_sum, slice_
from symgrad.walk import Graph, substitute, topological

# Triangular and tridiagonal matrices


def _triangular_type(
    a: Type, b: Type, *, left: bool, lower: bool, transpose: bool, conjugate: bool, unit: bool
) -> Type:
    common = b.shape[-2] if left else b.shape[-1]
    if a.shape[-1] != a.shape[-2] or a.shape[-1] != common or a.shape[:-2] != b.shape[:-2]:
        raise ShapeError(f"{a.shape} and {b.shape} are no matrix and right-hand sides")
    return b


def _triangular_pull(g: Expr, x: Expr, a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """For op(A) X = B: B̄ = op(A)⁻ᵀ X̄ and the cotangent of op(A) is -B̄ Xᵀ (Giles 2008, 2.3.1)."""
    p = x.params
    back = triangular_op(a, g, **{**p, "transpose": not p["transpose"]})
    if p["left"]:
        pair = (x, back) if p["transpose"] else (back, x)
        outer = product(pair[0], transposed(pair[1]))
    else:
        pair = (back, x) if p["transpose"] else (x, back)
        outer = product(transposed(pair[0]), pair[1])
    outer = conjugate(outer) if p["conjugate"] else outer
    skipped = int(p["unit"])
    triangle = tril(outer, offset=-skipped) if p["lower"] else triu(outer, offset=skipped)
    return -triangle, back


TRIANGULAR = {
    "left": "left_side",
    "lower": "lower",
    "transpose": "transpose_a",
    "conjugate": "conjugate_a",
    "unit": "unit_diagonal",
}
"""Parameters of a triangular solve, and how JAX calls them; all are False there without them."""


def _triangular_source(e: Expr) -> str:
    options = [f"{name}=True" for own, name in TRIANGULAR.items() if e.params[own]]
    return call_source("lax.linalg.triangular_solve(x, y", options)


triangular_op = Op(
    "triangular_solve",
    _triangular_type,
    _triangular_source,
    Custom(pullback=_triangular_pull),
    params=tuple(TRIANGULAR),
    flops=lambda e: e.args[0].shape[-1] * e.type.size,
)


def triangular_solve(
    a: Expr,
    b: Expr,
    *,
    left: bool,
    lower: bool,
    transpose: bool = False,
    conjugate: bool = False,
    unit: bool = False,
) -> Expr:
    """op(A)⁻¹ B, or B op(A)⁻¹ unless `left`; of A only one triangle is read."""
    conjugate = conjugate and np.issubdtype(a.dtype, np.complexfloating)
    return triangular_op(
        a, b, left=left, lower=lower, transpose=transpose, conjugate=conjugate, unit=unit
    )


def _shifted(x: Expr, by: int) -> Expr:
    """The entries of each vector moved up (`by=1`) or down, with a zero moved in."""
    front = (0,) * (x.ndim - 1)
    low, high = (*front, by), (*front, -by)
    return pad(x, constant(0, x.dtype), low=low, high=high, interior=(0,) * x.ndim)


def _tridiagonal_pull(
    g: Expr, x: Expr, below: Expr, diagonal: Expr, above: Expr, b: Expr
) -> tuple[Expr, ...]:
    """B̄ = A⁻ᵀ X̄, and the cotangent of A is -B̄ Xᵀ on its three diagonals."""
    back = tridiagonal_solve(_shifted(above, 1), diagonal, _shifted(below, -1), g, **x.params)

    def along(rows: slice, columns: slice) -> Expr:
        return -reduce_sum(_rows(back, rows) * _rows(x, columns), axes=(x.ndim - 1,))

    rest, start = slice(1, None), slice(None, -1)
    first, last = ((0,) * (diagonal.ndim - 1) + (i,) for i in (1, 0))
    zero, inner = constant(0, x.dtype), (0,) * diagonal.ndim
    return (
        pad(along(rest, start), zero, low=first, high=last, interior=inner),
        along(slice(None), slice(None)),
        pad(along(start, rest), zero, low=last, high=first, interior=inner),
        back,
    )


def _rows(x: Expr, rows: slice) -> Expr:
    start, stop, _ = rows.indices(x.shape[-2])
    front, last = x.shape[:-2], x.shape[-1]
    return slice_(
        x,
        start=(*(0 for _ in front), min(start, stop), 0),
        stop=(*front, stop, last),
        step=(1,) * x.ndim,
    )


tridiagonal_solve = Op(
    "tridiagonal_solve",
    lambda below, diagonal, above, b, *, perturb_singular: b,
    lambda e: call_source(
        "lax.linalg.tridiagonal_solve(*xs",
        ["perturb_singular=True"] if e.params["perturb_singular"] else [],
    ),
    Custom(pullback=_tridiagonal_pull),
    params=("perturb_singular",),
    flops=lambda e: 8 * e.type.size,
)
"""As `jax.lax.linalg.tridiagonal_solve`: diagonal below, diagonal, diagonal above, right sides."""


# Operators given as functions


def _linear_solve_type(*operands: Type, solve: Graph, **others: Any) -> Types:
    return as_types([o.type for o in solve.outputs])


PARTS = ("matvec", "vecmat", "solve", "transpose_solve")
"""The functions of a linear solve; the operands they close over come in this order."""


def _closed(e: Expr) -> dict[str, tuple[Expr, ...]]:
    """The operands that each function closes over."""
    found, start = {}, 0
    for name, count in zip(PARTS, e.params["counts"], strict=True):
        found[name] = e.args[start : start + count]
        start += count
    return found


def _moved(e: Expr, tangents: Sequence[Slot], x: Sequence[Expr]) -> list[Slot]:
    """A' x: what the operator becomes when the values it closes over move."""
    matvec, count = e.params["matvec"], e.params["counts"][0]
    inputs = matvec.inputs[:count]
    inside = fresh_slots(tangents, inputs)
    pushed = pushforward(matvec.outputs, inputs, inside, matvec.origins)
    outer = dict(zip(matvec.inputs, (*e.args[:count], *x), strict=True))
    outer |= {
        i: t for i, t in zip(inside, tangents, strict=True) if i is not None and t is not None
    }
    return _outside(pushed, outer)


def _outside(slots: Sequence[Slot], outer: dict[Expr, Expr]) -> list[Slot]:
    """Slots of a body with operands in place of its inputs."""
    found = iter(substitute([s for s in slots if s is not None], outer))
    return [None if s is None else next(found) for s in slots]


def _linear_solve_push(tangents: tuple[Slot, ...], ans: Expr, *args: Expr) -> Any:
    """A x = b gives x' = A⁻¹ (b' - A' x)."""
    p, total = ans.params, sum(ans.params["counts"])
    size = len(args) - total
    of_matvec = tangents[: p["counts"][0]]
    moved: Sequence[Slot] = [None] * size
    if any(t is not None for t in of_matvec):
        moved = _moved(ans, of_matvec, results(ans)[:size])
    right = [_difference(t, m) for t, m in zip(tangents[total:], moved, strict=True)]
    if all(r is None for r in right):
        return as_given([None] * len(ans.types))
    given = [instantiate(r, b) for r, b in zip(right, args[total:], strict=True)]
    found = results(linear_solve(*args[:total], *given, **p))[:size]
    return as_given([*found, *(None for _ in ans.types[size:])])


def _difference(x: Slot, y: Slot) -> Slot:
    if y is None:
        return x
    return -y if x is None else x - y


def _linear_solve_pull(given: Any, ans: Expr, *args: Expr) -> tuple[Slot, ...]:
    """b̄ = A⁻ᵀ x̄, and what the operator closes over gets the cotangent of -b̄ᵀ A x."""
    p, closed = ans.params, _closed(ans)
    if p["transpose_solve"] is None:
        raise MissingTransposeError(
            "reverse-mode differentiation of custom_linear_solve needs transpose_solve",
            fix="pass transpose_solve=, or symmetric=True if the operator is",
        )
    total = sum(p["counts"])
    size = len(args) - total
    seeds = [instantiate(g, b) for g, b in zip(as_tuple(given)[:size], args[total:], strict=True)]
    order = ("vecmat", "matvec", "transpose_solve", "solve")
    swapped = dict(zip(PARTS, (p[name] for name in order), strict=True))
    counts = tuple(len(closed[name]) for name in order)
    operands = sum((closed[name] for name in order), ())
    back = results(linear_solve(*operands, *seeds, **swapped, counts=counts))[:size]
    matvec, count = p["matvec"], p["counts"][0]
    inside = [fresh(o.type) for o in matvec.outputs]
    pulled = pullback(matvec.outputs, inside, matvec.inputs[:count], matvec.origins)
    outer = dict(zip(matvec.inputs, (*args[:count], *results(ans)[:size]), strict=True))
    outer |= {i: -b for i, b in zip(inside, back, strict=True)}
    return (*_outside(pulled, outer), *(None for _ in args[count:total]), *back)


def _linear_solve_functions(e: Expr) -> tuple[LocalFunction, ...]:
    """`solve` is the last: its results are those of the operation."""
    closed, size = _closed(e), len(e.args) - sum(e.params["counts"])
    found = []
    for name in ("matvec", "transpose_solve", "solve"):
        graph = e.params[name]
        if graph is None:
            continue
        first = len(closed[name])
        solution, more = numbers(0, size), numbers(size, len(graph.outputs) - size)
        returned = (solution, more) if more else solution if size == 1 else (solution,)
        found.append(LocalFunction(name, graph, closed[name], (numbers(first, size),), returned))
    return tuple(found)


def _linear_solve_source(e: Expr) -> str:
    total = sum(e.params["counts"])
    size = len(e.args) - total
    options = ["lambda _, b: {solve}(b)"]
    if e.params["transpose_solve"] is not None:
        options.append("lambda _, b: {transpose_solve}(b)")
    if len(e.types) > size:
        options.append("has_aux=True")
    return call_source(f"lax.custom_linear_solve({{matvec}}, {group_source(total, size)}", options)


linear_solve = Op(
    "linear_solve",
    _linear_solve_type,
    _linear_solve_source,
    Custom(pullback=_linear_solve_pull, pushforward=_linear_solve_push),
    params=(*PARTS, "counts"),
    flops=lambda e: graph_flops(e.params["solve"]),
    functions=_linear_solve_functions,
)
"""As `jax.lax.custom_linear_solve`; operands are what the functions close over, and b."""


def is_direct(e: Expr) -> bool:
    """Whether a linear solve has no loop of unknown length, so that JAX could transpose it."""
    return not any(_iterates(g) for g in (e.params["solve"], e.params["transpose_solve"]) if g)


def _iterates(graph: Graph) -> bool:
    return any(
        node.op is while_
        or any(_iterates(f.graph) for f in (node.op.functions(node) if node.op.functions else ()))
        for node in topological(graph.outputs)
    )


def direct_solution(e: Expr) -> tuple[Expr, ...]:
    """The results of a linear solve as its function `solve` computes them."""
    right = e.args[sum(e.params["counts"]) :]
    return e.params["solve"](*_closed(e)["solve"], *right)
