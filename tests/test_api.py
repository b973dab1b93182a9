"""The transformations give what their namesakes in JAX give: values, types, structures, and no more.

`identical` is the bar of the whole file: same tree, same shapes, dtypes and weak types, same
numbers to rounding. JAX runs compiled here, as symgrad does.
"""

from __future__ import annotations

import ast
import collections
import functools
import itertools
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import symgrad as sg
from symgrad.transform import Transformed


def abstract(leaf: Any) -> tuple[Any, ...]:
    """Everything JAX knows of a value before it is computed."""
    if getattr(leaf, "dtype", None) == jax.dtypes.float0:
        return np.shape(leaf), "float0", False
    aval = jax.typeof(leaf)
    return aval.shape, str(aval.dtype), bool(getattr(aval, "weak_type", False))


def numbers(leaf: Any) -> np.ndarray:
    if jax.dtypes.issubdtype(jax.typeof(leaf).dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    leaf = np.asarray(leaf)
    return leaf if leaf.dtype.kind in "biuc" else leaf.astype(np.float64)


def identical(actual: Any, expected: Any, tolerance: float = 2e-6) -> None:
    """Same tree, same types, and no entry off by more than `tolerance` of the largest."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    pairs = list(zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True))
    assert [abstract(got) for got, _ in pairs] == [abstract(want) for _, want in pairs]
    for got, want in pairs:
        if abstract(want)[1] == "float0":
            continue
        got, want = numbers(got), numbers(want)
        size = np.max(np.abs(want), initial=1.0)
        np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * size)


# What is differentiated: arguments of every kind


@dataclass(frozen=True)
class Call:
    """A function, and how it is called and differentiated."""

    fun: Callable[..., Any]
    args: tuple[Any, ...]
    argnums: Any = 0
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    def under(self, transform: Callable[..., Any]) -> Any:
        return transform(self.fun, self.argnums, **self.options)(*self.args, **self.kwargs)


X = np.array([0.5, -1.0, 2.0], np.float32)
Y = np.array([1.5, 0.25, -0.75], np.float32)
W = np.array([[0.1, 0.2], [-0.3, 0.4], [0.5, -0.6]], np.float32)
MASK = np.array([True, False, True])
INDEX = np.array([2, 0, 1], np.int32)
EMPTY = np.zeros((0, 3), np.float32)


class Affine(NamedTuple):
    weight: Any
    bias: Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Layer:
    weight: Any
    bias: Any
    width: int = field(metadata={"static": True}, default=2)


class Model:
    """A function with a state, and a method."""

    def __init__(self, scale: float):
        self.scale = scale

    def __call__(self, x):
        return self.scale * jnp.sum(jnp.sin(x))

    def loss(self, x, y):
        return self.scale * jnp.sum(x * y)


def dot(x, y):
    return jnp.sum(x * jnp.sin(y))


def powers(x, y=2.0, *, scale=3.0):
    return scale * jnp.sum(x**2) * y


def sum_of_squares(*xs):
    return sum(jnp.sum(x**2) * (i + 1) for i, x in enumerate(xs))


def keyword_bag(x, **rest):
    return jnp.sum(x * rest["a"]) + jnp.sum(rest["b"]["c"])


def affine(p, x):
    bias = 0.0 if p.bias is None else p.bias
    return jnp.sum(jnp.tanh(x @ p.weight + bias))


def nested(p):
    return jnp.sum(p["layers"][0]["w"] * p["layers"][1]["w"]) + p["scale"][0] ** 2


def mixed_precision(p, x):
    return jnp.sum((p.astype(x.dtype) * x).astype(jnp.float32) ** 2)


CALLS = {
    "one array": Call(dot, (X, Y)),
    "second argument": Call(dot, (X, Y), 1),
    "both": Call(dot, (X, Y), (0, 1)),
    "both, reversed": Call(dot, (X, Y), (1, 0)),
    "argnums in a list": Call(dot, (X, Y), [1]),
    "argnums from NumPy": Call(dot, (X, Y), np.int64(1)),
    "last argument": Call(dot, (X, Y), -1),
    "positive and negative": Call(dot, (X, Y), (0, -1)),
    "defaults": Call(powers, (X,)),
    "one default given": Call(powers, (X, 4.0), (0, 1)),
    "keyword": Call(powers, (X,), 0, {"y": 5.0}),
    "keyword only": Call(powers, (X, 1.5), 1, {"scale": Y[0]}),
    "keyword tree": Call(keyword_bag, (X,), 0, {"b": {"c": Y}, "a": 2.0}),
    "any number": Call(sum_of_squares, (X, Y, W), (0, 2)),
    "None inside": Call(affine, (Affine(W, None), X)),
    "None as argument": Call(lambda x, y: jnp.sum(x**2), (X, None)),
    "None differentiated": Call(lambda x, y: jnp.sum(x**2), (X, None), (0, 1)),
    "namedtuple": Call(affine, (Affine(W, Y[:2]), X), (0, 1)),
    "dataclass": Call(affine, (Layer(W, Y[:2]), X)),
    "nested containers": Call(nested, ({"layers": [{"w": X}, {"w": Y}], "scale": (2.0, None)},)),
    "empty containers": Call(lambda p: jnp.sum(p["w"]), ({"w": X, "none": (), "no": [{}]},)),
    "ordered dict": Call(
        lambda p: jnp.sum(p["b"] * p["a"]), (collections.OrderedDict(b=X, a=Y),)
    ),
    "Python float": Call(lambda x: x**3 + jnp.sin(x), (1.5,)),
    "Python float and array": Call(dot, (1.5, Y), (0, 1)),
    "NumPy scalar": Call(lambda x: x**3, (np.float32(1.5),)),
    "weakly typed array": Call(lambda x, y: x**3 * y, (jnp.asarray(2.0), 3.0), (0, 1)),
    "Python integer beside": Call(lambda x, n: jnp.sum(x * n), (X, 3)),
    "integers beside": Call(lambda x, i, m: jnp.sum(jnp.where(m, x, i)), (X, INDEX, MASK)),
    "scalar": Call(jnp.sin, (np.float32(0.5),)),
    "half precision": Call(lambda x: jnp.sum(x * x), (X.astype(np.float16),)),
    "bfloat16": Call(lambda x: jnp.sum(x * x), (X.astype(jnp.bfloat16),)),
    "two precisions": Call(mixed_precision, (X, Y.astype(np.float16)), (0, 1)),
    "nothing in the array": Call(lambda x: jnp.sum(x**2), (EMPTY,)),
    "nothing in one array": Call(lambda x, y: jnp.sum(x @ y), (EMPTY, W), (0, 1)),
    "independent of it": Call(lambda x: 3.0, (X,)),
    "a typed constant": Call(lambda x: jnp.float32(3.0), (X,)),
    "unused": Call(lambda x, y: jnp.sum(x**2), (X, Y), (0, 1)),
    "used as a shape only": Call(lambda x, y: jnp.sum(x) * len(y), (X, Y), (0, 1)),
    "the output is the input": Call(lambda x: x, (2.0,)),
    "closed-over NumPy array": Call(lambda x: jnp.sum(x * Y), (X,)),
    "closed-over JAX array": Call(lambda x: jnp.sum(x @ jnp.asarray(W)), (X,)),
    "partial": Call(functools.partial(powers, scale=2.0), (X, 1.5), (0, 1)),
    "bound method": Call(Model(2.0).loss, (X, Y), 1),
    "callable object": Call(Model(2.0), (X,)),
    "jitted function": Call(jax.jit(dot), (X, Y), (0, 1)),
    "through a reshape": Call(lambda w: jnp.sum(w.T.reshape(-1)[:4] ** 2), (W,)),
}


@pytest.mark.parametrize("name", CALLS)
def test_value_and_grad(name):
    identical(CALLS[name].under(sg.value_and_grad), CALLS[name].under(jax.value_and_grad))


SOME = ("both, reversed", "last argument", "any number", "None inside", "None differentiated")
SOME += ("dataclass", "Python float and array", "two precisions", "independent of it", "unused")


@pytest.mark.parametrize("name", SOME)
def test_grad(name):
    identical(CALLS[name].under(sg.grad), CALLS[name].under(jax.grad))


@pytest.mark.parametrize("name", SOME)
def test_hessian(name):
    identical(CALLS[name].under(sg.hessian), CALLS[name].under(jax.hessian))


@pytest.mark.parametrize("name", SOME)
def test_hvp_is_the_derivative_of_the_gradient(name):
    """H v = ∂/∂t ∇f(x + t v); the vector has the structure that the gradient has."""
    call = CALLS[name]
    numbers_of = [call.argnums] if isinstance(call.argnums, int) else call.argnums
    chosen = [call.args[n] for n in numbers_of]
    v = jax.tree.map(lambda leaf: 0.5 * leaf, chosen)
    vector = v[0] if isinstance(call.argnums, int) else tuple(v)

    def gradient(*chosen):
        args = list(call.args)
        for n, arg in zip(numbers_of, chosen, strict=True):
            args[n] = arg
        return jax.grad(call.fun, call.argnums)(*args, **call.kwargs)

    found = sg.hvp(call.fun, call.argnums)(vector, *call.args, **call.kwargs)
    identical(found, jax.jvp(gradient, tuple(chosen), tuple(v))[1])


# Functions with many outputs


def tree_of_outputs(x, y):
    return {"sum": jnp.sum(x * y), "nothing": None, "pair": (x * y, [jnp.sin(x[0])])}


def matrix(p, x):
    return Affine(x @ p["w"] + p["b"], jnp.tanh(x))


MAPS = {
    "vector": Call(lambda x: jnp.sin(x) * x[0], (X,)),
    "scalar to scalar": Call(lambda x: x**2, (3.0,)),
    "scalar to vector": Call(lambda x: x * Y, (np.float32(2.0),)),
    "tree of outputs": Call(tree_of_outputs, (X, Y), (0, 1)),
    "reversed arguments": Call(tree_of_outputs, (X, Y), (1, 0)),
    "trees in and out": Call(matrix, ({"w": W, "b": 0.5}, X), (0, -1)),
    "input passed on": Call(lambda x, y: (x, x * y), (X, Y), 1),
    "one output twice": Call(lambda x: (jnp.sin(x),) * 2, (X,)),
    "constant output": Call(lambda x: (3.0, jnp.ones(2), x), (X,)),
    "no output": Call(lambda x: (None, ()), (X,)),
    "empty in": Call(lambda x: x * 3.0, (EMPTY,)),
    "empty out": Call(lambda x: x[:0], (X,)),
    "unused input": Call(lambda x, y: x * 2.0, (X, Y), (0, 1)),
    "strong from weak": Call(lambda x, y: (x * y, y), (2.0, X), (0, 1)),
    "weak from weak": Call(lambda x: (x * 2, jnp.float32(2.0) * x), (2.0,)),
    "two precisions": Call(lambda x: x.astype(jnp.float16) * 2, (X,)),
    "up from half": Call(lambda x: x.astype(jnp.float32) * 2, (X.astype(np.float16),)),
    "keywords": Call(lambda x, *, k: x * k, (X,), 0, {"k": Y}),
    "matrix to matrix": Call(lambda a: a.T @ a, (W,)),
}


@pytest.mark.parametrize("transform", ["jacfwd", "jacrev"])
@pytest.mark.parametrize("name", MAPS)
def test_jacobians(name, transform):
    identical(MAPS[name].under(getattr(sg, transform)), MAPS[name].under(getattr(jax, transform)))


@pytest.mark.parametrize("name", ["vector", "trees in and out", "scalar to vector", "unused input"])
def test_jacobian_is_jacfwd_or_jacrev(name):
    identical(MAPS[name].under(sg.jacobian), MAPS[name].under(jax.jacfwd))


@pytest.mark.parametrize("name", ["tree of outputs", "one output twice", "strong from weak"])
def test_hessian_of_many_outputs(name):
    identical(MAPS[name].under(sg.hessian), MAPS[name].under(jax.hessian))


INTEGERS = {
    "integer output": Call(lambda x: (x * 2, jnp.argmax(x)), (X,)),
    "integer input": Call(lambda x, i: x[i] * 2.0, (X, INDEX)),
    "boolean input": Call(lambda x, m: jnp.where(m, x, 0.0), (X, MASK)),
    "Python integer": Call(lambda x, n: x * n, (X, 3)),
    "integers only": Call(lambda i: i * 2, (INDEX,)),
}
ALL_MAPS = MAPS | INTEGERS


def direction(leaf: Any) -> Any:
    """A tangent or cotangent of a leaf, `float0` for integers."""
    shape, dtype, _ = abstract(leaf)
    if not jnp.issubdtype(dtype, np.inexact):
        return np.zeros(shape, jax.dtypes.float0)
    return np.linspace(0.5, 1.5, np.size(leaf)).reshape(shape).astype(dtype)


@pytest.mark.parametrize("name", ALL_MAPS)
def test_vjp(name):
    call = ALL_MAPS[name]
    fun = functools.partial(call.fun, **call.kwargs)
    value, pull = sg.vjp(fun, *call.args)
    expected, jax_pull = jax.vjp(fun, *call.args)
    identical(value, expected)
    cotangent = jax.tree.map(direction, expected)
    identical(pull(cotangent), jax_pull(cotangent))


@pytest.mark.parametrize("name", ALL_MAPS)
def test_jvp(name):
    call = ALL_MAPS[name]
    fun = functools.partial(call.fun, **call.kwargs)
    tangents = jax.tree.map(direction, call.args)
    identical(sg.jvp(fun, call.args, tangents), jax.jvp(fun, call.args, tangents))


@pytest.mark.parametrize("name", ALL_MAPS)
def test_jit(name):
    call = ALL_MAPS[name]
    identical(
        sg.jit(call.fun)(*call.args, **call.kwargs), jax.jit(call.fun)(*call.args, **call.kwargs)
    )


def test_jvp_takes_lists():
    identical(sg.jvp(dot, [X, Y], [Y, X]), jax.jvp(dot, [X, Y], [Y, X]))


def test_vjp_and_jvp_of_nothing():
    identical(sg.jvp(lambda: 3.0, (), ()), jax.jvp(lambda: 3.0, (), ()))
    value, pull = sg.vjp(lambda: 3.0)
    assert (float(value), pull(1.0)) == (3.0, ())


# Auxiliary outputs

AUXILIARY = {
    "array": lambda x: 2 * x,
    "the loss itself": lambda x: jnp.sum(x**2),
    "None": lambda x: None,
    "Python numbers": lambda x: {"n": 3, "flag": True, "r": 0.5},
    "nothing": lambda x: (),
    "nested": lambda x: {"a": [x, (jnp.argmax(x), None)], "b": Affine(x[0], x > 0)},
    "empty array": lambda x: x[:0],
    "constant array": lambda x: jnp.arange(3),
}


def with_aux(aux: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: (jnp.sum(x**2), aux(x))


@pytest.mark.parametrize("name", AUXILIARY)
def test_aux_of_grad(name):
    fun = with_aux(AUXILIARY[name])
    for transform in ("grad", "value_and_grad"):
        identical(
            getattr(sg, transform)(fun, has_aux=True)(X),
            getattr(jax, transform)(fun, has_aux=True)(X),
        )


@pytest.mark.parametrize("transform", ["jacfwd", "jacrev", "hessian"])
def test_aux_of_jacobians(transform):
    fun = with_aux(AUXILIARY["nested"])
    ours, theirs = (getattr(m, transform)(fun, has_aux=True)(X) for m in (sg, jax))
    identical(ours, theirs)


def test_aux_of_vjp_and_jvp():
    fun = with_aux(AUXILIARY["nested"])
    value, pull, aux = sg.vjp(fun, X, has_aux=True)
    jax_value, jax_pull, jax_aux = jax.vjp(fun, X, has_aux=True)
    identical((value, aux), (jax_value, jax_aux))
    identical(pull(np.float32(2.0)), jax_pull(np.float32(2.0)))
    identical(sg.jvp(fun, (X,), (Y,), has_aux=True), jax.jvp(fun, (X,), (Y,), has_aux=True))


def test_aux_in_a_list_or_namedtuple():
    for pair in (lambda x: [x**2, x], lambda x: Affine(x**2, x)):
        identical(sg.grad(pair, has_aux=True)(2.0), jax.grad(pair, has_aux=True)(2.0))
