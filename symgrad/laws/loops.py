"""Laws about loops and shards, over whole graphs: equal ones run once, unused results never."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from symgrad.expr import Expr, Op, item, results
from symgrad.ops.loops import scan
from symgrad.ops.sharded import sharded
from symgrad.walk import Graph, bind, exchanged, rebuild, substitute, topological


def tidy_loops(graph: Graph) -> Graph:
    """Merge loops that repeat each other, then drop what nobody reads."""
    return prune_loops(merge_loops(graph))


def merge_loops(graph: Graph) -> Graph:
    """A loop that another loop repeats, with more results, is read off that other loop.

    Differentiation makes a second loop that also keeps residuals, or pairs every
    carry with its tangent; the first one is then not run.
    """
    loops = [n for n in graph.nodes if n.op in FACTS]
    replacement: dict[Expr, Expr] = {}
    for small in loops:
        for big in loops:
            if big is small or big in replacement or big.op is not small.op:
                continue
            places = FACTS[small.op].contained(small, big)
            if places is not None:
                replacement[small] = big
                renamed = results(big)
                for i, r in enumerate(results(small)):
                    replacement[r] = renamed[places[i]]
                break
    # The loop that stays does the work of the user's line, so it belongs to that line.
    return exchanged(graph, replacement)


def _contained_scan(small: Expr, big: Expr) -> list[int] | None:
    """For each result of `small` its number among the results of `big`, None if one is absent."""
    p, q = small.params, big.params
    if any(p[k] != q[k] for k in ("length", "reverse")) or len(big.types) < len(small.types):
        return None
    if p["body"].effects:
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


@dataclass(frozen=True, slots=True)
class _Live:
    """The operands and results of a loop that are of consequence, by number."""

    operands: list[int]
    results: list[int]


def prune_loops(graph: Graph) -> Graph:
    """Loops without the results, carries and operands that no one reads."""
    order = topological(graph.roots)
    needed = set(graph.roots)
    read: dict[Expr, set[int]] = {}
    live: dict[Expr, _Live] = {}
    for node in reversed(order):
        if node not in needed:
            continue
        if node.op in FACTS and not node.params["body"].effects:
            live[node] = FACTS[node.op].liveness(node, read.get(node, {0}))
            needed.update(node.args[i] for i in live[node].operands)
            continue
        if node.op is item:
            read.setdefault(node.args[0], set()).add(node.params["index"])
        needed.update(node.args)
    if all(len(k.results) == len(loop.types) for loop, k in live.items()):
        return graph
    done: dict[Expr, Expr] = {}
    found: dict[Expr, dict[int, Expr]] = {}
    for node in order:
        if node not in needed:
            continue
        if node in live:
            kept = live[node]
            loop = FACTS[node.op].pruned(node, kept, [done[node.args[i]] for i in kept.operands])
            found[node] = dict(zip(kept.results, results(loop), strict=True))
            done[node] = loop
        elif node.op is item and node.args[0] in found:
            done[node] = found[node.args[0]][node.params["index"]]
        else:
            done[node] = rebuild(node, tuple(done[a] for a in node.args))
    origins = {done[n]: o for n, o in graph.origins.items() if n in done}
    inputs = {i: graph.origins[i] for i in graph.inputs if i in graph.origins}
    return graph.with_roots([done[r] for r in graph.roots], {**inputs, **origins})


def _live_scan(loop: Expr, used: set[int]) -> _Live:
    """What the used results depend on, through all iterations."""
    body, consts, carry = (loop.params[k] for k in ("body", "consts", "carry"))
    live = set(used)
    while True:
        below = set(topological([body.outputs[i] for i in live]))
        inputs = {i for i, e in enumerate(body.inputs) if e in below}
        inputs |= {consts + i for i in live if i < carry}
        more = {i - consts for i in inputs if consts <= i < consts + carry} - live
        if not more:
            return _Live(sorted(inputs), sorted(live))
        live |= more


def _pruned_scan(loop: Expr, live: _Live, operands: Sequence[Expr]) -> Expr:
    p = loop.params
    body = p["body"]
    inputs = [body.inputs[i] for i in live.operands]
    names = tuple(body.names[i] for i in live.operands) if body.names else ()
    smaller = {
        "body": bind(inputs, [body.outputs[i] for i in live.results], names),
        "consts": sum(i < p["consts"] for i in live.operands),
        "carry": sum(i < p["carry"] for i in live.results),
    }
    return scan(*operands, **{**p, **smaller})


def _contained_sharded(small: Expr, big: Expr) -> list[int] | None:
    p, q = small.params, big.params
    if (
        p["body"].effects
        or small.args != big.args
        or any(p[k] != q[k] for k in ("mesh", "in_specs", "check_vma", "axes"))
    ):
        return None
    wanted = substitute(
        p["body"].outputs, dict(zip(p["body"].inputs, q["body"].inputs, strict=True))
    )
    produced = list(zip(q["body"].outputs, q["out_specs"], strict=True))
    pairs = list(zip(wanted, p["out_specs"], strict=True))
    return [produced.index(w) for w in pairs] if set(pairs) <= set(produced) else None


def _live_sharded(node: Expr, used: set[int]) -> _Live:
    body = node.params["body"]
    below = set(topological([body.outputs[i] for i in used]))
    return _Live([i for i, e in enumerate(body.inputs) if e in below], sorted(used))


def _pruned_sharded(node: Expr, live: _Live, operands: Sequence[Expr]) -> Expr:
    p = node.params
    body = p["body"]
    names = tuple(body.names[i] for i in live.operands) if body.names else ()
    inputs = [body.inputs[i] for i in live.operands]
    smaller = {
        "body": bind(inputs, [body.outputs[i] for i in live.results], names),
        "in_specs": tuple(p["in_specs"][i] for i in live.operands),
        "out_specs": tuple(p["out_specs"][i] for i in live.results),
    }
    return sharded(*operands, **{**p, **smaller})


@dataclass(frozen=True, slots=True)
class _Facts:
    """What there is to know about an operation whose results come from one body.

    Attributes:
        contained: for each result of one node its number among the results of another, if all
            are there.
        liveness: what the used results depend on.
        pruned: the node without what is of no consequence.
    """

    contained: Callable[[Expr, Expr], list[int] | None]
    liveness: Callable[[Expr, set[int]], _Live]
    pruned: Callable[[Expr, _Live, Sequence[Expr]], Expr]


FACTS: dict[Op, _Facts] = {
    scan: _Facts(_contained_scan, _live_scan, _pruned_scan),
    sharded: _Facts(_contained_sharded, _live_sharded, _pruned_sharded),
}
