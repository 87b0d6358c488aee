"""Ctrl-C and SIGTERM end a run between two steps, not inside one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


class Interrupted(Exception):  # noqa: N818 - not an error: the user asked for it
    """A signal stopped the run after a checkpoint; `signal` is its number."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.signal = number


@dataclass
class Stop:
    """The signal that came, or 0."""

    number: int = 0


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Remember Ctrl-C and SIGTERM instead of dying in the middle of a step; a second one kills."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}

    def remember(number: int, frame: object) -> None:
        stop.number = number
        for n, handler in before.items():
            signal.signal(n, handler)

    for n in before:
        signal.signal(n, remember)
    try:
        yield stop
    finally:
        for n, handler in before.items():
            signal.signal(n, handler)
