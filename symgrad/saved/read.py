"""From a file to a graph. A file may come from anybody: it is data to doubt, and nothing runs it.

Every node is built by the type rule of its operation, so what a file says about types is never
believed. Nothing is allocated that is larger than the file.
"""

from __future__ import annotations

import functools
import io
import json
import math
import os
import re
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import jax
import jax.numpy as jnp
import numpy as np

from symgrad.errors import Frame, NoDerivativeError, SavedGraphError
from symgrad.expr import Captured, Expr, Op, Pointwise, Scalar, Type, argument, fresh, parameter
from symgrad.ops.calls import Rule
from symgrad.ops.catalogue import OPERATIONS
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
    plain_dtype,
)
from symgrad.walk import Graph, Origin, Origins

MOST_ELEMENTS = 2**48
"""Of one array; no machine holds more."""

LONGEST_TEXT = 10_000


class _Wrong(Exception):
    """Something in a file is not as it should be; says what."""


def read(path: str | os.PathLike[str]) -> Graph:
    """The graph in the file `path`.

    Raises:
        SavedGraphError: the file is not one that symgrad wrote, or has been changed since.
        OSError: there is no such file, or it cannot be read.
    """
    try:
        return _Reader(_members(path)).graph()
    except (_Wrong, zipfile.BadZipFile) as error:
        raise SavedGraphError(
            f"{os.fspath(path)} is no graph that symgrad saved: {error}",
            fix="save the graph again with Graph.save",
        ) from None


def _check(condition: bool, what: str) -> None:
    if not condition:
        raise _Wrong(what)


def _members(path: str | os.PathLike[str]) -> Mapping[str, bytes]:
    """The parts of a file by name; an archive within is never unpacked."""
    with open(path, "rb") as file:
        try:
            return _stored(file)
        except (ValueError, EOFError, NotImplementedError, RuntimeError, OSError) as error:
            raise _Wrong(str(error)) from None


def _stored(file: BinaryIO) -> Mapping[str, bytes]:
    size = os.fstat(file.fileno()).st_size
    with zipfile.ZipFile(file) as archive:
        found = archive.infolist()
        names = [info.filename for info in found]
        known = {DOCUMENT, *map(array_name, range(len(names) - 1))}
        _check(set(names) == known and len(names) == len(known), "it has other parts")
        for info in found:
            stored = info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1
            _check(stored, f"{info.filename} is compressed or encrypted")
            fits = info.file_size == info.compress_size <= size
            _check(fits, f"{info.filename} claims to be larger than the file")
        _check(sum(info.file_size for info in found) <= size, "its parts overlap")
        return {info.filename: archive.read(info) for info in found}


def _document(text: bytes) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        _check(len(found) == len(pairs), "a key comes twice in one object")
        return found

    def refuse(name: str) -> None:
        raise _Wrong(f"{name} is no number")

    try:
        found = json.loads(text.decode(), object_pairs_hook=once, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise _Wrong(f"{DOCUMENT} cannot be read ({type(error).__name__})") from None
    _check(isinstance(found, dict) and found.get("format") == FORMAT, "it has another format")
    version = found.get("version")
    _check(
        version == VERSION and type(version) is int,
        f"it has version {str(version)[:20]}, and this symgrad reads version {VERSION}",
    )
    return found


class _Reader:
    """Builds the graphs of a file in order; a graph refers only to those before it."""

    def __init__(self, members: Mapping[str, bytes]):
        self.members = members
        self.document = _document(members[DOCUMENT])
        self.graphs: list[Graph] = []
        self.arrays: dict[tuple[int, str], Any] = {}
        self.fresh: dict[tuple[int, Type], Expr] = {}

    def graph(self) -> Graph:
        """The last graph of the file, which holds the others."""
        frames = _sequence(self.document.get("frames"), "frames")
        self.frames = [_frame(f) for f in frames]
        for number, written in enumerate(_sequence(self.document.get("graphs"), "graphs")):
            try:
                self.graphs.append(self._graph(written))
            except _Wrong as error:
                raise _Wrong(f"graph {number}: {error}") from None
        _check(bool(self.graphs), "it has no graph")
        return self.graphs[-1]

    def _graph(self, written: Any) -> Graph:
        keys = {"nodes", "inputs", "outputs", "effects", "names", "origins"}
        _check(isinstance(written, dict) and set(written) == keys, "it has other parts")
        nodes: list[Expr] = []
        for number, node in enumerate(_sequence(written["nodes"], "nodes")):
            try:
                nodes.append(self._node(node, nodes))
            except _Wrong as error:
                raise _Wrong(f"node {number}: {error}") from None

        def chosen(part: str) -> tuple[Expr, ...]:
            return tuple(_entry(nodes, i) for i in _sequence(written[part], part))

        inputs = chosen("inputs")
        _check(all(i.op is argument for i in inputs), "an input is no argument")
        _check(len(set(inputs)) == len(inputs), "an input comes twice")
        stray = {n for n in nodes if n.op is argument} - set(inputs)
        _check(not stray, "an argument is no input")
        names = tuple(_text(n) for n in _sequence(written["names"], "names"))
        _check(len(names) <= len(inputs), "there are more names than inputs")
        outputs = chosen("outputs")
        effects = chosen("effects")
        _check(all(isinstance(o.type, Type) for o in outputs), "an output has several results")
        origins = self._origins(written["origins"], nodes)
        return Graph(inputs, outputs, names, origins, effects)

    def _origins(self, written: Any, nodes: list[Expr]) -> Origins:
        found: Origins = {}
        rows = _sequence(written, "origins")
        _check(len(rows) == len(nodes), "there are not as many origins as nodes")
        for node, row in zip(nodes, rows, strict=True):
            if row is not None:
                number, name, backward, hint = _row(row, 4)
                frame = None if number is None else _entry(self.frames, number)
                _check(isinstance(backward, bool), "an origin is not written as it should be")
                found[node] = Origin(frame, _text(name), backward, _text(hint))
        return found

    def _node(self, written: Any, nodes: list[Expr]) -> Expr:
        name, operands, params = _row(written, 3)
        op = OPERATIONS.get(name) if isinstance(name, str) else None
        if op is None or name in OUTSIDE:
            raise _Wrong(f"there is no operation {str(name)[:40]!r}")
        _check(isinstance(params, dict) and set(params) == set(op.params), f"`{name}`: parameters")
        args = tuple(_entry(nodes, i) for i in _sequence(operands, "operands"))
        given = {p: _text(v) if (name, p) in QUOTED else self.value(v) for p, v in params.items()}
        if op is argument:
            return self._argument(**given)
        if any(isinstance(a.type, tuple) for a in args) and op is not OPERATIONS["item"]:
            raise _Wrong(f"`{name}` takes one result of an operation that has several")
        _check(_arity(op) in (None, len(args)), f"`{name}` has other operands")
        try:
            node = op(*args, **given) if args else _leaf(op, given)
            _check_types(node)
            # What cannot be written as text cannot be run either.
            for local in node.op.functions(node) if node.op.functions else ():
                _check(isinstance(local.graph, Graph), "a body is no graph")
        except _Wrong:
            raise
        except Exception as error:  # type rules expect what tracing makes
            first = str(error).partition("\n")[0][:200]
            raise _Wrong(f"`{name}` cannot be built: {type(error).__name__}: {first}") from None
        return node

    def _argument(self, index: Any, of: Any) -> Expr:
        _check(type(index) is int and isinstance(of, Type), "an argument without number or type")
        if index < 0:
            return self.fresh.setdefault((index, of), fresh(of))
        return parameter(index, of)

    def value(self, written: Any) -> Any:
        """A parameter's value."""
        match written:
            case None | bool() | int() | float():
                return written
            case str():
                _check(PLAIN.fullmatch(written) is not None, f"{written[:40]!r} is no name")
                return written
            case list():
                return tuple(self.value(v) for v in written)
            case dict() if len(written) == 1:
                ((kind, content),) = written.items()
                if kind in KINDS:
                    return KINDS[kind](self, content)
        raise _Wrong("a parameter is not written as it should be")

    def _float(self, content: Any) -> float:
        _check(content in ("inf", "-inf", "nan"), "a number is not written as it should be")
        return float(content)

    def _type(self, content: Any) -> Type:
        dtype, shape, weak = _row(content, 3)
        sizes = tuple(_sequence(shape, "sizes"))
        _check(all(type(n) is int and n >= 0 for n in sizes), "a size is no whole number")
        _check(math.prod(max(n, 1) for n in sizes) <= MOST_ELEMENTS, f"shape {sizes} is too large")
        _check(isinstance(weak, bool), "a type is not written as it should be")
        return Type(sizes, _dtype(dtype), weak)

    def _dtype(self, content: Any) -> Any:
        return _dtype(content)

    def _scalar(self, content: Any) -> Scalar:
        name, data = _row(content, 2)
        dtype = _number_dtype(name)
        try:
            raw = bytes.fromhex(data)
        except (TypeError, ValueError):
            raise _Wrong("a number is not written as it should be") from None
        _check(len(raw) == dtype.itemsize, f"a number has not as many bytes as {name}")
        return Scalar(np.frombuffer(raw, dtype)[0], dtype)

    def _array(self, content: Any) -> Captured:
        number, name, called = _row(content, 3)
        _check(type(number) is int and array_name(number) in self.members, "an array is missing")
        key = (number, str(name))
        if key not in self.arrays:
            self.arrays[key] = _array(self.members[array_name(number)], name)
        return Captured(self.arrays[key], _text(called))

    def _body(self, content: Any) -> Graph:
        return _entry(self.graphs, content)

    def _function(self, content: Any) -> Expr:
        graph = _entry(self.graphs, content)
        _check(len(graph.inputs) == len(graph.outputs) == 1, "a function has other operands")
        return graph.outputs[0]

    def _rule(self, content: Any) -> Rule:
        cases = {}
        for row in _sequence(content, "cases"):
            flags, number = _row(row, 2)
            case = tuple(tuple(_sequence(f, "flags")) for f in _sequence(flags, "flags"))
            _check(all(isinstance(b, bool) for f in case for b in f), "a flag is true or false")
            cases[case] = _entry(self.graphs, number)
        return Rule.of(cases, _not_saved)

    def _enum(self, content: Any) -> Any:
        name, _, member = _text(content).partition(".")
        members = getattr(ENUMERATIONS.get(name), "__members__", {})
        _check(member in members, f"there is no {name[:40]}.{member[:40]}")
        return members[member]

    def _record(self, content: Any) -> Any:
        name, values = _row(content, 2)
        _check(isinstance(name, str) and name in RECORDS, "a parameter of an unknown kind")
        cls, fields = RECORDS[name]
        return cls(*map(self.value, _row(values, len(fields))))


KINDS: Mapping[str, Callable[[_Reader, Any], Any]] = {
    "float": _Reader._float,
    "type": _Reader._type,
    "dtype": _Reader._dtype,
    "scalar": _Reader._scalar,
    "array": _Reader._array,
    "graph": _Reader._body,
    "function": _Reader._function,
    "rule": _Reader._rule,
    "enum": _Reader._enum,
    "record": _Reader._record,
}


def _not_saved(*flags: Any) -> Graph:
    raise NoDerivativeError(
        "the file of this graph has no rule for this derivative of a function with a rule of its "
        "own: rules are saved for first and second derivatives",
        fix="differentiate before saving",
    )


@functools.cache
def _arity(op: Op) -> int | None:
    """How many operands an operation takes, None where its type rule knows."""
    if isinstance(op.source, str) and "xs" not in op.source:
        named = re.findall(r"(?<!\w)[xyz](?!\w)", op.source)
        return max(("xyz".index(n) + 1 for n in named), default=None)
    if isinstance(op.derivative, Pointwise) and op.elementwise:
        return len(op.derivative.partials)
    return None


def _leaf(op: Any, params: dict[str, Any]) -> Expr:
    node = op(**params)
    if op is OPERATIONS["literal"]:
        _check(isinstance(params["value"], Scalar), "a literal without value")
        _check(isinstance(params["weak"], bool), "a literal without value")
    return node


def _check_types(node: Expr) -> None:
    """Type rules answer what they are asked: a file may ask for shapes that cannot be."""
    for t in node.types:
        _check(isinstance(t, Type), "there is no type")
        good = all(isinstance(n, int) and n >= 0 for n in t.shape)
        large = math.prod(max(n, 1) for n in t.shape) > MOST_ELEMENTS if good else True
        _check(good and not large, f"shape {str(t.shape)[:80]} cannot be")


def _sequence(written: Any, what: str) -> list[Any]:
    _check(isinstance(written, list), f"the {what} are no list")
    return written


def _row(written: Any, length: int) -> list[Any]:
    _check(isinstance(written, list) and len(written) == length, "an entry has other parts")
    return written


def _entry(table: list[Any], number: Any) -> Any:
    _check(type(number) is int and 0 <= number < len(table), "a number refers to nothing")
    return table[number]


def _text(written: Any) -> str:
    _check(isinstance(written, str) and len(written) <= LONGEST_TEXT, "a text is missing")
    return written


def _frame(written: Any) -> Frame:
    """A place whose line is in the file: no other file is opened to show it."""
    file, line, column, end_line, end_column, function, quoted = _row(written, 7)
    place = (line, column, end_line, end_column)
    _check(all(type(n) is int and 0 <= n < 2**31 for n in place), "a place is no number")
    name = os.path.basename(_text(file))
    return Frame(name, line, column, end_line, end_column, _text(function), _text(quoted))


def _dtype(name: Any) -> Any:
    return key_dtype(name) if isinstance(name, str) and name in KEYS else _number_dtype(name)


def _number_dtype(name: Any) -> np.dtype[Any]:
    try:
        return plain_dtype(_text(name))
    except TypeError:
        raise _Wrong(f"there is no dtype {str(name)[:40]!r}") from None


def _array(data: bytes, name: Any) -> Any:
    """An array whose header says what the bytes after it are."""
    keys = isinstance(name, str) and name in KEYS
    dtype = np.dtype(np.uint32) if keys else _number_dtype(name)
    stored = np.dtype(f"u{dtype.itemsize}") if is_extended(dtype) else dtype
    file = io.BytesIO(data)
    try:
        _check(np.lib.format.read_magic(file) == (1, 0), "an array of another version")
        shape, fortran, given = np.lib.format.read_array_header_1_0(file)
    except (ValueError, SyntaxError, EOFError, RecursionError, MemoryError):
        raise _Wrong("the header of an array cannot be read") from None
    rest = data[file.tell() :]
    _check(given == stored, f"an array of {given} where {name} was announced")
    sizes = all(isinstance(n, int) and n >= 0 for n in shape)
    _check(sizes and math.prod(shape) * stored.itemsize == len(rest), "an array has other bytes")
    array = np.frombuffer(rest, stored).reshape(shape, order="F" if fortran else "C")
    if keys:
        try:
            return jax.random.wrap_key_data(jnp.asarray(array), impl=name)
        except (TypeError, ValueError):
            raise _Wrong("random keys of another shape") from None
    return array.view(dtype) if stored != dtype else array
