"""Functions that share an exponential with others of the same operand, and are printed so."""

from __future__ import annotations

from dataclasses import replace

from symgrad.expr import Op, Pointwise
from symgrad.ops import accurate
from symgrad.ops.pointwise import logistic, logistic_slope
from symgrad.ops.pointwise import softplus as softplus_of_any
from symgrad.ops.reduce import last_axis_as_minus_one
from symgrad.ops.reduce import logsumexp as logsumexp_of_any

sigmoid = replace(logistic, name="sigmoid", source="sigmoid(x)", helpers=(accurate.sigmoid,))
sigmoid_of_minus = Op(
    "sigmoid_of_minus",
    logistic.type_rule,
    "sigmoid_of_minus(x)",
    Pointwise(lambda g, y, x: -(g * logistic_slope(x))),
    elementwise=True,
    flops=logistic.flops,
    helpers=(accurate.sigmoid_of_minus,),
)
softplus = replace(
    softplus_of_any, name="softplus", source="softplus(x)", helpers=(accurate.softplus,)
)
softplus_of_minus = Op(
    "softplus_of_minus",
    softplus.type_rule,
    "softplus_of_minus(x)",
    Pointwise(lambda g, y, x: -(g * sigmoid_of_minus(x))),
    elementwise=True,
    flops=softplus.flops,
    helpers=(accurate.softplus_of_minus,),
)
logsumexp = replace(
    logsumexp_of_any,
    source=lambda e: f"logsumexp(x, axis={last_axis_as_minus_one(e)})",
    helpers=(accurate.logsumexp,),
)
"""With the exponentials of `softmax`."""
