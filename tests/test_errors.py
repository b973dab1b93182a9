"""Every mistake gets a sentence, the user's own line with a caret, and what to do about it.

The class is symgrad's and also the builtin one that JAX raises for the same call, so that
`except TypeError` goes on working. JAX itself is asked, by making the same mistake with it.
"""

from __future__ import annotations

import linecache
import math
import pickle
import re
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.extend import core as jex
from jax.interpreters import mlir

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


def of_parameters(p):
    return jnp.sum(jnp.where(p["mask"], p["w"], 0.0))


def drawn(key):
    return jax.random.normal(key)


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


@dataclass(frozen=True)
class Mistake:
    """A wrong call, and what the error says about it.

    Attributes:
        call: makes the mistake with symgrad or with JAX.
        kind: the class of the error.
        says: parts of the message.
        at: what the caret points at, empty where no line of a function is to blame.
    """

    call: Callable[[Any], Any]
    kind: type[Exception]
    says: tuple[str, ...]
    at: str = ""


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
        lambda m: m.grad(of_parameters)({"w": X, "mask": X > 0}),
        sg.ArgumentError,
        ("`p['mask']` is bool[3]",),
        at="def of_parameters(p):",
    ),
    "random key": Mistake(
        lambda m: m.grad(drawn)(jax.random.key(0)),
        sg.ArgumentError,
        ("`key` is key<fry>[]",),
        at="def drawn(key):",
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
        lowered_grad(counting, 1.0, np.int32(3)),
        sg.TracingError,
        ("value", "int32[]"),
        at="range(n)",
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
    # What is passed
    "string": Mistake(lambda m: m.grad(total)("abc"), sg.ArgumentError, ("`x` is a str",)),
    "object": Mistake(lambda m: m.grad(total)(Thing()), sg.ArgumentError, ("`x` is a Thing",)),
    "object in a tree": Mistake(
        lambda m: m.grad(total)({"a": [X, Thing()]}), sg.ArgumentError, ("`x['a'][1]` is a Thing",)
    ),
    "object in a keyword": Mistake(
        lowered_grad(lambda x, y=1.0: x * y, 1.0, Thing()), sg.TracingError, ("Thing",), "x * y"
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
        ("takes (x, y)", "missing", "'y'"),
        at="def product(x, y):",
    ),
    "too many arguments": Mistake(
        lambda m: m.grad(product)(1.0, 2.0, 3.0),
        sg.ArgumentError,
        ("`product` takes (x, y)", "3 positional", "too many"),
        at="def product(x, y):",
    ),
    "argument given twice": Mistake(
        lambda m: m.grad(product)(1.0, x=2.0),
        sg.ArgumentError,
        ("`product` takes (x, y)", "multiple values", "'x'"),
        at="def product(x, y):",
    ),
    "unknown keyword": Mistake(
        lambda m: m.grad(product)(1.0, 2.0, z=3.0),
        sg.ArgumentError,
        ("`product` takes (x, y)", "'z'"),
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
        sg.ArgumentError,
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
        lambda m: m.vjp(entries, X)[1]((X,)), sg.ArgumentError, ("cotangent", "structure")
    ),
    "shape of a cotangent": Mistake(
        lambda m: m.vjp(entries, X)[1](X[:2]),
        sg.ArgumentError,
        ("cotangent", "float32[2]", "float32[3]"),
    ),
    "dtype of a cotangent": Mistake(
        lambda m: m.vjp(entries, X)[1](X.astype(np.float16)),
        sg.ArgumentError,
        ("cotangent", "float16[3]", "float32[3]"),
    ),
    "shape of an integer's cotangent": Mistake(
        lambda m: m.vjp(rounded, X)[1](np.zeros(2, jax.dtypes.float0)),
        sg.ArgumentError,
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
        sg.ArgumentError,
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
        lambda m: m.trace(product, X),
        sg.ArgumentError,
        ("takes (x, y)", "missing", "'y'"),
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
    """The builtin exception class, from Python itself, that JAX's error for a call belongs to.

    Running out of an iterator is no judgement of JAX's on the call: any class will do.
    """
    try:
        call(jax)
    except StopIteration:
        return Exception
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


# Operations without a record

odd_p = jex.Primitive("odd")
odd_p.def_impl(lambda x: np.asarray(x) ** 3)
odd_p.def_abstract_eval(lambda x: x)
mlir.register_lowering(odd_p, mlir.lower_fun(lambda x: x**3, multiple_results=False))


def with_odd(x):
    y = jnp.sin(x)
    z = odd_p.bind(y)
    return jnp.sum(z * x)


def with_schur(a):
    t, _ = lax.linalg.schur(a)
    return jnp.sum(t)


def test_unknown_operation_runs_forward():
    """It runs as JAX has it, also where nothing is differentiated through it."""
    made = sg.jit(with_odd)
    np.testing.assert_allclose(made(X), jnp.sum(jnp.sin(X) ** 3 * X), rtol=1e-6)
    gradient = sg.grad(lambda x, y: jnp.sum(x * odd_p.bind(y)))
    np.testing.assert_allclose(gradient(X, X), X**3, rtol=1e-6)
    batched = jax.vmap(sg.jit(lambda x: jnp.sin(x) * 2.0))(X)
    np.testing.assert_allclose(batched, jnp.sin(X) * 2.0, rtol=1e-6)


def test_report_lists_unknown_operations():
    report = sg.jit(with_odd).explain(X)
    (opaque,) = report.opaque
    assert opaque.primitive == "odd"
    file, line = opaque.line.split(":")
    assert file == "test_errors.py"
    assert "odd_p.bind(y)" in linecache.getline(__file__, int(line))
    assert "opaque: odd at" in str(report)
    assert "<code>odd</code>" in report._repr_html_()


@pytest.mark.parametrize("transform", ["grad", "value_and_grad", "jacfwd", "jacrev", "hessian"])
def test_derivative_of_an_unknown_operation(transform):
    for fun, arg, at in [
        (with_odd, X, "odd_p.bind(y)"),
        (with_schur, W @ W.T, "lax.linalg.schur(a)"),
    ]:
        mistake = Mistake(
            lambda m, fun=fun, arg=arg: getattr(m, transform)(fun)(arg),
            sg.NoDerivativeError,
            ("no derivative", "float32[3", "jax.custom_jvp", "stop_gradient"),
            at,
        )
        with pytest.raises(sg.NoDerivativeError) as caught:
            mistake.call(sg)
        assert isinstance(caught.value, builtin_class(mistake.call))
        check_message(caught.value, mistake)


def test_unknown_operation_inside_a_loop_and_a_branch():
    """The line is that of the operation, not that of the loop around it."""

    def looped(x):
        def step(c, _):
            c = odd_p.bind(c)
            return c, None

        return jnp.sum(lax.scan(step, x, None, length=2)[0])

    def branched(x):
        return jnp.sum(lax.cond(x[0] > 0, lambda x: odd_p.bind(x), jnp.sin, x))

    for fun, at in [(looped, "odd_p.bind(c)"), (branched, "odd_p.bind(x)")]:
        with pytest.raises(sg.NoDerivativeError) as caught:
            sg.grad(fun)(X)
        check_message(caught.value, Mistake(lambda m: None, sg.NoDerivativeError, ("odd",), at))
        assert [o.primitive for o in sg.jit(fun).explain(X).opaque] == ["odd"]


def test_stopping_the_derivative_is_a_cure():
    def cured(x):
        return jnp.sum(lax.stop_gradient(odd_p.bind(x)) * x)

    np.testing.assert_allclose(sg.grad(cured)(X), X**3, rtol=1e-6)


# Loops of unknown length


def test_while_loop_forwards():
    """What reverse mode cannot do, forward mode does, and the error says so."""
    for fun, args in [(until, (1.5,)), (lambda x: many_times(x, 3), (1.5,))]:
        ours, theirs = (m.jvp(fun, args, (1.0,)) for m in (sg, jax))
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
        np.testing.assert_allclose(sg.jacfwd(fun)(*args), jax.jacfwd(fun)(*args), rtol=1e-6)


# Failing costs nothing


def sometimes(x, w):
    """Good for a vector; a matrix does not fit and a scalar is not summed."""
    return jnp.sum(x @ w)


@pytest.mark.parametrize("transform", ["jit", "grad", "value_and_grad", "hessian", "jacrev"])
def test_a_failure_leaves_no_trace(transform):
    made = getattr(sg, transform)(sometimes)
    wrong = [(X, W.T), ("x", W), (X,), (X, W, W), (X.astype(np.int64), "w"), (Thing(), W)]
    with pytest.raises(sg.SymgradError):
        made(X, W.T)
    assert made._plans == {}
    first = jax.tree.leaves(made(X, W))
    plans = dict(made._plans)
    for args in wrong:
        messages = set()
        for _ in range(2):
            with pytest.raises(sg.SymgradError) as caught:
                made(*args)
            messages.add(str(caught.value))
        assert len(messages) == 1, "says the same twice"
    assert {k: id(v) for k, v in made._plans.items()} == {k: id(v) for k, v in plans.items()}
    again = jax.tree.leaves(made(X, W))
    assert [np.asarray(a).tobytes() for a in again] == [np.asarray(f).tobytes() for f in first]


def test_a_failing_function_can_be_mended():
    """A function that raises is traced anew at the next call."""
    switch = {"broken": True}

    def fragile(x):
        if switch["broken"]:
            raise RuntimeError("not yet")
        return x**2

    gradient = sg.grad(fragile)
    with pytest.raises(RuntimeError, match="not yet"):
        gradient(3.0)
    switch["broken"] = False
    assert gradient(3.0) == 6.0


@pytest.mark.parametrize("kind", [KeyError, RuntimeError, ZeroDivisionError, KeyboardInterrupt])
def test_exceptions_of_the_user_pass(kind):
    """What the function raises for reasons of its own arrives as it was raised."""

    def raising(x):
        raise kind("mine")

    with pytest.raises(kind) as caught:
        sg.grad(raising)(1.0)
    assert not isinstance(caught.value, sg.SymgradError)
    assert any(f.name == "raising" for f in traceback.extract_tb(caught.value.__traceback__))


def test_type_and_value_errors_of_the_user_keep_their_words():
    for kind in (TypeError, ValueError):

        def raising(x, kind=kind):
            raise kind("a layer needs 3 units")

        with pytest.raises(kind, match="a layer needs 3 units") as caught:
            sg.grad(raising)(1.0)
        assert "raise kind(" in str(caught.value)


# The user's line


def test_caret_counts_characters_not_bytes():
    def energy(θ, ψ):
        αβγ = jnp.sin(θ) + (θ @ ψ)
        return jnp.sum(αβγ)

    with pytest.raises(sg.SymgradError) as caught:
        sg.grad(energy)(X, W.T)
    assert underlined(str(caught.value))[2] == "θ @ ψ"


def test_the_line_is_the_innermost_of_the_user():
    def helper(a, b):
        return a @ b

    def outer(x):
        return jnp.sum(helper(x, W.T))

    with pytest.raises(sg.SymgradError) as caught:
        sg.grad(outer)(X)
    assert underlined(str(caught.value))[2] == "a @ b"
    assert " in helper" in str(caught.value)


def test_the_line_inside_what_jax_calls():
    """Inside jit, vmap, scan, cond and checkpoint the line is the body's."""

    def body(c, w):
        return c @ w

    for fun in (
        lambda x: jnp.sum(jax.jit(body)(x, W.T)),
        lambda x: jnp.sum(jax.vmap(body, (0, None))(jnp.stack([x, x]), W.T)),
        lambda x: jnp.sum(lax.scan(lambda c, _: (body(c, W.T), None), x, None, length=2)[0]),
        lambda x: jnp.sum(lax.cond(x[0] > 0, body, body, x, W.T)),
        lambda x: jnp.sum(jax.checkpoint(body)(x, W.T)),
    ):
        with pytest.raises(sg.SymgradError) as caught:
            sg.grad(fun)(X)
        assert underlined(str(caught.value))[2] == "c @ w"


def test_multi_line_expression():
    def spread(x):
        return jnp.sum(
            x
            @ W.T
        )  # fmt: skip

    with pytest.raises(sg.SymgradError) as caught:
        sg.grad(spread)(X)
    source, number, marked = underlined(str(caught.value))
    assert source == linecache.getline(__file__, number).strip()
    assert marked.strip()


def test_function_without_source():
    namespace: dict[str, Any] = {}
    exec(compile("def unseen(x):\n    return x @ x @ x\n", "<input>", "exec"), namespace)
    with pytest.raises(sg.SymgradError, match="<input>:2 in unseen"):
        sg.grad(namespace["unseen"])(W)
    with pytest.raises(sg.SymgradError, match="<input>:1 in unseen"):
        sg.grad(namespace["unseen"])(W, W)


# Errors are values


def test_attributes_of_an_error():
    with pytest.raises(sg.SymgradError) as caught:
        sg.grad(entries)(X)
    error = caught.value
    assert error.what == str(error).splitlines()[0]
    assert (error.frame.file, error.frame.function) == (__file__, "entries")
    assert error.frame.expression == "jnp.sin(x) * 2.0"
    assert error.frame.text == "y = jnp.sin(x) * 2.0"
    assert error.fix in str(error)


def test_every_class_is_public_and_natural():
    errors = {v for v in vars(sg).values() if isinstance(v, type) and issubclass(v, Exception)}
    kinds = {v for v in errors if not issubclass(v, Warning)}
    assert all(issubclass(kind, sg.SymgradError) for kind in kinds)
    natural = (TypeError, ValueError, IndexError, NotImplementedError, ImportError)
    for kind in kinds - {sg.SymgradError}:
        assert issubclass(kind, natural)
        assert kind.__doc__


def classes(of: type[sg.SymgradError] = sg.SymgradError) -> list[type[sg.SymgradError]]:
    return [c for kind in of.__subclasses__() for c in (kind, *classes(kind))]


PAGE = (Path(__file__).parent.parent / "docs" / "errors.md").read_text()
SECTIONS = {
    found[1]: found[2]
    for found in re.finditer(r"^## (SG\d+: \w+)\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
}
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.M | re.S)


def test_every_class_has_a_code_and_a_section():
    codes = [kind.code for kind in classes()]
    assert len(set(codes)) == len(codes)
    assert sorted(SECTIONS) == sorted(f"{kind.code}: {kind.__name__}" for kind in classes())


@pytest.mark.parametrize("title", SECTIONS)
def test_every_section_shows_its_error(title):
    (example,) = BLOCK.findall(SECTIONS[title])
    namespace: dict[str, Any] = {}
    exec(BLOCK.findall(PAGE)[0], namespace)
    with pytest.raises(sg.SymgradError) as caught:
        exec(example, namespace)
    assert f"{caught.value.code}: {type(caught.value).__name__}" == title
    assert str(caught.value).splitlines()[-1] == f"  code: {caught.value.code}"


def test_errors_can_be_pickled():
    with pytest.raises(sg.SymgradError) as caught:
        sg.grad(entries)(X)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), str(copy)) == (type(caught.value), str(caught.value))
    assert (copy.what, copy.frame, copy.fix) == (
        caught.value.what,
        caught.value.frame,
        caught.value.fix,
    )


def test_nothing_is_printed(capfd):
    for name in ("vector output", "if", "string"):
        with pytest.raises(sg.SymgradError):
            MISTAKES[name].call(sg)
    assert capfd.readouterr() == ("", "")
