"""Progress on stderr: a bar on a terminal, lines in a file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from seqvae.utils.progress import show_progress


class RateColumn(ProgressColumn):
    """How many per second, of the last half minute."""

    def render(self, task: Task) -> Text:
        """Such as `1,234/s`."""
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        return Text(f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.2g}/s")


@contextmanager
def progress_on_terminal() -> Iterator[None]:
    """Inside, loops that take over 2 seconds show a bar with a rate, where stderr is a terminal.

    What reports by itself (a training, an evaluation) keeps its own bar: there is one at a time.
    """
    terminal = Terminal()
    if not terminal.console.is_terminal:
        yield
        return

    def report(done: int, total: int, what: str) -> None:
        if Terminal.open_bars and terminal.bar is None:
            return
        terminal.advance(done, total, what)
        if done >= total:
            terminal.close()

    with show_progress(report):
        try:
            yield
        finally:
            terminal.close()


class Terminal:
    """A `Reporter` that shows a bar if stderr is a terminal, else a line every `every_seconds`."""

    open_bars: ClassVar[int] = 0  # of all terminals: rich draws one at a time

    def __init__(self, every_seconds: float = 10.0) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self.bar: Progress | None = None
        self.every, self.last = every_seconds, 0.0
        self.start: tuple[float, int] | None = None  # time and number done at the phase's first call
        self.done = 0

    def note(self, text: str) -> None:
        """Print one line."""
        self.console.print(text, markup=False)

    def warn(self, text: str) -> None:
        """Print one highlighted line."""
        self.console.print(f"WARNING: {text}", style="bold yellow", markup=False)

    def advance(self, done: int, total: int, what: str) -> None:
        """Move the bar, or print a line if the last one is old."""
        if self.start is None or done < self.done:  # a phase begins: its speed is its own
            self.start = time.monotonic(), done
            if self.bar is not None:
                self.bar.reset(self.bar.task_ids[0])
        self.done = done
        if self.console.is_terminal:
            self._move(done, total, what)
        elif time.monotonic() - self.last >= self.every or done >= total:
            self.last = time.monotonic()
            eta = "" if done >= total else f"  eta {self._eta(done, total)}"
            self.note(f"{done}/{total}  {what}{eta}")

    def close(self) -> None:
        """Remove the bar."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
            Terminal.open_bars -= 1
        self.start = None

    def _move(self, done: int, total: int, what: str) -> None:
        if self.bar is None:
            columns = (
                BarColumn(),
                MofNCompleteColumn(),
                RateColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.description}"),
            )
            self.bar = Progress(*columns, console=self.console, transient=True)
            self.bar.add_task(what, total=total)
            self.bar.start()
            Terminal.open_bars += 1
        self.bar.update(self.bar.task_ids[0], completed=done, total=total, description=what)

    def _eta(self, done: int, total: int) -> str:
        began, first = self.start or (time.monotonic(), done)
        if done == first:
            return "?"
        seconds = round((time.monotonic() - began) * (total - done) / (done - first))
        return f"{seconds // 60}:{seconds % 60:02}"
