"""Products keep their values however they are planned, in random programs of moved axes."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import numpy as np
import pytest
from random_graphs import in_floats
from random_products import arguments, program, total

import symgrad as sg
from symgrad.expr import Expr
from symgrad.plan import order, planner
from symgrad.plan.network import Sum
from symgrad.plan.order import build
from symgrad.plan.sharing import common_factors, outer_parts, repeated_pairs, with_core
from symgrad.walk import Graph

SAMPLE = range(0, 24, 2)
TOLERANCE = 1e-12


def built(node: Expr, terms: Sum) -> Expr:
    networks = (build(t, [f.operand for f in t.factors], node.type) for t in terms)
    first, *others = networks
    for other in others:
        first = first + other
    return first


def alternatives(node: Expr, terms: Sum) -> Iterator[Sum]:
    """All forms of one sum of products that the planner might choose."""
    yield terms
    for i, j, together in common_factors(terms):
        yield (*(t for k, t in enumerate(terms) if k not in (i, j)), together)
    ranks: dict[Expr, int] = {}
    for k, term in enumerate(terms):
        for shared in repeated_pairs(
            term, lambda _: True, lambda n: ranks.setdefault(n, len(ranks))
        ):
            yield (*terms[:k], shared, *terms[k + 1 :])
    yield tuple(map(with_core, terms))
    parts = outer_parts(terms)
    if parts is not None:
        yield (parts,)


def forms(graph: Graph) -> Iterator[tuple[Expr, Expr]]:
    """Nodes of a graph, and each as a sum of products of the nodes below it."""
    for node in graph.nodes:
        (terms,) = planner.sums_of(Graph(graph.inputs, (node,), graph.names, graph.origins))
        if terms is not None:
            for form in alternatives(node, terms):
                yield node, built(node, form)


def complaints(seed: int) -> list[str]:
    run, args = program(seed), arguments(seed)
    graph = sg.trace(lambda *args: total(run, *args), *args)
    graph = graph.grad(range(len(args)))
    pairs = list(forms(graph))
    planned = planner.plan(graph)
    roots = [*(n for pair in pairs for n in pair), *graph.outputs, *planned.outputs]
    values = in_floats(Graph(graph.inputs, tuple(roots), graph.names, graph.origins), args)
    count = len(graph.outputs)
    checked = [*pairs, *zip(graph.outputs, planned.outputs, strict=True)]
    couples = [*zip(values[0 : 2 * len(pairs) : 2], values[1 : 2 * len(pairs) : 2], strict=True)]
    couples += zip(values[-2 * count : -count], values[-count:], strict=True)
    return [
        f"{node!r}: {before} but {after}"
        for (node, _), (before, after) in zip(checked, couples, strict=True)
        if not np.allclose(
            after, before, rtol=TOLERANCE, atol=TOLERANCE * np.max(abs(before), initial=1)
        )
    ]


@pytest.fixture(autouse=True)
def operations_start_for_nothing(monkeypatch):
    """Small arrays are planned too."""
    monkeypatch.setattr(order, "STEP", 0)
    monkeypatch.setattr(planner, "STEP", 0)
    monkeypatch.setattr(planner, "WORTH", 1.0)


def test_random_products_keep_their_values(float64):
    wrong = {s: found for s in SAMPLE if (found := complaints(s))}
    assert not wrong, wrong


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, 2000, 100))
def test_two_thousand_random_products_keep_their_values(start, float64):
    wrong = {s: found for s in range(start, start + 100) if (found := complaints(s))}
    assert not wrong, wrong


@pytest.mark.parametrize("seed", SAMPLE[::6])
def test_gradients_of_random_products_are_those_of_jax(seed, float64):
    run, args = program(seed), arguments(seed)
    every = tuple(range(len(args)))
    ours, theirs = (by.grad(lambda *args: total(run, *args), every)(*args) for by in (sg, jax))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE * np.max(abs(b)))
