"""Every mistake gets a sentence, the user's own line with a caret, and what to do about it.

The class is symgrad's and also the builtin one that JAX raises for the same call, so that
`except TypeError` goes on working. JAX itself is asked, by making the same mistake with it.
"""

from __future__ import annotations

import linecache
import math
import re
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import symgrad as sg

X = np.array([0.5, -1.0, 2.0], np.float32)
W = np.array([[0.1, 0.2], [-0.3, 0.4], [0.5, -0.6]], np.float32)
MOST_LINES = 12


class Thing:
    """Not an array."""


# Functions with one mistake each


def product(x, y):
    return x * y


def total(x):
    return jnp.sum(x)


def entries(x):
    y = jnp.sin(x) * 2.0
    return y


def several(x):
    return x.sum(), (x, [x])


def rounded(x):
    return jnp.argmax(x)


def turned(x):
    return x * 1j


def squared(x):
    return x * x


def layer(x, w):
    h = jnp.tanh(x @ w)
    return h.sum()


def longer(x):
    return jnp.sum(x + np.ones(4, np.float32))


def reshaped(x):
    return jnp.sum(x.reshape(2, 2))


def summed_along(x):
    return jnp.sum(x, axis=3)


def picked(x):
    return jnp.sum(x[0, 0])


def masked(x):
    return jnp.sum(x[x > 0])


def branching(x):
    if x > 0:
        return x
    return -x


def looping(x):
    while x < 3.0:
        x = x * 2.0
    return x


def converting(x):
    return float(x) * x


def counting(x, n):
    for _ in range(n):
        x = x * 2.0
    return x


def with_numpy(x):
    return np.sin(x)


def of_a_list(x):
    return jnp.sum(jnp.sin([x, x]))


def nothing(x):
    jnp.sin(x)


def text(x):
    return "a loss"


def thing(x):
    return x, Thing()


def yielding(x):
    yield x


def triple(x):
    return x, x, x


def decomposed(x):
    s = jnp.linalg.svd(x, compute_uv=False)
    return jnp.sum(s)


def until(x):
    limit = 3.0
    return lax.while_loop(lambda c: c < limit, lambda c: c * x, 1.0)


def many_times(x, n):
    return lax.fori_loop(0, n, lambda i, c: c * x, 1.0)


def scanned(x):
    return lax.scan(lambda c, _: (jnp.stack([c, c]), None), x, None, length=2)[0].sum()


def chosen(x):
    return lax.cond(x > 0, lambda x: x, lambda x: 1, x)


LEAKED: list[Any] = []


def leaking(x):
    LEAKED.append(x)
    return x


def using_a_leak(x):
    return x * LEAKED[-1]


def leak_and_use(m: Any) -> Any:
    m.grad(leaking)(1.0)
    return m.grad(using_a_leak)(1.0)


@dataclass(frozen=True)
class Mistake:
    """A wrong call, and what the error says about it.

    Attributes:
        call: makes the mistake with symgrad or with JAX.
        kind: the class of the error.
        says: parts of the message.
        at: what the caret points at, empty where no line of a function is to blame.
        natural: the builtin class, where JAX itself accepts the call.
    """

    call: Callable[[Any], Any]
    kind: type[Exception]
    says: tuple[str, ...]
    at: str = ""
    natural: type[Exception] | None = None


def lowered_grad(fun: Callable[..., Any], *args: Any, **options: Any) -> Callable[[Any], Any]:
    """The gradient, under `jit` in JAX too, where the mistake is one only when compiling."""
    return lambda m: (jax.jit if m is jax else lambda f: f)(m.grad(fun, **options))(*args)


MISTAKES = {
    # What is differentiated
    "vector output": Mistake(
        lambda m: m.grad(entries)(X),
        sg.OutputError,
        ("scalar output", "`entries` returns float32[3]", "jnp.sum", "sg.jacobian"),
        at="jnp.sin(x) * 2.0",
    ),
    "several outputs": Mistake(
        lambda m: m.grad(several)(X),
        sg.OutputError,
        ("one scalar output", "`several`", "has_aux=True"),
        at="def several(x):",
    ),
    "integer output": Mistake(
        lambda m: m.grad(rounded)(X), sg.OutputError, ("int32[]",), at="jnp.argmax(x)"
    ),
    "integer output of jacrev": Mistake(
        lambda m: m.jacrev(rounded)(X), sg.OutputError, ("jacrev", "int32[]"), at="jnp.argmax(x)"
    ),
    "complex output": Mistake(
        lambda m: m.grad(turned)(1.0), sg.OutputError, ("complex64[]", "holomorphic"), at="x * 1j"
    ),
    "complex argument": Mistake(
        lambda m: m.grad(squared)(np.complex64(1j)),
        sg.OutputError,
        ("complex64[]", "holomorphic=True"),
        at="x * x",
    ),
    "real argument of a holomorphic function": Mistake(
        lambda m: m.grad(squared, holomorphic=True)(1.0),
        sg.ArgumentError,
        ("holomorphic=True", "complex", "`x` is float32[]"),
    ),
    "integer argument": Mistake(
        lambda m: m.grad(total)(np.arange(3, dtype=np.int32)),
        sg.ArgumentError,
        ("floating-point", "`x` is int32[3]", "astype"),
        at="def total(x):",
    ),
    "Python integer": Mistake(
        lambda m: m.grad(squared)(3), sg.ArgumentError, ("`x` is int32[]", "1.0"), "def squared(x):"
    ),
    "boolean leaf": Mistake(
        lambda m: m.grad(total)({"w": X, "mask": X > 0}),
        sg.ArgumentError,
        ("`x['mask']` is bool[3]",),
        at="def total(x):",
    ),
    "random key": Mistake(
        lambda m: m.grad(total)(jax.random.key(0)),
        sg.ArgumentError,
        ("`x` is key<fry>[]",),
        at="def total(x):",
    ),
    "jacfwd of integers": Mistake(
        lambda m: m.jacfwd(entries)(np.arange(3, dtype=np.int32)),
        sg.ArgumentError,
        ("jacfwd", "`x` is int32[3]"),
        at="def entries(x):",
    ),
    "hessian of integers": Mistake(
        lambda m: m.hessian(total)(np.arange(3, dtype=np.int32)),
        sg.ArgumentError,
        ("hessian", "`x` is int32[3]"),
        at="def total(x):",
    ),
    # Shapes and dtypes that do not fit
    "matrix product": Mistake(
        lambda m: m.grad(layer)(X, W.T),
        sg.TracingError,
        ("(3,)", "(2,)", "float32[3]", "float32[2,3]"),
        at="x @ w",
    ),
    "sum of unlike shapes": Mistake(
        lambda m: m.grad(longer)(X),
        sg.TracingError,
        ("(3,)", "(4,)"),
        at="x + np.ones(4, np.float32)",
    ),
    "reshape": Mistake(
        lambda m: m.grad(reshaped)(X), sg.TracingError, ("(3,)", "(2, 2)"), at="x.reshape(2, 2)"
    ),
    "axis": Mistake(
        lambda m: m.grad(summed_along)(X),
        sg.TracingValueError,
        ("axis 3", "dimension 1"),
        at="jnp.sum(x, axis=3)",
    ),
    "index": Mistake(
        lambda m: m.grad(picked)(X), sg.SymgradError, ("1-dimensional", "2"), at="x[0, 0]"
    ),
    "carry of a scan": Mistake(
        lambda m: m.grad(scanned)(1.0),
        sg.TracingError,
        ("carry", "float32[]", "float32[2]"),
        at="lax.scan(lambda c, _: (jnp.stack([c, c]), None), x, None, length=2)",
    ),
    "branches of a cond": Mistake(
        lambda m: m.grad(chosen)(1.0),
        sg.TracingError,
        ("branches", "float32[]", "int32[]"),
        at="lax.cond(x > 0, lambda x: x, lambda x: 1, x)",
    ),
    # Functions that need values
    "if": Mistake(lowered_grad(branching, 1.0), sg.TracingError, ("`if`", "jnp.where"), at="x > 0"),
    "while": Mistake(lowered_grad(looping, 1.0), sg.TracingError, ("`while`",), at="x < 3.0"),
    "float()": Mistake(
        lowered_grad(converting, 1.0), sg.TracingError, ("value", "float32[]"), at="float(x)"
    ),
    "range()": Mistake(
        lowered_grad(counting, 1.0, 3), sg.TracingError, ("value", "int32[]"), at="range(n)"
    ),
    "np.sin": Mistake(
        lowered_grad(with_numpy, 1.0), sg.TracingError, ("NumPy", "jax.numpy"), at="np.sin(x)"
    ),
    "math.sin": Mistake(lowered_grad(math.sin, 1.0), sg.TracingError, ("value", "float32[]")),
    "boolean mask": Mistake(
        lowered_grad(masked, X), sg.SymgradError, ("bool[3]", "jnp.where"), at="x[x > 0]"
    ),
    "list": Mistake(
        lambda m: m.grad(of_a_list)(1.0), sg.TracingError, ("sin", "list"), at="jnp.sin([x, x])"
    ),
    "leaked value": Mistake(leak_and_use, sg.SymgradError, ("float32[]",), at="x * LEAKED[-1]"),
    # What is passed
    "string": Mistake(lambda m: m.grad(total)("abc"), sg.ArgumentError, ("`x` is a str",)),
    "object": Mistake(lambda m: m.grad(total)(Thing()), sg.ArgumentError, ("`x` is a Thing",)),
    "object in a tree": Mistake(
        lambda m: m.grad(total)({"a": [X, Thing()]}), sg.ArgumentError, ("`x['a'][1]` is a Thing",)
    ),
    "object in a keyword": Mistake(
        lowered_grad(lambda x, y=1.0: x * y, 1.0, Thing()), sg.ArgumentError, ("`y` is a Thing",)
    ),
    "array of objects": Mistake(
        lambda m: m.grad(total)(np.array([Thing()])), sg.ArgumentError, ("`x`", "object")
    ),
    "array of strings": Mistake(
        lambda m: m.grad(total)(np.array(["a"])), sg.ArgumentError, ("`x`", "<U1")
    ),
    "missing argument": Mistake(
        lambda m: m.grad(product)(1.0),
        sg.ArgumentError,
        ("product(x, y)", "missing", "'y'"),
        at="def product(x, y):",
    ),
    "too many arguments": Mistake(
        lambda m: m.grad(product)(1.0, 2.0, 3.0),
        sg.ArgumentError,
        ("product(x, y)", "3 positional", "too many"),
        at="def product(x, y):",
    ),
    "argument given twice": Mistake(
        lambda m: m.grad(product)(1.0, x=2.0),
        sg.ArgumentError,
        ("product(x, y)", "multiple values", "'x'"),
        at="def product(x, y):",
    ),
    "unknown keyword": Mistake(
        lambda m: m.grad(product)(1.0, 2.0, z=3.0),
        sg.ArgumentError,
        ("product(x, y)", "'z'"),
        at="def product(x, y):",
    ),
    "no arguments": Mistake(
        lambda m: m.grad(product)(), sg.ArgumentError, ("argnums=0", "0 positional arguments")
    ),
    "keywords only": Mistake(
        lambda m: m.grad(product)(x=1.0, y=2.0),
        sg.ArgumentError,
        ("argnums=0", "0 positional arguments", "keyword"),
    ),
    # argnums
    "argnums too large": Mistake(
        lambda m: m.grad(product, argnums=2)(1.0, 2.0),
        sg.ArgumentError,
        ("argnums=2", "2 positional arguments"),
    ),
    "argnums too small": Mistake(
        lambda m: m.grad(product, argnums=-3)(1.0, 2.0),
        sg.ArgumentValueError,
        ("argnums=-3", "2 positional arguments"),
    ),
    "one of argnums too large": Mistake(
        lambda m: m.hessian(product, argnums=(0, 5))(1.0, 2.0),
        sg.ArgumentError,
        ("hessian", "argnums=(0, 5)", "2 positional arguments"),
    ),
    "argnums by name": Mistake(
        lambda m: m.grad(product, argnums="x")(1.0, 2.0), sg.ArgumentError, ("integer", "'x'")
    ),
    "argnums with a fraction": Mistake(
        lambda m: m.grad(product, argnums=1.0)(1.0, 2.0), sg.ArgumentError, ("integer", "1.0")
    ),
    "argnums None": Mistake(
        lambda m: m.grad(product, argnums=None)(1.0, 2.0), sg.ArgumentError, ("integer", "None")
    ),
    "argnums twice": Mistake(
        lambda m: m.grad(product, argnums=(0, -2))(1.0, 2.0),
        sg.ArgumentError,
        ("argnums=(0, -2)", "twice"),
    ),
    # What the function is and returns
    "not a function": Mistake(
        lambda m: m.grad(3.0), sg.ArgumentError, ("float", "sg.grad(f)(x), not sg.grad(f(x))")
    ),
    "an array for a function": Mistake(
        lambda m: m.jit(jnp.ones(3)), sg.ArgumentError, ("jit", "array")
    ),
    "nothing returned": Mistake(
        lambda m: m.grad(nothing)(1.0), sg.OutputError, ("`nothing`", "None"), "def nothing(x):"
    ),
    "string returned": Mistake(
        lambda m: m.grad(text)(1.0), sg.SymgradError, ("`text`", "str"), at="def text(x):"
    ),
    "object returned": Mistake(
        lambda m: m.jit(thing)(1.0), sg.SymgradError, ("`thing`", "Thing"), at="def thing(x):"
    ),
    "generator": Mistake(
        lambda m: m.grad(yielding)(1.0), sg.SymgradError, ("generator",), at="def yielding(x):"
    ),
    "aux of a scalar": Mistake(
        lambda m: m.grad(total, has_aux=True)(X),
        sg.OutputError,
        ("has_aux=True", "pair", "`total`"),
        at="def total(x):",
    ),
    "three outputs with aux": Mistake(
        lambda m: m.value_and_grad(triple, has_aux=True)(1.0),
        sg.OutputError,
        ("has_aux=True", "pair", "`triple`"),
        at="def triple(x):",
    ),
    "aux of vjp": Mistake(
        lambda m: m.vjp(total, X, has_aux=True), sg.OutputError, ("pair",), at="def total(x):"
    ),
    "aux of jvp": Mistake(
        lambda m: m.jvp(total, (X,), (X,), has_aux=True),
        sg.OutputError,
        ("pair",),
        at="def total(x):",
    ),
    # Tangents and cotangents
    "structure of a cotangent": Mistake(
        lambda m: m.vjp(entries, X)[1]((X,)), sg.ArgumentValueError, ("cotangent", "structure")
    ),
    "shape of a cotangent": Mistake(
        lambda m: m.vjp(entries, X)[1](X[:2]),
        sg.ArgumentValueError,
        ("cotangent", "float32[2]", "float32[3]"),
    ),
    "dtype of a cotangent": Mistake(
        lambda m: m.vjp(entries, X)[1](X.astype(np.float16)),
        sg.ArgumentValueError,
        ("cotangent", "float16[3]", "float32[3]"),
    ),
    "shape of an integer's cotangent": Mistake(
        lambda m: m.vjp(rounded, X)[1](np.zeros(2, jax.dtypes.float0)),
        sg.ArgumentValueError,
        ("cotangent", "[2]", "int32[]"),
    ),
    "string for a cotangent": Mistake(
        lambda m: m.vjp(entries, X)[1]("x"), sg.ArgumentError, ("cotangent", "str")
    ),
    "structure of a tangent": Mistake(
        lambda m: m.jvp(entries, (X,), ((X,),)), sg.ArgumentError, ("tangents", "structure")
    ),
    "missing tangent": Mistake(
        lambda m: m.jvp(product, (X, X), (X,)), sg.ArgumentError, ("tangents", "structure")
    ),
    "shape of a tangent": Mistake(
        lambda m: m.jvp(entries, (X,), (X[:2],)),
        sg.ArgumentValueError,
        ("tangent", "float32[2]", "float32[3]"),
    ),
    "dtype of a tangent": Mistake(
        lambda m: m.jvp(entries, (X,), (X.astype(np.int32),)),
        sg.ArgumentError,
        ("tangent", "int32[3]", "float32[3]"),
    ),
    "tangent of an integer": Mistake(
        lambda m: m.jvp(entries, (np.arange(3, dtype=np.int32),), (X,)),
        sg.ArgumentError,
        ("`x` is int32[3]", "float0"),
    ),
    "primals without a tuple": Mistake(
        lambda m: m.jvp(entries, X, X), sg.ArgumentError, ("primals", "tuple", "ndarray")
    ),
    "string for a primal": Mistake(
        lambda m: m.jvp(entries, ("a",), ("b",)), sg.ArgumentError, ("`x` is a str",)
    ),
    # Options
    "static argument without a hash": Mistake(
        lambda m: m.jit(counting, static_argnums=1)(1.0, [1]),
        sg.SymgradError,
        ("static", "list", "hash"),
    ),
    "static argument that is not there": Mistake(
        lambda m: m.jit(product, static_argnums=5)(1.0, 2.0),
        sg.SymgradError,
        ("static_argnums", "5", "2"),
    ),
    "static name that is not there": Mistake(
        lambda m: m.jit(product, static_argnames="n")(1.0, 2.0),
        sg.SymgradError,
        ("static_argnames", "'n'"),
    ),
    "static name for a number": Mistake(
        lambda m: m.jit(product, static_argnums="y")(1.0, 2.0),
        sg.SymgradError,
        ("static_argnums", "'y'"),
    ),
    "donated argument that is not there": Mistake(
        lambda m: m.jit(product, donate_argnums=5)(1.0, 2.0),
        sg.SymgradError,
        ("donate_argnums", "5"),
    ),
    # Derivatives that do not exist
    "while_loop backwards": Mistake(
        lambda m: m.grad(until)(1.5),
        sg.NoDerivativeError,
        ("while_loop", "number of iterations", "lax.scan", "sg.jvp"),
        at="lax.while_loop(lambda c: c < limit, lambda c: c * x, 1.0)",
    ),
    "fori_loop of unknown length backwards": Mistake(
        lowered_grad(many_times, 1.5, 3),
        sg.NoDerivativeError,
        ("fori_loop", "trip count"),
        at="lax.fori_loop(0, n, lambda i, c: c * x, 1.0)",
    ),
    "shape structs for values": Mistake(
        lambda m: m.grad(total)(jax.ShapeDtypeStruct((3,), np.float32)),
        sg.SymgradError,
        ("`x`", "ShapeDtypeStruct"),
    ),
}

OURS = {
    "vector for hvp": Mistake(
        lambda m: m.hvp(entries)(X, X), sg.OutputError, ("hvp", "float32[3]"), "jnp.sin(x) * 2.0"
    ),
    "structure of the vector": Mistake(
        lambda m: m.hvp(total)((X,), X), sg.ArgumentError, ("vector", "structure")
    ),
    "shape of the vector": Mistake(
        lambda m: m.hvp(total)(X[:2], X), sg.SymgradError, ("vector", "float32[2]", "float32[3]")
    ),
    "dtype of the vector": Mistake(
        lambda m: m.hvp(total)(X > 0, X), sg.SymgradError, ("vector", "bool[3]", "float32[3]")
    ),
    "no vector": Mistake(
        lambda m: m.hvp(total)(X), sg.ArgumentError, ("hvp", "0 positional arguments")
    ),
    "nothing at all": Mistake(lambda m: m.hvp(total)(), sg.ArgumentError, ("hvp",)),
    "unknown rules": Mistake(
        lambda m: m.grad(total, rules="fast"), sg.ArgumentValueError, ("rules='fast'", '"exact"')
    ),
    "rules that are none": Mistake(
        lambda m: m.grad(total, rules=[total]), sg.ArgumentValueError, ("not a rule", "sg.rules")
    ),
    "rules None": Mistake(lambda m: m.grad(total, rules=None), sg.SymgradError, ("rules",)),
    "trace of a string": Mistake(
        lambda m: m.trace(total, "abc"), sg.ArgumentError, ("`x` is a str",)
    ),
    "trace of a wrong call": Mistake(
        lambda m: m.trace(product, X), sg.ArgumentError, ("product(x, y)", "missing", "'y'")
    ),
    "trace of no function": Mistake(lambda m: m.trace(3.0, X), sg.ArgumentError, ("float",)),
    "gradient of a graph of vectors": Mistake(
        lambda m: m.trace(entries, X).grad(),
        sg.OutputError,
        ("gradient", "float32[3]"),
        at="jnp.sin(x) * 2.0",
    ),
    "input of a graph": Mistake(
        lambda m: m.trace(total, X).grad(3), sg.ArgumentValueError, ("wrt=3", "1 input")
    ),
}


def builtin_class(call: Callable[[Any], Any]) -> type[BaseException] | None:
    """The builtin exception class, from Python itself, that JAX's error for a call belongs to."""
    try:
        call(jax)
    except Exception as error:
        return next(c for c in type(error).__mro__ if c.__module__ == "builtins")
    return None


def underlined(message: str) -> tuple[str, int, str]:
    """The source line that a message shows, its number, and what the caret points at."""
    lines = message.splitlines()
    (pointer,) = (i for i, line in enumerate(lines) if line.strip() and not line.strip("^ "))
    number, _, source = lines[pointer - 1].partition(" | ")
    shift = len(number) + 3
    marks = lines[pointer]
    return source, int(number), source[marks.index("^") - shift : len(marks) - shift]


def check_message(error: BaseException, mistake: Mistake) -> None:
    message = str(error)
    for part in mistake.says:
        assert part in message
    assert re.search(r"^  fix: \S", message, re.MULTILINE), "says what to do"
    assert len(message.splitlines()) <= MOST_LINES
    assert max(map(len, message.splitlines())) <= 250
    assert not re.search(r"\b0x[0-9a-f]{6,}", message), "has no addresses"
    assert "symgrad/" not in message, "shows no line of symgrad"
    assert "PyTreeDef" not in message, "spells structures as people write them"
    if mistake.at:
        source, number, marked = underlined(message)
        assert f"{__file__}:{number} in " in message
        assert source == linecache.getline(__file__, number).strip()
        assert marked == mistake.at


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_that_jax_knows(name):
    mistake = MISTAKES[name]
    with pytest.raises(sg.SymgradError) as caught:
        mistake.call(sg)
    assert isinstance(caught.value, mistake.kind)
    natural = builtin_class(mistake.call)
    assert natural is not None, "JAX accepts this"
    assert isinstance(caught.value, natural)
    check_message(caught.value, mistake)


@pytest.mark.parametrize("name", OURS)
def test_mistake_with_what_only_symgrad_has(name):
    mistake = OURS[name]
    with pytest.raises(sg.SymgradError) as caught:
        mistake.call(sg)
    assert isinstance(caught.value, mistake.kind)
    assert isinstance(caught.value, TypeError | ValueError)
    check_message(caught.value, mistake)
