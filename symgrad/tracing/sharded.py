"""JAX primitives of programs for many devices: shards, collectives, and where arrays live.

How an array is laid out over devices is not part of what it is, so meshes with explicit axes
are read as meshes whose axes the compiler takes care of.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from jax.extend import core as jex
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from symgrad.expr import Expr, Named, Op, Type, literal
from symgrad.ops import collectives, placement
from symgrad.ops.shape import broadcast, reduce_sum
from symgrad.ops.sharded import sharded
from symgrad.tracing.homes import Shards, within
from symgrad.walk import Graph

ReadGraph = Callable[[Any], Graph]


def readers(read_graph: ReadGraph) -> dict[str, Callable[..., Any]]:
    """The readers of this family, given how the jaxprs they hold are read."""
    return {"shard_map": functools.partial(_read_shard_map, read_graph), **PLACED}


def _read_shard_map(
    read_graph: ReadGraph,
    *operands: Expr,
    jaxpr: Any,
    mesh: Any,
    in_specs: Any,
    out_specs: Any,
    check_vma: bool,
    newly_manual_axes: Any,
) -> Expr | None:
    """Without results it is run for its effects, and left to JAX."""
    partial = any(s.unreduced or s.reduced for s in (*in_specs, *out_specs))
    named = all(isinstance(a, str) for a in mesh.axis_names)
    if partial or not named or not out_specs:
        return None
    with within(Shards(mesh, newly_manual_axes, check_vma)):
        body = read_graph(jex.ClosedJaxpr(jaxpr, ()))
    return sharded(
        *operands,
        body=body,
        mesh=Named("mesh", automatic(mesh)),
        in_specs=tuple(in_specs),
        out_specs=tuple(out_specs),
        check_vma=check_vma,
        axes=tuple(a for a in mesh.axis_names if a in newly_manual_axes),
    )


def automatic(mesh: Any) -> Any:
    """A mesh in which no axis is explicit."""
    types = mesh.axis_types
    if AxisType.Explicit not in types:
        return mesh
    types = tuple(AxisType.Auto if t == AxisType.Explicit else t for t in types)
    if isinstance(mesh, Mesh):
        return Mesh(mesh.devices, mesh.axis_names, axis_types=types)
    return mesh.update(axis_types=types)


def _read_psum(x: Expr, *, axes: Any, axis_index_groups: Any) -> Expr | None:
    positions = tuple(a for a in axes if isinstance(a, int))
    names = collectives.named_axes([a for a in axes if not isinstance(a, int)])
    if names is None:
        return None
    x = reduce_sum(x, axes=positions) if positions else x
    if not names:
        return x
    return collectives.psum(x, axes=names, groups=_groups(axis_index_groups), invariant=False)


def _groups(groups: Any) -> collectives.Groups:
    return None if groups is None else tuple(map(tuple, groups))


def _over(op: Op, names: Any, *operands: Expr, **params: Any) -> Expr | None:
    """A collective over the axes with these names, if they can be written."""
    axes = collectives.named_axes(names)
    return None if axes is None else op(*operands, axes=axes, **params)


def _read_pvary(x: Expr, *, axes: Any) -> Expr | None:
    """JAX takes a number for one that varies; for a derivative that makes no difference."""
    number = x.args[0] if x.op is broadcast else x
    return x if number.op is literal else _over(collectives.pvary, axes, x)


def _read_all_gather(
    x: Expr,
    *,
    all_gather_dimension: int,
    axis_name: Any,
    axis_index_groups: Any = None,
    axis_size: int,
    tiled: bool,
    invariant: bool = False,
) -> Expr | None:
    return _over(
        collectives.all_gather,
        axis_name,
        x,
        axis=all_gather_dimension,
        size=axis_size,
        tiled=tiled,
        groups=_groups(axis_index_groups),
        invariant=invariant,
    )


def _read_reduce_scatter(
    x: Expr,
    *,
    scatter_dimension: int,
    axis_name: Any,
    axis_index_groups: Any,
    axis_size: int,
    tiled: bool,
) -> Expr | None:
    return _over(
        collectives.reduce_scatter,
        axis_name,
        x,
        axis=scatter_dimension,
        size=axis_size,
        tiled=tiled,
        groups=_groups(axis_index_groups),
    )


def _read_all_to_all(
    x: Expr,
    *,
    split_axis: int,
    concat_axis: int,
    axis_name: Any,
    axis_index_groups: Any,
    tiled: bool,
    result_types: Sequence[Type],
) -> Expr | None:
    """What is not tiled has been given an axis of size 1 before it comes here."""
    return _over(
        collectives.all_to_all,
        axis_name,
        x,
        split=split_axis,
        concat=concat_axis,
        shape=result_types[0].shape,
        groups=_groups(axis_index_groups),
    )


def _read_device_put(*xs: Expr, devices: Any, srcs: Any, copy_semantics: Any) -> tuple[Expr, ...]:
    def put(x: Expr, device: Any, source: Any) -> Expr:
        if device is None:
            return x
        known = None if source is None else Named("device", _automatic_sharding(source))
        return placement.device_put(
            x, device=Named("device", _automatic_sharding(device)), source=known
        )

    return tuple(put(*each) for each in zip(xs, devices, srcs, strict=True))


def _automatic_sharding(where: Any) -> Any:
    if not isinstance(where, NamedSharding):
        return where
    return where.update(mesh=automatic(where.mesh))


def _constrained(x: Expr, sharding: Any) -> Expr:
    plain = isinstance(sharding, NamedSharding) and sharding.memory_kind in (None, "device")
    if not plain or PartitionSpec.UNCONSTRAINED in sharding.spec:
        where = Named("sharding", _automatic_sharding(sharding))
        return placement.constrain(x, where=where, spec=None)
    where = Named("mesh", automatic(sharding.mesh))
    return placement.constrain(x, where=where, spec=sharding.spec)


def _read_constraint(
    x: Expr, *, sharding: Any, layout: Any, context_mesh: Any, unconstrained_dims: Any
) -> Expr | None:
    return _constrained(x, sharding) if layout is None else None


PLACED: dict[str, Callable[..., Any]] = {
    "psum": _read_psum,
    "psum_invariant": lambda x, *, axes: _over(
        collectives.psum, axes, x, groups=None, invariant=True
    ),
    "pmax": lambda x, *, axes, axis_index_groups: _over(
        collectives.pmax, axes, x, groups=_groups(axis_index_groups)
    ),
    "pmin": lambda x, *, axes, axis_index_groups: _over(
        collectives.pmin, axes, x, groups=_groups(axis_index_groups)
    ),
    "pvary": _read_pvary,
    "all_gather": _read_all_gather,
    "all_gather_invariant": lambda x, *, all_gather_dimension, axis_name, axis_size, tiled: (
        _read_all_gather(
            x,
            all_gather_dimension=all_gather_dimension,
            axis_name=axis_name,
            axis_size=axis_size,
            tiled=tiled,
            invariant=True,
        )
    ),
    "reduce_scatter": _read_reduce_scatter,
    "all_to_all": _read_all_to_all,
    "ppermute": lambda x, *, axis_name, perm: _over(
        collectives.ppermute, axis_name, x, pairs=tuple(map(tuple, perm))
    ),
    "pbroadcast": lambda x, *, axis_name, source: _over(
        collectives.pbroadcast, axis_name, x, source=source
    ),
    "axis_index": lambda *, axis_name: _over(collectives.axis_index, axis_name),
    "sharding_constraint": _read_constraint,
    "layout_constraint": lambda x, *, layout: placement.with_layout(x, layout),
    "reshard": lambda x, *, dst_sharding, concrete_mesh: _constrained(x, dst_sharding),
    "device_put": _read_device_put,
}
