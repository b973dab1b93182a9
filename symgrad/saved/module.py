"""Programs as modules that run with JAX alone, and say how they were made."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

from symgrad.errors import SavedGraphError
from symgrad.saved.files import replacing

SHORT = {"float": "f", "bfloat": "bf", "int": "i", "uint": "u", "complex": "c"}


class _Shown(str):
    """A type that stands for an array where a tree is printed."""

    def __repr__(self) -> str:
        return str(self)


def shown(tree: Any) -> str:
    """Arguments as the command line takes them: `{'W': f32[64,10]}`."""
    return repr(jax.tree.map(lambda leaf: _Shown(_type(jax.typeof(leaf))), tree))


def _type(aval: Any) -> str:
    name = str(aval.dtype)
    kind = name.rstrip("0123456789")
    short = SHORT.get(kind, kind) + name[len(kind) :]
    return f"{short}[{','.join(map(str, aval.shape))}]"


def recipe(fun: Any, transform: str, argnums: Any, args: Sequence[Any]) -> str | None:
    """The command that writes the program again, for a function that can be imported."""
    module, name = getattr(fun, "__module__", None), getattr(fun, "__qualname__", "<object>")
    if not module or module == "__main__" or "<" in name:
        return None
    where = f"{module}:{name}"
    options = [f"--transform {transform}"]
    if argnums not in ((), 0):
        numbers = [argnums] if isinstance(argnums, int) else argnums
        options.append(f"--wrt {','.join(map(str, numbers))}")
    options += [f"--arg {_quoted(shown(a))}" for a in args]
    return f"symgrad source {_quoted(where)} {' '.join(options)}"


def _quoted(text: str) -> str:
    """An argument for a shell: names in trees have single quotes."""
    return f'"{text}"' if "'" in text and not set(text) & set('"$`\\!') else shlex.quote(text)


def write_module(
    text: str, about: str, again: str | None, foreign: Sequence[str], path: str | os.PathLike[str]
) -> None:
    """Write a program to `path`, which has the old contents or all of the new ones.

    Args:
        about: what it computes.
        again: the command that writes it, if there is one.
        foreign: names in the text that stand for objects, which a file cannot hold.

    Raises:
        SavedGraphError: there are such names.
    """
    if foreign:
        raise SavedGraphError(
            f"the program calls {', '.join(foreign)}, which are objects of this process",
            fix="leave callbacks, meshes and primitives without source out of the function",
        )
    wide = any(name in text for name in ("float64", "int64", "complex128"))
    notes = [f"Written by symgrad {version('symgrad')} for jax {jax.__version__}; needs JAX alone."]
    if wide:
        notes.append('Its arrays have 64 bits: jax.config.update("jax_enable_x64", True) first.')
    lines = [_printable(about), "", *notes]
    if again is not None:
        command = f"    {_printable(again)} -o {_printable(Path(path).name)}"
        lines += ["To write it again:", "", command]
    # Names of functions, keys and files may be anything: nothing in them ends the docstring.
    said = "\n".join(lines).replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    with replacing(Path(path)) as file:
        file.write(f'"""{said}\n"""\n\n{text}'.encode())


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)
