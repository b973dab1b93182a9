"""Golden programs: the very text of twelve derivatives, as it would stand in a review.

`make golden` writes them again; what then differs is for a person to read.
"""

from __future__ import annotations

import ast
import inspect
import os
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from golden import hand
from golden.definitions import PROGRAMS, Golden

TESTS = Path(__file__).parent

each = pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)


@pytest.fixture(autouse=True)
def usual_precision() -> Iterator[None]:
    """Other tests ask for exact products; a program says so, and people rarely do."""
    with jax.default_matmul_precision(None), jax.enable_x64(False):
        yield


def function(text: str, prefix: str = "") -> ast.FunctionDef:
    """The last function of a program, which is the one that the others help."""
    found = [n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef)][-1]
    assert found.name.startswith(prefix)
    return found


def statements(tree: ast.FunctionDef) -> int:
    """How many statements a function has, those of the functions in it included."""
    doc = ast.get_docstring(tree) is not None
    return sum(isinstance(node, ast.stmt) for node in ast.walk(tree)) - 1 - doc


def assigned(tree: ast.AST) -> set[str]:
    """The variables that are assigned anywhere in a function."""
    names = (n for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
    return {n.id for n in names} - {"_"}


def of_user(program: Golden) -> ast.FunctionDef:
    return function(textwrap.dedent(inspect.getsource(program.fun)))


@each
def test_the_text_is_the_one_that_was_read(program: Golden, tmp_path: Path) -> None:
    file = tmp_path / program.file.name
    program.derivative.save_source(file, *program.args)
    assert file.read_text() == program.file.read_text(), "`make golden` writes the new text"


def test_there_are_no_others() -> None:
    modules = {p.stem for p in (TESTS / "golden").glob("*.py")}
    here = {"__init__", "__main__", "definitions", "hand"}
    assert modules - here == {program.name for program in PROGRAMS}


ALONE = """
import importlib, pickle, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "symgrad":
            raise ImportError("a golden program asked for symgrad")

sys.meta_path.insert(0, Absent())
import jax

jax.config.update("jax_default_matmul_precision", "highest")
found = {}
for name, args in pickle.load(sys.stdin.buffer).items():
    module = importlib.import_module(name)
    (function,) = (f for n, f in vars(module).items() if n.endswith("_" + name))
    found[name] = jax.tree.map(jax.device_get, jax.jit(function)(*args))
assert "symgrad" not in sys.modules
pickle.dump(found, sys.stdout.buffer)
"""


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    """What the modules return in a process that cannot import symgrad."""
    args = {p.name: jax.tree.leaves(p.draw()) for p in PROGRAMS}
    ran = subprocess.run(
        [sys.executable, "-c", ALONE],
        input=pickle.dumps(args),
        capture_output=True,
        check=False,
        cwd=TESTS / "golden",
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )
    assert ran.returncode == 0, ran.stderr.decode()
    return pickle.loads(ran.stdout)


@each
def test_the_modules_need_jax_alone_and_agree_with_it(
    program: Golden, alone: dict[str, Any]
) -> None:
    with jax.default_matmul_precision("highest"):
        expected = jax.tree.leaves(program.oracle(program.fun, program.argnums)(*program.draw()))
    close(jax.tree.leaves(alone[program.name]), expected)


@each
def test_the_hand_derivations_are_right(program: Golden) -> None:
    with jax.default_matmul_precision("highest"):
        expected = jax.tree.leaves(program.oracle(program.fun, program.argnums)(*program.draw()))
        by_hand = jax.jit(getattr(hand, program.name))(*jax.tree.leaves(program.draw()))
    close(jax.tree.leaves(by_hand), expected)


def close(found: list[Any], expected: list[Any]) -> None:
    for got, want in zip(found, expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-5 * np.abs(want).max())


@each
def test_about_as_long_as_by_hand(program: Golden) -> None:
    written = statements(function(program.file.read_text()))
    by_hand = statements(function(inspect.getsource(getattr(hand, program.name))))
    assert written <= 1.3 * by_hand, f"{written} statements, by hand {by_hand}"


@each
def test_arguments_have_the_users_names(program: Golden) -> None:
    text = function(program.file.read_text())
    leaves, _ = jax.tree.flatten_with_path(program.args)
    names = [a.arg for a in of_user(program).args.args]
    direction = ["v"] * (len(program.args) - len(names))
    wanted = []
    for path, _ in leaves:
        argument = [*direction, *names][path[0].idx]
        key = path[1].key if len(path) > 1 else argument
        wanted.append(f"v_{key}" if argument == "v" else key)
    assert [a.arg for a in text.args.args] == wanted


GONE = {
    "attention": {"k"},  # is only ever used transposed
    "layer_norm": {"mean", "variance"},  # are written without the axis of length 1
    "gaussian_nll": {"squared"},  # is half of itself
}
"""Variables whose values the simplified programs do not compute."""


def test_variables_have_the_users_names() -> None:
    kept, known = 0, 0
    for program in PROGRAMS:
        names = assigned(of_user(program)) - GONE.get(program.name, set())
        known += len(names)
        kept += len(names & assigned(function(program.file.read_text())))
    assert kept >= 0.8 * known, f"{kept} of {known}"
    assert known >= 35


@pytest.mark.slow
def test_the_text_does_not_depend_on_hash_seeds() -> None:
    script = "from golden.definitions import PROGRAMS\n"
    script += "for p in PROGRAMS: print(p.derivative.source(*p.args))"
    paths = os.pathsep.join([str(TESTS), *(p for p in sys.path if p)])
    texts = {
        subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": paths},
        ).stdout
        for seed in ("0", "1", "12345")
    }
    (text,) = texts
    assert text.count("def ") > len(PROGRAMS)
