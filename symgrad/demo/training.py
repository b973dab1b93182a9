"""An ordinary optax loop; `sg.value_and_grad` stands where `jax.value_and_grad` would."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

import symgrad as sg
from symgrad.demo.models import Params
from symgrad.demo.tasks import Examples, Task


class Progress(NamedTuple):
    """How a network does after an epoch."""

    train_loss: float
    held_out_loss: float
    accuracy: float
    """The share of held-out images it names correctly."""


Step = Callable[[Params, Any, jax.Array, jax.Array], tuple[Any, Any]]
"""`(params, optimizer_state, inputs, labels) -> (params, optimizer_state)`"""


def fit(
    task: Task, seed: int, after_epoch: Callable[[Progress], None]
) -> tuple[Params, list[Progress]]:
    """Train from random parameters; the held-out images are looked at, never learnt from."""
    init_key, *epoch_keys = jax.random.split(jax.random.key(seed), 1 + task.epochs)
    optimizer = make_optimizer(task)
    step, measure = make_step(task, optimizer), make_measure(task)
    vary = jax.jit(task.vary)

    params = task.init(init_key)
    state = optimizer.init(params)
    history = []
    for epoch_key in epoch_keys:
        for key, inputs, labels in minibatches(epoch_key, task.train, task.batch):
            params, state = step(params, state, vary(key, inputs), labels)
        history.append(measure(params))
        after_epoch(history[-1])
    return params, history


def make_optimizer(task: Task) -> optax.GradientTransformation:
    """Adam with decaying weights; the learning rate falls to zero along a cosine."""
    steps = task.epochs * (len(task.train.inputs) // task.batch)
    schedule = optax.cosine_decay_schedule(task.learning_rate, steps)
    return optax.adamw(schedule, weight_decay=task.weight_decay)


def make_step(task: Task, optimizer: optax.GradientTransformation) -> Step:
    """One step down the gradient of one minibatch."""
    value_and_grad = sg.value_and_grad(task.loss)

    @jax.jit
    def step(params: Params, state: Any, inputs: jax.Array, labels: jax.Array) -> tuple[Any, Any]:
        _, gradient = value_and_grad(params, inputs, labels)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    return step


def make_measure(task: Task) -> Callable[[Params], Progress]:
    """What a network has learnt so far."""

    @jax.jit
    def numbers(params: Params, train: Examples, held_out: Examples) -> tuple[jax.Array, ...]:
        guesses = jnp.argmax(task.logits(params, held_out.inputs), axis=-1)
        return (
            task.loss(params, train.inputs, train.labels),
            task.loss(params, held_out.inputs, held_out.labels),
            jnp.mean(guesses == held_out.labels),
        )

    return lambda params: Progress(*map(float, numbers(params, task.train, task.held_out)))


def minibatches(
    key: jax.Array, examples: Examples, size: int
) -> Iterator[tuple[jax.Array, jax.Array, jax.Array]]:
    """A key, inputs and labels for each minibatch of a fresh shuffle; a short rest is left out."""
    count = len(examples.inputs) // size
    order_key, *keys = jax.random.split(key, 1 + count)
    order = jax.random.permutation(order_key, len(examples.inputs))
    for key, rows in zip(keys, order[: count * size].reshape(count, size), strict=True):
        yield key, examples.inputs[rows], examples.labels[rows]
