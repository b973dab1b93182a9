"""JAX's mutable references, read as the values they hold at each point of the program.

While a jaxpr is read, a reference is a `Cell`: writing puts another node into it, reading
takes entries of the node in it. A loop or branch that writes to a reference returns what it
holds at the end as one more result, so the graph that is read has no references.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import jax.ref
import numpy as np
from jax import lax

from symgrad.errors import Frame, TracingError
from symgrad.expr import Expr, Type, fresh, literal_value, results
from symgrad.ops import shape
from symgrad.ops.pointwise import convert
from symgrad.tracing import nested
from symgrad.tracing.nested import ReadGraph
from symgrad.walk import Graph


class Cell:
    """A mutable reference.

    Attributes:
        value: what it holds.
        names: the variable that the user assigned it to, if there is one.
        args: none, as an input of a graph has none.
    """

    __slots__ = ("names", "type", "value")
    args: tuple[Expr, ...] = ()

    def __init__(self, value: Expr):
        self.value, self.type = value, value.type
        self.names: tuple[str, ...] = ()

    def store(self, value: Expr) -> None:
        self.value = convert(value, dtype=self.type.dtype, weak=self.type.weak)


def held_by_jax(atom: Any, operand: Expr | Cell) -> bool:
    """Whether an operand is a reference from outside of the traced function."""
    return isinstance(atom.aval, jax.ref.AbstractRef) and not isinstance(operand, Cell)


def unsupported(name: str, frame: Frame | None) -> TracingError:
    shown = name.replace("remat2", "checkpoint")
    return TracingError(
        f"`{shown}` gets a mutable reference, which symgrad follows through indexing, jit, loops "
        "and branches, but not here",
        frame=frame,
        fix="give it the value, `ref[...]`, and write to the reference what it returns",
    )


@dataclass(frozen=True, slots=True)
class _Key:
    """Entries that a NumPy index selects."""

    key: tuple[Any, ...]

    def read(self, x: jax.Array) -> jax.Array:
        return x[self.key]

    def write(self, x: jax.Array, value: jax.Array) -> jax.Array:
        return x.at[self.key].set(value)

    def add(self, x: jax.Array, value: jax.Array) -> jax.Array:
        return x.at[self.key].add(value)


@dataclass(frozen=True, slots=True)
class _Window:
    """Entries side by side; a window that sticks out is moved back in, as JAX does it."""

    starts: tuple[Any, ...]
    sizes: tuple[int, ...]
    single: tuple[int, ...]

    def read(self, x: jax.Array) -> jax.Array:
        return lax.squeeze(lax.dynamic_slice(x, self.starts, self.sizes), self.single)

    def write(self, x: jax.Array, value: jax.Array) -> jax.Array:
        return lax.dynamic_update_slice(x, lax.expand_dims(value, self.single), self.starts)

    def add(self, x: jax.Array, value: jax.Array) -> jax.Array:
        return self.write(x, self.read(x) + value)


_Part = _Key | _Window


def _is_slice(index: Any) -> bool:
    """Whether an index is a start, a size and a stride, which JAX has no public class for."""
    return hasattr(index, "stride")


def _parts(views: Sequence[Any]) -> Iterator[_Part]:
    """What the indices of a reference select, one selection from what the last one gives."""
    for view in views:
        slices = [i for i in view.indices if _is_slice(i)]
        numbers = [
            (i, n) for i, n in zip(view.indices, view.shape, strict=True) if not _is_slice(i)
        ]
        inside = all(isinstance(i, int) and -n <= i < n for i, n in numbers)
        plain = all(isinstance(s.start, int) for s in slices)
        entries = all(np.shape(i) == () for i, _ in numbers) and all(s.stride == 1 for s in slices)
        if entries and not (inside and plain):
            yield _window(view.indices)
        else:
            yield from _keys(view.indices)


def _window(indices: Sequence[Any]) -> _Window:
    starts = [i.start if _is_slice(i) else i for i in indices]
    sizes = [i.size if _is_slice(i) else 1 for i in indices]
    single = [axis for axis, i in enumerate(indices) if not _is_slice(i)]
    aligned = tuple(lax.convert_element_type(s, np.int32) for s in starts)
    return _Window(aligned, tuple(sizes), tuple(single))


def _keys(indices: Sequence[Any]) -> Iterator[_Key]:
    """Slices from computed starts are taken first, as NumPy knows none."""
    key: list[Any] = list(indices)
    for axis, i in enumerate(indices):
        if _is_slice(i) and isinstance(i.start, int):
            key[axis] = slice(i.start, i.start + i.size * i.stride, i.stride)
        elif _is_slice(i):
            key[axis] = slice(None)
            yield _Key((*(slice(None),) * axis, i.start + i.stride * jnp.arange(i.size)))
    yield _Key(tuple(key))


def _get(x: jax.Array, parts: Sequence[_Part]) -> jax.Array:
    return functools.reduce(lambda x, part: part.read(x), parts, x)


def _put(x: jax.Array, parts: Sequence[_Part], value: jax.Array) -> jax.Array:
    if not parts:
        return value
    first, *rest = parts
    return first.write(x, _put(first.read(x), rest, value))


def _add(x: jax.Array, parts: Sequence[_Part], value: jax.Array) -> jax.Array:
    """Only the last selection may take an entry twice."""
    if not parts:
        return x + value
    first, *rest = parts
    return first.write(x, _add(first.read(x), rest, value)) if rest else first.add(x, value)


def _swap(x: jax.Array, parts: Sequence[_Part], value: jax.Array) -> tuple[jax.Array, jax.Array]:
    return _get(x, parts), _put(x, parts, value)


def _indexing(
    read_graph: ReadGraph, function: Callable[..., Any], tree: Any, given: Any, indices: Any
) -> tuple[Expr, ...] | None:
    """`function` of the nodes `given` and of what flat indices select, None if it is no indexing.

    Indices that are numbers stay numbers.
    """
    views = jax.tree.unflatten(tree, indices)
    if any(not hasattr(v, "indices") for v in views) or any(i.dtype == bool for i in indices):
        return None
    known = [literal_value(i) for i in indices]

    def flat(*values: Any) -> Any:
        moving = iter(values[len(given) :])
        leaves = [next(moving) if k is None else int(k) for k in known]
        parts = list(_parts(jax.tree.unflatten(tree, leaves)))
        x, *value = values[: len(given)]
        return function(x, parts, *value)

    operands = [*given, *(i for i, k in zip(indices, known, strict=True) if k is None)]
    types = [o.type for o in operands]
    avals = [jax.ShapeDtypeStruct(t.shape, t.dtype, weak_type=t.weak) for t in types]
    return read_graph(jax.make_jaxpr(flat)(*avals))(*operands)


def _read_get(read_graph: ReadGraph, cell: Cell, *indices: Expr, tree: Any) -> Any:
    return _indexing(read_graph, _get, tree, [cell.value], indices)


def _read_swap(read_graph: ReadGraph, cell: Cell, value: Expr, *indices: Expr, tree: Any) -> Any:
    found = _indexing(read_graph, _swap, tree, [cell.value, value], indices)
    if found is None:
        return None
    before, after = found
    cell.store(after)
    return (before,)


def _read_addupdate(
    read_graph: ReadGraph, cell: Cell, value: Expr, *indices: Expr, tree: Any
) -> Any:
    found = _indexing(read_graph, _add, tree, [cell.value, value], indices)
    if found is None:
        return None
    cell.store(*found)
    return ()


@dataclass(frozen=True, slots=True)
class _Body:
    """A jaxpr as a graph of values, and what the references among its inputs hold at the end.

    Attributes:
        after: by the number of the input, for those that are written to.
    """

    graph: Graph
    after: dict[int, Expr]

    @classmethod
    def of(cls, read_graph: ReadGraph, closed: Any, operands: Sequence[Expr | Cell]) -> _Body:
        cells = [i for i, o in enumerate(operands) if isinstance(o, Cell)]
        graph = read_graph(closed, cells=cells)
        count = len(graph.outputs) - len(cells)
        last = zip(cells, graph.outputs[count:], strict=True)
        after = {i: value for i, value in last if value is not graph.inputs[i]}
        return cls(_arranged(graph, graph.inputs, graph.outputs[:count]), after)


def _arranged(graph: Graph, inputs: Sequence[Expr], outputs: Sequence[Expr]) -> Graph:
    names = dict(zip(graph.inputs, graph.names, strict=False))
    named = tuple(names.get(i, "") for i in inputs) if names else ()
    return Graph(tuple(inputs), tuple(outputs), named, graph.origins, graph.effects)


def _chosen(values: Sequence[Any], places: Sequence[int]) -> list[Any]:
    return [values[i] for i in places]


def _values(operands: Sequence[Expr | Cell]) -> list[Expr]:
    return [o.value if isinstance(o, Cell) else o for o in operands]


def _stored(
    operands: Sequence[Any], first: Sequence[int], last: Sequence[int], made: Any
) -> Expr | Sequence[Expr]:
    """The results of a loop or branch, less those at both ends that go into references."""
    if not first and not last:
        return made
    found = results(made) if isinstance(made, Expr) else made
    rest = len(found) - len(last)
    for i, value in zip((*first, *last), (*found[: len(first)], *found[rest:]), strict=True):
        operands[i].store(value)
    return found[len(first) : rest]


GRAPHS = nested.readers(lambda graph: graph)
"""The readers of loops and branches whose bodies have been read."""


def _read_scan(
    read_graph: ReadGraph,
    *operands: Expr | Cell,
    jaxpr: Any,
    num_consts: int,
    num_carry: int,
    length: int,
    reverse: bool,
    unroll: int,
) -> Expr | Sequence[Expr]:
    """What a constant reference holds is carried; slices of a reference are taken and given."""
    body = _Body.of(read_graph, jaxpr, operands)
    carried = [i for i in body.after if i < num_consts]
    sliced = [i for i in body.after if i >= num_consts]
    fixed = [i for i in range(num_consts) if i not in carried]
    order = [*fixed, *carried, *range(num_consts, len(operands))]
    outputs = (
        *(body.after[i] for i in carried),
        *body.graph.outputs,
        *(body.after[i] for i in sliced),
    )
    made = GRAPHS["scan"](
        *_chosen(_values(operands), order),
        jaxpr=_arranged(body.graph, _chosen(body.graph.inputs, order), outputs),
        num_consts=len(fixed),
        num_carry=len(carried) + num_carry,
        length=length,
        reverse=reverse,
        unroll=unroll,
    )
    return _stored(operands, carried, sliced, made)


def _read_while(
    read_graph: ReadGraph,
    *operands: Expr | Cell,
    cond_jaxpr: Any,
    body_jaxpr: Any,
    cond_nconsts: int,
    body_nconsts: int,
) -> Expr | Sequence[Expr] | None:
    """What a reference holds that the body writes to is carried, to the condition too."""
    tested, own = operands[:cond_nconsts], operands[cond_nconsts:]
    carry = own[body_nconsts:]
    condition = _Body.of(read_graph, cond_jaxpr, (*tested, *carry))
    body = _Body.of(read_graph, body_jaxpr, own)
    if condition.after:
        return None
    written = list(body.after)
    cells = _chosen(own, written)
    fixed = [i for i in range(body_nconsts) if i not in written]
    order = [*fixed, *range(body_nconsts, len(own)), *written]
    seen = dict(zip(tested, condition.graph.inputs, strict=False))
    still = [o for o in tested if o not in cells]
    inputs = (
        *(seen[o] for o in still),
        *condition.graph.inputs[cond_nconsts:],
        *(seen.get(c) or fresh(c.type) for c in cells),
    )
    made = GRAPHS["while"](
        *_values(still),
        *_chosen(_values(own), order),
        cond_jaxpr=_arranged(condition.graph, inputs, condition.graph.outputs),
        body_jaxpr=_arranged(
            body.graph,
            _chosen(body.graph.inputs, order),
            (*body.graph.outputs, *body.after.values()),
        ),
        cond_nconsts=len(still),
        body_nconsts=len(fixed),
    )
    return _stored(own, (), written, made)


def _read_cond(
    read_graph: ReadGraph,
    index: Expr,
    *operands: Expr | Cell,
    branches: Any,
    branches_platforms: Any = None,
) -> Expr | Sequence[Expr]:
    bodies = [_Body.of(read_graph, b, operands) for b in branches]
    written = sorted({i for body in bodies for i in body.after})
    graphs = []
    for body in bodies:
        inputs = body.graph.inputs
        after = [body.after.get(i, inputs[i]) for i in written]
        graphs.append(_arranged(body.graph, inputs, (*body.graph.outputs, *after)))
    made = GRAPHS["cond"](
        index,
        *_values(operands),
        branches=tuple(graphs),
        branches_platforms=branches_platforms,
    )
    return _stored(operands, (), written, made)


def readers(read_graph: ReadGraph) -> dict[str, Callable[..., Any]]:
    """The readers of equations that have a `Cell` among their operands."""
    table = {
        "get": _read_get,
        "swap": _read_swap,
        "addupdate": _read_addupdate,
        "scan": _read_scan,
        "while": _read_while,
        "cond": _read_cond,
    }
    found = {name: functools.partial(reader, read_graph) for name, reader in table.items()}
    return {**found, "freeze": lambda cell: (cell.value,), "free_ref": lambda cell: ()}


def _read_empty(*, ty: Any) -> tuple[Cell]:
    return (Cell(shape.zeros(Type(tuple(ty.shape), ty.dtype))),)


CREATION: dict[str, Callable[..., Any]] = {
    "new_ref": lambda x: (Cell(x),),
    "empty_ref": _read_empty,
}
"""The readers of equations that make a `Cell`."""
