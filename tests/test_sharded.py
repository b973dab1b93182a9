"""Many devices: shards, collectives, and arrays that stay where they are, all as in JAX.

The tests run on eight virtual devices, for which conftest.py asks.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.experimental.layout import Layout, with_layout_constraint
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import symgrad as sg

DEVICES = 8
LINE = jax.make_mesh((DEVICES,), ("i",), axis_types=(AxisType.Auto,))
GRID = jax.make_mesh((4, 2), ("i", "j"), axis_types=(AxisType.Auto,) * 2)
EXPLICIT = jax.make_mesh((DEVICES,), ("i",), axis_types=(AxisType.Explicit,))
RING = [(k, (k + 1) % DEVICES) for k in range(DEVICES)]


def agree(make: Callable[[Any], Any], *args: Any, tolerance: float = 1e-10) -> None:
    """`make(sg)` and `make(jax)` give the same: values, types and shardings."""
    got, want = make(sg)(*args), make(jax)(*args)
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert g.dtype == w.dtype
        np.testing.assert_allclose(g, w, rtol=tolerance, atol=tolerance)
        assert g.sharding.is_equivalent_to(w.sharding, w.ndim)


def hvp(module: Any, f: Callable[..., Any]) -> Callable[..., Any]:
    """The Hessian of `f` times its arguments."""
    everything = (0, 1)
    if module is sg:
        return lambda w, x: sg.hvp(f, everything)((w, x), w, x)
    return lambda w, x: jax.jvp(jax.grad(f, everything), (w, x), (w, x))[1]


def all_modes(f: Callable[..., Any]) -> Callable[[Any], Any]:
    """Value, gradient, tangent, Hessian product and a batch of gradients, compiled together."""

    def make(module: Any) -> Any:
        def everything(w: Any, x: Any) -> Any:
            return (
                module.value_and_grad(f, (0, 1))(w, x),
                module.jvp(f, (w, x), (jnp.cos(w), jnp.cos(x))),
                hvp(module, f)(w, x),
                jax.vmap(module.grad(f, (0, 1)), (0, None))(jnp.stack([w, 2 * w]), x),
            )

        return jax.jit(everything)

    return make


def data_parallel(w, x):
    return lax.psum(jnp.sum(jnp.tanh(w * x) * jnp.cumsum(x)), "i")


def mean_of_softmax(w, x):
    top = lax.pmax(lax.stop_gradient(jnp.max(w * x)), "i")
    parts = jnp.exp(w * x - top)
    return lax.pmean(jnp.sum(parts / lax.psum(jnp.sum(parts), "i") * x), "i")


def gathered(w, x):
    whole = lax.all_gather(x * w, "i", axis=0, tiled=True)
    scattered = lax.psum_scatter(jnp.sin(whole), "i", scatter_dimension=0, tiled=True)
    rows = lax.psum_scatter(lax.all_gather(x**2, "i", axis=1), "i", scatter_dimension=1)
    return lax.psum(jnp.sum(scattered * x) + jnp.sum(rows * w), "i")


def exchanged(w, x):
    table = jnp.outer(jnp.arange(1.0, DEVICES + 1), x) * w
    swapped = lax.all_to_all(table, "i", 0, 1, tiled=True)
    back = lax.all_to_all(jnp.sin(swapped), "i", 1, 0, tiled=True)
    return lax.psum(jnp.sum(swapped**2) + jnp.sum(back @ back.T), "i")


def around_a_ring(w, x):
    def step(carry, _):
        moved = lax.ppermute(jnp.sin(carry * w), "i", RING)
        return moved, jnp.sum(moved * x)

    last, sums = lax.scan(step, x, None, length=3)
    return lax.psum(jnp.sum(last) * jnp.sum(sums), "i")


def numbered(w, x):
    own = lax.axis_index("i") / lax.axis_size("i")
    return lax.psum(lax.cond(w > 0, lambda: jnp.sum(x * w) * own, lambda: jnp.sum(x)), "i")


@jax.custom_vjp
def halved(x):
    return x * x


halved.defvjp(lambda x: (x * x, x), lambda x, g: (g * x,))


def with_a_rule(w, x):
    return lax.psum(jnp.sum(jax.nn.relu(x - 1) * halved(w * x)), "i")


PROGRAMS = (
    *(data_parallel, mean_of_softmax, gathered, exchanged),
    *(around_a_ring, numbered, with_a_rule),
)


def shards(f: Callable[..., Any], check_vma: bool, **options: Any) -> Callable[..., Any]:
    specs = {"in_specs": (P(), P("i")), "out_specs": P()}
    return jax.shard_map(f, **{"mesh": LINE, "check_vma": check_vma, **specs, **options})


@pytest.fixture
def operands(float64):
    return jnp.asarray(0.7), jnp.linspace(0.1, 2.0, 2 * DEVICES)


@pytest.mark.parametrize("check_vma", [True, False])
@pytest.mark.parametrize("f", PROGRAMS, ids=lambda f: f.__name__)
def test_shards_are_differentiated_as_in_jax(operands, f, check_vma):
    outer = shards(f, check_vma)
    if f is with_a_rule:  # JAX has no forward mode for a custom_vjp.
        agree(lambda m: jax.jit(m.value_and_grad(outer, (0, 1))), *operands)
        agree(lambda m: jax.jit(m.grad(lambda w, x: jnp.sin(outer(w, x)), (0, 1))), *operands)
    else:
        agree(all_modes(lambda w, x: jnp.sin(outer(w, x)) * jnp.sum(w * x)), *operands)


def test_single_precision_and_no_jit(float32):
    w, x = jnp.asarray(0.7), jnp.linspace(0.1, 2.0, 2 * DEVICES)
    agree(lambda m: m.value_and_grad(shards(data_parallel, True), (0, 1)), w, x, tolerance=1e-5)


def test_gathered_alike_everywhere(operands):
    def f(w, x):
        whole = lax.all_gather(x * w, "i", to="invarying")
        tiled = lax.all_gather(x * x, "i", tiled=True, to="invarying")
        return jnp.sum(jnp.sin(whole)) * jnp.sum(tiled)

    agree(all_modes(shards(f, True)), *operands)


def test_groups_of_devices(operands):
    groups = [[0, 1, 2, 3], [4, 5, 6, 7]]

    def f(w, x):
        part = lax.psum(jnp.sin(w * x), "i", axis_index_groups=groups)
        whole = lax.all_gather(part * x, "i", axis_index_groups=groups, tiled=True)
        back = lax.psum_scatter(whole**2, "i", axis_index_groups=groups, tiled=True)
        swapped = lax.all_to_all(whole, "i", 0, 0, axis_index_groups=groups, tiled=True)
        return lax.psum(jnp.sum(back) * jnp.sum(swapped), "i")

    agree(lambda m: jax.jit(hvp(m, shards(f, False))), *operands)


def test_exchange_of_blocks_that_are_one_row(operands):
    """JAX fails at this gradient; of the same exchange, tiled, it has one."""

    def whole(exchange):
        def f(w, x):
            table = jnp.outer(jnp.arange(1.0, DEVICES + 1), x) * w
            return lax.psum(jnp.sum(jnp.sin(exchange(table)) ** 2 * jnp.arange(8.0)), "i")

        return shards(f, True)

    rows = whole(lambda table: lax.all_to_all(table, "i", 0, 1))
    tiled = whole(lambda table: lax.all_to_all(table[..., None], "i", 0, 2, tiled=True)[0])
    agree(lambda m: m.value_and_grad(rows if m is sg else tiled, (0, 1)), *operands)


@pytest.mark.parametrize("check_vma", [True, False])
def test_two_axes_several_results_and_integers(operands, check_vma):
    def body(w, x, count):
        y = jnp.tanh(x * w)
        total = lax.psum(jnp.sum(y**2), ("i", "j"))
        return y * count, lax.psum(jnp.sum(y, 0), "i"), total, count + 1

    def f(w, x):
        specs = {
            "in_specs": (P(), P("i", "j"), P("i")),
            "out_specs": (P("i", "j"), P("j"), P(), P("i")),
        }
        run = jax.shard_map(body, mesh=GRID, check_vma=check_vma, **specs)
        count = jnp.arange(4)
        y, rows, total, more = run(w, x.reshape(8, 2), jnp.repeat(count, 2)[:, None])
        return jnp.sum(y**2) + jnp.sum(jnp.cos(rows)) * total + jnp.sum(more)

    agree(all_modes(f), *operands)


def test_one_axis_manual_and_one_left_to_the_compiler(operands):
    f = shards(data_parallel, True, mesh=GRID, axis_names={"i"})
    agree(lambda m: jax.jit(m.value_and_grad(f, (0, 1))), *operands)


def test_shards_within_shards(operands):
    def inner(w, x):
        return lax.psum(jnp.sum(jnp.sin(w * x)), "j")

    def outer(w, x):
        run = jax.shard_map(inner, in_specs=(P(), P("j")), out_specs=P(), axis_names={"j"})
        return lax.psum(run(w, x) ** 2, "i")

    def flat(w, x):
        return lax.psum(lax.psum(jnp.sum(jnp.sin(w * x)), "j") ** 2, "i")

    nested = shards(outer, True, mesh=GRID, axis_names={"i"})
    both = shards(flat, True, mesh=GRID, in_specs=(P(), P(("i", "j"))))
    agree(lambda m: m.jit(nested) if m is sg else jax.jit(nested), *operands)
    # JAX fails to lower its own gradient of the nested one.
    agree(lambda m: m.value_and_grad(nested if m is sg else both, (0, 1)), *operands)


@pytest.mark.parametrize("check_vma", [True, False])
def test_loops_and_checkpoints_around_shards(operands, check_vma):
    run = shards(data_parallel, check_vma)

    def f(w, x):
        step = jax.checkpoint(lambda w, x: 0.9 * w + 0.01 * run(w, x))
        last, _ = lax.scan(lambda w, _: (step(w, x), None), w, None, length=3)
        return last**2

    agree(lambda m: jax.jit(m.value_and_grad(f, (0, 1))), *operands)


@pytest.mark.parametrize("check_vma", [True, False])
def test_a_function_without_arguments_and_constant_results(operands, check_vma):
    def f(w, x):
        here = jax.shard_map(
            lambda: lax.axis_index("i")[None] * 1.0, mesh=LINE, in_specs=(), out_specs=P("i")
        )()
        same = shards(lambda w, x: (jnp.ones(2), x), check_vma, out_specs=(P("i"), P("i")))(w, x)
        return jnp.sum(here * same[0][::2] * w) + jnp.sum(same[1])

    agree(lambda m: m.value_and_grad(f, (0, 1)), *operands)


def loss(w, x):
    def step(carry, row):
        return jnp.sin(carry * w + row), carry * w

    start = jnp.zeros_like(x[0])
    last, rows = lax.scan(step, start, x)
    return jnp.sum(rows) + last + lax.cond(w > 0, lambda: jnp.sum(x * w), lambda: jnp.sum(x))


INSIDE = {
    "gradient of what varies": lambda m: lambda w, x: m.grad(loss, 1)(w, x),
    "gradient of what is shared": lambda m: lambda w, x: x * m.grad(loss)(w, x),
    "both": lambda m: lambda w, x: x * sum(map(jnp.sum, m.grad(loss, (0, 1))(w, x))),
    "mean of losses": lambda m: lambda w, x: x * m.grad(lambda w: lax.pmean(loss(w, x), "i"))(w),
    "mean of gradients": lambda m: lambda w, x: x * lax.pmean(m.grad(loss)(w + 0 * x[0], x), "i"),
    "training": lambda m: (
        lambda w, x: (
            lax.fori_loop(
                0, 3, lambda _, w: w - 0.1 * m.grad(lambda w: lax.pmean(loss(w, x), "i"))(w), w
            )
            * x
        )
    ),
    "forward": lambda m: lambda w, x: m.jvp(lambda w: loss(w, x) * x, (w,), (w,))[1],
    "second order": lambda m: lambda w, x: x * m.grad(lambda w: jnp.sin(m.grad(loss)(w, x)))(w),
    "independent": lambda m: lambda w, x: m.grad(lambda x: w * 2.0)(x) + x,
}


@pytest.mark.parametrize("check_vma", [True, False])
@pytest.mark.parametrize("name", INSIDE)
def test_differentiation_inside_shards(operands, name, check_vma):
    agree(lambda m: jax.jit(shards(INSIDE[name](m), check_vma, out_specs=P("i"))), *operands)


def test_jax_differentiates_what_symgrad_made_of_shards(operands):
    f = shards(data_parallel, True)
    agree(lambda m: jax.jit(jax.grad(lambda w, x: m.grad(f)(w, x), (0, 1))), *operands)


NAMED_ROWS = {
    "sum": lambda x: jnp.sum(lax.psum(x**2, "i") * x),
    "mean": lambda x: jnp.sum(lax.pmean(x, "i") ** 2),
    "number of rows": lambda x: jnp.sum(x) * lax.axis_size("i"),
    "gather": lambda x: jnp.sum(lax.all_gather(x, "i") ** 2 * lax.axis_index("i")),
    "permute": lambda x: jnp.sum(jnp.sin(lax.ppermute(x, "i", RING)) * x),
    "all to all": lambda x: jnp.sum(
        jnp.sin(lax.all_to_all(jnp.outer(x, x), "i", 0, 1, tiled=True)) * x[0]
    ),
    "loop": lambda x: jnp.sum(
        lax.scan(lambda c, _: (c + lax.psum(jnp.sin(c), "i"), None), x, None, length=2)[0]
    ),
}


@pytest.mark.parametrize("name", NAMED_ROWS)
def test_collectives_over_the_rows_of_a_vmap(float64, name):
    x = jnp.linspace(0.1, 2.0, DEVICES**2).reshape(DEVICES, DEVICES)
    f = NAMED_ROWS[name]
    agree(lambda m: jax.vmap(m.value_and_grad(f), axis_name="i"), x)
    agree(lambda m: jax.vmap(lambda x: m.jvp(m.grad(f), (x,), (x,)), axis_name="i"), x)


def test_each_number_of_rows_has_a_program_of_its_own(float64):
    gradient = sg.grad(NAMED_ROWS["number of rows"])
    for rows in (2, 3, 2):
        found = jax.vmap(gradient, axis_name="i")(jnp.ones((rows, 2)))
        assert jnp.all(found == rows)
    with pytest.raises(NameError, match="unbound axis name"):
        gradient(jnp.ones(2))


def test_an_extremum_over_devices_has_no_derivative(operands):
    f = shards(lambda w, x: lax.pmax(jnp.sum(w * x), "i"), True)
    with pytest.raises(NotImplementedError, match="pmax"):
        jax.grad(f)(*operands)
    with pytest.raises(sg.NoDerivativeError, match="pmax"):
        sg.grad(f)(*operands)
    agree(lambda m: jax.jit(f) if m is jax else sg.jit(f), *operands)


def test_a_broadcast_from_one_device(operands):
    """There is one on GPUs only, so this reads what would run."""
    f = shards(lambda w, x: lax.psum(jnp.sum(lax.pbroadcast(w * x, "i", 3) * x), "i"), True)
    text = sg.grad(f, 1).source(*operands)
    assert "lax.pbroadcast(" in text
    assert "lax.axis_index('i') == 3" in text


def network(w, x):
    return jnp.sum(jnp.tanh(x @ w) ** 2)


@pytest.fixture
def batch(float64):
    x = jnp.sin(jnp.arange(64.0)).reshape(16, 4)
    return jnp.cos(jnp.arange(12.0)).reshape(4, 3), jax.device_put(x, NamedSharding(LINE, P("i")))


def test_sharded_arguments_stay_sharded(batch):
    agree(lambda m: jax.jit(m.grad(network, (0, 1))), *batch)
    agree(lambda m: m.value_and_grad(network, 1), *batch)
    agree(lambda m: jax.jit(hvp(m, network)), *batch)
    agree(lambda m: m.jit(lambda w, x: (x @ w, x.sum(), w)), *batch)


def test_shardings_asked_for(batch):
    kept, split = NamedSharding(LINE, P()), NamedSharding(LINE, P("i"))
    shardings = {"in_shardings": (kept, split), "out_shardings": (kept, split)}
    agree(lambda m: jax.jit(m.grad(network, (0, 1)), **shardings), *batch)

    def constrained(w, x):
        h = lax.with_sharding_constraint(jnp.sin(x), split)
        return network(w, jax.device_put(h, kept) + lax.with_sharding_constraint(h, kept))

    agree(lambda m: jax.jit(m.grad(constrained, (0, 1)), out_shardings=(kept, split)), *batch)
    assert "lax.with_sharding_constraint(" in sg.grad(constrained).source(*batch)

    def laid_out(w, x):
        return network(w, with_layout_constraint(x, Layout(major_to_minor=(1, 0))))

    agree(lambda m: jax.jit(m.grad(laid_out)), *batch)


def test_donated_shards(batch):
    w, x = batch
    step = sg.jit(lambda w, x: w - 0.1 * sg.grad(network)(w, x), donate_argnums=0)
    want = w - 0.1 * jax.grad(network)(w, x)
    kept = jax.device_put(w, NamedSharding(LINE, P()))
    found = step(kept, x)
    np.testing.assert_allclose(found, want, rtol=1e-12)
    assert kept.is_deleted()


def collectives(f: Callable[..., Any], *args: Any) -> list[str]:
    text = jax.jit(f).lower(*args).compile().as_text()
    return sorted(re.findall(r" (all-[a-z-]+|collective-[a-z-]+|reduce-scatter)\(", text))


def test_a_data_parallel_gradient_communicates_as_in_jax(batch):
    w, x = batch
    want = collectives(jax.value_and_grad(network), w, x)
    assert "all-reduce" in want
    assert collectives(sg.value_and_grad(network), w, x) == want
    for check_vma in (True, False):
        f = shards(lambda w, x: lax.psum(network(w, x), "i"), check_vma)
        assert collectives(sg.value_and_grad(f), w, x) == collectives(jax.value_and_grad(f), w, x)


@pytest.fixture
def typed(float64):
    x = jnp.sin(jnp.arange(64.0)).reshape(16, 4)
    return (
        jax.device_put(jnp.cos(jnp.arange(12.0)).reshape(4, 3), NamedSharding(EXPLICIT, P())),
        jax.device_put(x, NamedSharding(EXPLICIT, P("i"))),
    )


TYPED = {
    "product": network,
    "sum over shards": lambda w, x: jnp.sin(jnp.einsum("bi,bj->", x, x @ w, out_sharding=jax.P())),
    "other sharding": lambda w, x: network(w, jax.reshard(jnp.sin(x), P()) * jax.reshard(x, P())),
    "shards": lambda w, x: jax.shard_map(
        lambda w, x: lax.psum(network(w, x), "i"), in_specs=(P(), P("i")), out_specs=P()
    )(w, x),
    "new arrays": lambda w, x: (
        jnp.sum(
            x * jnp.arange(16.0, out_sharding=P("i"))[:, None]
            + jnp.zeros((16, 4), out_sharding=P("i"))
        )
        * jnp.sum(w)
    ),
}


@pytest.mark.parametrize("name", TYPED)
def test_shardings_in_types(typed, name):
    with jax.set_mesh(EXPLICIT):
        agree(lambda m: m.value_and_grad(TYPED[name], (0, 1)), *typed)
        agree(lambda m: jax.jit(m.grad(TYPED[name], (0, 1))), *typed)


def test_shardings_in_types_without_a_mesh_around(typed):
    agree(lambda m: jax.jit(m.value_and_grad(network, (0, 1))), *typed)
    agree(lambda m: m.jit(lambda w, x: x @ w), *typed)
    found = sg.grad(network, 1)(*typed)
    assert found.sharding.is_equivalent_to(typed[1].sharding, 2)
    with pytest.raises(Exception, match="This reshape is not supported"):
        sg.grad(lambda w, x: jnp.sum(x.reshape(2, 32)))(*typed)


def test_the_text_of_a_program_for_many_devices(operands):
    w, x = operands
    text = sg.grad(shards(data_parallel, True)).source(w, x)
    assert "jax.shard_map(" in text
    assert "mesh=mesh" in text
    assert "jax.P('i')" in text
    assert "lax.psum(" in text
    assert "opaque" not in str(sg.grad(shards(data_parallel, True)).explain(w, x))
