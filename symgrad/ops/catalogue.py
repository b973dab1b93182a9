"""Every operation by a name that no other has."""

from __future__ import annotations

from collections.abc import Mapping

from symgrad import expr
from symgrad.expr import Op
from symgrad.ops import (
    assume,
    batch,
    branch,
    calls,
    checkpoint,
    collectives,
    companions,
    contract,
    conv,
    cumulative,
    differences,
    distances,
    entropy,
    fft,
    index,
    inverse,
    limit,
    linalg,
    loops,
    matrix,
    moments,
    monoid,
    norm,
    odds,
    order,
    pick,
    placement,
    pointwise,
    products,
    ragged,
    random,
    reduce,
    shape,
    sharded,
    shares,
    solve,
    special,
    spectral,
    stable,
    tails,
    varying,
    waves,
    window,
)

FAMILIES = (
    *(expr, assume, batch, branch, calls, checkpoint, collectives, companions, contract, conv),
    *(cumulative, differences, distances, entropy, fft, index, inverse, limit, linalg, loops),
    *(matrix, moments, monoid, norm, odds, order, pick, placement, pointwise, products),
    *(ragged, random, reduce, shape, sharded, shares, solve, special, spectral, stable),
    *(tails, varying, waves, window),
)

NAMESAKES: Mapping[str, Op] = {
    "magnitude": pointwise.magnitude,
    "companion_softplus": companions.softplus,
    "companion_logsumexp": companions.logsumexp,
}
"""Operations that are printed as another one is."""

OPERATIONS: Mapping[str, Op] = {
    **{
        value.name: value
        for family in FAMILIES
        for value in vars(family).values()
        if isinstance(value, Op) and value not in NAMESAKES.values()
    },
    **NAMESAKES,
}

UNIQUE_NAMES: Mapping[Op, str] = {op: name for name, op in OPERATIONS.items()}
