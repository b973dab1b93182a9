"""Emitted programs: what they look like, that they are always the same, that no name escapes.

The expected texts are what people read; a refactoring leaves them as they are.
"""

from __future__ import annotations

import ast
import builtins
import keyword
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import symgrad as sg
from symgrad.emit.layout import split_items, statement
from symgrad.emit.names import Names, comment, identifier
from symgrad.emit.template import Text, fill
from symgrad.errors import SymgradError


@pytest.fixture(autouse=True)
def usual_precision():
    """Other tests ask for exact products; a program says so, and people rarely do."""
    with jax.default_matmul_precision(None):
        yield


def shaped(*shape: int, dtype: Any = np.float32) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype)


def program(text: str) -> str:
    """An expected program, written indented."""
    return textwrap.dedent(text).lstrip("\n")


# Golden texts


def cross_entropy(w, b, x, labels):
    z = x @ w + b
    hot = jax.nn.one_hot(labels, 3)
    return -jnp.mean(jnp.sum(hot * jax.nn.log_softmax(z), axis=1))


def squared_error(params, x, target):
    hidden = jnp.tanh(x @ params["w1"] + params["b1"])
    output = hidden @ params["w2"] + params["b2"]
    return jnp.mean((output - target) ** 2)


def power(weights, start, inputs):
    def step(state, signal):
        state = jnp.tanh(weights @ state + signal)
        return state, jnp.sum(state**2)

    _, powers = lax.scan(step, start, inputs)
    return jnp.sum(powers)


def naive_softplus(x):
    return jnp.log(1 + jnp.exp(x))


LAYERS = {"w1": shaped(4, 5), "b1": shaped(5), "w2": shaped(5, 2), "b2": shaped(2)}
DATA = shaped(4, 3), shaped(3), shaped(8, 4), shaped(8, dtype=np.int32)


def test_softplus():
    assert sg.jit(naive_softplus).source(shaped(3)) == program(
        '''
        import jax


        def jit_naive_softplus(x):
            """jit of `naive_softplus`.

            Args:
                x: float32[3]
            """
            return jax.nn.softplus(x)
        '''
    )


def test_softmax_regression():
    """The gradient in the logits is q - p for labels that are classes."""
    text = sg.grad(cross_entropy, (0, 1)).source(*DATA)
    assert text == program(
        '''
        import jax
        import jax.numpy as jnp


        def grad_cross_entropy(w, b, x, labels):
            """grad of `cross_entropy` with respect to w, b.

            Args:
                w: float32[4,3]
                b: float32[3]
                x: float32[8,4]
                labels: int32[8]
            """
            z = x @ w + b
            # hot = jax.nn.one_hot(labels, 3)
            hot = jax.nn.one_hot(labels, 3, dtype=jnp.float32)

            # backward: z = x @ w + b
            where_1 = jnp.where(
                ((labels >= 0) & (labels < 3))[:, None], jax.nn.softmax(z, axis=-1) - hot, 0.0
            )
            d_z = where_1 / 8.0
            d_w = x.T @ d_z
            d_b = jnp.sum(d_z, axis=0)
            return d_w, d_b
        '''
    )


def test_two_layers():
    text = sg.grad(squared_error).source(LAYERS, shaped(8, 4), shaped(8, 2))
    assert text == program(
        '''
        import jax.numpy as jnp


        def sech_squared(x):
            """1 - tanh(x)**2, also where tanh(x) rounds to 1."""
            return jnp.exp(-2 * jnp.abs(x)) * jnp.square(1 + jnp.abs(jnp.tanh(x)))


        def grad_squared_error(b1, b2, w1, w2, x, target):
            """grad of `squared_error` with respect to b1, b2, w1, w2.

            Args:
                b1: float32[5]
                b2: float32[2]
                w1: float32[4,5]
                w2: float32[5,2]
                x: float32[8,4]
                target: float32[8,2]
            """
            # hidden = jnp.tanh(x @ params["w1"] + params["b1"])
            pre_hidden = x @ w1 + b1
            hidden = jnp.tanh(pre_hidden)
            # output = hidden @ params["w2"] + params["b2"]
            output = hidden @ w2 + b2

            d_output = (output - target) * 0.125
            # backward: hidden = jnp.tanh(x @ params["w1"] + params["b1"])
            d_hidden = d_output @ w2.T
            d_pre_hidden = d_hidden * sech_squared(pre_hidden)
            d_b1 = jnp.sum(d_pre_hidden, axis=0)
            d_b2 = jnp.sum(d_output, axis=0)
            d_w1 = x.T @ d_pre_hidden
            d_w2 = hidden.T @ d_output
            return d_b1, d_b2, d_w1, d_w2
        '''
    )


def test_recurrent_network():
    text = sg.grad(power).source(shaped(3, 3), shaped(3), shaped(5, 3))
    assert text == program(
        '''
        import jax.numpy as jnp
        from jax import lax


        def sech_squared(x):
            """1 - tanh(x)**2, also where tanh(x) rounds to 1."""
            return jnp.exp(-2 * jnp.abs(x)) * jnp.square(1 + jnp.abs(jnp.tanh(x)))


        def grad_power(weights, start, inputs):
            """grad of `power` with respect to weights.

            Args:
                weights: float32[3,3]
                start: float32[3]
                inputs: float32[5,3]
            """
            # backward: _, powers = lax.scan(step, start, inputs)

            def body(state, signal):
                add_1 = weights @ state + signal
                tanh_1 = jnp.tanh(add_1)
                return tanh_1, (2.0 * tanh_1, sech_squared(add_1), state)

            _, (all_mul, all_sech_squared, all_state) = lax.scan(body, start, inputs)
            d_powers = jnp.ones((5,), jnp.float32)

            def body_2(carry, inputs_2):
                d_state, total = carry
                mul, sech_squared_2, state, given_1 = inputs_2
                mul_1 = (d_state + given_1 * mul) * sech_squared_2
                return (mul_1 @ weights, total + jnp.outer(mul_1, state)), None

            (_, d_weights), _ = lax.scan(
                body_2,
                (jnp.zeros((3,), jnp.float32), jnp.zeros((3, 3), jnp.float32)),
                (all_mul, all_sech_squared, all_state, d_powers),
                reverse=True,
            )
            return d_weights
        '''
    )


# Names


def test_values_have_the_users_names():
    text = sg.grad(squared_error).source(LAYERS, shaped(8, 4), shaped(8, 2))
    tree = ast.parse(text)
    assigned = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name | ast.Store) and assigns(n)}
    assert {"hidden", "output", "d_output", "d_hidden", "d_w1", "d_b1", "d_w2", "d_b2"} <= assigned
    function = [n for n in tree.body if isinstance(n, ast.FunctionDef)][-1]
    assert [a.arg for a in function.args.args] == ["b1", "b2", "w1", "w2", "x", "target"]


def assigns(node: ast.AST) -> bool:
    return isinstance(getattr(node, "ctx", None), ast.Store)


def test_a_name_used_twice_is_numbered():
    def twice(x):
        y = jnp.sin(x)
        y = jnp.cos(y) * y
        return y * y

    text = sg.jit(twice).source(shaped(3))
    assert "y = jnp.sin(x)" in text
    assert "y_2 = jnp.cos(y) * y" in text


def test_helpers_return_into_the_callers_name():
    def gate(x):
        return jax.nn.sigmoid(x) * x

    def cell(x):
        opened = gate(x)
        return opened * opened

    assert "opened = jax.nn.sigmoid(x) * x" in sg.jit(cell).source(shaped(3))


def test_sections_quote_the_users_lines():
    text = sg.grad(squared_error).source(LAYERS, shaped(8, 4), shaped(8, 2))
    forward = [line.strip() for line in text.splitlines() if line.strip().startswith("# ")]
    assert '# hidden = jnp.tanh(x @ params["w1"] + params["b1"])' in forward
    assert any(line.startswith("# backward: ") for line in forward)


# The same text on every run

SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
import test_source as t
import symgrad as sg
print(sg.grad(t.cross_entropy, (0, 1)).source(*t.DATA))
print(sg.grad(t.squared_error).source(t.LAYERS, t.shaped(8, 4), t.shaped(8, 2)))
print(sg.grad(t.power).source(t.shaped(3, 3), t.shaped(3), t.shaped(5, 3)))
print(sg.hessian(t.naive_softplus).source(t.shaped(3)))
print(sg.grad(lambda d: sum(v.sum() for v in d.values())).source({{k: t.shaped(2) for k in "zyx"}}))
"""


def test_the_text_does_not_depend_on_hash_seeds(request):
    script = SCRIPT.format(tests=str(request.path.parent))
    texts = {
        subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(p for p in sys.path if p)},
        ).stdout
        for seed in ("0", "1", "12345")
    }
    assert len(texts) == 1
    (text,) = texts
    assert text.count("def ") >= 5


def test_the_text_does_not_depend_on_what_was_compiled_before():
    first = sg.grad(power).source(shaped(3, 3), shaped(3), shaped(5, 3))
    kept = [sg.grad(lambda x, i=i: jnp.sum(jnp.sin(x) * i)).graph(shaped(3)) for i in range(5)]
    second = sg.grad(lambda *args: power(*args)).source(shaped(3, 3), shaped(3), shaped(5, 3))
    assert len(kept) == 5
    # Only the names differ: a lambda hands its arguments on without naming them.
    body = lambda text: [line for line in text.splitlines() if "lax.scan(" in line]  # noqa: E731
    assert len(body(first)) == len(body(second))
    assert sg.grad(power).source(shaped(3, 3), shaped(3), shaped(5, 3)) == first


# Hostile names

MARK = "SYMGRAD_TEST_WAS_EXECUTED"
CALL = f"setattr(__import__('builtins'), '{MARK}', 1)"

HOSTILE = {
    "call": "a b); import os #",
    "statement": f"x\n    {CALL}\n",
    "carriage return": f"x\r    {CALL}",
    "other line ends": f"x\x0b{CALL}\x0c{CALL}\x85{CALL}\u2028{CALL}\u2029{CALL}",
    "docstring": f'""" + str({CALL}) + """',
    "end of docstring": f'"""\n{CALL}\n"""',
    "single quotes": f"''' + str({CALL}) + '''",
    "backslash": "\\",
    "backslash and quote": '\\"""',
    "braces": "{x} {0} {{}} {body}",
    "percent": "%s%n",
    "bidirectional": "\u202eevil\u2066\u200f",
    "invisible": "\u200b\u00ad\ufeff",
    "look-alike": "ｅｖａｌ",
    "keyword": "lambda",
    "soft keyword": "match",
    "builtin": "print",
    "dunder": "__import__",
    "module": "jnp",
    "other module": "lax",
    "constant": "None",
    "number": "1x",
    "empty": "",
    "space": " ",
    "letters of no alphabet": "日本",
    "underscore": "_",
    "template variable": "xs",
    "long": "a" * 500,
    "nul": "a\x00b",
    "surrogate": "a\ud800b",
}


def plain_name(name: str) -> bool:
    allowed = name.isascii() and name.isidentifier() and len(name) <= 70
    return allowed and not keyword.iskeyword(name) and name not in dir(builtins)


def check_program(text: str) -> None:
    """Only names we hand out, only imports of jax, only calls into what was imported."""
    tree = ast.parse(text)
    for top in tree.body:
        assert isinstance(top, ast.Import | ast.ImportFrom | ast.FunctionDef)
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                assert all(a.name.split(".")[0] == "jax" for a in names)
            case ast.ImportFrom(module=module):
                assert (module or "").split(".")[0] == "jax"
            case ast.FunctionDef(name=name):
                assert plain_name(name)
            case ast.arg(arg=name):
                assert plain_name(name)
            case ast.Name(id=name, ctx=ast.Store()):
                assert plain_name(name) or name == "_"
            case ast.Expr(value=value):
                assert isinstance(value, ast.Constant), "a statement that computes nothing"
            case ast.Global() | ast.Nonlocal() | ast.With() | ast.Try() | ast.ClassDef():
                pytest.fail(f"{type(node).__name__} in a program")
    assert not any(c in text for c in "\u202e\u2066\u200f\u200b\u2028\x85\x0c\x00")


@pytest.fixture
def not_executed():
    """Fails if a name was run as code."""
    yield
    executed = hasattr(builtins, MARK)
    if executed:
        delattr(builtins, MARK)
    assert not executed


def total(tree: Any) -> Any:
    return sum(jnp.sum(leaf * leaf) for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_keys(kind, not_executed):
    """Keys of a dict become names of arguments: harmless ones, and the program still works."""
    params = {HOSTILE[kind]: np.ones(3, np.float32), "other": np.ones(3, np.float32)}
    for make in (sg.jit, sg.grad, sg.value_and_grad):
        check_program(make(total).source(params))
    slope = sg.grad(total)(params)
    assert all(np.array_equal(slope[key], 2 * params[key]) for key in params)


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_function_names(kind, not_executed):
    def fun(x):
        return jnp.sum(x * x)

    fun.__name__ = HOSTILE[kind]
    x = np.ones(3, np.float32)
    for make in (sg.jit, sg.grad):
        check_program(make(fun).source(x))
    assert np.array_equal(sg.grad(fun)(x), 2 * x)


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_graph_names(kind, not_executed):
    graph = sg.trace(total, np.ones(3, np.float32))
    check_program(graph.source(HOSTILE[kind]))


def test_hostile_keyword_arguments(not_executed):
    def fun(x, **rest):
        return jnp.sum(x) + total(rest)

    check_program(sg.grad(fun).source(np.ones(3, np.float32), **{HOSTILE["docstring"]: 1.0}))


def test_two_keys_may_have_the_same_letters():
    keys = ("a b", "a_b", "a-b", "a.b", "á_b")
    params = {key: np.full(2, i, np.float32) for i, key in enumerate(keys)}
    slope = sg.grad(total)(params)
    assert all(np.array_equal(slope[key], 2 * params[key]) for key in keys)


def local_functions(x):
    linear_recurrence = jnp.sin(x)
    return jnp.sum(jnp.cumprod(linear_recurrence) * linear_recurrence)


def names_of_templates(x):
    xs = jnp.sin(x)
    y = xs * 2
    z = y + xs
    body = lax.fori_loop(0, 2, lambda i, x: x * jnp.cos(z), z)
    program = body + y
    return jnp.sum(program)


def builtins_as_variables(x):
    sum = jnp.sin(x)
    len = sum * 2
    tuple = len + sum
    return jnp.sum(tuple * len)


@pytest.mark.parametrize("fun", [local_functions, names_of_templates, builtins_as_variables])
def test_variables_may_have_the_names_that_programs_use(fun):
    x = np.array([0.3, 0.5, 0.7], np.float32)
    check_program(sg.grad(fun).source(x))
    np.testing.assert_allclose(sg.grad(fun)(x), jax.grad(fun)(x), rtol=1e-5)


def test_primitives_left_to_jax_do_not_share_a_name():
    """One in a loop's body and one outside are two functions."""

    def fun(xs):
        _, rows = lax.scan(lambda c, row: (c, lax.cummax(row)), 0.0, xs)
        return rows, lax.cummax(xs, axis=0, reverse=True)

    xs = np.array([[1.0, 3.0, 2.0], [2.0, 1.0, 0.0]], np.float32)
    for got, want in zip(sg.jit(fun)(xs), fun(xs), strict=True):
        np.testing.assert_array_equal(got, want)


# Layout

WIDE: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "cross entropy": (cross_entropy, DATA),
    "two layers": (squared_error, (LAYERS, shaped(8, 4), shaped(8, 2))),
    "loop": (power, (shaped(3, 3), shaped(3), shaped(5, 3))),
    "many arguments": (total, ([shaped(2) for _ in range(40)],)),
    "long names": (
        total,
        ({"a_long_name_for_a_parameter_" + "x" * i: shaped(2) for i in range(8)},),
    ),
    "long sum": (lambda x: sum(jnp.sum(jnp.sin(i * x)) for i in range(30)), (shaped(2),)),
    "nested calls": (
        lambda x: jnp.sum(jnp.sin(jnp.cos(jnp.tanh(jnp.exp(jnp.sin(x)))))),
        (shaped(2),),
    ),
    "many carries": (
        lambda x: total(lax.fori_loop(0, 3, lambda i, c: [jnp.sin(v) * i for v in c], [x] * 20)),
        (shaped(2),),
    ),
    "concatenation": (
        lambda x: jnp.sum(jnp.concatenate([x * i for i in range(30)]) ** 2),
        (shaped(2),),
    ),
    "gather": (
        lambda x, i: jnp.sum(x[i, jnp.arange(3)] ** 2),
        (shaped(4, 3), shaped(3, dtype=np.int32)),
    ),
    "high rank": (
        lambda x: jnp.sum(jnp.transpose(x, (5, 3, 1, 0, 2, 4)) ** 3),
        (shaped(1, 2, 3, 1, 2, 3),),
    ),
    "cumulative": (lambda x: jnp.sum(jnp.cumprod(x, 1) ** 2), (shaped(3, 4),)),
    "einsum": (
        lambda a, b, c: jnp.sum(jnp.einsum("abcd,befd,cfgh->aegh", a, b, c) ** 2),
        (shaped(2, 2, 2, 2), shaped(2, 2, 2, 2), shaped(2, 2, 2, 2)),
    ),
    "branches": (
        lambda x: jnp.sum(lax.cond(x[0] > 0, lambda x: jnp.sin(x) * x, lambda x: jnp.cos(x), x)),
        (shaped(2),),
    ),
    "padding": (
        lambda x: jnp.sum(jnp.pad(x, ((1, 1), (2, 2), (3, 3), (0, 0))) ** 2),
        (shaped(1, 2, 3, 4),),
    ),
}


@pytest.mark.parametrize("wide", [False, True], ids=["32 bits", "64 bits"])
@pytest.mark.parametrize("name", WIDE)
def test_programs_are_plain_and_at_most_100_columns_wide(name, wide):
    fun, args = WIDE[name]
    with jax.enable_x64(wide):
        for text in (sg.jit(fun).source(*args), sg.grad(fun).source(*args)):
            check_program(text)
            assert not [line for line in text.splitlines() if len(line) > 100]


@pytest.mark.parametrize("name", ["two layers", "gather", "einsum"])
def test_second_derivatives_are_plain_too(name):
    fun, args = WIDE[name]
    vector = jax.tree.map(lambda a: a, args[0])
    check_program(sg.hvp(fun).source(vector, *args))


def test_arrays_are_arguments_and_never_printed():
    table = np.arange(1000.0, dtype=np.float32)
    text = sg.grad(lambda x: jnp.sum(x * table)).source(shaped(1000))
    assert len(text) < 600
    assert "999" not in text


def test_a_function_of_nothing():
    text = sg.jit(lambda: jnp.zeros(3)).source()
    check_program(text)


def test_no_outputs():
    text = sg.jit(lambda x: None).source(shaped(3))
    check_program(text)
    assert sg.jit(lambda x: None)(np.ones(3, np.float32)) is None


# The pieces


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_identifiers_are_plain(text):
    assert plain_name(identifier(text))
    assert identifier(text) not in {"jax", "jnp", "lax"}
    assert "\n" not in comment(text)


def test_good_names_are_left_alone():
    for name in ("x", "W1", "hidden_layer", "_private"[1:], "x0", "d_x"):
        assert identifier(name) == name


def test_names_are_distinct():
    names = Names()
    claimed = [names.claim(n) for n in ("x", "x", "x_2", "x", "x 2", "lambda", "lambda_")]
    assert len(set(claimed)) == len(claimed)
    inner = names.inner()
    assert inner.claim("x") not in claimed
    assert all(plain_name(names.numbered("add")) for _ in range(3))


FILLED = {
    ("x + y", "a", "b * c"): "a + b * c",
    ("x * y", "a + b", "c"): "(a + b) * c",
    ("x * y", "a", "b / c"): "a * (b / c)",
    ("x - y", "a - b", "c - d"): "a - b - (c - d)",
    ("x**y", "-a", "b"): "(-a) ** b",
    ("x**y", "a", "-b"): "a ** (-b)",
    ("-x", "a + b", ""): "-(a + b)",
    ("-x", "-a", ""): "--a",
    ("x[1:]", "a + b", ""): "(a + b)[1:]",
    ("x.T", "a @ b", ""): "(a @ b).T",
    ("x[:, None]", "-a", ""): "(-a)[:, None]",
    ("~x", "a == b", ""): "~(a == b)",
    ("x & y", "a < b", "c | d"): "(a < b) & (c | d)",
    ("x < y", "a < b", "c"): "(a < b) < c",
    ("jnp.where(x, y, z)", "a == b", "c + d"): "jnp.where(a == b, c + d, e)",
    ("x.astype(jnp.int8)", "a * b", ""): "(a * b).astype(jnp.int8)",
    ("x @ y", "a @ b", "c @ d"): "a @ b @ (c @ d)",
    ("x.at[y].get()", "a + b", "c, d"): "(a + b).at[c, d].get()",
}


@pytest.mark.parametrize(("case", "expected"), FILLED.items())
def test_operands_get_parentheses_where_python_wants_them(case, expected):
    """The filled template means the operation of the operands, whatever these are."""
    template, *codes = case
    kinds = {"a * b": "a * b", "-a": "-a"}
    operands = [Text(c, kinds.get(c, c)) if c else Text("e") for c in (*codes, "e")]
    found = fill(template, operands).code
    assert ast.dump(ast.parse(found)) == ast.dump(ast.parse(expected)), found


def test_long_statements_are_broken_between_items():
    call = "value = function(" + ", ".join(f"argument_{i}" for i in range(20)) + ")"
    lines = statement(call, 4)
    assert all(len(line) <= 100 for line in lines)
    assert ast.dump(ast.parse("\n".join(lines).strip())) == ast.dump(ast.parse(call))


def test_items_are_split_outside_of_brackets_and_strings():
    assert split_items('a, f(b, c), [d, e], "x, y", {1: (2, 3)}') == [
        "a",
        "f(b, c)",
        "[d, e]",
        '"x, y"',
        "{1: (2, 3)}",
    ]
    assert split_items("") == []


def test_errors_are_symgrads_own():
    """A program is never wrong Python: what cannot be emitted is said before."""
    with pytest.raises(SymgradError):
        sg.jit(lambda x: x if x > 0 else -x).source(shaped())
