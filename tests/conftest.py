"""Settings and devices that all tests share, and the two precisions they run in.

Matrix products keep every digit, so a test that passes says something about the mathematics
and not about a rounding mode. Everything else is set for the length of one test and restored.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

import jax
import numpy as np
import pytest
from closeness import Precision

jax.config.update("jax_default_matmul_precision", "highest")
jax.config.update("jax_num_cpu_devices", 8)


@pytest.fixture
def strict() -> Iterator[None]:
    """Ranks and dtypes never mix silently, neither in the test nor in what symgrad emits."""
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture
def float64() -> Iterator[Precision]:
    """64-bit types for the length of one test."""
    with jax.enable_x64(True):
        yield Precision(np.float64, 1e-10)


@pytest.fixture
def float32() -> Iterator[Precision]:
    with jax.enable_x64(False):
        yield Precision(np.float32, 1e-5)


@pytest.fixture(params=["float64", "float32"])
def real(request: pytest.FixtureRequest) -> Precision:
    """Each precision in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def draw(request: pytest.FixtureRequest) -> Callable[..., np.ndarray]:
    """`draw(*shape)`: normal numbers, in the test's precision, that depend only on its name."""
    names = [name for name in ("real", "float64", "float32") if name in request.fixturenames]
    precision = request.getfixturevalue(names[0])
    generator = np.random.default_rng(zlib.crc32(request.node.name.encode()))
    return lambda *shape: precision.array(generator.normal(size=shape))
