"""Collectives: operations of one device, or one row of a `vmap`, on the values of all others.

Axes are known by name. What differs along an axis *varies* over it; a value that is the same
everywhere is invariant. Under `jax.shard_map(..., check_vma=True)` every step from one to the
other is an operation: `pvary` is the transpose of the sum that makes its result invariant.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from symgrad.expr import CONSTANT, Expr, Linear, Op, Type, constant, no_flops
from symgrad.ops.index import dynamic_slice
from symgrad.ops.pointwise import eq, select
from symgrad.ops.shape import reshape, zeros

Axes = tuple[str, ...]
Groups = tuple[tuple[int, ...], ...] | None


def axes_source(axes: Axes) -> str:
    """Axis names as collectives take them: one is bare."""
    return repr(axes[0]) if len(axes) == 1 else repr(tuple(axes))


def _call(function: str, e: Expr, *options: str) -> str:
    """A collective as it is called; of its options those that have something to say."""
    groups = e.params.get("groups")
    if groups is not None:
        options += (f"axis_index_groups={[list(g) for g in groups]}",)
    given = ["x", axes_source(e.params["axes"]), *(o for o in options if o)]
    return f"lax.{function}({', '.join(given)})"


def _sum_type(x: Type, *, axes: Axes, groups: Groups, invariant: bool) -> Type:
    return Type(x.shape, x.dtype, x.weak and invariant)


def _sum_adjoint(g: Expr, y: Expr, x: Expr) -> Expr:
    if y.params["invariant"]:
        return pvary(g, axes=y.params["axes"])
    return psum(g, **y.params)


psum = Op(
    "psum",
    _sum_type,
    lambda e: _call("psum", e),
    Linear(_sum_adjoint),
    params=("axes", "groups", "invariant"),
)
"""The sum over an axis. Without `invariant` each device counts as having a sum of its own."""

pvary = Op(
    "pvary",
    lambda x, *, axes: x,
    lambda e: _call("pcast", e, "to='varying'"),
    Linear(lambda g, y, x: psum(g, axes=y.params["axes"], groups=None, invariant=True)),
    params=("axes",),
    elementwise=True,
    flops=no_flops,
)
"""An invariant value as one that may differ from device to device."""


def _extremum(name: str) -> Op:
    return Op(
        name,
        lambda x, *, axes, groups: Type(x.shape, x.dtype),
        lambda e: _call(name, e),
        params=("axes", "groups"),
    )


pmax = _extremum("pmax")
pmin = _extremum("pmin")


def _gathered_type(
    x: Type, *, axes: Axes, axis: int, size: int, tiled: bool, groups: Groups, invariant: bool
) -> Type:
    shape = list(x.shape)
    if tiled:
        shape[axis] *= size
    else:
        shape.insert(axis, size)
    return x.with_shape(tuple(shape))


def _gathered_adjoint(g: Expr, y: Expr, x: Expr) -> Expr:
    p = y.params
    if p["invariant"]:
        return _own_part(pvary(g, axes=p["axes"]), x, p["axes"], p["axis"])
    return reduce_scatter(g, **{k: p[k] for k in reduce_scatter.params})


def _own_part(g: Expr, x: Expr, axes: Axes, axis: int) -> Expr:
    """The part of what was gathered that this device contributed."""
    size = x.shape[axis] if g.ndim == x.ndim else 1
    sizes = (*g.shape[:axis], size, *g.shape[axis + 1 :])
    first = constant(0, np.int32)
    starts = [axis_index(axes=axes) * size if a == axis else first for a in range(g.ndim)]
    return reshape(dynamic_slice(g, *starts, slice_sizes=sizes), shape=x.shape)


all_gather = Op(
    "all_gather",
    _gathered_type,
    lambda e: _call(
        "all_gather",
        e,
        f"axis={e.params['axis']}" if e.params["axis"] else "",
        "tiled=True" if e.params["tiled"] else "",
        "to='invarying'" if e.params["invariant"] else "",
    ),
    Linear(_gathered_adjoint),
    params=("axes", "axis", "size", "tiled", "groups", "invariant"),
    flops=no_flops,
)


def _scattered_type(
    x: Type, *, axes: Axes, axis: int, size: int, tiled: bool, groups: Groups
) -> Type:
    middle = (x.shape[axis] // size,) if tiled else ()
    return x.with_shape((*x.shape[:axis], *middle, *x.shape[axis + 1 :]))


reduce_scatter = Op(
    "reduce_scatter",
    _scattered_type,
    lambda e: _call(
        "psum_scatter",
        e,
        f"scatter_dimension={e.params['axis']}" if e.params["axis"] else "",
        "tiled=True" if e.params["tiled"] else "",
    ),
    Linear(lambda g, y, x: all_gather(g, **y.params, invariant=False)),
    params=("axes", "axis", "size", "tiled", "groups"),
)


all_to_all = Op(
    "all_to_all",
    lambda x, *, axes, split, concat, shape, groups: Type(shape, x.dtype),
    lambda e: _call("all_to_all", e, str(e.params["split"]), str(e.params["concat"]), "tiled=True"),
    Linear(lambda g, y, x: _exchanged_back(g, y, x)),
    params=("axes", "split", "concat", "shape", "groups"),
    flops=no_flops,
)
"""Devices exchange blocks: `split` is cut into one for each, which are joined along `concat`."""


def _exchanged_back(g: Expr, y: Expr, x: Expr) -> Expr:
    p = y.params
    return all_to_all(
        g,
        axes=p["axes"],
        split=p["concat"],
        concat=p["split"],
        shape=x.shape,
        groups=p["groups"],
    )


ppermute = Op(
    "ppermute",
    lambda x, *, axes, pairs: x,
    lambda e: _call("ppermute", e, repr(list(e.params["pairs"]))),
    Linear(
        lambda g, y, x: ppermute(
            g, axes=y.params["axes"], pairs=tuple((d, s) for s, d in y.params["pairs"])
        )
    ),
    params=("axes", "pairs"),
    flops=no_flops,
)
"""Values move from the first to the second device of each pair; the others get zeros."""


def _broadcast_adjoint(g: Expr, y: Expr, x: Expr) -> Expr:
    """The source gets the sum of what everyone's copy contributes."""
    axes = y.params["axes"]
    total = psum(g, axes=axes, groups=None, invariant=False)
    return select(eq(axis_index(axes=axes), y.params["source"]), total, zeros(x.type))


pbroadcast = Op(
    "pbroadcast",
    lambda x, *, axes, source: x,
    lambda e: _call("pbroadcast", e, str(e.params["source"])),
    Linear(_broadcast_adjoint),
    params=("axes", "source"),
    flops=no_flops,
)

axis_index = Op(
    "axis_index",
    lambda *, axes: Type((), np.dtype(np.int32)),
    lambda e: f"lax.axis_index({axes_source(e.params['axes'])})",
    CONSTANT,
    params=("axes",),
    flops=no_flops,
)
"""The number of this device along an axis."""


def named_axes(names: Any) -> Axes | None:
    """Axis names as a tuple; None if they cannot be written in a program."""
    axes = tuple(names) if isinstance(names, Iterable) and not isinstance(names, str) else (names,)
    return axes if all(isinstance(a, str) for a in axes) else None
