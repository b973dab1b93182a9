"""The command line: what it reads, what it prints, and how it says no."""

from __future__ import annotations

import ast
import importlib
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pytest

from symgrad import cli
from symgrad.cli import UsageError, find_function, main, parse_argument, parse_wrt
from symgrad.demo import tour

MODEL = '''
import jax.numpy as jnp


def loss(w, x, y):
    """Mean squared error of a linear model."""
    error = x @ w - y
    return jnp.mean(error**2)


def energy(params, x):
    return jnp.sum(jnp.tanh(x @ params["W"] + params["b"]))


def broken(x):
    raise RuntimeError("out of order")


class Model:
    @staticmethod
    def half(x):
        return jnp.sum(x) / 2


size = 3
'''
LOSS = ["--arg", "f32[3]", "--arg", "f32[8,3]", "--arg", "f32[8]"]


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module in the working directory, forgotten after the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    file = tmp_path / "cli_model.py"
    file.write_text(MODEL)
    yield file
    for name in [name for name in sys.modules if name.startswith(("cli_", "symgrad_input_"))]:
        del sys.modules[name]


# Types of arguments


@pytest.mark.parametrize(
    ("text", "shape", "dtype"),
    [
        ("f32[32,64]", (32, 64), "float32"),
        ("float32[3]", (3,), "float32"),
        ("i32[]", (), "int32"),
        ("bf16[2]", (2,), "bfloat16"),
        ("f16[0]", (0,), "float16"),
        ("u8[2, 2]", (2, 2), "uint8"),
        ("c64[1,]", (1,), "complex64"),
        ("f64[5]", (5,), "float64"),
        ("bool[4]", (4,), "bool"),
        (" f8_e4m3fn[2] ", (2,), "float8_e4m3fn"),
    ],
)
def test_type_of_an_argument(text: str, shape: tuple[int, ...], dtype: str) -> None:
    found = parse_argument(text)
    assert isinstance(found, jax.ShapeDtypeStruct)
    assert (found.shape, found.dtype.name) == (shape, dtype)


def test_structured_arguments() -> None:
    found = parse_argument("{'W': f32[2,3], 'rest': [i32[], (-0.5, True, None)]}")
    assert found["W"].shape == (2, 3)
    assert found["rest"][0].dtype == np.int32
    assert found["rest"][1] == (-0.5, True, None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("f32[3", "cannot read"),
        ("", "cannot read"),
        ("f32", "'f32' is no type"),
        ("f32[-1]", "-1 is no size"),
        ("f32[n]", "n is no size"),
        ("f32[2.0]", "2.0 is no size"),
        ("f32[True]", "True is no size"),
        ("f33[2]", "'f33' is no dtype"),
        ("f4[2]", "'f4' is no dtype"),
        ("float[2]", "'float' is no dtype"),
        ("object[2]", "'object' is no dtype"),
        ("{**f32[2]}", "keys"),
        ("{f32[2]: 1}", "keys"),
        ("__import__('os')", "is no type"),
    ],
)
def test_bad_types_are_named(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_argument(text)
    assert says in str(caught.value)
    assert text in str(caught.value)


def test_which_arguments_to_differentiate() -> None:
    assert parse_wrt(None, "grad", 2) == 0
    assert parse_wrt("1", "grad", 2) == 1
    assert parse_wrt("0,1", "hessian", 2) == (0, 1)
    assert parse_wrt(None, "jit", 0) is None


@pytest.mark.parametrize(
    ("text", "transform", "count", "says"),
    [
        ("x", "grad", 1, "cannot read --wrt 'x'"),
        ("0,", "grad", 1, "cannot read --wrt"),
        ("2", "grad", 2, "--arg was given 2 times"),
        ("-1", "grad", 2, "no argument -1"),
        (None, "grad", 0, "no argument 0"),
        ("0,1", "hvp", 2, "one argument"),
        ("0", "jit", 1, "leave --wrt out"),
    ],
)
def test_bad_wrt(text: str | None, transform: str, count: int, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_wrt(text, transform, count)


# Finding the function


def test_functions_in_modules_files_and_classes(model: Path) -> None:
    assert find_function("cli_model:loss").__name__ == "loss"
    assert find_function(f"{model}:loss").__name__ == "loss"
    assert find_function("cli_model:Model.half").__name__ == "half"
    assert find_function("jax.nn:softplus") is jax.nn.softplus


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("loss", "names no function"),
        ("cli_model:", "names no function"),
        ("cli_model:los", "did you mean 'loss'"),
        ("cli_model:size", "not a function but of type int"),
        ("no_such_module:f", "no module 'no_such_module'"),
        ("cli_model.inner:f", "no module"),
        ("absent.py:f", "no file absent.py"),
    ],
)
def test_functions_that_are_not_there(model: Path, name: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_function(name)
    assert says in str(caught.value)


def test_a_file_may_bear_the_name_of_a_library(model: Path) -> None:
    other = model.with_name("jax.py")
    other.write_text("def f(x):\n    return x\n")
    assert find_function("jax.py:f")(1) == 1
    assert sys.modules["jax"] is jax


# Commands


def imports(source: str) -> set[str]:
    """The packages a program imports."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
    return found


def test_source_prints_a_program(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["source", "cli_model:loss", *LOSS]) == 0
    out, err = capsys.readouterr()
    assert imports(out) == {"jax"}
    assert err == ""


def test_source_into_a_file(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["source", f"{model}:loss", *LOSS, "-o", "out.py"]) == 0
    assert imports(Path("out.py").read_text()) == {"jax"}
    assert capsys.readouterr() == ("", "wrote out.py\n")


@pytest.mark.parametrize("transform", cli.TRANSFORMS)
def test_every_transform(model: Path, transform: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["source", "cli_model:loss", *LOSS, "--transform", transform]) == 0
    assert "def " in capsys.readouterr().out


def test_several_arguments_and_pytrees(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    params = "{'W': f32[3,2], 'b': f32[2]}"
    assert main(["source", "cli_model:energy", "--arg", params, "--arg", "f32[4,3]"]) == 0
    assert main(["source", "cli_model:loss", *LOSS, "--wrt", "0,2"]) == 0
    assert "def " in capsys.readouterr().out


def test_64_bits_last_for_one_command(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = jax.numpy.ones(2).dtype
    assert main(["source", "cli_model:Model.half", "--arg", "f64[3]"]) == 0
    assert "float64" in capsys.readouterr().out
    assert jax.numpy.ones(2).dtype == before


def test_explain_prints_a_report(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "cli_model:loss", *LOSS]) == 0
    assert capsys.readouterr().out.strip()


def test_arguments_from_files(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("w.npy", np.ones(3, np.float32))
    np.savez("params.npz", W=np.ones((3, 2)), b=np.ones(2))
    assert parse_argument("w.npy") == jax.ShapeDtypeStruct((3,), np.float32)
    assert parse_argument("params.npz")["W"] == jax.ShapeDtypeStruct((3, 2), np.float64)
    assert main(["source", "cli_model:loss", "--arg", "w.npy", *LOSS[2:]]) == 0
    assert main(["source", "cli_model:energy", "--arg", "params.npz", "--arg", "f64[4,3]"]) == 0
    assert "W: float64[3,2]" in capsys.readouterr().out


def test_files_that_hold_no_arrays(model: Path) -> None:
    Path("text.npy").write_text("import os")
    Path("text.npz").write_text("import os")
    np.save("objects.npy", np.array([{}]), allow_pickle=True)
    np.save("words.npy", np.array(["a"]))
    for name in ("text.npy", "text.npz", "objects.npy", "words.npy", "absent.npy"):
        with pytest.raises(UsageError, match=f"cannot read --arg {name}"):
            parse_argument(name)


def test_views(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", "cli_model:loss", *LOSS]) == 0
    assert capsys.readouterr().out.startswith(r"\begin{aligned}")
    for name, start in (("a.html", "<!doctype html>"), ("a.svg", "<svg"), ("a.tex", r"\begin")):
        assert main(["view", "cli_model:loss", *LOSS, "-o", name]) == 0
        assert Path(name).read_text().startswith(start)
    assert "grad of loss" in Path("a.html").read_text()


def test_info_names_versions(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    assert jax.__version__ in out
    assert "symgrad" in out


# Saying no


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["source", "cli_model:nothing"], 2, "has no 'nothing'"),
        (["source", "cli_model:loss"], 2, "no argument 0"),
        (["source", "cli_model:loss", "--arg", "f32(3)"], 2, "cannot read --arg"),
        (["source", "cli_model:broken", "--arg", "f32[3]"], 1, "out of order"),
        (["source", "cli_model:loss", "--arg", "f32[3]"], 1, "missing a required argument"),
        (["view", "cli_model:loss", *LOSS, "-o", "a.gif"], 2, "-o takes a file named .html"),
        (["view", "cli_model:loss", *LOSS, "-o", "no/a.svg"], 1, "cannot write no/a.svg"),
    ],
)
def test_mistakes_are_sentences(
    model: Path,
    arguments: list[str],
    code: int,
    says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(arguments) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("symgrad: ")
    assert says in err
    assert "Traceback" not in err


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["source"], ["info", "--wrt", "0"]])
def test_usage_is_shown(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: symgrad" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["", *cli.EXAMPLES])
def test_help_has_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*command.split(), "--help"])
    assert not caught.value.code
    text = capsys.readouterr().out
    assert "usage: symgrad" in text
    assert f"examples:\n  symgrad {command}" in text


def test_examples_are_commands() -> None:
    parser = cli.make_parser()
    for name, examples in cli.EXAMPLES.items():
        for line in examples.splitlines():
            words = shlex.split(line.partition(" > ")[0])
            assert words[:2] == ["symgrad", name]
            parser.parse_args(words[1:])


@pytest.mark.parametrize("shell", cli.SHELLS)
def test_completion_knows_the_commands(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab")
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(name in script for name in (*cli.EXAMPLES, "value_and_grad", "--params"))


def test_bash_completes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab")
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    main(["completion", "bash"])
    file = tmp_path / "completion"
    file.write_text(capsys.readouterr().out)
    ask = 'source "$0"; COMP_WORDS=(symgrad sou); COMP_CWORD=1; _shtab_symgrad symgrad sou symgrad'
    ran = subprocess.run(
        [bash, "-c", f'{ask}; echo "${{COMPREPLY[@]}}"', file],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.split() == ["source"]


def test_completion_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 1
    assert "pip install 'symgrad[cli]'" in capsys.readouterr().err


def test_debug_lets_errors_through(model: Path) -> None:
    with pytest.raises(RuntimeError, match="out of order"):
        main(["source", "cli_model:broken", "--arg", "f32[3]", "--debug"])


def test_an_import_error_of_the_user_is_told_apart(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model.with_name("cli_needy.py").write_text("import no_such_library\n")
    assert main(["source", "cli_needy:f", "--arg", "f32[3]"]) == 1
    assert "no_such_library" in capsys.readouterr().err


# The demo, as a command


def test_what_the_demo_misses_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tour, "run", lambda output, *, quick: ["It is late."] if quick else [])
    assert main(["demo", "--output", str(tmp_path)]) == 0
    assert main(["demo", "--output", str(tmp_path), "--quick"]) == 1
    assert capsys.readouterr().err == "symgrad: It is late.\n"


def test_the_demo_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError("No module named 'optax'", name="optax")

    monkeypatch.setattr(importlib, "import_module", missing)
    assert main(["demo"]) == 1
    assert "optax" in (err := capsys.readouterr().err)
    assert "pip install 'symgrad[demo]'" in err
