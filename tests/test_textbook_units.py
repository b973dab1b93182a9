"""Hidden units of networks: the adjoints that the textbooks derive by hand.

h̄ is the adjoint of a unit's output h, z its input.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import adjoint_of, check_adjoints, close, count, op_names, operations
from scipy import special

import symgrad as sg

pytestmark = pytest.mark.usefixtures("strict")


def linear(w, b, x):
    return w @ x + b


def test_linear_unit(real, draw):
    w, b, x, h_bar = draw(3, 4), draw(3), draw(4), draw(3)
    adjoints = np.outer(h_bar, x), h_bar, w.T @ h_bar
    check_adjoints(linear, (w, b, x), h_bar, w @ x + b, adjoints, real.tolerance)
    graph = sg.grad(adjoint_of(linear), (0, 2)).graph(w, b, x, h_bar)
    assert [n.op.name for n in operations(graph)] == ["einsum", "einsum"]
    graph = sg.grad(adjoint_of(linear), 1).graph(w, b, x, h_bar)
    assert graph.outputs == (graph.inputs[3],)


SIGMOIDS = {
    "sigmoid": jax.nn.sigmoid,
    "quotient": lambda z: 1 / (1 + jnp.exp(-z)),
    "ratio": lambda z: jnp.exp(z) / (1 + jnp.exp(z)),
}


@pytest.mark.parametrize("writing", SIGMOIDS)
def test_sigmoid_unit(writing, real, draw):
    sigmoid = SIGMOIDS[writing]
    z, h_bar = draw(6), draw(6)
    h = special.expit(z)
    check_adjoints(sigmoid, (z,), h_bar, h, (h_bar * h * (1 - h),), real.tolerance)
    names = op_names(sg.grad(adjoint_of(sigmoid)).graph(z, h_bar))
    assert "logistic_slope" in names
    assert not names & {"exp", "div", "tanh"}


def test_tanh_unit(real, draw):
    z, h_bar = draw(6), draw(6)
    h = np.tanh(z)
    check_adjoints(jnp.tanh, (z,), h_bar, h, (h_bar * (1 - h * h),), real.tolerance)
    assert count(sg.grad(adjoint_of(jnp.tanh)).graph(z, h_bar), "sech_squared") == 1


def test_tanh_is_a_sigmoid_stretched(real, draw):
    """tanh(z) = 2σ(2z) − 1, and so their derivatives."""
    z, h_bar = draw(6), draw(6)
    h = np.tanh(z)
    stretched = lambda z: 2 * jax.nn.sigmoid(2 * z) - 1  # noqa: E731
    check_adjoints(stretched, (z,), h_bar, h, (h_bar * (1 - h * h),), real.tolerance)


RELUS = {
    "relu": jax.nn.relu,
    "where": lambda z: jnp.where(z > 0, z, 0.0),
    "maximum": lambda z: jnp.maximum(z, 0.0),
}


@pytest.mark.parametrize("writing", RELUS)
def test_relu_unit(writing, real, draw):
    relu = RELUS[writing]
    z, h_bar = draw(8), draw(8)
    z_bar = np.where(z > 0, h_bar, 0)
    check_adjoints(relu, (z,), h_bar, np.maximum(z, 0), (z_bar,), real.tolerance)
    names = op_names(sg.grad(adjoint_of(relu)).graph(z, h_bar))
    assert "select" in names
    assert not names & {"max", "relu", "sum"}


@pytest.mark.parametrize(("writing", "slope"), [("relu", 0), ("where", 0), ("maximum", 0.5)])
def test_relu_at_zero(writing, slope, real):
    """The left derivative 0; a maximum shares a tie equally between its operands, as in JAX."""
    z, h_bar = real.array([0.0, -0.0]), real.array([1.0, 3.0])
    check_adjoints(RELUS[writing], (z,), h_bar, 0 * z, (slope * h_bar,), real.tolerance)


def generalised_relu(z, alpha):
    return jnp.maximum(0.0, z) + alpha * jnp.minimum(0.0, z)


@pytest.mark.parametrize(
    ("alpha", "known"),
    [
        (0.0, jax.nn.relu),
        (-1.0, jnp.abs),
        (0.01, lambda z: jax.nn.leaky_relu(z, 0.01)),
    ],
    ids=["rectified", "absolute", "leaky"],
)
def test_generalised_relu(alpha, known, real, draw):
    z, h_bar = draw(8), draw(8)
    h = np.maximum(0, z) + alpha * np.minimum(0, z)
    z_bar = h_bar * np.where(z > 0, real.array(1), real.array(alpha))
    for unit in (lambda z: generalised_relu(z, alpha), known):
        check_adjoints(unit, (z,), h_bar, h, (z_bar,), real.tolerance)


def test_parametric_relu_learns_its_slope(real, draw):
    z, alpha, h_bar = draw(8), draw(8), draw(8)
    h = np.maximum(0, z) + alpha * np.minimum(0, z)
    adjoints = h_bar * np.where(z > 0, 1, alpha), h_bar * np.minimum(0, z)
    check_adjoints(generalised_relu, (z, alpha), h_bar, h, adjoints, real.tolerance)


def cosine_unit(w, b, x):
    return jnp.cos(linear(w, b, x))


def test_cosine_unit(real, draw):
    w, b, x, h_bar = draw(3, 4), draw(3), draw(4), draw(3)
    z_bar = -h_bar * np.sin(w @ x + b)
    adjoints = np.outer(z_bar, x), z_bar, w.T @ z_bar
    check_adjoints(cosine_unit, (w, b, x), h_bar, np.cos(w @ x + b), adjoints, real.tolerance)
    graph = sg.grad(adjoint_of(cosine_unit), (0, 1, 2)).graph(w, b, x, h_bar)
    assert count(graph, "sin") == 1
    assert count(graph, "cos") == 0
    assert count(graph, "einsum") == 3


LOW_RANKS = {
    "factor by factor": lambda u, v, x: jnp.tanh(u @ (v @ x)),
    "weights first": lambda u, v, x: jnp.tanh((u @ v) @ x),
}


@pytest.mark.parametrize("writing", LOW_RANKS)
def test_low_rank_unit(writing, real, draw):
    """W = UV has q(n + p) parameters instead of n p."""
    n, p, q = 11, 13, 2
    u, v, x, h_bar = draw(n, q), draw(q, p), 0.1 * draw(p), draw(n)
    assert u.size + v.size == q * (n + p) < n * p
    unit = LOW_RANKS[writing]
    h = np.tanh(u @ (v @ x))
    z_bar = h_bar * (1 - h * h)
    adjoints = np.outer(z_bar, v @ x), np.outer(u.T @ z_bar, x), v.T @ (u.T @ z_bar)
    check_adjoints(unit, (u, v, x), h_bar, h, adjoints, real.tolerance)


def test_low_rank_unit_never_forms_the_weights(real, draw):
    """Applied factor by factor, no array of the n p entries of W is needed, backward either."""
    n, p, q = 11, 13, 2
    unit = LOW_RANKS["factor by factor"]
    args = draw(n, q), draw(q, p), 0.1 * draw(p), draw(n)
    graph = sg.value_and_grad(adjoint_of(unit), (0, 1)).graph(*args)
    assert max(node.type.size for node in graph.nodes) < n * p


SHAPE = (4, 5)


def total(x):
    return jnp.sum(x, axis=-1, keepdims=True)


def naive_softmax(z):
    return jnp.exp(z) / total(jnp.exp(z))


def shifted_softmax(z):
    e = jnp.exp(z - jnp.max(z, axis=-1, keepdims=True))
    return e / total(e)


SOFTMAXES = {"library": jax.nn.softmax, "naive": naive_softmax, "shifted": shifted_softmax}


@pytest.mark.parametrize("writing", SOFTMAXES)
def test_softmax_unit(writing, real, draw):
    """softmax(z) = softmax(z − max z): finite at any z, with h̄ ↦ q ⊙ (h̄ − ⟨q, h̄⟩)."""
    softmax = SOFTMAXES[writing]
    z, h_bar = draw(*SHAPE), draw(*SHAPE)
    q = special.softmax(z, axis=-1)
    z_bar = q * (h_bar - np.sum(q * h_bar, axis=-1, keepdims=True))
    check_adjoints(softmax, (z,), h_bar, q, (z_bar,), real.tolerance)
    names = op_names(sg.grad(adjoint_of(softmax)).graph(z, h_bar))
    assert "softmax" in names
    assert not names & {"exp", "div", "max_over"}


@pytest.mark.parametrize("writing", SOFTMAXES)
def test_softmax_of_large_numbers(writing, real, draw):
    z, h_bar = draw(*SHAPE) + real.array([[1000.0], [-1000.0], [1e4], [0.0]]), draw(*SHAPE)
    q = special.softmax(z, axis=-1)
    z_bar = q * (h_bar - np.sum(q * h_bar, axis=-1, keepdims=True))
    value, pull = sg.vjp(SOFTMAXES[writing], z)
    close((value, pull(h_bar)), (q, (z_bar,)), real.tolerance)
