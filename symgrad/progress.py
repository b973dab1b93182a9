"""Phases of a compilation that take long say so, where somebody watches."""

from __future__ import annotations

import importlib
import sys
import threading
from typing import Protocol

AFTER = 2.0
"""Seconds that a phase takes before it announces itself."""


class _Display(Protocol):
    def stop(self) -> None: ...


class _Line:
    """What is shown without rich: one line, which stays."""

    def __init__(self, text: str):
        print(text, file=sys.stderr, flush=True)

    def stop(self) -> None:
        pass


class _Announcement:
    """A phase that shows itself if it is not over in time."""

    def __init__(self, name: str):
        self._name, self._display = name, None
        self._lock, self._over = threading.Lock(), False
        self._timer = threading.Timer(AFTER, self._show)
        self._timer.daemon = True
        self._timer.start()

    def _show(self) -> None:
        with self._lock:
            if not self._over:
                self._display = _bar(f"symgrad: {self._name}")

    def stop(self) -> None:
        with self._lock:
            self._over = True
        self._timer.cancel()
        if self._display is not None:
            self._display.stop()


_current = threading.local()


def now(phase: str) -> None:
    """A phase of this thread's compilation begins, and the one before it is over."""
    done()
    if is_watched():
        _current.announcement = _Announcement(phase)


def done() -> None:
    """The compilation is over."""
    announcement = getattr(_current, "announcement", None)
    if announcement is not None:
        _current.announcement = None
        announcement.stop()


def is_watched() -> bool:
    """Whether a person sees what is written: on a terminal or in a notebook."""
    return "ipykernel" in sys.modules or bool(getattr(sys.stderr, "isatty", bool)())


def _bar(text: str) -> _Display:
    """A bar that moves, with the time that has passed; a line where rich is not installed."""
    try:
        console, bars = (
            importlib.import_module(f"rich.{name}") for name in ("console", "progress")
        )
    except ModuleNotFoundError:
        return _Line(f"{text} ...")
    columns = (bars.TextColumn("{task.description}"), bars.BarColumn(), bars.TimeElapsedColumn())
    bar = bars.Progress(*columns, console=console.Console(stderr=True), transient=True)
    bar.add_task(text, total=None)
    try:
        bar.start()
    except importlib.import_module("rich.errors").LiveError:
        # The program shows a bar of its own.
        return _Line(f"{text} ...")
    return bar
