"""From JAX to graphs: the only file that knows jaxprs.

`trace` runs a function on abstract values, as `jax.make_jaxpr` does, and reads
the result once, equation by equation. A primitive is read by the entry of
`READERS` with its name; one that has no entry, or has a parameter the entry does
not know, becomes an opaque node.
"""

from __future__ import annotations

import functools
import inspect
import os
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import CodeType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core as jex
from jax.extend.core import primitives

from symgrad.errors import Frame, SymgradError, TracingError
from symgrad.expr import (
    Captured,
    Expr,
    Op,
    Type,
    captured,
    constant,
    literal_value,
    parameter,
    results,
)
from symgrad.ops import contract, control, pointwise, reduce, shape
from symgrad.ops.shape import broadcast, iota
from symgrad.places import assigned_name
from symgrad.walk import Graph, Origin, Origins


@dataclass(frozen=True, slots=True)
class Traced:
    """A traced function.

    Attributes:
        graph: from the leaves of the arguments to the leaves of the result.
        out_tree: structure of the result.
        out_types: types of its leaves as JAX has them, weak-type flags included.
    """

    graph: Graph
    out_tree: Any
    out_types: tuple[Type, ...]


def type_of(leaf: Any) -> Type:
    """The abstract value of an array, a Python number or a `jax.ShapeDtypeStruct`.

    Raises:
        TypeError: JAX knows no array type for it.
    """
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return Type(tuple(leaf.shape), leaf.dtype, bool(leaf.weak_type))
    aval = jax.typeof(leaf)
    return Type(tuple(aval.shape), aval.dtype, bool(getattr(aval, "weak_type", False)))


def with_weak_type(value: Any, weak: bool) -> Any:
    """`value` with JAX's weak-type flag set as wanted, which no public function does."""
    aval = jax.typeof(value)
    if bool(getattr(aval, "weak_type", False)) == weak:
        return value
    return primitives.convert_element_type_p.bind(
        value, new_dtype=aval.dtype, weak_type=weak, sharding=None
    )


def trace(
    fun: Callable[..., Any], in_tree: Any, types: Sequence[Type], names: Sequence[str] = ()
) -> Traced:
    """Trace `fun(*args, **kwargs)` on abstract values.

    Args:
        in_tree: structure of `(args, kwargs)`.
        types: of the leaves.
        names: of the leaves.

    Raises:
        TracingError: the function needs the value of a traced array, or returns what is
            not an array.
    """
    out_tree: Any = None

    def flat(*values: Any) -> list[Any]:
        nonlocal out_tree
        args, kwargs = jax.tree.unflatten(in_tree, values)
        flat_out, out_tree = jax.tree.flatten(fun(*args, **kwargs))
        return flat_out

    avals = [jax.ShapeDtypeStruct(t.shape, t.dtype, weak_type=t.weak) for t in types]
    try:
        closed = jax.make_jaxpr(flat)(*avals)
    except SymgradError:
        raise
    except Exception as error:
        raise _explained(error) or error from error
    inputs = tuple(parameter(i, t) for i, t in enumerate(types))
    reader = _Reader()
    reader.origins.update((i, Origin(name=n)) for i, n in zip(inputs, names, strict=False))
    outputs = reader.read(closed.jaxpr, closed.consts, inputs)
    graph = Graph(inputs, tuple(outputs), tuple(names), reader.origins)
    return Traced(graph, out_tree, tuple(_type_of_aval(a) for a in closed.out_avals))


def _explained(error: Exception) -> SymgradError | None:
    """The same mistake in a sentence, at the user's line, where JAX's own error allows it."""
    frame = _frame_of_traceback(error)
    first = str(error).split("\n", 1)[0]
    if isinstance(error, jax.errors.TracerBoolConversionError):
        return TracingError(
            "the condition of an `if`, `while`, `and`, `or` or `not` depends on the value of a "
            "traced array, which is not known when compiling",
            frame=frame,
            fix="choose with jnp.where(condition, a, b), or jax.lax.cond; make the argument "
            "static if it is not an array",
        )
    if isinstance(error, jax.errors.TracerArrayConversionError):
        return TracingError(
            "a NumPy function or conversion was applied to a traced array",
            frame=frame,
            fix="use the function of the same name in jax.numpy",
        )
    if isinstance(error, jax.errors.ConcretizationTypeError):
        return TracingError(
            f"the value of a traced array is needed when compiling: {first}", frame=frame
        )
    if isinstance(error, TypeError | ValueError) and frame is not None:
        return _at_user_line(error, frame)
    return None


def _at_user_line(error: Exception, frame: Frame) -> SymgradError:
    """JAX's or the user's own complaint, of the same class, with the user's line and a caret."""
    kind = TypeError if isinstance(error, TypeError) else ValueError
    explained = type("TracingError", (SymgradError, kind), {"__doc__": TracingError.__doc__})
    return explained(str(error), frame=frame)


class _Reader:
    """Reads jaxprs into nodes, remembering where each equation came from."""

    def __init__(self) -> None:
        self.origins: Origins = {}
        self._named: dict[tuple[Frame | None, str], Expr] = {}

    def read(self, jaxpr: Any, consts: Sequence[Any], args: Sequence[Expr]) -> list[Expr]:
        env: dict[Any, Expr] = dict(zip(jaxpr.invars, args, strict=True))
        env.update((v, _constant_node(c)) for v, c in zip(jaxpr.constvars, consts, strict=True))

        def value(atom: Any) -> Expr:
            return _literal_node(atom) if isinstance(atom, jex.Literal) else env[atom]

        for eqn in jaxpr.eqns:
            operands = [value(v) for v in eqn.invars]
            found = self._equation(eqn, operands)
            for var, node in zip(eqn.outvars, found, strict=True):
                env[var] = node
        return [value(v) for v in jaxpr.outvars]

    def _equation(self, eqn: Any, operands: Sequence[Expr]) -> Sequence[Expr]:
        name, params = eqn.primitive.name, eqn.params
        if name in INLINED:
            inner = params[INLINED[name]]
            consts = getattr(inner, "consts", ())
            return self.read(getattr(inner, "jaxpr", inner), consts, operands)
        nodes = _read_known(name, params, operands)
        if nodes is None:
            nodes = results(_opaque_node(eqn, operands))
        self._remember(eqn, operands, nodes)
        return nodes

    def _remember(self, eqn: Any, operands: Sequence[Expr], nodes: Sequence[Expr]) -> None:
        frame, name = _place(eqn.source_info)
        known = set(operands)
        stack = list(nodes)
        while stack:
            node = stack.pop()
            if node in known or node in self.origins or not node.args:
                continue
            self.origins[node] = Origin(frame)
            stack.extend(node.args)
        if name and len(nodes) == 1 and nodes[0] not in known:
            self._name(nodes[0], frame, name)

    def _name(self, node: Expr, frame: Frame | None, name: str) -> None:
        """A line that takes several equations names the last of them."""
        earlier = self._named.get((frame, name))
        if earlier is not None:
            self.origins[earlier] = Origin(frame)
        self._named[frame, name] = node
        self.origins[node] = Origin(frame, name)


def _read_known(
    name: str, params: Mapping[str, Any], operands: Sequence[Expr]
) -> Sequence[Expr] | None:
    """The nodes an equation means, None if symgrad has no record of it."""
    reader = READERS.get(name)
    if reader is None:
        return None
    understood = _understood(reader)
    given = {}
    for key, value in params.items():
        if key in understood:
            given[key] = value
        elif not (key in NEUTRAL and value == NEUTRAL[key]):
            return None
    found = reader(*operands, **given)
    if found is None:
        return None
    return results(found) if isinstance(found, Expr) else tuple(found)


@functools.cache
def _understood(reader: Callable[..., Any]) -> frozenset[str]:
    """The parameters of a primitive that its reader takes."""
    signature = inspect.signature(reader)
    return frozenset(
        p.name for p in signature.parameters.values() if p.kind is inspect.Parameter.KEYWORD_ONLY
    )


NEUTRAL: dict[str, Any] = {
    "out_sharding": None,
    "sharding": None,
    "accuracy": None,
    "out_dtype": None,
    "dimensions": None,
    "_split_transpose": False,
}
"""Parameters that mean nothing at this value."""

INLINED = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "remat2": "jaxpr",
    "checkpoint": "jaxpr",
}
"""Calls that are just their body, and the parameter that holds it."""


class Foreign:
    """A JAX primitive with its parameters, callable; equal only to itself."""

    __slots__ = ("params", "primitive")

    def __init__(self, primitive: Any, params: Mapping[str, Any]):
        self.primitive, self.params = primitive, dict(params)

    def __call__(self, *args: Any) -> Any:
        bind_params = self.primitive.get_bind_params(self.params)
        if isinstance(bind_params, tuple):
            functions, bind_params = bind_params
            return self.primitive.bind(*functions, *args, **bind_params)
        return self.primitive.bind(*args, **bind_params)


def _opaque_node(eqn: Any, operands: Sequence[Expr]) -> Expr:
    types = tuple(_type_of_aval(v.aval) for v in eqn.outvars)
    call = Foreign(eqn.primitive, eqn.params)
    return control.opaque(*operands, name=eqn.primitive.name, call=call, types=types)


def _type_of_aval(aval: Any) -> Type:
    return Type(tuple(aval.shape), aval.dtype, bool(getattr(aval, "weak_type", False)))


def _literal_node(atom: Any) -> Expr:
    if np.ndim(atom.val):
        return _constant_node(atom.val)
    return constant(atom.val, atom.aval.dtype, bool(getattr(atom.aval, "weak_type", False)))


def _constant_node(value: Any) -> Expr:
    """A number becomes a literal, an array is captured by reference."""
    extended = jax.dtypes.issubdtype(jax.typeof(value).dtype, jax.dtypes.extended)
    if np.ndim(value) == 0 and not extended and not isinstance(value, jax.core.Tracer):
        aval = jax.typeof(value)
        return constant(np.asarray(value), aval.dtype, bool(getattr(aval, "weak_type", False)))
    return captured(array=Captured(value))


_LIBRARY = tuple(
    os.path.realpath(p) + os.sep for p in (os.path.dirname(jax.__file__), os.path.dirname(__file__))
)
_STANDARD = os.path.realpath(sysconfig.get_paths()["stdlib"]) + os.sep


@functools.lru_cache(maxsize=65536)
def _user_code(code: CodeType) -> bool:
    """Whether code is the user's: not JAX's, not symgrad's, not the standard library's."""
    file = os.path.realpath(code.co_filename)
    if file.startswith(_LIBRARY):
        return False
    return not file.startswith(_STANDARD) or "site-packages" in file


@functools.lru_cache(maxsize=65536)
def _frame_at(code: CodeType, instruction: int) -> Frame:
    positions = list(code.co_positions())
    line, end_line, column, end_column = positions[min(instruction // 2, len(positions) - 1)]
    line = line or code.co_firstlineno
    return Frame(
        code.co_filename, line, column or 0, end_line or line, end_column or 0, code.co_name
    )


def _place(source_info: Any) -> tuple[Frame | None, str]:
    """The user's innermost frame, and the variable that receives the value."""
    if source_info.traceback is None:
        return None, ""
    codes, instructions = source_info.traceback.raw_frames()
    frames = tuple(
        (code, instruction)
        for code, instruction in zip(codes, instructions, strict=True)
        if _user_code(code)
    )
    return _named_place(frames)


@functools.lru_cache(maxsize=65536)
def _named_place(frames: tuple[tuple[CodeType, int], ...]) -> tuple[Frame | None, str]:
    places = [_frame_at(code, instruction) for code, instruction in frames]
    return (places[0] if places else None), assigned_name(places)


def _frame_of_traceback(error: BaseException) -> Frame | None:
    """The innermost line of user code that an exception passed through."""
    found = None
    step = error.__traceback__
    while step is not None:
        if _user_code(step.tb_frame.f_code):
            found = _frame_at(step.tb_frame.f_code, step.tb_lasti)
        step = step.tb_next
    return found


def read_graph(closed: Any) -> Graph:
    """A closed jaxpr as a graph of its own: a loop body, a branch, a rule."""
    inputs = tuple(parameter(i, _type_of_aval(v.aval)) for i, v in enumerate(closed.jaxpr.invars))
    reader = _Reader()
    outputs = reader.read(closed.jaxpr, closed.consts, inputs)
    return Graph(inputs, tuple(outputs), _argument_names(closed.jaxpr), reader.origins)


def _argument_names(jaxpr: Any) -> tuple[str, ...]:
    """The user's names of a body's arguments, as far as JAX remembers them."""
    names = getattr(jaxpr.debug_info, "arg_names", None) or ()
    return tuple(n or "" for n in names) if len(names) == len(jaxpr.invars) else ()


def _read_dot_general(
    x: Expr, y: Expr, *, dimension_numbers: Any, precision: Any, preferred_element_type: Any
) -> Expr:
    contract_axes, batch = dimension_numbers
    return contract.dot_general(
        x,
        y,
        contract=contract_axes,
        batch=batch,
        precision=precision,
        dtype=preferred_element_type,
    )


def _read_broadcast(x: Expr, *, shape: Any, broadcast_dimensions: Any) -> Expr:
    return (
        x
        if x.shape == shape
        else broadcast(x, shape=tuple(shape), axes=tuple(broadcast_dimensions))
    )


def _read_select(which: Expr, *cases: Expr) -> Expr:
    """`select_n` counts its cases from 0, so the first is the one taken on False."""
    if which.dtype == bool:
        which, on_false, on_true = _aligned((which, *cases))
        return pointwise.select(which, on_true, on_false)
    which, *cases = _aligned((which, *cases))
    chosen = cases[-1]
    for i in range(len(cases) - 2, -1, -1):
        chosen = pointwise.select(pointwise.eq(which, i), cases[i], chosen)
    return chosen


def _read_slice(x: Expr, *, start_indices: Any, limit_indices: Any, strides: Any) -> Expr:
    step = tuple(strides) if strides is not None else (1,) * x.ndim
    return shape.slice_(x, start=tuple(start_indices), stop=tuple(limit_indices), step=step)


def _read_pad(x: Expr, value: Expr, *, padding_config: Any) -> Expr:
    low, high, interior = (
        (tuple(c) for c in zip(*padding_config, strict=True))
        if x.ndim
        else (
            (),
            (),
            (),
        )
    )
    return shape.pad(x, value, low=low, high=high, interior=interior)


def _read_pow(x: Expr, y: Expr) -> Expr:
    x, y = _aligned((x, y))
    value = literal_value(y)
    if value is not None and float(value).is_integer() and abs(value) < 2**15:
        return pointwise.integer_power(x, int(value))
    return pointwise.power(x, y)


def _read_scan(
    *operands: Expr,
    jaxpr: Any,
    num_consts: int,
    num_carry: int,
    length: int,
    reverse: bool,
    unroll: int,
) -> Expr:
    return control.scan(
        *operands,
        body=read_graph(jaxpr),
        consts=num_consts,
        carry=num_carry,
        length=length,
        reverse=reverse,
        unroll=unroll,
    )


def _read_while(
    *operands: Expr, cond_jaxpr: Any, body_jaxpr: Any, cond_nconsts: int, body_nconsts: int
) -> Expr:
    return control.while_(
        *operands,
        condition=read_graph(cond_jaxpr),
        body=read_graph(body_jaxpr),
        condition_consts=cond_nconsts,
        body_consts=body_nconsts,
    )


def _read_cond(index: Expr, *operands: Expr, branches: Any) -> Expr:
    return control.switch(index, *operands, branches=tuple(read_graph(b) for b in branches))


def _definition(closed: Any) -> str:
    """Where the Python function behind a jaxpr is defined."""
    info = closed.jaxpr.debug_info
    return info.func_src_info or "" if info is not None else ""


@functools.cache
def _library_functions() -> dict[str, Any]:
    """Functions of JAX with rules of their own that symgrad has operations for."""

    def definition(function: Callable[..., Any], *args: float) -> str:
        closed = jax.make_jaxpr(function)(*args)
        return _definition(closed.jaxpr.eqns[0].params["call_jaxpr"])

    return {
        definition(jax.nn.relu, 1.0): pointwise.relu,
        definition(jnp.logaddexp, 1.0, 1.0): pointwise.logaddexp,
    }


def _read_custom_jvp(
    *operands: Expr, call_jaxpr: Any, jvp_jaxpr_fun: Any, num_consts: int, symbolic_zeros: bool
) -> Expr | None:
    known = _library_functions().get(_definition(call_jaxpr))
    if known is not None and len(operands) == len(call_jaxpr.jaxpr.invars):
        return known(*operands)
    zeros_in = [not o.type.inexact for o in operands]

    def rule() -> Graph:
        jaxpr, consts, zeros_out = jvp_jaxpr_fun.call_wrapped(*zeros_in)
        graph = read_graph(jex.ClosedJaxpr(jaxpr, consts))
        return _with_zero_tangents(graph, zeros_out)

    return control.custom_jvp(*operands, body=read_graph(call_jaxpr), rule=control.Rule(rule))


def _with_zero_tangents(graph: Graph, zeros_out: Sequence[bool]) -> Graph:
    """A rule that returned symbolic zeros, with one tangent for every inexact result."""
    count = len(zeros_out)
    primals, tangents = graph.outputs[:count], iter(graph.outputs[count:])
    full = [
        shape.zeros(p.type) if zero else next(tangents)
        for p, zero in zip(primals, zeros_out, strict=True)
    ]
    kept = [t for t, p in zip(full, primals, strict=True) if p.type.inexact]
    return Graph(graph.inputs, (*primals, *kept), graph.names, graph.origins)


def _read_custom_vjp(
    *operands: Expr,
    call_jaxpr: Any,
    fwd_jaxpr_thunk: Any,
    num_consts: int,
    bwd: Any,
    out_trees: Any,
    symbolic_zeros: bool,
) -> Expr | None:
    if symbolic_zeros:
        return None
    body = read_graph(call_jaxpr)

    def forward() -> Graph:
        """Residuals as a function of the operands."""
        jaxpr, consts = fwd_jaxpr_thunk.call_wrapped(*[o.type.inexact for o in operands])
        graph = read_graph(jex.ClosedJaxpr(jaxpr, consts))
        _, residual_tree, forwarded = out_trees()
        kept = iter(graph.outputs[: len(graph.outputs) - len(body.outputs)])
        found = [next(kept) if i is None else graph.inputs[i] for i in forwarded]
        assert len(found) == residual_tree.num_leaves
        return Graph(graph.inputs, tuple(found), (), graph.origins)

    def backward() -> Graph:
        """Cotangents of the operands as a function of residuals and cotangents."""
        types = [r.type for r in forward_rule().outputs] + [o.type for o in body.outputs]
        present: list[bool] = []

        def flat(*values: Any) -> list[Any]:
            found = bwd.call_wrapped(*values)
            present[:] = [isinstance(f, jax.Array | jax.core.Tracer) for f in found]
            return [f for f, p in zip(found, present, strict=True) if p]

        avals = [jax.ShapeDtypeStruct(t.shape, t.dtype) for t in types]
        graph = read_graph(jax.make_jaxpr(flat)(*avals))
        found = iter(graph.outputs)
        full = tuple(
            next(found) if p else shape.zeros(o.type)
            for p, o in zip(present, operands, strict=True)
        )
        return Graph(graph.inputs, full, (), graph.origins)

    forward_rule = control.Rule(forward)
    return control.custom_vjp(
        *operands, body=body, forward=forward_rule, backward=control.Rule(backward)
    )


def _direct(op: Op) -> Callable[..., Expr]:
    """The reader of an elementwise primitive without parameters."""
    return lambda *operands: op(*_aligned(operands))


def _aligned(operands: Sequence[Expr]) -> list[Expr]:
    """JAX stretches axes of size 1 silently; here they are broadcast in the open."""
    target = np.broadcast_shapes(*(o.shape for o in operands))
    every_axis = tuple(range(len(target)))
    return [
        o if o.shape in ((), target) else broadcast(o, shape=target, axes=every_axis)
        for o in operands
    ]


SAME_NAME = (
    *(pointwise.add, pointwise.sub, pointwise.mul, pointwise.div, pointwise.neg),
    *(pointwise.maximum, pointwise.minimum, pointwise.clamp, pointwise.rem),
    *(pointwise.exp, pointwise.exp2, pointwise.expm1, pointwise.log, pointwise.log1p),
    *(pointwise.sqrt, pointwise.rsqrt, pointwise.cbrt, pointwise.square, pointwise.abs_),
    *(pointwise.sin, pointwise.cos, pointwise.tan, pointwise.sinh, pointwise.cosh),
    *(pointwise.tanh, pointwise.logistic, pointwise.erf, pointwise.erfc, pointwise.erf_inv),
    *(pointwise.sign, pointwise.floor, pointwise.ceil, pointwise.is_finite),
    *(pointwise.eq, pointwise.ne, pointwise.lt, pointwise.le, pointwise.gt, pointwise.ge),
    *(pointwise.and_, pointwise.or_, pointwise.xor, pointwise.not_, pointwise.arctan2),
    *(pointwise.shift_left, pointwise.shift_right_logical, pointwise.shift_right_arithmetic),
    pointwise.stop_gradient,
)
"""Operations that JAX's primitive of the same name means."""

OTHER_NAME = {
    "asin": pointwise.arcsin,
    "acos": pointwise.arccos,
    "atan": pointwise.arctan,
    "asinh": pointwise.arcsinh,
    "acosh": pointwise.arccosh,
    "atanh": pointwise.arctanh,
}

REDUCTIONS = {
    "reduce_sum": shape.reduce_sum,
    "reduce_max": reduce.reduce_max,
    "reduce_min": reduce.reduce_min,
    "reduce_prod": reduce.reduce_prod,
    "reduce_and": reduce.reduce_and,
    "reduce_or": reduce.reduce_or,
}


def _read_reduction(op: Op) -> Callable[..., Expr]:
    return lambda x, *, axes: op(x, axes=tuple(axes)) if axes else x


def _read_along_axis(op: Op) -> Callable[..., Expr]:
    return lambda x, *, axis, reverse: op(x, axis=axis, reverse=reverse)


def _read_arg_reduction(op: Op) -> Callable[..., Expr]:
    return lambda x, *, axes, index_dtype: op(x, axis=axes[0], dtype=np.dtype(index_dtype))


READERS: dict[str, Callable[..., Any]] = {
    **{op.name: _direct(op) for op in SAME_NAME},
    **{name: _direct(op) for name, op in OTHER_NAME.items()},
    **{name: _read_reduction(op) for name, op in REDUCTIONS.items()},
    **{op.name: _read_along_axis(op) for op in (reduce.cumsum, reduce.cumprod)},
    **{op.name: _read_arg_reduction(op) for op in (reduce.argmax, reduce.argmin)},
    "integer_pow": lambda x, *, y: pointwise.integer_power(x, y),
    "pow": _read_pow,
    "select_n": _read_select,
    "round": lambda x, *, rounding_method: pointwise.round_(x, to_even=rounding_method == 1),
    "convert_element_type": lambda x, *, new_dtype, weak_type: pointwise.convert(
        x, dtype=new_dtype, weak=weak_type
    ),
    "bitcast_convert_type": lambda x, *, new_dtype: pointwise.bitcast(x, dtype=new_dtype),
    "copy": lambda x: x,
    "copy_p": lambda x: x,
    "dot_general": _read_dot_general,
    "broadcast_in_dim": _read_broadcast,
    "reshape": lambda x, *, new_sizes: shape.reshape(x, shape=tuple(new_sizes)),
    "squeeze": lambda x, *, dimensions: shape.squeeze(x, tuple(dimensions)),
    "transpose": lambda x, *, permutation: shape.transpose(x, permutation=tuple(permutation)),
    "slice": _read_slice,
    "pad": _read_pad,
    "concatenate": lambda *xs, dimension: shape.concatenate(*xs, axis=dimension),
    "rev": lambda x, *, dimensions: shape.reverse(x, axes=tuple(dimensions)),
    "iota": lambda *, shape, dtype, dimension: iota(
        shape=tuple(shape), dtype=np.dtype(dtype), axis=dimension
    ),
    "scan": _read_scan,
    "while": _read_while,
    "cond": _read_cond,
    "custom_jvp_call": _read_custom_jvp,
    "custom_vjp_call": _read_custom_vjp,
}
