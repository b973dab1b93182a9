"""The handwritten digits that ship with scikit-learn, split, normalised and resized.

digits = load()
digits.train.x          # float32[1437,64], what the MLP reads
digits.train.images     # float32[1437,32,32,1], what LeNet reads
digits.held_out.labels  # int32[360]
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HELD_OUT_FRACTION = 0.2
SPLIT_SEED = 0


class Split(NamedTuple):
    """One part of the data, in the forms the two networks read."""

    x: jax.Array
    """Pixels as vectors, `[n, 64]`."""
    images: jax.Array
    """The same pixels resized to `[n, 32, 32, 1]`."""
    labels: jax.Array
    """The true classes as integers, `[n]`."""


class Digits(NamedTuple):
    """Images to learn from, and images no optimiser sees."""

    train: Split
    held_out: Split


def load() -> Digits:
    """The 1,797 digits, a fixed fifth of each class held out.

    Pixels are shifted and scaled to mean 0 and variance 1 of the training images.
    """
    pixels, labels = load_digits(return_X_y=True)
    train, held_out = train_test_split(
        np.arange(len(labels)),
        test_size=HELD_OUT_FRACTION,
        stratify=labels,
        random_state=SPLIT_SEED,
    )
    x = (pixels - pixels[train].mean()) / pixels[train].std()
    return Digits(_split(x[train], labels[train]), _split(x[held_out], labels[held_out]))


def _split(pixels: np.ndarray, labels: np.ndarray) -> Split:
    x = jnp.asarray(pixels, jnp.float32)
    images = x.reshape(-1, 8, 8, 1)
    return Split(
        x=x,
        images=jax.image.resize(images, (len(x), 32, 32, 1), method="linear"),
        labels=jnp.asarray(labels, jnp.int32),
    )
