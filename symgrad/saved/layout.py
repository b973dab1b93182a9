"""What a file of a graph is made of, for those who write and those who read it.

A file is a zip archive of members that are stored as they are: nothing in it is compressed, so
nothing in it can be larger than the file. `graph.json` has the graphs, bodies before what holds
them, each a list of nodes, operands before their users; `array_0.npy`, `array_1.npy`, ... the
arrays. Parameters of nodes are JSON values; what JSON lacks is an object with one key that says
what it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from symgrad.ops.indexing import Indexing

FORMAT = "symgrad graph"
VERSION = 1
DOCUMENT = "graph.json"
PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""The only texts among parameters: they are printed into programs."""

QUOTED = {("name", "name")}
"""Parameters that are printed between quotes, and so may be any text."""

OUTSIDE = frozenset({"opaque", "effect", "foreign", "shard_map"}) | {
    *("sharding_constraint", "layout_constraint", "device_put"),
}
"""Operations that are printed as a call of something outside of the graph: no file has them."""

ENUMERATIONS: Mapping[str, Any] = {
    "Precision": lax.Precision,
    "DotAlgorithmPreset": lax.DotAlgorithmPreset,
    "GatherScatterMode": lax.GatherScatterMode,
    "FftType": lax.FftType,
    "RandomAlgorithm": lax.RandomAlgorithm,
    "AccuracyMode": lax.AccuracyMode,
    "EigImplementation": lax.linalg.EigImplementation,
    "EighImplementation": lax.linalg.EighImplementation,
    "SvdAlgorithm": lax.linalg.SvdAlgorithm,
}

RECORDS: Mapping[str, tuple[Any, tuple[str, ...]]] = {
    "Indexing": (Indexing, tuple(Indexing.__dataclass_fields__)),
    "RaggedDotDimensionNumbers": (
        lax.RaggedDotDimensionNumbers,
        ("dot_dimension_numbers", "lhs_ragged_dimensions", "rhs_group_dimensions"),
    ),
}
"""Parameters of several parts, and the parts."""

KEYS = ("threefry2x32", "rbg", "unsafe_rbg")
"""Implementations of random keys."""


def key_dtype(implementation: str) -> Any:
    """The dtype of the random keys of an implementation."""
    return jax.eval_shape(lambda: jax.random.key(0, impl=implementation)).dtype


def array_name(number: int) -> str:
    return f"array_{number}.npy"


def is_extended(dtype: Any) -> bool:
    """Whether NumPy knows a dtype only from the package that made it, as bfloat16."""
    return np.dtype(dtype).kind == "V"


def plain_dtype(name: str) -> np.dtype[Any]:
    """The dtype of this name.

    Raises:
        TypeError: there is none, or it is not one of numbers.
    """
    if not PLAIN.fullmatch(name):
        raise TypeError(f"{name!r} is no name of a dtype")
    dtype = jnp.dtype(name)
    if dtype.name != name or not (jax.dtypes.issubdtype(dtype, np.number) or name == "bool"):
        raise TypeError(f"{name!r} is no dtype of numbers")
    return dtype
