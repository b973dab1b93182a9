"""The demo's two networks: their losses and gradients, at the batch sizes the demo trains with."""

from __future__ import annotations

import jax

from benchmarks.harness import Case, value_and_grad
from symgrad.demo import models

ABOUT = "Value and gradient of the demo's networks; JAX: `jax.jit(jax.value_and_grad(loss))`."


def mlp(images: int = 64) -> Case:
    params, pixels, labels = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(pixels, (images, 64))
    y = jax.random.randint(labels, (images,), 0, models.CLASSES)
    return value_and_grad(f"MLP, {images} images", models.mlp_loss, models.mlp_init(params), x, y)


def lenet(images: int = 32) -> Case:
    params, pixels, labels = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(pixels, (images, 32, 32, 1))
    y = jax.random.randint(labels, (images,), 0, models.CLASSES)
    return value_and_grad(
        f"LeNet, {images} images", models.lenet_loss, models.lenet_init(params), x, y
    )


def cases() -> list[Case]:
    return [mlp(), lenet()]
