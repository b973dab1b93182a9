"""Whole networks of the textbooks, each against the gradient they derive for it."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import (
    check,
    check_adjoints,
    close,
    count,
    divisions_by_data,
    op_names,
    used_inputs,
)
from jax import lax
from scipy import special

import symgrad as sg

pytestmark = pytest.mark.usefixtures("strict")


# Regression

UNITS = {
    "tanh": (jnp.tanh, np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "sigmoid": (jax.nn.sigmoid, special.expit, lambda z: special.expit(z) * special.expit(-z)),
    "relu": (jax.nn.relu, lambda z: np.maximum(z, 0), lambda z: (z > 0) * np.ones_like(z)),
}
every_unit = pytest.mark.parametrize("unit", UNITS)


@every_unit
def test_one_hidden_layer(unit, real, draw):
    f, f_numpy, f_slope = UNITS[unit]

    def loss(w, b, theta, c, x, y):
        h = f(w @ x + b)
        y_hat = theta @ h + c
        return (y_hat - y) ** 2

    w, b, theta, c, x, y = args = draw(3, 4), draw(3), draw(3), draw(), draw(4), draw()
    z = w @ x + b
    h = f_numpy(z)
    y_hat_bar = 2 * (theta @ h + c - y)
    h_bar = theta * y_hat_bar
    z_bar = f_slope(z) * h_bar
    expected = np.outer(z_bar, x), z_bar, h * y_hat_bar, y_hat_bar
    value = (theta @ h + c - y) ** 2
    check(loss, args, expected, real.tolerance, value=value, argnums=(0, 1, 2, 3))
    graph = sg.grad(loss, (0, 1, 2, 3)).graph(*args)
    assert count(graph, "einsum") <= 3
    assert count(graph, "sum") == 0
    if unit == "tanh":
        assert count(graph, "tanh") == 1


@every_unit
def test_two_hidden_layers(unit, real, draw):
    f, f_numpy, f_slope = UNITS[unit]

    def loss(w1, b1, w2, b2, theta, c, x, y):
        h1 = f(w1 @ x + b1)
        h2 = f(w2 @ h1 + b2)
        return (theta @ h2 + c - y) ** 2

    args = draw(4, 3) / 2, draw(4), draw(3, 4) / 2, draw(3), draw(3), draw(), draw(3), draw()
    w1, b1, w2, b2, theta, c, x, y = args
    z1 = w1 @ x + b1
    h1 = f_numpy(z1)
    z2 = w2 @ h1 + b2
    h2 = f_numpy(z2)
    y_hat_bar = 2 * (theta @ h2 + c - y)
    z2_bar = f_slope(z2) * theta * y_hat_bar
    z1_bar = f_slope(z1) * (w2.T @ z2_bar)
    expected = (
        *(np.outer(z1_bar, x), z1_bar),
        *(np.outer(z2_bar, h1), z2_bar),
        *(h2 * y_hat_bar, y_hat_bar),
    )
    value = (theta @ h2 + c - y) ** 2
    check(loss, args, expected, real.tolerance, value=value, argnums=tuple(range(6)))
    assert count(sg.grad(loss, tuple(range(6))).graph(*args), "einsum") <= 6


# XOR

POINTS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
XOR = np.array([0, 1, 1, 0])


def xor_network(params, x):
    """f(x) = wᵀ max{0, Wᵀx + c} + b for each row of x."""
    big_w, c, w, b = params
    return jax.vmap(lambda row: w @ jax.nn.relu(big_w.T @ row + c) + b)(x)


def mean_squared_error(model):
    return lambda params, x, y: jnp.mean((model(params, x) - y) ** 2)


def test_xor_network_is_exact(real):
    solution = [[1, 1], [1, 1]], [0, -1], [1, -2], 0
    params = tuple(real.array(leaf) for leaf in solution)
    x, y = real.array(POINTS), real.array(XOR)
    assert np.all(sg.jit(xor_network)(params, x) == y)
    loss = mean_squared_error(xor_network)
    value, gradient = sg.value_and_grad(loss)(params, x, y)
    assert value == 0
    assert all(np.all(leaf == 0) for leaf in gradient)


def test_xor_network_elsewhere(real, draw):
    params = big_w, c, w, b = draw(2, 2), draw(2), draw(2), draw()
    x, y = real.array(POINTS), real.array(XOR)
    z = x @ big_w + c
    h = np.maximum(z, 0)
    f_bar = (h @ w + b - y) / 2
    z_bar = np.outer(f_bar, w) * (z > 0)
    expected = x.T @ z_bar, z_bar.sum(axis=0), h.T @ f_bar, f_bar.sum()
    value = np.mean((h @ w + b - y) ** 2)
    loss = mean_squared_error(xor_network)
    check(loss, (params, x, y), expected, real.tolerance, value=value)


def test_best_linear_model_of_xor(real, draw):
    """w = 0, b = ½, where the gradient vanishes; J is quadratic, so one Newton step gets there."""

    def linear_model(theta, x):
        return x @ theta[:2] + theta[2]

    loss = mean_squared_error(linear_model)
    x, y = real.array(POINTS), real.array(XOR)
    best = real.array([0, 0, 0.5])
    check(loss, (best, x, y), np.zeros(3), real.tolerance, value=0.25, scale=1.0)
    design = np.hstack([POINTS, np.ones((4, 1))])
    hessian = sg.hessian(loss)(best, x, y)
    close(hessian, design.T @ design / 2, real.tolerance)
    start = draw(3)
    step = np.linalg.solve(hessian, sg.grad(loss)(start, x, y))
    close(start - step, best, real.tolerance)


# Classifiers

LAYERS = (4, 5, 3, 2)


def sigmoid_network(params, x, bumps):
    """aˡ⁺¹ = σ(Θˡ(aˡ, 1)); `bumps` are added to the inputs of the sigmoids, to see the δˡ."""
    a = x
    for (theta, bias), bump in zip(params, bumps, strict=True):
        a = jax.nn.sigmoid(theta @ a + bias + bump)
    return a


def negative_log_likelihood(params, x, y, bumps):
    a = sigmoid_network(params, x, bumps)
    return -jnp.sum(y * jnp.log(a) + (1 - y) * jnp.log(1 - a))


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_sigmoid_network(depth, real, draw):
    """δ = a − y at the output, then δˡ = aˡ(1 − aˡ) Θˡᵀδˡ⁺¹; ∂J/∂Θˡ = δˡ⁺¹ aˡᵀ."""
    widths = LAYERS[: depth + 1]
    params = [(draw(n, m), draw(n)) for m, n in itertools.pairwise(widths)]
    x, y = draw(widths[0]), real.array(np.arange(widths[-1]) % 2)
    bumps = [np.zeros_like(bias) for _, bias in params]
    activations = [x]
    for theta, bias in params:
        activations.append(special.expit(theta @ activations[-1] + bias))
    a = activations[-1]
    delta = a - y
    deltas, gradient = [delta], [(np.outer(delta, activations[-2]), delta)]
    for layer in range(depth - 1, 0, -1):
        h = activations[layer]
        delta = h * (1 - h) * (params[layer][0].T @ delta)
        deltas.insert(0, delta)
        gradient.insert(0, (np.outer(delta, activations[layer - 1]), delta))
    value = -np.sum(y * np.log(a) + (1 - y) * np.log(1 - a))
    args = params, x, y, bumps
    expected = gradient, deltas
    check(negative_log_likelihood, args, expected, real.tolerance, value=value, argnums=(0, 3))
    graph = sg.grad(negative_log_likelihood).graph(*args)
    assert "logistic" in op_names(graph)
    assert not op_names(graph) & {"log", "log1p", "exp", "softplus", "div", "sum"}
    assert count(graph, "einsum") <= 3 * depth - 1


def test_one_vs_rest(real, draw):
    """K sigmoid outputs: ∇J = Xᵀ(P − Y)/n, class by class; the largest output is the answer."""

    def loss(theta, x, y):
        p = jax.nn.sigmoid(x @ theta)
        return -jnp.mean(jnp.sum(y * jnp.log(p) + (1 - y) * jnp.log(1 - p), axis=-1))

    theta, x = draw(4, 3), draw(6, 4)
    labels = np.arange(6) % 3
    y = np.eye(3, dtype=real.dtype)[labels]
    p = special.expit(x @ theta)
    value = -np.mean(np.sum(y * np.log(p) + (1 - y) * np.log(1 - p), axis=-1))
    expected = x.T @ (p - y) / 6
    check(loss, (theta, x, y), expected, real.tolerance, value=value)
    graph = sg.grad(loss).graph(theta, x, y)
    assert op_names(graph) <= {"einsum", "logistic", "sub", "mul", "div"}
    assert not divisions_by_data(graph)
    assert count(graph, "logistic") == 1
    assert count(graph, "einsum") == 2
    other = theta + np.array([0, 5, 0], real.dtype)[None, :]
    changed = np.asarray(sg.grad(loss)(other, x, y))
    close(changed[:, [0, 2]], expected[:, [0, 2]], real.tolerance)


def tanh_score(params, x):
    v, w, b = params
    return v @ jnp.tanh(w @ x + b)


def test_two_layer_tanh_classifier(real, draw):
    """sign(v·tanh(Wx + b)) learned by log(1 + exp(−y s)): ∂J/∂s = −y σ(−y s)."""

    def loss(params, x, y):
        return jnp.log(1 + jnp.exp(-y * tanh_score(params, x)))

    params = v, w, b = draw(3), draw(3, 4) / 2, draw(3)
    x, y = draw(4), real.array(-1)
    h = np.tanh(w @ x + b)
    s = v @ h
    s_bar = -y * special.expit(-y * s)
    z_bar = s_bar * v * (1 - h * h)
    expected = s_bar * h, np.outer(z_bar, x), z_bar
    args = params, x, y
    check(loss, args, expected, real.tolerance, value=np.logaddexp(0, -y * s))
    graph = sg.grad(loss).graph(*args)
    assert count(graph, "tanh") == count(graph, "logistic") == 1
    assert not op_names(graph) & {"log", "log1p", "exp", "softplus", "div", "sum"}

    def classifier(params, x):
        return jnp.sign(tanh_score(params, x))

    zeros = tuple(np.zeros_like(leaf) for leaf in params)
    check(classifier, (params, x), zeros, real.tolerance, value=np.sign(s))


def test_radial_basis_functions(real, draw):
    """f = Σ v_h φ_h with φ_h = exp(−γ_h ‖x − w_h‖²)."""

    def f(v, gamma, w, x):
        distance = jax.vmap(lambda centre: jnp.sum((x - centre) ** 2))(w)
        return jnp.sum(v * jnp.exp(-gamma * distance))

    v, gamma, w, x = args = np.abs(draw(5)), np.abs(draw(5)) / 4, draw(5, 3), draw(3)
    difference = x - w
    distance = np.sum(difference**2, axis=1)
    phi = np.exp(-gamma * distance)
    w_bar = 2 * (v * gamma * phi)[:, None] * difference
    expected = phi, -v * phi * distance, w_bar, -w_bar.sum(axis=0)
    check(f, args, expected, real.tolerance, value=v @ phi, argnums=(0, 1, 2, 3))
    graph = sg.grad(f, (0, 1, 2, 3)).graph(*args)
    assert count(graph, "exp") == 1
    assert not op_names(graph) & {"log", "div", "sqrt"}


# Layers


def layer(w, z):
    return jnp.tanh(w @ z)


def layer_jacobians(w, z):
    """(value, D_W f contracted with ḡ, D_z f) of f_W(z) = tanh(Wz)."""
    h = np.tanh(w @ z)
    slope = 1 - h * h
    return h, lambda g: np.outer(g * slope, z), slope[:, None] * w


def test_composed_layers(real, draw):
    """f_W₃ ∘ f_W₂ ∘ f_W₁: the portions D⁽ʲ⁾ = D⁽ʲ⁺¹⁾ D_z f serve all parameters before them."""

    def network(w1, w2, w3, x):
        return layer(w3, layer(w2, layer(w1, x)))

    w1, w2, w3, x = args = draw(4, 5) / 2, draw(3, 4) / 2, draw(2, 3) / 2, draw(5)
    h1, in_w1, d1 = layer_jacobians(w1, x)
    h2, in_w2, d2 = layer_jacobians(w2, h1)
    h3, in_w3, d3 = layer_jacobians(w3, h2)
    g = draw(2)
    portion2, portion1 = g @ d3, g @ d3 @ d2
    expected = in_w1(portion1), in_w2(portion2), in_w3(g), portion1 @ d1
    check_adjoints(network, args, g, h3, expected, real.tolerance)


def test_concatenated_layers(real, draw):
    """(f ⊕ g)(x, z) = (f(x), g(z)): the Jacobian is block diagonal, the halves never meet."""

    def both(w, u, x, z):
        return jnp.concatenate([layer(w, x), layer(u, z)])

    w, u, x, z = args = draw(3, 4) / 2, draw(2, 5) / 2, draw(4), draw(5)
    h1, in_w, d1 = layer_jacobians(w, x)
    h2, in_u, d2 = layer_jacobians(u, z)
    g = draw(5)
    expected = in_w(g[:3]), in_u(g[3:]), g[:3] @ d1, g[3:] @ d2
    check_adjoints(both, args, g, np.concatenate([h1, h2]), expected, real.tolerance)
    graph = sg.grad(lambda *args: jnp.sum(both(*args) ** 2)).graph(*args)
    assert used_inputs(graph) == [0, 2]
    assert "concatenate" not in op_names(graph)


# The convolutional network of the slides


def convolution(kernel, bias, x):
    """Images are (number, channels, height, width); 3×3 kernels, no padding."""
    return lax.conv_general_dilated(x, kernel, (1, 1), "VALID") + bias[None, :, None, None]


def max_pool(x):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")


def dense(w, b, x):
    return x @ w + b[None, :]


def convolutional_network(params, x):
    k1, b1, k2, b2, w3, b3, w4, b4, w5, b5 = params
    h = max_pool(jax.nn.relu(convolution(k1, b1, x)))
    h = max_pool(jax.nn.relu(convolution(k2, b2, h)))
    h = h.reshape(h.shape[0], -1)
    h = jax.nn.relu(dense(w3, b3, h))
    h = jax.nn.relu(dense(w4, b4, h))
    return dense(w5, b5, h)


def convolutional_parameters(draw):
    """Weights with the variance 2 / inputs; images of 18 × 18 shrink to 16 channels of 3 × 3."""
    shapes = [(6, 1, 3, 3), (16, 6, 3, 3), (16 * 3 * 3, 120), (120, 84), (84, 10)]
    params = []
    for shape in shapes:
        fan_in = int(np.prod(shape[1:])) if len(shape) == 4 else shape[0]
        outputs = shape[0] if len(shape) == 4 else shape[1]
        params += [draw(*shape) * (2 / fan_in) ** 0.5, 0.1 * draw(outputs)]
    return tuple(params)


def test_convolutional_network(real, draw):
    def loss(params, x, labels):
        log_q = jax.nn.log_softmax(convolutional_network(params, x))
        return -jnp.mean(jnp.take_along_axis(log_q, labels[:, None], axis=-1))

    params, x, labels = convolutional_parameters(draw), draw(2, 1, 18, 18), np.array([3, 7])
    z = jax.jit(convolutional_network)(params, x)
    expected = jax.jit(jax.grad(loss))(params, x, labels)
    value = -np.mean(special.log_softmax(z, axis=-1)[np.arange(2), labels])
    found, gradient = sg.value_and_grad(loss)(params, x, labels)
    close((found, gradient), (value, expected), real.tolerance)
    output_bias = np.mean(special.softmax(z, axis=-1) - np.eye(10)[labels], axis=0)
    close(gradient[-1], output_bias, real.tolerance)


# Initialisation


def hidden_network(params, x):
    w, b, v, c = params
    return jax.vmap(lambda row: v @ jnp.tanh(w @ row + b) + c)(x)


def test_equal_units_stay_equal(float64, draw):
    """Why initialisation is random: units that start equal get equal gradients."""
    loss = mean_squared_error(hidden_network)
    x, y = float64.array(POINTS), float64.array(XOR)
    w, b, v, c = np.tile(draw(2), (3, 1)), np.full(3, 0.5), np.full(3, -0.7), draw()
    d_w, d_b, d_v, _ = sg.grad(loss)((w, b, v, c), x, y)
    for leaf in (d_w, d_b, d_v):
        close(np.ptp(leaf, axis=0), np.zeros(leaf.shape[1:]), float64.tolerance, scale=1.0)
    d_w, _, _, _ = sg.grad(loss)((draw(3, 2), b, v, c), x, y)
    assert np.all(np.ptp(d_w, axis=0) > 1e-3)


def test_random_restarts(float64, draw):
    """Gradient descent from five random points, side by side; the best of them is kept."""
    loss = mean_squared_error(hidden_network)
    x, y = float64.array(POINTS), float64.array(XOR)
    starts = draw(5, 3, 2), draw(5, 3), draw(5, 3), draw(5)

    def descend(value_and_grad):
        def step(params, _):
            value, slope = value_and_grad(params, x, y)
            return jax.tree.map(lambda p, d: p - 0.2 * d, params, slope), value

        return jax.jit(jax.vmap(lambda params: lax.scan(step, params, length=60)))(starts)

    ends, losses = descend(sg.value_and_grad(loss))
    close((ends, losses), descend(jax.value_and_grad(loss)), float64.tolerance)
    assert np.all(losses[:, -1] < losses[:, 0])
    assert losses[:, -1].min() < 0.9 * np.median(losses[:, -1])
