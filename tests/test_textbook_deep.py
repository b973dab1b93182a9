"""Deep networks as the textbooks write them: the backward loop, its cost, Hessian products.

a⁽ᵏ⁾ = b⁽ᵏ⁾ + W⁽ᵏ⁾h⁽ᵏ⁻¹⁾, h⁽ᵏ⁾ = f(a⁽ᵏ⁾), J = L(ŷ, y) + λΩ(θ); f is tanh here.
"""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse.linalg
from closeness import (
    check,
    check_adjoints,
    close,
    count,
    divisions_by_data,
    op_names,
    operations,
    used_inputs,
)

import symgrad as sg

pytestmark = pytest.mark.usefixtures("strict")

# Deep networks

WIDTHS = (5, 4, 3, 4, 2)
WEIGHT_DECAY = 0.3


def parameters(draw, depth: int) -> list:
    """Weights small enough that no unit saturates."""
    return [(draw(n, m) * m**-0.5, draw(n)) for m, n in itertools.pairwise(WIDTHS[: depth + 1])]


def forward(params, x):
    h = x
    for w, b in params:
        a = b + w @ h
        h = jnp.tanh(a)
    return h


def objective(params, x, y):
    """J = L(ŷ, y) + λΩ(θ) with L = ½‖ŷ − y‖² and Ω = ½‖θ‖²."""
    loss = 0.5 * jnp.sum((forward(params, x) - y) ** 2)
    omega = 0.5 * sum(jnp.sum(w**2) + jnp.sum(b**2) for w, b in params)
    return loss + WEIGHT_DECAY * omega


def backpropagated(params, x, y):
    """The backward loop of the textbook, line by line."""
    hidden = [x]
    for w, b in params:
        hidden.append(np.tanh(b + w @ hidden[-1]))
    g = hidden[-1] - y
    found = []
    for k in range(len(params), 0, -1):
        w, b = params[k - 1]
        g = g * (1 - hidden[k] ** 2)
        found.append(
            (np.outer(g, hidden[k - 1]) + WEIGHT_DECAY * w, g + WEIGHT_DECAY * b),
        )
        g = w.T @ g
    return found[::-1]


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_deep_network(depth, real, draw):
    args = parameters(draw, depth), draw(WIDTHS[0]), draw(WIDTHS[depth])
    check(objective, args, backpropagated(*args), real.tolerance)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_deep_network_shares_the_portions_of_its_gradient(depth, float32, draw):
    """One matrix product forward and at most two backward per layer: D⁽ʲ⁾ is computed once."""
    args = parameters(draw, depth), draw(WIDTHS[0]), draw(WIDTHS[depth])
    graph = sg.grad(objective).graph(*args)
    assert count(graph, "tanh") == depth
    assert count(graph, "einsum") <= 3 * depth - 1
    assert not op_names(graph) & {"sum", "div", "cosh", "exp"}


def test_matrix_product(real, draw):
    """∇_H f = ∇_U f Wᵀ and ∇_W f = Hᵀ ∇_U f, one contraction each and no transposed copies."""
    h, w, g = draw(4, 5), draw(5, 3), draw(4, 3)
    check_adjoints(jnp.matmul, (h, w), g, h @ w, (g @ w.T, h.T @ g), real.tolerance)
    product = lambda h, w, g: jnp.sum(g * (h @ w))  # noqa: E731
    graph = sg.grad(product, (0, 1)).graph(h, w, g)
    assert [n.op.name for n in operations(graph)] == ["einsum", "einsum"]


def test_matrix_product_inside_a_function(real, draw):
    def f(h, w):
        return jnp.sum(jnp.sin(h @ w))

    h, w = draw(4, 5), draw(5, 3)
    g = np.cos(h @ w)
    check(f, (h, w), (g @ w.T, h.T @ g), real.tolerance, argnums=(0, 1))
    graph = sg.grad(f, (0, 1)).graph(h, w)
    assert op_names(graph) == {"einsum", "cos"}
    assert len(operations(graph)) == 4


def minibatch_loss(params, x, y):
    """Rows of `x` and `y` are examples."""
    return jnp.mean(jax.vmap(lambda xi, yi: 0.5 * jnp.sum((forward(params, xi) - yi) ** 2))(x, y))


@pytest.mark.parametrize("m", [8, 64])
def test_minibatch_costs_what_the_textbook_says(m, float32, draw):
    """O(w) multiply-adds per example, forward and backward; memory O(m n_h), never m w."""
    params = parameters(draw, 4)
    weights = sum(w.size for w, _ in params)
    graph = sg.value_and_grad(minibatch_loss).graph(params, draw(m, WIDTHS[0]), draw(m, WIDTHS[4]))
    assert sum(n.flops for n in graph.nodes if n.op.name == "einsum") <= 3 * 2 * m * weights
    assert max(n.type.size for n in graph.nodes) <= m * max(WIDTHS)


def test_averaged_regularised_gradient(real, draw):
    """D = Δ/n + λΘ for weights and Δ/n for biases, Δ summed over the examples."""
    params, x, y = parameters(draw, 2), draw(6, WIDTHS[0]), draw(6, WIDTHS[2])
    decay = WEIGHT_DECAY

    def regularised(params, x, y):
        return minibatch_loss(params, x, y) + 0.5 * decay * sum(jnp.sum(w**2) for w, _ in params)

    accumulated = [(np.zeros_like(w), np.zeros_like(b)) for w, b in params]
    for xi, yi in zip(x, y, strict=True):
        added = backpropagated(params, xi, yi)
        accumulated = [
            (dw + aw - decay * w, db + ab - decay * b)
            for (dw, db), (aw, ab), (w, b) in zip(accumulated, added, params, strict=True)
        ]
    expected = [
        (dw / 6 + decay * w, db / 6) for (dw, db), (w, _) in zip(accumulated, params, strict=True)
    ]
    check(regularised, (params, x, y), expected, real.tolerance)


# Hessian-vector products


def quartic(x, a):
    """½xᵀAx + ¼Σx⁴, with the Hessian ½(A + Aᵀ) + 3 diag(x²)."""
    return 0.5 * x @ (a @ x) + 0.25 * jnp.sum(x**4)


def quartic_hessian(x, a):
    return 0.5 * (a + a.T) + 3 * np.diag(x**2)


def test_hessian_vector_product(real, draw):
    x, a, v = draw(5), draw(5, 5), draw(5)
    expected = quartic_hessian(x, a) @ v
    check(quartic, (x, a), 0.5 * (a + a.T) @ x + x**3, real.tolerance)
    close(sg.hvp(quartic)(v, x, a), expected, real.tolerance)
    slope_along_v = lambda x, a, v: jnp.vdot(sg.grad(quartic)(x, a), v)  # noqa: E731
    jax_slope_along_v = lambda x, a, v: jnp.vdot(jax.grad(quartic)(x, a), v)  # noqa: E731
    close(sg.grad(slope_along_v)(x, a, v), expected, real.tolerance)
    close(jax.jit(jax.grad(jax_slope_along_v))(x, a, v), expected, real.tolerance)


def test_hessian_is_its_products_with_the_unit_vectors(real, draw):
    x, a = draw(5), draw(5, 5)
    product = sg.hvp(quartic)
    columns = np.stack([product(e, x, a) for e in np.eye(5, dtype=real.dtype)], axis=1)
    close(columns, quartic_hessian(x, a), real.tolerance)
    close(sg.hessian(quartic)(x, a), quartic_hessian(x, a), real.tolerance)
    close(jax.jit(jax.hessian(quartic))(x, a), quartic_hessian(x, a), real.tolerance)


def test_hessian_of_a_network_applied_to_a_tree(real, draw):
    args = parameters(draw, 2), draw(WIDTHS[0]), draw(WIDTHS[2])
    v = parameters(draw, 2)
    slope = jax.grad(lambda params: objective(params, *args[1:]))
    _, expected = jax.jit(lambda params, v: jax.jvp(slope, (params,), (v,)))(args[0], v)
    close(sg.hvp(objective)(v, *args), expected, real.tolerance)


def test_product_with_a_constant_hessian_reads_no_point(float32, draw):
    """H of ½xᵀAx − bᵀx is ½(A + Aᵀ): neither x nor b is left in the graph."""

    def quadratic(x, a, b):
        return 0.5 * x @ (a @ x) - b @ x

    v, x, a, b = draw(5), draw(5), draw(5, 5), draw(5)
    graph = sg.hvp(quadratic).graph(v, x, a, b)
    assert used_inputs(graph) == [0, 2]
    assert not divisions_by_data(graph)


def test_krylov_methods_need_only_products(float64):
    """Conjugate gradients solve H d = −∇f, one Newton step, without ever seeing H."""
    generator = np.random.default_rng(0)
    a = generator.normal(size=(6, 6))
    a, x = a @ a.T + np.eye(6), generator.normal(size=6)
    product = sg.hvp(quartic)
    operator = scipy.sparse.linalg.LinearOperator(
        (6, 6), dtype=np.float64, matvec=lambda v: np.asarray(product(v.ravel(), x, a))
    )
    slope = np.asarray(sg.grad(quartic)(x, a))
    step, status = scipy.sparse.linalg.cg(operator, -slope, rtol=1e-13, maxiter=50)
    assert status == 0
    close(step, -np.linalg.solve(quartic_hessian(x, a), slope), 1e-10)
