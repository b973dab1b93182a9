"""From graphs to SymPy's expressions, entry by entry.

Operations that only move or add entries are those of exact arithmetic, with SymPy in the place of
numbers of any precision.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from symgrad.errors import NotationError
from symgrad.exact.arrays import ARRAYS, filled, over_axes
from symgrad.expr import Expr, Op, add, captured, div, item, literal, mul, neg, sub
from symgrad.ops import (
    assume,
    calls,
    checkpoint,
    companions,
    contract,
    entropy,
    inverse,
    matrix,
    moments,
    norm,
    pointwise,
    reduce,
    shape,
    special,
    stable,
)
from symgrad.walk import UNKNOWN, Graph

Array = np.ndarray
MOST_ENTRIES = 1000
"""Of one array: every entry is an expression of its own."""

LARGEST_DENOMINATOR = 4096


class _Numbers:
    """What the operations on arrays ask of numbers, answered by SymPy."""

    def __init__(self) -> None:
        self.sympy = importlib.import_module("sympy")
        self.zero, self.one = self.sympy.Integer(0), self.sympy.Integer(1)
        self.sqrt = self.sympy.sqrt

    def mpf(self, value: float) -> Any:
        """A fraction where that is what a number is, else as many digits as it has."""
        top, bottom = float(value).as_integer_ratio() if np.isfinite(value) else (0, 0)
        if bottom and bottom <= LARGEST_DENOMINATOR:
            return self.sympy.Rational(top, bottom)
        return self.sympy.Float(float(value))

    def mpc(self, real: float, imaginary: float) -> Any:
        return self.mpf(real) + self.sympy.I * self.mpf(imaginary)

    def fsum(self, values: Any) -> Any:
        return self.sympy.Add(*values)


def to_sympy(graph: Graph) -> Any:
    """One expression, or a tuple of them where the graph has several outputs.

    Raises:
        NotationError: an operation has no counterpart, or an array is too large.
    """
    numbers = _Numbers()
    names = [*graph.names, *("" for _ in graph.inputs)]
    given = [_symbols(numbers.sympy, names[i] or f"x{i}", e) for i, e in enumerate(graph.inputs)]
    found = [_shaped(numbers.sympy, v) for v in _outputs(numbers, graph, given)]
    return found[0] if len(found) == 1 else tuple(found)


def _symbols(sympy: Any, name: str, node: Expr) -> Array:
    """An input: a symbol, or the entries of a matrix; a vector is a column."""
    _check_size(node)
    if not node.ndim:
        return filled((), [sympy.Symbol(name)])
    if node.ndim > 2:
        raise NotationError(
            f"input {name} is {node.type}; SymPy's symbols are numbers, vectors or matrices"
        )
    rows, columns = (*node.shape, 1)[:2]
    whole = sympy.MatrixSymbol(name, rows, columns)
    entries = (whole[i, j] for i in range(rows) for j in range(columns))
    return filled(node.shape, entries)


def _check_size(node: Expr) -> None:
    for t in node.types:
        if t.size > MOST_ENTRIES:
            raise NotationError(
                f"`{node.op.name}` has {t.size:,} entries, and SymPy would get one expression each",
                fix=f"take a smaller example: at most {MOST_ENTRIES:,} entries",
            )


def _shaped(sympy: Any, value: Array) -> Any:
    if not value.ndim:
        return sympy.sympify(value[()])
    if value.ndim == 1:
        return sympy.ImmutableMatrix(len(value), 1, list(value))
    if value.ndim == 2:
        return sympy.ImmutableMatrix(*value.shape, list(value.flat))
    return sympy.ImmutableDenseNDimArray(list(value.flat), value.shape)


def _outputs(numbers: _Numbers, graph: Graph, args: Sequence[Array]) -> list[Array]:
    values: dict[Expr, Any] = dict(zip(graph.inputs, args, strict=True))
    for node in graph.nodes:
        if node not in values:
            _check_size(node)
            try:
                values[node] = _value(numbers, node, [values[a] for a in node.args])
            except (TypeError, AttributeError, KeyError) as error:
                raise _unknown(graph, node) from error
    return [np.asarray(values[o]) for o in graph.outputs]


def _unknown(graph: Graph, node: Expr) -> NotationError:
    return NotationError(
        f"`{node.op.name}` has no counterpart in SymPy",
        frame=graph.origins.get(node, UNKNOWN).frame,
        fix="convert a part of the program that does without it",
    )


def _value(numbers: _Numbers, node: Expr, operands: list[Any]) -> Any:
    if node.op in BODIES:
        found = _outputs(numbers, node.params["body"], operands)
        return tuple(found) if isinstance(node.type, tuple) else found[0]
    if node.op in SCALARS:
        return _entrywise(node, functools.partial(SCALARS[node.op], numbers.sympy), operands)
    if node.op in ALONG:
        return ALONG[node.op](numbers, node, *operands)
    if node.op in MOVED:
        return np.asarray(ARRAYS[node.op](numbers, node, *operands))
    raise KeyError(node.op.name)


def _entrywise(node: Expr, function: Callable[..., Any], operands: Sequence[Array]) -> Array:
    columns = [np.broadcast_to(x, node.shape).flat for x in operands]
    rows = zip(*columns, strict=True)
    return filled(node.shape, (function(*map(_plain, row), **node.params) for row in rows))


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _reduced(combine: Callable[[Any, list[Any]], Any]) -> Callable[..., Array]:
    def value(numbers: _Numbers, node: Expr, x: Array) -> Array:
        return over_axes(numbers, node, x, lambda group: combine(numbers.sympy, list(group)))

    return value


def _by_rows(function: Callable[[Any, Sequence[Any]], list[Any]]) -> Callable[..., Array]:
    def value(numbers: _Numbers, node: Expr, x: Array) -> Array:
        axis = node.params["axis"]
        last = np.moveaxis(x, axis, -1)
        rows = [
            v for i in np.ndindex(last.shape[:-1]) for v in function(numbers.sympy, list(last[i]))
        ]
        return np.moveaxis(filled(last.shape, rows), -1, axis)

    return value


def _softmax(sp: Any, row: Sequence[Any]) -> list[Any]:
    total = sp.Add(*(sp.exp(v) for v in row))
    return [sp.exp(v) / total for v in row]


def _logsumexp(sp: Any, row: Sequence[Any]) -> Any:
    return sp.log(sp.Add(*(sp.exp(v) for v in row)))


def _inverse(numbers: _Numbers, node: Expr, x: Array) -> Array:
    found = numbers.sympy.ImmutableMatrix(*x.shape, list(x.flat)).inv()
    return filled(x.shape, list(found))


def _solution(numbers: _Numbers, node: Expr, a: Array, b: Array) -> Array:
    return np.dot(_inverse(numbers, node, a.T if node.params["transpose"] else a), b)


def _where(sp: Any, which: Any, x: Any, y: Any) -> Any:
    return sp.Piecewise((x, which), (y, True))


def _sigmoid(sp: Any, x: Any) -> Any:
    return 1 / (1 + sp.exp(-x))


def _same(sp: Any, x: Any, **_: Any) -> Any:
    return x


def _named(name: str) -> Callable[..., Any]:
    return lambda sp, *xs: getattr(sp, name)(*xs)


BODIES = (calls.custom_jvp, calls.custom_vjp, calls.linear_call, checkpoint.checkpoint)

SCALARS: Mapping[Op, Callable[..., Any]] = {
    add: lambda sp, x, y: x + y,
    sub: lambda sp, x, y: x - y,
    mul: lambda sp, x, y: x * y,
    div: lambda sp, x, y: x / y,
    neg: lambda sp, x: -x,
    pointwise.square: lambda sp, x: x**2,
    pointwise.power: lambda sp, x, y: x**y,
    pointwise.integer_power_op: lambda sp, x, exponent: x**exponent,
    pointwise.sqrt: _named("sqrt"),
    pointwise.rsqrt: lambda sp, x: 1 / sp.sqrt(x),
    pointwise.cbrt: lambda sp, x: sp.sign(x) * sp.Abs(x) ** sp.Rational(1, 3),
    pointwise.exp: _named("exp"),
    pointwise.exp2: lambda sp, x: sp.Integer(2) ** x,
    pointwise.expm1: lambda sp, x: sp.exp(x) - 1,
    pointwise.log: _named("log"),
    pointwise.log1p: lambda sp, x: sp.log(1 + x),
    pointwise.sin: _named("sin"),
    pointwise.cos: _named("cos"),
    pointwise.tan: _named("tan"),
    pointwise.arcsin: _named("asin"),
    pointwise.arccos: _named("acos"),
    pointwise.arctan: _named("atan"),
    pointwise.arctan2: _named("atan2"),
    pointwise.sinh: _named("sinh"),
    pointwise.cosh: _named("cosh"),
    pointwise.tanh: _named("tanh"),
    pointwise.arcsinh: _named("asinh"),
    pointwise.arccosh: _named("acosh"),
    pointwise.arctanh: _named("atanh"),
    pointwise.logistic: _sigmoid,
    pointwise.logistic_slope: lambda sp, x: _sigmoid(sp, x) * _sigmoid(sp, -x),
    pointwise.softplus: lambda sp, x: sp.log(1 + sp.exp(x)),
    pointwise.logaddexp: lambda sp, x, y: sp.log(sp.exp(x) + sp.exp(y)),
    pointwise.relu: lambda sp, x: sp.Max(x, 0),
    pointwise.maximum: _named("Max"),
    pointwise.minimum: _named("Min"),
    pointwise.clamp: lambda sp, low, x, high: sp.Min(sp.Max(x, low), high),
    pointwise.abs_: _named("Abs"),
    pointwise.sign: _named("sign"),
    pointwise.floor: _named("floor"),
    pointwise.ceil: _named("ceiling"),
    pointwise.erf: _named("erf"),
    pointwise.erfc: _named("erfc"),
    pointwise.erf_inv: _named("erfinv"),
    pointwise.sech_squared: lambda sp, x: 1 / sp.cosh(x) ** 2,
    pointwise.lorentzian: lambda sp, x: 1 / (1 + x**2),
    pointwise.reciprocal_hypotenuse: lambda sp, x: 1 / sp.sqrt(1 + x**2),
    pointwise.gaussian: lambda sp, x: sp.exp(-(x**2)),
    pointwise.difference_of_squares: lambda sp, x, y: x**2 - y**2,
    pointwise.over_squared_length: lambda sp, x, y: y / (x**2 + y**2),
    pointwise.exact_sum: lambda sp, *xs: sp.Add(*xs),
    pointwise.select: _where,
    pointwise.eq: _named("Eq"),
    pointwise.ne: _named("Ne"),
    pointwise.lt: _named("Lt"),
    pointwise.le: _named("Le"),
    pointwise.gt: _named("Gt"),
    pointwise.ge: _named("Ge"),
    pointwise.and_: _named("And"),
    pointwise.or_: _named("Or"),
    pointwise.not_: _named("Not"),
    pointwise.convert_op: _same,
    pointwise.name: _same,
    pointwise.stop_gradient: _same,
    assume.assumed: _same,
    special.lgamma: _named("loggamma"),
    special.digamma: lambda sp, x: sp.polygamma(0, x),
    special.polygamma: lambda sp, n, x: sp.polygamma(n, x),
    stable.sech: lambda sp, x: 1 / sp.cosh(x),
    stable.log_abs: lambda sp, x: sp.log(sp.Abs(x)),
    stable.log_cosh_op: lambda sp, x: sp.log(sp.cosh(x)),
    stable.bose: lambda sp, x: 1 / (sp.exp(x) - 1),
    stable.over_expm1: lambda sp, x, y: x / (sp.exp(y) - 1),
    stable.over_sinh: lambda sp, x, y: x / sp.sinh(y),
    stable.power_less_one: lambda sp, x, y: (1 + x) ** y - 1,
    stable.log1mexp_op: lambda sp, x: sp.log(1 - sp.exp(x)),
    companions.sigmoid: _sigmoid,
    companions.sigmoid_of_minus: lambda sp, x: _sigmoid(sp, -x),
    companions.softplus: lambda sp, x: sp.log(1 + sp.exp(x)),
    entropy.xlogy: lambda sp, x, y: x * sp.log(y),
    entropy.xlog1py: lambda sp, x, y: x * sp.log(1 + y),
    entropy.times_log_op: lambda sp, x, y: x * sp.log(y),
    entropy.power_times_log_op: lambda sp, x, *, exponent: x**exponent * sp.log(x),
    entropy.relative_entropy_op: lambda sp, x, y: x * sp.log(x / y),
    entropy.x_exp_x_op: lambda sp, x: x * sp.exp(x),
    entropy.times_masked_op: lambda sp, x, y: x * y,
    norm.ratio: lambda sp, x, y: x / y,
    norm.hypot: lambda sp, x, y: sp.sqrt(x**2 + y**2),
    norm.direction: lambda sp, x, y, size: x / size,
    norm.length: _named("Abs"),
}

ALONG: Mapping[Op, Callable[..., Any]] = {
    reduce.softmax: _by_rows(_softmax),
    entropy.masked_softmax: _by_rows(_softmax),
    reduce.log_softmax: _by_rows(lambda sp, row: [v - _logsumexp(sp, row) for v in row]),
    reduce.logsumexp: _reduced(_logsumexp),
    companions.logsumexp: _reduced(_logsumexp),
    entropy.masked_logsumexp: _reduced(_logsumexp),
    shape.reduce_sum: _reduced(lambda sp, values: sp.Add(*values)),
    reduce.reduce_prod: _reduced(lambda sp, values: sp.Mul(*values)),
    reduce.reduce_max: _reduced(lambda sp, values: sp.Max(*values)),
    reduce.reduce_min: _reduced(lambda sp, values: sp.Min(*values)),
    inverse.inverse: _inverse,
    inverse.solve: _solution,
}

MOVED = frozenset(
    {
        *(literal, captured, item, shape.broadcast, shape.reshape_op, shape.transpose),
        *(shape.slice_, shape.reverse, shape.concatenate, shape.pad, shape.iota, norm.norm),
        *(contract.einsum_op, matrix.tril, matrix.triu, matrix.eye, reduce.one_hot),
        *(
            reduce.softmax_slope,
            reduce.log_softmax_slope,
            moments.centered,
            moments.squared_deviations,
        ),
    }
)
"""Operations that work with expressions as they do with numbers."""
