"""Flax: linen modules with their variable collections, and nnx modules as pytrees of state."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import Draws, Program, check_programs

pytest.importorskip("flax")

from flax import linen, nnx


class Cnn(linen.Module):
    dtype: Any

    @linen.compact
    def __call__(self, x, train):
        of = {"dtype": self.dtype, "param_dtype": self.dtype}
        x = linen.Conv(4, (3, 3), **of)(x)
        x = linen.BatchNorm(use_running_average=not train, **of)(x)
        x = linen.relu(x)
        x = linen.max_pool(x, (2, 2), strides=(2, 2))
        x = linen.Conv(3, (2, 2), strides=2, feature_group_count=1, **of)(x)
        x = linen.GroupNorm(num_groups=3, **of)(x)
        x = linen.avg_pool(linen.gelu(x), (2, 2))
        x = x.reshape(x.shape[0], -1)
        x = linen.Dropout(0.5, deterministic=not train)(x)
        return linen.Dense(3, **of)(x)


def cross_entropy(logits, labels):
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1))


def linen_cnn(draw: Draws, train: bool) -> Program:
    model, x, labels = Cnn(draw.dtype), draw(2, 6, 6, 2), draw.whole(3, 2)
    variables = draw.parameters(lambda: model.init(jax.random.key(0), x, False))

    def loss(params, stats, key):
        logits, changed = model.apply(
            {"params": params, "batch_stats": stats},
            x,
            train,
            rngs={"dropout": key},
            mutable=["batch_stats"],
        )
        return cross_entropy(logits, labels), changed["batch_stats"]

    stats = jax.tree.map(np.abs, variables["batch_stats"])
    args = (variables["params"], stats, jax.random.key(1))
    return Program(loss, args, aux=True, twice=not train)


def linen_recurrent(draw: Draws, cell: str) -> Program:
    of = {"param_dtype": draw.dtype, "dtype": draw.dtype}
    model = linen.RNN(getattr(linen, cell)(3, **of))
    x, lengths = draw(2, 4, 2), jnp.array([4, 2])
    params = draw.parameters(model.init, jax.random.key(0), x)

    def loss(params, x):
        return jnp.mean(model.apply(params, x, seq_lengths=lengths) ** 2)

    return Program(loss, (params, x), twice=cell == "LSTMCell")


class Encoder(linen.Module):
    dtype: Any

    @linen.compact
    def __call__(self, tokens, train):
        of = {"param_dtype": self.dtype, "dtype": self.dtype}
        x = linen.Embed(7, 4, **of)(tokens)
        mask = linen.make_causal_mask(tokens, dtype=bool)
        for _ in range(2):
            y = linen.LayerNorm(**of)(x)
            y = linen.MultiHeadDotProductAttention(2, **of)(y, mask=mask)
            x = x + linen.Dropout(0.1, deterministic=not train)(y)
            y = linen.Dense(8, **of)(linen.LayerNorm(**of)(x))
            x = x + linen.Dense(4, **of)(linen.gelu(y))
        return linen.Dense(7, **of)(linen.RMSNorm(**of)(x))


def linen_transformer(draw: Draws) -> Program:
    model, tokens = Encoder(draw.dtype), draw.whole(7, 2, 5)
    params = draw.parameters(lambda: model.init(jax.random.key(0), tokens, False))

    def loss(params, key):
        logits = model.apply(params, tokens[:, :-1], True, rngs={"dropout": key})
        return cross_entropy(logits.reshape(-1, 7), tokens[:, 1:].reshape(-1))

    return Program(loss, (params, jax.random.key(1)))


class Block(linen.Module):
    dtype: Any

    @linen.compact
    def __call__(self, x, _):
        return x + linen.tanh(linen.Dense(3, param_dtype=self.dtype)(x)), None


def linen_scanned(draw: Draws) -> Program:
    stack = linen.scan(
        linen.remat(Block), variable_axes={"params": 0}, split_rngs={"params": True}, length=3
    )
    model, x = stack(draw.dtype), draw(2, 3)
    params = draw.parameters(lambda: model.init(jax.random.key(0), x, None))
    return Program(lambda p: jnp.sum(model.apply(p, x, None)[0] ** 2), (params,), twice=True)


class Normalized(linen.Module):
    dtype: Any

    @linen.compact
    def __call__(self, x):
        of = {"param_dtype": self.dtype, "dtype": self.dtype}
        x = linen.WeightNorm(linen.Dense(4, **of), **of)(x)
        x = linen.ConvTranspose(3, (2,), strides=2, **of)(x)
        x = linen.SpectralNorm(linen.Dense(4, **of), **of)(x, update_stats=True)
        return linen.PReLU(param_dtype=self.dtype)(linen.InstanceNorm(**of)(x))


def linen_normalized(draw: Draws) -> Program:
    model, x = Normalized(draw.dtype), draw(2, 3, 2)
    variables = draw.parameters(model.init, jax.random.key(0), x)

    def loss(params, rest):
        y, changed = model.apply({"params": params, **rest}, x, mutable=list(rest))
        return jnp.sum(y**2), changed

    rest = {k: v for k, v in variables.items() if k != "params"}
    return Program(loss, (variables["params"], rest), aux=True)


class Net(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.conv = nnx.Conv(2, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.head = nnx.Linear(4 * 2 * 2, 3, rngs=rngs)

    def __call__(self, x):
        x = nnx.max_pool(nnx.relu(self.norm(self.conv(x))), (2, 2), strides=(2, 2))
        return self.head(self.dropout(x.reshape(x.shape[0], -1)))


def split(make, draw: Draws):
    """The static half of a module, its parameters and the rest of its state."""
    graph, params, rest = nnx.split(nnx.eval_shape(make), nnx.Param, ...)
    return graph, *draw.parameters(lambda: (params, rest))


def nnx_cnn(draw: Draws) -> Program:
    graph, params, rest = split(lambda: Net(nnx.Rngs(0)), draw)
    x, labels = draw(2, 4, 4, 2).astype(np.float32), draw.whole(3, 2)

    def loss(params, rest):
        model = nnx.merge(graph, params, rest, copy=True)
        value = cross_entropy(model(x), labels)
        return value, nnx.state(model, nnx.Not(nnx.Param))

    return Program(loss, (params, rest), aux=True, tolerance=1e-5)


class Reader(nnx.Module):
    def __init__(self, dtype: Any, rngs: nnx.Rngs):
        of = {"param_dtype": dtype, "dtype": dtype, "rngs": rngs}
        self.embed = nnx.Embed(5, 4, **of)
        self.attention = nnx.MultiHeadAttention(2, 4, decode=False, **of)
        self.norm = nnx.LayerNorm(4, **of)
        self.memory = nnx.RNN(nnx.LSTMCell(4, 3, **of))

    def __call__(self, tokens):
        x = self.embed(tokens)
        x = self.norm(x + self.attention(x))
        return self.memory(x)


def nnx_reader(draw: Draws) -> Program:
    graph, params, rest = split(lambda: Reader(draw.dtype, nnx.Rngs(0)), draw)
    tokens = draw.whole(5, 2, 4)

    def loss(params, rest):
        return jnp.mean(nnx.merge(graph, params, rest, copy=True)(tokens) ** 2)

    return Program(loss, (params, rest), twice=True, tolerance=1e-5)


PROGRAMS = {
    "linen CNN in training": lambda draw: linen_cnn(draw, True),
    "linen CNN in evaluation": lambda draw: linen_cnn(draw, False),
    "linen LSTM": lambda draw: linen_recurrent(draw, "LSTMCell"),
    "linen optimized LSTM": lambda draw: linen_recurrent(draw, "OptimizedLSTMCell"),
    "linen GRU": lambda draw: linen_recurrent(draw, "GRUCell"),
    "linen Transformer": linen_transformer,
    "linen scan of remat": linen_scanned,
    "linen normalised layers": linen_normalized,
    "nnx CNN": nnx_cnn,
    "nnx attention and LSTM": nnx_reader,
}


def test_programs(real, subtests):
    check_programs(PROGRAMS, real, subtests)


def test_a_module_is_an_argument():
    """nnx modules are pytrees, and so is their gradient."""
    import symgrad as sg

    layer = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    x = jnp.ones((4, 2))
    loss = lambda layer: jnp.sum(layer(x) ** 2)  # noqa: E731
    found, wanted = sg.grad(loss)(layer), jax.grad(loss)(layer)
    assert isinstance(found, nnx.Linear)
    assert jnp.allclose(found.kernel[...], wanted.kernel[...])
