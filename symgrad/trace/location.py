"""Where in the user's source a value is computed, and which variables receive it."""

from __future__ import annotations

import functools
import os
import sysconfig
from types import CodeType
from typing import Any

import jax

from symgrad.errors import Frame
from symgrad.trace.assigned import assigned_names

_LIBRARY = tuple(
    os.path.realpath(p) + os.sep
    for p in (os.path.dirname(jax.__file__), os.path.dirname(os.path.dirname(__file__)))
)
_STANDARD = os.path.realpath(sysconfig.get_paths()["stdlib"]) + os.sep


@functools.lru_cache(maxsize=65536)
def _user_code(code: CodeType) -> bool:
    """Whether code is the user's: not JAX's, not symgrad's, not the standard library's."""
    file = os.path.realpath(code.co_filename)
    if file.startswith(_LIBRARY):
        return False
    return not file.startswith(_STANDARD) or "site-packages" in file


@functools.lru_cache(maxsize=65536)
def _frame_at(code: CodeType, instruction: int) -> Frame:
    positions = list(code.co_positions())
    line, end_line, column, end_column = positions[min(instruction // 2, len(positions) - 1)]
    line = line or code.co_firstlineno
    return Frame(
        code.co_filename, line, column or 0, end_line or line, end_column or 0, code.co_name
    )


def place_of(source_info: Any) -> tuple[Frame | None, tuple[str, ...]]:
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
) -> tuple[Frame | None, tuple[str, ...]]:
    places = [_frame_at(code, instruction) for code, instruction in frames]
    return (places[0] if places else None), assigned_names(places)


def frame_of_traceback(error: BaseException) -> Frame | None:
    """The innermost line of user code that an exception passed through."""
    found = None
    step = error.__traceback__
    while step is not None:
        if _user_code(step.tb_frame.f_code):
            found = _frame_at(step.tb_frame.f_code, step.tb_lasti)
        step = step.tb_next
    return found
