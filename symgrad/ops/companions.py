"""Functions that are computed together with others of the same operand, and printed so."""

from __future__ import annotations

from dataclasses import replace

from symgrad.derive import Slot, pullback
from symgrad.expr import Custom, Expr, Op, Pointwise, fresh
from symgrad.ops import accurate
from symgrad.ops.pointwise import logistic, logistic_slope
from symgrad.ops.pointwise import softplus as softplus_of_any
from symgrad.ops.reduce import cumprod, last_axis_as_minus_one, shifted
from symgrad.ops.reduce import logsumexp as logsumexp_of_any
from symgrad.walk import substitute

sigmoid = replace(logistic, name="sigmoid", source="sigmoid(x)", helpers=(accurate.sigmoid,))
sigmoid_of_minus = replace(
    logistic,
    name="sigmoid_of_minus",
    source="sigmoid_of_minus(x)",
    derivative=Pointwise(lambda g, y, x: -(g * logistic_slope(x))),
    helpers=(accurate.sigmoid_of_minus,),
)
softplus = replace(
    softplus_of_any, name="softplus", source="softplus(x)", helpers=(accurate.softplus,)
)
softplus_of_minus = replace(
    softplus,
    name="softplus_of_minus",
    source="softplus_of_minus(x)",
    derivative=Pointwise(lambda g, y, x: -(g * sigmoid_of_minus(x))),
    helpers=(accurate.softplus_of_minus,),
)
logsumexp = replace(
    logsumexp_of_any,
    source=lambda e: f"logsumexp(x, axis={last_axis_as_minus_one(e)})",
    helpers=(accurate.logsumexp,),
)
"""With the exponentials of `softmax`."""


def _by_running_products(x: Expr, axis: int) -> Expr:
    before, after = (cumprod(x, axis=axis, reverse=r) for r in (False, True))
    return shifted(before, axis, forward=True, fill=1) * shifted(after, axis, forward=False, fill=1)


def _pullback_of_others(g: Expr, y: Expr, x: Expr) -> list[Slot]:
    v = fresh(x.type)
    found = pullback([_by_running_products(v, y.params["axis"])], [g], [v])
    return [substitute([f], {v: x})[0] for f in found if f is not None]


product_of_others = Op(
    "product_of_others",
    lambda x, *, axis: x,
    "product_of_others(x, axis={axis})",
    Custom(_pullback_of_others),
    params=("axis",),
    flops=lambda e: 3 * e.type.size,
    helpers=(accurate.product_of_others,),
)
"""For every entry the product of the others, which running products from both ends give too."""


def as_product_of_others(e: Expr) -> Expr | None:
    """An operation that says what two running products say."""
    for x in (a.args[0] for joined in e.args for a in joined.args if a.args):
        if x.op is cumprod and e is _by_running_products(x.args[0], x.params["axis"]):
            return product_of_others(*x.args, axis=x.params["axis"])
    return None
