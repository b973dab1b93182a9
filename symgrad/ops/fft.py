"""Discrete Fourier transforms over the last axes: linear, the real ones with folded spectra."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jax.lax import FftType

from symgrad.errors import ShapeError
from symgrad.expr import Expr, Linear, Op, Shape, Type, constant
from symgrad.ops.pointwise import conj, convert, eq, or_, select
from symgrad.ops.shape import broadcast, iota


def _fft_type(x: Type, *, kind: FftType, lengths: Shape) -> Type:
    batch, last = x.shape[: x.ndim - len(lengths)], lengths[-1]
    expected = (*lengths[:-1], last // 2 + 1) if kind is FftType.IRFFT else lengths
    given = x.shape[len(batch) :]
    if given[:-1] != expected[:-1] or (kind is not FftType.IRFFT and given != expected):
        raise ShapeError(f"a transform of lengths {lengths} of an array of shape {x.shape}")
    match kind:
        case FftType.RFFT:
            wide = np.result_type(x.dtype, np.complex64)
            return Type((*batch, *lengths[:-1], last // 2 + 1), wide, x.weak)
        case FftType.IRFFT:
            return Type((*batch, *lengths), np.finfo(x.dtype).dtype, x.weak)
        case _:
            return x


def _fft_source(e: Expr) -> str:
    kind, lengths = e.params["kind"].name.lower(), e.params["lengths"]
    if len(lengths) == 1:
        return f"jnp.fft.{kind}(x)" if kind != "irfft" else f"jnp.fft.irfft(x, {lengths[0]})"
    return f'lax.fft(x, "{kind}", {lengths})'


def _multiplicities(shape: Shape, lengths: Shape, dtype: Any) -> Expr:
    """How many entries of the whole spectrum each entry of a folded one stands for."""
    size, last = shape[-1], lengths[-1]
    place = iota(shape=(size,), dtype=np.dtype(np.int32), axis=0)
    alone = eq(place, 0)
    if last % 2 == 0:
        alone = or_(alone, eq(place, size - 1))
    counts = convert(select(alone, constant(1, np.int32), 2), dtype=dtype)
    return broadcast(counts, shape=shape, axes=(len(shape) - 1,))


def _fft_adjoint(g: Expr, y: Expr, x: Expr) -> Expr:
    """The matrix of a transform is symmetric; folding an array that is real halves its spectrum."""
    kind, lengths = y.params["kind"], y.params["lengths"]
    count = math.prod(lengths)
    match kind:
        case FftType.RFFT:
            folded = conj(g) / _multiplicities(g.shape, lengths, g.dtype)
            return fft(folded, kind=FftType.IRFFT, lengths=lengths) * count
        case FftType.IRFFT:
            spectrum = fft(g, kind=FftType.RFFT, lengths=lengths)
            counts = _multiplicities(spectrum.shape, lengths, spectrum.dtype)
            return conj(spectrum * counts * (1 / count))
        case _:
            return fft(g, kind=kind, lengths=lengths)


fft = Op(
    "fft",
    _fft_type,
    _fft_source,
    Linear(_fft_adjoint),
    params=("kind", "lengths"),
    flops=lambda e: 5 * e.type.size * max(1, math.prod(e.params["lengths"]).bit_length()),
)
"""As `jax.lax.fft`."""
