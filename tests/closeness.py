"""What tests compare: numbers to a stated precision, and the operations of a graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import symgrad as sg
from symgrad.expr import Expr
from symgrad.walk import Graph, topological


@dataclass(frozen=True)
class Precision:
    """A dtype and the relative error that is accepted in it."""

    dtype: Any
    tolerance: float

    def array(self, values: Any) -> np.ndarray:
        return np.asarray(values, self.dtype)


def close(actual: Any, expected: Any, tolerance: float, scale: float = 0.0) -> None:
    """Same trees, same shapes, and no leaf is off by more than `tolerance` of its largest entry.

    `scale` stands in for the largest entry where the exact result is zero.
    """
    actual_leaves, actual_tree = jax.tree.flatten(actual)
    expected_leaves, expected_tree = jax.tree.flatten(expected)
    assert actual_tree == expected_tree
    for got, want in zip(actual_leaves, expected_leaves, strict=True):
        got, want = np.asarray(got), np.asarray(want)
        assert got.shape == want.shape
        size = max(scale, np.max(np.abs(want), initial=0.0))
        error = np.max(np.abs(got - want), initial=0.0)
        assert error <= tolerance * size, f"off by {error}, size {size}:\n{got}\n{want}"


def same_types(actual: Any, expected: Any) -> None:
    assert jax.tree.map(jnp.result_type, actual) == jax.tree.map(jnp.result_type, expected)


def check(
    fun: Callable[..., Any],
    args: tuple[Any, ...],
    gradient: Any,
    tolerance: float,
    *,
    value: Any = None,
    argnums: int | tuple[int, ...] = 0,
    scale: float = 0.0,
) -> None:
    """`fun` has this value and this gradient by symgrad, and JAX agrees with both."""
    found, slope = sg.value_and_grad(fun, argnums)(*args)
    jax_value, jax_slope = jax.jit(jax.value_and_grad(fun, argnums))(*args)
    close(found, jax_value, tolerance, scale)
    close(found, jax_value if value is None else value, tolerance, scale)
    close(slope, gradient, tolerance, scale)
    close(slope, jax_slope, tolerance, scale)
    same_types((found, slope), (jax_value, jax_slope))


def check_adjoints(
    fun: Callable[..., Any],
    args: tuple[Any, ...],
    cotangent: Any,
    value: Any,
    adjoints: tuple[Any, ...],
    tolerance: float,
) -> None:
    """`fun` has this value and turns `cotangent` into these adjoints of all its arguments."""
    jax_value, jax_adjoints = jax.jit(
        lambda args, cotangent: (fun(*args), jax.vjp(fun, *args)[1](cotangent))
    )(args, cotangent)
    found, pull = sg.vjp(fun, *args)
    pulled = pull(cotangent)
    close(found, value, tolerance)
    close(found, jax_value, tolerance)
    close(pulled, adjoints, tolerance)
    close(pulled, jax_adjoints, tolerance)
    same_types((found, pulled), (jax_value, jax_adjoints))


def adjoint_of(unit: Callable[..., Any]) -> Callable[..., Any]:
    """Σ h̄ h, with h̄ the last argument: its gradient is what a unit makes of the adjoint h̄."""
    return lambda *args: jnp.sum(args[-1] * unit(*args[:-1]))


def operations(graph: Graph) -> list[Expr]:
    """The nodes that compute: no inputs, no numbers."""
    return [n for n in graph.nodes if n.args]


def op_names(graph: Graph) -> set[str]:
    return {n.op.name for n in operations(graph)}


def count(graph: Graph, name: str) -> int:
    return sum(n.op.name == name for n in operations(graph))


def used_inputs(graph: Graph) -> list[int]:
    """The positions of the inputs that the outputs depend on."""
    needed = set(topological(graph.outputs))
    return [i for i, node in enumerate(graph.inputs) if node in needed]


def divisions_by_data(graph: Graph) -> list[Expr]:
    """Quotients whose divisor depends on an input; dividing by a batch size is none."""
    inputs = set(graph.inputs)
    return [
        n
        for n in operations(graph)
        if n.op.name == "div" and not inputs.isdisjoint(topological(n.args[1:]))
    ]


def edges(nodes: Iterable[Expr]) -> int:
    return sum(len(n.args) for n in nodes)
