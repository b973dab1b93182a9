"""Backpropagation as the textbooks define it: the trace table and the algorithm.

The trace is y = ln x₁ + x₁x₂ − sin x₂ at (2, 5). A bar over a name is its adjoint, the
derivative of the final scalar in it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import (
    check,
    check_adjoints,
    close,
    edges,
    op_names,
    operations,
)
from evaluate import evaluate

import symgrad as sg
from symgrad.derive import pullback
from symgrad.expr import Expr, Op, Pointwise, Type, add, elementwise_type, fresh, mul
from symgrad.ops.pointwise import cos, sin, tanh
from symgrad.walk import topological

pytestmark = pytest.mark.usefixtures("strict")


# Automatic differentiation trace


def traced(x1, x2):
    v1 = jnp.log(x1)
    v2 = x1 * x2
    v3 = jnp.sin(x2)
    v4 = v1 + v2
    return v4 - v3


class Trace:
    """The nodes of the forward primal trace by their names in the table, at (2, 5)."""

    def __init__(self, graph):
        named = {n.op.name: n for n in operations(graph)}
        v1, v2, v3, v4, v5 = (named[name] for name in ("log", "mul", "sin", "add", "sub"))
        x1, x2 = graph.inputs
        self.v = {-1: x1, 0: x2, 1: v1, 2: v2, 3: v3, 4: v4, 5: v5}
        self.seed = fresh(v5.type)
        self.values = {x1: 2.0, x2: 5.0, self.seed: 1.0}

    def __call__(self, *nodes: Expr) -> list[float]:
        return [float(value) for value in evaluate(nodes, self.values)]

    def adjoints(self, *wrt: Expr) -> list[Expr]:
        return pullback([self.v[5]], [self.seed], wrt)

    def reverse_steps(self) -> Iterator[tuple[int, int, Expr]]:
        """(consumer, operand, adjoint of the operand so far), one edge of the graph at a time."""
        bars = {self.v[5]: self.seed}
        for consumer in (5, 4, 3, 2, 1):
            node = self.v[consumer]
            for operand, term in zip(
                node.args, pullback([node], [bars[node]], node.args), strict=True
            ):
                bars[operand] = bars[operand] + term if operand in bars else term
                (name,) = (i for i, v in self.v.items() if v is operand)
                yield consumer, name, bars[operand]


@pytest.fixture
def trace(float64) -> Trace:
    return Trace(sg.trace(traced, np.float64(2.0), np.float64(5.0)))


@pytest.mark.parametrize(
    ("name", "exact", "printed"),
    [
        (-1, 2.0, 2),
        (0, 5.0, 5),
        (1, math.log(2), 0.693),
        (2, 10.0, 10),
        (3, math.sin(5), -0.959),
        (4, math.log(2) + 10, 10.693),
        (5, math.log(2) + 10 - math.sin(5), 11.652),
    ],
)
def test_forward_primal_trace(trace, name, exact, printed):
    (value,) = trace(trace.v[name])
    assert value == pytest.approx(exact, rel=1e-12)
    assert round(value, 3) == printed


@pytest.mark.parametrize(
    ("name", "exact", "printed"),
    [
        (5, 1.0, 1),
        (4, 1.0, 1),
        (3, -1.0, -1),
        (2, 1.0, 1),
        (1, 1.0, 1),
        (0, 2 - math.cos(5), 1.716),
        (-1, 5.5, 5.5),
    ],
)
def test_adjoint_of_every_intermediate(trace, name, exact, printed):
    (adjoint,) = trace(*trace.adjoints(trace.v[name]))
    assert adjoint == pytest.approx(exact, rel=1e-12)
    assert round(adjoint, 3) == printed


def test_reverse_adjoint_trace_step_by_step(trace):
    """The right half of the table from the bottom up, partial sums of v̄₀ and v̄₋₁ included."""
    steps = list(trace.reverse_steps())
    values = trace(*(adjoint for _, _, adjoint in steps))
    rows = [(c, o, round(x, 3)) for (c, o, _), x in zip(steps, values, strict=True)]
    assert rows == [
        (5, 4, 1),
        (5, 3, -1),
        (4, 1, 1),
        (4, 2, 1),
        (3, 0, -0.284),
        (2, -1, 5),
        (2, 0, 1.716),
        (1, -1, 5.5),
    ]


def test_one_pass_builds_the_expressions_of_the_table(trace):
    """Nodes are interned, so the adjoints of one reverse pass are those built row by row."""
    bars = {name: adjoint for _, name, adjoint in trace.reverse_steps()}
    x1_bar, x2_bar = trace.adjoints(trace.v[-1], trace.v[0])
    assert x1_bar is bars[-1]
    assert x2_bar is bars[0]
    assert bars[4] is bars[2] is bars[1] is trace.seed
    assert bars[3] is -trace.seed


def test_derivative_is_the_same_graph_with_nodes_added(trace):
    """Symbol to symbol: v̄₀ and v̄₋₁ mention v₀ and v₋₁ themselves, not copies or numbers."""
    x1_bar, x2_bar = trace.adjoints(trace.v[-1], trace.v[0])
    assert trace.v[0] in topological([x1_bar])
    assert cos(trace.v[0]) in topological([x2_bar])
    (second,) = pullback([x1_bar], [trace.seed], [trace.v[-1]])
    assert trace(second) == [pytest.approx(-1 / 4, rel=1e-12)]


def test_trace_value_gradient_and_graph(real):
    x = real.array(2.0), real.array(5.0)
    gradient = real.array(5.5), real.array(2 - math.cos(5))
    value = real.array(math.log(2) + 10 - math.sin(5))
    check(traced, x, gradient, real.tolerance, value=value, argnums=(0, 1))
    graph = sg.grad(traced, (0, 1)).graph(*x)
    assert op_names(graph) == {"add", "sub", "div", "cos"}
    assert len(operations(graph)) == 4


def test_trace_by_tangents_and_by_cotangents(real):
    x = real.array(2.0), real.array(5.0)
    one, zero = real.array(1.0), real.array(0.0)
    slope = real.array(5.5), real.array(2 - math.cos(5))
    for direction, expected in zip([(one, zero), (zero, one)], slope, strict=True):
        y, tangent = sg.jvp(traced, x, direction)
        close((y, tangent), (traced(*x), expected), real.tolerance)
    y, pull = sg.vjp(traced, *x)
    close((y, pull(one)), (traced(*x), slope), real.tolerance)


def test_adjoints_are_derivatives_in_additive_perturbations(real):
    def perturbed(e, x1, x2):
        v1 = jnp.log(x1) + e[0]
        v2 = x1 * x2 + e[1]
        v3 = jnp.sin(x2) + e[2]
        v4 = v1 + v2 + e[3]
        return v4 - v3 + e[4]

    args = real.array(np.zeros(5)), real.array(2.0), real.array(5.0)
    check(perturbed, args, real.array([1, 1, -1, 1, 1]), real.tolerance)


# Backpropagation as an algorithm

ADJOINTS = {
    "sum": (lambda a, c: a + c, lambda b_bar, b, c: b_bar, set()),
    "product": (lambda a, c: a * c, lambda b_bar, b, c: b_bar * c, {"mul"}),
    "tanh": (
        lambda a, c: jnp.tanh(a),
        lambda b_bar, b, c: b_bar * (1 - b * b),
        {"sech_squared", "mul"},
    ),
}


@pytest.mark.parametrize("shape", [(), (6,)], ids=["scalar", "vector"])
@pytest.mark.parametrize("name", ADJOINTS)
def test_adjoint_of_one_operation(name, shape, real, draw):
    forward, adjoint, names = ADJOINTS[name]
    a, c, b_bar = draw(*shape), draw(*shape), draw(*shape)
    b = np.asarray(forward(a, c))
    check_adjoints(lambda a: forward(a, c), (a,), b_bar, b, (adjoint(b_bar, b, c),), real.tolerance)

    def loss(a, c, b_bar):
        return jnp.sum(b_bar * forward(a, c))

    graph = sg.grad(loss).graph(a, c, b_bar)
    assert op_names(graph) == names
    if name == "sum":
        assert graph.outputs == (graph.inputs[2],)


def test_adjoints_of_all_consumers_are_added(real, draw):
    a, c = draw(5), draw(5)
    h = np.tanh(a)
    bars = u, v, w = draw(5), draw(5), draw(5)
    check_adjoints(
        lambda a, c: (a + c, a * c, jnp.tanh(a)),
        (a, c),
        bars,
        (a + c, a * c, h),
        (u + v * c + w * (1 - h * h), u + v * a),
        real.tolerance,
    )


JOINS = {
    "sum": lambda x: x + x,
    "product": lambda x: x * x,
    "diamond": lambda x: jnp.sin(x) * jnp.cos(x),
}


def chain(join: Callable, n: int) -> Callable:
    """`n` joins of two ways each: 2ⁿ paths from the input to the output."""

    def f(x):
        for _ in range(n):
            x = join(x)
        return x

    return f


def nodes_added(outputs, inputs) -> int:
    """How many nodes one reverse pass makes."""
    seeds = [fresh(y.type) for y in outputs]
    adjoints = pullback(outputs, seeds, inputs)
    return len(set(topological(adjoints)) - set(topological(outputs)) - set(seeds))


@pytest.mark.parametrize("name", JOINS)
def test_derivative_of_exponentially_many_paths_grows_linearly(name, float64):
    sizes, joined = [], []
    for n in (10, 20, 40, 80):
        graph = sg.trace(chain(JOINS[name], n), np.float64(0.5))
        sizes.append(nodes_added(graph.outputs, graph.inputs))
        joined.append(edges(graph.nodes))
    per_join, rest = divmod(sizes[1] - sizes[0], 10)
    assert rest == 0
    assert sizes == [sizes[0] + per_join * (n - 10) for n in (10, 20, 40, 80)]
    assert all(size <= 2 * e for size, e in zip(sizes, joined, strict=True))


@pytest.mark.parametrize("name", JOINS)
def test_simplified_gradient_of_exponentially_many_paths_stays_small(name, float64):
    sizes = [
        len(operations(sg.grad(chain(JOINS[name], n)).graph(np.float64(0.5)))) for n in (20, 40)
    ]
    assert sizes[0] <= 8 * 20
    assert sizes[1] <= 2 * sizes[0] + 8


def test_number_of_paths_is_the_derivative(float64):
    x = np.float64(0.5)
    for n in (10, 80):
        assert sg.grad(chain(JOINS["sum"], n))(x) == 2.0**n
    power = chain(JOINS["product"], 10)
    check(power, (np.float64(1.001),), np.float64(1024 * 1.001**1023), float64.tolerance)
    diamond = chain(JOINS["diamond"], 40)
    check(diamond, (x,), jax.grad(diamond)(x), float64.tolerance)


REAL = Type((), np.dtype(np.float64))


def random_dag(n: int, leaf: Expr) -> Expr:
    """`n` operations, each on the one before and on an arbitrary earlier one; all are needed."""
    arbitrary = np.random.default_rng(0).random(n)
    nodes = [leaf]
    for i in range(n):
        last, other = nodes[-1], nodes[int(arbitrary[i] * i)]
        nodes.append((add(last, other), mul(last, other), tanh(last), sin(last))[i % 4])
    return nodes[-1]


def test_reverse_pass_visits_every_edge_once(float64):
    """`grad_table` fills one entry per node, so each partial derivative is asked for once."""
    visits = itertools.count()

    def passed_on(g, *_):
        next(visits)
        return g

    join = Op("join", elementwise_type, "x + y", Pointwise(passed_on, passed_on), elementwise=True)
    x = fresh(REAL)
    nodes = [x, join(x, x)]
    for _ in range(1000):
        nodes.append(join(nodes[-1], nodes[-2]))
    pullback([nodes[-1]], [fresh(x.type)], [x])
    assert next(visits) == edges(topological([nodes[-1]]))


def test_reverse_pass_is_linear_in_edges_up_to_100_000_nodes(float64):
    ratios = []
    for n in (10_000, 100_000):
        x = fresh(REAL)
        y = random_dag(n, x)
        order = topological([y])
        assert len(order) == n + 1
        ratios.append(nodes_added([y], [x]) / edges(order))
    assert ratios[0] == pytest.approx(ratios[1], rel=1e-2)
    assert ratios[1] <= 3


def loop(n: int) -> Callable:
    """A Python loop: three operations and five edges a turn."""

    def f(x):
        y = x
        for _ in range(n):
            y = jnp.sin(y) * x + y
        return y

    return f


def added_per_edge(n: int) -> float:
    graph = sg.trace(loop(n // 3), np.float64(0.5))
    return nodes_added(graph.outputs, graph.inputs) / edges(graph.nodes)


def test_reverse_pass_of_a_traced_loop_is_linear(float64):
    assert added_per_edge(10_000) == pytest.approx(added_per_edge(1_000), rel=1e-2)
    assert added_per_edge(1_000) <= 3


@pytest.mark.slow
def test_reverse_pass_of_a_traced_loop_of_100_000_nodes(float64):
    assert added_per_edge(100_000) == pytest.approx(added_per_edge(1_000), rel=1e-2)
