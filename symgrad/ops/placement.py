"""Where arrays live: the identity, as far as values are concerned, and its own transpose."""

from __future__ import annotations

from typing import Any

from jax.experimental.layout import with_layout_constraint
from jax.sharding import PartitionSpec

from symgrad.expr import Expr, Linear, Named, Op, no_flops


def spec_source(spec: PartitionSpec) -> str:
    return f"jax.P({', '.join(map(repr, spec))})"


def _sharding_source(e: Expr) -> str:
    spec = e.params["spec"]
    where = "{where}" if spec is None else f"jax.NamedSharding({{where}}, {spec_source(spec)})"
    return f"lax.with_sharding_constraint(x, {where})"


constrain = Op(
    "sharding_constraint",
    lambda x, *, where, spec: x,
    _sharding_source,
    Linear(lambda g, y, x: constrain(g, **y.params)),
    params=("where", "spec"),
    flops=no_flops,
)
"""As `jax.lax.with_sharding_constraint`: `where` is a mesh, or a sharding if there is no `spec`."""


def _put_back(g: Expr, y: Expr, x: Expr) -> Expr:
    device, source = y.params["device"], y.params["source"]
    return g if source is None else device_put(g, device=source, source=device)


device_put = Op(
    "device_put",
    lambda x, *, device, source: x,
    "jax.device_put(x, {device})",
    Linear(_put_back),
    params=("device", "source"),
    flops=no_flops,
)
"""As `jax.device_put` in a traced function; `source` is where the operand was, if that is known."""

constrain_layout = Op(
    "layout_constraint",
    lambda x, *, layout, function: x,
    "{function}(x, {layout})",
    Linear(lambda g, y, x: constrain_layout(g, **y.params)),
    params=("layout", "function"),
    flops=no_flops,
)


def with_layout(x: Expr, layout: Any) -> Expr:
    """As `jax.experimental.layout.with_layout_constraint`."""
    function = Named("with_layout_constraint", with_layout_constraint)
    return constrain_layout(x, layout=Named("layout", layout), function=function)
