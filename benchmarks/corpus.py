"""Losses and densities as people first write them: none of them may become slower."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.special import gammaln, logsumexp

from benchmarks.harness import Case, value_and_grad

ABOUT = "Value and gradient of many functions; JAX: `jax.jit(jax.value_and_grad(fun))`."

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Positive:
    """Numbers between 1/2 and 3/2."""

    shape: Shape


@dataclass(frozen=True, slots=True)
class Labels:
    """Whole numbers below a count."""

    shape: Shape
    below: int


@dataclass(frozen=True, slots=True)
class Problem:
    """A function and how its arguments are drawn: the shape of normal numbers, or as it says.

    The gradient is taken in the first argument.
    """

    fun: Callable[..., jax.Array]
    shapes: tuple[Shape | Positive | Labels | dict[str, Shape], ...]

    def args(self) -> tuple[Any, ...]:
        key = jax.random.key(zlib.crc32(self.fun.__name__.encode()))
        return tuple(map(_drawn, jax.random.split(key, len(self.shapes)), self.shapes))


def _drawn(key: jax.Array, shape: Any) -> Any:
    match shape:
        case Positive():
            return jax.random.uniform(key, shape.shape, minval=0.5, maxval=1.5)
        case Labels():
            return jax.random.randint(key, shape.shape, 0, shape.below)
        case dict():
            keys = jax.random.split(key, len(shape))
            return {n: _drawn(k, s) for k, (n, s) in zip(keys, shape.items(), strict=True)}
    return 0.5 * jax.random.normal(key, shape)


# Test functions of optimisation


def rosenbrock(x):
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def ackley(x):
    spread = jnp.exp(-0.2 * jnp.sqrt(jnp.mean(x**2)))
    return -20 * spread - jnp.exp(jnp.mean(jnp.cos(2 * jnp.pi * x))) + 20 + jnp.e


def rastrigin(x):
    return 10 * x.size + jnp.sum(x**2 - 10 * jnp.cos(2 * jnp.pi * x))


def griewank(x):
    return 1 + jnp.sum(x**2) / 4000 - jnp.prod(jnp.cos(x / jnp.sqrt(jnp.arange(1, x.size + 1))))


def levy(x):
    w = 1 + (x - 1) / 4
    middle = (w[:-1] - 1) ** 2 * (1 + 10 * jnp.sin(jnp.pi * w[:-1] + 1) ** 2)
    last = (w[-1] - 1) ** 2 * (1 + jnp.sin(2 * jnp.pi * w[-1]) ** 2)
    return jnp.sin(jnp.pi * w[0]) ** 2 + jnp.sum(middle) + last


def styblinski_tang(x):
    return jnp.sum(x**4 - 16 * x**2 + 5 * x) / 2


def powell(x):
    a, b, c, d = x.reshape(4, -1)
    return jnp.sum((a + 10 * b) ** 2 + 5 * (c - d) ** 2 + (b - 2 * c) ** 4 + 10 * (a - d) ** 4)


def sine_200_times(x):
    y = x
    for _ in range(200):
        y = jnp.sin(y)
    return jnp.sum(y)


# Regression and classification


def least_squares(w, X, y):
    return jnp.mean((X @ w - y) ** 2)


def ridge(w, X, y):
    return jnp.sum((X @ w - y) ** 2) + 0.1 * jnp.sum(w**2)


def lasso(w, X, y):
    return jnp.mean((X @ w - y) ** 2) + 0.1 * jnp.sum(jnp.abs(w))


def huber(w, X, y):
    r = jnp.abs(X @ w - y)
    return jnp.mean(jnp.where(r < 1, r**2 / 2, r - 0.5))


def quantile_regression(w, X, y):
    r = y - X @ w
    return jnp.mean(jnp.maximum(0.9 * r, -0.1 * r))


def hinge(w, X, y):
    return jnp.mean(jnp.maximum(0, 1 - (2 * y - 1) * (X @ w))) + 0.01 * jnp.sum(w**2)


def logistic_naive(w, X, y):
    p = 1 / (1 + jnp.exp(-(X @ w)))
    return -jnp.mean(y * jnp.log(p) + (1 - y) * jnp.log(1 - p))


def logistic_stable(w, X, y):
    z = X @ w
    return jnp.mean(jnp.logaddexp(0, z) - y * z)


def softmax_regression(w, X, labels):
    z = X @ w
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(z), labels[:, None], axis=1))


def softmax_one_hot(w, X, labels):
    p = jax.nn.softmax(X @ w)
    return -jnp.mean(jnp.sum(jax.nn.one_hot(labels, p.shape[1]) * jnp.log(p), axis=1))


def poisson_regression(w, X, counts):
    rate = jnp.exp(X @ w)
    return jnp.mean(rate - counts * jnp.log(rate) + gammaln(counts + 1.0))


def negative_binomial(w, X, counts):
    mean, shape = jnp.exp(X @ w), 2.5
    odds = counts * jnp.log(mean / (mean + shape)) + shape * jnp.log(shape / (mean + shape))
    return -jnp.mean(gammaln(counts + shape) - gammaln(shape) - gammaln(counts + 1.0) + odds)


def focal(w, X, y):
    p = jax.nn.sigmoid(X @ w)
    return -jnp.mean(y * (1 - p) ** 2 * jnp.log(p) + (1 - y) * p**2 * jnp.log(1 - p))


def dice(w, X, y):
    p = jax.nn.sigmoid(X @ w)
    return 1 - 2 * jnp.sum(p * y) / (jnp.sum(p) + jnp.sum(y))


def kernel_ridge(alpha, X, y):
    d = jnp.sum((X[:, None] - X[None]) ** 2, axis=-1)
    K = jnp.exp(-d / 2)
    return jnp.sum((K @ alpha - y) ** 2) + 0.1 * alpha @ K @ alpha


# Embeddings and matrices


def cosine_similarity(a, b):
    dots = jnp.sum(a * b, axis=-1)
    norms = jnp.linalg.norm(a, axis=-1) * jnp.linalg.norm(b, axis=-1)
    return jnp.mean(1 - dots / norms)


def info_nce(a, b):
    a = a / jnp.linalg.norm(a, axis=-1, keepdims=True)
    b = b / jnp.linalg.norm(b, axis=-1, keepdims=True)
    return -jnp.mean(jnp.diag(jax.nn.log_softmax(a @ b.T / 0.1)))


def triplet(a, b, c):
    near, far = (jnp.sqrt(jnp.sum((a - other) ** 2, axis=-1) + 1e-6) for other in (b, c))
    return jnp.mean(jnp.maximum(near - far + 0.5, 0))


def matrix_factorisation(U, V, R):
    return jnp.mean((U @ V.T - R) ** 2) + 0.01 * jnp.mean(U**2)


def skip_gram(E, centre, context):
    z = E[centre] @ E.T
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(z), context[:, None], axis=1))


def principal_components(W, X):
    return jnp.mean((X - X @ W @ W.T) ** 2)


def k_means(centres, X):
    return jnp.mean(jnp.min(jnp.sum((X[:, None] - centres[None]) ** 2, axis=-1), axis=1))


def stochastic_neighbours(Y, P):
    d = jnp.sum((Y[:, None] - Y[None]) ** 2, axis=-1)
    q = (1 - jnp.eye(len(Y))) / (1 + d)
    q = q / jnp.sum(q)
    return -jnp.sum(P * jnp.log(q + 1e-9))


# Densities


def eight_schools(p, y, sigma):
    theta = p["mu"] + jnp.exp(p["log_tau"]) * p["z"]
    prior = jnp.sum(p["z"] ** 2) / 2 + (p["mu"] / 5) ** 2 / 2
    prior = prior + jnp.log1p((jnp.exp(p["log_tau"]) / 5) ** 2) - p["log_tau"][()]
    return jnp.sum(((y - theta) / sigma) ** 2) / 2 + prior


def horseshoe(p, X, y):
    beta = p["z"] * jnp.exp(p["log_lambda"]) * jnp.exp(p["log_tau"])
    cauchy = jnp.sum(jnp.log1p(jnp.exp(2 * p["log_lambda"])) - p["log_lambda"])
    return jnp.sum((y - X @ beta) ** 2) / 2 + jnp.sum(p["z"] ** 2) / 2 + cauchy


def stochastic_volatility(p, returns):
    step = p["h"][1:] - jax.nn.sigmoid(p["phi"]) * p["h"][:-1]
    return jnp.sum(step**2) / 2 + jnp.sum(p["h"] + returns**2 * jnp.exp(-p["h"])) / 2


def item_response(p, students, items, right):
    z = jnp.exp(p["log_a"])[items] * (p["theta"][students] - p["b"][items])
    return jnp.sum(jax.nn.softplus(z) - right * z) + jnp.sum(p["theta"] ** 2) / 2


def student_t(p, X, y):
    nu, scale = jnp.exp(p["log_nu"]), jnp.exp(p["log_scale"])
    r = (y - X @ p["w"]) / scale
    norm = gammaln((nu + 1) / 2) - gammaln(nu / 2) - jnp.log(nu * jnp.pi) / 2 - jnp.log(scale)
    return -jnp.sum(norm - (nu + 1) / 2 * jnp.log1p(r**2 / nu))


def gamma_likelihood(p, y):
    a, b = jnp.exp(p["log_a"]), jnp.exp(p["log_b"])
    return -jnp.sum(a * jnp.log(b) - gammaln(a) + (a - 1) * jnp.log(y) - b * y)


def normal_mixture(p, x):
    log_weights = jax.nn.log_softmax(p["logits"])
    z = (x[:, None] - p["mean"]) / jnp.exp(p["log_scale"])
    each = log_weights - z**2 / 2 - p["log_scale"] - jnp.log(2 * jnp.pi) / 2
    return -jnp.sum(logsumexp(each, axis=1))


def multivariate_mixture(p, X):
    """The objective of ADBench: triangular factors of inverse covariances."""
    d = X.shape[1]
    rows, columns = jnp.tril_indices(d, -1)
    L = jnp.zeros((len(p["q"]), d, d)).at[:, rows, columns].set(p["lower"])
    L = L + jnp.exp(p["q"])[..., None] * jnp.eye(d)
    z = jnp.einsum("kij,nkj->nki", L, X[:, None] - p["mean"])
    inner = p["alpha"] + jnp.sum(p["q"], axis=1) - jnp.sum(z**2, axis=-1) / 2
    return -jnp.sum(logsumexp(inner, axis=1)) + len(X) * logsumexp(p["alpha"])


def gaussian_evidence(p, X, y):
    d = jnp.sum((X[:, None] - X[None]) ** 2, axis=-1)
    K = jnp.exp(2 * p["log_s"] - d / 2 * jnp.exp(-2 * p["log_l"])) + 0.1 * jnp.eye(len(X))
    L = jnp.linalg.cholesky(K)
    alpha = jax.scipy.linalg.cho_solve((L, True), y)
    return y @ alpha / 2 + jnp.sum(jnp.log(jnp.diag(L)))


def variational_bound(p, x, noise):
    h = jnp.tanh(x @ p["W1"])
    mean, log_var = h @ p["Wm"], h @ p["Wv"]
    z = mean + jnp.exp(log_var / 2) * noise
    p_x = jax.nn.sigmoid(jnp.tanh(z @ p["W2"]) @ p["W3"])
    target = jax.nn.sigmoid(x)
    fit = jnp.sum(target * jnp.log(p_x) + (1 - target) * jnp.log(1 - p_x))
    return -fit - jnp.sum(1 + log_var - mean**2 - jnp.exp(log_var)) / 2


# Loops and recurrences


def long_short_term(p, x):
    def step(state, x_t):
        h, c = state
        i, f, o, g = jnp.split(x_t @ p["W"] + h @ p["U"], 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    zero = jnp.zeros((x.shape[1], p["U"].shape[0]))
    return jnp.mean(lax.scan(step, (zero, zero), x)[1] ** 2)


def hidden_markov(p, observed):
    emit, move = jax.nn.log_softmax(p["emit"]), jax.nn.log_softmax(p["move"])

    def step(a, o):
        return logsumexp(a[:, None] + move, axis=0) + emit[:, o], None

    return -logsumexp(lax.scan(step, emit[:, observed[0]], observed[1:])[0])


def kalman_filter(p, y):
    A, q, r = p["A"], jnp.exp(p["log_q"]), jnp.exp(p["log_r"])

    def step(state, y_t):
        m, P = state
        m, P = A @ m, A @ P @ A.T + q * jnp.eye(len(A))
        s = P[0, 0] + r
        k, error = P[:, 0] / s, y_t - m[0]
        return (m + k * error, P - s * jnp.outer(k, k)), jnp.log(s) + error**2 / s

    n = len(A)
    return jnp.sum(lax.scan(step, (jnp.zeros(n), jnp.eye(n)), y)[1]) / 2


def autoregression(w, y):
    windows = jnp.stack([y[i : len(y) - len(w) + i] for i in range(len(w))], axis=1)
    return jnp.mean((y[len(w) :] - windows @ w) ** 2)


def runge_kutta(theta, y):
    def slope(u):
        return jnp.stack([u[1], -theta[0] * jnp.sin(u[0]) - theta[1] * u[1]])

    def step(u, _):
        a = slope(u)
        b = slope(u + 0.05 * a)
        c = slope(u + 0.05 * b)
        d = slope(u + 0.1 * c)
        u = u + 0.1 / 6 * (a + 2 * b + 2 * c + d)
        return u, u[0]

    found = lax.scan(step, jnp.array([1.0, 0.0]), None, length=len(y))[1]
    return jnp.mean((found - y) ** 2)


def heat_equation(u, conductivity, target):
    def step(u, _):
        flow = conductivity * (u[1:] - u[:-1])
        return u.at[1:-1].add(0.1 * (flow[1:] - flow[:-1])), None

    return jnp.mean((lax.scan(step, u, None, length=50)[0] - target) ** 2)


def optimal_transport(x, y):
    cost = jnp.sum((x[:, None] - y[None]) ** 2, axis=-1)

    def step(state, _):
        _, g = state
        f = -0.1 * logsumexp((g[None] - cost) / 0.1, axis=1)
        return (f, -0.1 * logsumexp((f[:, None] - cost) / 0.1, axis=0)), None

    (f, g), _ = lax.scan(step, (jnp.zeros(len(x)), jnp.zeros(len(y))), None, length=20)
    return jnp.sum(jnp.exp((f[:, None] + g[None] - cost) / 0.1) * cost)


def long_sum(x):
    return jnp.sum(jnp.cumsum(x) ** 2) / x.size + jnp.sum(jnp.sort(x)[:10])


# Geometry and physics


def lennard_jones(x):
    d2 = jnp.sum((x[:, None] - x[None]) ** 2, axis=-1) + 10 * jnp.eye(len(x))
    r6 = 1 / (d2 + 0.5) ** 3
    return jnp.sum(jnp.triu(r6**2 - r6, 1))


def gravity(x, masses):
    d = x[:, None] - x[None]
    r = jnp.sqrt(jnp.sum(d**2, axis=-1) + 1e-2)
    return -jnp.sum(masses[:, None] * masses[None] / r) / 2


def minimal_surface(z):
    dx, dy = jnp.diff(z, axis=0)[:, :-1], jnp.diff(z, axis=1)[:-1]
    return jnp.sum(jnp.sqrt(1 + dx**2 + dy**2))


def total_variation(z, image):
    rough = jnp.sum(jnp.abs(jnp.diff(z, axis=0))) + jnp.sum(jnp.abs(jnp.diff(z, axis=1)))
    return jnp.sum((z - image) ** 2) / 2 + 0.1 * rough


def bundle_adjustment(p, points, seen):
    """Reprojection by an angle-axis rotation, as in ADBench."""
    angle = jnp.sqrt(jnp.sum(p["axis"] ** 2))
    axis = p["axis"] / angle
    turned = points * jnp.cos(angle) + jnp.cross(axis, points) * jnp.sin(angle)
    turned = turned + axis * (points @ axis)[:, None] * (1 - jnp.cos(angle))
    moved = turned + p["shift"] + jnp.array([0.0, 0.0, 5.0])
    flat = moved[:, :2] / moved[:, 2:]
    r2 = jnp.sum(flat**2, axis=1, keepdims=True)
    return jnp.sum((p["focal"] * flat * (1 + p["k1"] * r2 + p["k2"] * r2**2) - seen) ** 2)


def jointed_arm(angles, target):
    """Rotations one after the other, as in the hand-tracking objective of ADBench."""
    place, turn = jnp.zeros(3), jnp.eye(3)
    for a in angles:
        c, s = jnp.cos(a), jnp.sin(a)
        about_z = jnp.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]) * c[0]
        about_z = about_z + s[0] * jnp.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 0]])
        turn = turn @ about_z
        place = place + turn @ jnp.array([1.0, 0.2, 0.1]) * c[1]
    return jnp.sum((place - target) ** 2)


def spectrum(x, target):
    power = jnp.abs(jnp.fft.rfft(x)) ** 2
    return jnp.mean((jnp.log(power + 1e-3) - target) ** 2)


def quaternion_alignment(q, a, b):
    q = q / jnp.sqrt(jnp.sum(q**2))
    w, v = q[0], q[1:]
    t = 2 * jnp.cross(v, a)
    return jnp.sum((a + w * t + jnp.cross(v, t) - b) ** 2)


# Networks


def tanh_network(p, x, y):
    h = jnp.tanh(x @ p["W1"] + p["b1"])
    return jnp.mean((jnp.tanh(h @ p["W2"] + p["b2"]) @ p["W3"] - y) ** 2)


def relu_classifier(p, x, labels):
    z = jax.nn.relu(jax.nn.relu(x @ p["W1"]) @ p["W2"]) @ p["W3"]
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(z), labels[:, None], axis=1))


def gated_network(p, x, y):
    h = jax.nn.silu(x @ p["W1"]) * (x @ p["V"])
    h = h / jnp.sqrt(jnp.mean(h**2, axis=-1, keepdims=True) + 1e-6)
    return jnp.mean((h @ p["W2"] - y) ** 2)


def positional_encoding(p, x, y):
    angles = x[..., None] * 2.0 ** jnp.arange(6)
    features = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], -1).reshape(len(x), -1)
    return jnp.mean((jax.nn.gelu(features @ p["W1"]) @ p["W2"] - y) ** 2)


def graph_convolution(p, x, adjacency):
    a = jax.nn.sigmoid(adjacency)
    a = a / jnp.sum(a, axis=1, keepdims=True)
    return jnp.mean(jax.nn.log_softmax(a @ jax.nn.relu(a @ x @ p["W1"]) @ p["W2"]) ** 2)


def convolution(p, image):
    h = jax.nn.relu(lax.conv(image, p["K1"], (1, 1), "SAME"))
    h = lax.conv(h, p["K2"], (2, 2), "SAME")
    return jnp.mean(jnp.max(h, axis=(2, 3)) ** 2)


X, W, Y = (1000, 50), (50,), (1000,)
BINARY, COUNTS, TEN = Labels(Y, 2), Labels(Y, 9), Labels(Y, 10)

PROBLEMS = [
    *(
        Problem(fun, ((2000,),))
        for fun in (rosenbrock, ackley, rastrigin, levy, styblinski_tang, powell, sine_200_times)
    ),
    Problem(griewank, ((20,),)),
    *(Problem(fun, (W, X, Y)) for fun in (least_squares, ridge, lasso, huber, quantile_regression)),
    *(
        Problem(fun, (W, X, BINARY))
        for fun in (hinge, logistic_naive, logistic_stable, focal, dice)
    ),
    *(Problem(fun, ((50, 10), X, TEN)) for fun in (softmax_regression, softmax_one_hot)),
    *(Problem(fun, (W, X, COUNTS)) for fun in (poisson_regression, negative_binomial)),
    Problem(kernel_ridge, ((200,), (200, 5), (200,))),
    Problem(cosine_similarity, ((500, 64), (500, 64))),
    Problem(info_nce, ((128, 64), (128, 64))),
    Problem(triplet, ((300, 32), (300, 32), (300, 32))),
    Problem(matrix_factorisation, ((200, 10), (150, 10), (200, 150))),
    Problem(skip_gram, ((500, 32), Labels((128,), 500), Labels((128,), 500))),
    Problem(principal_components, ((50, 5), X)),
    Problem(k_means, ((10, 8), (1000, 8))),
    Problem(stochastic_neighbours, ((150, 2), Positive((150, 150)))),
    Problem(eight_schools, ({"mu": (), "log_tau": (), "z": (8,)}, (8,), Positive((8,)))),
    Problem(horseshoe, ({"z": W, "log_lambda": W, "log_tau": ()}, X, Y)),
    Problem(stochastic_volatility, ({"h": (1000,), "phi": ()}, (1000,))),
    Problem(
        item_response,
        (
            {"theta": (100,), "b": (30,), "log_a": (30,)},
            Labels((2000,), 100),
            Labels((2000,), 30),
            Labels((2000,), 2),
        ),
    ),
    Problem(student_t, ({"w": W, "log_nu": (), "log_scale": ()}, X, Y)),
    Problem(gamma_likelihood, ({"log_a": (), "log_b": ()}, Positive((1000,)))),
    Problem(normal_mixture, ({"logits": (5,), "mean": (5,), "log_scale": (5,)}, (1000,))),
    Problem(
        multivariate_mixture,
        ({"alpha": (5,), "mean": (5, 4), "q": (5, 4), "lower": (5, 6)}, (500, 4)),
    ),
    Problem(gaussian_evidence, ({"log_s": (), "log_l": ()}, (100, 3), (100,))),
    Problem(
        variational_bound,
        (
            {"W1": (40, 32), "Wm": (32, 6), "Wv": (32, 6), "W2": (6, 32), "W3": (32, 40)},
            (200, 40),
            (200, 6),
        ),
    ),
    Problem(long_short_term, ({"W": (8, 64), "U": (16, 64)}, (20, 16, 8))),
    Problem(hidden_markov, ({"emit": (8, 12), "move": (8, 8)}, Labels((100,), 12))),
    Problem(kalman_filter, ({"A": (4, 4), "log_q": (), "log_r": ()}, (60,))),
    Problem(autoregression, ((8,), (2000,))),
    Problem(runge_kutta, (Positive((2,)), (100,))),
    Problem(heat_equation, ((300,), Positive(()), (300,))),
    Problem(optimal_transport, ((50, 2), (60, 2))),
    Problem(long_sum, ((2000,),)),
    Problem(lennard_jones, ((100, 3),)),
    Problem(gravity, ((100, 3), Positive((100,)))),
    Problem(minimal_surface, ((60, 60),)),
    Problem(total_variation, ((60, 60), (60, 60))),
    Problem(
        bundle_adjustment,
        ({"axis": (3,), "shift": (3,), "focal": (), "k1": (), "k2": ()}, (500, 3), (500, 2)),
    ),
    Problem(jointed_arm, ((8, 2), (3,))),
    Problem(spectrum, ((1024,), (513,))),
    Problem(quaternion_alignment, ((4,), (200, 3), (200, 3))),
    Problem(
        tanh_network,
        (
            {"W1": (20, 64), "b1": (64,), "W2": (64, 64), "b2": (64,), "W3": (64, 3)},
            (128, 20),
            (128, 3),
        ),
    ),
    Problem(
        relu_classifier,
        ({"W1": (20, 64), "W2": (64, 64), "W3": (64, 10)}, (128, 20), Labels((128,), 10)),
    ),
    Problem(gated_network, ({"W1": (32, 96), "V": (32, 96), "W2": (96, 32)}, (64, 32), (64, 32))),
    Problem(positional_encoding, ({"W1": (36, 64), "W2": (64, 3)}, (256, 3), (256, 3))),
    Problem(graph_convolution, ({"W1": (16, 32), "W2": (32, 7)}, (120, 16), (120, 120))),
    Problem(convolution, ({"K1": (8, 3, 3, 3), "K2": (8, 8, 3, 3)}, (4, 3, 24, 24))),
]


def cases() -> list[Case]:
    return [value_and_grad(p.fun.__name__, p.fun, *p.args()) for p in PROBLEMS]
