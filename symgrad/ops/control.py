"""Calls, loops and branches: operations whose parameters hold graphs.

Their derivatives differentiate the graphs they hold; nesting of loops is the
only recursion.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from symgrad.derive import pullback, pushforward
from symgrad.errors import NoDerivativeError
from symgrad.expr import (
    Custom,
    Expr,
    LocalFunction,
    Op,
    Type,
    Types,
    fresh,
    item,
    literal,
    no_flops,
    results,
)
from symgrad.ops.reduce import reduce_sum
from symgrad.ops.shape import zeros
from symgrad.walk import Graph, bind, dependents, map_graphs, substitute, topological

Slot = Expr | None


def as_types(types: Sequence[Type]) -> Types:
    """One result is itself, several are a tuple."""
    return types[0] if len(types) == 1 else tuple(types)


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _as_given(values: Sequence[Slot]) -> Any:
    return values[0] if len(values) == 1 else tuple(values)


def instantiate(slot: Slot, like: Expr) -> Expr:
    return zeros(like.type) if slot is None else slot


def _opaque_type(*operands: Type, name: str, call: Any, types: tuple[Type, ...]) -> Types:
    return as_types(types)


opaque = Op(
    "opaque",
    _opaque_type,
    lambda e: f"{e.params['name']}(*xs)",
    params=("name", "call", "types"),
    flops=no_flops,
)
"""A JAX primitive without a record of its own: it runs, it has no derivative."""


class Rule:
    """A graph made when it is first needed: a `custom_jvp` rule may call its own function."""

    __slots__ = ("_build", "_graph")

    def __init__(self, build: Callable[[], Graph]):
        self._build, self._graph = build, None

    def __call__(self) -> Graph:
        if self._graph is None:
            self._graph = self._build()
        return self._graph


def _plain_function(name: str, graph: Graph) -> LocalFunction:
    """One parameter per input, a tuple of all outputs."""
    inputs, outputs = range(len(graph.inputs)), range(len(graph.outputs))
    return LocalFunction(name, graph, (), tuple(inputs), tuple(outputs))


def _custom_type(*operands: Type, body: Graph, **rules: Any) -> Types:
    return as_types([o.type for o in body.outputs])


def _custom_jvp_push(tangents: tuple[Slot, ...], ans: Expr, *args: Expr) -> Any:
    """The user's rule maps primals and tangents to results and their tangents."""
    graph = ans.params["rule"]()
    given = [instantiate(t, a) for t, a in zip(tangents, args, strict=True) if a.type.inexact]
    outputs = graph(*args, *given)
    count = len(ans.types)
    found = iter(outputs[count:])
    return _as_given([next(found) if t.inexact else None for t in ans.types])


custom_jvp = Op(
    "custom_jvp",
    _custom_type,
    "{body}(*xs)",
    Custom(pushforward=_custom_jvp_push),
    params=("body", "rule"),
    flops=lambda e: graph_flops(e.params["body"]),
    functions=lambda e: (_plain_function("body", e.params["body"]),),
)


def _custom_vjp_pull(cotangents: Any, ans: Expr, *args: Expr) -> tuple[Slot, ...]:
    """The user's forward rule gives residuals, the backward rule maps them to cotangents."""
    given = [instantiate(c, r) for c, r in zip(_as_tuple(cotangents), results(ans), strict=True)]
    residuals = ans.params["forward"]()(*args)
    return tuple(
        slot if a.type.inexact else None
        for slot, a in zip(ans.params["backward"]()(*residuals, *given), args, strict=True)
    )


custom_vjp = Op(
    "custom_vjp",
    _custom_type,
    "{body}(*xs)",
    Custom(pullback=_custom_vjp_pull),
    params=("body", "forward", "backward"),
    flops=lambda e: graph_flops(e.params["body"]),
    functions=lambda e: (_plain_function("body", e.params["body"]),),
)


def graph_flops(graph: Graph) -> int:
    return sum(n.flops for n in topological(graph.outputs))


def inline_custom(graph: Graph) -> Graph:
    """Once all derivatives are taken, a function with a rule of its own is just its body."""
    done: dict[Expr, Expr] = {}
    inlined: dict[Expr, tuple[Expr, ...]] = {}
    origins = dict(graph.origins)
    for node in graph.nodes:
        if node.op is item and node.args[0] in inlined:
            done[node] = inlined[node.args[0]][node.params["index"]]
        elif node.op in (custom_jvp, custom_vjp):
            body = inline_custom(node.params["body"])
            inlined[node] = body(*(done[a] for a in node.args))
            done[node] = inlined[node][0]
        else:
            params = map_graphs(node.params, inline_custom)
            args = tuple(done[a] for a in node.args)
            same = args == node.args and params == node.params
            done[node] = node if same else node.op(*args, **params)
        if node in graph.origins:
            origins.setdefault(done[node], graph.origins[node])
    return Graph(graph.inputs, tuple(done[o] for o in graph.outputs), graph.names, origins)


def _scan_type(
    *operands: Type, body: Graph, consts: int, carry: int, length: int, reverse: bool, unroll: int
) -> Types:
    carries = [o.type for o in body.outputs[:carry]]
    stacked = [o.type.with_shape((length, *o.shape)) for o in body.outputs[carry:]]
    return as_types(carries + stacked)


def _scan_functions(e: Expr) -> tuple[LocalFunction, ...]:
    body, consts, carry = e.params["body"], e.params["consts"], e.params["carry"]
    start = consts + carry
    parameters = (tuple(range(consts, start)), tuple(range(start, len(body.inputs))))
    returned = (tuple(range(carry)), tuple(range(carry, len(body.outputs))))
    return (LocalFunction("body", body, e.args[:consts], parameters, returned),)


def _group_source(first: int, count: int) -> str:
    """Operands `first`, ... as the pytree that a loop takes: bare, or a tuple, or None."""
    names = [f"xs[{i}]" for i in range(first, first + count)]
    return "None" if not names else names[0] if count == 1 else f"({', '.join(names)})"


def _scan_source(e: Expr) -> str:
    p = e.params
    start = p["consts"] + p["carry"]
    stacked = len(e.args) - start
    init = _group_source(p["consts"], p["carry"])
    options = "" if stacked else f", length={p['length']}"
    options += ", reverse=True" if p["reverse"] else ""
    options += f", unroll={p['unroll']}" if p["unroll"] != 1 else ""
    return f"lax.scan({{body}}, {init}, {_group_source(start, stacked)}{options})"


def _advance(body: Graph, tangents: list[Slot], consts: int, carry: int) -> list[Slot]:
    """Tangents of the body's outputs, once the set of varying carries has settled.

    `tangents` (one per input of the body) gains an entry for each carry that
    varies in some later iteration.
    """
    while True:
        pushed = pushforward(body.outputs, body.inputs, tangents)
        settled = True
        for i in range(carry):
            if pushed[i] is not None and tangents[consts + i] is None:
                tangents[consts + i] = fresh(body.inputs[consts + i].type)
                settled = False
        if settled:
            return pushed


def _scan_push(tangents: tuple[Slot, ...], ans: Expr, *args: Expr) -> Any:
    """A scan whose carry and slices are pairs of primal and tangent."""
    p = ans.params
    body, consts, carry = p["body"], p["consts"], p["carry"]
    inside: list[Slot] = [
        None if t is None else fresh(i.type) for t, i in zip(tangents, body.inputs, strict=True)
    ]
    pushed = _advance(body, inside, consts, carry)
    start = consts + carry
    varying = [i for i in range(carry) if inside[consts + i] is not None]
    stacked = [i for i in range(carry, len(pushed)) if pushed[i] is not None]

    def paired(primals: Sequence[Expr], duals: Sequence[Slot]) -> tuple[Expr, ...]:
        return (*primals, *(d for d in duals if d is not None))

    outer = [
        instantiate(t, a) if inner is not None else None
        for t, a, inner in zip(tangents, args, inside, strict=True)
    ]
    groups = (slice(0, consts), slice(consts, start), slice(start, None))
    inputs = sum((paired(body.inputs[g], inside[g]) for g in groups), ())
    operands = sum((paired(args[g], outer[g]) for g in groups), ())
    outputs = (
        *body.outputs[:carry],
        *(instantiate(pushed[i], body.outputs[i]) for i in varying),
        *body.outputs[carry:],
        *(pushed[i] for i in stacked),
    )
    found = results(
        scan(
            *operands,
            body=bind(inputs, outputs),
            consts=consts + sum(t is not None for t in outer[:consts]),
            carry=carry + len(varying),
            length=p["length"],
            reverse=p["reverse"],
            unroll=p["unroll"],
        )
    )
    slots: list[Slot] = [None] * len(pushed)
    for k, i in enumerate(varying):
        slots[i] = found[carry + k]
    for k, i in enumerate(stacked):
        slots[i] = found[len(body.outputs) + len(varying) + k]
    return _as_given(slots)


def _retreat(
    body: Graph, cotangents: list[Slot], consts: int, carry: int
) -> tuple[list[Slot], list[Slot]]:
    """Cotangents of the body's inputs, once the set of carries that matter has settled."""
    while True:
        pulled = pullback(body.outputs, cotangents, body.inputs)
        settled = True
        for i in range(carry):
            if pulled[consts + i] is not None and cotangents[i] is None:
                cotangents[i] = fresh(body.outputs[i].type)
                settled = False
        if settled:
            return cotangents, pulled


def _residuals(pulled: Sequence[Slot], seeds: Sequence[Expr], body: Graph) -> list[Expr]:
    """The values of the forward body that the backward body reads."""
    order = topological([p for p in pulled if p is not None])
    backward = dependents(order, seeds)
    primal = dependents(topological(body.outputs + tuple(order)), body.inputs)
    found = dict.fromkeys(
        a
        for node in order
        if node in backward
        for a in node.args
        if a not in backward and a in primal
    )
    return list(found)


def _scan_pull(given: Any, ans: Expr, *args: Expr) -> tuple[Slot, ...]:
    """A scan in the other direction; only what its body reads is kept from the forward one.

    Values that do not change from iteration to iteration are computed once outside.
    """
    p = ans.params
    body, consts, carry = p["body"], p["consts"], p["carry"]
    outer = _as_tuple(given)
    seeds = [None if g is None else fresh(o.type) for g, o in zip(outer, body.outputs, strict=True)]
    seeds, pulled = _retreat(body, seeds, consts, carry)
    start = consts + carry
    sources = [s for s in seeds if s is not None]
    residuals = _residuals(pulled, sources, body)
    varying = dependents(topological(body.outputs + tuple(residuals)), body.inputs[consts:])
    invariant = [r for r in residuals if r not in varying]
    slices = [r for r in residuals if r in varying]
    stacked = _stacked_residuals(slices, ans, args)

    carried = [i for i in range(carry) if seeds[i] is not None]
    summed = [i for i in range(consts) if pulled[i] is not None]
    emitted = [i for i in range(start, len(body.inputs)) if pulled[i] is not None]
    totals = [fresh(body.inputs[i].type) for i in summed]
    incoming = [i for i in range(carry, len(seeds)) if seeds[i] is not None]
    inputs = (
        *invariant,
        *(seeds[i] for i in carried),
        *totals,
        *slices,
        *(seeds[i] for i in incoming),
    )
    outputs = (
        *(instantiate(pulled[consts + i], body.inputs[consts + i]) for i in carried),
        *(t + pulled[i] for t, i in zip(totals, summed, strict=True)),
        *(pulled[i] for i in emitted),
    )
    operands = (
        *substitute(invariant, dict(zip(body.inputs[:consts], args[:consts], strict=True))),
        *(instantiate(outer[i], body.outputs[i]) for i in carried),
        *(zeros(t.type) for t in totals),
        *stacked,
        *(outer[i] for i in incoming),
    )
    found = results(
        scan(
            *operands,
            body=bind(inputs, outputs),
            consts=len(invariant),
            carry=len(carried) + len(totals),
            length=p["length"],
            reverse=not p["reverse"],
            unroll=p["unroll"],
        )
    )
    slots: list[Slot] = [None] * len(args)
    targets = [consts + i for i in carried] + summed + emitted
    for i, slot in zip(targets, found, strict=True):
        slots[i] = slot
    return tuple(slots)


def _stacked_residuals(slices: Sequence[Expr], ans: Expr, args: Sequence[Expr]) -> list[Expr]:
    """The residuals of all iterations: operands, results, or results of a scan that keeps them."""
    p = ans.params
    body, start = p["body"], p["consts"] + p["carry"]
    have = dict(zip(body.inputs[start:], args[start:], strict=True))
    for output, result in zip(body.outputs[p["carry"] :], results(ans)[p["carry"] :], strict=True):
        have.setdefault(output, result)
    missing = [r for r in slices if r not in have]
    if missing:
        kept = Graph(body.inputs, (*body.outputs, *missing), body.names, body.origins)
        found = results(scan(*args, **{**p, "body": kept}))
        have |= dict(zip(missing, found[len(body.outputs) :], strict=True))
    return [have[r] for r in slices]


scan = Op(
    "scan",
    _scan_type,
    _scan_source,
    Custom(pullback=_scan_pull, pushforward=_scan_push),
    params=("body", "consts", "carry", "length", "reverse", "unroll"),
    flops=lambda e: e.params["length"] * graph_flops(e.params["body"]),
    functions=_scan_functions,
)
"""As `jax.lax.scan`; operands are closed-over values, initial carry, and stacked inputs."""


def merge_scans(graph: Graph) -> Graph:
    """A loop that another loop repeats, with more results, is read off that other loop.

    Differentiation makes a second loop that also keeps residuals, or pairs every
    carry with its tangent; the first one is then not run.
    """
    loops = [n for n in graph.nodes if n.op is scan]
    replacement: dict[Expr, Expr] = {}
    for small in loops:
        for big in loops:
            places = None if big is small or big in replacement else _contained(small, big)
            if places is not None:
                replacement[small] = big
                renamed = results(big)
                for i, r in enumerate(results(small)):
                    replacement[r] = renamed[places[i]]
                break
    if not replacement:
        return graph
    outputs = substitute(graph.outputs, replacement)
    return Graph(graph.inputs, outputs, graph.names, graph.origins)


def _contained(small: Expr, big: Expr) -> list[int] | None:
    """For each result of `small` its number among the results of `big`, None if one is absent."""
    p, q = small.params, big.params
    if any(p[k] != q[k] for k in ("length", "reverse")) or len(big.types) < len(small.types):
        return None
    position = {}
    for kind_small, kind_big in zip(_operand_groups(small), _operand_groups(big), strict=True):
        free = list(kind_big)
        for i in kind_small:
            match = next((j for j in free if big.args[j] is small.args[i]), None)
            if match is None:
                return None
            free.remove(match)
            position[i] = match
    rename = {p["body"].inputs[i]: q["body"].inputs[j] for i, j in position.items()}
    wanted = substitute(p["body"].outputs, rename)
    produced = q["body"].outputs
    carried = [position[p["consts"] + i] - q["consts"] for i in range(p["carry"])]
    if any(produced[c] is not w for c, w in zip(carried, wanted, strict=False)):
        return None
    places = list(carried)
    for w in wanted[p["carry"] :]:
        match = next((j for j in range(q["carry"], len(produced)) if produced[j] is w), None)
        if match is None:
            return None
        places.append(match)
    return places


def _operand_groups(loop: Expr) -> tuple[range, range, range]:
    consts, carry = loop.params["consts"], loop.params["carry"]
    start = consts + carry
    return range(consts), range(consts, start), range(start, len(loop.args))


def _while_type(
    *operands: Type, condition: Graph, body: Graph, condition_consts: int, body_consts: int
) -> Types:
    return as_types([o.type for o in body.outputs])


def _while_functions(e: Expr) -> tuple[LocalFunction, ...]:
    p = e.params
    first, second = p["condition_consts"], p["body_consts"]
    carry = len(p["body"].outputs)
    return (
        LocalFunction("condition", p["condition"], e.args[:first], (_range(first, carry),), (0,)),
        LocalFunction(
            "body",
            p["body"],
            e.args[first : first + second],
            (_range(second, carry),),
            (tuple(range(carry)),),
        ),
    )


def _range(start: int, count: int) -> tuple[int, ...]:
    return tuple(range(start, start + count))


def _while_source(e: Expr) -> str:
    first = e.params["condition_consts"] + e.params["body_consts"]
    return f"lax.while_loop({{condition}}, {{body}}, {_group_source(first, len(e.args) - first)})"


def _while_push(tangents: tuple[Slot, ...], ans: Expr, *args: Expr) -> Any:
    """The carry is joined by its tangent; the condition reads the primal only."""
    p = ans.params
    body, condition = p["body"], p["condition"]
    first, second = p["condition_consts"], p["body_consts"]
    start = first + second
    inside: list[Slot] = [
        None if t is None else fresh(i.type)
        for t, i in zip(tangents[first:], body.inputs, strict=True)
    ]
    pushed = _advance(body, inside, second, len(args) - start)
    varying = [i for i in range(len(body.outputs)) if inside[second + i] is not None]
    duals = [inside[second + i] for i in varying]
    closed = [i for i in range(second) if inside[i] is not None]
    found = results(
        while_(
            *args[:start],
            *(tangents[first + i] for i in closed),
            *args[start:],
            *(instantiate(tangents[start + i], args[start + i]) for i in varying),
            condition=bind((*condition.inputs, *duals), condition.outputs),
            body=bind(
                (
                    *body.inputs[:second],
                    *(inside[i] for i in closed),
                    *body.inputs[second:],
                    *duals,
                ),
                (
                    *body.outputs,
                    *(instantiate(pushed[i], body.outputs[i]) for i in varying),
                ),
            ),
            condition_consts=first,
            body_consts=second + len(closed),
        )
    )
    slots: list[Slot] = [None] * len(body.outputs)
    for k, i in enumerate(varying):
        slots[i] = found[len(body.outputs) + k]
    return _as_given(slots)


def _while_pull(given: Any, ans: Expr, *args: Expr) -> Any:
    raise NoDerivativeError(
        "reverse-mode differentiation of a `while_loop` (or of a `fori_loop` whose trip count "
        "is a traced value): the number of iterations, and so the memory for the values of "
        "each, is not known when compiling",
        fix="use jax.lax.scan, or jax.lax.fori_loop with Python integers as bounds, or "
        "forward mode: sg.jvp, sg.jacfwd",
    )


while_ = Op(
    "while_loop",
    _while_type,
    _while_source,
    Custom(pullback=_while_pull, pushforward=_while_push),
    params=("condition", "body", "condition_consts", "body_consts"),
    flops=lambda e: graph_flops(e.params["body"]),
    functions=_while_functions,
)
"""As `jax.lax.while_loop`; operands are values closed over by condition and body, and the carry."""


def _switch_type(index: Type, *operands: Type, branches: tuple[Graph, ...]) -> Types:
    return as_types([o.type for o in branches[0].outputs])


def _switch_functions(e: Expr) -> tuple[LocalFunction, ...]:
    branches = e.params["branches"]
    return tuple(_plain_function(f"branch_{i}", b) for i, b in enumerate(branches))


def _switch_source(e: Expr) -> str:
    count = len(e.params["branches"])
    names = ", ".join(f"{{branch_{i}}}" for i in range(count))
    operands = "".join(f", xs[{i}]" for i in range(1, len(e.args)))
    return f"lax.switch(xs[0], [{names}]{operands})"


def _switch_push(tangents: tuple[Slot, ...], ans: Expr, *args: Expr) -> Any:
    """The branch taken is taken for the tangents too."""
    branches = ans.params["branches"]
    moving = [i for i, t in enumerate(tangents[1:]) if t is not None]
    pushed = []
    inputs = []
    for b in branches:
        duals = {i: fresh(b.inputs[i].type) for i in moving}
        slots = [duals.get(i) for i in range(len(b.inputs))]
        pushed.append(pushforward(b.outputs, b.inputs, slots))
        inputs.append((*b.inputs, *duals.values()))
    varying = [
        i for i, o in enumerate(branches[0].outputs) if any(p[i] is not None for p in pushed)
    ]
    joined = tuple(
        bind(ins, [instantiate(p[i], b.outputs[i]) for i in varying])
        for b, p, ins in zip(branches, pushed, inputs, strict=True)
    )
    slots = [None] * len(branches[0].outputs)
    if varying:
        operands = (*args, *(tangents[1 + i] for i in moving))
        for i, r in zip(varying, results(switch(*operands, branches=joined)), strict=True):
            slots[i] = r
    return _as_given(slots)


def _switch_pull(given: Any, ans: Expr, *args: Expr) -> tuple[Slot, ...]:
    """Each branch pulls back through itself; the others contribute nothing."""
    branches = ans.params["branches"]
    live = [i for i, g in enumerate(_as_tuple(given)) if g is not None]
    pulled = []
    inputs = []
    for b in branches:
        seeds = {i: fresh(b.outputs[i].type) for i in live}
        slots = [seeds.get(i) for i in range(len(b.outputs))]
        pulled.append(pullback(b.outputs, slots, b.inputs))
        inputs.append((*b.inputs, *seeds.values()))
    moving = [i for i in range(len(branches[0].inputs)) if any(p[i] is not None for p in pulled)]
    joined = tuple(
        bind(ins, [instantiate(p[i], b.inputs[i]) for i in moving])
        for b, p, ins in zip(branches, pulled, inputs, strict=True)
    )
    slots: list[Slot] = [None] * len(args)
    if moving:
        operands = (*args, *(_as_tuple(given)[i] for i in live))
        for i, r in zip(moving, results(switch(*operands, branches=joined)), strict=True):
            slots[1 + i] = r
    return tuple(slots)


switch = Op(
    "switch",
    _switch_type,
    _switch_source,
    Custom(pullback=_switch_pull, pushforward=_switch_push),
    params=("branches",),
    flops=lambda e: max(graph_flops(b) for b in e.params["branches"]),
    functions=_switch_functions,
)
"""As `jax.lax.switch`: the first operand chooses the branch that the others are given to."""


def _batched_type(*operands: Type, body: Graph, closed: int, size: int) -> Types:
    return as_types([o.type.with_shape((size, *o.shape)) for o in body.outputs])


def _batched_functions(e: Expr) -> tuple[LocalFunction, ...]:
    body, closed = e.params["body"], e.params["closed"]
    parameters = _range(closed, len(body.inputs) - closed)
    returned = tuple(range(len(body.outputs)))
    return (LocalFunction("row", body, e.args[:closed], parameters, returned),)


def _batched_source(e: Expr) -> str:
    operands = ", ".join(f"xs[{i}]" for i in range(e.params["closed"], len(e.args)))
    return f"jax.vmap({{row}})({operands})"


def _outside(ans: Expr) -> tuple[list[Expr], dict[Expr, Expr]]:
    """Fresh stand-ins for the inputs that vary by row; shared inputs are the operands."""
    body, closed = ans.params["body"], ans.params["closed"]
    rows = [fresh(i.type) for i in body.inputs[closed:]]
    return rows, dict(zip(body.inputs, (*ans.args[:closed], *rows), strict=True))


def _batched_push(tangents: tuple[Slot, ...], ans: Expr, *args: Expr) -> Any:
    body, closed = ans.params["body"], ans.params["closed"]
    inside = [
        None if t is None else fresh(i.type) for t, i in zip(tangents, body.inputs, strict=True)
    ]
    pushed = pushforward(body.outputs, body.inputs, inside)
    rows, outer = _outside(ans)
    for own, given in zip(inside[:closed], tangents, strict=False):
        if own is not None and given is not None:
            outer[own] = given
    varying = [(i, t) for i, t in enumerate(pushed) if t is not None]
    found = batched(
        [*rows, *(t for t in inside[closed:] if t is not None)],
        substitute([t for _, t in varying], outer),
        [*args[closed:], *(t for t in tangents[closed:] if t is not None)],
        ans.params["size"],
    )
    slots: list[Slot] = [None] * len(pushed)
    for (i, _), r in zip(varying, found, strict=True):
        slots[i] = r
    return _as_given(slots)


def _batched_pull(given: Any, ans: Expr, *args: Expr) -> tuple[Slot, ...]:
    """What every row shares gets the sum of the rows' cotangents."""
    body, closed = ans.params["body"], ans.params["closed"]
    cotangents = _as_tuple(given)
    seeds = [
        None if g is None else fresh(o.type) for g, o in zip(cotangents, body.outputs, strict=True)
    ]
    pulled = pullback(body.outputs, seeds, body.inputs)
    rows, outer = _outside(ans)
    wanted = [(i, c) for i, c in enumerate(pulled) if c is not None]
    found = batched(
        [*rows, *(s for s in seeds if s is not None)],
        substitute([c for _, c in wanted], outer),
        [*args[closed:], *(g for g in cotangents if g is not None)],
        ans.params["size"],
    )
    slots: list[Slot] = [None] * len(args)
    for (i, _), r in zip(wanted, found, strict=True):
        slots[i] = reduce_sum(r, axes=(0,)) if i < closed else r
    return tuple(slots)


batched_op = Op(
    "vmap",
    _batched_type,
    _batched_source,
    Custom(pullback=_batched_pull, pushforward=_batched_push),
    params=("body", "closed", "size"),
    flops=lambda e: e.params["size"] * graph_flops(e.params["body"]),
    functions=_batched_functions,
)
"""A graph evaluated for every row of its last operands, sharing the first `closed` ones."""


def batched(
    sources: Sequence[Expr], outputs: Sequence[Expr], operands: Sequence[Expr], size: int
) -> tuple[Expr, ...]:
    """`outputs` for each of `size` rows: `sources[i]` takes the rows of `operands[i]`.

    Nodes that do not depend on the sources are computed once, outside.
    """
    if not outputs:
        return ()
    order = topological(outputs)
    varying = dependents(order, sources)
    shared = dict.fromkeys(
        a
        for node in order
        if node in varying
        for a in node.args
        if a not in varying and a.op is not literal
    )
    shared |= dict.fromkeys(o for o in outputs if o not in varying and o.op is not literal)
    body = bind((*shared, *sources), outputs)
    return results(batched_op(*shared, *operands, body=body, closed=len(shared), size=size))
