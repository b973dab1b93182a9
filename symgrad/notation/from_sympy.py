"""From SymPy's expressions to graphs. SymPy is loaded by whoever has an expression of it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from symgrad.errors import ArgumentError, NotationError
from symgrad.expr import Expr, Type, constant, literal_value, neg, parameter
from symgrad.ops import contract, inverse, matrix, pointwise, special
from symgrad.ops.shape import concatenate, full, reshape, slice_, transpose
from symgrad.walk import Graph

Build = Callable[..., Expr]


def from_sympy(expr: Any, symbols: Sequence[Any]) -> Graph:
    """The graph of an expression, of a matrix of expressions, or of a sequence of these.

    Raises:
        NotationError: a function of SymPy has no counterpart.
        ArgumentError: a symbol is missing, or is no symbol.
    """
    given = list(symbols) if isinstance(symbols, Sequence) else [symbols]
    inputs = tuple(parameter(i, _type(s)) for i, s in enumerate(given))
    if len(set(given)) != len(given):
        raise ArgumentError("a symbol comes twice", fix="name every symbol once")
    done: dict[Any, Expr] = dict(zip(given, inputs, strict=True))
    outputs = expr if isinstance(expr, list | tuple) else [expr]
    immutable = (e.as_immutable() if hasattr(e, "as_immutable") else e for e in outputs)
    found = tuple(_built(e, done) for e in immutable)
    return Graph(inputs, found, tuple(str(s) for s in given))


def _dtype() -> Any:
    return jax.dtypes.canonicalize_dtype(np.float64)


def _type(symbol: Any) -> Type:
    kind = type(symbol).__name__
    if kind in ("Symbol", "Dummy"):
        return Type((), _dtype())
    if kind == "MatrixSymbol":
        try:
            return Type(tuple(int(n) for n in symbol.shape), _dtype())
        except TypeError:
            raise ArgumentError(
                f"the matrix {symbol} has the shape {symbol.shape}, which is no pair of numbers",
                fix="give a matrix whose sizes are numbers",
            ) from None
    raise ArgumentError(
        f"{symbol!r} is of type {kind}, not a Symbol or MatrixSymbol of SymPy",
        fix="pass a list of symbols, in the order in which the graph is to take them",
    )


def _built(root: Any, done: dict[Any, Expr]) -> Expr:
    """One expression, operands first; what occurs twice is built once."""
    stack = [root]
    while stack:
        expr = stack[-1]
        if expr in done:
            stack.pop()
            continue
        waiting = [a for a in _operands(expr) if a not in done]
        if waiting:
            stack.extend(waiting)
        else:
            done[expr] = _node(expr, [done[a] for a in _operands(expr)])
    return done[root]


def _operands(expr: Any) -> Sequence[Any]:
    """The parts of an expression that are expressions of the graph."""
    if _is_dense(expr):
        return list(expr)
    match type(expr).__name__:
        case "Pow" if getattr(expr.exp, "is_Rational", False):
            return (expr.base,)
        case "Mul":
            return (*_above(expr), *_below(expr))
        case "MatrixElement" | "MatrixSlice":
            return (expr.args[0],)
        case "Piecewise":
            return [part for pair in expr.args for part in pair.args]
        case "MatPow":
            return (expr.base,)
        case "Identity" | "ZeroMatrix" | "OneMatrix":
            return ()
    return expr.args


def _is_dense(expr: Any) -> bool:
    """Whether an expression is a matrix of expressions."""
    return bool(getattr(expr, "is_Matrix", False)) and hasattr(expr, "tolist")


def _inverted(factor: Any) -> bool:
    return type(factor).__name__ == "Pow" and bool(factor.exp.is_Rational and factor.exp < 0)


def _above(expr: Any) -> list[Any]:
    return [f for f in expr.args if not _inverted(f)]


def _below(expr: Any) -> list[Any]:
    """The factors of the denominator: x / y is a quotient, not a product with a reciprocal."""
    return [1 / f for f in expr.args if _inverted(f)]


def _node(expr: Any, parts: Sequence[Expr]) -> Expr:
    if getattr(expr, "is_number", False) and not expr.args:
        return _number(expr)
    if _is_dense(expr):
        return _dense(expr.shape, parts)
    kind = type(expr).__name__
    if kind in SPECIAL:
        return SPECIAL[kind](expr, parts)
    if kind in FUNCTIONS:
        return FUNCTIONS[kind](*parts)
    if kind in ("Symbol", "Dummy", "MatrixSymbol"):
        raise ArgumentError(f"{expr} is not among the symbols", fix=f"add {expr} to the symbols")
    raise NotationError(
        f"SymPy's {kind} has no counterpart: {_shortened(expr)}",
        fix="rewrite it in functions that NumPy has, as with expr.rewrite(...)",
    )


def _shortened(expr: Any) -> str:
    return f"{type(expr).__name__} of {len(expr.args)} operands" if expr.args else str(expr)[:60]


def _number(expr: Any) -> Expr:
    value = complex(expr)
    if value.imag:
        raise NotationError(f"{expr} is no real number", fix="separate real and imaginary parts")
    return constant(value.real, _dtype(), weak=False)


def _total(parts: Sequence[Expr]) -> Expr:
    return functools.reduce(lambda x, y: x + y, parts)


def _sum(expr: Any, parts: Sequence[Expr]) -> Expr:
    """Terms with a minus sign come last and are taken off."""
    first, *rest = sorted(parts, key=lambda p: p.op is neg)
    return functools.reduce(lambda x, y: x - y.args[0] if y.op is neg else x + y, rest, first)


def _product(expr: Any, parts: Sequence[Expr]) -> Expr:
    count = len(_above(expr))
    above, below = list(parts[:count]), parts[count:]
    negative = count > 1 and expr.args[0] == -1
    above = above[1:] if negative else above
    product = functools.reduce(lambda x, y: x * y, above) if above else constant(1.0, _dtype())
    product = product / functools.reduce(lambda x, y: x * y, below) if below else product
    return -product if negative else product


def _power(expr: Any, parts: Sequence[Expr]) -> Expr:
    if len(parts) == 2:
        return pointwise.power(*parts)
    (base,), exponent = parts, expr.exp
    if exponent.is_Integer:
        return pointwise.integer_power(base, int(exponent))
    roots = {0.5: pointwise.sqrt, -0.5: pointwise.rsqrt}
    if float(exponent) in roots:
        return roots[float(exponent)](base)
    return pointwise.power(base, constant(float(exponent), _dtype(), weak=False))


def _piecewise(expr: Any, parts: Sequence[Expr]) -> Expr:
    """The first piece whose condition holds; nan where none does."""
    pairs = list(zip(parts[::2], parts[1::2], strict=True))
    value = constant(np.nan, _dtype(), weak=False)
    for piece, condition in reversed(pairs):
        holds = literal_value(condition)
        value = piece if holds == np.True_ else pointwise.select(condition, piece, value)
    return value


def _extremum(build: Build) -> Build:
    return lambda *parts: functools.reduce(build, parts)


def _dense(shape: Sequence[int], parts: Sequence[Expr]) -> Expr:
    rows, columns = map(int, shape)
    flat = [reshape(p, shape=(1,)) for p in parts]
    whole = flat[0] if len(flat) == 1 else concatenate(*flat, axis=0)
    return reshape(whole, shape=(rows, columns))


def _entry(expr: Any, parts: Sequence[Expr]) -> Expr:
    i, j = (int(n) for n in expr.args[1:])
    start, stop = (i, j), (i + 1, j + 1)
    return reshape(slice_(parts[0], start=start, stop=stop, step=(1, 1)), shape=())


def _transposed(x: Expr) -> Expr:
    return transpose(x, permutation=(1, 0))


def _matrix_product(*parts: Expr) -> Expr:
    scalars = [p for p in parts if not p.ndim]
    matrices = [p for p in parts if p.ndim]
    product = functools.reduce(_times, matrices)
    for s in scalars:
        product = product * s
    return product


def _times(x: Expr, y: Expr) -> Expr:
    return contract.einsum(x, y, indices=((0, 1), (1, 2)), out=(0, 2))


def _matrix_power(expr: Any, parts: Sequence[Expr]) -> Expr:
    count = int(expr.exp)
    base = inverse.inverse(parts[0], definite=False) if count < 0 else parts[0]
    return functools.reduce(_times, [base] * abs(count))


def _trace(x: Expr) -> Expr:
    return contract.einsum(x, indices=((0, 0),), out=())


def _reciprocal(build: Build) -> Build:
    return lambda x: 1.0 / build(x)


SPECIAL: Mapping[str, Callable[[Any, Sequence[Expr]], Expr]] = {
    "Add": _sum,
    "Mul": _product,
    "Pow": _power,
    "Piecewise": _piecewise,
    "MatrixElement": _entry,
    "MatPow": _matrix_power,
    "Inverse": lambda expr, parts: inverse.inverse(parts[0], definite=False),
    "Identity": lambda expr, parts: matrix.eye(size=int(expr.shape[0]), dtype=_dtype()),
    "ZeroMatrix": lambda expr, parts: full(0.0, Type(tuple(map(int, expr.shape)), _dtype())),
    "BooleanTrue": lambda expr, parts: constant(True, np.bool_),
    "BooleanFalse": lambda expr, parts: constant(False, np.bool_),
}
"""What needs more of an expression than its operands."""

FUNCTIONS: Mapping[str, Build] = {
    "exp": pointwise.exp,
    "log": pointwise.log,
    "sin": pointwise.sin,
    "cos": pointwise.cos,
    "tan": pointwise.tan,
    "sec": _reciprocal(pointwise.cos),
    "csc": _reciprocal(pointwise.sin),
    "cot": _reciprocal(pointwise.tan),
    "asin": pointwise.arcsin,
    "acos": pointwise.arccos,
    "atan": pointwise.arctan,
    "atan2": pointwise.arctan2,
    "sinh": pointwise.sinh,
    "cosh": pointwise.cosh,
    "tanh": pointwise.tanh,
    "asinh": pointwise.arcsinh,
    "acosh": pointwise.arccosh,
    "atanh": pointwise.arctanh,
    "Abs": pointwise.abs_,
    "sign": pointwise.sign,
    "floor": pointwise.floor,
    "ceiling": pointwise.ceil,
    "erf": pointwise.erf,
    "erfc": pointwise.erfc,
    "erfinv": pointwise.erf_inv,
    "loggamma": special.lgamma,
    "polygamma": special.polygamma,
    "Max": _extremum(pointwise.maximum),
    "Min": _extremum(pointwise.minimum),
    "Equality": pointwise.eq,
    "Unequality": pointwise.ne,
    "StrictLessThan": pointwise.lt,
    "LessThan": pointwise.le,
    "StrictGreaterThan": pointwise.gt,
    "GreaterThan": pointwise.ge,
    "And": _extremum(pointwise.and_),
    "Or": _extremum(pointwise.or_),
    "Not": pointwise.not_,
    "MatAdd": lambda *parts: _total(parts),
    "MatMul": _matrix_product,
    "Transpose": _transposed,
    "HadamardProduct": lambda *parts: functools.reduce(lambda x, y: x * y, parts),
    "Trace": _trace,
}
