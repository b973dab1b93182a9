"""Dead rows: minus infinity throughout, so that nothing in them has a slope."""

from __future__ import annotations

from symgrad.expr import Expr
from symgrad.laws.masked import is_masked
from symgrad.ops import pointwise, reduce
from symgrad.ops.entropy import (
    masked_log_softmax,
    masked_logaddexp,
    masked_logsumexp,
    masked_softmax,
)
from symgrad.pattern import rewrites


@rewrites(
    *(reduce.softmax, reduce.log_softmax, reduce.logsumexp), exact=False, protects="dead rows"
)
def rows_without_weight(e: Expr) -> Expr | None:
    """A row that is minus infinity throughout has no slope"""
    if not is_masked(e.args[0]):
        return None
    table = {
        reduce.softmax: masked_softmax,
        reduce.log_softmax: masked_log_softmax,
        reduce.logsumexp: masked_logsumexp,
    }
    return table[e.op](e.args[0], **e.params)


@rewrites(pointwise.logaddexp, exact=False, protects="dead rows")
def sums_without_weight(e: Expr) -> Expr | None:
    """A sum of two that are minus infinity has no slope"""
    return masked_logaddexp(*e.args) if any(map(is_masked, e.args)) else None
