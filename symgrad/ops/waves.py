"""Waves of sums of angles, and what they differ by, whatever the sum rounds to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from symgrad.expr import Expr, Op, Pointwise, elementwise_type
from symgrad.ops import accurate
from symgrad.ops.pointwise import TRANSCENDENTAL, square, tan


def _of_angles(*partials: Callable[..., Expr], helpers: tuple[Callable[..., Any], ...]) -> Op:
    name = helpers[-1].__name__
    return Op(
        name,
        elementwise_type,
        f"{name}(x, y)",
        Pointwise(*partials),
        elementwise=True,
        flops=lambda e: 4 * TRANSCENDENTAL * e.type.size,
        helpers=helpers,
    )


sin_of_sum = _of_angles(
    lambda g, z, x, y: g * cos_of_sum(x, y),
    lambda g, z, x, y: g * cos_of_sum(x, y),
    helpers=(accurate.sin_of_sum,),
)
cos_of_sum = _of_angles(
    lambda g, z, x, y: -(g * sin_of_sum(x, y)),
    lambda g, z, x, y: -(g * sin_of_sum(x, y)),
    helpers=(accurate.cos_of_sum,),
)
difference_of_tangents = _of_angles(
    lambda g, z, x, d: g * z * (z + 2 * tan(x)),
    lambda g, z, x, d: g / square(cos_of_sum(x, d)),
    helpers=(accurate.cos_of_sum, accurate.difference_of_tangents),
)
"""tan(x + d) - tan(x)"""
