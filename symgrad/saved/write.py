"""From a graph to a file."""

from __future__ import annotations

import enum
import io
import json
import math
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from symgrad.errors import Frame, SavedGraphError, SymgradError
from symgrad.expr import Captured, Expr, Scalar, Type
from symgrad.ops.calls import Flags, Rule, custom_vjp
from symgrad.ops.catalogue import UNIQUE_NAMES
from symgrad.ops.limit import variable
from symgrad.saved.files import replacing
from symgrad.saved.layout import (
    DOCUMENT,
    ENUMERATIONS,
    FORMAT,
    KEYS,
    OUTSIDE,
    PLAIN,
    QUOTED,
    RECORDS,
    VERSION,
    array_name,
    is_extended,
    key_dtype,
)
from symgrad.walk import UNKNOWN, Graph

ORDERS = 2
"""How many derivatives of a function with a rule of its own a file can take: each needs a graph."""

BEGINNING = (1980, 1, 1, 0, 0, 0)
"""The date of every member, so that equal graphs give equal files."""


class _NoData(Exception):
    """A value that a file cannot hold; says what it is."""


def write(graph: Graph, path: str | os.PathLike[str]) -> None:
    """Write `graph` to `path`, which has the old contents or all of the new ones.

    Raises:
        SavedGraphError: the graph holds what is no data.
    """
    writer = _Writer()
    writer.graph(graph)
    document = {
        "format": FORMAT,
        "version": VERSION,
        "frames": [_frame(f) for f in writer.frames],
        "graphs": writer.graphs,
    }
    text = json.dumps(document, separators=(",", ":"), allow_nan=False)
    members = {DOCUMENT: text.encode()}
    members.update((array_name(i), _npy(a)) for i, a in enumerate(writer.arrays))
    with replacing(Path(path)) as file, zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, BEGINNING), data)


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _frame(frame: Frame) -> list[Any]:
    """A place without the folder it is in, which is nobody else's business, and its line."""
    place = (frame.line, frame.column, frame.end_line, frame.end_column)
    return [os.path.basename(frame.file), *place, frame.function, frame.raw]


class _Writer:
    """Collects graphs, arrays and places; each is written once."""

    def __init__(self) -> None:
        self.graphs: list[dict[str, Any]] = []
        self.arrays: list[np.ndarray] = []
        self.frames: dict[Frame, int] = {}
        self._written: dict[tuple[int, int], int] = {}
        self._kept: list[Any] = []
        self._array_numbers: dict[int, int] = {}
        self._depth = 0
        self._where: Frame | None = None

    def graph(self, graph: Graph) -> int:
        """The number of a graph; its bodies come before it."""
        key = (id(graph), self._depth)
        if key in self._written:
            return self._written[key]
        self._kept.append(graph)
        nodes = graph.nodes
        numbers = {n: i for i, n in enumerate(nodes)}
        written = [self._node(n, numbers, graph) for n in nodes]
        self.graphs.append(
            {
                "nodes": written,
                "inputs": [numbers[n] for n in graph.inputs],
                "outputs": [numbers[n] for n in graph.outputs],
                "effects": [numbers[n] for n in graph.effects],
                "names": list(graph.names),
                "origins": [self._origin(graph, n) for n in nodes],
            }
        )
        self._written[key] = len(self.graphs) - 1
        return self._written[key]

    def _origin(self, graph: Graph, node: Expr) -> list[Any] | None:
        origin = graph.origins.get(node)
        if origin is None:
            return None
        frame = origin.frame
        number = None if frame is None else self.frames.setdefault(frame, len(self.frames))
        return [number, origin.name, origin.backward, origin.hint]

    def _node(self, node: Expr, numbers: Mapping[Expr, int], graph: Graph) -> list[Any]:
        outer = self._where
        self._where = graph.origins.get(node, UNKNOWN).frame or outer
        try:
            if node.op.name in OUTSIDE:
                raise _NoData("what it calls")
            params = {name: self._param(node, name) for name in node.op.params}
        except _NoData as error:
            raise SavedGraphError(
                f"`{node.params.get('name', node.op.name)}` cannot be saved: {error} is no data",
                frame=self._where,
                fix="save a part of the program that does without it",
            ) from None
        finally:
            self._where = outer
        return [UNIQUE_NAMES[node.op], [numbers[a] for a in node.args], params]

    def _param(self, node: Expr, name: str) -> Any:
        value = node.params[name]
        if isinstance(value, Rule):
            return {"rule": self._rule(node, name, value)}
        if isinstance(value, str) and (node.op.name, name) in QUOTED:
            return value
        return self._value(value)

    def _rule(self, node: Expr, name: str, rule: Rule) -> list[Any]:
        """The graphs of a rule, one for each case of operands that move."""
        if self._depth == ORDERS:
            return []
        cases = dict(rule.graphs)
        try:
            usual = _usual_case(node, name)
            cases.setdefault(usual, rule(*usual))
        except SymgradError:  # a rule that cannot be applied now cannot be later
            pass
        self._depth += 1
        try:
            return [[[list(f) for f in flags], self.graph(g)] for flags, g in cases.items()]
        finally:
            self._depth -= 1

    def _value(self, value: Any) -> Any:
        match value:
            case None | bool():
                return value
            case enum.Enum():
                return {"enum": self._member(value)}
            case int() | np.integer():
                return int(value)
            case float() | np.floating():
                number = float(value)
                return number if math.isfinite(number) else {"float": repr(number)}
            case str() if PLAIN.fullmatch(value):
                return value
            case tuple() | list():
                return [self._value(v) for v in value]
            case Type():
                return {"type": [_dtype(value.dtype), list(value.shape), value.weak]}
            case Scalar():
                return {"scalar": [_dtype(value.value.dtype), value.value.tobytes().hex()]}
            case Captured():
                return {"array": self._array(value)}
            case Graph():
                return {"graph": self.graph(value)}
            case Expr():
                return {"function": self.graph(Graph((variable(value.dtype),), (value,)))}
            case np.dtype():
                return {"dtype": _dtype(value)}
        for name, (cls, fields) in RECORDS.items():
            if isinstance(value, cls):
                return {"record": [name, [self._value(getattr(value, f)) for f in fields]]}
        kind = getattr(value, "type", None)
        if isinstance(kind, type) and issubclass(kind, jax.dtypes.extended):
            return {"dtype": _dtype(value)}
        raise _NoData(_described(value))

    def _member(self, value: enum.Enum) -> str:
        for name, cls in ENUMERATIONS.items():
            if isinstance(value, cls):
                return f"{name}.{value.name}"
        raise _NoData(_described(value))

    def _array(self, value: Captured) -> list[Any]:
        """The number of an array, its dtype and its name."""
        array = value.array
        dtype = _dtype(array.dtype)
        if id(array) not in self._array_numbers:
            keys = jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key)
            plain = np.asarray(jax.random.key_data(array) if keys else array)
            extended = is_extended(plain.dtype)
            stored = plain.view(f"u{plain.dtype.itemsize}") if extended else plain
            self._array_numbers[id(array)] = len(self.arrays)
            self.arrays.append(np.ascontiguousarray(stored).reshape(stored.shape))
        return [self._array_numbers[id(array)], dtype, value.name]


def _dtype(dtype: Any) -> str:
    if jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key):
        known = [name for name in KEYS if key_dtype(name) == dtype]
        if not known:
            raise _NoData(f"a random key of an implementation of your own, {dtype},")
        return known[0]
    return np.dtype(dtype).name


def _usual_case(node: Expr, name: str) -> tuple[Flags, ...]:
    """What a rule is asked when every operand that can move does."""
    moving = tuple(a.type.inexact for a in node.args)
    if name == "rule" or name == "forward":
        return (moving,)
    if node.op is custom_vjp:
        return (moving, (True,) * len(node.types))
    return ()


def _described(value: Any) -> str:
    name = getattr(value, "name", "") or getattr(value, "__name__", "")
    kind = type(value).__name__
    return f"a value of type {kind}" + (f" ({name})" if isinstance(name, str) and name else "")
