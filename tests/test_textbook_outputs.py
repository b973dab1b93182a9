"""Outputs of networks: every way to write a likelihood has the gradient of the textbooks.

q is the distribution a network gives, p the one it should give. The gradient of every
cross-entropy is q − p however the loss was written, and the simplified graph says so.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import check, close, count, divisions_by_data, op_names, operations, used_inputs
from scipy import special, stats

import symgrad as sg

pytestmark = pytest.mark.usefixtures("strict")

ROWS, CLASSES = 4, 5
SHAPE = (ROWS, CLASSES)


def total(x):
    return jnp.sum(x, axis=-1, keepdims=True)


def naive_softmax(z):
    return jnp.exp(z) / total(jnp.exp(z))


def shifted_softmax(z):
    e = jnp.exp(z - jnp.max(z, axis=-1, keepdims=True))
    return e / total(e)


LOG_SOFTMAXES = {
    "log of softmax": lambda z: jnp.log(jax.nn.softmax(z)),
    "log_softmax": jax.nn.log_softmax,
    "logsumexp": lambda z: z - jax.nn.logsumexp(z, axis=-1, keepdims=True),
    "naive": lambda z: jnp.log(naive_softmax(z)),
    "shifted": lambda z: jnp.log(shifted_softmax(z)),
    "naive logsumexp": lambda z: z - jnp.log(total(jnp.exp(z))),
}
BATCHES = {
    "sum": jnp.sum,
    "sum of sums": lambda x: jnp.sum(jnp.sum(x, axis=-1)),
    "mean of sums": lambda x: jnp.mean(jnp.sum(x, axis=-1)),
    "sum by size": lambda x: jnp.sum(x) / ROWS,
}
SCALES = {"sum": 1, "sum of sums": 1, "mean of sums": 1 / ROWS, "sum by size": 1 / ROWS}

every_writing = pytest.mark.parametrize("writing", LOG_SOFTMAXES)
every_batch = pytest.mark.parametrize("batch", BATCHES)

SCALING = {"mul", "div"}
MOVES = {"broadcast", "reshape", "transpose", "convert"}


def cross_entropy(writing, batch):
    """J(z, p) = −Σ p log q."""
    log_softmax, reduced = LOG_SOFTMAXES[writing], BATCHES[batch]
    return lambda z, p: -reduced(p * log_softmax(z))


def allowed(batch, *names):
    """What a graph of q − p may consist of: a mean also scales."""
    return {"softmax", "sub", *names} | MOVES | (SCALING if SCALES[batch] != 1 else set())


def assert_closed_form(graph, names):
    assert "softmax" in op_names(graph)
    assert op_names(graph) <= names
    assert not divisions_by_data(graph)


@every_writing
def test_cross_entropy_value_and_gradient(writing, real, draw):
    """∂J/∂z = Σp q − p for any p, and where the logits are too large for e^z as well."""
    loss = cross_entropy(writing, "sum")
    z, p = draw(*SHAPE), np.abs(draw(*SHAPE))
    expected = np.sum(p, axis=-1, keepdims=True) * special.softmax(z, axis=-1) - p
    value = -np.sum(p * special.log_softmax(z, axis=-1))
    check(loss, (z, p), expected, real.tolerance, value=value)
    far = 1000 * z
    expected = np.sum(p, axis=-1, keepdims=True) * special.softmax(far, axis=-1) - p
    value = -np.sum(p * special.log_softmax(far, axis=-1))
    close(sg.value_and_grad(loss)(far, p), (value, expected), real.tolerance)


@every_batch
def test_cross_entropy_over_a_batch(batch, real, draw):
    loss = cross_entropy("log_softmax", batch)
    z, p = draw(*SHAPE), special.softmax(draw(*SHAPE), axis=-1)
    expected = SCALES[batch] * (special.softmax(z, axis=-1) - p)
    value = -SCALES[batch] * np.sum(p * special.log_softmax(z, axis=-1))
    check(loss, (z, p), expected.astype(real.dtype), real.tolerance, value=value)


@every_batch
@every_writing
def test_cross_entropy_graph_for_any_p(writing, batch, float32, draw):
    graph = sg.grad(cross_entropy(writing, batch)).graph(draw(*SHAPE), draw(*SHAPE))
    assert_closed_form(graph, allowed(batch, "sum", "mul"))
    assert count(graph, "softmax") == count(graph, "sum") == 1


@every_batch
@every_writing
def test_cross_entropy_graph_for_a_distribution(writing, batch, float32, draw):
    """p = softmax(t) sums to one, and q − p is all that is left."""
    loss = cross_entropy(writing, batch)
    z, t = draw(*SHAPE), draw(*SHAPE)
    graph = sg.grad(lambda z, t: loss(z, jax.nn.softmax(t))).graph(z, t)
    assert_closed_form(graph, allowed(batch))
    assert count(graph, "softmax") == 2
    if SCALES[batch] == 1:
        assert len(operations(graph)) == 3


@every_writing
def test_cross_entropy_of_a_distribution(writing, real, draw):
    loss = cross_entropy(writing, "mean of sums")
    z, t = draw(*SHAPE), draw(*SHAPE)
    q, p = special.softmax(z, axis=-1), special.softmax(t, axis=-1)
    gradient = sg.grad(lambda z, t: loss(z, jax.nn.softmax(t)))(z, t)
    close(gradient, (q - p) / ROWS, real.tolerance)


MASKS = {"select", "lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not"}
LABELS = np.array([0, 4, 2, 2])
STRAY_LABELS = np.array([0, CLASSES, -1, -2 * CLASSES])


def one_hot_loss(writing, batch):
    loss = cross_entropy(writing, batch)
    return lambda z, labels: loss(z, jax.nn.one_hot(labels, CLASSES, dtype=z.dtype))


def picked_loss(writing, batch):
    log_softmax = LOG_SOFTMAXES[writing]
    average = BATCHES[batch]

    def loss(z, labels):
        picked = jnp.take_along_axis(log_softmax(z), labels[:, None], axis=-1)
        return -average(picked)

    return loss


LABELLED = {"one hot": one_hot_loss, "picked": picked_loss}
every_labelling = pytest.mark.parametrize("labelling", LABELLED)


@every_labelling
@every_batch
@every_writing
def test_cross_entropy_graph_for_labels(writing, batch, labelling, float32, draw):
    """q − p with p one hot; a one-hot row of a label out of range is zero, so it is masked."""
    graph = sg.grad(LABELLED[labelling](writing, batch)).graph(draw(*SHAPE), LABELS)
    assert_closed_form(graph, allowed(batch, "one_hot", *MASKS, "add"))
    assert count(graph, "softmax") == count(graph, "one_hot") == 1
    assert count(graph, "and") == (labelling == "one hot")


@every_labelling
@every_writing
def test_cross_entropy_of_labels(writing, labelling, real, draw):
    loss = LABELLED[labelling](writing, "mean of sums")
    z = draw(*SHAPE)
    expected = (special.softmax(z, axis=-1) - np.eye(CLASSES)[LABELS]) / ROWS
    value = -np.mean(special.log_softmax(z, axis=-1)[np.arange(ROWS), LABELS])
    check(loss, (z, LABELS), expected.astype(real.dtype), real.tolerance, value=value)


@pytest.mark.parametrize("writing", ["log_softmax", "naive"])
def test_one_hot_rows_of_labels_out_of_range_have_no_gradient(writing, float64, draw):
    loss, z = one_hot_loss(writing, "sum"), draw(*SHAPE)
    gradient = sg.grad(loss)(z, STRAY_LABELS)
    close(gradient, jax.jit(jax.grad(loss))(z, STRAY_LABELS), float64.tolerance)
    assert np.all(np.asarray(gradient)[[1, 2, 3]] == 0)
    assert np.all(np.asarray(gradient)[0] != 0)


@pytest.mark.parametrize("writing", ["log_softmax", "naive"])
def test_picked_labels_that_are_ignored_have_no_gradient(writing, float64, draw):
    """Picking by a label out of range gives nan; leaving those rows out is what people do."""
    z = draw(*SHAPE)

    def loss(z, labels):
        known = (labels >= 0) & (labels < CLASSES)
        picked = jnp.take_along_axis(LOG_SOFTMAXES[writing](z), labels[:, None], axis=-1)[:, 0]
        return -jnp.sum(jnp.where(known, picked, 0.0))

    value, gradient = sg.value_and_grad(loss)(z, STRAY_LABELS)
    close((value, gradient), jax.jit(jax.value_and_grad(loss))(z, STRAY_LABELS), float64.tolerance)
    assert np.isfinite(value)
    assert np.all(np.asarray(gradient)[[1, 2, 3]] == 0)
    assert np.all(np.asarray(gradient)[0] != 0)


def test_cross_entropy_as_logsumexp(real, draw):
    """L = log Σ e^{z_k} − Σ y_k z_k, ∂L/∂z = p − y for one example."""

    def loss(z, y):
        return jnp.log(jnp.sum(jnp.exp(z))) - jnp.sum(y * z)

    z, y = draw(CLASSES), np.eye(CLASSES, dtype=real.dtype)[2]
    value = special.logsumexp(z) - z[2]
    check(loss, (z, y), special.softmax(z) - y, real.tolerance, value=value)
    graph = sg.grad(loss).graph(z, y)
    assert op_names(graph) == {"softmax", "sub"}
    assert len(operations(graph)) == 2
    far = 1000 * z
    close(sg.grad(loss)(far, y), special.softmax(far) - y, real.tolerance)


# Bernoulli and Gaussian outputs

SIGMOIDS = {
    "sigmoid": jax.nn.sigmoid,
    "quotient": lambda z: 1 / (1 + jnp.exp(-z)),
    "ratio": lambda z: jnp.exp(z) / (1 + jnp.exp(z)),
}

CONFIDENT = {
    "log of sigmoid": lambda z, y: -jnp.log(jax.nn.sigmoid((2 * y - 1) * z)),
    "log_sigmoid": lambda z, y: -jax.nn.log_sigmoid((2 * y - 1) * z),
    "softplus": lambda z, y: jax.nn.softplus((1 - 2 * y) * z),
    "log1p": lambda z, y: jnp.log1p(jnp.exp((1 - 2 * y) * z)),
    "log": lambda z, y: jnp.log(1 + jnp.exp((1 - 2 * y) * z)),
}


def likelihood(sigmoid):
    return lambda z, y: -(y * jnp.log(sigmoid(z)) + (1 - y) * jnp.log(1 - sigmoid(z)))


LIKELIHOODS = {name: likelihood(sigmoid) for name, sigmoid in SIGMOIDS.items()} | {
    "log_sigmoid": lambda z, y: -(y * jax.nn.log_sigmoid(z) + (1 - y) * jax.nn.log_sigmoid(-z)),
    "softplus": lambda z, y: jax.nn.softplus(z) - y * z,
}
UNWANTED = {"log", "log1p", "exp", "expm1", "softplus", "logaddexp", "div", "sum"}


@pytest.mark.parametrize("writing", CONFIDENT)
def test_bernoulli_output(writing, real, draw):
    """J = −log σ((2y − 1)z) = softplus((1 − 2y)z); a confidently wrong z has the slope ±1."""

    def loss(z, y):
        return jnp.sum(CONFIDENT[writing](z, y))

    z, y = draw(4), real.array([0, 1, 1, 0])
    value = np.sum(np.logaddexp(0, (1 - 2 * y) * z))
    check(loss, (z, y), special.expit(z) - y, real.tolerance, value=value)
    far = real.array([1000, -1000, 1000, -1000])
    close(sg.value_and_grad(loss)(far, y), (2000, real.array([1, -1, 0, 0])), real.tolerance)
    graph = sg.grad(loss).graph(z, y)
    assert "logistic" in op_names(graph)
    assert not op_names(graph) & UNWANTED


@pytest.mark.parametrize("writing", LIKELIHOODS)
def test_bernoulli_likelihood(writing, real, draw):
    """∂/∂z [y log g(z) + (1 − y) log(1 − g(z))] = y − g(z), for uncertain labels too."""

    def loss(z, y):
        return jnp.sum(LIKELIHOODS[writing](z, y))

    z, y = draw(4), special.expit(draw(4))
    value = np.sum(np.logaddexp(0, z) - y * z)
    check(loss, (z, y), special.expit(z) - y, real.tolerance, value=value)
    far, sure = real.array([1000, -1000, 1000, -1000]), real.array([0, 1, 1, 0])
    close(sg.value_and_grad(loss)(far, sure), (2000, real.array([1, -1, 0, 0])), real.tolerance)
    graph = sg.grad(loss).graph(z, y)
    assert op_names(graph) == {"logistic", "sub"}
    assert len(operations(graph)) == 2


def test_squared_error_of_a_sigmoid_saturates(real):
    """What the Bernoulli likelihood avoids: 2(g − y) g (1 − g) vanishes where z is wrong."""

    def loss(z, y):
        return jnp.sum((jax.nn.sigmoid(z) - y) ** 2)

    z, y = real.array([-30, -20, -10]), real.array([1, 1, 1])
    g = special.expit(z)
    gradient = sg.grad(loss)(z, y)
    for found, expected in zip(gradient, 2 * (g - y) * g * (1 - g), strict=True):
        close(found, expected, real.tolerance)
    assert np.all(np.abs(gradient) < 1e-3)


def test_gaussian_with_learned_precision(real, draw):
    """J = −½ log β + ½ β (x − μ)²: ∂J/∂μ = β(μ − x), ∂J/∂β = ½ (x − μ)² − 1/(2β)."""

    def loss(mu, beta, x):
        return jnp.sum(-0.5 * jnp.log(beta) + 0.5 * beta * (x - mu) ** 2)

    mu, beta, x = args = draw(5), np.exp(draw(5)), draw(5)
    expected = beta * (mu - x), 0.5 * (x - mu) ** 2 - 0.5 / beta
    value = np.sum(-0.5 * np.log(beta) + 0.5 * beta * (x - mu) ** 2)
    check(loss, args, expected, real.tolerance, value=value, argnums=(0, 1))
    graph = sg.grad(loss, (0, 1)).graph(*args)
    assert not op_names(graph) & {"log", "sum", "exp", "select"}
    assert count(graph, "div") <= 1


def test_squared_error_is_the_unit_gaussian_likelihood(real, draw):
    """−log N(x; μ, 1) = ½(x − μ)² + ½ log 2π: the same gradient, node for node."""

    def squared_error(mu, x):
        return 0.5 * jnp.sum((x - mu) ** 2)

    def negative_log_likelihood(mu, x):
        return -jnp.sum(jax.scipy.stats.norm.logpdf(x, loc=mu))

    mu, x = draw(5), draw(5)
    value = 0.5 * np.sum((x - mu) ** 2)
    check(squared_error, (mu, x), mu - x, real.tolerance, value=value)
    value = -np.sum(stats.norm.logpdf(x, loc=mu))
    check(negative_log_likelihood, (mu, x), mu - x, real.tolerance, value=value)
    graph = sg.grad(squared_error).graph(mu, x)
    assert op_names(graph) == {"sub"}
    assert sg.grad(negative_log_likelihood).graph(mu, x).outputs == graph.outputs
    assert used_inputs(graph) == [0, 1]
