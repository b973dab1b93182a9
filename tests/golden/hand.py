"""The same derivatives by hand, as people write them: arguments and results in the same order."""

import jax
import jax.numpy as jnp
from jax import lax


def mlp(W1, W2, b1, b2, x, labels):
    h = jnp.tanh(x @ W1 + b1)
    z = h @ W2 + b2
    p = jax.nn.one_hot(labels, 10)
    loss = -jnp.sum(p * jax.nn.log_softmax(z)) / 16

    d_z = (jax.nn.softmax(z) - p) / 16
    d_W2 = h.T @ d_z
    d_b2 = jnp.sum(d_z, axis=0)
    d_h = d_z @ W2.T
    d_a = d_h * (1 - h**2)
    d_W1 = x.T @ d_a
    d_b1 = jnp.sum(d_a, axis=0)
    return loss, d_W1, d_W2, d_b1, d_b2


LAYOUT = ("NHWC", "HWIO", "NHWC")


def convolve(images, kernel):
    return lax.conv_general_dilated(images, kernel, (1, 1), "VALID", dimension_numbers=LAYOUT)


def max_pool(images):
    return lax.reduce_window(images, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def spread(images, pooled, d_pooled):
    """The cotangent of what was pooled, where the maximum was; ties have measure zero."""
    largest = jnp.repeat(jnp.repeat(pooled, 2, axis=1), 2, axis=2)
    d_largest = jnp.repeat(jnp.repeat(d_pooled, 2, axis=1), 2, axis=2)
    rows, columns = largest.shape[1:3]
    d_images = jnp.where(images[:, :rows, :columns] == largest, d_largest, 0)
    rest = (0, images.shape[1] - rows), (0, images.shape[2] - columns)
    return jnp.pad(d_images, ((0, 0), *rest, (0, 0)))


def lenet(K1, K2, W3, W4, b1, b2, b3, b4, images, labels):
    c1 = convolve(images, K1) + b1
    a1 = jax.nn.relu(c1)
    m1 = max_pool(a1)
    c2 = convolve(m1, K2) + b2
    a2 = jax.nn.relu(c2)
    m2 = max_pool(a2)
    h2 = m2.reshape(4, 576)
    c3 = h2 @ W3 + b3
    h3 = jax.nn.relu(c3)
    z = h3 @ W4 + b4
    p = jax.nn.one_hot(labels, 10)
    loss = -jnp.sum(p * jax.nn.log_softmax(z)) / 4

    d_z = (jax.nn.softmax(z) - p) / 4
    d_W4 = h3.T @ d_z
    d_b4 = jnp.sum(d_z, axis=0)
    d_h3 = d_z @ W4.T
    d_c3 = jnp.where(c3 > 0, d_h3, 0)
    d_W3 = h2.T @ d_c3
    d_b3 = jnp.sum(d_c3, axis=0)
    d_h2 = d_c3 @ W3.T
    d_m2 = d_h2.reshape(m2.shape)
    d_a2 = spread(a2, m2, d_m2)
    d_c2 = jnp.where(c2 > 0, d_a2, 0)
    d_b2 = jnp.sum(d_c2, axis=(0, 1, 2))
    d_K2 = lax.conv_general_dilated(
        m1, d_c2, (1, 1), "VALID", dimension_numbers=("CHWN", "IHWO", "HWNC")
    )
    d_m1 = lax.conv_general_dilated(
        d_c2,
        jnp.flip(K2, (0, 1)),
        (1, 1),
        ((2, 2), (2, 2)),
        dimension_numbers=("NHWC", "HWOI", "NHWC"),
    )
    d_a1 = spread(a1, m1, d_m1)
    d_c1 = jnp.where(c1 > 0, d_a1, 0)
    d_b1 = jnp.sum(d_c1, axis=(0, 1, 2))
    d_K1 = lax.conv_general_dilated(
        images, d_c1, (1, 1), "VALID", dimension_numbers=("CHWN", "IHWO", "HWNC")
    )
    return loss, d_K1, d_K2, d_W3, d_W4, d_b1, d_b2, d_b3, d_b4


def softmax_regression(W, b, x, p):
    z = x @ W + b
    loss = -jnp.sum(p * jax.nn.log_softmax(z)) / 8

    total = jnp.sum(p, axis=1, keepdims=True)
    d_z = (total * jax.nn.softmax(z) - p) / 8
    d_W = x.T @ d_z
    d_b = jnp.sum(d_z, axis=0)
    return loss, d_W, d_b


def rbf_network(centres, widths, weights, x, y):
    difference = x[:, None] - centres
    distance = jnp.sum(difference**2, axis=-1)
    phi = jnp.exp(-distance / (2 * widths**2))
    error = phi @ weights - y
    loss = jnp.sum(error**2) / 18

    d_out = error / 9
    d_weights = phi.T @ d_out
    d_phi = jnp.outer(d_out, weights)
    d_exponent = d_phi * phi
    d_centres = jnp.einsum("nk,nkd->kd", d_exponent, difference) / widths[:, None] ** 2
    d_widths = jnp.sum(d_exponent * distance, axis=0) / widths**3
    return loss, d_centres, d_widths, d_weights


def rnn(U, V, W, b, start, inputs, targets):
    def step(h, x):
        new = jnp.tanh(W @ h + U @ x + b)
        return new, (h, new)

    _, (before, states) = lax.scan(step, start, inputs)
    error = states @ V - targets
    loss = jnp.sum(error**2) / 2

    def back(carry, kept):
        d_h, d_U, d_W, d_b = carry
        x, h, new, d_new = kept
        d_a = (d_h + d_new) * (1 - new**2)
        d_U = d_U + jnp.outer(d_a, x)
        d_W = d_W + jnp.outer(d_a, h)
        d_b = d_b + d_a
        return (W.T @ d_a, d_U, d_W, d_b), None

    d_states = error @ V.T
    zeros = jnp.zeros_like(start), jnp.zeros_like(U), jnp.zeros_like(W), jnp.zeros_like(b)
    kept = inputs, before, states, d_states
    (_, d_U, d_W, d_b), _ = lax.scan(back, zeros, kept, reverse=True)
    d_V = states.T @ error
    return loss, d_U, d_V, d_W, d_b


def attention(Wk, Wo, Wq, Wv, x, target):
    q = x @ Wq
    k = x @ Wk
    v = x @ Wv
    scores = q @ k.T / jnp.sqrt(8)
    weights = jax.nn.softmax(scores)
    mixed = weights @ v
    error = mixed @ Wo + x - target
    loss = jnp.sum(error**2) / 48

    d_out = error / 24
    d_Wo = mixed.T @ d_out
    d_mixed = d_out @ Wo.T
    d_v = weights.T @ d_mixed
    d_Wv = x.T @ d_v
    d_weights = d_mixed @ v.T
    mean = jnp.sum(weights * d_weights, axis=-1, keepdims=True)
    d_scores = weights * (d_weights - mean) / jnp.sqrt(8)
    d_q = d_scores @ k
    d_Wq = x.T @ d_q
    d_k = d_scores.T @ q
    d_Wk = x.T @ d_k
    return loss, d_Wk, d_Wo, d_Wq, d_Wv


def layer_norm(scale, bias, x, target):
    mean = jnp.mean(x, axis=-1, keepdims=True)
    centred = x - mean
    deviation = jnp.sqrt(jnp.mean(centred**2, axis=-1, keepdims=True) + 1e-5)
    normal = centred / deviation
    error = scale * normal + bias - target
    loss = jnp.sum(error**2) / 2

    d_scale = jnp.sum(error * normal, axis=0)
    d_bias = jnp.sum(error, axis=0)
    d_normal = error * scale
    slope = jnp.mean(d_normal * normal, axis=-1, keepdims=True)
    d_mean = jnp.mean(d_normal, axis=-1, keepdims=True)
    d_x = (d_normal - d_mean - normal * slope) / deviation
    return loss, d_scale, d_bias, d_x


def gaussian_nll(mean, covariance, x):
    residual = x - mean
    factors = jax.scipy.linalg.lu_factor(covariance)
    solved = jax.scipy.linalg.lu_solve(factors, residual.T)
    log_det = jnp.sum(jnp.log(jnp.abs(jnp.diagonal(factors[0]))))
    squared = jnp.sum(residual.T * solved)
    loss = (squared + 9 * log_det) / 2

    adjoint = jax.scipy.linalg.lu_solve(factors, residual.T, trans=1)
    d_mean = -jnp.sum(solved + adjoint, axis=1) / 2
    precision = jax.scipy.linalg.lu_solve(factors, jnp.eye(3))
    d_covariance = (9 * precision.T - adjoint @ solved.T) / 2
    return loss, d_mean, d_covariance


def k_means(centres, points):
    difference = points[:, None] - centres
    distance = jnp.sum(difference**2, axis=-1)
    nearest = jnp.min(distance, axis=1)
    loss = jnp.sum(nearest)

    member = distance == nearest[:, None]
    d_centres = -2 * jnp.sum(member[:, :, None] * difference, axis=0)
    return loss, d_centres


def matrix_factorisation(U, V, ratings, seen):
    error = seen * (U @ V.T - ratings)
    penalty = jnp.sum(U**2) + jnp.sum(V**2)
    loss = jnp.sum(error**2) / 2 + 0.01 * penalty

    d_product = seen * error
    d_U = d_product @ V + 0.02 * U
    d_V = d_product.T @ U + 0.02 * V
    return loss, d_U, d_V


def logistic(w, x, y):
    q = jax.nn.sigmoid(x @ w)
    return x.T @ ((q * (1 - q))[:, None] * x)


def squared_error(v_W1, v_W2, v_b1, W1, W2, b1, x, y):
    h = jnp.tanh(x @ W1 + b1)
    error = h @ W2 - y
    slope = 1 - h**2
    d_h = error @ W2.T

    v_a = x @ v_W1 + v_b1
    v_h = slope * v_a
    v_error = v_h @ W2 + h @ v_W2
    v_d_h = v_error @ W2.T + error @ v_W2.T
    v_d_a = v_d_h * slope - 2 * d_h * h * v_h
    Hv_W1 = x.T @ v_d_a
    Hv_W2 = v_h.T @ error + h.T @ v_error
    Hv_b1 = jnp.sum(v_d_a, axis=0)
    return Hv_W1, Hv_W2, Hv_b1
