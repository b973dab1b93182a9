"""Numbers of any precision: mpmath's, loaded when they are first asked for."""

from __future__ import annotations

import importlib
from typing import Any

import jax
import numpy as np

LARGEST_EXPONENT = 10**5
"""Bits before the point of a number whose exponential or sine is still computed."""


def context(digits: int) -> Any:
    """An mpmath context of its own, so that nobody else's precision is changed."""
    mp = importlib.import_module("mpmath").MPContext()
    mp.dps = digits
    return mp


def number(mp: Any, value: Any) -> Any:
    """A number of a program as it is, every bit kept."""
    if isinstance(value, np.complexfloating | complex):
        return mp.mpc(float(value.real), float(value.imag))
    return mp.mpf(float(value))


def numbers(mp: Any, array: Any) -> np.ndarray:
    """An array of a program: integers and truth values stay, all others become mpmath's."""
    values = np.asarray(array)
    if not jax.dtypes.issubdtype(values.dtype, np.inexact):
        return values
    wide = np.complex128 if np.iscomplexobj(values) else np.float64
    found = np.empty(values.shape, object)
    for place in np.ndindex(values.shape):
        found[place] = number(mp, values[place].astype(wide))
    return found


def is_huge(mp: Any, x: Any) -> bool:
    """Whether a finite number has too many digits before the point to be worked with."""
    return bool(mp.isfinite(x)) and x != 0 and mp.mag(x) > LARGEST_EXPONENT
