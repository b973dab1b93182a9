"""Products with one kind of curvature: at some parameters, on all data or batch by batch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from symgrad.api import jit
from symgrad.curvature.batches import Batches, check_data
from symgrad.curvature.remembered import remembered
from symgrad.curvature.vectors import Space
from symgrad.errors import ArgumentError, ArgumentValueError
from symgrad.tracing import is_constant
from symgrad.transform import Transformed
from symgrad.walk import dependents


@dataclass(frozen=True, eq=False)
class Product:
    """A symmetric linear map of trees of parameters, at fixed parameters.

    Attributes:
        along: `(v, params, *data)` to the product with `v`, one compiled program.
        loss: what is differentiated.
        hessian: whether the product is with the Hessian of `loss`.
        params: where.
        space: of the vectors.
        data: the arguments after the parameters, where all of it is there at once.
        batches: where it is not.
        positive: whether no product with any vector has a negative inner product with it.
    """

    along: Transformed
    loss: Callable[..., Any]
    params: Any
    space: Space
    data: tuple[Any, ...] = ()
    batches: Batches | None = None
    hessian: bool = False
    positive: bool = False
    _seen: set[int | None] = field(default_factory=set, repr=False)

    def __post_init__(self) -> None:
        if self.batches is None:
            check_data(self.data, "the data")
            # Traces and differentiates, so that a loss that cannot be is refused here.
            self.along.graph(*self.example)
        elif self.data:
            raise ArgumentError(
                "both data and batches were given",
                fix="pass the data after the parameters, or as batches=",
            )

    @property
    def example(self) -> tuple[Any, ...]:
        """Arguments of `along`, the vector of no particular value.

        Raises:
            ArgumentError: there is no batch.
        """
        data = self.data if self.batches is None else next(iter(self.batches))[2]
        return (self.params, self.params, *data)

    @functools.cached_property
    def constant(self) -> bool:
        """Whether it is the same at all parameters, as the Hessian of a quadratic function."""
        graph = self.along.graph(*self.example)
        count = len(self.space.shapes)
        below = dependents(graph.nodes, graph.inputs[count : 2 * count])
        return below.isdisjoint(graph.outputs)

    def one(self, vector: Any) -> Any:
        """The product with one tree."""
        return self._over_data(self.along, vector)

    def several(self, vectors: Any) -> Any:
        """Products with trees along a leading axis: one batched program."""
        return self._over_data(batched(self.along), vectors)

    def flat(self, vector: Any) -> Any:
        """The product with a flat vector."""
        return self._over_data(flattened(self.along, self.space), vector)

    def columns(self, matrix: Any) -> Any:
        """The products with the columns of a matrix."""
        rows = self._over_data(flattened(batched(self.along), self.space), jnp.transpose(matrix))
        return jnp.transpose(rows)

    def _over_data(self, program: Callable[..., Any], vector: Any) -> Any:
        if self.batches is None:
            found = program(vector, self.params, *self.data)
            self._check_finite(found, vector, self.data, None)
            return found
        total, weights = jax.tree.map(jnp.zeros_like, vector), 0.0
        step = accumulating(program)
        for number, weight, data in self.batches:
            total = step(total, weight, vector, self.params, *data)
            self._check_finite(total, vector, data, number)
            weights += weight
        if self.batches.reduction == "sum":
            return total
        return jax.tree.map(lambda t: (t / weights).astype(t.dtype), total)

    def _check_finite(
        self, found: Any, vector: Any, data: tuple[Any, ...], batch: int | None
    ) -> None:
        """Raise at what is not a number, and say where it comes from.

        The loss itself is looked at once, as its second derivatives may be finite where it is not.
        """
        leaves = jax.tree.leaves(found)
        if not all(map(is_constant, leaves)):
            return
        finite = bool(all_finite(found))
        if finite and batch not in self._seen:
            self._seen.add(batch)
            finite = bool(all_finite(valued(self.loss)(self.params, *data)))
        if finite:
            return
        where = "" if batch is None else f" in batch {batch}"
        tree = self.space.unflat(found) if len(leaves) == 1 and leaves[0].ndim == 1 else found
        for what, values in (("v", vector), ("params", self.params), ("data", data)):
            for path, leaf in jax.tree_util.tree_leaves_with_path(values):
                if not bool(all_finite(leaf)):
                    raise ArgumentValueError(
                        f"`{what}{jax.tree_util.keystr(path)}` has entries that are nan or "
                        f"infinite{where}",
                        fix="replace them, or leave their observations out",
                    )
        value = valued(self.loss)(self.params, *data)
        if not bool(all_finite(value)):
            raise ArgumentValueError(
                f"the loss is {float(jnp.sum(value))}{where}",
                fix="sg.check(loss)(params, *data) says where it stops being finite",
            )
        paths = jax.tree_util.tree_leaves_with_path(tree)
        path = next(jax.tree_util.keystr(p) for p, leaf in paths if not bool(all_finite(leaf)))
        raise ArgumentValueError(
            f"the product with the curvature is nan or infinite at the leaf `{path or 'params'}`"
            f"{where}, while the parameters, the data and the loss are finite",
            fix="look for a kink or an overflow in the loss there, or compute in float64",
        )


@jax.jit
def all_finite(tree: Any) -> Any:
    """Whether no floating-point entry is nan or infinite."""
    leaves = list(map(jnp.asarray, jax.tree.leaves(tree)))
    checks = [jnp.all(jnp.isfinite(x)) for x in leaves if jnp.issubdtype(x.dtype, jnp.inexact)]
    return jnp.all(jnp.stack(checks)) if checks else jnp.asarray(True)


@remembered
def valued(loss: Callable[..., Any]) -> Transformed:
    """The loss, compiled."""
    return jit(loss)


@remembered
def batched(along: Transformed) -> Transformed:
    """The same product with vectors along a leading axis.

    The program for one vector is planned already, and what is batched of it is written as it is:
    orders of multiplying that save operations make batches of small products of large ones.
    """

    def products(vectors: Any, params: Any, *data: Any) -> Any:
        return jax.vmap(lambda v: along(v, params, *data))(vectors)

    products.__name__ = f"several_{along.__name__}"
    return jit(products, rules="none")


@remembered
def flattened(along: Transformed, space: Space) -> Callable[..., Any]:
    """The same product with flat vectors."""

    def product(vector: Any, params: Any, *data: Any) -> Any:
        return space.flat(along(space.unflat(vector), params, *data))

    return jax.jit(product)


@remembered
def accumulating(program: Callable[..., Any]) -> Callable[..., Any]:
    """A compiled step that adds the product on one batch."""

    def step(total: Any, weight: Any, vector: Any, params: Any, *data: Any) -> Any:
        found = program(vector, params, *data)
        return jax.tree.map(lambda t, f: t + (weight * f).astype(t.dtype), total, found)

    return jax.jit(step)
