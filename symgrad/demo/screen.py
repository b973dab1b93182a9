"""What the demo shows: colour and a moving bar on a terminal, plain lines anywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.syntax import Syntax
from rich.table import Table

from symgrad.demo.checks import Check

PLAIN_LINES = 4
"""How many lines stand for the progress bar where there is no terminal."""


class Screen:
    """Prints, and keeps the time of every part for the table at the end."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)
        self.seconds: dict[str, float] = {}

    def say(self, text: str = "") -> None:
        """A line or more of text, unbroken."""
        self.console.print(text, markup=False, soft_wrap=True)

    @contextmanager
    def part(self, title: str) -> Iterator[None]:
        """A heading, and the time until the end of the block."""
        start = time.perf_counter()
        self.console.print(f"\n[bold blue]{len(self.seconds) + 1}. {title}[/]\n")
        yield
        self.seconds[title] = time.perf_counter() - start

    def show_source(self, source: str) -> None:
        """A Python program, highlighted on a terminal."""
        if self.console.is_terminal:
            program = Syntax(
                source.rstrip(),
                "python",
                theme="ansi_dark",
                background_color="default",
                word_wrap=True,
            )
            self.console.print(program)
        else:
            self.say(source.rstrip())

    @contextmanager
    def progress(self, title: str, total: int) -> Iterator[Callable[[str], None]]:
        """Gives `advance(status)`, to be called `total` times."""
        if self.console.is_terminal:
            columns = (
                TextColumn("{task.description:<6}"),
                BarColumn(),
                TextColumn("{task.fields[status]}"),
            )
            with Progress(*columns, TimeElapsedColumn(), console=self.console) as bar:
                task = bar.add_task(title, total=total, status="compiling")
                yield lambda status: bar.update(task, advance=1, status=status)
        else:
            yield self._plain_progress(title, total)

    def _plain_progress(self, title: str, total: int) -> Callable[[str], None]:
        done = 0

        def advance(status: str) -> None:
            nonlocal done
            before, done = done * PLAIN_LINES // total, done + 1
            if done * PLAIN_LINES // total > before:
                self.say(f"{title:<6} epoch {done:>2} of {total}: {status}")

        return advance

    def show_checks(self, checks: list[Check]) -> None:
        """What was asked for, what was found."""
        table = Table("check", "found", "asked for", "")
        for check in checks:
            sign = "≥" if check.at_least else "≤"
            verdict = "[green]passed[/]" if check.passed else "[red]missed[/]"
            table.add_row(check.what, f"{check.found:.3g}", f"{sign} {check.bound:g}", verdict)
        self.console.print(table)

    def show_times(self) -> None:
        """How long each part took."""
        table = Table("part", "seconds")
        table.columns[1].justify = "right"
        for title, seconds in self.seconds.items():
            table.add_row(title, f"{seconds:.1f}")
        table.add_section()
        table.add_row("together", f"{sum(self.seconds.values()):.1f}")
        self.console.print(table)
