"""What people type in a terminal: `symgrad demo`, `symgrad source`, `symgrad explain`.

The function is named as MODULE:FUNCTION or FILE.py:FUNCTION, and each argument by its type,
`f32[32,64]`, or a dict, list or tuple of such. Nothing is computed with: types are enough to
trace, differentiate, simplify and print.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.util
import platform
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import symgrad as sg

FAILURE, USAGE = 1, 2
INTERRUPTED = 130

EXAMPLES = """\
examples:
  symgrad demo
  symgrad source model.py:loss --arg 'f32[3]' --arg 'f32[8,3]' --arg 'f32[8]'
  symgrad source model.py:loss --arg "{'W': f32[64,10], 'b': f32[10]}" --arg 'f32[32,64]'
  symgrad source jax.nn:softplus --arg 'f32[]' --transform value_and_grad
  symgrad explain package.module:energy --arg 'f64[100,3]' --transform hessian
"""

ARGUMENTS = """\
Each --arg is the type of one argument: a dtype and a shape, f32[32,64], float32[3], bf16[2],
i32[], bool[4]; a Python number; or a dict, list or tuple of these. 64-bit dtypes switch JAX
to 64 bits for this run.
"""

SHORT_DTYPES = {
    "bf": "bfloat",
    "f": "float",
    "i": "int",
    "u": "uint",
    "c": "complex",
}

Transform = Callable[[Callable[..., Any], Any], Any]

TRANSFORMS: dict[str, Transform] = {
    "grad": lambda fun, wrt: sg.grad(fun, argnums=wrt),
    "value_and_grad": lambda fun, wrt: sg.value_and_grad(fun, argnums=wrt),
    "jacobian": lambda fun, wrt: sg.jacobian(fun, argnums=wrt),
    "hessian": lambda fun, wrt: sg.hessian(fun, argnums=wrt),
    "hvp": lambda fun, wrt: sg.hvp(fun, argnums=wrt),
    "jit": lambda fun, wrt: sg.jit(fun),
}


class UsageError(Exception):
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
    if isinstance(error, UsageError | sg.SymgradError):
        return str(error)
    return f"{type(error).__name__}: {error}\n(--debug shows where)"


def make_parser() -> argparse.ArgumentParser:
    """All subcommands and their options."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "symgrad", description="Derivatives you can read.", epilog=EXAMPLES, formatter_class=raw
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the traceback of errors")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, run: Callable[[argparse.Namespace], int], about: str, **details: Any):
        sub = commands.add_parser(
            name, parents=[common], help=about, description=about, formatter_class=raw, **details
        )
        sub.set_defaults(run=run)
        return sub

    demo = command("demo", run_demo, "train two networks on real digits, checking every derivative")
    demo.add_argument(
        "--output", type=Path, default=Path("demo_output"), metavar="DIR", help="for the figures"
    )
    demo.add_argument("--quick", action="store_true", help="train less, and ask for less")

    notes = f"{ARGUMENTS}\n{EXAMPLES}"
    _add_program_options(
        command("source", run_source, "print the program that computes a derivative", epilog=notes)
    )
    _add_program_options(
        command("explain", run_explain, "say what every stage and rule did to it", epilog=notes)
    )
    command("info", run_info, "versions and devices, for bug reports")
    return parser


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
    try:
        tour = importlib.import_module("symgrad.demo.tour")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("symgrad"):
            raise
        fix = "pip install 'symgrad[demo]'"
        raise UsageError(f"the demo needs {error.name}, which is not installed: {fix}") from None
    missed = tour.run(options.output, quick=options.quick)
    for sentence in missed:
        print(f"symgrad: {sentence}", file=sys.stderr)
    return FAILURE if missed else 0


def run_source(options: argparse.Namespace) -> int:
    """`symgrad source`."""
    return _run_program(options, lambda transformed, args: transformed.source(*args))


def run_explain(options: argparse.Namespace) -> int:
    """`symgrad explain`."""
    return _run_program(options, lambda transformed, args: str(transformed.explain(*args)))


def _run_program(options: argparse.Namespace, read: Callable[[Any, list[Any]], str]) -> int:
    wide = any(re.search(r"(?<![a-z])([fiu]|float|int|uint)64\[|c(omplex)?128\[", a) for a in options.args)
    with jax.enable_x64(wide or jax.config.jax_enable_x64):
        args = [parse_argument(text) for text in options.args]
        wrt = parse_wrt(options.wrt, options.transform, len(args))
        transformed = TRANSFORMS[options.transform](find_function(options.function), wrt)
        if options.transform == "hvp":
            args.insert(0, args[wrt])
        _write(read(transformed, args), options.output)
    return 0


def _write(text: str, file: Path | None) -> None:
    if file is None:
        print(text.rstrip("\n"))
    else:
        file.write_text(text.rstrip("\n") + "\n")
        print(f"wrote {file}", file=sys.stderr)


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
