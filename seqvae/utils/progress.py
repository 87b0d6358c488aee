"""Progress of inner loops without a callback: the command line shows it, a library stays silent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
Report = Callable[[int, int, str], object]  # done, in all, what
PATIENCE = 2.0  # seconds before anything is shown

_REPORT: ContextVar[Report | None] = ContextVar("report", default=None)


@contextmanager
def show_progress(report: Report | None) -> Iterator[None]:
    """Inside, the outermost loops with `track` or `tracked` call `report`; with None nothing is reported."""
    token = _REPORT.set(report)
    try:
        yield
    finally:
        _REPORT.reset(token)


def track(items: Sequence[T], what: str, size: Callable[[T], int] | None = None) -> Iterator[T]:
    """The items one after the other; how many are done is reported once they take over 2 seconds.

    Loops inside of this one report nothing: their bars would take turns.

    Args:
        items: what is looped over.
        what: one word for people.
        size: how many examples an item has; 1 by default.

    Example:
        >>> with show_progress(print):
        ...     sum(track([1, 2], "adding"))  # too fast to be shown
        3
    """
    report, counter = _REPORT.get(), _Counter(sum(map(size, items)) if size else len(items), what)
    for item in items:
        _REPORT.set(None)  # while the caller works on this item
        try:
            yield item
        finally:
            _REPORT.set(report)
        counter.add(size(item) if size else 1)


def tracked(work: Callable[[T], R], total: int, what: str, size: Callable[[T], int]) -> Callable[[T], R]:
    """`work`, whose calls are counted as by `track`: for loops of other functions, as `map_sharded`."""
    counter = _Counter(total, what)

    def counted(item: T) -> R:
        with show_progress(None):
            found = work(item)
        counter.add(size(item))
        return found

    return counted


class _Counter:
    """Counts what is done and reports it, after the first 2 seconds."""

    def __init__(self, total: int, what: str) -> None:
        self.began, self.done, self.total, self.what = time.monotonic(), 0, total, what

    def add(self, count: int) -> None:
        self.done += count
        report = _REPORT.get()
        if report is not None and time.monotonic() - self.began >= PATIENCE:
            report(self.done, self.total, self.what)
