"""Products of many arrays cost what the cheapest order costs, and come out the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symgrad as sg

N = 48
CUBE = 2 * N**3
"""Operations of one product of two square matrices."""


@pytest.fixture(scope="module")
def arrays():
    draw = np.random.default_rng(0).normal
    with jax.enable_x64(True):
        matrices = [jnp.asarray(draw(size=(N, N))) for _ in range(3)]
        vectors = [jnp.asarray(draw(size=N)) for _ in range(2)]
        yield (*matrices, *vectors)


def flops(program: Any, *args: Any) -> float:
    analysis = program.lower(*args).compile().cost_analysis()
    return analysis.get("flops", 0.0)


def products(program: Any, *args: Any) -> float:
    """How many products of two matrices the operations of the optimised program amount to."""
    return flops(program, *args) / CUBE


def agree(found: Any, wanted: Any, rtol: float = 1e-12) -> None:
    def same(a: Any, b: Any) -> None:
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.max(np.abs(b), initial=1e-30))

    jax.tree.map(same, found, wanted)


def ordinary(A, B, C, x, y):
    return A.T @ B


CHAINS: dict[str, tuple[Callable[..., Any], float, float]] = {
    "AᵀB": (ordinary, 1, 3),
    "AᵀB + AᵀB": (lambda A, B, C, x, y: A.T @ B + A.T @ B, 1, 3),
    "(AᵀB)ᵀ(AᵀB)": (lambda A, B, C, x, y: (A.T @ B).T @ (A.T @ B), 2, 5),
    "(AᵀB)ᵀAᵀB": (lambda A, B, C, x, y: (A.T @ B).T @ A.T @ B, 2, 5),
    "AᵀBAᵀBy": (lambda A, B, C, x, y: A.T @ B @ A.T @ B @ y, 0, 0),
    "HᵀHx": (lambda A, B, C, x, y: A.T @ A @ x, 0, 0),
    "yᵀHᵀH": (lambda A, B, C, x, y: y @ A.T @ A, 0, 0),
    "HᵀyxᵀH": (lambda A, B, C, x, y: A.T @ y[:, None] @ x[None] @ A.T, 0, 0),
    "AB + AC": (lambda A, B, C, x, y: A @ B + A @ C, 1, 3),
    "(A - HᵀH)x": (lambda A, B, C, x, y: (A - B.T @ B) @ x, 0, 0),
    "BᵀAAᵀB": (lambda A, B, C, x, y: B.T @ A @ A.T @ B, 2, 5),
    "(A + B)[2, 2]": (lambda A, B, C, x, y: (A + B)[2, 2], 0, 0),
    "(AB)[2, 2]": (lambda A, B, C, x, y: (A @ B)[2, 2], 0, 0),
    "(AB)[1:3]": (lambda A, B, C, x, y: (A @ B)[1:3], 0.1, 0.3),
    "sum(AB)": (lambda A, B, C, x, y: jnp.sum(A @ B), 0, 0),
    "mean(AB, 0)": (lambda A, B, C, x, y: jnp.mean(A @ B, axis=0), 0, 0),
    "tr(AB)": (lambda A, B, C, x, y: jnp.trace(A @ B), 0, 0),
    "tr(ABAᵀC)": (lambda A, B, C, x, y: jnp.trace(A @ B @ A.T @ C), 2, 6),
    "tr(A⁸)": (lambda A, B, C, x, y: jnp.trace(A @ A @ A @ A @ A @ A @ A @ A), 2, 4),
    "diag(AB)": (lambda A, B, C, x, y: jnp.diag(A @ B), 0, 0),
    "|ABCx|²": (lambda A, B, C, x, y: jnp.sum((A @ B @ C @ x) ** 2), 0, 0),
    "blocks": (
        lambda A, B, C, x, y: jax.scipy.linalg.block_diag(A, B) @ jnp.concatenate([C, C]),
        2,
        4,
    ),
    "with an identity": (lambda A, B, C, x, y: jnp.eye(N) @ A @ (jnp.eye(N) * 2) @ x, 0, 0),
    "with a diagonal": (lambda A, B, C, x, y: jnp.diag(x) @ A @ jnp.diag(y), 0, 0),
}
"""A program, and the products of matrices that its value and the gradient of its squares need."""

SLACK = 0.35
"""Vectors and sums, in products of matrices at this size."""


@pytest.mark.parametrize("name", CHAINS)
def test_value_costs_what_it_must(name, arrays):
    program, needed, _ = CHAINS[name]
    own = sg.jit(program)
    agree(own(*arrays), program(*arrays))
    assert products(own, *arrays) <= needed + SLACK


@pytest.mark.parametrize("name", CHAINS)
def test_gradient_costs_what_it_must(name, arrays):
    program, _, needed = CHAINS[name]

    def squares(*args):
        return jnp.sum(program(*args) ** 2)

    own = sg.grad(squares, argnums=(0, 1))
    agree(own(*arrays), jax.grad(squares, argnums=(0, 1))(*arrays))
    assert products(own, *arrays) <= needed + SLACK
    jax.tree.map(lambda a, b: None, own(*arrays), arrays[:2])


def test_gradients_of_gradients(arrays):
    def chain(A, B, C, x, y):
        return jnp.sum(jnp.sin(A @ B @ x))

    own = sg.hessian(chain, argnums=3)
    agree(own(*arrays), jax.hessian(chain, argnums=3)(*arrays))
    product = sg.hvp(chain, argnums=3)(arrays[4], *arrays)
    agree(product, jax.hessian(chain, argnums=3)(*arrays) @ arrays[4])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.complex64])
def test_dtypes_stay(dtype, arrays):
    A, B, _, x, _ = (a.astype(dtype) for a in arrays)
    found = sg.jit(lambda A, B, x: A @ B @ x)(A, B, x)
    assert found.dtype == dtype
    exact = np.asarray(A, complex) @ np.asarray(B, complex) @ np.asarray(x, complex)
    bound = 30 * float(jnp.finfo(dtype).eps) * np.max(np.abs(exact))
    assert np.max(np.abs(np.asarray(found, complex) - exact)) <= bound


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (1, 1)])
def test_small_and_empty(shape):
    x = jnp.ones(shape)
    program = lambda x: jnp.sum(x @ x.T @ x)  # noqa: E731
    agree(sg.jit(program)(x), program(x))
    agree(sg.grad(program)(x), jax.grad(program)(x))


def test_batches(arrays):
    A, B, _, x, _ = arrays
    program = lambda x: jnp.sum((A @ B @ x) ** 2)  # noqa: E731
    rows = jnp.stack([x, 2 * x])
    agree(jax.vmap(sg.grad(program))(rows), jax.vmap(jax.grad(program))(rows))


def test_what_pays_nothing_stays_as_written(arrays):
    A, B, C, _, _ = arrays
    program = lambda A, B, C: jnp.tanh(A @ B) @ C  # noqa: E731
    source = sg.jit(program).source(A, B, C)
    assert source.count("matmul") == 2
    assert not any(s.name == "plan" for s in sg.jit(program).explain(A, B, C).stages)


def test_reports_name_the_lines_that_were_reordered(arrays):
    A, B, _, x, _ = arrays

    def program(A, B, x):
        h = jnp.tanh(A @ x)
        return A @ B @ h  # this one

    report = sg.jit(program).explain(A, B, x)
    line = program.__code__.co_firstlineno + 2
    assert report.reordered == (f"test_plan.py:{line}",)
    assert f"products in another order: test_plan.py:{line}" in str(report)
    assert not sg.jit(jnp.tanh).explain(x).reordered


def test_a_cancelling_sum_is_not_distributed(arrays):
    """(A - B) x keeps its digits where A and B are nearly equal; A x - B x would not."""
    with jax.enable_x64(False):
        A = jnp.asarray(arrays[0], jnp.float32)
        B, x = A * (1 + 2.0**-22), jnp.asarray(arrays[3], jnp.float32)
        program = lambda A, B, x: (A - B) @ x  # noqa: E731
        exact = (np.asarray(A, float) - np.asarray(B, float)) @ np.asarray(x, float)
        found = sg.jit(program)(A, B, x)
        assert np.max(np.abs(found - exact)) <= 1e-5 * np.max(np.abs(exact))


def test_a_masked_infinity_stays_masked():
    """A mask is moved through products of what is finite alone."""

    def program(w, x):
        return jnp.sum((w @ jnp.where(x > 0, jnp.log(x), 0.0)) ** 2)

    w, x = jnp.ones((3, 4)), jnp.array([0.0, 1.0, 2.0, 3.0])
    for transform in (sg.jacobian, sg.grad):
        assert jnp.isfinite(transform(program, argnums=0)(w, x)).all()
    hessian = sg.hessian(program, argnums=1)(w, x)
    assert jnp.isfinite(hessian).all()
    assert not hessian[0].any()


@pytest.mark.parametrize("missing", [np.nan, np.inf])
def test_missing_data_stay_masked(missing, arrays):
    """The mask is not moved to the weights: zero times what is missing is not zero."""
    A, B, _, x, _ = arrays
    data = A.at[:, 3].set(missing)

    def program(w, data):
        known = jnp.where(jnp.isfinite(data), data, 0.0)
        return jnp.sum((known @ w @ B @ x) ** 2)

    def exact(w, data):
        return program(w, jnp.where(jnp.isfinite(data), data, 0.0))

    w = B
    agree(sg.jit(program)(w, data), exact(w, data))
    agree(sg.grad(program)(w, data), jax.grad(exact)(w, data))
    agree(sg.grad(program, argnums=1)(w, data), jax.grad(program, argnums=1)(w, data))
    small = lambda w: jnp.sum(jax.nn.relu(jnp.where(jnp.isfinite(data), data, 0.0) @ w) ** 2)  # noqa: E731
    agree(sg.hessian(small)(x), jax.hessian(small)(x))


def test_loop_bodies_are_planned(arrays):
    A, B, _, x, _ = arrays

    def loop(A, B, x):
        step = lambda c, _: (jnp.tanh(A @ (jnp.outer(c, c) @ x)), None)  # noqa: E731
        return jnp.sum(jax.lax.scan(step, x, None, length=3)[0])

    source = sg.jit(loop).source(A, B, x)
    assert "[:, None]" not in source
    agree(sg.jit(loop)(A, B, x), loop(A, B, x))
    agree(sg.grad(loop)(A, B, x), jax.grad(loop)(A, B, x))


def test_what_loops_share_is_computed_before_them(arrays):
    """A B is the same in every round: A (B c) would cost less once and more in the end."""
    A, B, _, x, _ = arrays

    def loop(A, B, x):
        return jax.lax.fori_loop(0, 100, lambda i, c: jnp.tanh(A @ B @ c), x)

    assert "jnp.matmul(A, B," in sg.jit(loop).source(A, B, x)


def test_long_chains_and_sums_are_planned_fast(arrays):
    A, _, _, x, _ = arrays

    def chain(A, x):
        y = x
        for _ in range(40):
            y = A.T @ y / N
        return jnp.sum(y)

    def many(A, x):
        return jnp.sum(sum((A @ (x * k) for k in range(200)), x))

    for program in (chain, many):
        agree(sg.grad(program)(A, x), jax.grad(program)(A, x), 1e-9)


def test_texts_are_the_same_in_every_run(arrays):
    import subprocess
    import sys

    program = (
        "import jax.numpy as jnp, symgrad as sg;"
        "f = lambda A, B, x: jnp.sum((A.T @ B @ A.T @ B @ x) ** 2);"
        "A = jnp.ones((9, 9));"
        "print(sg.grad(f, argnums=(0, 1)).source(A, A, A[0]))"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PATH": "", "PYTHONPATH": ":".join(sys.path)},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(texts) == 1
