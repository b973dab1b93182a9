"""What one loop keeps for another: a product of several values is kept as one.

The backward rounds of a loop multiply a cotangent by values of the forward rounds, one after
the other. Multiplied among themselves these are a single array, made where they are made.
"""

from __future__ import annotations

import functools
import operator
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from symgrad.expr import Expr, fresh, item, mul, results
from symgrad.ops.loops import scan
from symgrad.structure import bounds
from symgrad.walk import Graph, bind, exchanged, rebuild, substitute


@dataclass(frozen=True, slots=True)
class _Group:
    """Slices of a reading loop, by their numbers, that are read as factors of one product."""

    product: Expr
    others: tuple[Expr, ...]
    slices: tuple[int, ...]


def products_kept_as_one(graph: Graph) -> tuple[Graph, dict[Expr, int]]:
    """`graph` with products of what one loop keeps for another multiplied by the former.

    Returns:
        The graph, and for each loop that reads products how many entries it reads less of
        every round.
    """
    uses = Counter(a for n in graph.nodes for a in n.args)
    uses.update(graph.roots)
    replacement: dict[Expr, Expr] = {}
    spared: dict[Expr, int] = {}
    taken: set[Expr] = set()
    for reader in graph.nodes:
        if reader.op is not scan or reader.params["body"].effects:
            continue
        for keeper in _keepers(reader):
            groups = _groups(reader, keeper, uses) if taken.isdisjoint((reader, keeper)) else []
            if groups:
                replacement |= _with_products_kept(reader, keeper, groups)
                taken |= {reader, keeper}
                new = replacement[results(reader)[0]]
                size = sum((len(g.slices) - 1) * g.product.type.size for g in groups)
                spared[new.args[0] if new.op is item else new] = size
    return exchanged(graph, replacement), spared


def _first_slice(loop: Expr) -> int:
    return loop.params["consts"] + loop.params["carry"]


def _keepers(reader: Expr) -> list[Expr]:
    """The loops of as many rounds whose results are read round by round."""
    sources = (a.args[0] for a in reader.args[_first_slice(reader) :] if a.op is item)
    length = reader.params["length"]
    loops = dict.fromkeys(s for s in sources if s.op is scan and s.params["length"] == length)
    return [s for s in loops if not s.params["body"].effects]


def _groups(reader: Expr, keeper: Expr, uses: Counter[Expr]) -> list[_Group]:
    body, kept = reader.params["body"], keeper.params["body"].outputs
    carry = keeper.params["carry"]
    inside = Counter(a for n in body.nodes for a in n.args)
    inside.update(body.outputs)
    movable = {
        body.inputs[i]: i
        for i, a in enumerate(reader.args)
        if i >= _first_slice(reader)
        and (a.op is item and a.args[0] is keeper and a.params["index"] >= carry)
        and uses[a] == inside[body.inputs[i]] == 1
    }
    found: list[_Group] = []
    covered: set[Expr] = set()
    for node in reversed(body.nodes):
        if node.op is not mul or node in covered:
            continue
        factors = _factors(node, inside, covered)
        mine = [movable[f] for f in factors if f in movable]
        unbounded = [i for i in mine if not _is_small(kept[reader.args[i].params["index"]])]
        # Two that may be large could overflow before the cotangent, zero perhaps, meets them.
        mine = [i for i in mine if i not in unbounded[1:]]
        others = tuple(f for f in factors if f not in movable or movable[f] not in mine)
        if len(mine) > 1 and others:
            found.append(_Group(node, others, tuple(mine)))
    return found


def _factors(product: Expr, uses: Counter[Expr], covered: set[Expr]) -> list[Expr]:
    """The factors of a product, as far as nothing else needs the partial ones."""
    found, stack = [], [product]
    while stack:
        node = stack.pop()
        alone = node is product or uses[node] == 1
        if node.op is mul and alone and all(a.type == node.type for a in node.args):
            covered.add(node)
            stack.extend(reversed(node.args))
        else:
            found.append(node)
    return found


def _is_small(value: Expr) -> bool:
    low, high = bounds(value)
    return low >= -1 and high <= 1


def _with_products_kept(reader: Expr, keeper: Expr, groups: Sequence[_Group]) -> dict[Expr, Expr]:
    """Results of both loops, those of new ones in their place."""
    outputs = keeper.params["body"].outputs
    gone = {i for g in groups for i in g.slices}
    dropped = {reader.args[i].params["index"] for i in gone}
    left = [i for i in range(len(outputs)) if i not in dropped]
    values = [
        functools.reduce(operator.mul, (outputs[reader.args[i].params["index"]] for i in g.slices))
        for g in groups
    ]
    new_keeper = _with_outputs(keeper, [*(outputs[i] for i in left), *values])
    new = results(new_keeper)
    replacement = {results(keeper)[i]: r for i, r in zip(left, new, strict=False)}
    body = reader.params["body"]
    inputs = [fresh(g.product.type) for g in groups]
    changed = _with_products(body, dict(zip(groups, inputs, strict=True)))
    rest = [i for i in range(len(body.inputs)) if i not in gone]
    operands = [*(reader.args[i] for i in rest), *new[len(left) :]]
    whole = bind([*(body.inputs[i] for i in rest), *inputs], changed)
    made = results(scan(*substitute(operands, replacement), **{**reader.params, "body": whole}))
    return replacement | dict(zip(results(reader), made, strict=True))


def _with_products(body: Graph, kept: Mapping[_Group, Expr]) -> tuple[Expr, ...]:
    """The outputs of a body that reads products."""
    groups = {g.product: (g.others, x) for g, x in kept.items()}
    done: dict[Expr, Expr] = {}
    for node in body.nodes:
        if node in groups:
            others, x = groups[node]
            done[node] = functools.reduce(operator.mul, (*(done[o] for o in others), x))
        else:
            done[node] = rebuild(node, tuple(done[a] for a in node.args))
    return tuple(done[o] for o in body.outputs)


def _with_outputs(loop: Expr, outputs: Sequence[Expr]) -> Expr:
    body = loop.params["body"]
    kept = Graph(body.inputs, tuple(outputs), body.names, body.origins)
    return scan(*loop.args, **{**loop.params, "body": kept})
