"""Numerical traps: naive programs whose true value or derivative is finite, one family a file.

A trap is the program, where it is evaluated, and what is asked of it. What the answer is
follows from the program itself, evaluated to hundreds of digits around the point (`truth`);
only at a kink, where there is none, the trap says which number is right. Variants, precisions
and transformations are generated (`variants`), never written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

PRECISIONS = ("float32", "float64", "bfloat16")


@dataclass(frozen=True, eq=False)
class Trap:
    """A program that is easy to write and hard to evaluate.

    Attributes:
        name: what it computes.
        fun: a function of arrays of any one precision; real numbers in it follow their dtype.
        args: numbers or nested sequences of them, rounded to the precision of the test.
        order: what is asked: "value", "grad", "jvp" or "hvp".
        wrt: the argument to differentiate by.
        tangent: the direction of a "jvp" or "hvp", of the shape of that argument.
        slope: the right answer where the program has none of its own: at a kink, or where a
            mask compares for equality. Numbers, or a function from a context of mpmath and the
            arguments as arrays of its numbers.
        precisions: those in which the program can be evaluated at all.
        units: how far off the answer may be, as a multiple of what is usual: the program's
            condition number.
    """

    name: str
    fun: Callable[..., Any]
    args: tuple[Any, ...]
    order: str = "grad"
    wrt: int = 0
    tangent: Any = None
    slope: Any = None
    precisions: tuple[str, ...] = PRECISIONS
    units: float = 1.0

    def __init__(self, name: str, fun: Callable[..., Any], *args: Any, **facts: Any):
        for attribute, value in {"name": name, "fun": fun, "args": args, **facts}.items():
            if attribute not in self.__dataclass_fields__:
                raise TypeError(f"a trap has no {attribute!r}")
            object.__setattr__(self, attribute, value)

    def arrays(self, dtype: Any) -> tuple[Any, ...]:
        """The arguments, rounded."""
        return tuple(jnp.asarray(np.array(a, np.float64).astype(dtype)) for a in self.args)

    def direction(self, dtype: Any) -> Any:
        """Where a derivative is taken along: `tangent`, or equally along all entries."""
        x = np.array(self.args[self.wrt], np.float64)
        given = np.ones_like(x) if self.tangent is None else np.array(self.tangent, np.float64)
        return jnp.asarray(given.astype(dtype))

    def __str__(self) -> str:
        return self.name.replace(" ", "_")


def like(x: Any, values: Any) -> Any:
    """Constants of a program, in the precision of `x`."""
    return jnp.asarray(np.array(values, np.float64), x.dtype)


Traps = Sequence[Trap]
