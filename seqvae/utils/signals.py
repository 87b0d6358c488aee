"""Handling of Ctrl-C and SIGTERM: a run stops after the current step, not inside it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

GRACE = 5.0  # seconds: torchrun and the terminal may both forward one Ctrl-C to a process


class Interrupted(Exception):  # noqa: N818 - not an error: the user asked for it
    """A signal stopped the run after a checkpoint; `signal` is its number."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.signal = number


@dataclass
class Stop:
    """The number of the signal that arrived, or 0."""

    number: int = 0


@contextmanager
def stop_on_signals(grace: float = 0.0) -> Iterator[Stop]:
    """Record Ctrl-C and SIGTERM instead of stopping in the middle of a step; a second one kills.

    A second signal within `grace` seconds counts as the same one.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    came = 0.0

    def remember(number: int, frame: object) -> None:
        nonlocal came
        again, stop.number = bool(stop.number), stop.number or number
        if again and time.monotonic() - came < grace:
            return
        came = time.monotonic()
        if again or not grace:
            for n, handler in before.items():
                signal.signal(n, handler)
        if again:
            signal.raise_signal(number)

    for n in before:
        signal.signal(n, remember)
    try:
        yield stop
    finally:
        for n, handler in before.items():
            signal.signal(n, handler)
