"""Programs that symgrad emitted itself: traced again, they are read as the graphs they came from.

The text of a program has lost the user's own derivative rules, which were applied
when it was made; its graph still has them.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from symgrad.expr import Expr
from symgrad.tracing.homes import home_of_aval, struct
from symgrad.walk import Graph, Origins, rebuild, topological


class Known:
    """An emitted program and the graph behind it; forgotten with the program."""

    __slots__ = ("__weakref__", "graph", "jitted")

    def __init__(self, graph: Graph, jitted: Any):
        self.graph, self.jitted = graph, jitted


_known: weakref.WeakValueDictionary[str, Known] = weakref.WeakValueDictionary()
_serial = itertools.count(1)
_traces = threading.local()


def new_file(name: str) -> str:
    """A pseudo file name that no other program has."""
    return f"<symgrad {name} #{next(_serial)}>"


def remember(file: str, known: Known) -> None:
    """Let calls of the program whose code is in `file` be read as its graph."""
    _known[file] = known
    for kept in getattr(_traces, "open", ()):
        kept.append(known)


@contextmanager
def keeping() -> Iterator[None]:
    """Programs made while a function is traced live until the trace has been read."""
    _traces.open = [*getattr(_traces, "open", ()), []]
    try:
        yield
    finally:
        _traces.open = _traces.open[:-1]


def behind(closed: Any, file: str, operands: Sequence[Expr]) -> Graph | None:
    """The graph behind a traced call, if it is a call of an emitted program and nothing else.

    JAX derives other jaxprs from that of a program (batched, linearised), which keep its
    name; only the very jaxpr that tracing the program gives is the program.
    """
    known = _known.get(file)
    if known is None or len(operands) != len(known.graph.inputs):
        return None
    pairs = zip(operands, known.graph.inputs, strict=True)
    if any(o.shape != i.shape or o.dtype != i.dtype for o, i in pairs):
        return None
    homes = map(home_of_aval, closed.in_avals)
    avals = [struct(o.type, p) for o, p in zip(operands, homes, strict=True)]
    same = known.jitted.trace(*avals).jaxpr.jaxpr is closed.jaxpr
    return known.graph if same else None


def applied(graph: Graph, operands: Sequence[Expr]) -> Graph:
    """A graph with these operands in place of its inputs; its nodes keep their origins."""
    done = dict(zip(graph.inputs, operands, strict=True))
    origins: Origins = {}
    for node in topological(graph.roots):
        if node not in done:
            done[node] = rebuild(node, tuple(done[a] for a in node.args))
            if node in graph.origins:
                origins[done[node]] = graph.origins[node]
    return graph.with_roots([done[r] for r in graph.roots], origins)
