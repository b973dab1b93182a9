"""Data that comes in minibatches: one pass over them for every product."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from symgrad.curvature.libraries import MissingLibraryError, library
from symgrad.errors import ArgumentError, ArgumentValueError
from symgrad.tracing import type_of


@dataclass(frozen=True, slots=True, eq=False)
class Batches:
    """Minibatches, gone over once for every product.

    Attributes:
        items: may be iterated over again and again; each is a tuple of the data arguments, or
            the only one of them.
        reduction: of the loss over observations: "mean" weighs every batch by its observations.
        progress: whether to show how far each pass is.
    """

    items: Iterable[Any]
    reduction: str = "mean"
    progress: bool = False

    def __post_init__(self) -> None:
        if self.reduction not in ("mean", "sum"):
            raise ArgumentValueError(
                f"reduction={self.reduction!r} is neither 'mean' nor 'sum'",
                fix="say what the loss does with the observations of a batch",
            )
        if not isinstance(self.items, Iterable):
            raise ArgumentError(
                f"batches is a {type(self.items).__name__}, which cannot be iterated over",
                fix="pass a list of tuples, or a data loader",
            )
        if iter(self.items) is self.items:
            raise ArgumentError(
                "batches is an iterator, which is used up after one product",
                fix="pass a list, or an object whose `__iter__` starts anew",
            )

    def __iter__(self) -> Iterator[tuple[int, float, tuple[Any, ...]]]:
        """Number, weight and data of each batch.

        Raises:
            ArgumentError: there is none, or one is empty.
        """
        number = -1
        for number, item in enumerate(self._shown()):
            data = tuple(item) if isinstance(item, tuple | list) else (item,)
            check_data(data, f"batch {number}")
            yield number, self._weight(data), data
        if number < 0:
            raise ArgumentError("there is no batch", fix="pass one batch of data at least")

    def _weight(self, data: tuple[Any, ...]) -> float:
        sizes = [jnp.shape(x)[0] for x in jax.tree.leaves(data) if jnp.ndim(x)]
        return float(sizes[0]) if self.reduction == "mean" and sizes else 1.0

    def _shown(self) -> Iterable[Any]:
        if not self.progress:
            return self.items
        try:
            track = library("rich.progress", "a progress bar", "demo").track
        except MissingLibraryError:
            return self.items
        total = len(self.items) if hasattr(self.items, "__len__") else None  # type: ignore[arg-type]
        return track(self.items, description="batches", total=total, transient=True)


def check_data(data: tuple[Any, ...], where: str) -> None:
    """Whether all data are arrays that have entries.

    Raises:
        ArgumentError: one is not, or has none; the message names it.
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(data):
        try:
            type_of(leaf)
        except TypeError:
            raise ArgumentError(
                f"`data{jax.tree_util.keystr(path)}` of {where} is a {type(leaf).__name__}, not an "
                "array",
                fix="let the loss close over what is no array",
            ) from None
        if 0 in jnp.shape(leaf):
            raise ArgumentError(
                f"{where} is empty: `data{jax.tree_util.keystr(path)}` has shape {jnp.shape(leaf)}",
                fix="a loss over no observations has no curvature: leave empty batches out",
            )
