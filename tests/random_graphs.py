"""Random programs of the kinds people write, and what exact arithmetic says of them.

A program maps every row of its inputs to one number, so that many points are evaluated at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import evaluate
import jax
import numpy as np

import symgrad as sg
from symgrad import exact, walk
from symgrad.derive import pullback
from symgrad.expr import Expr, Type, neg, parameter
from symgrad.ops.pointwise import (
    abs_,
    arctan,
    cos,
    eq,
    exp,
    expm1,
    ge,
    gt,
    integer_power,
    le,
    log,
    log1p,
    logistic,
    lt,
    maximum,
    minimum,
    ne,
    relu,
    select,
    sin,
    sqrt,
    square,
    tanh,
)
from symgrad.ops.reduce import logsumexp, reduce_max, reduce_prod, softmax
from symgrad.ops.shape import broadcast, expand, full, reduce_sum, reshape_op, zeros

ENTRIES = 3
"""Of each row of a program on vectors."""

UNARY: tuple[Callable[[Expr], Expr], ...] = (
    *(exp, log, sqrt, square, tanh, logistic, sin, cos, log1p, expm1, abs_, arctan, relu),
    lambda x: -x,
    lambda x: 1 / x,
    lambda x: 1 + x,
    lambda x: x - 1,
    lambda x: 1 - x,
    lambda x: 0.5 * x,
    lambda x: x / 3,
    lambda x: integer_power(x, 3),
    lambda x: log(1 + exp(x)),
    lambda x: 1 / (1 + exp(-x)),
    lambda x: log(logistic(x)),
    lambda x: log(1 - logistic(x)),
    lambda x: 1 - square(tanh(x)),
    lambda x: exp(x) - 1,
    lambda x: log(1 + x),
    lambda x: 1 - cos(x),
    lambda x: sqrt(x + 1) - sqrt(x),
    lambda x: (exp(x) - 1) / x,
    lambda x: sin(x) / x,
    lambda x: x * log(x),
    lambda x: exp(-0.5 * square(x)),
    lambda x: log(exp(-0.5 * square(x))),
    lambda x: maximum(x, 0) + log1p(exp(-abs_(x))),
    lambda x: select(gt(x, 0), sqrt(x), 0),
    lambda x: select(eq(x, 0), 1, sin(x) / x),
    lambda x: (exp(x) - exp(-x)) / (exp(x) + exp(-x)),
    lambda x: sqrt(square(x)),
)

BINARY: tuple[Callable[[Expr, Expr], Expr], ...] = (
    lambda x, y: x + y,
    lambda x, y: x - y,
    lambda x, y: x * y,
    lambda x, y: x / y,
    maximum,
    minimum,
    lambda x, y: select(gt(x, y), x * y, y),
    lambda x, y: sqrt(square(x) + square(y)),
    lambda x, y: x / sqrt(square(x) + square(y)),
    lambda x, y: log(exp(x) + exp(y)),
    lambda x, y: exp(x) / (exp(x) + exp(y)),
    lambda x, y: log(x * y),
    lambda x, y: log(x / y),
    lambda x, y: square(x) - square(y),
    lambda x, y: x * log(y),
    lambda x, y: exp(log(x) + log(y)),
)


def _last(x: Expr) -> int:
    return x.ndim - 1


def _back(x: Expr, like: Expr) -> Expr:
    return expand(x, (_last(like),), like.shape)


ROWS: tuple[Callable[[Expr], Expr], ...] = (
    lambda x: reduce_sum(x, axes=(_last(x),)),
    lambda x: reduce_sum(x, axes=(_last(x),)) / ENTRIES,
    lambda x: reduce_max(x, axes=(_last(x),)),
    lambda x: reduce_prod(x, axes=(_last(x),)),
    lambda x: logsumexp(x, axis=_last(x)),
    lambda x: log(reduce_sum(exp(x), axes=(_last(x),))),
    lambda x: sqrt(reduce_sum(square(x), axes=(_last(x),))),
    lambda x: log(reduce_prod(x, axes=(_last(x),))),
)
"""From a vector to a number."""

WITHIN: tuple[Callable[[Expr], Expr], ...] = (
    lambda x: softmax(x, axis=_last(x)),
    lambda x: exp(x) / _back(reduce_sum(exp(x), axes=(_last(x),)), x),
    lambda x: x / _back(sqrt(reduce_sum(square(x), axes=(_last(x),))), x),
    lambda x: x - _back(reduce_sum(x, axes=(_last(x),)) / ENTRIES, x),
    lambda x: log(softmax(x, axis=_last(x))),
    lambda x: x - _back(log(reduce_sum(exp(x), axes=(_last(x),))), x),
)
"""From a vector to a vector."""


def program(seed: int, rows: int) -> sg.Graph:
    """A random program of two inputs with so many rows."""
    draws = np.random.default_rng(seed)
    vectors = bool(draws.random() < 0.4)
    shape = (rows, ENTRIES) if vectors else (rows,)
    inputs = tuple(parameter(i, Type(shape, np.dtype(np.float64))) for i in range(2))
    made: list[Expr] = list(inputs)
    for _ in range(draws.integers(2, 6)):
        made.append(_step(draws, made, vectors))
    output = made[-1]
    if output.ndim == 2:
        output = ROWS[draws.integers(len(ROWS))](output)
    return sg.Graph(inputs, (output,), ("x", "y"))


def _step(draws: np.random.Generator, made: Sequence[Expr], vectors: bool) -> Expr:
    """One more node, made of the last or an earlier one."""

    def pick(options: Sequence[Any]) -> Any:
        return options[draws.integers(len(options))]

    first = made[-1] if draws.random() < 0.7 else pick(made)
    kind = draws.random()
    if vectors and kind < 0.3:
        return pick(WITHIN)(first)
    if kind < 0.65:
        return pick(UNARY)(first)
    return pick(BINARY)(first, pick(made))


def in_precision(graph: sg.Graph, dtype: Any) -> sg.Graph:
    """The same program on numbers of another precision."""
    inputs = tuple(parameter(i, Type(x.shape, np.dtype(dtype))) for i, x in enumerate(graph.inputs))
    done: dict[Expr, Expr] = dict(zip(graph.inputs, inputs, strict=True))
    for node in walk.topological(graph.outputs):
        if node in done:
            continue
        if not node.args:
            value = sg.expr.literal_value(node)
            done[node] = sg.expr.constant(value, dtype, node.type.weak)
        else:
            done[node] = node.op(*(done[a] for a in node.args), **node.params)
    return sg.Graph(inputs, tuple(done[o] for o in graph.outputs), graph.names)


def with_gradient(graph: sg.Graph) -> sg.Graph:
    """The value, and its derivatives row by row."""
    ones = [full(1, o.type) for o in graph.outputs]
    pulled = pullback(graph.outputs, ones, graph.inputs, graph.origins)
    slopes = (zeros(i.type) if p is None else p for p, i in zip(pulled, graph.inputs, strict=True))
    return sg.Graph(graph.inputs, (*graph.outputs, *slopes), graph.names, graph.origins)


def simplified(graph: sg.Graph) -> sg.Graph:
    """Value and derivatives as symgrad computes them: lifted, differentiated, simplified."""
    return with_gradient(graph.simplify()).simplify()


def points(seed: int, graph: sg.Graph, dtype: Any) -> list[np.ndarray]:
    """Numbers of ordinary and of extreme sizes, zeros and ties among them."""
    draws = np.random.default_rng(seed)
    found: list[np.ndarray] = []
    for node in graph.inputs:
        sizes = draws.choice([1e-12, 1e-4, 1.0, 1.0, 1.0, 10.0, 100.0, 1e3, 1e12], node.shape)
        values = draws.normal(size=node.shape) * sizes
        values = np.where(draws.random(node.shape) < 0.05, 0.0, values)
        if found:
            values = np.where(draws.random(node.shape) < 0.05, found[0], values)
        found.append(values.astype(dtype))
    return found


def in_floats(
    graph: walk.Graph, args: Sequence[np.ndarray], noise: np.random.Generator | None = None
) -> list[np.ndarray]:
    """Outputs with each operation run on its own.

    Args:
        noise: draws how each result is rounded otherwise, by one unit in the last place: how the
            outputs move is what they owe to rounding, with luck or without (Parker, "Monte Carlo
            Arithmetic", 1997).
    """
    values: dict[Expr, Any] = dict(zip(graph.inputs, map(jax.numpy.asarray, args), strict=True))
    for node in walk.topological(graph.outputs):
        if node not in values:
            result = evaluate.apply(node, [values[a] for a in node.args])
            rounds = noise is not None and node.args and node.type.inexact
            if noise is not None and rounds and node.op not in WITHOUT_ROUNDING:
                result = result * (1 + EPS * noise.choice([-1.0, 1.0], node.shape))
            values[node] = result
    return [np.asarray(values[o]).astype(np.float64) for o in graph.outputs]


EPS = float(np.finfo(np.float64).eps)

WITHOUT_ROUNDING = (neg, abs_, maximum, minimum, relu, select, broadcast, reshape_op, reduce_max)


@dataclass(frozen=True)
class Truth:
    """Outputs in exact arithmetic, and how far they move if the inputs do by their own size."""

    values: list[np.ndarray]
    condition: list[np.ndarray]


NUDGES = (2.0**-40, 2.0**-150)
"""The smaller one where functions oscillate."""

COMPARISONS = (eq, ne, gt, ge, lt, le)


def truth(graph: walk.Graph, args: Sequence[np.ndarray], digits: int = 90) -> Truth:
    """What the program means at these points; nan where the digits do not tell.

    A program that compares what has no value has none either: 0/0 is not above 0, and its limit
    may be.
    """
    exactly = exact.evaluate(graph, args, digits)
    again = exact.evaluate(graph, args, 2 * digits)
    mp = exact.context(digits)
    draws = np.random.default_rng(1)
    moved = [np.zeros(o.shape) for o in graph.outputs]
    for nudge in (*NUDGES, *NUDGES):
        nudged = []
        for a in args:
            signs = draws.choice([-1, 1], a.shape)
            nudged.append(np.asarray(exact.numbers.numbers(mp, a) * (1 + mp.mpf(nudge) * signs)))
        for reach, x, y in zip(moved, exactly, exact.evaluate(graph, nudged, digits), strict=True):
            with np.errstate(over="ignore"):
                reach[...] = np.maximum(reach, np.abs(rounded((x - y) / mp.mpf(nudge))))
    compared = [a for n in walk.topological(graph.outputs) if n.op in COMPARISONS for a in n.args]
    valued = np.ones(len(args[0]), bool)
    for operand in exact.evaluate(sg.Graph(graph.inputs, tuple(compared)), args, digits):
        if np.ndim(operand):
            valued &= ~np.isnan(rounded(operand)).reshape(len(operand), -1).any(1)
    values = []
    for x, y in zip(exactly, again, strict=True):
        settled = np.abs(rounded(x - y)) <= 1e-25 * np.abs(rounded(y))
        settled &= valued.reshape((-1,) + (1,) * (settled.ndim - 1))
        values.append(np.where(settled, rounded(y), np.nan))
    return Truth(values, moved)


SATURATING = (exp, logistic, tanh, softmax, logsumexp)


def known_by_both(
    graph: walk.Graph, other: walk.Graph, args: Sequence[np.ndarray], found: Truth, digits: int
) -> Truth:
    """What two forms of a program agree on where exponentials are beyond all digits.

    There 1 - logistic(x) is 0 and its logarithm infinite, whatever the digits.
    """
    inside = tuple(n.args[0] for n in walk.topological(graph.outputs) if n.op in SATURATING)
    sizes = exact.evaluate(sg.Graph(graph.inputs, inside), args, digits)
    beyond = np.zeros(len(args[0]), bool)
    for size in sizes:
        beyond |= (np.abs(rounded(size)) > digits).reshape(len(size), -1).any(1)
    if not beyond.any():
        return found
    values = []
    for x, y in zip(found.values, exact.evaluate(other, args, digits), strict=True):
        rows = beyond.reshape((-1,) + (1,) * (x.ndim - 1))
        apart = ~(np.abs(x - rounded(y)) <= EPS * np.abs(x))
        values.append(np.where(rows & apart, np.nan, x))
    return Truth(values, found.condition)


def rounded(array: Any) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.asarray(array, object).astype(np.float64)
