"""Nodes: interned, immutable, weakly held, the same from every thread, of any depth."""

from __future__ import annotations

import gc
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from threading import Barrier
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symgrad as sg
from symgrad import expr
from symgrad.derive import pullback, pushforward
from symgrad.errors import ShapeError
from symgrad.expr import (
    Captured,
    Expr,
    Scalar,
    Type,
    add,
    captured,
    constant,
    fresh,
    item,
    literal_value,
    mul,
    parameter,
    results,
)
from symgrad.ops.pointwise import convert, cos, select, sin
from symgrad.ops.shape import broadcast, reduce_sum, transpose
from symgrad.walk import topological

F32 = np.dtype(np.float32)
VECTOR = Type((3,), F32)
MATRIX = Type((2, 3), F32)


@pytest.fixture
def x() -> Expr:
    return fresh(VECTOR)


@pytest.fixture
def y() -> Expr:
    return fresh(VECTOR)


# Interning


def test_equal_nodes_are_one_object(x, y):
    assert x + y is x + y
    assert sin(x * y) is sin(x * y)
    assert parameter(0, VECTOR) is parameter(0, VECTOR)
    assert transpose(fresh(MATRIX), permutation=(1, 0)) is not None
    assert constant(2, F32) is constant(2.0, F32)


def test_different_nodes_are_different_objects(x, y):
    m = fresh(MATRIX)
    nodes = [
        x + y,
        y + x,
        x - y,
        x * y,
        parameter(0, VECTOR),
        parameter(1, VECTOR),
        parameter(0, MATRIX),
        parameter(0, Type((3,), F32, weak=True)),
        reduce_sum(m, axes=(0,)),
        reduce_sum(m, axes=(1,)),
        reduce_sum(m, axes=(0, 1)),
        fresh(VECTOR),
        fresh(VECTOR),
    ]
    assert all(a is not b for a, b in combinations(nodes, 2))


LITERALS = {
    "one": constant(1, np.int32),
    "one as a float": constant(1.0, np.float32),
    "one in double precision": constant(1.0, np.float64),
    "true": constant(True, np.bool_),
    "strong": constant(1.0, np.float32, weak=False),
    "zero": constant(0.0, np.float32),
    "minus zero": constant(-0.0, np.float32),
    "nan": constant(np.nan, np.float32),
    "infinity": constant(np.inf, np.float32),
    "short": constant(1, np.int8),
    "half": constant(1.0, jnp.bfloat16),
    "other half": constant(1.0, np.float16),
    "complex": constant(1.0, np.complex64),
}


@pytest.mark.parametrize(("a", "b"), list(combinations(LITERALS, 2)))
def test_literals_that_differ_are_kept_apart(a, b):
    """1, 1.0 and True are equal in Python; -0.0 equals 0.0 and nan not even itself."""
    assert LITERALS[a] is not LITERALS[b]


@pytest.mark.parametrize("name", LITERALS)
def test_literals_that_agree_are_one(name):
    node = LITERALS[name]
    value = literal_value(node)
    assert constant(value, node.dtype, node.type.weak) is node
    assert Scalar(value, node.dtype) == Scalar(value, node.dtype)
    assert hash(Scalar(value, node.dtype)) == hash(Scalar(value, node.dtype))
    assert value.dtype == node.dtype


def test_numbers_take_the_dtype_of_the_other_operand(x):
    for node in (x + 1, 1 + x, x + 1.0, x + True):
        assert node.type == VECTOR
        (number,) = [a for a in node.args if a is not x]
        assert (literal_value(number).dtype, number.type.weak) == (F32, True)
    counter = fresh(Type((3,), np.dtype(np.int32)))
    assert literal_value((counter * 2).args[1]).dtype == np.int32


def test_captured_arrays_are_compared_by_identity():
    array, twin = np.ones(3, np.float32), np.ones(3, np.float32)
    assert captured(array=Captured(array)) is captured(array=Captured(array))
    assert captured(array=Captured(array)) is not captured(array=Captured(twin))


def test_results_are_items():
    pair = sg.trace(lambda x: jax.lax.top_k(x, 2), np.ones(3, np.float32)).outputs[0].args[0]
    assert results(pair) == (item(pair, index=0), item(pair, index=1))
    (single,) = results(item(pair, index=0))
    assert single is item(pair, index=0)


# Types


def test_types_are_checked_where_a_node_is_made(x):
    m, mask = fresh(MATRIX), fresh(Type((3,), np.dtype(bool)))
    wrong: list[Callable[[], Any]] = [
        lambda: x + m,
        lambda: x + fresh(Type((3,), np.dtype(np.float64))),
        lambda: select(x, x, x),
        lambda: transpose(m, permutation=(0, 0)),
        lambda: reduce_sum(m, axes=(2,)),
        lambda: reduce_sum(m, axes=(1, 1)),
        lambda: broadcast(m, shape=(2, 4), axes=(0, 1)),
        lambda: select(mask, m, m),
    ]
    for make in wrong:
        with pytest.raises(ShapeError):
            make()


def test_an_error_says_which_operation_had_which_operands(x):
    with pytest.raises(ShapeError, match=r"`add` cannot take \(float32\[3\], float32\[2,3\]\)"):
        x + fresh(MATRIX)


def test_a_scalar_meets_any_shape(x):
    scalar = fresh(Type((), F32))
    assert (x * scalar).shape == (scalar * x).shape == (3,)


def test_weak_types_survive_only_among_themselves(x):
    weak = fresh(Type((), F32, weak=True))
    assert (weak * 2).type.weak
    assert not (weak * x).type.weak
    assert convert(weak, dtype=F32) is not weak
    assert convert(x, dtype=F32) is x


# Immutability


def test_nodes_are_immutable(x):
    node = reduce_sum(x, axes=(0,))
    for attribute in ("op", "args", "params", "type", "anything"):
        with pytest.raises(AttributeError):
            setattr(node, attribute, None)
    with pytest.raises(AttributeError):
        del node.args
    with pytest.raises(TypeError):
        node.params["axes"] = ()
    with pytest.raises(AttributeError):
        node.type.shape = ()


def test_a_node_prints_its_operands_but_not_the_graph_below(x):
    for _ in range(50):
        x = sin(x)
    assert len(repr(x)) < 100


# Weakness


def living() -> int:
    gc.collect()
    return sum(isinstance(o, Expr) for o in gc.get_objects())


def test_nodes_die_with_their_last_user(x):
    node = sin(x * 3.5)
    watched = [weakref.ref(node), weakref.ref(node.args[0])]
    kept = node.args[0]
    del node
    gc.collect()
    assert [w() for w in watched] == [None, kept]
    del kept
    gc.collect()
    assert [w() for w in watched] == [None, None]


def test_dead_nodes_leave_the_table(x):
    gc.collect()
    before = len(expr._nodes)
    nodes = [sin(x * float(i)) for i in range(100)]
    assert len(expr._nodes) >= before + 200
    nodes.clear()
    gc.collect()
    assert len(expr._nodes) == before


def test_a_compiled_function_takes_its_nodes_along():
    def run(scale: float) -> None:
        f = sg.grad(lambda x: jnp.sum(jnp.sin(scale * x) ** 3))
        f(np.ones(3, np.float32))

    run(1.5)
    before = living()
    for i in range(5):
        run(2.5 + i)
    assert living() <= before + 5


# Threads


def test_all_threads_get_the_same_nodes():
    threads, barrier = 16, Barrier(16)

    def build(_: int) -> list[Expr]:
        barrier.wait()
        x = parameter(0, VECTOR)
        found = [x]
        for i in range(300):
            x = sin(x * float(i % 7)) + x
            found.append(x)
        return found

    with ThreadPoolExecutor(threads) as pool:
        first, *others = pool.map(build, range(threads))
    for other in others:
        assert all(a is b for a, b in zip(first, other, strict=True))


def test_threads_differentiate_and_collect_at_once():
    """Nodes that die in one thread while another asks for them are made anew, never half-dead."""

    def work(number: int) -> list[str]:
        texts = []
        for i in range(5):
            x = parameter(0, VECTOR)
            y = reduce_sum(sin(x * float(i)) * cos(x), axes=(0,))
            (slope,) = pullback([y], [constant(1, F32)], [x])
            graph = sg.Graph((x,), (slope,), ("x",))
            texts.append(graph.simplify().source())
            if i % 5 == number % 5:
                gc.collect()
        return texts

    with ThreadPoolExecutor(8) as pool:
        first, *others = pool.map(work, range(8))
    assert all(other == first for other in others)


def test_threads_share_one_compiled_function():
    slope = sg.grad(lambda x: jnp.sum(jnp.tanh(x) ** 2))
    x = np.linspace(-1, 1, 5, dtype=np.float32)
    barrier = Barrier(16)

    def call(_: int) -> np.ndarray:
        barrier.wait()
        return np.asarray(slope(x))

    with ThreadPoolExecutor(16) as pool:
        first, *others = pool.map(call, range(16))
    assert all(np.array_equal(first, other) for other in others)


# Depth


def chain(length: int) -> tuple[Expr, Expr]:
    x = fresh(Type((), F32))
    y = x
    for i in range(length // 2):
        y = sin(y) * float(i % 5 + 1)
    return x, y


class Stopwatch:
    """Seconds of this process's own work, added up over `with` blocks."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._start = time.process_time()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.process_time() - self._start


@pytest.fixture
def no_collector() -> Iterator[None]:
    """The collector visits all objects of the process: its time is not that of what is measured."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def lifetime(length: int) -> float:
    """Seconds to build, differentiate and free a chain, which is checked on the way."""
    watch = Stopwatch()
    with watch:
        x, y = chain(length)
        (slope,) = pullback([y], [constant(1, F32)], [x])
    assert len(topological([y])) >= length
    assert len(topological([slope])) > length
    assert isinstance(hash(slope), int)
    assert "mul" in repr(slope)
    freed = weakref.ref(x)
    with watch:
        del x, y, slope
    assert freed() is None
    return watch.seconds


def test_a_chain_of_100_000_nodes_in_linear_time(no_collector):
    """Built, differentiated, walked, printed and freed: never by recursion, a step a node."""
    short = min(lifetime(10_000) for _ in range(3))
    assert lifetime(100_000) < 15 * short


def test_forward_mode_through_a_deep_chain():
    x, y = chain(20_000)
    (dot,) = pushforward([y], [x], [constant(1, F32)])
    assert len(topological([dot])) > 20_000


def simplifying(length: int, scales: bool) -> float:
    """Seconds to simplify the derivative of a chain."""
    x = fresh(Type((), F32))
    y = x
    for i in range(length // 2):
        y = sin(y) * (float(i % 5 + 2) if scales else y)
    (slope,) = pullback([y], [constant(1, F32)], [x])
    watch = Stopwatch()
    with watch:
        simple = sg.Graph((x,), (slope,), ("x",)).simplify()
    assert not simple.log.exhausted
    return watch.seconds


@pytest.mark.parametrize("scales", [False, True], ids=["products", "products and scales"])
def test_simplification_is_linear_in_length(scales, no_collector):
    short = min(simplifying(200, scales) for _ in range(3))
    assert min(simplifying(1600, scales) for _ in range(2)) < 12 * short


def test_a_wide_sum_of_uses_is_linear():
    """A value used n times gets its cotangent in n additions."""
    x = fresh(VECTOR)
    y = sin(x)
    total = y
    for i in range(2000):
        total = total + y * float(i)
    (slope,) = pullback([total], [fresh(VECTOR)], [x])
    assert len(topological([slope])) < 5 * 2000


def test_squaring_shares_instead_of_doubling():
    """n squarings of a value are n nodes, and so is the derivative up to a factor."""
    x = fresh(VECTOR)
    y = x
    for _ in range(60):
        y = mul(y, y)
    (slope,) = pullback([y], [fresh(VECTOR)], [x])
    assert len(topological([y])) == 61
    assert len(topological([slope])) < 5 * 60


def test_operators_are_operations(x, y):
    assert x + y is add(x, y)
    assert [n.op.name for n in (x + y, x - y, x * y, x / y, -x)] == [
        "add",
        "sub",
        "mul",
        "div",
        "neg",
    ]
    assert (2 - x).args[1] is x
    assert (2 / x).args[1] is x


def test_nodes_need_no_collector(no_collector):
    """Reference counts alone free a graph: nodes make no cycles."""
    x = fresh(VECTOR)
    node = sin(x) + cos(x)
    watched = [weakref.ref(x), weakref.ref(node)]
    del x, node
    assert [w() for w in watched] == [None, None]
