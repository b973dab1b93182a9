"""Running maxima, minima and log-sum-exps; running sums and products are in `ops.reduce`."""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax import lax

from symgrad.errors import ShapeError
from symgrad.expr import Custom, Expr, Linear, Op, Type, constant
from symgrad.ops.pointwise import TRANSCENDENTAL, eq, logistic, select
from symgrad.ops.reduce import recurrence, shifted


def _same_type(x: Type, *, axis: int, reverse: bool) -> Type:
    return x


def _source(e: Expr) -> str:
    reverse = ", reverse=True" if e.params["reverse"] else ""
    return f"lax.{e.op.name}(x, axis={e.params['axis']}{reverse})"


def shares(x, y, extremum):
    """How much of a derivative goes to either of two values; both get half of it if they tie."""
    first, second = x == extremum(x, y), y == extremum(x, y)
    return (
        jnp.where(first, jnp.where(second, 0.5, 1.0), 0.0),
        jnp.where(second, jnp.where(first, 0.5, 1.0), 0.0),
    )


def running_gather(x, t, extremum, axis, reverse):
    """The entries of `t` where `x` has its running extremum; ties are shared pair by pair."""

    def combine(first, second):
        (x, s), (y, t) = first, second
        a, b = shares(x, y, extremum)
        return extremum(x, y), a * s + b * t

    return lax.associative_scan(combine, (x, t), axis=axis, reverse=reverse)[1]


def running_scatter(x, g, extremum, axis, reverse):
    """Add each entry of `g` where `x` has its running extremum, by the same pairs.

    An associative scan combines neighbours, scans the pairs, and combines what stands before
    every other entry with that entry. Here the cotangents go the same way backwards.
    """

    def placed(y, start, step, size):
        end = size - start - step * (len(y) - 1) - 1
        return lax.pad(
            y, jnp.zeros((), y.dtype), [(start, end, step - 1)] + [(0, 0, 0)] * (y.ndim - 1)
        )

    def pull(x, g):
        n = len(x)
        if n < 2:
            return g
        first, second, later = x[:-1:2], x[1::2], x[2::2]
        pairs = extremum(first, second)
        before = lax.associative_scan(extremum, pairs)[: len(later)]
        a, b = shares(before, later, extremum)
        of_pairs = pull(pairs, g[1::2] + placed(a * g[2::2], 0, 1, len(pairs)))
        c, d = shares(first, second, extremum)
        alone = jnp.concatenate([g[:1], b * g[2::2]])
        return (
            placed(alone, 0, 2, n) + placed(c * of_pairs, 0, 2, n) + placed(d * of_pairs, 1, 2, n)
        )

    if reverse:
        x, g = jnp.flip(x, axis), jnp.flip(g, axis)
    found = jnp.moveaxis(pull(jnp.moveaxis(x, axis, 0), jnp.moveaxis(g, axis, 0)), 0, axis)
    return jnp.flip(found, axis) if reverse else found


def _choice_type(x: Type, t: Type, *, axis: int, reverse: bool, largest: bool) -> Type:
    if t.shape != x.shape:
        raise ShapeError(f"shapes {x.shape} and {t.shape} differ")
    return t


def _choice_source(e: Expr) -> str:
    extremum = "lax.max" if e.params["largest"] else "lax.min"
    return f"{e.op.name}(x, y, {extremum}, axis={e.params['axis']}, reverse={e.params['reverse']})"


CHOICE = ("axis", "reverse", "largest")

running_gather_op = Op(
    "running_gather",
    _choice_type,
    _choice_source,
    Linear(lambda g, y, x, t: running_scatter_op(x, g, **y.params), operands=(1,)),
    params=CHOICE,
    helpers=(shares, running_gather),
    flops=lambda e: 8 * e.type.size,
)
"""Reads its second operand where the first has its running extremum."""

running_scatter_op = Op(
    "running_scatter",
    _choice_type,
    _choice_source,
    Linear(lambda g, y, x, t: running_gather_op(x, g, **y.params), operands=(1,)),
    params=CHOICE,
    helpers=(shares, running_scatter),
    flops=lambda e: 8 * e.type.size,
)
"""Adjoint of `running_gather` in the second operand; who wins is piecewise constant."""


def _running_extremum(name: str, *, largest: bool) -> Op:
    return Op(
        name,
        _same_type,
        _source,
        Custom(
            pullback=lambda g, y, x: (running_scatter_op(x, g, largest=largest, **y.params),),
            pushforward=lambda t, y, x: running_gather_op(x, t[0], largest=largest, **y.params),
        ),
        params=("axis", "reverse"),
    )


cummax = _running_extremum("cummax", largest=True)
cummin = _running_extremum("cummin", largest=False)


def cumlogsumexp(x, axis, reverse=False):
    """Scanned in parallel; lax.cumlogsumexp sums every window anew where it is not derived."""

    def combine(x, y):
        gap = jnp.where(x == y, 0, jnp.abs(x - y))
        return jnp.maximum(x, y) + jnp.log1p(jnp.exp(-gap))

    return lax.associative_scan(combine, x, axis=axis, reverse=reverse)


def _cumlogsumexp_push(tangents: tuple[Expr, ...], y: Expr, x: Expr) -> Expr:
    """y[i] = logaddexp(y[i - 1], x[i]), so tangents follow a linear recurrence."""
    p = y.params
    before = shifted(y, p["axis"], forward=not p["reverse"], fill=-math.inf)
    nothing = eq(before, constant(-math.inf, x.dtype))
    gap = select(nothing, math.inf, x - before)
    return recurrence(logistic(-gap), logistic(gap) * tangents[0], **p)


cumlogsumexp_op = Op(
    "cumlogsumexp",
    _same_type,
    lambda e: _source(e).removeprefix("lax."),
    Custom(pushforward=_cumlogsumexp_push),
    params=("axis", "reverse"),
    flops=lambda e: TRANSCENDENTAL * e.type.size,
    helpers=(cumlogsumexp,),
)
