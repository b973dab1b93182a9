"""Equinox: modules are pytrees of arrays and of other things, which `eqx.partition` sets aside."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest
from agreement import Draws, Program, agree, check_programs

import symgrad as sg

eqx = pytest.importorskip("equinox")

import equinox.internal as eqxi  # noqa: E402


def model(draw: Draws, make):
    """The arrays of a module, and the rest."""
    dynamic, static = eqx.partition(eqx.filter_eval_shape(make, jax.random.key(0)), is_shape)
    return draw.parameters(lambda: dynamic), static


def is_shape(leaf) -> bool:
    return isinstance(leaf, jax.ShapeDtypeStruct)


def mlp(draw: Draws) -> Program:
    make = lambda key: eqx.nn.MLP(3, 2, 4, 2, activation=jnp.tanh, dtype=draw.dtype, key=key)  # noqa: E731
    params, static = model(draw, make)
    x, y = draw(5, 3), draw(5, 2)

    @eqx.filter_jit
    def loss(params):
        return jnp.mean((jax.vmap(eqx.combine(params, static))(x) - y) ** 2)

    return Program(loss, (params,), twice=True)


def gru(draw: Draws) -> Program:
    params, static = model(draw, lambda key: eqx.nn.GRUCell(2, 3, dtype=draw.dtype, key=key))
    xs = draw(4, 2)

    def loss(params):
        cell = eqx.combine(params, static)
        last, _ = jax.lax.scan(lambda h, x: (cell(x, h), None), jnp.zeros(3, draw.dtype), xs)
        return jnp.sum(last**2)

    return Program(loss, (params,), twice=True)


class ConvNet(eqx.Module):
    conv: eqx.nn.Conv2d
    norm: eqx.nn.BatchNorm
    pool: eqx.nn.MaxPool2d
    head: eqx.nn.Linear
    dropout: eqx.nn.Dropout

    def __init__(self, dtype, key):
        self.conv = eqx.nn.Conv2d(2, 4, 3, dtype=dtype, key=key)
        self.norm = eqx.nn.BatchNorm(4, axis_name="batch", mode="batch", dtype=dtype)
        self.pool = eqx.nn.MaxPool2d(2, 2)
        self.head = eqx.nn.Linear(16, 3, dtype=dtype, key=key)
        self.dropout = eqx.nn.Dropout(0.3)

    def __call__(self, x, state, key):
        x, state = self.norm(self.conv(x), state)
        x = self.dropout(self.pool(jax.nn.silu(x)).reshape(-1), key=key)
        return self.head(x), state


def conv_net(draw: Draws) -> Program:
    make = lambda key: eqx.nn.make_with_state(ConvNet)(draw.dtype, key)  # noqa: E731
    (params, state), static = model(draw, make)
    x, keys = draw(2, 2, 6, 6), jax.random.split(jax.random.key(1), 2)

    def loss(params, state):
        net, state = eqx.combine((params, state), static)
        run = jax.vmap(net, axis_name="batch", in_axes=(0, None, 0), out_axes=(0, None))
        y, state = run(x, state, keys)
        return jnp.sum(y**2), eqx.filter(state, eqx.is_array)

    return Program(loss, (params, state), aux=True)


class Encoder(eqx.Module):
    embed: eqx.nn.Embedding
    attention: eqx.nn.MultiheadAttention
    norm: eqx.nn.LayerNorm
    rope: eqx.nn.RotaryPositionalEmbedding

    def __init__(self, dtype, key):
        self.embed = eqx.nn.Embedding(5, 4, dtype=dtype, key=key)
        self.attention = eqx.nn.MultiheadAttention(2, 4, dtype=dtype, key=key)
        self.norm = eqx.nn.LayerNorm(4, dtype=dtype)
        self.rope = eqx.nn.RotaryPositionalEmbedding(2, dtype=dtype)

    def __call__(self, tokens):
        x = jax.vmap(self.embed)(tokens)
        turn = lambda q, k, v: (  # noqa: E731
            jax.vmap(self.rope, 1, 1)(q),
            jax.vmap(self.rope, 1, 1)(k),
            v,
        )
        return jax.vmap(self.norm)(x + self.attention(x, x, x, process_heads=turn))


def encoder(draw: Draws) -> Program:
    params, static = model(draw, lambda key: Encoder(draw.dtype, key))
    tokens, weights = draw.whole(5, 4), draw(4, 4)

    def loss(params):
        net = eqx.filter_checkpoint(eqx.combine(params, static))
        return jnp.sum(net(tokens) * weights)

    return Program(loss, (params,), tolerance=1e-5)


def loop(draw: Draws, kind: str) -> Program:
    """x <- sin(x + a) while its sum is large, at most 5 times."""

    def fun(x):
        condition = lambda c: c[0] < 5  # noqa: E731
        body = lambda c: (c[0] + 1, jnp.sin(c[1] + x))  # noqa: E731
        steps = {"checkpointed": 3, "bounded": None}[kind]
        return jnp.sum(
            eqxi.while_loop(condition, body, (0, x), max_steps=8, kind=kind, checkpoints=steps)[1]
            ** 2
        )

    return Program(fun, (draw(3),))


def scanned(draw: Draws, kind: str) -> Program:
    def fun(x):
        body = lambda c, a: (jnp.sin(c * a), c)  # noqa: E731
        last, all_ = eqxi.scan(body, x, jnp.arange(1.0, 5.0, dtype=draw.dtype), kind=kind)
        return jnp.sum(last) + jnp.sum(all_**2)

    return Program(fun, (draw(3),))


def custom_rule(draw: Draws) -> Program:
    @eqx.filter_custom_vjp
    def clipped(args, low):
        x, y = args
        return jnp.sum(x * y), low

    @clipped.def_fwd
    def forward(perturbed, args, low):
        return clipped(args, low), None

    @clipped.def_bwd
    def backward(residuals, cotangent, perturbed, args, low):
        x, y = args
        g, _ = cotangent
        return (jnp.clip(g * y, low), jnp.clip(g * x, low))

    low = jnp.asarray(-0.5, draw.dtype)
    return Program(lambda args: clipped(args, low)[0], ((draw(3), draw(3)),))


def custom_push(draw: Draws) -> Program:
    @eqx.filter_custom_jvp
    def root(x, *, name):
        return jnp.sqrt(x)

    @root.def_jvp
    def rule(primals, tangents, *, name):
        (x,), (t,) = primals, tangents
        y = root(x, name=name)
        return y, t / (2 * y)

    return Program(lambda x: jnp.sum(root(x, name="root")), (draw.positive(3),), twice=True)


def converted(draw: Draws) -> Program:
    """A closure made into a pytree, and a check that raises when the program runs."""
    x = draw.positive(3)
    closed = eqx.filter_closure_convert(lambda y: jnp.log(y) * x, x)

    def fun(y):
        y = eqx.error_if(y, jnp.any(y < 0), "must be positive")
        return jnp.sum(closed(y) ** 2)

    return Program(fun, (x,))


PROGRAMS = {
    "MLP": mlp,
    "GRU": gru,
    "conv net with state": conv_net,
    "attention": encoder,
    "checkpointed while loop": lambda draw: loop(draw, "checkpointed"),
    "bounded while loop": lambda draw: loop(draw, "bounded"),
    "checkpointed scan": lambda draw: scanned(draw, "checkpointed"),
    "plain scan": lambda draw: scanned(draw, "lax"),
    "custom vjp": custom_rule,
    "custom jvp": custom_push,
    "closure and error check": converted,
}


def test_programs(real, subtests):
    check_programs(PROGRAMS, real, subtests)


def test_partition_around_and_filter_jit_inside():
    """The idiom of Equinox's documentation, with `sg.grad` in place of `eqx.filter_grad`."""
    net = eqx.nn.MLP(2, 1, 3, 1, key=jax.random.key(0))
    x = jnp.ones((4, 2))
    loss = lambda net, x: jnp.mean(jax.vmap(net)(x) ** 2)  # noqa: E731

    @eqx.filter_jit
    def step(net, x):
        params, static = eqx.partition(net, eqx.is_inexact_array)
        return sg.grad(lambda p, x: loss(eqx.combine(p, static), x))(params, x)

    agree(step(net, x), eqx.filter_jit(eqx.filter_grad(loss))(net, x), 1e-5)
