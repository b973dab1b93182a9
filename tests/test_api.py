"""The transformations give what their namesakes in JAX give: values, types and structures.

`identical` is the bar of the whole file: same tree, same shapes, dtypes and weak types, same
numbers to rounding. JAX runs compiled here, as symgrad does.
"""

from __future__ import annotations

import collections
import functools
import importlib
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from together import agree

import symgrad as sg
from symgrad import progress
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

    def ours(self, transform: str) -> Any:
        made = getattr(sg, transform)(self.fun, self.argnums, **self.options)
        return made(*self.args, **self.kwargs)

    def theirs(self, transform: str) -> Any:
        made = getattr(jax, transform)(self.fun, self.argnums, **self.options)
        return jax.jit(made)(*self.args, **self.kwargs)

    def check(self, transform: str, tolerance: float = 2e-6) -> None:
        identical(self.ours(transform), self.theirs(transform), tolerance)


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
    "ordered dict": Call(lambda p: jnp.sum(p["b"] * p["a"]), (collections.OrderedDict(b=X, a=Y),)),
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
    CALLS[name].check("value_and_grad")


SOME = ("both, reversed", "last argument", "any number", "None inside", "None differentiated")
SOME += ("dataclass", "Python float and array", "two precisions", "independent of it", "unused")


@pytest.mark.parametrize("name", SOME)
def test_grad(name):
    CALLS[name].check("grad")


@pytest.mark.parametrize("name", SOME)
def test_hessian(name):
    CALLS[name].check("hessian")


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
    pushed = jax.jit(lambda chosen, v: jax.jvp(gradient, chosen, v)[1])
    identical(found, pushed(tuple(chosen), tuple(v)))


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
@pytest.mark.parametrize("name", [n for n in MAPS if n != "no output"])
def test_jacobians(name, transform):
    MAPS[name].check(transform)


@pytest.mark.parametrize("name", ["vector", "trees in and out", "scalar to vector", "unused input"])
def test_jacobian(name):
    MAPS[name].check("jacobian")


@pytest.mark.parametrize("name", ["tree of outputs", "one output twice", "strong from weak"])
def test_hessian_of_many_outputs(name):
    MAPS[name].check("hessian")


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


# Numbers that are not real: integers, complex numbers, random keys


@pytest.mark.parametrize("transform", ["grad", "value_and_grad"])
def test_allow_int(transform):
    """Integers, booleans and keys, alone or inside a tree, get zeros of dtype `float0`."""

    def fun(p, i):
        return jnp.sum(p["w"] * p["n"]) * jnp.sum(i)

    call = ({"w": X, "n": np.int32(3), "m": MASK, "k": jax.random.key(0)}, INDEX)
    ours, theirs = (
        getattr(m, transform)(fun, argnums=(0, 1), allow_int=True)(*call) for m in (sg, jax)
    )
    identical(ours, theirs)


Z = (X + 1j * Y).astype(np.complex64)

HOLOMORPHIC = {
    "square": lambda z: jnp.sum(z * z),
    "exponential": lambda z: jnp.sum(jnp.exp(1j * z)),
    "quotient": lambda z: jnp.sum(z[1:] / (z[:-1] + 2.0)),
}


@pytest.mark.parametrize("transform", ["grad", "jacfwd", "jacrev", "hessian"])
@pytest.mark.parametrize("name", HOLOMORPHIC)
def test_holomorphic(name, transform):
    Call(HOLOMORPHIC[name], (Z,), options={"holomorphic": True}).check(transform)


THROUGH_COMPLEX = {
    "modulus": Call(lambda x, y: jnp.sum(jnp.abs(x + 1j * y) ** 2), (X, Y), (0, 1)),
    "real part": Call(lambda x: jnp.sum(jnp.real(jnp.exp(1j * x) * x)), (X,)),
    "imaginary part": Call(lambda x: jnp.sum(jnp.imag((x + 2j) ** 3)), (X,)),
    "conjugate": Call(lambda x, y: jnp.vdot(x + 1j * y, (x - 1j * y)).real, (X, Y), (0, 1)),
    "complex argument": Call(lambda z: jnp.sum(jnp.real(z * jnp.conj(z))), (Z,)),
    "parts of an argument": Call(lambda z: jnp.sum(z.real**2 * z.imag), (Z,)),
}


@pytest.mark.parametrize("name", THROUGH_COMPLEX)
def test_real_functions_of_complex_numbers(name):
    """The convention of JAX: the gradient in a complex argument is conjugated."""
    THROUGH_COMPLEX[name].check("value_and_grad")


def test_complex_vjp_and_jvp():
    def fun(z):
        return z * z, jnp.conj(z)

    cotangents = (Z[::-1], 1j * Z)
    (pulled,) = sg.vjp(fun, Z)[1](cotangents)
    (jax_pulled,) = jax.vjp(fun, Z)[1](cotangents)
    identical(pulled, jax_pulled)
    identical(sg.jvp(fun, (Z,), (1j * Z,)), jax.jvp(fun, (Z,), (1j * Z,)))


def dropout_loss(w, key):
    noise, mask = jax.random.split(key)
    kept = jax.random.bernoulli(mask, 0.5, w.shape)
    return jnp.sum(jnp.where(kept, w * jax.random.normal(noise, w.shape), 0.0) ** 2)


@pytest.mark.parametrize("make", [jax.random.key, jax.random.PRNGKey])
def test_random_numbers_inside(make):
    """The same key gives the same numbers, another key others; neither compiles anew."""
    ours, theirs = sg.value_and_grad(dropout_loss), jax.jit(jax.value_and_grad(dropout_loss))
    for seed in (0, 1):
        identical(ours(X, make(seed)), theirs(X, make(seed)))
    assert len(ours._plans) == 1
    assert np.any(ours(X, make(0))[1] != ours(X, make(1))[1])


def test_random_key_closed_over_and_returned():
    key = jax.random.key(7)

    def fun(x):
        return jnp.sum(x * jax.random.uniform(key, x.shape)), jax.random.split(key)

    identical(sg.grad(fun, has_aux=True)(X), jax.grad(fun, has_aux=True)(X))


# Precision


def test_x64_on_and_off(float64):
    """One transformed function serves both settings, each compiled for itself."""
    gradient, x = sg.grad(dot), np.linspace(0.1, 1.0, 5)
    identical(gradient(x, x), jax.grad(dot)(x, x), 1e-14)
    with jax.enable_x64(False):
        identical(gradient(x, x), jax.grad(dot)(x, x))
    identical(gradient(x, x), jax.grad(dot)(x, x), 1e-14)
    assert len(gradient._plans) == 2


@pytest.mark.parametrize("name", ["Python float and array", "two precisions", "integers beside"])
def test_types_in_x64(name, float64):
    CALLS[name].check("value_and_grad")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_gradient_has_the_dtype_of_its_argument(dtype, float64):
    x = jnp.asarray(X, dtype)
    gradient = sg.grad(lambda x: jnp.sum(jnp.tanh(x) * 2.0))(x)
    assert gradient.dtype == x.dtype
    identical(gradient, jax.grad(lambda x: jnp.sum(jnp.tanh(x) * 2.0))(x), 1e-2)


# Composition with JAX


def loss(w, x):
    return jnp.mean(jnp.tanh(x @ w) ** 2)


def test_inside_jit():
    identical(jax.jit(sg.grad(loss))(W, X), jax.jit(jax.grad(loss))(W, X))


@pytest.mark.parametrize("in_axes", [(None, 0), (0, None), (0, 0), (2, 1)])
def test_inside_vmap(in_axes):
    shapes = {None: (W, X), 0: (np.stack([W, -W]), np.stack([X, Y]))}
    shapes |= {1: (None, np.stack([X, Y], 1)), 2: (np.stack([W, -W], 2), None)}
    args = tuple(shapes[axis][i] for i, axis in enumerate(in_axes))
    ours = jax.vmap(sg.value_and_grad(loss), in_axes)(*args)
    identical(ours, jax.vmap(jax.value_and_grad(loss), in_axes)(*args))


def cubic(x):
    return jnp.sum(x**3 * jnp.sin(x))


NESTED = {
    "sg(sg)": lambda: sg.grad(lambda x: sg.grad(cubic)(x).sum()),
    "jax(sg)": lambda: jax.grad(lambda x: sg.grad(cubic)(x).sum()),
    "sg(jax)": lambda: sg.grad(lambda x: jax.grad(cubic)(x).sum()),
    "sg(sg.hvp)": lambda: sg.jit(lambda x: sg.hvp(cubic)(jnp.ones_like(x), x)),
    "sg(jax.jvp(sg))": lambda: sg.jit(
        lambda x: jax.jvp(sg.grad(cubic), (x,), (jnp.ones_like(x),))[1]
    ),
    "jacobian of gradient": lambda: lambda x: sg.jacfwd(sg.grad(cubic))(x).sum(0),
    "vjp of gradient": lambda: lambda x: sg.vjp(sg.grad(cubic), x)[1](jnp.ones_like(x))[0],
}


@pytest.mark.parametrize("name", NESTED)
def test_derivative_of_a_derivative(name):
    expected = jax.grad(lambda x: jax.grad(cubic)(x).sum())(X)
    identical(NESTED[name]()(X), expected, 1e-5)


def test_three_times():
    third = sg.grad(sg.grad(sg.grad(lambda x: x**5)))
    identical(third(2.0), jax.grad(jax.grad(jax.grad(lambda x: x**5)))(2.0))


@pytest.mark.parametrize("outer", [jax.jit, jax.vmap, jax.checkpoint])
def test_of_a_function_that_uses_jax(outer):
    def fun(x):
        inner = outer(lambda x: jnp.sin(x) * x)
        return jnp.sum(inner(x) ** 2)

    identical(sg.grad(fun)(X), jax.grad(fun)(X))


def test_inside_scan():
    def descend(gradient):
        def step(w, x):
            return w - 0.1 * gradient(loss)(w, x), loss(w, x)

        return jax.jit(lambda w: lax.scan(step, w, jnp.stack([X, Y, X])))

    identical(descend(sg.grad)(W), descend(jax.grad)(W))


def test_inside_a_loop_and_a_branch():
    def fun(gradient):
        body = lambda i, x: x - 0.1 * gradient(cubic)(x)  # noqa: E731
        return jax.jit(
            lambda x: lax.cond(x[0] > 0, lambda x: lax.fori_loop(0, 3, body, x), jnp.sin, x)
        )

    identical(fun(sg.grad)(X), fun(jax.grad)(X))


def test_closing_over_what_jax_differentiates():
    """The inner gradient depends on a value that an outer transformation traces."""

    def fun(m):
        return lambda w: m.grad(lambda x: jnp.sum(jnp.sin(w * x)))(X).sum()

    expected = jax.grad(fun(jax))(2.0)
    identical(jax.grad(fun(sg))(2.0), expected)
    identical(sg.grad(fun(sg))(2.0), expected)
    identical(jax.jit(fun(sg))(2.0), jax.jit(fun(jax))(2.0))


def test_results_are_arrays_to_go_on_with():
    gradient = sg.grad(cubic)(X)
    assert isinstance(gradient, jax.Array)
    identical(gradient + 1, jax.grad(cubic)(X) + 1)


# One compilation for each abstract signature


def test_compiled_once_for_each_signature():
    gradient = sg.grad(lambda x, y: jnp.sum(x * y))
    for x, y, compilations in [
        (X, Y, 1),
        (Y, X, 1),
        (jnp.asarray(X), Y, 1),
        (X, 2.0, 2),
        (X, 3.0, 2),
        (X, np.float32(2.0), 3),
        (X, 2, 4),
        (X[:2], Y[:2], 5),
        (X.astype(np.float16), Y, 6),
    ]:
        identical(gradient(x, y), jax.grad(lambda x, y: jnp.sum(x * y))(x, y))
        assert len(gradient._plans) == compilations


def test_keywords_and_structures_are_part_of_the_signature():
    gradient = sg.grad(lambda x, p=None: jnp.sum(x) if p is None else jnp.sum(x * p["a"]))
    for kwargs, compilations in [({}, 1), ({"p": {"a": 2.0}}, 2), ({"p": None}, 3), ({}, 3)]:
        gradient(X, **kwargs)
        assert len(gradient._plans) == compilations


def test_reading_compiles_nothing_anew():
    gradient = sg.grad(loss)
    gradient(W, X)
    gradient.source(W, X), gradient.graph(W, X), gradient.explain(W, X), gradient.lower(W, X)
    assert len(gradient._plans) == 1


def test_traced_once_per_signature():
    calls = []

    def fun(x):
        calls.append(x.shape)
        return jnp.sum(x**2)

    gradient = sg.grad(fun)
    for _ in range(3):
        gradient(X)
    assert calls == [(3,)]


def test_vjp_and_jvp_follow_what_the_function_closes_over():
    """As in JAX: they look at the function at each call, and compile only what is new."""
    factor = 2.0

    def fun(x):
        return factor * x

    for factor in (2.0, 3.0, 2.0):
        assert sg.vjp(fun, 1.0)[1](1.0)[0] == factor
        assert sg.jvp(fun, (1.0,), (1.0,))[1] == factor
    assert sg.vjp(fun, 1.0)[1]._transformed is sg.vjp(fun, 1.0)[1]._transformed
    assert len(sg.vjp(fun, 1.0)[1]._transformed._plans) == 2


# sg.jit


def repeat(x, n, *, power=1):
    for _ in range(n):
        x = x * 2.0
    return x**power


@pytest.mark.parametrize(
    "options",
    [
        {"static_argnums": 1},
        {"static_argnums": (1,), "static_argnames": "power"},
        {"static_argnames": ("n", "power")},
        {"static_argnums": -1},
    ],
)
def test_static_arguments(options):
    ours, theirs = sg.jit(repeat, **options), jax.jit(repeat, **options)
    for n in (2, 3, 2):
        identical(ours(X, n), theirs(X, n))
    assert len(ours._plans) == 2


def test_static_argument_by_keyword():
    ours = sg.jit(repeat, static_argnames=("n", "power"))
    theirs = jax.jit(repeat, static_argnames=("n", "power"))
    identical(ours(X, n=2, power=3), theirs(X, n=2, power=3))
    identical(ours(X, n=2, power=2), (X * 4) ** 2 + jnp.zeros(3))
    assert len(ours._plans) == 2


def test_static_strings_and_functions():
    fun = sg.jit(lambda x, how, f: f(x) if how == "apply" else x, static_argnums=(1, 2))
    identical(fun(X, "apply", jnp.sin), jnp.sin(X))
    identical(fun(X, "keep", jnp.sin), jnp.asarray(X))


def test_donated_memory_is_reused():
    update = sg.jit(lambda w, g: w - 0.1 * g, donate_argnums=0)
    w, g = jnp.asarray(W), jnp.asarray(W)
    identical(update(w, g), jnp.asarray(W) - 0.1 * jnp.asarray(W))
    assert w.is_deleted()
    assert not g.is_deleted()


# Threads


def test_threads_agree():
    """Every thread asks for the same and for different signatures at the same time."""
    gradient = sg.value_and_grad(loss)
    inputs = [(W, X), (W, np.stack([X, Y])), (W * 2, X), (W[:2], X[:2])]
    found: dict[int, list[Any]] = {}
    gate = threading.Barrier(4)

    def work(number: int) -> None:
        gate.wait()
        found[number] = [gradient(*inputs[(i + number) % 4]) for i in range(8)]

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    expected = [sg.value_and_grad(loss)(*args) for args in inputs]
    for number, results in found.items():
        for i, result in enumerate(results):
            identical(result, expected[(i + number) % 4], 0.0)
    assert len(found) == 4
    assert len(gradient._plans) == 3


# What every transformed function can show


TRANSFORMED = {
    "jit": (sg.jit(loss), (W, X)),
    "grad": (sg.grad(loss), (W, X)),
    "value_and_grad": (sg.value_and_grad(loss), (W, X)),
    "jacfwd": (sg.jacfwd(loss), (W, X)),
    "jacrev": (sg.jacrev(loss), (W, X)),
    "jacobian": (sg.jacobian(loss), (W, X)),
    "hessian": (sg.hessian(loss), (W, X)),
    "hvp": (sg.hvp(loss), (W, W, X)),
}


def structs(args: Any) -> Any:
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), args)


@pytest.mark.parametrize("name", TRANSFORMED)
def test_methods_take_arrays_and_shapes(name):
    made, args = TRANSFORMED[name]
    for form in (args, structs(args)):
        source = made.source(*form)
        graph, report, lowered = made.graph(*form), made.explain(*form), made.lower(*form)
        assert isinstance(graph, sg.Graph)
        assert len(graph.inputs) == len(args)
        assert isinstance(report, sg.Report)
        assert str(len(graph)) in str(report)
        assert "<table>" in report._repr_html_()
        assert isinstance(lowered, jax.stages.Lowered)
    assert len(made._plans) == 1
    identical(lowered.compile()(*args)[0], jax.tree.leaves(made(*args))[0])
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    run = namespace[made.__name__](*args)
    identical(jax.tree.leaves(run)[0], jax.tree.leaves(made(*args))[0])


def test_source_is_the_text_that_runs():
    made, args = TRANSFORMED["grad"]
    source = made.source(*args)
    imports = [line for line in source.splitlines() if line.split()[:1] in (["import"], ["from"])]
    assert imports and all(line.split()[1].startswith("jax") for line in imports)
    assert "def grad_loss(w, x):" in source
    assert "with respect to w" in source
    (plan,) = made._plans.values()
    assert plan.executable.program.text == source


def test_report_names_rules_and_lines():
    report = str(sg.grad(lambda x: jnp.log(jnp.exp(x) + 1.0) * 1.0).explain(0.5))
    assert "fired" in report
    assert "test_api.py:" in report
    for stage in ("trace", "differentiate", "simplify", "FLOPs", "peak bytes"):
        assert stage in report


def recurrent_loss(w, xs):
    def step(h, x):
        h = jnp.tanh(h * w + x)
        return h, jnp.log(1 + jnp.exp(h))

    return jnp.sum(jax.lax.scan(step, jnp.zeros(3), xs)[1])


@pytest.mark.parametrize(
    ("made", "args"),
    [
        (sg.grad(lambda x: -jnp.sum(jnp.log(jax.nn.softmax(x)) * X)), (X,)),
        (sg.hessian(lambda x: jnp.sum(jnp.tanh(x) ** 3)), (X,)),
        (sg.grad(recurrent_loss), (X, np.ones((4, 3), np.float32))),
        (sg.jit(lambda a, b, x: a @ b @ a @ x), (np.ones((9, 9)), np.ones((9, 9)), np.ones(9))),
        (sg.jit(lambda x: x), (X,)),
    ],
    ids=["softmax", "hessian", "scan", "products", "nothing"],
)
def test_report_accounts_for_every_change(made, args):
    report = made.explain(*args)
    first, last = report.stages[0].cost, report.stages[-1].cost
    changes = report.changes
    assert sum(c.nodes for c in changes.values()) == last.nodes - first.nodes
    assert sum(c.flops for c in changes.values()) == last.flops - first.flops
    fired = {f.rule for f in report.firings}
    assert {name for name in changes if not name.startswith("(")} <= fired
    assert any(line.split()[:1] == ["all"] for line in str(report).splitlines())


def test_pullback_can_be_read():
    _, pull = sg.vjp(jnp.sin, X)
    assert "cos" in pull.source(Y)
    assert len(pull.graph(Y).inputs) == 2
    assert "vjp" in str(pull.explain(Y))
    assert isinstance(pull.lower(Y), jax.stages.Lowered)


def test_names_and_documentation_are_kept():
    def energy(x):
        """The energy."""
        return jnp.sum(x**2)

    made = sg.grad(energy)
    assert (made.__name__, made.__doc__, made.__wrapped__) == ("grad_energy", "The energy.", energy)
    assert "grad of energy" in repr(made)
    for fun in (functools.partial(powers, scale=2.0), Model(1.0), lambda x: x):
        assert " at 0x" not in repr(sg.grad(fun))


def test_trace_is_named_after_the_arguments():
    graph = sg.trace(nested, *structs(({"layers": [{"w": X}, {"w": Y}], "scale": (X[0],)},)))
    assert len(set(graph.names)) == len(graph.inputs) == 3
    assert all(name.isidentifier() for name in graph.names)
    assert sg.trace(jnp.sin, X).outputs[0].op.name == "sin"


# rules=


def softplus_loss(x):
    return jnp.sum(jnp.log(1.0 + jnp.exp(x)))


@pytest.mark.parametrize("rules", ["default", "exact", "none", tuple(sg.rules), list(sg.rules)[:5]])
@pytest.mark.parametrize("transform", ["jit", "grad", "hessian"])
def test_rules_change_the_program_not_the_result(transform, rules):
    found = getattr(sg, transform)(softplus_loss, rules=rules)(X)
    identical(found, jax.jit(getattr(jax, transform)(softplus_loss))(X), 4e-6)


def test_which_rules_run():
    programs = {r: sg.grad(softplus_loss, rules=r) for r in ("default", "exact", "none")}
    fired = {name: made.explain(X).firings for name, made in programs.items()}
    assert fired["none"] == ()
    exact = {rule.name for rule in sg.rules if rule.exact}
    assert {f.rule for f in fired["exact"]} <= exact
    assert not {f.rule for f in fired["default"]} <= exact
    assert float(programs["default"](np.float32(1000.0))) == 1.0


def test_chosen_rules_only():
    chosen = [rule for rule in sg.rules if rule.exact][:3]
    fired = sg.grad(softplus_loss, rules=chosen).explain(X).firings
    assert {f.rule for f in fired} <= {rule.name for rule in chosen}


def test_exact_rules_keep_every_bit():
    fun = lambda x, y: jnp.sum(jnp.sin(x) * y - x / 3.0)  # noqa: E731
    ours = sg.jit(fun, rules="exact")(X, Y)
    assert np.asarray(ours).tobytes() == np.asarray(jax.jit(fun)(X, Y)).tobytes()


def test_transformed_is_what_the_interface_promises():
    for made, _ in TRANSFORMED.values():
        assert isinstance(made, Transformed)
        for method in ("graph", "source", "explain", "lower"):
            assert callable(getattr(made, method))


# What is no array


def apply(function, params, x):
    return jnp.sum(function(params["w"] * x))


def test_arguments_that_are_not_differentiated_may_be_anything():
    """A callable, a string, an object: the program is compiled for that very value."""
    params = {"w": X}
    static = {"act": jnp.sin, "name": "sine", "object": object(), "list": [1.0, None]}

    def loss(params, static, *, scale):
        assert isinstance(static["name"], str)
        return jnp.sum(static["act"](params["w"]) * static["list"][0]) * scale["by"]

    gradient = sg.grad(loss)
    scale = {"by": 2.0, "note": "twice"}
    identical(gradient(params, static, scale=scale), jax.grad(loss)(params, static, scale=scale))
    other = {**static, "act": jnp.cos}
    identical(gradient(params, other, scale=scale), jax.grad(loss)(params, other, scale=scale))
    identical(sg.grad(apply, 1)(jnp.exp, params, X), jax.grad(apply, 1)(jnp.exp, params, X))


def test_equal_values_are_compiled_once():
    traces = []

    def loss(x, how, unhashable):
        traces.append(how)
        return jnp.sum(x) * len(how) * len(unhashable.parts)

    class Unhashable:
        __hash__ = None  # type: ignore[assignment]
        parts = (1, 2)

    gradient, one, two = sg.grad(loss), Unhashable(), Unhashable()
    for how, value in (("ab", one), ("".join(["a", "b"]), one), ("abc", one), ("ab", two)):
        assert np.all(np.asarray(gradient(X, how, value)) == 2 * len(how))
    assert traces == ["ab", "abc", "ab"]


def test_differentiated_arguments_are_arrays():
    for by in (jax, sg):
        with pytest.raises(TypeError, match=r"function|PjitFunction"):
            by.grad(apply)(jnp.sin, {"w": X}, X)
        with pytest.raises(TypeError, match="str"):
            by.jit(lambda x, name: x)(X, "name")


@pytest.mark.parametrize(
    ("fun", "others"),
    [
        (lambda w, train: jnp.sum(w**2) if train else jnp.sum(w), (True, False)),
        (lambda w, n: jnp.sum(w[:n] ** 2), (2, 3)),
        (lambda w, n: sum(jnp.sum(w**i) for i in range(n)), (1, 3)),
        (lambda w, axis: jnp.sum(jnp.max(w[None] * w[:, None], axis=axis)), (0, 1)),
        (lambda w, n: jnp.sum(w[:2].reshape(n, -1) @ jnp.ones((2 // n, n))), (1, 2)),
    ],
    ids=["flag", "slice", "range", "axis", "shape"],
)
@pytest.mark.parametrize("by", ["grad", "value_and_grad", "jacfwd", "hessian"])
def test_numbers_of_python_have_values_where_the_function_needs_them(fun, others, by):
    w = np.array([1.0, 2.0, 4.0, 3.0], np.float32)
    ours, theirs = getattr(sg, by)(fun), getattr(jax, by)(fun)
    for other in others:
        agree(ours(w, other), theirs(w, other), 1e-6)
        agree(jax.jit(lambda w, other=other: ours(w, other))(w), theirs(w, other), 1e-6)


def test_a_step_count_needs_no_new_program():
    traced = []

    def loss(w, train, step):
        traced.append((train, step))
        return jnp.sum(w**2) / (1 + step) if train else jnp.sum(w)

    slope = sg.grad(loss)
    agree(slope(X, True, 0), 2 * X, 1e-6)
    traced.clear()
    for step in range(1, 4):
        agree(slope(X, True, step), 2 * X / (1 + step), 1e-6)
    assert not traced


def test_auxiliary_output_may_be_anything():
    def loss(x):
        aux = {"name": "loss", "count": 3, "array": np.arange(2), "twice": 2 * x, "none": None}
        return jnp.sum(x), aux

    for way in (
        lambda by: by.grad(loss, has_aux=True)(X)[1],
        lambda by: by.value_and_grad(loss, has_aux=True)(X)[0][1],
        lambda by: by.vjp(loss, X, has_aux=True)[2],
    ):
        ours, theirs = way(sg), way(jax)
        assert ours.keys() == theirs.keys()
        assert (ours["name"], ours["count"], ours["none"]) == ("loss", 3, None)
        assert type(ours["array"]) is type(theirs["array"])
        identical(ours["twice"], theirs["twice"])


def test_pullbacks_do_not_repeat_effects(capsys):
    def talkative(x):
        jax.debug.print("seen {}", x, ordered=True)
        return x**2

    value, pull = sg.vjp(talkative, 3.0)
    assert (value, *pull(1.0)) == (9.0, 6.0)
    jax.effects_barrier()
    assert capsys.readouterr().out == "seen 3.0\n"


@pytest.fixture
def watched(monkeypatch):
    """As on a terminal, with every phase taken for a long one."""
    monkeypatch.setattr(progress, "AFTER", 0.0)
    monkeypatch.setattr(progress, "is_watched", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")


def slow_to_trace(x):
    time.sleep(0.2)
    return jnp.sum(x**2)


@pytest.mark.parametrize("with_rich", [True, False], ids=["rich", "plain"])
def test_phases_that_take_long_announce_themselves(watched, with_rich, capsys, monkeypatch):
    if with_rich:
        importlib.import_module("rich.progress")
    else:
        monkeypatch.setitem(sys.modules, "rich.progress", None)
    agree(sg.grad(slow_to_trace)(X), 2 * X, 1e-6)
    said = capsys.readouterr().err
    assert "symgrad: trace" in said


def test_phases_say_nothing_where_nobody_watches(capsys, monkeypatch):
    monkeypatch.setattr(progress, "AFTER", 0.0)
    sg.grad(slow_to_trace)(X)
    assert capsys.readouterr() == ("", "")


def test_mistakes_end_the_announcement(watched):
    with pytest.raises(sg.SymgradError):
        sg.grad(lambda x: time.sleep(0.1) or jnp.ones(3) @ jnp.ones(2))(X)
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join(5)
            assert not thread.is_alive()
