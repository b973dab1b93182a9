"""Loops. Their derivatives are loops over the derivatives of their bodies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symgrad.derive import Slot
from symgrad.errors import NoDerivativeError
from symgrad.expr import Expr, LocalFunction, Nested, Op, Type, Types, fresh, results
from symgrad.ops.bodies import (
    advance,
    as_given,
    as_tuple,
    as_types,
    graph_flops,
    group_source,
    instantiate,
    numbers,
    pulled_back,
    residuals,
    varying_inputs,
)
from symgrad.ops.shape import zeros
from symgrad.walk import Graph, bind, dependents, substitute, topological


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


def _scan_push(tangents: tuple[Slot, ...], ans: Expr, *args: Expr) -> Any:
    """A scan whose carry and slices are pairs of primal and tangent."""
    p = ans.params
    body, consts, carry = p["body"], p["consts"], p["carry"]
    inside: list[Slot] = [
        None if t is None else fresh(i.type) for t, i in zip(tangents, body.inputs, strict=True)
    ]
    pushed = advance(body, inside, consts, carry)
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
    return as_given(slots)


def _retreat(
    body: Graph, cotangents: list[Slot], wanted: Sequence[bool], consts: int, carry: int
) -> tuple[list[Slot], list[Slot]]:
    """Cotangents of the body's inputs, once the set of carries that matter has settled."""
    while True:
        pulled = pulled_back(body, cotangents, wanted)
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
    varying = varying_inputs(body, wanted, consts, carry)
    constant = {i for i in range(carry) if not varying[consts + i]}
    seeds = [
        None if g is None or i in constant else fresh(o.type)
        for i, (g, o) in enumerate(zip(outer, body.outputs, strict=True))
    ]
    seeds, pulled = _retreat(body, seeds, varying, consts, carry)
    start = consts + carry
    sources = [s for s in seeds if s is not None]
    kept = {*body.inputs[:consts], *body.inputs[start:], *body.outputs[carry:]}
    kept_values = residuals(pulled, sources, body, kept)
    changing = dependents(topological(body.outputs + tuple(kept_values)), body.inputs[consts:])
    invariant = [r for r in kept_values if r not in changing]
    slices = [r for r in kept_values if r in changing]
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
    inside: list[Slot] = [
        None if t is None else fresh(i.type)
        for t, i in zip(tangents[first:], body.inputs, strict=True)
    ]
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
