"""What each network learns from, for how long, and how well it must do."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from symgrad.demo import models
from symgrad.demo.data import Digits
from symgrad.demo.models import Params

NOISE = 0.4
"""Standard deviation added to the MLP's pixels in training; the pixels' own is 1."""

SHIFT = 2
"""How many of 32 pixels LeNet's images move in training, at most, in each direction."""


class Examples(NamedTuple):
    """Inputs of a network, and the true classes."""

    inputs: jax.Array
    labels: jax.Array


class Task(NamedTuple):
    """A network, its data, and its training.

    Attributes:
        vary: `(key, inputs) -> inputs`, a little different each time, against overfitting.
        target: the accuracy on held-out images that the demo asks for.
    """

    name: str
    init: Callable[[jax.Array], Params]
    logits: Callable[[Params, jax.Array], jax.Array]
    loss: Callable[[Params, jax.Array, jax.Array], jax.Array]
    train: Examples
    held_out: Examples
    vary: Callable[[jax.Array, jax.Array], jax.Array]
    epochs: int
    batch: int
    learning_rate: float
    weight_decay: float
    target: float

    def for_a_glance(self) -> Task:
        """A fifth of the training, and less asked of it."""
        return self._replace(epochs=max(1, self.epochs // 5), target=0.9)


def mlp(digits: Digits) -> Task:
    """64 pixels, one hidden layer; the loss compares distributions."""
    return Task(
        name="MLP",
        init=models.mlp_init,
        logits=models.mlp_logits,
        loss=models.mlp_loss,
        train=Examples(digits.train.x, digits.train.labels),
        held_out=Examples(digits.held_out.x, digits.held_out.labels),
        vary=add_noise,
        epochs=60,
        batch=64,
        learning_rate=1e-2,
        weight_decay=3e-2,
        target=0.97,
    )


def lenet(digits: Digits) -> Task:
    """Images of 32 by 32 pixels; the loss picks the true class out by its number."""
    return Task(
        name="LeNet",
        init=models.lenet_init,
        logits=models.lenet_logits,
        loss=models.lenet_loss,
        train=Examples(digits.train.images, digits.train.labels),
        held_out=Examples(digits.held_out.images, digits.held_out.labels),
        vary=shift,
        epochs=30,
        batch=32,
        learning_rate=2e-3,
        weight_decay=5e-2,
        target=0.98,
    )


def add_noise(key: jax.Array, x: jax.Array) -> jax.Array:
    """Every pixel a little lighter or darker."""
    return x + NOISE * jax.random.normal(key, x.shape, x.dtype)


def shift(key: jax.Array, images: jax.Array) -> jax.Array:
    """Every image moved by up to `SHIFT` pixels, its edge repeated where it moved away."""
    padded = jnp.pad(images, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)), mode="edge")
    corners = jax.random.randint(key, (len(images), 2), 0, 2 * SHIFT + 1)

    def crop(image: jax.Array, corner: jax.Array) -> jax.Array:
        return lax.dynamic_slice(image, (corner[0], corner[1], 0), images.shape[1:])

    return jax.vmap(crop)(padded, corners)
