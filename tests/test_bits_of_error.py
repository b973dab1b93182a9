"""Accuracy over the whole range of single precision, point by point, beside JAX's."""

from __future__ import annotations

from typing import Any

import herbie
import jax
import numpy as np
import pytest
from herbie import EXPRESSIONS, measured

MORE_ON_AVERAGE = 1.0
MORE_AT_ONE_POINT_IN_A_HUNDRED = 4.0


KNOWN = {"complex root, real part": "the modulus and a negative real part cancel"}


def named(names: list[str]) -> list[Any]:
    marks = {n: [pytest.mark.xfail(reason=why, strict=False)] for n, why in KNOWN.items()}
    return [pytest.param(n, marks=marks.get(n, [])) for n in names]


def check(name: str, count: int) -> None:
    with jax.enable_x64(False):
        for output, bits in measured(EXPRESSIONS[name], count).items():
            assert bits.gained >= -MORE_ON_AVERAGE, f"{output}: {bits.gained:.1f} bits on average"
            assert bits.worst <= MORE_AT_ONE_POINT_IN_A_HUNDRED, f"{output}: {bits.worst:.1f} bits"


@pytest.mark.parametrize("name", named(list(EXPRESSIONS)[::6]))
def test_no_worse_than_jax(name):
    check(name, 200)


@pytest.mark.slow
@pytest.mark.parametrize("name", named(list(EXPRESSIONS)))
def test_no_worse_than_jax_at_thousands_of_points(name):
    check(name, 8000)


def test_bits_count_floats():
    one = np.float32(1)
    nearby = np.array([one, np.nextafter(one, np.float32(2)), -one, np.nan], np.float32)
    bits = herbie.bits_of_error(nearby, np.ones(4))
    assert bits.tolist()[:2] == [0, 1]
    assert bits[2] > 30
    assert bits[3] == herbie.LOST
