"""What a user says of an array: the identity at run time, and facts for the laws.

`jax.vmap` may batch what was said of one array; facts of its entries stay true, facts of
matrices where it is plain which axes are theirs.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import jax

from symgrad.expr import Expr, Linear, Op, no_flops

ENTRYWISE = ("positive", "nonnegative")
MATRIX = (
    "symmetric",
    "positive_definite",
    "lower_triangular",
    "upper_triangular",
    "diagonal",
    "orthogonal",
)
FACTS = (*MATRIX, *ENTRYWISE, "simplex")
"""What may be assumed; `simplex`: nothing negative, and the last axis sums to one."""

Facts = tuple[str, ...]

assumed = Op(
    "assume",
    lambda x, *, facts: x,
    "x",
    Linear(lambda g, y, x: g),
    params=("facts",),
    flops=no_flops,
)
"""The operand, of which these facts are assumed."""

_NAME = re.compile(r"assume_(\w+)_of_(\d+)_axes")


@functools.cache
def identity_with(facts: Facts, ndim: int) -> Callable[[Any], Any]:
    """A function of JAX's that a trace shows with what is assumed of its argument."""

    def identity(x):
        return x

    identity.__name__ = identity.__qualname__ = f"assume_{'_and_'.join(facts)}_of_{ndim}_axes"
    return jax.jit(identity)


def read_assumed(name: str, x: Expr) -> Expr:
    """What a call of such a function means."""
    found = _NAME.fullmatch(name)
    assert found is not None
    facts, ndim = tuple(found[1].split("_and_")), int(found[2])
    if x.ndim > ndim and not _last_are_matrices(x):
        facts = tuple(f for f in facts if f in ENTRYWISE)
    return assumed(x, facts=facts) if facts else x


def _last_are_matrices(x: Expr) -> bool:
    *batch, rows, columns = x.shape
    return rows == columns and rows not in batch


def says(x: Expr, *facts: str) -> bool:
    """Whether one of these facts was assumed of a node."""
    return x.op is assumed and not set(facts).isdisjoint(x.params["facts"])
