"""What people type in a terminal: `symgrad demo`, `source`, `explain`, `view`, `completion`, ...

The function is named as MODULE:FUNCTION or FILE.py:FUNCTION, and each argument by its type,
`f32[32,64]`, by a file of arrays, or as a dict, list or tuple of types. Nothing is computed with:
types are enough to trace, differentiate, simplify and print.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import difflib
import importlib
import importlib.util
import platform
import re
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np

import symgrad as sg
from symgrad.curvature import command as curvature
from symgrad.errors import SymgradError
from symgrad.pictures.page import page

FAILURE, USAGE = 1, 2
INTERRUPTED = 130

EXAMPLES = {
    "demo": """\
  symgrad demo --quick --output figures
""",
    "source": """\
  symgrad source model.py:loss --arg 'f32[3]' --arg 'f32[8,3]' --arg 'f32[8]'
  symgrad source model.py:loss --arg "{'W': f32[64,10], 'b': f32[10]}" --arg 'f32[32,64]'
  symgrad source jax.nn:softplus --arg 'f32[]' --transform value_and_grad -o softplus.py
""",
    "explain": """\
  symgrad explain package.module:energy --arg 'f64[100,3]' --transform hessian
""",
    "spectrum": """\
  symgrad spectrum model.py:loss --params params.npz --data data.npz -o density.png
""",
    "view": """\
  symgrad view model.py:loss --arg w.npy --arg 'f32[8,3]' --arg 'f32[8]' -o loss.html
""",
    "completion": """\
  symgrad completion bash > ~/.local/share/bash-completion/completions/symgrad
  symgrad completion zsh > ~/.zfunc/_symgrad
""",
    "info": """\
  symgrad info
""",
}

ARGUMENTS = """\
Each --arg is the type of one argument: a dtype and a shape, f32[32,64], float32[3], bf16[2],
i32[], bool[4]; a file of one array, w.npy, or of several, params.npz, which is a dict by name; a
Python number; or a dict, list or tuple of types and numbers. 64-bit dtypes switch JAX to 64 bits
for this run.
"""

VIEW_NOTES = f"""\
The ending of FILE says what is written: .html, a page to zoom, search, fold and step through;
.svg, a picture; .tex, formulas. Without -o, formulas are printed.

{ARGUMENTS}"""

SPECTRUM_NOTES = """\
The arrays of --params are a dict by name, nested at every slash in it; those of --data are the
other arguments of the loss, by name.
"""

SHELLS = ("bash", "zsh", "tcsh")

SHORT_DTYPES = {"bf": "bfloat", "f": "float", "i": "int", "u": "uint", "c": "complex"}
WIDE_DTYPES = ("float64", "int64", "uint64", "complex128")

Transform = Callable[[Callable[..., Any], Any], Any]

TRANSFORMS: dict[str, Transform] = {
    "grad": lambda fun, wrt: sg.grad(fun, argnums=wrt),
    "value_and_grad": lambda fun, wrt: sg.value_and_grad(fun, argnums=wrt),
    "jacobian": lambda fun, wrt: sg.jacobian(fun, argnums=wrt),
    "hessian": lambda fun, wrt: sg.hessian(fun, argnums=wrt),
    "hvp": lambda fun, wrt: sg.hvp(fun, argnums=wrt),
    "laplacian": lambda fun, wrt: sg.laplacian(fun, argnums=wrt),
    "jit": lambda fun, wrt: sg.jit(fun),
}


class CommandError(Exception):
    """The command cannot do its work; the message says why."""


class UsageError(CommandError):
    """The command line names something that is not there, or is not written as it should be."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 1 for failures, 2 for usage."""
    options = make_parser().parse_args(argv)
    try:
        return options.run(options)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        if options.debug:
            raise
        print(f"symgrad: {_sentence(error)}", file=sys.stderr)
        return USAGE if isinstance(error, UsageError) else FAILURE


def _sentence(error: Exception) -> str:
    if isinstance(error, CommandError | SymgradError):
        return str(error)
    return f"{type(error).__name__}: {error}\n(--debug shows where)"


def make_parser() -> argparse.ArgumentParser:
    """All subcommands and their options."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "symgrad",
        description="Derivatives you can read.",
        epilog=_examples(*EXAMPLES),
        formatter_class=raw,
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the traceback of errors")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(
        name: str, run: Callable[[argparse.Namespace], int], about: str, notes: str = ""
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name,
            parents=[common],
            help=about,
            description=about,
            epilog=f"{notes}\n{_examples(name)}" if notes else _examples(name),
            formatter_class=raw,
        )
        sub.set_defaults(run=run)
        return sub

    demo = command("demo", run_demo, "train two networks on real digits, checking every derivative")
    demo.add_argument(
        "--output", type=Path, default=Path("demo_output"), metavar="DIR", help="for the figures"
    )
    demo.add_argument("--quick", action="store_true", help="train less, and ask for less")

    _add_program_options(
        command("source", run_source, "print the program that computes a derivative", ARGUMENTS)
    )
    _add_program_options(
        command("explain", run_explain, "say what every stage and rule did to it", ARGUMENTS)
    )
    spectrum = command(
        "spectrum", run_spectrum, "eigenvalues of the Hessian of a loss", SPECTRUM_NOTES
    )
    spectrum.add_argument("function", metavar="MODULE:FUNCTION", help="or FILE.py:FUNCTION")
    curvature.add_options(spectrum)
    view = command("view", run_view, "show it: a page, a picture or a formula", VIEW_NOTES)
    _add_program_options(view)
    completion = command("completion", run_completion, "print what a shell completes commands with")
    completion.add_argument("shell", choices=SHELLS)
    command("info", run_info, "versions and devices, for bug reports")
    return parser


def _examples(*commands: str) -> str:
    return "examples:\n" + "".join(EXAMPLES[name] for name in commands)


def _add_program_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("function", metavar="MODULE:FUNCTION", help="or FILE.py:FUNCTION")
    parser.add_argument(
        "--arg",
        action="append",
        default=[],
        dest="args",
        metavar="TYPE",
        help="the type of an argument, once for each, in order",
    )
    parser.add_argument("--transform", choices=TRANSFORMS, default="grad", help="default: grad")
    parser.add_argument(
        "--wrt", metavar="N[,M]", help="which arguments to differentiate, from 0; default: 0"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write there instead")


def run_demo(options: argparse.Namespace) -> int:
    """`symgrad demo`: every missed target is a sentence and a failure."""
    tour = _optional("symgrad.demo.tour", "the demo", "demo")
    missed = tour.run(options.output, quick=options.quick)
    for sentence in missed:
        print(f"symgrad: {sentence}", file=sys.stderr)
    return FAILURE if missed else 0


def _optional(module: str, what: str, extra: str) -> Any:
    """A module that needs more than symgrad does."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("symgrad"):
            raise
        fix = f"pip install 'symgrad[{extra}]'"
        raise CommandError(f"{what} needs {error.name}, which is not installed: {fix}") from None


def run_source(options: argparse.Namespace) -> int:
    """`symgrad source`: on the terminal the program alone, in a file what is to be known of it."""
    if options.output is None:
        return _run_program(options, lambda transformed, args: transformed.source(*args))
    with _program(options) as (transformed, args):
        try:
            transformed.save_source(options.output, *args)
        except OSError as error:
            raise CommandError(f"cannot write {options.output}: {error.strerror}") from None
    print(f"wrote {options.output}", file=sys.stderr)
    return 0


def run_explain(options: argparse.Namespace) -> int:
    """`symgrad explain`."""
    return _run_program(options, lambda transformed, args: str(transformed.explain(*args)))


def run_spectrum(options: argparse.Namespace) -> int:
    """`symgrad spectrum`: the loss takes the parameters first, then the data."""
    print(curvature.report(find_function(options.function), options))
    return 0


def run_view(options: argparse.Namespace) -> int:
    """`symgrad view`."""
    write = VIEWS.get(options.output.suffix if options.output else ".tex")
    if write is None:
        known = ", ".join(VIEWS)
        raise UsageError(f"cannot view as {options.output.name}: -o takes a file named {known}")
    title = f"{options.transform} of {options.function.rpartition(':')[2]}"
    return _run_program(options, lambda transformed, args: write(transformed.graph(*args), title))


VIEWS: dict[str, Callable[[sg.Graph, str], str]] = {
    ".html": lambda graph, title: page(graph, graph.steps(), title),
    ".svg": lambda graph, title: graph.svg(),
    ".tex": lambda graph, title: graph.latex(),
}


def _run_program(options: argparse.Namespace, read: Callable[[Any, list[Any]], str]) -> int:
    with _program(options) as (transformed, args):
        text = read(transformed, args)
    _write(text, options.output)
    return 0


@contextlib.contextmanager
def _program(options: argparse.Namespace) -> Iterator[tuple[Any, list[Any]]]:
    """The transformed function and its arguments."""
    args = [parse_argument(text) for text in options.args]
    with jax.enable_x64(True) if _wide(args) else contextlib.nullcontext():
        fun = find_function(options.function)
        wrt = parse_wrt(options.wrt, options.transform, len(args))
        direction = [args[wrt]] if options.transform == "hvp" else []
        yield TRANSFORMS[options.transform](fun, wrt), direction + args


def _wide(args: list[Any]) -> bool:
    """Whether some argument exists only in JAX's 64-bit mode."""
    return any(str(getattr(leaf, "dtype", "")) in WIDE_DTYPES for leaf in jax.tree.leaves(args))


def _write(text: str, file: Path | None) -> None:
    if file is None:
        print(text.rstrip("\n"))
    else:
        try:
            file.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
        except OSError as error:
            raise CommandError(f"cannot write {file}: {error.strerror}") from None
        print(f"wrote {file}", file=sys.stderr)


def run_completion(options: argparse.Namespace) -> int:
    """`symgrad completion`."""
    shtab = _optional("shtab", "completion", "cli")
    parser = make_parser()
    for sub in (parser, *_subparsers(parser)):
        for action in sub._actions:
            if action.type is Path or action.dest == "function":
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    print(shtab.complete(parser, shell=options.shell))
    return 0


def _subparsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    groups = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    return [sub for group in groups for sub in group.choices.values()]


def run_info(options: argparse.Namespace) -> int:
    """`symgrad info`."""
    print(f"symgrad  {sg.__version__}")
    print(f"jax      {jax.__version__}")
    print(f"numpy    {np.__version__}")
    print(f"python   {platform.python_version()} on {platform.platform()}")
    print(f"devices  {', '.join(f'{d.platform}:{d.id} ({d.device_kind})' for d in jax.devices())}")
    return 0


def find_function(name: str) -> Callable[..., Any]:
    """The function that `package.module:function` or `path/file.py:function` names.

    Raises:
        UsageError: there is none.
    """
    place, _, path = name.rpartition(":")
    if not place or not path:
        raise UsageError(f"{name!r} names no function: write MODULE:FUNCTION or FILE.py:FUNCTION")
    found: Any = _load_file(Path(place)) if place.endswith(".py") else _load_module(place)
    for attribute in path.split("."):
        if not hasattr(found, attribute):
            raise UsageError(f"{place} has no {path!r}{_names_like(attribute, found)}")
        found = getattr(found, attribute)
    if not callable(found):
        raise UsageError(f"{name} is not a function but of type {type(found).__name__}")
    return found


def _load_module(name: str) -> ModuleType:
    _search_in(Path.cwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        where = f"neither in {Path.cwd()} nor installed"
        raise UsageError(f"there is no module {error.name!r}, {where}") from None


def _load_file(file: Path) -> ModuleType:
    if not file.is_file():
        raise UsageError(f"there is no file {file}")
    _search_in(file.resolve().parent)
    name = f"symgrad_input_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _search_in(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _names_like(name: str, place: Any) -> str:
    close = difflib.get_close_matches(name, dir(place), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def parse_wrt(text: str | None, transform: str, count: int) -> Any:
    """The `argnums` of a transform: a number, or several.

    Raises:
        UsageError: it is not written so, or the function has no such argument.
    """
    if transform == "jit":
        if text is not None:
            raise UsageError("--transform jit differentiates nothing: leave --wrt out")
        return None
    try:
        numbers: tuple[int, ...] = tuple(int(part) for part in (text or "0").split(","))
    except ValueError:
        raise UsageError(f"cannot read --wrt {text!r}: write a number, or several: 0,1") from None
    if transform == "hvp" and len(numbers) > 1:
        raise UsageError("--transform hvp takes one argument to differentiate, --wrt N")
    for number in numbers:
        if not 0 <= number < count:
            given = f"--arg was given {count} time{'s' * (count != 1)}"
            raise UsageError(f"no argument {number} to differentiate: {given}, counted from 0")
    return numbers[0] if len(numbers) == 1 else numbers


def parse_argument(text: str) -> Any:
    """`f32[32,64]` as a `jax.ShapeDtypeStruct`; numbers, dicts, lists and tuples as they are.

    A file name ending in .npy or .npz stands for the types of the arrays in the file.

    Raises:
        UsageError: it is none of these.
    """
    if text.endswith((".npy", ".npz")):
        return _read_arrays(text)
    try:
        tree = ast.parse(text.strip().replace("[]", "[()]"), mode="eval").body
        return _read_argument(tree)
    except (SyntaxError, UsageError) as error:
        why = f": {error}" if isinstance(error, UsageError) else ""
        hint = "a type is written f32[32,64] or i32[], see --help"
        raise UsageError(f"cannot read --arg {text!r}{why}\n({hint})") from None


def _read_arrays(name: str) -> Any:
    """The types of what NumPy saved: of one array, or of several by their names."""
    try:
        found = np.load(name, mmap_mode="r", allow_pickle=False)
        if name.endswith(".npz"):
            return {key: _type_of(found[key]) for key in found.files}
        return _type_of(found)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        first = str(error).partition("\n")[0]
        raise UsageError(f"cannot read --arg {name}: {first}") from None


def _type_of(array: np.ndarray) -> jax.ShapeDtypeStruct:
    if not (np.issubdtype(array.dtype, np.number) or array.dtype == bool):
        raise ValueError(f"an array of {array.dtype} is none of numbers")
    return jax.ShapeDtypeStruct(array.shape, array.dtype)


def _read_argument(tree: ast.expr | None) -> Any:
    match tree:
        case ast.Subscript(value=ast.Name(id=dtype), slice=shape):
            return jax.ShapeDtypeStruct(_read_shape(shape), _read_dtype(dtype))
        case ast.Dict(keys=keys, values=values):
            return dict(zip(map(_read_key, keys), map(_read_argument, values), strict=True))
        case ast.List(elts=items):
            return [_read_argument(item) for item in items]
        case ast.Tuple(elts=items):
            return tuple(_read_argument(item) for item in items)
        case ast.Constant(value=bool() | int() | float() | complex() | None as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
    raise UsageError(f"{ast.unparse(tree)!r} is no type" if tree else "** is not read")


def _read_key(tree: ast.expr | None) -> Any:
    match tree:
        case ast.Constant(value=str() | int() as key):
            return key
    raise UsageError("the keys of a dict are strings or whole numbers")


def _read_shape(tree: ast.expr) -> tuple[int, ...]:
    sizes = tree.elts if isinstance(tree, ast.Tuple) else [tree]
    return tuple(_read_size(size) for size in sizes)


def _read_size(tree: ast.expr) -> int:
    match tree:
        case ast.Constant(value=int(size)) if type(size) is int:
            return size
    raise UsageError(f"{ast.unparse(tree)} is no size: sizes are whole numbers, 0 or more")


def _read_dtype(name: str) -> np.dtype[Any]:
    short = re.fullmatch(r"(bf|[fiuc])(\d.*)", name)
    full = SHORT_DTYPES[short[1]] + short[2] if short else name
    try:
        dtype = jax.numpy.dtype(full)
    except TypeError:
        raise UsageError(f"{name!r} is no dtype") from None
    if dtype.name != full or not (jax.dtypes.issubdtype(dtype, np.number) or full == "bool"):
        raise UsageError(f"{name!r} is no dtype of JAX")
    return dtype


if __name__ == "__main__":
    sys.exit(main())
