"""The same trap told otherwise: inside loops, batches, networks, helpers; rearranged, scaled."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import symgrad as sg
from symgrad import walk
from symgrad.expr import Expr, argument, captured, literal, make
from traps import Trap


@dataclass(frozen=True)
class Told:
    """A function whose answer is `factor` times that of the trap it tells.

    Attributes:
        batch: the transformation is applied under `jax.vmap`, to two equal rows.
    """

    fun: Callable[..., Any]
    args: tuple[Any, ...]
    wrt: int
    factor: float = 1.0
    batch: bool = False


def _moving(told: Told, fun: Callable[[Callable[[Any], Any], Any], Any]) -> Callable[..., Any]:
    """`fun` of the program as a function of the argument that varies, and of that argument."""

    def whole(*args: Any) -> Any:
        def alone(x: Any) -> Any:
            return told.fun(*args[: told.wrt], x, *args[told.wrt + 1 :])

        return fun(alone, args[told.wrt])

    return whole


def _vmapped(told: Told) -> Told:
    fun = _moving(told, lambda f, x: jnp.sum(jax.vmap(f)(jnp.stack([x, x])), 0))
    return replace(told, fun=fun, factor=2.0)


def _scanned(told: Told) -> Told:
    def looped(f: Callable[[Any], Any], x: Any) -> Any:
        start = jnp.zeros(jax.eval_shape(f, x).shape, x.dtype)
        return lax.scan(lambda c, x: (c + f(x), None), start, jnp.stack([x, x]))[0]

    return replace(told, fun=_moving(told, looped), factor=2.0)


def _layer(told: Told) -> Told:
    """Between a layer that scales and one that weighs, beside a connection around both."""
    x = told.args[told.wrt]
    count = len(told.args)
    scales, weight, around = jnp.ones_like(x), jnp.asarray(1.5, x.dtype), jnp.zeros_like(x)

    def network(*args: Any) -> Any:
        own, (scales, weight, around) = list(args[:count]), args[count:]
        x = own[told.wrt]
        own[told.wrt] = scales * x
        return weight * told.fun(*own) + jnp.sum(around * x)

    return replace(told, fun=network, args=(*told.args, scales, weight, around), factor=1.5)


def _scaled(told: Told) -> Told:
    """3 f(2 x) at half of x; halves are exact."""
    args = tuple(a / 2 if i == told.wrt else a for i, a in enumerate(told.args))
    fun = _moving(told, lambda f, x: 3.0 * f(2.0 * x))
    return replace(told, fun=fun, args=args, factor=3.0)


def _in_terms_of_derivative(trap: Trap, name: str) -> float:
    """What scaling the argument by 2 makes of the answer."""
    if name != "scaled":
        return 1.0
    return {"value": 1.0, "grad": 2.0, "jvp": 2.0, "hvp": 4.0}[trap.order]


def _rearranged(told: Told) -> Told:
    """The operands of every commutative operation exchanged."""

    def exchanged(graph: walk.Graph) -> walk.Graph:
        done: dict[Expr, Expr] = {}
        for node in walk.topological(graph.outputs):
            args = tuple(done[a] for a in node.args)
            params = walk.map_graphs(node.params, exchanged)
            order = args[::-1] if node.op.commutative else args
            done[node] = make(node.op, order, params) if args else node
        return walk.Graph(graph.inputs, tuple(done[o] for o in graph.outputs), graph.names)

    graph = sg.trace(told.fun, *told.args)
    return replace(told, fun=sg.Graph.of(exchanged(graph)).compile())


def _spread(told: Told) -> Told:
    """A chain of helper functions, each of them jitted."""
    graph = sg.trace(told.fun, *told.args)
    sources = (argument, literal, captured)
    computing = [n for n in walk.topological(graph.outputs) if n.op not in sources]
    cuts = [_crossing(computing, len(computing) * k // 3, graph.outputs) for k in (1, 2)]
    layers = [graph.inputs]
    for cut in cuts:
        if cut and all(not isinstance(n.type, tuple) for n in cut):
            layers.append(tuple(dict.fromkeys((*cut, *graph.inputs))))
    layers.append(graph.outputs)
    steps = [
        sg.Graph.of(walk.bind(inputs, outputs)).compile(f"helper_{i}")
        for i, (inputs, outputs) in enumerate(itertools.pairwise(layers))
    ]

    def chained(*args: Any) -> Any:
        for step in steps:
            found = step(*args)
            args = found if isinstance(found, tuple) else (found,)
        return args[0]

    return replace(told, fun=chained)


def _crossing(nodes: Sequence[Expr], place: int, outputs: Sequence[Expr]) -> list[Expr]:
    """What the nodes after a place need from those before it."""
    before, after = set(nodes[:place]), nodes[place:]
    read = {a for n in after for a in n.args} | set(outputs)
    return [n for n in nodes[:place] if n in before & read]


VARIANTS: Mapping[str, Callable[[Told], Told]] = {
    "as written": lambda told: told,
    "vmap": _vmapped,
    "batched": lambda told: replace(told, batch=True),
    "scan": _scanned,
    "layer": _layer,
    "rearranged": _rearranged,
    "scaled": _scaled,
    "helpers": _spread,
    "forward": lambda told: told,
}
"""Each by name; "forward" asks the same of forward mode, or of `sg.hvp`."""


def derivative(order: str, wrt: int, forward: bool, by: Any = sg) -> Callable[..., Any]:
    """`(fun, direction, *args)` to the answer."""

    def gradient(fun: Any, direction: Any, *args: Any) -> Any:
        return by.grad(fun, wrt)(*args)

    def pushed(fun: Any, direction: Any, *args: Any) -> Any:
        alone = lambda x: fun(*args[:wrt], x, *args[wrt + 1 :])  # noqa: E731
        return by.jvp(alone, (args[wrt],), (direction,))[1]

    def curved(fun: Any, direction: Any, *args: Any) -> Any:
        slope = by.grad(fun, wrt)
        return by.grad(lambda *a: jnp.sum(slope(*a) * direction), wrt)(*args)

    def multiplied(fun: Any, direction: Any, *args: Any) -> Any:
        return by.hvp(fun, wrt)(direction, *args)

    plain = {
        "value": lambda fun, direction, *args: by.jit(fun)(*args),
        "grad": gradient,
        "jvp": pushed,
        "hvp": curved,
    }
    return {**plain, "grad": pushed, "hvp": multiplied}[order] if forward else plain[order]


def question(trap: Trap, variant: str, dtype: Any) -> tuple[Callable[..., Any], Any, float]:
    """What to compute, of which operands, and the factor between its result and the answer."""
    plain = Told(trap.fun, trap.arrays(dtype), trap.wrt)
    told = VARIANTS[variant](plain)
    find = derivative(trap.order, trap.wrt, variant == "forward")

    def compute(direction: Any, *args: Any) -> Any:
        if not told.batch:
            return find(told.fun, direction, *args)
        rows = jax.vmap(lambda *args: find(told.fun, direction, *args))
        return rows(*(jnp.stack([a, a]) for a in args))[1]

    factor = told.factor * _in_terms_of_derivative(trap, variant)
    return compute, (trap.direction(dtype), *told.args), factor


def expected(trap: Trap, variant: str, answer: np.ndarray, dtype: Any) -> tuple[Any, Any]:
    """The answer of a variant before its factor, and the scale on which it may be off."""
    if variant == "forward" and trap.order == "grad":
        direction = np.asarray(trap.direction(np.float64))
        return np.sum(answer * direction), np.sum(np.abs(answer * direction))
    return answer, np.max(np.abs(answer), initial=0.0)
