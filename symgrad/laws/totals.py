"""Sums over the rounds of a loop: one product after the loop for a sum of products in it.

The gradient of a matrix that every round multiplies by is such a sum. Kept in the loop it is
read and written in every round; the factors of one round are smaller than that. They must be
left by every round, so this is done where they are left anyway or the loop keeps less instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from symgrad.expr import Expr, add, results
from symgrad.laws.residuals import products_kept_as_one
from symgrad.ops.contract import einsum, einsum_op
from symgrad.ops.loops import scan
from symgrad.walk import Graph, bind, exchanged, map_bodies, map_graphs, topological


@dataclass(frozen=True, slots=True)
class _Total:
    """A carry, by number, to which every round adds products of two factors."""

    carry: int
    products: tuple[Expr, ...]


def lean_loops(graph: Graph) -> Graph:
    """`graph` with loops, those in bodies too, that keep and carry less."""
    graph = map_bodies(graph, lambda node: map_graphs(node.params, lean_loops))
    return totals_after_loops(*products_kept_as_one(graph))


def totals_after_loops(graph: Graph, spared: Mapping[Expr, int]) -> Graph:
    """`graph` with sums of products taken after the loops whose rounds add to them.

    Args:
        spared: how many entries of every round a loop may leave for that.
    """
    replacement: dict[Expr, Expr] = {}
    for node in graph.nodes:
        if node.op is scan and not node.params["body"].effects:
            replacement |= _without_totals(node, spared.get(node, 0))
    return exchanged(graph, replacement)


def _without_totals(loop: Expr, spare: int) -> dict[Expr, Expr]:
    """What takes the place of the results of a loop, nothing if it has no totals."""
    p = loop.params
    body, consts, carry = p["body"], p["consts"], p["carry"]
    start = consts + carry
    fixed = dict(zip(body.inputs[:consts], loop.args[:consts], strict=True))
    stacked = dict(zip(body.inputs[start:], loop.args[start:], strict=True))
    have = {*fixed, *stacked, *body.outputs[carry:]}
    totals = _worth_it(_totals(body, consts, carry, fixed), have, spare)
    if not totals:
        return {}
    dropped = {t.carry for t in totals}
    kept = [i for i in range(len(body.outputs)) if i not in dropped]
    emitted = [f for f in _factors(totals) if f not in have]
    outputs = [*(body.outputs[i] for i in kept), *emitted]
    read = {*topological(outputs), *body.inputs[consts:start]}
    inputs = [i for i, e in enumerate(body.inputs) if i - consts not in dropped and e in read]
    counts = {"consts": sum(i < consts for i in inputs), "carry": carry - len(dropped)}
    names = tuple(body.names[i] for i in inputs) if body.names else ()
    smaller = bind([body.inputs[i] for i in inputs], outputs, names)
    new = results(scan(*(loop.args[i] for i in inputs), **{**p, **counts, "body": smaller}))
    after = new[counts["carry"] :]
    stacked = {**dict(zip((*body.outputs[carry:], *emitted), after, strict=True)), **stacked}
    replacement = {results(loop)[i]: r for i, r in zip(kept, new, strict=False)}
    for t in totals:
        whole = loop.args[consts + t.carry]
        for product in t.products:
            whole = whole + _over_all_rounds(product, stacked, fixed)
        replacement[results(loop)[t.carry]] = whole
    return replacement


def _totals(body: Graph, consts: int, carry: int, fixed: Mapping[Expr, Expr]) -> list[_Total]:
    uses = Counter(a for n in body.nodes for a in n.args)
    uses.update(body.outputs)
    found = []
    for i in range(carry):
        total = body.inputs[consts + i]
        terms = _terms(body.outputs[i], uses)
        products = tuple(t for t in terms if t is not total)
        alone = uses[total] == 1 and len(products) == len(terms) - 1 > 0
        if alone and all(_is_product(t) and not fixed.keys() >= {*t.args} for t in products):
            found.append(_Total(i, products))
    return found


def _terms(output: Expr, uses: Counter[Expr]) -> list[Expr]:
    """What is added up to an output, as far as nothing else needs the sums."""
    found, stack = [], [output]
    while stack:
        node = stack.pop()
        if node.op is add and uses[node] == 1 and all(a.type == node.type for a in node.args):
            stack.extend(node.args)
        else:
            found.append(node)
    return found


def _is_product(term: Expr) -> bool:
    return term.op is einsum_op and len(term.args) == 2 and term.params["dtype"] is None


def _factors(totals: Sequence[_Total]) -> list[Expr]:
    return list(dict.fromkeys(f for t in totals for product in t.products for f in product.args))


def _worth_it(totals: Sequence[_Total], have: Set[Expr], spare: int) -> list[_Total]:
    """Totals that are larger than what each round must leave for them, the largest first.

    All together leave no more than there is to spare.
    """
    chosen: list[_Total] = []
    for t in sorted(totals, key=lambda t: -t.products[0].type.size):
        missing = {*_factors([t])} - have - {*_factors(chosen)}
        size = sum(f.type.size for f in missing)
        if size <= min(spare, t.products[0].type.size):
            chosen.append(t)
            spare -= size
    return chosen


def _over_all_rounds(
    product: Expr, stacked: Mapping[Expr, Expr], fixed: Mapping[Expr, Expr]
) -> Expr:
    """The sum over rounds is one more summed axis."""
    p = product.params
    rounds = 1 + max(i for names in p["indices"] for i in names)
    operands = [fixed[f] if f in fixed else stacked[f] for f in product.args]
    indices = tuple(
        names if f in fixed else (rounds, *names)
        for f, names in zip(product.args, p["indices"], strict=True)
    )
    return einsum(*operands, indices=indices, out=p["out"], precision=p["precision"])
