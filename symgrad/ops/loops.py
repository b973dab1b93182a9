"""Loops. Their derivatives are loops over the derivatives of their bodies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from symgrad.derive import Slot, instantiate
from symgrad.errors import NoDerivativeError
from symgrad.expr import Expr, LocalFunction, Nested, Op, Type, Types, fresh, results
from symgrad.ops.bodies import (
    advance,
    as_given,
    as_tuple,
    as_types,
    fresh_slots,
    graph_flops,
    group_source,
    numbers,
    pulled_back,
    residuals,
    varying_inputs,
)
from symgrad.ops.shape import zeros
from symgrad.walk import UNKNOWN, Graph, bind, dependents, substitute, topological


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


def _scan_source(e: Expr) -> str:
    p = e.params
    start = p["consts"] + p["carry"]
    stacked = len(e.args) - start
    init = group_source(p["consts"], p["carry"])
    options = "" if stacked else f", length={p['length']}"
    options += ", reverse=True" if p["reverse"] else ""
    options += f", unroll={p['unroll']}" if p["unroll"] != 1 else ""
    return f"lax.scan({{body}}, {init}, {group_source(start, stacked)}{options})"


@dataclass(frozen=True, slots=True)
class _Read:
    """A value that every iteration reads: the body's input, and what the loop is given for it."""

    input: Expr
    operand: Expr
    name: str = ""


@dataclass(frozen=True, slots=True)
class _Carried:
    """A value that goes from iteration to iteration: `after` is what the next one starts from."""

    input: Expr
    start: Expr
    after: Expr
    name: str = ""


def _scanned(
    consts: Sequence[_Read],
    carries: Sequence[_Carried],
    slices: Sequence[_Read],
    emitted: Sequence[Expr],
    **options: Any,
) -> tuple[Expr, ...]:
    """The last values of the carries, then what all iterations emit."""
    values = (*consts, *carries, *slices)
    operands = (
        *(c.operand for c in consts),
        *(c.start for c in carries),
        *(s.operand for s in slices),
    )
    outputs = (*(c.after for c in carries), *emitted)
    body = bind([v.input for v in values], outputs, tuple(v.name for v in values))
    return results(scan(*operands, body=body, consts=len(consts), carry=len(carries), **options))


def _scan_push(tangents: tuple[Slot, ...], ans: Expr, *args: Expr) -> Any:
    """A scan whose carry and slices are pairs of primal and tangent."""
    p = ans.params
    body, consts, carry = p["body"], p["consts"], p["carry"]
    start, count = consts + carry, len(body.outputs)
    inside = fresh_slots(tangents, body.inputs)
    pushed = advance(body, inside, consts, carry)
    primals = [_Read(i, a) for i, a in zip(body.inputs, args, strict=True)]
    duals = [
        None if inner is None else _Read(inner, instantiate(t, a))
        for inner, t, a in zip(inside, tangents, args, strict=True)
    ]
    varying = [i for i in range(carry) if duals[consts + i] is not None]
    emitted = [(i, t) for i, t in enumerate(pushed) if i >= carry and t is not None]

    def both(first: int, last: int) -> list[_Read]:
        return [*primals[first:last], *(d for d in duals[first:last] if d is not None)]

    after = (*body.outputs[:carry], *(instantiate(pushed[i], body.outputs[i]) for i in varying))
    states = zip(both(consts, start), after, strict=True)
    found = _scanned(
        both(0, consts),
        [_Carried(c.input, c.operand, a) for c, a in states],
        both(start, len(args)),
        (*body.outputs[carry:], *(t for _, t in emitted)),
        length=p["length"],
        reverse=p["reverse"],
        unroll=p["unroll"],
    )
    last, rest = found[carry : carry + len(varying)], found[count + len(varying) :]
    slots = dict(zip((*varying, *(i for i, _ in emitted)), (*last, *rest), strict=True))
    return as_given([slots.get(i) for i in range(count)])


def _retreat(
    body: Graph, outer: Sequence[Slot], wanted: Sequence[bool], consts: int, carry: int
) -> tuple[list[Slot], list[Slot]]:
    """Cotangents of the body's outputs and inputs, for a loop whose results have those of `outer`.

    A carry has one if it matters to a later iteration.
    """
    varying = varying_inputs(body, wanted, consts, carry)
    fixed = {i for i in range(carry) if not varying[consts + i]}
    reached = [None if i in fixed else g for i, g in enumerate(outer)]
    cotangents = fresh_slots(reached, body.outputs)
    while True:
        pulled = pulled_back(body, cotangents, varying)
        settled = True
        for i in range(carry):
            if pulled[consts + i] is not None and cotangents[i] is None:
                cotangents[i] = fresh(body.outputs[i].type)
                settled = False
        if settled:
            return cotangents, pulled


def _scan_pull(given: Any, wanted: Sequence[bool], ans: Expr, *args: Expr) -> tuple[Slot, ...]:
    """A scan in the other direction; only what its body reads is kept from the forward one.

    Values that do not change from iteration to iteration are computed once outside.
    """
    p = ans.params
    body, consts, carry = p["body"], p["consts"], p["carry"]
    outer = as_tuple(given)
    seeds, pulled = _retreat(body, outer, wanted, consts, carry)
    fixed, slices = _kept_values(ans, pulled, seeds, args)

    present = [(i, slot) for i, slot in enumerate(pulled) if slot is not None]
    summed = [(i, slot) for i, slot in present if i < consts]
    emitted = [(i, slot) for i, slot in present if i >= consts + carry]
    carried = [(i, seed) for i, seed in enumerate(seeds[:carry]) if seed is not None]
    incoming = [
        _Read(seed, slot, _name(body, output, "d_"))
        for seed, slot, output in zip(
            seeds[carry:], outer[carry:], body.outputs[carry:], strict=True
        )
        if seed is not None
    ]
    states = [
        _Carried(
            seed,
            start=instantiate(outer[i], body.outputs[i]),
            after=instantiate(pulled[consts + i], body.inputs[consts + i]),
            name=_name(body, body.inputs[consts + i], "d_"),
        )
        for i, seed in carried
    ]
    found = _scanned(
        fixed,
        [*states, *(_total(slot, body.inputs[i], body) for i, slot in summed)],
        [*slices, *incoming],
        [slot for _, slot in emitted],
        length=p["length"],
        reverse=not p["reverse"],
        unroll=p["unroll"],
    )
    targets = (*(consts + i for i, _ in carried), *(i for i, _ in (*summed, *emitted)))
    slots = dict(zip(targets, found, strict=True))
    return tuple(slots.get(i) for i in range(len(args)))


def _total(term: Expr, closed: Expr, body: Graph) -> _Carried:
    """The cotangent of a value that all iterations read: the sum of what each gives."""
    total = fresh(closed.type)
    return _Carried(total, zeros(closed.type), total + term, _name(body, closed, "d_") or "total")


def _name(body: Graph, node: Expr, prefix: str = "") -> str:
    """What the user calls a value of a body, empty if it has no name."""
    given = dict(zip(body.inputs, body.names, strict=False))
    name = given.get(node) or body.origins.get(node, UNKNOWN).name
    return f"{prefix}{name}" if name else ""


def _kept_values(
    ans: Expr, pulled: Sequence[Slot], seeds: Sequence[Slot], args: Sequence[Expr]
) -> tuple[list[_Read], list[_Read]]:
    """What the body of a scan's derivative reads of the scan: the same always, and in slices."""
    p = ans.params
    body, consts, carry = p["body"], p["consts"], p["carry"]
    closed, sliced = body.inputs[:consts], body.inputs[consts + carry :]
    have = {*closed, *sliced, *body.outputs[carry:]}
    kept = residuals(pulled, [s for s in seeds if s is not None], body, have)
    changing = dependents(topological(body.outputs + tuple(kept)), body.inputs[consts:])
    fixed = [r for r in kept if r not in changing]
    slices = [r for r in kept if r in changing]
    outside = substitute(fixed, dict(zip(closed, args[:consts], strict=True)))
    stacked = _stacked_residuals(slices, ans, args)
    names = [_name(body, r) or r.op.name for r in slices]
    return list(map(_Read, fixed, outside)), list(map(_Read, slices, stacked, names))


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
    Nested(pullback=_scan_pull, pushforward=_scan_push),
    params=("body", "consts", "carry", "length", "reverse", "unroll"),
    flops=lambda e: e.params["length"] * graph_flops(e.params["body"]),
    functions=_scan_functions,
)
"""As `jax.lax.scan`; operands are closed-over values, initial carry, and stacked inputs."""


def _while_type(
    *operands: Type, condition: Graph, body: Graph, condition_consts: int, body_consts: int
) -> Types:
    return as_types([o.type for o in body.outputs])


def _while_functions(e: Expr) -> tuple[LocalFunction, ...]:
    p = e.params
    first, second = p["condition_consts"], p["body_consts"]
    carry = len(p["body"].outputs)
    return (
        LocalFunction("condition", p["condition"], e.args[:first], (numbers(first, carry),), (0,)),
        LocalFunction(
            "body",
            p["body"],
            e.args[first : first + second],
            (numbers(second, carry),),
            (tuple(range(carry)),),
        ),
    )


def _while_source(e: Expr) -> str:
    first = e.params["condition_consts"] + e.params["body_consts"]
    return f"lax.while_loop({{condition}}, {{body}}, {group_source(first, len(e.args) - first)})"


def _while_push(tangents: tuple[Slot, ...], ans: Expr, *args: Expr) -> Any:
    """The carry is joined by its tangent; the condition reads the primal only."""
    p = ans.params
    body, condition = p["body"], p["condition"]
    first, second = p["condition_consts"], p["body_consts"]
    start = first + second
    inside = fresh_slots(tangents[first:], body.inputs)
    pushed = advance(body, inside, second, len(args) - start)
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
    return as_given(slots)


def _while_pull(given: Any, wanted: Sequence[bool], ans: Expr, *args: Expr) -> Any:
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
    Nested(pullback=_while_pull, pushforward=_while_push),
    params=("condition", "body", "condition_consts", "body_consts"),
    flops=lambda e: graph_flops(e.params["body"]),
    functions=_while_functions,
)
"""As `jax.lax.while_loop`; operands are values closed over by condition and body, and the carry."""
