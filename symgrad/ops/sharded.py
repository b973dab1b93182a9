"""Programs for many devices: a graph that every device runs on its shards, by `jax.shard_map`.

The derivative of such a program is such a program. With `check_vma` its body says where a value
that all devices share starts to differ (`pvary`), and the body's own derivative is all there is.
Without, what every device was given is summed over the devices on the way back, and the cotangent
of what all devices return alike is split evenly between them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from jax.sharding import PartitionSpec

from symgrad.derive import Slot, pushforward
from symgrad.expr import Expr, Named, Nested, Op, Type, Types, fresh, results
from symgrad.ops.bodies import (
    as_given,
    as_tuple,
    as_types,
    graph_flops,
    plain_function,
    pulled_back,
    residuals,
)
from symgrad.ops.collectives import Axes, psum
from symgrad.ops.placement import spec_source
from symgrad.ops.shape import reshape
from symgrad.ops.varying import settled, spec_axes
from symgrad.walk import UNKNOWN, Graph, bind, substitute


def _whole(shard: Type, spec: PartitionSpec, mesh: Any) -> Type:
    """The type of an array, given that of its shards."""
    shape = list(shard.shape)
    for axis, entry in enumerate(spec):
        names = entry if isinstance(entry, tuple) else (entry,)
        shape[axis] *= math.prod(mesh.shape[n] for n in names if n is not None)
    return shard.with_shape(tuple(shape))


def _sharded_type(
    *operands: Type,
    body: Graph,
    mesh: Named,
    in_specs: tuple[PartitionSpec, ...],
    out_specs: tuple[PartitionSpec, ...],
    check_vma: bool,
    axes: Axes,
) -> Types:
    return as_types(
        [_whole(o.type, s, mesh.value) for o, s in zip(body.outputs, out_specs, strict=True)]
    )


def _sharded_source(e: Expr) -> str:
    p = e.params
    into = ", ".join(map(spec_source, p["in_specs"])) + ("," if len(e.args) == 1 else "")
    out = ", ".join(map(spec_source, p["out_specs"]))
    options = [
        "mesh={mesh}",
        f"in_specs=({into})",
        f"out_specs=({out})" if len(p["out_specs"]) > 1 else f"out_specs={out}",
    ]
    if set(p["axes"]) != set(p["mesh"].value.axis_names):
        options.append(f"axis_names={{{{{', '.join(map(repr, p['axes']))}}}}}")
    if not p["check_vma"]:
        options.append("check_vma=False")
    return f"jax.shard_map({{body}}, {', '.join(options)})(*xs)"


def _sharded_push(tangents: tuple[Slot, ...], ans: Expr, *args: Expr) -> Any:
    """Every device pushes the tangents of its shards forward, beside its own values."""
    p = ans.params
    body = p["body"]
    given = [(i, t, fresh(body.inputs[i].type)) for i, t in enumerate(tangents) if t is not None]
    inside = {i: own for i, _, own in given}
    pushed = pushforward(
        body.outputs, body.inputs, [inside.get(i) for i in range(len(args))], body.origins
    )
    varying = [i for i, t in enumerate(pushed) if t is not None]
    slots: list[Slot] = [None] * len(pushed)
    if varying:
        names = [_name(i, body) for i in body.inputs]
        names += [f"{names[i]}_dot" if names[i] else "" for i in inside]
        found = _run(
            ans,
            bind((*body.inputs, *inside.values()), (*body.outputs, *pushed), tuple(names)),
            (*args, *(t for _, t, _ in given)),
            (*p["in_specs"], *(p["in_specs"][i] for i in inside)),
            (*p["out_specs"], *(p["out_specs"][i] for i in varying)),
        )
        for i, t in zip(varying, found[len(pushed) :], strict=True):
            slots[i] = t
    return as_given(slots)


def _sharded_pull(given: Any, wanted: Sequence[bool], ans: Expr, *args: Expr) -> tuple[Slot, ...]:
    """Every device pulls the cotangents of its shards back; what that reads is kept from before."""
    p = ans.params
    body, in_specs, out_specs = p["body"], p["in_specs"], p["out_specs"]
    outer = as_tuple(given)
    live = [i for i, g in enumerate(outer) if g is not None]
    seeds = {i: fresh(body.outputs[i].type) for i in live}
    pulled = pulled_back(body, [seeds.get(i) for i in range(len(outer))], wanted)
    present = [(i, c) for i, c in enumerate(pulled) if c is not None]
    slots: list[Slot] = [None] * len(args)
    if not present:
        return tuple(slots)
    kept = residuals(pulled, list(seeds.values()), body, set(body.inputs))
    rows, operands, specs = _saved(kept, ans, args)
    whole = [reshape(row, shape=r.shape) for row, r in zip(rows, kept, strict=True)]
    outputs = substitute(
        [_summed(c, _unmentioned(ans, in_specs[i])) for i, c in present],
        dict(zip(kept, whole, strict=True)),
    )
    names = [_name(r, body) for r in kept]
    names += [f"d_{_name(body.outputs[i], body) or 'output'}" for i in live]
    found = _run(
        ans,
        bind((*rows, *seeds.values()), outputs, tuple(names)),
        (*operands, *(_divided(outer[i], _unmentioned(ans, out_specs[i]), ans) for i in live)),
        (*specs, *(out_specs[i] for i in live)),
        tuple(in_specs[i] for i, _ in present),
    )
    for (i, _), slot in zip(present, found, strict=True):
        slots[i] = slot
    return tuple(slots)


def _name(node: Expr, body: Graph) -> str:
    """What the user calls a value of the body."""
    if body.names and node in body.inputs:
        return body.names[body.inputs.index(node)]
    return body.origins.get(node, UNKNOWN).name


def _run(
    ans: Expr,
    body: Graph,
    operands: Sequence[Expr],
    in_specs: Sequence[PartitionSpec],
    out_specs: Sequence[PartitionSpec],
) -> tuple[Expr, ...]:
    """The results of another body on the devices of `ans`."""
    specs = {"in_specs": tuple(in_specs), "out_specs": tuple(out_specs)}
    return results(sharded(*operands, **{**ans.params, **specs, "body": body}))


def _unmentioned(ans: Expr, spec: PartitionSpec) -> Axes:
    """The axes over which JAX cannot tell whether shards are alike."""
    if ans.params["check_vma"]:
        return ()
    return tuple(a for a in ans.params["axes"] if a not in spec_axes(spec))


def _summed(cotangent: Expr, axes: Axes) -> Expr:
    return psum(cotangent, axes=axes, groups=None, invariant=False) if axes else cotangent


def _divided(cotangent: Expr, axes: Axes, ans: Expr) -> Expr:
    count = math.prod(ans.params["mesh"].value.shape[a] for a in axes)
    return cotangent / count if count != 1 else cotangent


def _saved(
    kept: Sequence[Expr], ans: Expr, args: Sequence[Expr]
) -> tuple[list[Expr], list[Expr], list[PartitionSpec]]:
    """Values of the body as inputs of another body: stand-ins, operands and specifications.

    What is not an operand is returned by the body that computes it, shard by shard; a scalar
    that varies needs an axis for that.
    """
    p = ans.params
    body, specs = p["body"], dict(zip(p["body"].inputs, p["in_specs"], strict=True))
    have = dict(zip(body.inputs, args, strict=True))
    rows = {i: i for i in body.inputs}
    inside = [frozenset(spec_axes(s)) for s in p["in_specs"]]
    varying = settled(Graph(body.inputs, (*body.outputs, *kept)), inside).table
    missing = [r for r in kept if r not in have]
    for r in missing:
        axes = tuple(a for a in p["axes"] if a in varying[r][0] or not p["check_vma"])
        specs[r] = PartitionSpec(axes) if axes else PartitionSpec()
        rows[r] = reshape(r, shape=(1,)) if axes and not r.ndim else r
    if missing:
        more = Graph(
            body.inputs, (*body.outputs, *(rows[r] for r in missing)), body.names, body.origins
        )
        out_specs = (*p["out_specs"], *(specs[r] for r in missing))
        found = _run(ans, more, args, p["in_specs"], out_specs)
        have |= dict(zip(missing, found[len(body.outputs) :], strict=True))
    return [fresh(rows[r].type) for r in kept], [have[r] for r in kept], [specs[r] for r in kept]


sharded = Op(
    "shard_map",
    _sharded_type,
    _sharded_source,
    Nested(pullback=_sharded_pull, pushforward=_sharded_push),
    params=("body", "mesh", "in_specs", "out_specs", "check_vma", "axes"),
    flops=lambda e: e.params["mesh"].value.size * graph_flops(e.params["body"]),
    functions=lambda e: (plain_function("body", e.params["body"]),),
)
"""As `jax.shard_map`: every device runs the body on its shards of the operands."""
