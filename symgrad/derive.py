"""Differentiation: expressions in, expressions out.

`pullback` is the textbooks' `grad_table`: one visit per node in reverse order, the
cotangent of a node summed over its uses before it is passed on, so the cost is
linear in the number of edges. `pushforward` is its mirror. Both read the one
derivative fact of each operation, and both return ordinary nodes, so any nesting
of the two is the same passes again.

None stands for a derivative that is identically zero; it is never turned into
an array on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from symgrad import masks
from symgrad.errors import NoDerivativeError
from symgrad.expr import (
    Constant,
    Custom,
    Expr,
    Linear,
    Multilinear,
    Nested,
    Pointwise,
    Type,
    fresh,
    item,
    results,
)
from symgrad.ops.reduce import reduce_sum
from symgrad.ops.shape import zeros
from symgrad.walk import (
    UNKNOWN,
    Graph,
    Origin,
    Origins,
    dependents,
    mark,
    rebuild,
    rewritten,
    substitute,
    topological,
)

Slot = Expr | None
"""A tangent or cotangent; None is a structural zero."""


def pullback(
    outputs: Sequence[Expr],
    cotangents: Sequence[Slot],
    wrt: Sequence[Expr],
    origins: Mapping[Expr, Origin] | None = None,
    new_origins: Origins | None = None,
) -> list[Slot]:
    """The cotangents of `wrt`, given those of `outputs`.

    Args:
        outputs: nodes of any shape.
        cotangents: one per output, of the output's type.
        wrt: the nodes to differentiate with respect to; everything not below them is constant.
        origins: where the forward nodes came from, for error messages.
        new_origins: filled with the origins of the nodes this pass makes.

    Raises:
        NoDerivativeError: an operation on the way has no derivative.
    """
    origins = {} if origins is None else origins
    new_origins = {} if new_origins is None else new_origins
    order = topological(outputs)
    active = active_nodes(order, wrt)
    pending: dict[Expr, Slot] = {}
    for output, cotangent in zip(outputs, cotangents, strict=True):
        if cotangent is not None and output in active:
            _accumulate(pending, output, cotangent)
    sources = set(wrt)
    ruled: dict[Expr, Sequence[bool]] = {}
    for node in reversed(order):
        if node not in pending or node in sources:
            continue
        cotangent = pending.pop(node)
        if isinstance(node.op.derivative, Nested) and node.op.derivative.primal:
            ruled[node] = [a in active for a in node.args]
        try:
            contributions = _pull(node, cotangent, pending, active, origins)
        except NoDerivativeError as error:
            raise _placed(error, node, origins) from None
        for arg, contribution in zip(node.args, contributions, strict=True):
            if contribution is not None and arg in active:
                earlier = pending.get(arg)
                _accumulate(pending, arg, contribution)
                _record(new_origins, arg, earlier, pending[arg], contribution, node, origins)
    return _with_primals([pending.get(source) for source in wrt], ruled, new_origins)


def _with_primals(
    slots: list[Slot], ruled: Mapping[Expr, Sequence[bool]], new_origins: Origins
) -> list[Slot]:
    """The slots with what rules of the user's compute in place of the functions they are for."""
    if not ruled:
        return slots
    done: dict[Expr, Expr] = {}
    for node in reversed(list(ruled)):
        primals = node.op.derivative.primal(node, ruled[node])  # type: ignore[union-attr]
        computed = rewritten(primals, done)
        done |= dict(zip(results(node), computed, strict=True))
    present = [s for s in slots if s is not None]
    renamed = dict(zip(present, rewritten(present, done), strict=True))
    new_origins |= {new: new_origins[old] for old, new in renamed.items() if old in new_origins}
    return [None if s is None else renamed[s] for s in slots]


def pushforward(
    outputs: Sequence[Expr],
    wrt: Sequence[Expr],
    tangents: Sequence[Slot],
    origins: Mapping[Expr, Origin] | None = None,
    new_origins: Origins | None = None,
) -> list[Slot]:
    """The tangents of `outputs`, given those of `wrt`; the arguments are those of `pullback`.

    Raises:
        NoDerivativeError: an operation on the way has no derivative.
    """
    origins = {} if origins is None else origins
    new_origins = {} if new_origins is None else new_origins
    order = topological(outputs)
    active = active_nodes(order, wrt)
    table: dict[Expr, Any] = dict(zip(wrt, tangents, strict=True))
    for node in order:
        if node not in active or node in table:
            continue
        incoming = tuple(table.get(a) for a in node.args)
        if all(t is None for t in incoming):
            continue
        try:
            tangent = _push(node, incoming, origins)
        except NoDerivativeError as error:
            raise _placed(error, node, origins) from None
        table[node] = tangent
        if isinstance(tangent, Expr):
            origin = origins.get(node, UNKNOWN)
            mark(new_origins, [tangent], Origin(origin.frame, "", True), origins)
            named = _derived(origin, "{}_dot")
            if named is not None and (named.name or not new_origins.get(tangent, UNKNOWN).name):
                new_origins[tangent] = named
    return [table.get(output) for output in outputs]


def active_nodes(order: Sequence[Expr], wrt: Sequence[Expr]) -> set[Expr]:
    """The nodes that depend on `wrt` through values that can carry a derivative."""
    active = set(wrt)
    for node in order:
        if isinstance(node.op.derivative, Constant) or not any(t.inexact for t in node.types):
            continue
        if not active.isdisjoint(node.args):
            active.add(node)
    return active


def _accumulate(pending: dict[Expr, Slot], node: Expr, contribution: Expr) -> None:
    earlier = pending.get(node)
    pending[node] = contribution if earlier is None else masks.total(earlier, contribution)


def _record(
    new_origins: Origins,
    arg: Expr,
    earlier: Slot,
    total: Slot,
    contribution: Expr,
    node: Expr,
    origins: Mapping[Expr, Origin],
) -> None:
    """A cotangent is named after its primal and belongs to the line that uses the primal.

    Only the whole of it has the name, not the sum over some of the uses.
    """
    mark(new_origins, [contribution], Origin(origins.get(node, UNKNOWN).frame, "", True), origins)
    named = _derived(origins.get(arg, UNKNOWN), "d_{}")
    if named is None or total is None or total in origins:
        return
    if earlier is not None and new_origins.get(earlier) == named:
        new_origins[earlier] = Origin(named.frame, "", True)
    if named.name or not new_origins.get(total, UNKNOWN).name:
        new_origins[total] = named


def _derived(origin: Origin, pattern: str) -> Origin | None:
    """The origin of a derivative that is named after its primal, None if that has no name."""
    if not (origin.name or origin.hint):
        return None
    name, hint = (pattern.format(n) if n else "" for n in (origin.name, origin.hint))
    return Origin(origin.frame, name, True, hint)


def _pull(
    node: Expr,
    cotangent: Any,
    pending: dict[Expr, Slot],
    active: set[Expr],
    origins: Mapping[Expr, Origin],
) -> Sequence[Slot]:
    """The cotangents of a node's operands."""
    if node.op is item:
        _pull_item(node, cotangent, pending)
        return (None,)
    fact = node.op.derivative
    args = node.args
    match fact:
        case Pointwise(partials):
            return [
                None if p is None or a not in active else _fit(_partial(p, cotangent, node), a)
                for p, a in zip(partials, args, strict=True)
            ]
        case Linear(_, operands):
            found = masks.through_linear(cotangent, node, fact)
            slots: list[Slot] = [None] * len(args)
            for i, slot in zip(operands or range(len(args)), found, strict=True):
                slots[i] = slot
            return slots
        case Multilinear(adjoint):
            return [
                adjoint(cotangent, i, node, *args) if a in active else None
                for i, a in enumerate(args)
            ]
        case Custom(pullback=None, pushforward=push) if push is not None:
            wanted = [a in active for a in args]
            return transposed_pushforward(node, cotangent, wanted, origins)
        case Custom(pullback=pull) if pull is not None:
            if isinstance(fact, Nested):
                return pull(cotangent, [a in active for a in args], node, *args)
            if fact.rows:
                return masks.through_rows(cotangent, node, lambda g: pull(g, node, *args))
            if node.op.elementwise and all(a.shape == node.shape for a in args):
                return masks.through_entries(cotangent, lambda g: pull(g, node, *args))
            return pull(cotangent, node, *args)
        case _:
            raise no_derivative(node, origins)


def _partial(partial: Callable[..., Expr], cotangent: Expr, node: Expr) -> Expr:
    return masks.through_pointwise(cotangent, lambda g: partial(g, node, *node.args))


def _placed(
    error: NoDerivativeError, node: Expr, origins: Mapping[Expr, Origin]
) -> NoDerivativeError:
    """An error from inside an operation, at the line that uses the operation."""
    frame = error.frame or origins.get(node, UNKNOWN).frame
    return type(error)(error.what, frame=frame, fix=error.fix)


def _pull_item(node: Expr, cotangent: Expr, pending: dict[Expr, Any]) -> None:
    """Collect the cotangents of the results of one operation in a tuple."""
    (owner,) = node.args
    slots: list[Slot] = list(pending.get(owner) or (None,) * len(owner.type))
    index = node.params["index"]
    slots[index] = cotangent if slots[index] is None else masks.total(slots[index], cotangent)
    pending[owner] = tuple(slots)  # type: ignore[assignment]


def _push(node: Expr, tangents: tuple[Any, ...], origins: Mapping[Expr, Origin]) -> Any:
    """The tangent of a node, given those of its operands; not all are None."""
    if node.op is item:
        return tangents[0][node.params["index"]]
    fact = node.op.derivative
    args = node.args
    match fact:
        case Pointwise(partials):
            terms = [
                p(t, node, *args)
                for p, t in zip(partials, tangents, strict=True)
                if p is not None and t is not None
            ]
            return _total([_stretch(t, node.type) for t in terms])
        case Linear(_, operands):
            varying = operands or range(len(args))
            if all(tangents[i] is None for i in varying):
                return None
            return node.op(
                *(instantiate(tangents[i], a) if i in varying else a for i, a in enumerate(args)),
                **node.params,
            )
        case Multilinear():
            return _total(
                [
                    node.op(*args[:i], t, *args[i + 1 :], **node.params)
                    for i, t in enumerate(tangents)
                    if t is not None
                ]
            )
        case Custom(pushforward=push) if push is not None:
            return push(tangents, node, *args)
        case Custom(pullback=pull) if pull is not None:
            return _twice_pulled_back(node, tangents)
        case _:
            raise no_derivative(node, origins)


def transposed_pushforward(
    node: Expr,
    cotangent: Any,
    wanted: Sequence[bool],
    origins: Mapping[Expr, Origin] | None = None,
) -> list[Slot]:
    """A pushforward is linear in the tangents, so pulling back through it transposes it."""
    alone, stands_for = _apart(node)
    tangents = tuple(fresh(a.type) if w else None for a, w in zip(node.args, wanted, strict=True))
    pushed = _each(node, node.op.derivative.pushforward(tangents, alone, *alone.args))  # type: ignore[union-attr]
    pairs = zip(pushed, _each(node, cotangent), strict=True)
    live = [(t, fresh(t.type), c) for t, c in pairs if t is not None and c is not None]
    sources = [t for t in tangents if t is not None]
    found = pullback([t for t, _, _ in live], [s for _, s, _ in live], sources, origins)
    stands_for |= {seed: c for _, seed, c in live}
    placed = iter(_in_place(found, sources, stands_for))
    return [None if t is None else next(placed) for t in tangents]


def _twice_pulled_back(node: Expr, tangents: tuple[Slot, ...]) -> Any:
    """A pullback is linear in the cotangent; the pullback of that is the pushforward."""
    alone, stands_for = _apart(node)
    several, fact = isinstance(node.type, tuple), node.op.derivative
    cotangents = tuple(fresh(t) if t.inexact else None for t in node.types)
    wanted = ([t is not None for t in tangents],) if isinstance(fact, Nested) else ()
    pulled = fact.pullback(  # type: ignore[union-attr]
        cotangents if several else cotangents[0], *wanted, alone, *alone.args
    )
    pairs = zip(pulled, tangents, strict=True)
    live = [(c, fresh(c.type), t) for c, t in pairs if c is not None and t is not None]
    sources = [c for c in cotangents if c is not None]
    found = pullback([c for c, _, _ in live], [s for _, s, _ in live], sources)
    if isinstance(fact, Nested) and _depends(found, [c for c, _, _ in live], sources):
        raise NoDerivativeError(
            "forward mode needs the transpose of the function's `custom_vjp` rule, which is not "
            "linear in the cotangent",
            fix="use reverse mode (sg.grad, sg.vjp, sg.jacrev; for second derivatives sg.hessian "
            "or sg.hvp), or give the function a jax.custom_jvp rule",
        )
    stands_for |= {seed: t for _, seed, t in live}
    placed = iter(_in_place(found, sources, stands_for))
    pushed = tuple(None if c is None else next(placed) for c in cotangents)
    return pushed if several else pushed[0]


def _depends(found: Sequence[Slot], pulled: Sequence[Expr], sources: Sequence[Expr]) -> bool:
    """Whether the transpose of a pullback depends on the cotangent, as no linear map's does.

    That of a loop may mention a cotangent that the loop carries, and is not asked.
    """
    moving = dependents(topological(pulled), sources)
    if any(isinstance(n.op.derivative, Nested) for n in moving):
        return False
    mentioned = topological([f for f in found if f is not None])
    return not set(sources).isdisjoint(mentioned)


def _apart(node: Expr) -> tuple[Expr, dict[Expr, Expr]]:
    """A node over operands of its own, and what they stand for.

    What is derived from it is as large as the operation, not as the graph below it.
    """
    own = {a: fresh(a.type) for a in node.args if a.args}
    alone = rebuild(node, tuple(own.get(a, a) for a in node.args))
    return alone, {new: old for old, new in own.items()}


def _in_place(
    slots: Sequence[Slot], sources: Sequence[Expr], stands_for: Mapping[Expr, Expr]
) -> list[Slot]:
    """What was derived, over the operands meant.

    A linear map's transpose does not depend on where the map was evaluated; a loop that also
    carried `sources` may still mention them.
    """
    replacement = {**{s: zeros(s.type) for s in sources}, **stands_for}
    placed = iter(substitute([s for s in slots if s is not None], replacement))
    return [None if s is None else next(placed) for s in slots]


def _each(node: Expr, slots: Any) -> tuple[Slot, ...]:
    """One slot for each result."""
    return tuple(slots) if isinstance(node.type, tuple) else (slots,)


def _fit(cotangent: Expr, operand: Expr) -> Expr:
    """An operand of rank 0 was broadcast, so its cotangent is summed."""
    if cotangent.ndim == operand.ndim:
        return cotangent
    return reduce_sum(cotangent, axes=tuple(range(cotangent.ndim)))


def _stretch(tangent: Expr, type: Type) -> Expr:
    """The tangent of an operand of rank 0 reaches every entry of the result."""
    return tangent if tangent.ndim == type.ndim else tangent + zeros(type)


def _total(terms: Sequence[Expr]) -> Slot:
    total: Slot = None
    for term in terms:
        total = term if total is None else total + term
    return total


def instantiate(tangent: Slot, operand: Expr) -> Expr:
    """Operands that are jointly linear need their zeros written out (`concatenate`, `pad`)."""
    return zeros(operand.type) if tangent is None else tangent


def refuse_effects(graph: Graph, wrt: Sequence[Expr]) -> None:
    """Whether every effect of a graph may stay as it is when the graph is differentiated.

    Raises:
        NoDerivativeError: a value to differentiate by is given to the world outside and what
            comes back is unknown, as with `io_callback`.
    """
    active = active_nodes(topological(graph.effects), wrt)
    for node in graph.effects:
        if node.op.derivative is None and not active.isdisjoint(node.args):
            raise no_derivative(node, graph.origins)


def no_derivative(node: Expr, origins: Mapping[Expr, Origin]) -> NoDerivativeError:
    name = node.params["name"] if "name" in node.op.params else node.op.name
    operands = ", ".join(str(a.type) for a in node.args)
    return NoDerivativeError(
        f"symgrad knows no derivative of `{name}` with operands ({operands})",
        frame=origins.get(node, UNKNOWN).frame,
        fix="give it one with jax.custom_jvp or jax.custom_vjp, or stop the derivative there "
        "with jax.lax.stop_gradient",
    )
