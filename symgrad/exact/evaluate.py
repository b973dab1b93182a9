"""The value of a graph to any number of digits, node by node."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from symgrad.errors import NoExactValueError
from symgrad.exact.arrays import ARRAYS, elementwise
from symgrad.exact.factors import FACTORS
from symgrad.exact.indexing import INDEXED
from symgrad.exact.numbers import context, numbers
from symgrad.exact.scalars import VALUES
from symgrad.expr import Expr, Op
from symgrad.ops import branch, calls, checkpoint, loops, solve
from symgrad.ops.limit import limit_op, variable
from symgrad.ops.spectral import matrix_function, polar_factor
from symgrad.walk import UNKNOWN, Graph

Array = np.ndarray
Values = tuple[Array, ...]

BODIES = (
    calls.custom_jvp,
    calls.custom_vjp,
    calls.linear_call,
    checkpoint.checkpoint,
)
"""Operations that are their body."""


def evaluate(graph: Graph, args: Sequence[Any], digits: int = 50) -> list[Array]:
    """The outputs of `graph` at `args` to about this many digits.

    Floating-point arguments are taken as they are, every bit kept; arrays of mpmath numbers
    may be given too. Results are arrays of mpmath numbers, of integers or of truth values.

    Args:
        args: one array for each input.
        digits: of every intermediate result. What cancels is lost: a result that is to have
            20 digits may need more of the way there.

    Raises:
        NoExactValueError: an operation of the graph has no exact value here.
    """
    mp = context(digits)
    given = [a if _is_exact(a) else numbers(mp, a) for a in args]
    return list(_outputs(mp, graph, given))


def _is_exact(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.dtype == object


def _outputs(mp: Any, graph: Graph, args: Sequence[Array]) -> Values:
    values: dict[Expr, Any] = dict(zip(graph.inputs, args, strict=True))
    for node in graph.nodes:
        if node not in values:
            values[node] = _value(mp, graph, node, [values[a] for a in node.args])
    return tuple(values[o] for o in graph.outputs)


def _value(mp: Any, graph: Graph, node: Expr, operands: list[Any]) -> Any:
    """One array, or a tuple for an operation with several results."""
    if node.op in BODIES:
        return _given(_outputs(mp, node.params["body"], operands), node)
    if node.op in CONTROL:
        return _given(CONTROL[node.op](mp, node, *operands), node)
    if node.op in VALUES:
        return elementwise(mp, node, *operands)
    known = TABLES.get(node.op)
    if known is None:
        raise NoExactValueError(
            f"`{node.op.name}` has no value to any number of digits",
            frame=graph.origins.get(node, UNKNOWN).frame,
            fix="evaluate a part of the program that does without it",
        )
    return known(mp, node, *operands)


def _given(values: Values, node: Expr) -> Any:
    return tuple(values) if isinstance(node.type, tuple) else values[0]


def _scan(mp: Any, e: Expr, *operands: Array) -> Values:
    p = e.params
    start = p["consts"] + p["carry"]
    consts, carry, stacked = (
        operands[: p["consts"]],
        operands[p["consts"] : start],
        operands[start:],
    )
    emitted: list[Values] = []
    for i in range(p["length"])[:: -1 if p["reverse"] else 1]:
        found = _outputs(mp, p["body"], [*consts, *carry, *(_entry(x, i) for x in stacked)])
        carry = found[: p["carry"]]
        emitted.append(found[p["carry"] :])
    rows = emitted[::-1] if p["reverse"] else emitted
    columns = zip(*rows, strict=True) if rows else ()
    empty = [np.empty(t.shape, object) for t in e.types[p["carry"] :]]
    return (*carry, *(np.stack(c) for c in columns)) if rows else (*carry, *empty)


def _entry(x: Array, i: int) -> Array:
    """One row as an array, which a row of rank 0 would not be by itself."""
    found = np.empty(x.shape[1:], x.dtype)
    found[...] = x[i]
    return found


def _while(mp: Any, e: Expr, *operands: Array) -> Values:
    p = e.params
    first, second = p["condition_consts"], p["body_consts"]
    tested, closed = operands[:first], operands[first : first + second]
    carry = operands[first + second :]
    while _outputs(mp, p["condition"], [*tested, *carry])[0].all():
        carry = _outputs(mp, p["body"], [*closed, *carry])
    return tuple(carry)


def _switch(mp: Any, e: Expr, which: Array, *operands: Array) -> Values:
    branches = e.params["branches"]
    number = min(max(int(which), 0), len(branches) - 1)
    return _outputs(mp, branches[number], operands)


def _by_platform(mp: Any, e: Expr, *operands: Array) -> Values:
    """All branches mean the same."""
    first = len(operands) - len(e.params["branches"][0].inputs)
    return _outputs(mp, e.params["branches"][-1], operands[first:])


def _linear_solve(mp: Any, e: Expr, *operands: Array) -> Values:
    """As the function `solve` computes it."""
    (local,) = [f for f in e.op.functions(e) if f.graph is e.params["solve"]]  # type: ignore[misc]
    place = dict(zip(e.args, operands, strict=True))
    right = operands[sum(e.params["counts"]) :]
    return _outputs(mp, e.params["solve"], [*(place[c] for c in local.closed), *right])


def _limit(mp: Any, e: Expr, x: Array) -> Values:
    """At the point its limit, elsewhere the function itself."""
    p = e.params
    body = Graph((variable(e.dtype),), (p["function"],))
    found = np.empty(x.shape, object)
    for place in np.ndindex(x.shape):
        at_centre = x[place] == p["centre"]
        one = np.array(x[place], object)
        found[place] = mp.mpf(p["series"][0]) if at_centre else _outputs(mp, body, [one])[0][()]
    return (found,)


def _matrix_function(mp: Any, e: Expr, a: Array, v: Array, w: Array) -> Values:
    """V f(w) Vᵀ, matrix by matrix."""
    function = e.params["function"]
    body = Graph((variable(function.dtype),), (function,))
    weights = np.empty(w.shape, object)
    for place in np.ndindex(w.shape):
        weights[place] = _outputs(mp, body, [np.array(w[place], object)])[0][()]
    return ((v * weights[..., None, :]) @ np.swapaxes(v, -1, -2),)


def _polar_factor(mp: Any, e: Expr, a: Array, u: Array, s: Array, vh: Array) -> Values:
    return (u @ vh,)


CONTROL: Mapping[Op, Callable[..., Values]] = {
    loops.scan: _scan,
    loops.while_: _while,
    branch.switch: _switch,
    branch.by_platform: _by_platform,
    solve.linear_solve: _linear_solve,
    limit_op: _limit,
    matrix_function: _matrix_function,
    polar_factor: _polar_factor,
}

TABLES: Mapping[Op, Callable[..., Any]] = {**ARRAYS, **INDEXED, **FACTORS}
