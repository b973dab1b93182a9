"""Functions of functions whose results are kept, so that nothing is compiled twice."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

KEPT = 256
"""Results that each function keeps; those not asked for longest are dropped."""


def remembered(make: Callable[..., Any]) -> Callable[..., Any]:
    """`make`, which gives for equal arguments the result that it gave before."""
    kept = functools.lru_cache(maxsize=KEPT)(make)

    @functools.wraps(make)
    def call(*args: Any) -> Any:
        try:
            hash(args)
        except TypeError:
            # Callables that hold arrays have no hash; they are compiled anew each time.
            return make(*args)
        return kept(*args)

    return call
