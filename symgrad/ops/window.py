"""Sums and extrema of windows that slide over an array, as `jax.lax.reduce_window`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from symgrad.errors import ShapeError
from symgrad.expr import CONSTANT, Custom, Derivative, Expr, Linear, Op, Shape, Type, constant
from symgrad.ops.conv import adjoint_padding, dilated, windows_along
from symgrad.ops.index import gather, scatter_add
from symgrad.ops.indexing import rows
from symgrad.ops.shape import pad, reshape, zeros

WINDOW = ("window_dimensions", "window_strides", "padding", "base_dilation", "window_dilation")


def window_type(x: Type, **p: Any) -> Type:
    if any(len(p[name]) != x.ndim for name in WINDOW):
        raise ShapeError(f"a window of {len(p['window_dimensions'])} axes over rank {x.ndim}")
    columns = (p["window_dimensions"], p["window_strides"], p["padding"])
    dilations = (p["base_dilation"], p["window_dilation"])
    return x.with_shape(
        tuple(
            windows_along(low + dilated(n, base) + high, dilated(size, holes), stride)
            for n, size, stride, (low, high), base, holes in zip(
                x.shape, *columns, *dilations, strict=True
            )
        )
    )


def window_options(e: Expr) -> str:
    """The windows as arguments of `lax.reduce_window`, without what is usual."""
    p = e.params
    options = f"window_dimensions={p['window_dimensions']}"
    padded = any(a or b for a, b in p["padding"])
    if padded or any(s != 1 for s in p["window_strides"]):
        options += f", window_strides={p['window_strides']}"
    if padded:
        options += f", padding={_window_padding_source(e)}"
    for name in ("base_dilation", "window_dilation"):
        if any(d != 1 for d in p[name]):
            options += f", {name}={p[name]}"
    return options


def _window_source(init: str, monoid: str) -> Callable[[Expr], str]:
    return lambda e: f"lax.reduce_window(x, {init}, lax.{monoid}, {window_options(e)})"


def _window_padding_source(e: Expr) -> str:
    p = e.params
    pairs = zip(p["window_dimensions"], p["window_dilation"], strict=True)
    windows = [dilated(n, d) for n, d in pairs]
    same = lax.padtype_to_pads(e.args[0].shape, windows, p["window_strides"], "SAME")
    return '"SAME"' if tuple(same) == p["padding"] else f"{p['padding']}"


def _window_flops(e: Expr) -> int:
    return e.type.size * math.prod(e.params["window_dimensions"])


def _window_sum_adjoint(g: Expr, y: Expr, x: Expr) -> Expr:
    """Strides and base dilation change places: entry i collects the windows it is in."""
    if g.type.size == 0 or x.type.size == 0:
        return zeros(x.type)
    p = y.params
    padding = [
        adjoint_padding(dilated(n, base), dilated(size, holes), stride, m, low)
        for n, m, base, size, holes, stride, (low, _) in zip(
            x.shape,
            g.shape,
            p["base_dilation"],
            p["window_dimensions"],
            p["window_dilation"],
            p["window_strides"],
            p["padding"],
            strict=True,
        )
    ]
    low, high = tuple(a for a, _ in padding), tuple(b for _, b in padding)
    interior = tuple(s - 1 for s in p["window_strides"])
    return window_sum(
        # Padding is an operation of its own: XLA fails on windows with negative padding.
        pad(g, constant(0, g.dtype), low=low, high=high, interior=interior),
        window_dimensions=p["window_dimensions"],
        window_strides=p["base_dilation"],
        padding=((0, 0),) * x.ndim,
        base_dilation=(1,) * x.ndim,
        window_dilation=p["window_dilation"],
    )


window_sum = Op(
    "window_sum",
    window_type,
    # A float zero also suits integers: JAX only compares it with the monoid's neutral element.
    _window_source("0.0", "add"),
    Linear(_window_sum_adjoint),
    params=WINDOW,
    flops=_window_flops,
)


def window_entries(x, window, strides, dilation):
    """For each offset in the window, in row-major order, the entry every window has there."""
    offsets = [()]
    for n, d in zip(window, dilation, strict=True):
        offsets = [(*o, i * d) for o in offsets for i in range(n)]
    last = offsets[-1]
    stops = [[n - b + a for n, a, b in zip(x.shape, o, last, strict=True)] for o in offsets]
    return [(o, lax.slice(x, o, stop, strides)) for o, stop in zip(offsets, stops, strict=True)]


def window_gather(x, t, window, strides, dilation, prefers):
    """The entry of `t` where each window of `x` has its extremum, the first one if several."""
    entries = window_entries(x, window, strides, dilation)
    tangents = window_entries(t, window, strides, dilation)
    best, chosen = entries[0][1], tangents[0][1]
    for (_, entry), (_, tangent) in zip(entries, tangents, strict=True):
        keep = prefers(best, entry)
        best, chosen = jnp.where(keep, best, entry), jnp.where(keep, chosen, tangent)
    return chosen


def window_scatter(x, g, window, strides, dilation, prefers):
    """Add each entry of `g` where its window of `x` has its extremum, the first if several."""
    entries = window_entries(x, window, strides, dilation)
    best, place = entries[0][1], jnp.zeros(g.shape, jnp.int32)
    for number, (_, entry) in enumerate(entries):
        keep = prefers(best, entry)
        best, place = jnp.where(keep, best, entry), jnp.where(keep, place, number)

    # Window t starts with tile t, the entries from t * stride on. An entry is in the window of
    # its own tile and of up to `reach` tiles before.
    axes = range(x.ndim)
    reach = [entries[-1][0][a] // strides[a] for a in axes]
    tiles = [-(-x.shape[a] // strides[a]) for a in axes]
    around = [(reach[a], tiles[a] - g.shape[a], 0) for a in axes]
    place = lax.pad(place, jnp.int32(-1), around)
    g = lax.pad(g, jnp.zeros((), g.dtype), around)

    def collect(phase):
        """What the entries at `phase` in all tiles receive."""
        total = jnp.zeros(tiles, g.dtype)
        for number, (offset, _) in enumerate(entries):
            if all(offset[a] % strides[a] == phase[a] for a in axes):
                start = [reach[a] - offset[a] // strides[a] for a in axes]
                stop = [start[a] + tiles[a] for a in axes]
                here = lax.slice(place, start, stop) == number
                total += jnp.where(here, lax.slice(g, start, stop), 0)
        return total

    def interleave(phase):
        axis = len(phase)
        if axis == x.ndim:
            return collect(phase)
        return jnp.stack([interleave((*phase, i)) for i in range(strides[axis])], axis + 1)

    whole = interleave(()).reshape([tiles[a] * strides[a] for a in axes])
    return lax.slice(whole, [0] * x.ndim, x.shape)


def window_winner(x, window, strides, dilation, prefers):
    """Where in `x.ravel()` each window of `x` has its extremum, the first one if several."""

    def better(first, second):
        (v, i), (w, j) = first, second
        keep = prefers(v, w) & ((v != w) | (i < j))
        return jnp.where(keep, v, w), jnp.where(keep, i, j)

    places = lax.iota(jnp.int32, x.size).reshape(x.shape)
    nothing = jnp.array(-jnp.inf if prefers is lax.ge else jnp.inf, x.dtype), jnp.int32(x.size)
    found = lax.reduce_window(
        (x, places), nothing, better, window, strides, "VALID", window_dilation=dilation
    )
    return found[1]


UNROLLED = 64
"""Windows with more entries than this are searched by a loop, so that they compile fast."""


def _choice_type(x: Type, **p: Any) -> Shape:
    extents = [dilated(n, d) for n, d in zip(p["window"], p["dilation"], strict=True)]
    return tuple(
        windows_along(*along) for along in zip(x.shape, extents, p["strides"], strict=True)
    )


def _window_gather_type(x: Type, t: Type, **p: Any) -> Type:
    if t.shape != x.shape:
        raise ShapeError(f"shapes {x.shape} and {t.shape} differ")
    return t.with_shape(_choice_type(x, **p))


def _window_scatter_type(x: Type, g: Type, **p: Any) -> Type:
    if g.shape != _choice_type(x, **p):
        raise ShapeError(f"{_choice_type(x, **p)} windows cannot take {g.shape} entries")
    return g.with_shape(x.shape)


def _choice_source(e: Expr) -> str:
    p = e.params
    operands = ", ".join("xyz"[: len(e.args)])
    prefers = "lax.ge" if p["largest"] else "lax.le"
    return (
        f"{e.op.name}({operands}, window={p['window']}, strides={p['strides']}, "
        f"dilation={p['dilation']}, prefers={prefers})"
    )


def _choice_flops(e: Expr) -> int:
    return 2 * math.prod(_choice_type(e.args[0].type, **e.params)) * math.prod(e.params["window"])


def _choice_op(
    type_rule: Callable[..., Type],
    derivative: Derivative,
    *,
    helpers: tuple[Callable[..., Any], ...],
) -> Op:
    """What the last of the helpers does with the extrema of windows."""
    return Op(
        helpers[-1].__name__,
        type_rule,
        _choice_source,
        derivative,
        params=("window", "strides", "dilation", "largest"),
        helpers=helpers,
        flops=_choice_flops,
    )


window_gather_op = _choice_op(
    _window_gather_type,
    Linear(lambda g, y, x, t: window_scatter_op(x, g, **y.params), operands=(1,)),
    helpers=(window_entries, window_gather),
)
"""Reads its second operand where the windows of the first have their extremum."""

window_scatter_op = _choice_op(
    _window_scatter_type,
    Linear(lambda g, y, x, t: window_gather_op(x, g, **y.params), operands=(1,)),
    helpers=(window_entries, window_scatter),
)
"""Adjoint of `window_gather` in the second operand; which entry wins is piecewise constant."""

window_winner_op = _choice_op(
    lambda x, **p: Type(_choice_type(x, **p), np.dtype(np.int32)),
    CONSTANT,
    helpers=(window_winner,),
)
"""The same choice as positions in the flattened operand, for windows of many entries."""


def _framed(x: Expr, value: float, p: Any) -> Expr:
    """`x` with the padding and the holes of its windows written out."""
    low, high = tuple(a for a, _ in p["padding"]), tuple(b for _, b in p["padding"])
    interior = tuple(d - 1 for d in p["base_dilation"])
    if not any((*low, *high, *interior)):
        return x
    return pad(x, constant(value, x.dtype), low=low, high=high, interior=interior)


def _choice(p: Any, largest: bool) -> dict[str, Any]:
    return {
        "window": p["window_dimensions"],
        "strides": p["window_strides"],
        "dilation": p["window_dilation"],
        "largest": largest,
    }


def _is_unrolled(x: Expr, p: Any) -> bool:
    """Positions of winners are 32-bit integers, which number the entries of most arrays."""
    return math.prod(p["window_dimensions"]) <= UNROLLED or x.type.size >= 2**31


def scatter_to_winner(x: Expr, g: Expr, *, largest: bool, **p: Any) -> Expr:
    """`g`, one entry per window of `x`, added up where the windows have their first extremum."""
    if g.type.size == 0 or x.type.size == 0:
        return zeros(g.type.with_shape(x.shape))
    framed, choice = _framed(x, -math.inf if largest else math.inf, p), _choice(p, largest)
    if _is_unrolled(framed, p):
        found = window_scatter_op(framed, g, **choice)
    else:
        flat = zeros(g.type.with_shape((framed.type.size,)))
        winner = window_winner_op(framed, **choice)
        found = reshape(
            scatter_add(flat, g, winner, indexing=rows(flat.shape, winner.ndim)), shape=framed.shape
        )
    if framed is x:
        return found
    return pad.derivative.adjoint(found, framed, *framed.args)[0]  # type: ignore[union-attr]


def gather_from_winner(x: Expr, t: Expr, *, largest: bool, **p: Any) -> Expr:
    """The entries of `t` where the windows of `x` have their first extremum."""
    shape = window_type(x.type, **p).shape
    if math.prod(shape) == 0:
        return zeros(t.type.with_shape(shape))
    framed, choice = _framed(x, -math.inf if largest else math.inf, p), _choice(p, largest)
    tangents = _framed(t, 0, p)
    if _is_unrolled(framed, p):
        return window_gather_op(framed, tangents, **choice)
    winner = window_winner_op(framed, **choice)
    flat = reshape(tangents, shape=(framed.type.size,))
    return gather(flat, winner, indexing=rows(flat.shape, winner.ndim))


def _window_extremum(name: str, init: str, monoid: str, *, largest: bool) -> Op:
    return Op(
        name,
        window_type,
        _window_source(init, monoid),
        Custom(
            pullback=lambda g, y, x: (scatter_to_winner(x, g, largest=largest, **y.params),),
            pushforward=lambda t, y, x: gather_from_winner(x, t[0], largest=largest, **y.params),
        ),
        params=WINDOW,
        flops=_window_flops,
    )


# An infinity also suits integers: JAX only compares it with the monoid's neutral element.
window_max = _window_extremum("window_max", "-jnp.inf", "max", largest=True)
window_min = _window_extremum("window_min", "jnp.inf", "min", largest=False)
"""Of entries that tie, the first in row-major order takes the derivative, as in JAX."""
