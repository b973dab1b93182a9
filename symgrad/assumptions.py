"""Assumptions: what you know of an array and symgrad cannot see, and whether it is true."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symgrad.api import trace
from symgrad.errors import ArgumentError, ArgumentValueError, Frame
from symgrad.graph import Graph
from symgrad.ops.assume import ENTRYWISE, FACTS, MATRIX, assumed, identity_with
from symgrad.walk import UNKNOWN

TOLERANCE = 100
"""Units in the last place of the largest entry that a fact may be missed by."""

CONTRADICTIONS = (
    ({"diagonal", "lower_triangular", "upper_triangular"}, {"positive"}),
    ({"orthogonal"}, {"positive"}),
)
"""Facts of which no matrix of several rows has one of each kind."""


def assume(x: Any, *facts: str) -> Any:
    """`x`, of which these facts are known from here on.

    At run time nothing is done and nothing is checked: a program whose assumption is wrong
    gives wrong results. `check_assumptions` tests them. Derivatives are those along arrays
    that have the facts too: a triangular matrix has a triangular gradient.

    Args:
        x: an array; matrices are the last two axes.
        facts: `"symmetric"`, `"positive_definite"` (symmetric too), `"lower_triangular"`,
            `"upper_triangular"`, `"diagonal"`, `"orthogonal"`, `"positive"`, `"nonnegative"`,
            `"simplex"` (nothing negative, the last axis sums to one).

    Raises:
        ArgumentValueError: a fact is not known, or two contradict each other.
        ArgumentError: no array of this shape and dtype can have such a fact.

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> f = lambda a, b: jnp.linalg.solve(sg.assume(a, "positive_definite"), b)
        >>> "cholesky" in sg.jit(f).source(jnp.eye(3), jnp.ones(3))
        True
    """
    x = jnp.asarray(x)
    _check(x, facts)
    return identity_with(tuple(dict.fromkeys(facts)), x.ndim)(x)


def _check(x: Any, facts: tuple[str, ...]) -> None:
    unknown = [f for f in facts if f not in FACTS]
    if unknown or not facts:
        raise ArgumentValueError(
            f"assume does not know the fact {unknown[0]!r}" if unknown else "assume got no fact",
            fix=f"pass one or several of {', '.join(FACTS)}",
        )
    of_matrices = [f for f in facts if f in MATRIX]
    if of_matrices and (x.ndim < 2 or x.shape[-1] != x.shape[-2]):
        raise ArgumentError(
            f"an array of shape {x.shape} cannot be assumed {_words(of_matrices[0])}: its last "
            "two axes are no square matrix",
            fix="assume it of the matrix, before it is reshaped or sliced",
        )
    if "simplex" in facts and (x.ndim < 1 or not jnp.issubdtype(x.dtype, jnp.floating)):
        raise ArgumentError(
            f"an array of shape {x.shape} and dtype {x.dtype} cannot be assumed to be a simplex",
            fix="the weights along the last axis are floats",
        )
    if jnp.iscomplexobj(x) and not set(facts).isdisjoint((*ENTRYWISE, "positive_definite")):
        raise ArgumentError(
            f"an array of dtype {x.dtype} cannot be assumed {_words(facts[0])}",
            fix="assume it of its real part",
        )
    for some, others in CONTRADICTIONS:
        pair = [f for f in facts if f in some][:1] + [f for f in facts if f in others][:1]
        if len(pair) == 2 and x.shape[-1] > 1:
            raise ArgumentValueError(
                f"no matrix of shape {x.shape} is both {_words(pair[0])} and {_words(pair[1])}",
                fix="leave one of them out",
            )


def _words(fact: str) -> str:
    return fact.replace("_", " ")


@dataclass(frozen=True, slots=True)
class Assumption:
    """One fact that was assumed, and what was found.

    Attributes:
        fact: as `assume` took it.
        frame: the user's line.
        holds: whether it is true of the value, short of rounding.
        distance: how far it is from being true, as a part of the largest entry.

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> f = lambda a: jnp.linalg.inv(sg.assume(a, "symmetric"))
        >>> found = sg.check_assumptions(f)(jnp.array([[1.0, 2.0], [0.0, 1.0]])).found
        >>> [(assumption.fact, assumption.holds) for assumption in found]
        [('symmetric', False)]
    """

    fact: str
    frame: Frame | None
    holds: bool
    distance: float

    def __str__(self) -> str:
        verdict = "holds" if self.holds else f"is wrong by {self.distance:.1e}"
        place = f"\n{self.frame.excerpt()}" if self.frame else ""
        return f"{_words(self.fact)}: {verdict}{place}"


@dataclass(frozen=True, slots=True)
class Assumptions:
    """All assumptions that a call makes; true if they hold.

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> f = lambda a: jnp.linalg.inv(sg.assume(a, "symmetric"))
        >>> bool(sg.check_assumptions(f)(jnp.eye(2)))
        True
    """

    found: tuple[Assumption, ...]

    @property
    def wrong(self) -> tuple[Assumption, ...]:
        """Those that do not hold.

        Example:
            >>> import jax.numpy as jnp
            >>> import symgrad as sg
            >>> f = lambda a: jnp.linalg.inv(sg.assume(a, "symmetric"))
            >>> sg.check_assumptions(f)(jnp.eye(2)).wrong
            ()
        """
        return tuple(a for a in self.found if not a.holds)

    def __bool__(self) -> bool:
        return not self.wrong

    def __str__(self) -> str:
        return "\n".join(map(str, self.found)) or "nothing is assumed"


def check_assumptions(fun: Callable[..., Any]) -> Callable[..., Assumptions]:
    """A function that takes the arguments of `fun` and tests what `fun` assumes of its values.

    What is assumed inside of a loop, a branch or another function with its own body is not
    tested.

    Example:
        >>> import jax.numpy as jnp
        >>> import symgrad as sg
        >>> f = lambda a: jnp.linalg.inv(sg.assume(a, "symmetric"))
        >>> bool(sg.check_assumptions(f)(jnp.eye(3)))
        True
        >>> bool(sg.check_assumptions(f)(jnp.triu(jnp.ones((3, 3)))))
        False
    """

    def checked(*args: Any) -> Assumptions:
        graph = trace(fun, *args)
        nodes = [n for n in graph.nodes if n.op is assumed]
        if not nodes:
            return Assumptions(())
        values = Graph(graph.inputs, tuple(n.args[0] for n in nodes), graph.names).compile()(
            *jax.tree.leaves(args)
        )
        values = values if len(nodes) > 1 else (values,)
        found = []
        for node, value in zip(nodes, values, strict=True):
            frame = graph.origins.get(node, UNKNOWN).frame
            for fact in node.params["facts"]:
                found.append(_tested(fact, np.asarray(value), frame))
        return Assumptions(tuple(found))

    return checked


def _tested(fact: str, x: np.ndarray, frame: Frame | None) -> Assumption:
    distance = float(np.max(DISTANCES[fact](x), initial=0.0))
    scale = float(np.max(np.abs(x), initial=0.0)) or 1.0
    exact = not np.issubdtype(x.dtype, np.inexact)
    allowed = 0.0 if exact else TOLERANCE * float(jnp.finfo(x.dtype).eps)
    allowed = 0.0 if fact in ENTRYWISE else allowed
    # nan is no distance at all, and no fact holds of it.
    holds = distance / scale <= allowed and not (fact == "positive" and np.any(x == 0))
    return Assumption(fact, frame, holds, distance / scale)


def _turned(x: np.ndarray) -> np.ndarray:
    return np.swapaxes(x, -1, -2)


def _indefinite(x: np.ndarray) -> np.ndarray:
    """How far it is from being symmetric, or its smallest eigenvalue below zero."""
    lowest = np.linalg.eigvalsh((x + _turned(x)) / 2)[..., :1]
    return np.maximum(np.abs(x - _turned(x)).max(), np.maximum(-lowest, 0))


DISTANCES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "symmetric": lambda x: np.abs(x - _turned(x)),
    "positive_definite": _indefinite,
    "lower_triangular": lambda x: np.abs(np.triu(x, 1)),
    "upper_triangular": lambda x: np.abs(np.tril(x, -1)),
    "diagonal": lambda x: np.abs(x * (1 - np.eye(x.shape[-1]))),
    "orthogonal": lambda x: np.abs(_turned(x) @ x - np.eye(x.shape[-1])),
    "positive": lambda x: np.maximum(-x, 0),
    "nonnegative": lambda x: np.maximum(-x, 0),
    "simplex": lambda x: np.abs(x.sum(-1, keepdims=True) - 1) + np.maximum(-x, 0),
}
"""By how much an array misses each fact, entry by entry."""
