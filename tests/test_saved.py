"""Graphs as files: what is written is read back, and no file can do more than fail."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import primitives
import pytest
import samples
from test_every_op import TESTED_APART, operations

import symgrad as sg
from symgrad.expr import Captured, Type, fresh
from symgrad.ops import calls, catalogue
from symgrad.ops.catalogue import OPERATIONS, UNIQUE_NAMES
from symgrad.saved.layout import OUTSIDE
from symgrad.walk import Graph, topological


def again(graph: sg.Graph, folder: Path) -> sg.Graph:
    graph.save(folder / "again.graph")
    return sg.load(folder / "again.graph")


def same(found: sg.Graph, graph: sg.Graph) -> bool:
    """Equal as graphs where all of a graph is data; arrays and rules are compared as text."""
    told = found.names == graph.names and found.source() == graph.source()
    return told and (found == graph or any(map(_by_identity, _everything(graph))))


def _by_identity(value: Any) -> bool:
    negative = isinstance(value, int) and not isinstance(value, bool) and value < 0
    return negative or isinstance(value, Captured | calls.Rule)


def _everything(graph: Graph) -> list[Any]:
    found = []
    for node in topological(graph.roots):
        found += node.params.values()
        for local in node.op.functions(node) if node.op.functions else ():
            found += _everything(local.graph)
    return found


def made_graphs() -> list[tuple[Any, sg.Graph]]:
    found = []
    for made in samples.MADE:
        inputs = tuple(fresh(Type(o.shape, np.dtype(np.float32))) for o in made.operands)
        found.append((made, sg.Graph.of(Graph(inputs, tuple(made.build(*inputs))))))
    return found


def test_every_operation_has_a_name_of_its_own():
    names = [catalogue.expr, *catalogue.FAMILIES]
    known = {op for module in names for op in operations(module).values()}
    assert known == set(OPERATIONS.values()) == set(UNIQUE_NAMES)
    folders = {module.__name__.rpartition(".")[2] for module in catalogue.FAMILIES}
    assert folders >= TESTED_APART - {"checkpoint", "monoid", "indexing", "stacked"}


def test_every_sample_comes_back(tmp_path: Path, subtests: Any) -> None:
    draws = np.random.default_rng(0)
    with jax.enable_x64(True):
        for sample in samples.SAMPLES:
            graph = sg.trace(sample.fun, *sample.draw(draws, np.float64))
            if sample.op.name not in OUTSIDE:
                with subtests.test(str(sample)):
                    assert same(again(graph, tmp_path), graph)
    for made, graph in made_graphs():
        with subtests.test(str(made)):
            assert same(again(graph, tmp_path), graph)


def test_every_primitive_comes_back_or_is_named(tmp_path: Path, subtests: Any) -> None:
    draws, used = np.random.default_rng(0), set()
    with jax.enable_x64(True):
        for case in primitives.CASES:
            graph = sg.trace(case.fun, *case.variants()[0].draw(draws))
            below = {n.op.name for n in graph.nodes}
            with subtests.test(str(case)):
                if below.isdisjoint(OUTSIDE):
                    assert same(again(graph, tmp_path), graph)
                    used |= below
                else:
                    with pytest.raises(sg.SavedGraphError, match=r"primitives.py:\d+"):
                        graph.save(tmp_path / "refused.graph")
    assert not (tmp_path / "refused.graph").exists()
    assert len(used) > 150


def of_a_cell(carry: Any, row: Any) -> Any:
    h = jnp.tanh(carry * row)
    return h, jax.nn.gelu(h)


def loss(w: Any, x: Any) -> Any:
    last, rows = jax.lax.scan(of_a_cell, w, x)
    return jnp.sum(last) + jnp.sum(jax.nn.softmax(rows))


W, X = np.ones(3, np.float32), np.ones((4, 3), np.float32)


def test_derivatives_come_back(tmp_path: Path) -> None:
    for graph in (
        sg.trace(loss, W, X).grad(),
        sg.trace(loss, W, X).grad((0, 1)).simplify(),
        sg.grad(loss).graph(W, X),
        sg.trace(loss, W, X).hvp().simplify(),
        sg.hessian(loss).graph(W, X),
    ):
        assert same(again(sg.Graph.of(graph), tmp_path), sg.Graph.of(graph))


def test_what_was_loaded_runs_and_is_differentiated_again(tmp_path: Path) -> None:
    graph = sg.trace(loss, W, X)
    found = again(graph, tmp_path)
    assert np.allclose(found.compile()(W, X), loss(W, X))
    assert np.allclose(found.grad().simplify().compile()(W, X), jax.grad(loss)(W, X), atol=1e-6)


@jax.custom_jvp
def cubed(x):
    return x**3


@cubed.defjvp
def _(primals, tangents):
    return cubed(*primals), 3 * cubed(*primals) / primals[0] * tangents[0]


@jax.custom_vjp
def halved(x):
    return x / 2


halved.defvjp(lambda x: (x / 2, None), lambda _, g: (10 * g,))


def test_rules_of_the_users_come_back(tmp_path: Path) -> None:
    """The rule of the first calls its own function: every order needs another graph of it."""
    graph = again(sg.trace(lambda x: halved(cubed(x)), 2.0), tmp_path)
    first = graph.grad()
    assert first.compile()(2.0) == 10 * 12
    assert first.grad().compile()(2.0) == 10 * 12
    with pytest.raises(sg.NoDerivativeError, match="first and second"):
        first.grad().grad()


def test_arrays_keep_dtypes_names_and_identity(tmp_path: Path) -> None:
    key = jax.random.key(3)
    narrow = jnp.arange(3, dtype=jnp.bfloat16)
    table = np.asfortranarray(np.arange(6.0, dtype=np.float32).reshape(2, 3))

    def program(x):
        return (x @ table) * narrow.astype(jnp.float32) + jax.random.normal(key, (3,)), table

    graph = again(sg.trace(program, np.ones(2, np.float32)), tmp_path)
    assert len([n for n in graph.nodes if n.op.name == "captured"]) == 3
    found = graph.compile()(np.ones(2, np.float32))
    assert np.allclose(found[0], program(jnp.ones(2))[0])
    assert np.array_equal(found[1], table)


def test_lines_and_names_come_back_without_folders(tmp_path: Path) -> None:
    graph = again(sg.trace(lambda x: sg.jit(jnp.sin)(x) + branching(x), 1.0), tmp_path)
    frames = [o.frame for o in graph.origins.values() if o.frame]
    assert {f.file for f in frames} == {"test_saved.py"}
    assert any(f.text == "doubled = 2 * x" for f in frames)
    assert "doubled" in graph.source()
    text = (tmp_path / "again.graph").read_bytes()
    assert str(Path(__file__).parent).encode() not in text


def branching(x):
    doubled = 2 * x
    return doubled * jnp.cos(doubled)


def test_a_long_chain_comes_back(tmp_path: Path) -> None:
    x = y = fresh(Type((), np.dtype(np.float32)))
    for _ in range(10_000):
        y = OPERATIONS["sin"](y) * 2.0
    graph = sg.Graph.of(Graph((x,), (y,), ("x",)))
    assert len(again(graph, tmp_path)) == len(graph)


def test_files_are_the_same_every_time_and_whole_or_absent(tmp_path: Path) -> None:
    graph = sg.trace(loss, W, X).grad()
    graph.save(tmp_path / "one")
    graph.save(tmp_path / "two")
    before = (tmp_path / "one").read_bytes()
    assert before == (tmp_path / "two").read_bytes()
    shown = sg.trace(
        lambda x: jax.pure_callback(np.sin, jax.ShapeDtypeStruct((), "float32"), x), 1.0
    )
    with pytest.raises(sg.SavedGraphError, match="pure_callback"):
        shown.save(tmp_path / "one")
    assert (tmp_path / "one").read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["one", "two"]


# Files to doubt


def parts(graph: sg.Graph, folder: Path) -> dict[str, bytes]:
    graph.save(folder / "good.graph")
    with zipfile.ZipFile(folder / "good.graph") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(members: dict[str, bytes], path: Path, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def npy(shape: str, descr: str = "'<f4'", data: bytes = b"") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + data


def with_array(x):
    return jnp.sum(x * np.arange(3, dtype=np.float32)) + jnp.sum(jnp.cumsum(x))


def nodes(document: Any) -> list[Any]:
    return document["graphs"][-1]["nodes"]


def node(document: Any, name: str) -> list[Any]:
    return next(n for n in nodes(document) if n[0] == name)


Change = Callable[[Any], Any]


def put(where: Callable[[Any], Any], key: Any, value: Any) -> Change:
    return lambda document: where(document).__setitem__(key, value)


def of(name: str) -> Callable[[Any], Any]:
    return lambda document: node(document, name)[2]


BAD_DOCUMENTS: dict[str, Change] = {
    "another format": put(lambda d: d, "format", "pickle"),
    "a version to come": put(lambda d: d, "version", 2),
    "a version that is true": put(lambda d: d, "version", True),
    "no graphs": put(lambda d: d, "graphs", []),
    "graphs of another type": put(lambda d: d, "graphs", {"0": 1}),
    "no frames": put(lambda d: d, "frames", None),
    "an unknown operation": put(lambda d: nodes(d)[1], 0, "__import__"),
    "an operation that is no name": put(lambda d: nodes(d)[1], 0, ["sin"]),
    "a node of itself": put(lambda d: node(d, "mul"), 1, [10**6, 0]),
    "a negative operand": put(lambda d: node(d, "mul"), 1, [-1, 0]),
    "a true operand": put(lambda d: node(d, "mul"), 1, [True, 0]),
    "too few operands": put(lambda d: node(d, "mul"), 1, [0]),
    "too many operands": put(lambda d: node(d, "mul"), 1, [0, 0, 0]),
    "a call of a builtin": lambda d: nodes(d).__setitem__(
        1, ["opaque", [0], {"name": "exit", "call": None, "types": []}]
    ),
    "a text to print": lambda d: nodes(d).__setitem__(
        1, ["effect", [0], {"name": "exit", "call": None, "text": "exit"}]
    ),
    "a function to call": lambda d: nodes(d).__setitem__(
        1, ["layout_constraint", [0], {"layout": "x", "function": "exit"}]
    ),
    "no operands": put(lambda d: node(d, "mul"), 1, []),
    "a parameter too many": put(of("cumsum"), "more", 1),
    "an axis beyond": put(of("sum"), "axes", [7]),
    "an axis that is code": put(of("cumsum"), "axis", "0) + print(1"),
    "an axis that is an object": put(of("cumsum"), "axis", {"pickle": "gASV"}),
    "a graph that is not there": put(of("cumsum"), "axis", {"graph": 0}),
    "a graph of itself": put(of("cumsum"), "axis", {"graph": 3}),
    "a function that is not there": put(of("cumsum"), "axis", {"function": -1}),
    "a member of nothing": put(of("cumsum"), "axis", {"enum": "os.system"}),
    "a member that is an attribute": put(of("cumsum"), "axis", {"enum": "Precision.__class__"}),
    "a record of nothing": put(of("cumsum"), "axis", {"record": ["object", []]}),
    "a dtype of objects": put(of("argument"), "of", {"type": ["object", [3], False]}),
    "a dtype of code": put(of("argument"), "of", {"type": ["f4,(2)i4", [3], False]}),
    "a huge shape": put(of("argument"), "of", {"type": ["float32", [2**40, 2**40], False]}),
    "a negative size": put(of("argument"), "of", {"type": ["float32", [-3], False]}),
    "a size that is no number": put(of("argument"), "of", {"type": ["float32", ["3"], False]}),
    "an input without type": put(of("argument"), "of", 3),
    "an array that is not there": put(of("captured"), "array", {"array": [9, "float32", "c"]}),
    "an array of another dtype": put(of("captured"), "array", {"array": [0, "float64", "c"]}),
    "an array as random keys": put(of("captured"), "array", {"array": [0, "rbg", "c"]}),
    "no array": put(of("captured"), "array", 0),
    "a path as an array": put(of("captured"), "array", {"array": ["/etc/passwd", "uint8", "c"]}),
    "an output that is not there": put(lambda d: d["graphs"][-1], "outputs", [10**9]),
    "an input that is none": put(lambda d: d["graphs"][-1], "inputs", [len("ab")]),
    "no inputs": put(lambda d: d["graphs"][-1], "inputs", []),
    "names that are no text": put(lambda d: d["graphs"][-1], "names", [1]),
    "names for nothing": put(lambda d: d["graphs"][-1], "names", ["x", "y", "z"]),
    "a name too long": put(lambda d: d["graphs"][-1], "names", ["x" * 100_000]),
    "origins of nothing": put(lambda d: d["graphs"][-1], "origins", []),
    "an origin that is not there": put(lambda d: d["graphs"][-1]["origins"], 0, [99, "x", False]),
    "a place that is no number": put(lambda d: d["frames"][0], 1, "1"),
    "a huge place": put(lambda d: d["frames"][0], 1, 10**30),
    "one key too few": lambda d: d["graphs"][-1].pop("effects"),
}


@pytest.mark.parametrize("change", BAD_DOCUMENTS)
def test_documents_to_doubt(change: str, tmp_path: Path) -> None:
    members = parts(sg.trace(with_array, X[0]), tmp_path)
    document = json.loads(members["graph.json"])
    BAD_DOCUMENTS[change](document)
    bad = packed({**members, "graph.json": json.dumps(document).encode()}, tmp_path / "bad")
    with pytest.raises(sg.SavedGraphError, match="is no graph that symgrad saved"):
        sg.load(bad)


BAD_TEXTS = {
    "nothing": b"",
    "no JSON": b"import os",
    "no text": b"\xff\xfe",
    "a list": b"[]",
    "deep": b"[" * 100_000,
    "a long number": b'{"format": "symgrad graph", "version": ' + b"9" * 10_000 + b"}",
    "no number": b'{"format": "symgrad graph", "version": NaN}',
    "a key twice": b'{"format": "symgrad graph", "version": 1, "version": 1}',
}

BAD_ARRAYS = {
    "nothing": b"",
    "objects": npy("(3,)", "'|O'", b"cos\nsystem\n(S'id'\ntR."),
    "gigabytes": npy("(1000000000000,)"),
    "a negative size": npy("(-3,)", data=b"\0" * 12),
    "a shape of truth": npy("(True, 3)", data=b"\0" * 12)[:-1],
    "too few bytes": npy("(3,)", data=b"\0" * 8),
    "too many bytes": npy("(3,)", data=b"\0" * 16),
    "code": npy("__import__('os').abort()", data=b"\0" * 12),
    "deep": npy("(" * 50 + "3" + ",)" * 50),
    "fields": npy("(3,)", "[('a', '<f4')]", b"\0" * 12),
    "another version": b"\x93NUMPY\x09\x00" + npy("(3,)")[8:],
}


@pytest.mark.parametrize("name", BAD_TEXTS)
def test_texts_to_doubt(name: str, tmp_path: Path) -> None:
    members = parts(sg.trace(with_array, X[0]), tmp_path)
    with pytest.raises(sg.SavedGraphError):
        sg.load(packed({**members, "graph.json": BAD_TEXTS[name]}, tmp_path / "bad"))


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_arrays_to_doubt(name: str, tmp_path: Path) -> None:
    members = parts(sg.trace(with_array, X[0]), tmp_path)
    with pytest.raises(sg.SavedGraphError):
        sg.load(packed({**members, "array_0.npy": BAD_ARRAYS[name]}, tmp_path / "bad"))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archives_to_doubt(tmp_path: Path) -> None:
    members = parts(sg.trace(with_array, X[0]), tmp_path)
    bad = tmp_path / "bad"
    for extra in ("../evil.py", "/tmp/evil.py", "array_7.npy", "graph.json/x", "__init__.py"):
        with pytest.raises(sg.SavedGraphError, match="other parts"):
            sg.load(packed({**members, extra: b""}, bad))
    with pytest.raises(sg.SavedGraphError, match="compressed"):
        sg.load(packed({**members, "array_0.npy": bytes(10**7)}, bad, zipfile.ZIP_DEFLATED))
    packed(members, bad)
    with zipfile.ZipFile(bad, "a") as archive:
        archive.writestr("graph.json", members["graph.json"])
    with pytest.raises(sg.SavedGraphError):
        sg.load(bad)
    with pytest.raises(FileNotFoundError):
        sg.load(tmp_path / "absent")
    for text in (b"", b"PK", b"\x80\x04cos\nsystem\n", b"not an archive" * 1000):
        bad.write_bytes(text)
        with pytest.raises(sg.SavedGraphError):
            sg.load(bad)


def test_damaged_files_fail_and_do_nothing_else(tmp_path: Path) -> None:
    """Bytes lost and changed anywhere: a graph, or the one error."""
    sg.trace(with_array, X[0]).grad().save(tmp_path / "good")
    good = (tmp_path / "good").read_bytes()
    draws, bad = random.Random(0), tmp_path / "bad"
    failed = 0
    for trial in range(600):
        changed = bytearray(good)
        if trial % 3 == 0:
            del changed[draws.randrange(len(good)) :]
        for _ in range(draws.randrange(1, 4) if trial % 3 else 0):
            changed[draws.randrange(len(good))] = draws.randrange(256)
        bad.write_bytes(changed)
        try:
            sg.load(bad)
        except sg.SavedGraphError:
            failed += 1
    assert failed > 500


def test_changed_documents_fail_and_do_nothing_else(tmp_path: Path) -> None:
    """Values of other types in every place of the document."""
    members = parts(sg.trace(loss, W, X), tmp_path)
    strange = [
        None,
        True,
        -1,
        10**18,
        0.5,
        "x",
        "0 + 1",
        [],
        {},
        [[0]],
        {"graph": 0},
        {"dtype": "x"},
    ]
    draws = random.Random(1)
    for trial in range(400):
        document = json.loads(members["graph.json"])
        place = document
        while isinstance(place, list | dict) and place:
            keys = list(place) if isinstance(place, dict) else range(len(place))
            parent, key = place, draws.choice(list(keys))
            place = parent[key]
            if draws.random() < 0.2:
                break
        parent[key] = strange[trial % len(strange)]
        text = json.dumps(document).encode()
        packed({**members, "graph.json": text}, tmp_path / "bad")
        with contextlib.suppress(sg.SavedGraphError):
            sg.load(tmp_path / "bad")


def test_nothing_large_is_allocated(tmp_path: Path) -> None:
    """A file of a kilobyte may speak of a terabyte; reading it takes next to nothing."""
    graph = sg.trace(lambda x: jnp.zeros((2**20, 2**18)) + x, 1.0)
    graph.save(tmp_path / "large")
    assert (tmp_path / "large").stat().st_size < 10_000
    assert sg.load(tmp_path / "large").outputs[0].shape == (2**20, 2**18)
    buffer = io.BytesIO(npy("(3,)", data=b"\0" * 12))
    assert np.load(buffer).shape == (3,)


def test_texts_in_files_are_never_called() -> None:
    """No operation that a file may have is printed as a call of one of its parameters."""
    for name in OPERATIONS.keys() - OUTSIDE:
        source = OPERATIONS[name].source
        if isinstance(source, str):
            called = set(re.findall(r"{(\w+)}\(", source))
            assert called.isdisjoint(set(OPERATIONS[name].params) - {"body"}), name


def squared_error(params, x, y):
    return jnp.mean((jnp.tanh(x @ params["W"]) - y) ** 2)


REGRESSION = ({"W": jnp.ones((3, 2))}, jnp.ones((5, 3)), jnp.zeros((5, 2)))


def test_saved_source_runs_alone_and_says_how_it_was_made(tmp_path):
    file = tmp_path / "slope.py"
    sg.grad(squared_error).save_source(file, *REGRESSION)
    text, made = file.read_text(), {}
    exec(compile(text, file, "exec"), made)
    found = made["grad_squared_error"](REGRESSION[0]["W"], *REGRESSION[1:])
    expected = jax.grad(squared_error)(*REGRESSION)["W"]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert sg.__version__ in made["__doc__"] and jax.__version__ in made["__doc__"]
    assert "--arg \"{'W': f32[3,2]}\" --arg 'f32[5,3]'" in made["__doc__"]
    assert "-o slope.py" in made["__doc__"]
    sg.grad(squared_error).save_source(file, *REGRESSION)
    assert file.read_text() == text


def test_source_with_objects_of_the_process_is_not_saved(tmp_path):
    def called(x):
        return jax.pure_callback(np.sin, jax.ShapeDtypeStruct((), x.dtype), x)

    with pytest.raises(sg.SymgradError, match="objects of this process"):
        sg.jit(called).save_source(tmp_path / "called.py", jnp.float32(1))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "key",
    [
        '""";raise SystemError;"""',
        '"""\nraise SystemError\n"""',
        "\\",
        '\\"""',
        "a\nb",
        "a\x00b",
        "\u202e",
        "\ud800",
    ],
)
def test_no_key_ends_the_docstring_of_a_module(key, tmp_path):
    def total(params):
        return jnp.sum(params[key] ** 2)

    total.__name__ = total.__qualname__ = key
    file = tmp_path / "slope.py"
    sg.grad(total).save_source(file, {key: jnp.ones(3)})
    made: dict[str, Any] = {}
    exec(compile(file.read_bytes(), file, "exec"), made)
    assert "To write it again:" in made["__doc__"]
