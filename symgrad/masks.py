"""Cotangents that a select has masked, and how they are pulled back.

A cotangent that is zero because another branch was taken must stay zero, whatever it is
multiplied with: `where(x > 0, sqrt(x), 0)` has the derivative 0 at 0, where that of `sqrt`
is infinite. So the select stays outside: not `where(c, g, 0) / y` but `where(c, g / y, 0)`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from symgrad.expr import Expr, Linear, add, mul
from symgrad.ops.pointwise import convert_op, not_, or_, select
from symgrad.ops.shape import (
    broadcast,
    concatenate,
    expand,
    kept_along,
    reduce_sum,
    reshape,
    reshape_op,
    reverse,
    slice_,
    transpose,
    uniform_value,
)

Slot = Expr | None


@dataclass(frozen=True, slots=True)
class Mask:
    """Where a cotangent passes: where `condition` is `passing`; elsewhere it is zero."""

    condition: Expr
    passing: bool

    def __call__(self, cotangent: Expr) -> Expr:
        """The cotangent, zero where it does not pass."""
        if self.passing:
            return select(self.condition, cotangent, 0)
        return select(self.condition, 0, cotangent)

    @property
    def passes(self) -> Expr:
        """The condition under which a cotangent passes."""
        return self.condition if self.passing else not_(self.condition)


Masks = tuple[Mask, ...]
"""From the outside in."""


def masked(cotangent: Expr, masks: Sequence[Mask]) -> Expr:
    for mask in reversed(masks):
        cotangent = mask(cotangent)
    return cotangent


def unmasked(cotangent: Expr) -> tuple[Expr, Masks]:
    """What is inside of the masks, and the masks."""
    masks: list[Mask] = []
    while (found := _outermost(cotangent)) is not None:
        mask, cotangent = found
        masks.append(mask)
    return cotangent, tuple(masks)


def _outermost(cotangent: Expr) -> tuple[Mask, Expr] | None:
    """The mask around a cotangent; truth values as factors are one too."""
    if cotangent.op is select:
        condition, on_true, on_false = cotangent.args
        for kept, other, passing in ((on_true, on_false, True), (on_false, on_true, False)):
            if _is_zero(other) and kept.shape == cotangent.shape:
                return Mask(condition, passing), kept
    if cotangent.op is mul:
        for factor, rest in (cotangent.args, cotangent.args[::-1]):
            truth = factor.op is convert_op and factor.args[0].dtype == bool
            if truth and rest.shape == cotangent.shape:
                return Mask(factor.args[0], True), rest
    return None


def _is_zero(e: Expr) -> bool:
    value = uniform_value(e)
    return value is not None and not np.any(value)


def total(x: Expr, y: Expr) -> Expr:
    """The sum of two cotangents; what masks them both masks the sum."""
    (inner_x, masks_x), (inner_y, masks_y) = unmasked(x), unmasked(y)
    common: list[Mask] = []
    for mine, other in zip(masks_x, masks_y, strict=False):
        if mine != other:
            break
        common.append(mine)
    if not common:
        return _of_both_branches(x, y, masks_x, masks_y)
    rest_x = masked(inner_x, masks_x[len(common) :])
    rest_y = masked(inner_y, masks_y[len(common) :])
    return masked(total(rest_x, rest_y), common)


def _of_both_branches(x: Expr, y: Expr, masks_x: Masks, masks_y: Masks) -> Expr:
    """The sum of what passes in either branch of one select is a select again."""
    if masks_x and masks_y and masks_x[0].condition is masks_y[0].condition:
        rest_x, rest_y = (_outermost(e)[1] for e in (x, y))  # type: ignore[index]
        on_true, on_false = (rest_x, rest_y) if masks_x[0].passing else (rest_y, rest_x)
        return select(masks_x[0].condition, on_true, on_false)
    return x + y


def through_pointwise(cotangent: Expr, partial: Callable[[Expr], Expr]) -> Expr:
    """An elementwise partial applied to a cotangent, inside of its masks."""
    inner, masks = unmasked(cotangent)
    if not masks and (support := _support(cotangent)) is not None:
        masks = (Mask(support, True),)
    return masked(partial(inner), masks)


def through_entries(cotangent: Expr, pull: Callable[[Expr], Sequence[Slot]]) -> tuple[Slot, ...]:
    """The cotangents of an elementwise operation's operands, masked as the cotangent is."""
    inner, masks = unmasked(cotangent)
    return tuple(None if p is None else masked(p, masks) for p in pull(inner))


LARGEST_SUM = 8
"""So many cotangents, each with a mask of its own, may have a mask together."""


def _support(cotangent: Expr) -> Expr | None:
    """Where a sum of masked cotangents may differ from zero."""
    waiting, found = [cotangent], None
    for _ in range(2 * LARGEST_SUM):
        if not waiting:
            return found
        node = waiting.pop()
        if node.op is add:
            waiting.extend(node.args)
            continue
        outermost = _outermost(node)
        if outermost is None or outermost[0].condition.shape != cotangent.shape:
            return None
        condition = outermost[0].passes
        found = condition if found is None else or_(found, condition)
    return None


MOVES = frozenset({reduce_sum, reshape_op, transpose, reverse, slice_, concatenate})
"""Linear operations whose adjoints move entries: they do the same to a mask."""


def through_linear(cotangent: Expr, node: Expr, fact: Linear) -> tuple[Expr, ...]:
    """The cotangents of a linear operation's operands, masked as the cotangent is."""

    def pulled(g: Expr) -> tuple[Expr, ...]:
        found = fact.adjoint(g, node, *node.args)
        return found if isinstance(found, tuple) else (found,)

    inner, masks = unmasked(cotangent)
    if masks and node.op.elementwise:
        return tuple(masked(p, masks) for p in pulled(inner))
    if masks and node.op in MOVES:
        moved = [(pulled(m.condition) if m.condition.ndim else None, m) for m in masks]
        return tuple(
            masked(p, [m if c is None else Mask(c[i], m.passing) for c, m in moved])
            for i, p in enumerate(pulled(inner))
        )
    if masks and node.op is broadcast:
        return (_summed(inner, masks, node, pulled),)
    return pulled(cotangent)


def _summed(
    inner: Expr, masks: Masks, node: Expr, pulled: Callable[[Expr], tuple[Expr, ...]]
) -> Expr:
    """A sum over repeated entries is masked by what is the same for all that it sums."""
    (x,) = node.args
    repeated = [a for a in range(node.ndim) if a not in node.params["axes"]]
    repeated += [a for i, a in enumerate(node.params["axes"]) if x.shape[i] != node.shape[a]]
    outside: list[Mask] = []
    for mask in masks:
        condition = _without(mask.condition, repeated)
        if condition is None:
            break
        shape = x.shape if condition.ndim else ()
        outside.append(Mask(reshape(condition, shape=shape), mask.passing))
    (found,) = pulled(masked(inner, masks[len(outside) :]))
    return masked(found, outside)


def through_rows(
    cotangent: Expr, node: Expr, pull: Callable[[Expr], tuple[Slot, ...]]
) -> tuple[Slot, ...]:
    """The cotangents of a function of rows; what masks a whole row masks what is pulled back."""
    inner, masks = unmasked(cotangent)
    outside: list[Mask] = []
    for mask in masks:
        condition = _of_rows(mask.condition, node)
        if condition is None:
            break
        outside.append(Mask(condition, mask.passing))
    pulled = pull(masked(inner, masks[len(outside) :]))
    return tuple(None if p is None else masked(p, outside) for p in pulled)


def _of_rows(condition: Expr, node: Expr) -> Expr | None:
    """A condition on results of an operation on rows as one on its operands."""
    axis, shape = node.params["axis"], node.args[0].shape
    if condition.ndim and node.shape != shape:
        return expand(condition, (axis,), shape)
    return condition if kept_along(condition, axis) is not None else None


def _without(condition: Expr, axes: Sequence[int]) -> Expr | None:
    """A condition that is the same along these axes, with the axes left out."""
    if condition.ndim == 0:
        return condition
    found: Expr | None = condition
    for axis in sorted(axes, reverse=True):
        found = None if found is None else kept_along(found, axis)
    return found
