"""Progress on stderr: a bar on a terminal, lines in a file."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Terminal:
    """A `Reporter` that shows a bar if stderr is a terminal, else a line every `every_seconds`."""

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
            self.note(f"{done}/{total}  {what}  eta {self._eta(done, total)}")

    def close(self) -> None:
        """Remove the bar."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
        self.start = None

    def _move(self, done: int, total: int, what: str) -> None:
        if self.bar is None:
            columns = (
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.description}"),
            )
            self.bar = Progress(*columns, console=self.console, transient=True)
            self.bar.add_task(what, total=total)
            self.bar.start()
        self.bar.update(self.bar.task_ids[0], completed=done, total=total, description=what)

    def _eta(self, done: int, total: int) -> str:
        began, first = self.start or (time.monotonic(), done)
        if done == first:
            return "?"
        seconds = round((time.monotonic() - began) * (total - done) / (done - first))
        return f"{seconds // 60}:{seconds % 60:02}"
