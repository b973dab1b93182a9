"""The expression graph: types, operations, interned nodes, and arithmetic.

A node is `(op, args, params, type)`. Nodes are interned: building the same node
twice gives the same object, so equality is `is`, common subexpressions cannot
exist twice, and derivative nodes share the forward nodes they mention.

An `Op` holds all facts of one operation. Its derivative is one fact from which
both modes follow:

    Pointwise(partials)     elementwise: each partial applies the diagonal of the Jacobian
    Linear(adjoint)         jointly linear in some operands
    Multilinear(adjoints)   linear in each operand with the others held fixed
    Custom(pullback, pushforward)   one of the two is enough
    Nested(pullback, pushforward)   the same for operations that hold graphs
    CONSTANT                the derivative is zero wherever it exists

The four arithmetic operations live here because operators on nodes are part of
the language that derivative facts and rewrite rules are written in.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import jax
import numpy as np

from symgrad.errors import ShapeError

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Type:
    """Shape, dtype and JAX's weak-type flag of one array."""

    shape: Shape
    dtype: Any
    weak: bool = False

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) if self.shape else 1

    @property
    def inexact(self) -> bool:
        """Whether values of this type can carry a derivative."""
        return jax.dtypes.issubdtype(self.dtype, np.inexact)

    @property
    def real(self) -> bool:
        """Whether values of this type are floating-point numbers that are not complex."""
        return jax.dtypes.issubdtype(self.dtype, np.floating)

    def with_shape(self, shape: Shape) -> Type:
        return Type(tuple(shape), self.dtype, self.weak)

    def __str__(self) -> str:
        name = getattr(self.dtype, "name", str(self.dtype))
        return f"{name}[{','.join(map(str, self.shape))}]"


Types = Type | tuple[Type, ...]


@dataclass(frozen=True, slots=True)
class Pointwise:
    """`partials[i](g, ans, *args)` is `g` times the elementwise partial in operand `i`.

    A diagonal map is its own transpose, so the same function pushes tangents
    forward and pulls cotangents back. None: no dependence on that operand.
    """

    partials: tuple[Callable[..., Expr] | None, ...]

    def __init__(self, *partials: Callable[..., Expr] | None):
        object.__setattr__(self, "partials", partials)


@dataclass(frozen=True, slots=True)
class Linear:
    """Linear in the listed operands jointly.

    `adjoint(g, ans, *args)` gives one cotangent per listed operand (a bare node if
    there is only one listed).
    """

    adjoint: Callable[..., Any]
    operands: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True)
class Multilinear:
    """`adjoint(g, i, ans, *args)` is the cotangent of operand `i`."""

    adjoint: Callable[..., Expr]


@dataclass(frozen=True, slots=True)
class Custom:
    """`pullback(g, ans, *args) -> cotangents`, `pushforward(tangents, ans, *args) -> tangent`.

    Ops with several results get and give tuples, with None for a structural zero.
    `rows` says that the op maps each row along its `axis` on its own.
    """

    pullback: Callable[..., Any] | None = None
    pushforward: Callable[..., Any] | None = None
    rows: bool = False


@dataclass(frozen=True, slots=True)
class Nested(Custom):
    """`Custom` for operations that hold graphs: `pullback(g, wanted, ans, *args)`.

    `wanted[i]` tells whether the cotangent of operand `i` is wanted, so that a body is
    not differentiated by what is constant.
    `primal(node, wanted)`, where there is one, gives the results as they are computed in a
    program that differentiates the operation: the user's rule may compute them its own way.
    """

    primal: Callable[[Expr, Sequence[bool]], tuple[Expr, ...]] | None = None


@dataclass(frozen=True, slots=True)
class Constant:
    """Piecewise constant: no derivative flows through."""


CONSTANT = Constant()
Derivative = Pointwise | Linear | Multilinear | Custom | Constant


@dataclass(frozen=True, slots=True)
class LocalFunction:
    """How a graph held by an operation is written as a function inside the program.

    Attributes:
        name: the field of the operation's `source` that stands for it.
        graph: the body; its first inputs are the operands in `closed`, used from outside.
        closed: operands of the operation that the body closes over.
        parameters: numbers of the other inputs, one tuple per parameter; a tuple of one
            is written bare. A tuple of numbers instead of tuples: one parameter per input.
        returned: numbers of the outputs, grouped likewise.
    """

    name: str
    graph: Any
    closed: tuple[Expr, ...]
    parameters: tuple[Any, ...]
    returned: tuple[Any, ...]


def _elementwise_flops(expr: Expr) -> int:
    return sum(t.size for t in expr.types)


def no_flops(expr: Expr) -> int:
    """The cost of operations that only move data."""
    return 0


@dataclass(frozen=True, slots=True, eq=False)
class Op:
    """All facts of one operation.

    Attributes:
        name: as printed in graphs and error messages.
        type_rule: `(*operand_types, **params) -> Type`, or a tuple of types for several results.
        source: a Python expression over operands `x, y, z` (or `xs` for any number) and
            `{param}` fields, or a function of the node returning one.
        derivative: one fact; None means symgrad knows no derivative.
        params: names of the parameters, all hashable, in the order that identifies a node.
        elementwise: maps over entries; operands of rank 0 are broadcast implicitly.
        commutative: `op(x, y)` equals `op(y, x)` bit for bit.
        foldable: correctly rounded everywhere, so it may be evaluated at compile time.
        flops: floating-point operations of one evaluation.
        recomputed: a backward pass is given the operands, not the result: that is never written
            out, only what is made of it.
        helpers: Python functions that `source` calls, printed with the program.
        functions: for operations that hold graphs, how each is printed as a local function.
    """

    name: str
    type_rule: Callable[..., Types]
    source: str | Callable[[Expr], str]
    derivative: Derivative | None = None
    params: tuple[str, ...] = ()
    elementwise: bool = False
    commutative: bool = False
    foldable: bool = False
    flops: Callable[[Expr], int] = _elementwise_flops
    recomputed: bool = False
    helpers: tuple[Callable[..., Any], ...] = ()
    functions: Callable[[Expr], tuple[LocalFunction, ...]] | None = None

    def __call__(self, *args: Any, **params: Any) -> Any:
        for arg in args:
            if isinstance(arg, Operand):
                return arg.apply(self, args, params)
        return make(self, args, params)

    def __repr__(self) -> str:
        return self.name


class Operand:
    """What operators act on: nodes of a graph, and variables of a rewrite rule."""

    __slots__ = ()

    @classmethod
    def apply(cls, op: Op, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        """What `op(*args, **params)` means for operands of this class."""
        raise NotImplementedError(cls.__name__)

    def __add__(self, other: Any) -> Any:
        return add(self, other)

    def __radd__(self, other: Any) -> Any:
        return add(other, self)

    def __sub__(self, other: Any) -> Any:
        return sub(self, other)

    def __rsub__(self, other: Any) -> Any:
        return sub(other, self)

    def __mul__(self, other: Any) -> Any:
        return mul(self, other)

    def __rmul__(self, other: Any) -> Any:
        return mul(other, self)

    def __truediv__(self, other: Any) -> Any:
        return div(self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return div(other, self)

    def __neg__(self) -> Any:
        return neg(self)


class Expr(Operand):
    """An immutable, interned node. Build nodes by calling an `Op`."""

    __slots__ = ("__weakref__", "args", "op", "params", "type")

    op: Op
    args: tuple[Expr, ...]
    params: Mapping[str, Any]
    type: Any

    def __init__(self, op: Op, args: tuple[Expr, ...], params: dict[str, Any], type: Types):
        object.__setattr__(self, "op", op)
        object.__setattr__(self, "args", args)
        object.__setattr__(self, "params", MappingProxyType(params))
        object.__setattr__(self, "type", type)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"nodes are immutable: cannot set {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"nodes are immutable: cannot delete {name!r}")

    @classmethod
    def apply(cls, op: Op, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        for arg in args:
            if isinstance(arg, Operand) and not isinstance(arg, Expr):
                return arg.apply(op, args, params)
        return make(op, args, params)

    @property
    def types(self) -> tuple[Type, ...]:
        """The types of all results, one for most operations."""
        return self.type if isinstance(self.type, tuple) else (self.type,)

    @property
    def shape(self) -> Shape:
        return self.type.shape

    @property
    def ndim(self) -> int:
        return len(self.type.shape)

    @property
    def dtype(self) -> Any:
        return self.type.dtype

    @property
    def flops(self) -> int:
        return self.op.flops(self)

    def __repr__(self) -> str:
        """One level deep: a node names its operands, it does not print the graph below."""
        parts = [f"{a.op.name}:{a.type}" for a in self.args]
        parts += [f"{k}={v!r}" for k, v in self.params.items()]
        return f"{self.op.name}({', '.join(parts)}) : {self.type}"


class Scalar:
    """A literal's value, equal to another only if dtype and every bit agree.

    Keeps `1`, `1.0`, `True`, `0.0` and `-0.0` apart and makes nan equal to itself.
    """

    __slots__ = ("_key", "value")

    def __init__(self, value: Any, dtype: Any):
        array = np.asarray(value).astype(dtype)
        self.value = array[()]
        self._key = (array.dtype.name, array.tobytes())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Scalar) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return str(self.value)


LARGEST_COMPARED = 1024
"""Arrays of more bytes are only equal to themselves."""


class Captured:
    """An array the traced function closes over: held by reference, compared by identity.

    Lists of numbers become new arrays every time they are traced, so that small arrays that JAX
    made of them are compared by what they hold: loops that use them are then equal too.
    """

    __slots__ = ("_key", "array", "name")

    def __init__(self, array: Any, name: str = "constant"):
        self.array, self.name = array, name
        self._key: Any = id(array)
        made_by_jax = isinstance(array, np.ndarray) and type(array) is not np.ndarray
        if made_by_jax and array.nbytes <= LARGEST_COMPARED:
            # It may be a view of an array that somebody writes to.
            self.array = array.copy()
            self._key = array.dtype.name, array.shape, array.tobytes()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Captured) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"<array {self.array.dtype}{list(self.array.shape)}>"

    @property
    def varying(self) -> frozenset[str]:
        """The axes of a `jax.shard_map` over which the array differs."""
        return frozenset(jax.typeof(self.array).mat.varying)


@dataclass(frozen=True, slots=True)
class Named:
    """A parameter that a program refers to by name, such as a mesh of devices."""

    name: str
    value: Any


_nodes: weakref.WeakValueDictionary[tuple[Any, ...], Expr] = weakref.WeakValueDictionary()
_lock = threading.RLock()


def make(op: Op, args: tuple[Any, ...], params: dict[str, Any]) -> Expr:
    """The node `op(*args, **params)`: an existing one if there is one.

    Raises:
        ShapeError: the operands' types do not fit together.
    """
    operands = _as_operands(op, args)
    try:
        type = op.type_rule(*[a.type for a in operands], **params)
    except ShapeError as error:
        types = ", ".join(str(a.type) for a in operands)
        raise ShapeError(f"`{op.name}` cannot take ({types}): {error.what}") from None
    return intern(op, operands, params, type)


def intern(op: Op, args: tuple[Expr, ...], params: dict[str, Any], type: Types) -> Expr:
    """The unique node with these parts; `make` derives the type."""
    key = (op, args, tuple([params[name] for name in op.params]), type)
    with _lock:
        node = _nodes.get(key)
        if node is None:
            node = _nodes[key] = Expr(op, args, params, type)
        return node


def _as_operands(op: Op, args: tuple[Any, ...]) -> tuple[Expr, ...]:
    """Python numbers become literals of the other operands' dtype."""
    if all(isinstance(a, Expr) for a in args):
        return args
    like = next((a for a in reversed(args) if isinstance(a, Expr)), None)
    if like is None or not op.elementwise:
        raise ShapeError(f"`{op.name}` needs a node among its operands, got {args!r}")
    return tuple(a if isinstance(a, Expr) else constant(a, like.dtype) for a in args)


def broadcast_types(*types: Type) -> Shape:
    """The common shape of elementwise operands; scalars fit anywhere."""
    shape: Shape = ()
    for t in types:
        if t.shape and shape and t.shape != shape:
            raise ShapeError(f"shapes {shape} and {t.shape} differ")
        shape = shape or t.shape
    return shape


def elementwise_type(*types: Type) -> Type:
    """Type rule of operations whose operands and result share one dtype."""
    first = types[0]
    if any(t.dtype != first.dtype for t in types):
        raise ShapeError(f"dtypes {', '.join(str(t.dtype) for t in types)} differ")
    return Type(broadcast_types(*types), first.dtype, all(t.weak for t in types))


literal = Op(
    "literal",
    type_rule=lambda *, value, weak: Type((), value.value.dtype, weak),
    source=lambda e: literal_source(e),
    derivative=CONSTANT,
    params=("value", "weak"),
    flops=no_flops,
)


def literal_source(expr: Expr) -> str:
    """A literal as it stands alone; beside an array operand the bare number is printed."""
    return f"jnp.{expr.dtype.name if expr.dtype != bool else 'bool_'}({number_source(expr)})"


def number_source(expr: Expr) -> str:
    """The shortest Python number that rounds to the literal's value."""
    value = expr.params["value"].value
    if value.dtype == bool or np.issubdtype(value.dtype, np.integer):
        return repr(value.item())
    if np.issubdtype(value.dtype, np.complexfloating):
        return _complex_source(complex(value))
    return _real_source(value)


def _real_source(value: Any) -> str:
    if not np.isfinite(value):
        return "jnp.nan" if np.isnan(value) else ("-" if value < 0 else "") + "jnp.inf"
    return repr(float(str(value)))


def _complex_source(value: complex) -> str:
    """A sum, unless Python would not give the parts back: infinities, nan and minus zero."""
    parts = value.real, value.imag
    if all(np.isfinite(p) and (p or not np.signbit(p)) for p in parts):
        return repr(value)
    return f"complex({_real_source(parts[0])}, {_real_source(parts[1])})"


def constant(value: Any, dtype: Any, weak: bool = True) -> Expr:
    """A scalar literal of the given dtype."""
    return make(literal, (), {"value": Scalar(value, dtype), "weak": weak})


def literal_value(expr: Expr) -> Any:
    """The NumPy scalar of a literal node, None for any other node."""
    return expr.params["value"].value if expr.op is literal else None


argument = Op(
    "argument",
    type_rule=lambda *, index, of: of,
    source=lambda e: f"argument_{e.params['index']}",
    params=("index", "of"),
    flops=no_flops,
)
"""An input of a graph, known by its position and type."""

captured = Op(
    "captured",
    type_rule=lambda *, array: Type(tuple(array.array.shape), array.array.dtype),
    source=lambda e: e.params["array"].name,
    derivative=CONSTANT,
    params=("array",),
    flops=no_flops,
)
"""An array constant; passed to the compiled program, never printed."""

_serial = itertools.count(1)


def parameter(index: int, type: Type) -> Expr:
    """Input number `index` of a graph."""
    return make(argument, (), {"index": index, "of": type})


def fresh(type: Type) -> Expr:
    """An input that no other node mentions."""
    return parameter(-next(_serial), type)


def _item_type(types: tuple[Type, ...], *, index: int) -> Type:
    return types[index]


item = Op("item", _item_type, "x[{index}]", params=("index",), flops=no_flops)
"""One result of an operation that has several; `derive` treats it as part of that operation."""


def results(node: Expr) -> tuple[Expr, ...]:
    """The results of a node, each as a node of its own."""
    if not isinstance(node.type, tuple):
        return (node,)
    return tuple(item(node, index=i) for i in range(len(node.type)))


add = Op(
    "add",
    elementwise_type,
    "x + y",
    Pointwise(lambda g, z, x, y: g, lambda g, z, x, y: g),
    elementwise=True,
    commutative=True,
    foldable=True,
)
sub = Op(
    "sub",
    elementwise_type,
    "x - y",
    Pointwise(lambda g, z, x, y: g, lambda g, z, x, y: -g),
    elementwise=True,
    foldable=True,
)
mul = Op(
    "mul",
    elementwise_type,
    "x * y",
    Pointwise(lambda g, z, x, y: g * y, lambda g, z, x, y: x * g),
    elementwise=True,
    commutative=True,
    foldable=True,
)


def _div_source(expr: Expr) -> str:
    return "x / y" if expr.type.inexact else "lax.div(x, y)"


div = Op(
    "div",
    elementwise_type,
    _div_source,
    Pointwise(lambda g, z, x, y: g / y, lambda g, z, x, y: -(g / y) * z),
    elementwise=True,
    foldable=True,
)
neg = Op(
    "neg",
    elementwise_type,
    "-x",
    Pointwise(lambda g, y, x: -g),
    elementwise=True,
    foldable=True,
)
