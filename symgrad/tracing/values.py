"""Values and abstract values of JAX as types and leaves of a graph."""

from __future__ import annotations

from typing import Any

import jax
import jax.core
import numpy as np
from jax.extend.core import primitives

from symgrad.expr import Captured, Expr, Type, captured, constant


def type_of(leaf: Any) -> Type:
    """The abstract value of an array, a Python number or a `jax.ShapeDtypeStruct`.

    Raises:
        TypeError: JAX knows no array type for it.
    """
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return Type(tuple(leaf.shape), leaf.dtype, bool(leaf.weak_type))
    return type_of_aval(jax.typeof(leaf))


def type_of_aval(aval: Any) -> Type:
    """The type that an abstract value of JAX's has in a graph."""
    return Type(tuple(aval.shape), aval.dtype, bool(getattr(aval, "weak_type", False)))


def is_constant(leaf: Any) -> bool:
    """Whether what a traced function returns does not depend on what it was given."""
    return not isinstance(leaf, jax.core.Tracer)


def with_weak_type(value: Any, weak: bool) -> Any:
    """`value` with JAX's weak-type flag set as wanted, which no public function does."""
    aval = jax.typeof(value)
    if bool(getattr(aval, "weak_type", False)) == weak:
        return value
    return primitives.convert_element_type_p.bind(
        value, new_dtype=aval.dtype, weak_type=weak, sharding=None
    )


def literal_node(atom: Any) -> Expr:
    """The node of a constant that stands in an equation."""
    if np.ndim(atom.val):
        return constant_node(atom.val)
    return constant(atom.val, atom.aval.dtype, bool(getattr(atom.aval, "weak_type", False)))


def constant_node(value: Any) -> Expr:
    """A number becomes a literal, an array is captured by reference."""
    extended = jax.dtypes.issubdtype(jax.typeof(value).dtype, jax.dtypes.extended)
    if np.ndim(value) == 0 and not extended and not isinstance(value, jax.core.Tracer):
        aval = jax.typeof(value)
        return constant(np.asarray(value), aval.dtype, bool(getattr(aval, "weak_type", False)))
    return captured(array=Captured(value))
