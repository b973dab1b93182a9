"""Where in the user's source a value is computed, and which variables receive it."""

from __future__ import annotations

import functools
import inspect
import os
import sysconfig
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

import jax

from symgrad.errors import Frame
from symgrad.tracing.assigned import assigned_names

_PACKAGE = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
_DEMO = os.path.join(_PACKAGE, "demo") + os.sep
_LIBRARY = (os.path.dirname(os.path.realpath(jax.__file__)) + os.sep, _PACKAGE + os.sep)
_STANDARD = os.path.realpath(sysconfig.get_paths()["stdlib"]) + os.sep


Place = tuple[Frame | None, tuple[str, ...]]
"""The user's innermost frame, and the variables that receive the value."""


@functools.lru_cache(maxsize=65536)
def _user_code(code: CodeType) -> bool:
    return user_file(code.co_filename)


def user_file(file: str) -> bool:
    """Whether a file is the user's: not of JAX, symgrad (its demo aside) or Python itself."""
    if file.startswith("<symgrad "):
        return False
    file = os.path.realpath(file)
    if file.startswith(_LIBRARY):
        return file.startswith(_DEMO)
    return not file.startswith(_STANDARD) or "site-packages" in file


@functools.lru_cache(maxsize=65536)
def _frame_at(code: CodeType, instruction: int) -> Frame:
    positions = list(code.co_positions())
    line, end_line, column, end_column = positions[min(instruction // 2, len(positions) - 1)]
    line = line or code.co_firstlineno
    return Frame(
        code.co_filename, line, column or 0, end_line or line, end_column or 0, code.co_name
    )


def place_of(source_info: Any) -> Place:
    """The user's innermost frame, and the variable that receives the value."""
    if source_info.traceback is None:
        return None, ()
    codes, instructions = source_info.traceback.raw_frames()
    frames = tuple(
        (code, instruction)
        for code, instruction in zip(codes, instructions, strict=True)
        if _user_code(code)
    )
    return _namedplace_of(frames)


@functools.lru_cache(maxsize=65536)
def _namedplace_of(
    frames: tuple[tuple[CodeType, int], ...],
) -> Place:
    places = [_frame_at(code, instruction) for code, instruction in frames]
    return (places[0] if places else None), assigned_names(places)


def user_frame(error: BaseException) -> tuple[Frame, FrameType] | None:
    """The innermost line of user code that an exception passed through, and its variables."""
    found = None
    step = error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        if _user_code(code):
            found = _frame_at(code, step.tb_lasti), step.tb_frame
        step = step.tb_next
    return found


def definition(fun: Callable[..., Any]) -> Frame | None:
    """The line where a function of the user's is defined."""
    code = getattr(inspect.unwrap(fun), "__code__", None)
    if code is None or not user_file(code.co_filename):
        return None
    first = code.co_firstlineno
    return Frame(code.co_filename, first, 0, first + 1, 0, code.co_name)


def definition_of(jaxpr: Any) -> str:
    """Name, file and line of the Python function behind a jaxpr, as JAX writes them."""
    info = jaxpr.debug_info
    return info.func_src_info or "" if info is not None else ""
