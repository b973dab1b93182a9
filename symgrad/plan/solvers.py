"""One factorisation for all that is asked of a matrix: a pass over a whole graph.

Solutions, the inverse and the determinant of one matrix share its LU factors, or the
Cholesky factor of a matrix that is known to be positive definite.
"""

from __future__ import annotations

import numpy as np

from symgrad.expr import Expr, item, literal_value, mul, results
from symgrad.matrices import triangle
from symgrad.ops.assume import assumed
from symgrad.ops.inverse import (
    cho_solution,
    inverse,
    lu_factor,
    lu_solution,
    mahalanobis,
    slogdet,
    solve,
)
from symgrad.ops.linalg import cholesky
from symgrad.ops.matrix import as_matrix, diagonal, identity
from symgrad.ops.pointwise import abs_, log, ne, select, sign, square
from symgrad.ops.reduce import reduce_prod, reduce_sum
from symgrad.ops.shape import full, iota, reshape
from symgrad.ops.solve import triangular_solve
from symgrad.walk import UNKNOWN, Graph, Origin, Origins, map_bodies, map_graphs, topological

QUESTIONS = (solve, inverse, slogdet, mahalanobis)
"""Operations that a factorisation answers."""

NAMES = {lu_factor: ("lu", "pivots"), cholesky: ("factor",)}
"""What factors are called in programs."""


def factorised(graph: Graph) -> Graph:
    """`graph` with factorisations that are shared written out, in loop bodies too."""
    graph = map_bodies(graph, lambda node: map_graphs(node.params, factorised))
    asks = any(n.op in QUESTIONS or n.op is assumed for n in graph.nodes)
    return _Writer(graph).run() if asks else graph


class _Writer:
    """Writes one graph; `asked` counts the questions that each matrix is asked."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.nodes = graph.nodes
        self.asked: dict[Expr, int] = {}
        self.definite: set[Expr] = set()
        for node in self.nodes:
            if node.op in QUESTIONS:
                matrix = node.args[0]
                self.asked[matrix] = self.asked.get(matrix, 0) + 1
                if node.op is mahalanobis or node.params["definite"]:
                    self.definite.add(matrix)
        self.new: dict[Expr, Expr] = {}
        self.factors: dict[Expr, tuple[Expr, ...]] = {}
        self.names: dict[Expr, str] = {}

    def run(self) -> Graph:
        origins: Origins = dict(self.graph.origins)
        for node in self.nodes:
            self.new[node] = self._written(node)
            self._inherit(node, self.new[node], origins)
        return self.graph.with_roots([self.new[r] for r in self.graph.roots], origins)

    def _written(self, node: Expr) -> Expr:
        if node.op is solve and self._factor(node.args[0]):
            turned = node.params["transpose"]
            return self._solution(node.args[0], self.new[node.args[1]], turned)
        if node.op is assumed:
            # What was assumed has been made use of.
            return self.new[node.args[0]]
        if node.op is inverse and triangle(node.args[0]):
            return self._inverse_of_triangle(*node.args)
        if node.op is inverse and self._factor(node.args[0]):
            return self._solution(node.args[0], identity(self.new[node.args[0]]), False)
        if node.op is item and node.args[0].op is slogdet and self._factor(*node.args[0].args):
            return self._determinant(node)
        if node.op is mahalanobis:
            return self._squared_length(*node.args)
        if node.op is mul and any(map(_is_log_determinant, node.args)):
            return self._multiple(node)
        args = tuple(self.new[a] for a in node.args)
        return node if args == node.args else node.op(*args, **node.params)

    def _factor(self, matrix: Expr) -> tuple[Expr, ...]:
        """The factor that all share, nothing for a matrix that is asked one question."""
        if matrix not in self.factors:
            definite = matrix in self.definite
            shared = definite or self.asked[matrix] > 1
            factor = (cholesky if definite else lu_factor)(self.new[matrix])
            self.factors[matrix] = results(factor) if shared else ()
            self.names.update(zip(self.factors[matrix], NAMES[factor.op], strict=False))
        return self.factors[matrix]

    def _solution(self, matrix: Expr, right: Expr, turned: bool) -> Expr:
        factor = self._factor(matrix)
        # JAX will take a batch of vectors for one matrix.
        b = as_matrix(right) if 1 < right.ndim < factor[0].ndim else right
        if len(factor) == 1:
            x = cho_solution(*factor, b)
        else:
            x = lu_solution(*factor, b, transpose=turned)
        return reshape(x, shape=right.shape)

    def _inverse_of_triangle(self, matrix: Expr) -> Expr:
        a = self.new[matrix]
        return triangular_solve(a, identity(a), left=True, lower=triangle(matrix) == "lower")

    def _determinant(self, node: Expr) -> Expr:
        factor, of_logs = self._factor(*node.args[0].args), node.params["index"]
        entries = diagonal(factor[0])
        last = (entries.ndim - 1,)
        if len(factor) == 1:
            return 2 * reduce_sum(log(entries), axes=last) if of_logs else full(1, node.type)
        if of_logs:
            return reduce_sum(log(abs_(entries)), axes=last)
        return reduce_prod(_signs(entries, factor[1]), axes=last)

    def _squared_length(self, matrix: Expr, right: Expr) -> Expr:
        (factor,) = self._factor(matrix)
        b = self.new[right]
        column = as_matrix(b) if b.ndim < factor.ndim else b
        z = reshape(triangular_solve(factor, column, left=True, lower=True), shape=b.shape)
        return reduce_sum(square(z), axes=(factor.ndim - 2,))

    def _multiple(self, node: Expr) -> Expr:
        """A number times a log-determinant, which is twice a sum itself."""
        x, y = (self.new[a] for a in node.args)
        number, twice = (x, y) if literal_value(y) is None else (y, x)
        value = literal_value(number)
        if value is None or twice.op is not mul or literal_value(twice.args[0]) != 2:
            return mul(x, y)
        total = twice.args[1]
        return total if value == 0.5 else -total if value == -0.5 else 2 * value * total

    def _inherit(self, old: Expr, new: Expr, origins: Origins) -> None:
        """What takes the place of a node keeps its line and name."""
        origin = self.graph.origins.get(old, UNKNOWN)
        if new is old or new in origins:
            return
        origins[new] = origin
        for node in topological(new.args, known=origins):
            if node.args:
                named = self.names.get(node, "")
                origins[node] = Origin(origin.frame, named, origin.backward)


def _is_log_determinant(x: Expr) -> bool:
    return x.op is item and x.args[0].op is slogdet and x.params["index"] == 1


def _signs(entries: Expr, pivots: Expr) -> Expr:
    """Of the entries on the diagonal, times -1 for each exchange of rows."""
    places = iota(shape=pivots.shape, dtype=np.dtype(np.int32), axis=pivots.ndim - 1)
    return select(ne(pivots, places), -sign(entries), sign(entries))
