"""Values of graphs to any number of digits: what a program means, apart from how it rounds.

`evaluate` gives the value of every output of a graph; `VALUES` has what each elementwise
operation means at one point.
"""

from symgrad.exact.evaluate import evaluate
from symgrad.exact.numbers import context
from symgrad.exact.scalars import VALUES, value_of

__all__ = ["VALUES", "context", "evaluate", "value_of"]
