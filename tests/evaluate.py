"""Values and derivatives of nodes, computed from the source of each operation and nothing else.

An oracle for operations: no emitter, no rewrite rule and no compiler of symgrad takes part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from symgrad.derive import pullback, pushforward
from symgrad.expr import Expr, captured, parameter
from symgrad.ops.limit import limit_op, variable
from symgrad.ops.shape import zeros
from symgrad.ops.spectral import matrix_function
from symgrad.tracing import trace, type_of
from symgrad.walk import topological


def evaluate(outputs: Sequence[Expr], inputs: Mapping[Expr, Any]) -> list[Any]:
    """The values of `outputs` where the nodes in `inputs` have the given values."""

    def run(given: list[Any]) -> list[Any]:
        values = dict(zip(inputs, given, strict=True))
        for node in topological(outputs):
            if node not in values:
                values[node] = apply(node, [values[a] for a in node.args])
        return [values[o] for o in outputs]

    return compiled(run)(list(inputs.values()))


def compiled(fun: Callable[..., Any]) -> Callable[..., Any]:
    """`fun` compiled in a hurry: it runs once."""
    return jax.jit(fun, compiler_options={"xla_backend_optimization_level": 0})


def apply(node: Expr, operands: Sequence[Any]) -> Any:
    """The operation of one node, given its operands; its type is what the node says."""
    value = _bare(node, operands)
    for found, type in zip(jax.tree.leaves(value), node.types, strict=True):
        assert (jnp.shape(found), jnp.result_type(found)) == (type.shape, type.dtype), node
    return value


def _bare(node: Expr, operands: Sequence[Any]) -> Any:
    if node.op is captured:
        return node.params["array"].array
    source = source_of(node)
    names = dict(zip("xyz", operands, strict=False), xs=operands)
    helpers = {h.__name__: h for h in node.op.helpers}
    if node.op in (limit_op, matrix_function):
        body, t = node.params["function"], variable(node.dtype)
        helpers["FUNCTION"] = lambda x: jnp.asarray(_of_arrays(body, t, x))
    return eval(source, {"jax": jax, "jnp": jnp, "lax": lax, **helpers, **names})


def _of_arrays(body: Expr, t: Expr, x: Any) -> Any:
    """A function of one number, entry by entry."""
    values = {t: x}
    for node in topological([body]):
        if node not in values:
            values[node] = _bare(node, [values[a] for a in node.args])
    return values[body]


def source_of(node: Expr) -> str:
    """The operation as it is printed, operands by their letters."""
    source = node.op.source(node) if callable(node.op.source) else node.op.source
    source = source.replace("{body}", "FUNCTION")
    return source.format(**node.params) if "{" in source else source


def nodes_of(fun: Callable[..., Any], *args: Any) -> tuple[tuple[Expr, ...], tuple[Expr, ...]]:
    """What `fun` computes: its arguments, and its results."""
    leaves, tree = jax.tree.flatten((args, {}))
    graph = trace(fun, tree, [type_of(leaf) for leaf in leaves]).graph
    return graph.inputs, graph.outputs


def check_against_jax(fun: Callable[..., Any], *args: Any, tolerance: float | None = None) -> None:
    """Value, pullback, pushforward and the pullback of the pullback are those of JAX.

    The floating-point arguments vary, the integer ones choose.
    """
    args = tuple(jnp.asarray(a) for a in args)
    varying = [i for i, a in enumerate(args) if jnp.issubdtype(jnp.result_type(a), np.inexact)]
    draw = np.random.default_rng(0)

    def direction(like: Any) -> Any:
        return jnp.asarray(draw.normal(size=like.shape), like.dtype)

    cotangents = jax.tree.map(direction, jax.eval_shape(fun, *args))
    tangents = [direction(args[i]) for i in varying]
    expected = _by_jax(fun, args, varying, cotangents, tangents)
    found = _by_nodes(fun, args, varying, jax.tree.leaves(cotangents), tangents)
    if tolerance is None:
        tolerance = 1e-10 if tangents[0].dtype == np.float64 else 2e-5
    for name, want in expected.items():
        for got, exact in zip(found[name], jax.tree.leaves(want), strict=True):
            assert (got.shape, got.dtype) == (exact.shape, exact.dtype), name
            size = np.max(np.abs(np.nan_to_num(exact)), initial=1.0)
            np.testing.assert_allclose(got, exact, rtol=0, atol=tolerance * size, err_msg=name)


def _by_jax(
    fun: Callable[..., Any], args: Any, varying: Sequence[int], cotangents: Any, tangents: Any
) -> dict[str, Any]:
    def of(given: Sequence[Any]) -> Any:
        values = dict(zip(varying, given, strict=True))
        return fun(*(values.get(i, a) for i, a in enumerate(args)))

    def pull(given: Sequence[Any], seeds: Any) -> Any:
        return jax.vjp(of, given)[1](seeds)[0]

    def every(given: Sequence[Any], seeds: Any, steps: Any) -> dict[str, Any]:
        value, pushed = jax.jvp(of, (given,), (steps,))
        pulled, again = jax.vjp(pull, given, seeds)
        return {"value": value, "push": pushed, "pull": pulled, "again": again(steps)}

    return compiled(every)([args[i] for i in varying], cotangents, tangents)


def _by_nodes(
    fun: Callable[..., Any], args: Any, varying: Sequence[int], cotangents: Any, tangents: Any
) -> dict[str, list[Any]]:
    inputs, outputs = nodes_of(fun, *args)
    wrt = [inputs[i] for i in varying]
    count = len(inputs)
    seeds = [parameter(count + i, o.type) for i, o in enumerate(outputs)]
    count += len(seeds)
    steps = [parameter(count + i, w.type) for i, w in enumerate(wrt)]

    pushed = pushforward(outputs, wrt, steps)
    pulled = pullback(outputs, seeds, wrt)
    reached = [i for i, p in enumerate(pulled) if p is not None]
    again = pullback([pulled[i] for i in reached], [steps[i] for i in reached], [*wrt, *seeds])
    groups = {
        "value": list(outputs),
        "push": [_dense(p, o) for p, o in zip(pushed, outputs, strict=True)],
        "pull": [_dense(p, w) for p, w in zip(pulled, wrt, strict=True)],
        "again": [_dense(p, w) for p, w in zip(again, [*wrt, *seeds], strict=True)],
    }
    values = dict(zip([*inputs, *seeds, *steps], [*args, *cotangents, *tangents], strict=True))
    found = iter(evaluate([node for group in groups.values() for node in group], values))
    return {name: [next(found) for _ in group] for name, group in groups.items()}


def _dense(slot: Expr | None, like: Expr) -> Expr:
    return zeros(like.type) if slot is None else slot
