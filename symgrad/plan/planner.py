"""Products of matrices as they cost least: a pass over a whole graph.

Every node that is linear in each of its factors has a normal form over the nodes below
it (`network`). A node's normal form runs through those operands that nothing else uses,
and through identities and diagonals, which cost nothing. Where the cheapest order of the
normal form costs less than the operations as they were written, it takes their place;
everywhere else the graph stays as it is, node by node.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax

from symgrad.expr import Expr, add, captured, div, mul, neg, sub
from symgrad.ops.contract import einsum_op
from symgrad.ops.inverse import inverse, solve
from symgrad.ops.loops import scan, while_
from symgrad.ops.pointwise import maximum, minimum, relu, select
from symgrad.ops.shape import broadcast, reshape_op, transpose, uniform_value
from symgrad.plan.network import (
    SINGLE,
    Factor,
    Network,
    Sum,
    contracted,
    diagonal_axes,
    divided,
    inlined,
    leaf,
    masked,
    multiplied,
    own_network,
    scaled,
    solved,
)
from symgrad.plan.order import STEP, build, order
from symgrad.plan.sharing import collected, common_factors, outer_parts, repeated_pairs, with_core
from symgrad.structure import is_finite
from symgrad.walk import (
    UNKNOWN,
    Graph,
    Origin,
    dependents,
    map_bodies,
    map_graphs,
    rewritten,
    topological,
)

LARGEST_PRODUCT = 24
"""Factors of one network; longer products are cut."""

LARGEST_SUM = 8
"""Terms that are carried along before a sum is computed."""

FEWEST_SHARED = 4
"""Fewer factors have nothing in common that is worth looking for."""

ROUNDS = 3
"""How often a plan is looked over again."""

WORTH = 0.9
"""A plan is taken if it costs less than this part of what was written."""

FREE = (broadcast, reshape_op, transpose)

TAME = {add, sub, mul, neg, einsum_op, maximum, minimum, relu, select, *SINGLE}
"""Operations whose results are finite where their operands are, short of an overflow."""


@dataclass(frozen=True, slots=True)
class _Form:
    """A node as a sum of networks.

    Attributes:
        terms: the networks, as they go into products that the node is a factor of.
        computed: the same sum as it is computed where the node is needed itself.
        price: of computing it, leaves that nothing else needs included.
    """

    terms: Sum
    computed: Sum
    price: float


def plan(graph: Graph, fixed: Sequence[Expr] = ()) -> Graph:
    """`graph` with its products in a cheaper order, where there is one; so in loop bodies.

    Args:
        fixed: inputs that are the same in all rounds of a loop. What depends on them alone is
            computed once, before the loop, and therefore stays as it is.
    """
    graph = map_bodies(graph, _planned_bodies)
    if not any(n.op in (einsum_op, solve) for n in graph.nodes):
        return graph
    for _ in range(ROUNDS):
        planned = _planned(graph, fixed)
        if planned is graph:
            break
        graph = planned
    return graph


def sums_of(graph: Graph) -> list[Sum | None]:
    """Each output as a sum of products of nodes of the graph, None if it is not one."""
    planner = _Planner(graph, (), frozenset())
    forms = [planner.forms.get(o) for o in graph.outputs]
    return [None if f is None else f.terms for f in forms]


def _planned_bodies(node: Expr) -> Mapping[str, Any]:
    assert node.op.functions is not None
    loops = node.op in (scan, while_)
    closed = {f.graph: len(f.closed) for f in node.op.functions(node)} if loops else {}

    def planned(body: Graph) -> Graph:
        arrays = [n for n in body.nodes if n.op is captured] if body in closed else []
        return plan(body, (*body.inputs[: closed.get(body, 0)], *arrays))

    return map_graphs(node.params, planned)


def _planned(graph: Graph, fixed: Sequence[Expr]) -> Graph:
    apart: frozenset[Expr] = frozenset()
    planner = first = _Planner(graph, fixed, apart)
    for _ in range(ROUNDS):
        more = planner.better_apart() - apart
        if not more:
            break
        apart |= more
        planner = _Planner(graph, fixed, apart)
    found = planner.run()
    everything = first.repeating()
    if not everything:
        return found
    other = _Planner(graph, fixed, everything).run()
    return other if total_price(other) < WORTH * total_price(found) else found


def total_price(graph: Graph) -> float:
    """The price of all operations of a graph."""
    return sum(map(_price, graph.nodes))


def work(graph: Graph) -> float:
    """As `total_price`, with loops and whatever else has several results."""
    several = (n for n in graph.nodes if isinstance(n.type, tuple))
    return total_price(graph) + sum(float(n.flops) for n in several)


class _Planner:
    def __init__(self, graph: Graph, fixed: Sequence[Expr], apart: frozenset[Expr]):
        self.graph, self.apart = graph, apart
        self.nodes = graph.nodes
        self.invariant = _invariant(self.nodes, graph.inputs, fixed)
        self.ranks = {n: i for i, n in enumerate(self.nodes)}
        self.uses = Counter(a for n in self.nodes for a in n.args)
        self.uses.update(graph.roots)
        self.forms: dict[Expr, _Form] = {}
        self.best: dict[Expr, float] = {}
        self.planned: set[Expr] = set()
        self.tame: set[Expr] = set()
        self.splits: dict[Expr, Network | None] = {}
        self.diagonals: dict[Expr, Sum] = {}
        for node in self.nodes:
            self._read(node)

    def better_apart(self) -> frozenset[Expr]:
        """Products with several users that cost less if each user multiplies the factors itself.

        (A B) x and (A B) y are A (B x) and A (B y) where these are vectors.
        """
        needed = self._needed()
        roots = set(self.graph.roots)
        holders: dict[Expr, list[Expr]] = {}
        for node in self.nodes:
            if node not in needed:
                continue
            form = self.forms.get(node)
            below = node.args if form is None else (f.node for t in form.terms for f in t.factors)
            for a in dict.fromkeys(below):
                holders.setdefault(a, []).append(node)
        return frozenset(
            node
            for node, form in self.forms.items()
            if node in needed
            and node not in roots
            and len(form.terms) == 1
            and _sums(form.terms)
            and self._gained(node, holders.get(node, ())) > (1 - WORTH) * self.best[node]
        )

    def repeating(self) -> frozenset[Expr]:
        """All products with several users, if one of them has a factor twice.

        Powers and symmetric products are the same along many ways, which only shows when
        all of them are written out.
        """
        products = frozenset(
            n
            for n, form in self.forms.items()
            if self.uses[n] > 1
            and n.type.size
            >= max((f.operand.type.size for t in form.terms for f in t.factors), default=0)
        )
        if not 0 < len(products) <= LARGEST_PRODUCT:
            return frozenset()
        factors = [[f.node for f in t.factors] for form in self.forms.values() for t in form.terms]
        return products if any(len(set(f)) < len(f) for f in factors) else frozenset()

    def _gained(self, node: Expr, holders: Sequence[Expr]) -> float:
        """What is saved if all products that a node is a factor of take its factors instead."""
        if len(holders) < 2 or any(h not in self.forms for h in holders):
            return 0.0
        if sum(self.forms[h].price for h in holders) > self.best[node]:
            return 0.0
        (network,) = self.forms[node].terms
        saved = self.best[node]
        for holder in holders:
            apart = _each(inlined(t, node, network) for t in self.forms[holder].terms)
            if apart is None:
                return 0.0
            saved += self.forms[holder].price - self._form(apart).price
        return saved

    def run(self) -> Graph:
        needed = self._needed()
        if self.planned.isdisjoint(needed):
            return self.graph
        return self._rebuilt(needed)

    def _read(self, node: Expr) -> None:
        """The normal form of a node, and the price of what it costs to have it."""
        if self._is_tame(node):
            self.tame.add(node)
        written = _price(node) + self._alone(node.args)
        self.best[node] = written
        if node in self.invariant:
            self.best[node] = 0.0
            return
        ways = self._ways(node)
        if not ways:
            return
        form = min(map(self._cheapest, ways), key=lambda f: f.price)
        diagonal = next((w for w in ways if any(t.diagonal for t in w)), None)
        if diagonal is not None:
            form = replace(form, terms=diagonal)
        self.forms[node] = form
        planned_below = any(a in self.planned and self.uses[a] == 1 for a in node.args)
        enough = written if planned_below else WORTH * written - STEP
        if form.price < enough:
            self.planned.add(node)
            self.best[node] = form.price

    def _alone(self, nodes: Iterable[Expr]) -> float:
        """The price of operands that nothing else needs."""
        return sum(self.best[n] for n in dict.fromkeys(nodes) if self.uses[n] == 1)

    def _cheapest(self, terms: Sum) -> _Form:
        """The terms, what they have in common computed once where that costs less."""
        best = as_given = self._form(terms)
        if sum(len(t.factors) for t in terms) < FEWEST_SHARED:
            return best
        improved = True
        while improved:
            improved = False
            for candidate in self._alternatives(best.computed):
                self._add_created(candidate)
                form = self._form(candidate)
                if form.price < best.price:
                    best, improved = form, True
                    break
        return replace(as_given, computed=best.computed, price=best.price)

    def _alternatives(self, terms: Sum) -> Iterable[Sum]:
        for i, j, together in common_factors(terms):
            yield (*(t for k, t in enumerate(terms) if k not in (i, j)), together)
        for k, term in enumerate(terms):
            for shared in repeated_pairs(term, self._is_there, self._rank):
                yield (*terms[:k], shared, *terms[k + 1 :])

    def _rank(self, node: Expr) -> int:
        return self.ranks.setdefault(node, len(self.ranks))

    def _is_there(self, node: Expr) -> bool:
        """Whether a product is computed for something else."""
        return self.uses[node] > 1

    def _add_created(self, terms: Sum, uses: int = 1) -> None:
        """Prices of nodes that are not in the graph."""
        for node in topological((f.node for t in terms for f in t.factors), known=self.best):
            self.best[node] = _price(node) + self._alone(node.args)
            self.uses[node] = uses

    def _form(self, terms: Sum) -> _Form:
        leaves = (f.node for t in terms for f in t.factors)
        price = sum(order(t).price for t in terms) + self._alone(leaves)
        size = math.prod(terms[0].sizes[a] for a in terms[0].out)
        return _Form(terms, terms, price + (len(terms) - 1) * (size + STEP))

    def _ways(self, node: Expr) -> list[Sum]:
        """The sums of products that a node is, if it is one."""
        if isinstance(node.type, tuple) or not node.type.inexact:
            return []
        if node.op is mul or node.op is einsum_op:
            same = all(a.dtype == node.dtype for a in node.args)
            return self._multiplied(node) if same else []
        if node.op is solve:
            return self._solved(node)
        terms = self._terms(node)
        return [] if terms is None else [terms]

    def _solved(self, node: Expr) -> list[Sum]:
        """A solution is the product with an inverse, of all right-hand sides or of each term."""
        right = node.args[1]
        choices = self._choices(right, self._through(right))
        found = (_each(solved(node, t) for t in terms) for terms in choices)
        ways = [terms for terms in found if terms is not None]
        for terms in ways:
            self._add_created(terms)
        return ways

    def _terms(self, node: Expr) -> Sum | None:
        own = own_network(node)
        if own is not None:
            return (own,)
        if node.op not in SINGLE and node.op not in (add, sub, div, select):
            return None
        match node.op:
            case op if op in SINGLE:
                (x,) = node.args
                if isinstance(x.type, tuple):
                    return None
                return _each(SINGLE[op](node, t) for t in self._through(x))
            case op if op is add or op is sub:
                return self._added(node)
            case op if op is div:
                terms = _each(divided(node, t) for t in self._through(node.args[0]))
                self._add_created(terms or ())
                return terms
            case op if op is select:
                return self._masked(node)
        return None

    def _through(self, x: Expr) -> Sum:
        """The terms of an operand if it need not be computed, the operand itself otherwise."""
        form = self.forms.get(x)
        if form is None:
            return (leaf(x),)
        free = all(len(t.factors) < 2 for t in form.terms) and len(form.terms) == 1
        diagonal = any(t.diagonal for t in form.terms)
        if free or self.uses[x] == 1 or x in self.apart:
            return form.terms
        if diagonal:
            return self._cores(x, form.terms)
        if x.op in FREE:
            moved = SINGLE[x.op](x, leaf(x.args[0]))
            return (leaf(x) if moved is None else moved,)
        return (leaf(x),)

    def _cores(self, x: Expr, terms: Sum) -> Sum:
        """Diagonals that several users need: what stands on them is computed once."""
        if x not in self.diagonals:
            found = tuple(map(with_core, terms))
            self._add_created(found, self.uses[x])
            self.diagonals[x] = found
        return self.diagonals[x]

    def _added(self, node: Expr) -> Sum | None:
        if any(a.shape != node.shape for a in node.args):
            return None
        x, y = map(self._through, node.args)
        second = _each(scaled(t, -1.0) for t in y) if node.op is sub else y
        if second is None:
            return None
        terms = collected((*x, *second), self._rank)
        return terms if len(terms) <= LARGEST_SUM else None

    def _multiplied(self, node: Expr) -> list[Sum]:
        """A product of sums: of the sums as they are, and term by term."""
        choices = [self._choices(x, self._through(x)) for x in node.args]
        found = (self._product(node, chosen) for chosen in itertools.product(*choices))
        return [terms for terms in found if terms is not None]

    def _choices(self, x: Expr, terms: Sum) -> list[Sum]:
        """An operand computed, or not, or both to compare."""
        if len(terms) > 1:
            return [(leaf(x),), terms] if _has_product(terms) else [(leaf(x),)]
        term = next(iter(terms))
        split = self._split(x) if term.factors and term.factors[0].node is x else None
        return [terms] if split is None else [terms, (split,)]

    def _split(self, x: Expr) -> Network | None:
        """An outer product that is needed itself, as the product of its parts."""
        if x not in self.splits:
            form = self.forms.get(x)
            parts = None if form is None else outer_parts(form.terms)
            if parts is not None:
                self._add_created((parts,), self.uses[x])
            self.splits[x] = parts
        return self.splits[x]

    def _product(self, node: Expr, sums: Sequence[Sum]) -> Sum | None:
        if math.prod(map(len, sums)) > LARGEST_SUM:
            return None
        make = multiplied if node.op is mul else contracted
        terms = _each(make(node, *chosen) for chosen in itertools.product(*sums))
        if terms is None or any(len(t.factors) > LARGEST_PRODUCT for t in terms):
            return None
        return terms

    def _masked(self, node: Expr) -> Sum | None:
        """What a mask keeps: a diagonal, or what is finite wherever the arguments are."""
        which, kept, otherwise = node.args
        if uniform_value(otherwise) != 0 or which.shape != node.shape:
            return None
        along = diagonal_axes(which)
        terms = self._through(kept)
        if along is None and not self._may_move(node, terms):
            return None
        return _each(masked(node, along, t) for t in terms)

    def _may_move(self, mask: Expr, terms: Sum) -> bool:
        """Whether a mask may be put on another factor than the one it was written on.

        Users mask what is not a number, such as data that are missing: their masks stay. Those
        of derivatives mask products of weights, slopes and other masks.
        """
        origin = self.graph.origins.get(mask, UNKNOWN)
        return origin.backward and all(f.node in self.tame for t in terms for f in t.factors)

    def _is_tame(self, node: Expr) -> bool:
        """Whether a node is as finite as the inputs, short of products that overflow."""
        if not node.args:
            return True
        if isinstance(node.type, tuple) or jax.dtypes.issubdtype(node.dtype, jax.dtypes.extended):
            return False
        return (node.op in TAME and self.tame.issuperset(node.args)) or is_finite(node)

    def _needed(self) -> set[Expr]:
        """What must be computed: roots, operands of what stays, leaves of what is planned."""
        needed = set(self.graph.roots)
        for node in reversed(self.nodes):
            if node not in needed:
                continue
            if node in self.planned:
                leaves = [f.node for t in self.forms[node].computed for f in t.factors]
                needed.update(leaves)
                for made in topological(leaves, known=self.nodes):
                    needed.update(made.args)
            else:
                needed.update(node.args)
        return needed

    def _rebuilt(self, needed: set[Expr]) -> Graph:
        new: dict[Expr, Expr] = {}
        origins = dict(self.graph.origins)
        for node in self.nodes:
            if node in self.graph.inputs:
                new[node] = node
            if node not in needed or node in new:
                continue
            if node in self.planned:
                new[node] = self._built(node, new)
            else:
                args = tuple(new[a] for a in node.args)
                new[node] = node if args == node.args else node.op(*args, **node.params)
            self._inherit(node, new[node], origins)
        return self.graph.with_roots([new[r] for r in self.graph.roots], origins)

    def _built(self, node: Expr, new: dict[Expr, Expr]) -> Expr:
        total: Expr | None = None
        for term in self.forms[node].computed:
            nodes = rewritten([f.node for f in term.factors], new)
            operands = [_read_through(f, n) for f, n in zip(term.factors, nodes, strict=True)]
            sign = term.scale < 0 and total is not None
            positive = replace(term, scale=-term.scale) if sign else term
            found = build(positive, operands, node.type)
            if total is None:
                total = found
                continue
            total = total - found if sign else total + found
        assert total is not None
        return total

    def _inherit(self, old: Expr, new: Expr, origins: dict[Expr, Origin]) -> None:
        origin = self.graph.origins.get(old, UNKNOWN)
        if new is old or new in origins:
            return
        origins[new] = origin
        unnamed = Origin(origin.frame, "", origin.backward)
        stack = [a for a in new.args]
        while stack:
            node = stack.pop()
            if node.args and node not in origins:
                origins[node] = unnamed
                stack.extend(node.args)


def _invariant(nodes: Sequence[Expr], inputs: Sequence[Expr], fixed: Sequence[Expr]) -> set[Expr]:
    if not fixed:
        return set()
    varying = dependents(nodes, [i for i in inputs if i not in fixed])
    return {n for n in nodes if n not in varying and n.args}


def _each(terms: Iterable[Network | None]) -> Sum | None:
    found = []
    for term in terms:
        if term is None:
            return None
        found.append(term)
    return tuple(found)


def _sums(terms: Sum) -> bool:
    return any(a not in t.out for t in terms for f in t.factors for a in f.axes)


def _has_product(terms: Sum) -> bool:
    """Whether a sum has a term that is computed: only then may its terms go separate ways.

    A sum of arrays that are there already may cancel exactly, which its parts times
    something would not.
    """
    return any(len(t.factors) > 1 or t.diagonal for t in terms)


def _read_through(factor: Factor, node: Expr) -> Expr:
    return node if factor.window is None else factor.window.of(node)


def _price(node: Expr) -> float:
    """What one operation costs as it is written."""
    if not node.args or isinstance(node.type, tuple) or node.op in FREE:
        return 0.0
    if node.op is einsum_op:
        indices = node.params["indices"]
        sizes = {
            i: n
            for a, names in zip(node.args, indices, strict=True)
            for i, n in zip(names, a.shape, strict=True)
        }
        summed = len(sizes) > len(set(node.params["out"]))
        if any(a.op is inverse for a in node.args):
            network = contracted(node, *map(leaf, node.args))
            return STEP if network is None else order(network).price
        return math.prod(sizes.values()) * (1 + summed) * max(1, len(node.args) - 1) + STEP
    if node.op is solve:
        network = solved(node, leaf(node.args[1]))
        return STEP if network is None else order(network).price
    if node.op is inverse:
        # Whatever is asked of a matrix, it is factorised once.
        return 0.0
    return float(node.flops) + STEP
