"""Reductions by a function of two values, as `jax.lax.reduce` and `jax.lax.reduce_window`.

The function takes as many pairs of scalars as there are arrays. It is associative, so the
values may be combined in any order; derivatives follow a tree of pairs, as in JAX.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symgrad.derive import Slot, pullback, pushforward
from symgrad.errors import ShapeError
from symgrad.expr import (
    Expr,
    LocalFunction,
    Nested,
    Op,
    Shape,
    Type,
    Types,
    argument,
    fresh,
    literal,
)
from symgrad.ops.batch import batched
from symgrad.ops.bodies import as_given, as_tuple, as_types, graph_flops, group_source
from symgrad.ops.index import gather
from symgrad.ops.indexing import rows
from symgrad.ops.shape import concatenate, iota, pad, reshape, slice_, spread, transpose
from symgrad.ops.window import WINDOW, window_options, window_type
from symgrad.walk import Graph, substitute


def _halves(values: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """What is reduced, and what each reduction starts with."""
    count = len(values) // 2
    return tuple(values[:count]), tuple(values[count:])


def _typed(arrays: Sequence[Type], inits: Sequence[Type], shape: Shape) -> Types:
    for x, init in zip(arrays, inits, strict=True):
        if init.shape or init.dtype != x.dtype or x.shape != arrays[0].shape:
            raise ShapeError(f"reducing {x} from {init} on")
    return as_types(
        [Type(shape, x.dtype, x.weak and i.weak) for x, i in zip(arrays, inits, strict=True)]
    )


def _functions(e: Expr) -> tuple[LocalFunction, ...]:
    body = e.params["body"]
    pairs = _halves(range(len(body.inputs)))
    return (LocalFunction("combine", body, (), pairs, (tuple(range(len(body.outputs))),)),)


def _source(function: str, options: Callable[[Expr], str]) -> Callable[[Expr], str]:
    def source(e: Expr) -> str:
        count = len(e.args) // 2
        arrays, inits = group_source(0, count), group_source(count, count)
        return f"lax.{function}({arrays}, {inits}, {{combine}}, {options(e)})"

    return source


def _flops(entries: Callable[[Expr], int]) -> Callable[[Expr], int]:
    return lambda e: entries(e) * graph_flops(e.params["body"])


def _mapped(body: Graph, arrays: Sequence[Expr]) -> tuple[Expr, ...]:
    """A function of scalars applied to every entry of arrays of one shape."""
    shape = arrays[0].shape
    plain = all(n.op.elementwise or n.op in (argument, literal) for n in body.nodes)
    if plain:
        return tuple(o if o.shape == shape else spread(o, shape) for o in body(*arrays))
    size = math.prod(shape)
    flat = [reshape(a, shape=(size,)) for a in arrays]
    return tuple(reshape(o, shape=shape) for o in batched(body.inputs, body.outputs, flat, size))


def _axes_first(x: Expr, axes: tuple[int, ...]) -> Expr:
    """`axes` merged into one, in front of the others."""
    others = tuple(a for a in range(x.ndim) if a not in axes)
    moved = transpose(x, permutation=(*axes, *others))
    size = math.prod(x.shape[a] for a in axes)
    return reshape(moved, shape=(size, *(x.shape[a] for a in others)))


def _part(x: Expr, start: int, stop: int) -> Expr:
    first, last = (start,) + (0,) * (x.ndim - 1), (stop, *x.shape[1:])
    return slice_(x, start=first, stop=last, step=(1,) * x.ndim)


def _tree(
    body: Graph, arrays: Sequence[Expr], inits: Sequence[Expr], axes: tuple[int, ...]
) -> tuple[Expr, ...]:
    """The reduction of `arrays` over `axes` from `inits` on, written as a tree of pairs."""
    xs = [_axes_first(x, axes) for x in arrays]
    size, rest = xs[0].shape[0], xs[0].shape[1:]
    if size == 0:
        return tuple(spread(i, rest) for i in inits)
    while size > 1:
        half = (size + 1) // 2
        pairs = size - half
        merged = _mapped(body, [_part(x, *of) for of in ((0, pairs), (half, size)) for x in xs])
        if pairs < half:
            left = [_part(x, pairs, half) for x in xs]
            merged = [concatenate(m, x, axis=0) for m, x in zip(merged, left, strict=True)]
        xs, size = list(merged), half
    firsts = [spread(i, rest) for i in inits]
    return _mapped(body, [*firsts, *(reshape(x, shape=rest) for x in xs)])


WrittenOut = Callable[[Expr, Sequence[Expr], Sequence[Expr]], Sequence[Expr]]
"""A reduction by other operations: of its node, arrays and what they start with."""


def _derivative(written_out: WrittenOut) -> Nested:
    def at(ans: Expr) -> tuple[list[Expr], Sequence[Expr]]:
        inputs = [fresh(a.type) for a in ans.args]
        return inputs, written_out(ans, *_halves(inputs))

    def restored(slots: Sequence[Slot], inputs: Sequence[Expr], ans: Expr) -> list[Slot]:
        present = [s for s in slots if s is not None]
        found = iter(substitute(present, dict(zip(inputs, ans.args, strict=True))))
        return [None if s is None else next(found) for s in slots]

    def push(tangents: tuple[Slot, ...], ans: Expr, *args: Expr) -> Any:
        inputs, outputs = at(ans)
        return as_given(restored(pushforward(outputs, inputs, tangents), inputs, ans))

    def pull(given: Any, wanted: Sequence[bool], ans: Expr, *args: Expr) -> list[Slot]:
        inputs, outputs = at(ans)
        moving = [i for i, w in zip(inputs, wanted, strict=True) if w]
        found = iter(pullback(outputs, as_tuple(given), moving))
        return restored([next(found) if w else None for w in wanted], inputs, ans)

    return Nested(pullback=pull, pushforward=push)


def _reduce_type(*operands: Type, body: Graph, axes: tuple[int, ...]) -> Types:
    arrays, inits = _halves(operands)
    kept = tuple(n for a, n in enumerate(arrays[0].shape) if a not in axes)
    return _typed(arrays, inits, kept)


reduce = Op(
    "reduce",
    _reduce_type,
    _source("reduce", lambda e: str(e.params["axes"])),
    _derivative(lambda ans, xs, inits: _tree(ans.params["body"], xs, inits, ans.params["axes"])),
    params=("body", "axes"),
    flops=_flops(lambda e: e.args[0].type.size),
    functions=_functions,
)
"""As `jax.lax.reduce`; operands are the arrays, then what each reduction starts with."""


def _window_reduce_type(*operands: Type, body: Graph, **p: Any) -> Types:
    arrays, inits = _halves(operands)
    return _typed(arrays, inits, window_type(arrays[0], **p).shape)


def _windows(x: Expr, init: Expr, shape: Shape, p: Any) -> Expr:
    """Every window of `x`: an axis of its entries behind each axis of windows."""
    low, high = (tuple(side) for side in zip(*p["padding"], strict=True))
    x = pad(x, init, low=low, high=high, interior=tuple(d - 1 for d in p["base_dilation"]))
    for axis in reversed(range(x.ndim)):
        inside = (shape[axis], p["window_dimensions"][axis])
        window, entry = (iota(shape=inside, dtype=np.dtype(np.int32), axis=a) for a in (0, 1))
        places = window * p["window_strides"][axis] + entry * p["window_dilation"][axis]
        x = gather(x, places, indexing=rows(x.shape, 2, axis))
    return x


def _window_tree(ans: Expr, arrays: Sequence[Expr], inits: Sequence[Expr]) -> Sequence[Expr]:
    shape = ans.types[0].shape
    windows = [_windows(x, i, shape, ans.params) for x, i in zip(arrays, inits, strict=True)]
    return _tree(ans.params["body"], windows, inits, tuple(range(1, 2 * len(shape), 2)))


window_reduce = Op(
    "reduce_window",
    _window_reduce_type,
    _source("reduce_window", window_options),
    _derivative(_window_tree),
    params=("body", *WINDOW),
    flops=_flops(lambda e: e.types[0].size * math.prod(e.params["window_dimensions"])),
    functions=_functions,
)
"""As `jax.lax.reduce_window`; JAX has no reverse mode for it, symgrad has."""
