"""Six models in plain JAX, each written as a person first writes it: losses and gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.harness import Case, value_and_grad

ABOUT = "Value and gradient of other models; JAX: `jax.jit(jax.value_and_grad(loss))`."

Params = dict[str, jax.Array]


def random(seed: int, scale: float = 1.0, **shapes: tuple[int, ...]) -> Params:
    """Normal numbers of these shapes."""
    keys = jax.random.split(jax.random.key(seed), len(shapes))
    return {
        name: scale * jax.random.normal(key, shape)
        for key, (name, shape) in zip(keys, shapes.items(), strict=True)
    }


def normalise(x: jax.Array, axes: Any) -> jax.Array:
    """Mean 0 and variance 1 along axes."""
    mean = jnp.mean(x, axis=axes, keepdims=True)
    variance = jnp.mean((x - mean) ** 2, axis=axes, keepdims=True)
    return (x - mean) / jnp.sqrt(variance + 1e-5)


def self_attention(layer: Params, h: jax.Array) -> jax.Array:
    """Causal attention; weights are `[width, heads, width / heads]`."""
    q, k, v = (jnp.einsum("btd,dhe->bhte", h, layer[name]) for name in ("Wq", "Wk", "Wv"))
    scores = q @ jnp.swapaxes(k, -1, -2) / jnp.sqrt(q.shape[-1])
    causal = jnp.tril(jnp.ones(scores.shape[-2:], bool))
    weights = jax.nn.softmax(jnp.where(causal, scores, -1e9), axis=-1)
    return jnp.einsum("bhte,hed->btd", weights @ v, layer["Wo"])


def attention_loss(params: Params, x: jax.Array, y: jax.Array) -> jax.Array:
    """Normalise, attend with several heads, add."""
    out = x + self_attention(params, params["scale"] * normalise(x, -1) + params["shift"])
    return jnp.mean((out - y) ** 2)


def attention(batch: int = 4, length: int = 64, width: int = 64, heads: int = 4) -> Case:
    each = (width, heads, width // heads)
    weights = random(0, width**-0.5, Wq=each, Wk=each, Wv=each, Wo=(*each[1:], width))
    params = {**weights, "scale": jnp.ones(width), "shift": jnp.zeros(width)}
    data = random(1, x=(batch, length, width), y=(batch, length, width))
    return value_and_grad("attention block", attention_loss, params, data["x"], data["y"])


def transformer_loss(params: Any, tokens: jax.Array) -> jax.Array:
    """Mean negative log-likelihood of each next token; the embedding is also the last layer."""
    x = params["embedding"][tokens[:, :-1]]
    for layer in params["layers"]:
        x = x + self_attention(layer, layer["scale_1"] * normalise(x, -1) + layer["shift_1"])
        h = layer["scale_2"] * normalise(x, -1) + layer["shift_2"]
        x = x + jax.nn.gelu(h @ layer["W1"] + layer["b1"]) @ layer["W2"] + layer["b2"]
    z = x @ params["embedding"].T
    picked = jnp.take_along_axis(jax.nn.log_softmax(z), tokens[:, 1:, None], axis=-1)
    return -jnp.mean(picked)


def transformer(
    layers: int = 12, batch: int = 4, length: int = 64, width: int = 128, heads: int = 4
) -> Case:
    words, hidden = 8 * width, 4 * width
    each = (width, heads, width // heads)

    def layer(seed: int) -> Params:
        weights = random(seed, 0.05, Wq=each, Wk=each, Wv=each, Wo=(*each[1:], width))
        weights |= random(seed + layers, 0.05, W1=(width, hidden), W2=(hidden, width))
        weights |= {"b1": jnp.zeros(hidden), "b2": jnp.zeros(width)}
        weights |= {f"scale_{i}": jnp.ones(width) for i in (1, 2)}
        return weights | {f"shift_{i}": jnp.zeros(width) for i in (1, 2)}

    params = {
        "layers": [layer(seed) for seed in range(layers)],
        "embedding": 0.05 * jax.random.normal(jax.random.key(2 * layers), (words, width)),
    }
    tokens = jax.random.randint(jax.random.key(2 * layers + 1), (batch, length + 1), 0, words)
    return value_and_grad(f"transformer, {layers} layers", transformer_loss, params, tokens)


def rnn_loss(params: Params, x: jax.Array, y: jax.Array) -> jax.Array:
    """A tanh network that reads `x`, `[time, batch, width]`, and answers at the end."""

    def step(h: jax.Array, x_t: jax.Array) -> tuple[jax.Array, None]:
        return jnp.tanh(x_t @ params["W"] + h @ params["U"] + params["b"]), None

    start = jnp.zeros((x.shape[1], params["U"].shape[0]))
    h, _ = lax.scan(step, start, x)
    return jnp.mean((h @ params["V"] - y) ** 2)


def rnn(time: int = 64, batch: int = 32, width: int = 32, hidden: int = 64) -> Case:
    shapes = {"W": (width, hidden), "U": (hidden, hidden), "V": (hidden, 1)}
    params = {**random(0, hidden**-0.5, **shapes), "b": jnp.zeros(hidden)}
    data = random(1, x=(time, batch, width), y=(batch, 1))
    return value_and_grad("RNN by scan", rnn_loss, params, data["x"], data["y"])


def resnet_loss(params: Params, x: jax.Array, y: jax.Array) -> jax.Array:
    """Two convolutions with batch normalisation, and the input added."""

    def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
        layout = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=layout)

    h = params["scale1"] * normalise(convolve(x, params["K1"]), (0, 1, 2)) + params["shift1"]
    h = convolve(jax.nn.relu(h), params["K2"])
    h = params["scale2"] * normalise(h, (0, 1, 2)) + params["shift2"]
    return jnp.mean((jax.nn.relu(x + h) - y) ** 2)


def resnet(batch: int = 8, side: int = 16, channels: int = 16) -> Case:
    kernel = (3, 3, channels, channels)
    params = random(0, (9 * channels) ** -0.5, K1=kernel, K2=kernel)
    for i in "12":
        params |= {f"scale{i}": jnp.ones(channels), f"shift{i}": jnp.zeros(channels)}
    shape = (batch, side, side, channels)
    data = random(1, x=shape, y=shape)
    return value_and_grad("ResNet block", resnet_loss, params, data["x"], data["y"])


def rbf_loss(params: Params, x: jax.Array, y: jax.Array) -> jax.Array:
    """Gaussian bumps around centres, weighted and summed."""
    distance2 = jnp.sum((x[:, None, :] - params["centres"][None, :, :]) ** 2, axis=-1)
    bumps = jnp.exp(-distance2 / (2 * params["width"] ** 2))
    return jnp.mean((bumps @ params["weights"] - y) ** 2)


def rbf(points: int = 512, centres: int = 64, dimensions: int = 8) -> Case:
    params = random(0, centres=(centres, dimensions), weights=(centres,))
    params["width"] = jnp.array(2.0)
    data = random(1, x=(points, dimensions), y=(points,))
    return value_and_grad("RBF network", rbf_loss, params, data["x"], data["y"])


def logistic_loss(params: Params, x: jax.Array, y: jax.Array) -> jax.Array:
    """Negative log-likelihood of labels 0 and 1, and a penalty on the weights."""
    q = 1 / (1 + jnp.exp(-(x @ params["w"] + params["b"])))
    likelihood = y * jnp.log(q) + (1 - y) * jnp.log(1 - q)
    return -jnp.mean(likelihood) + 1e-3 * jnp.sum(params["w"] ** 2)


def logistic(points: int = 2048, features: int = 64) -> Case:
    params = {**random(0, features**-0.5, w=(features,)), "b": jnp.array(0.0)}
    data = random(1, x=(points, features), noise=(points,))
    y = (data["x"] @ params["w"] + data["noise"] > 0).astype(jnp.float32)
    return value_and_grad("logistic regression", logistic_loss, params, data["x"], y)


MODELS: tuple[Callable[[], Case], ...] = (attention, transformer, rnn, resnet, rbf, logistic)


def cases() -> list[Case]:
    return [model() for model in MODELS]
