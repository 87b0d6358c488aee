"""Timing of several processes in turn: one runs at a time, all others are stopped (SIGSTOP).

Other load on the machine then affects all of them alike, and threads that spin while waiting do not disturb.
A process prints one line of JSON when it is ready. For each line with a number of seconds on its standard
input it works for about that time and prints one line, {"units": ..., "seconds": ...}.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, Self

from seqvae.errors import UserError

PATIENCE = 300.0  # seconds to become ready, or beyond the requested working time
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Candidate:
    """A process to time: name, command, and changes of the environment (None unsets a variable)."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str | None] = field(default_factory=dict)


def python(*arguments: str) -> tuple[str, ...]:
    """A command line for this Python interpreter."""
    return sys.executable, *arguments


class Running:
    """A running process of a candidate."""

    def __init__(self, candidate: Candidate) -> None:
        self.candidate = candidate
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        environment = {**os.environ, "PYTHONPATH": path, **candidate.environment}
        self.process = subprocess.Popen(
            candidate.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env={name: value for name, value in environment.items() if value is not None},
        )
        self.pending = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill the process."""
        self.process.kill()
        self.process.communicate()
        self.errors.close()

    def get_ready(self) -> None:
        """Wait until the process is ready, and stop it."""
        self._answer(PATIENCE)
        self._stop()

    def measure(self, seconds: float) -> float:
        """Let it work for about `seconds`; returns units per second."""
        self.process.send_signal(signal.SIGCONT)
        assert self.process.stdin is not None
        self.process.stdin.write(f"{seconds}\n".encode())
        self.process.stdin.flush()
        found = self._answer(seconds + PATIENCE)
        self._stop()
        return float(found["units"] / found["seconds"])

    def _stop(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def _answer(self, patience: float) -> dict[str, Any]:
        """Read the next line of its output.

        Raises:
            UserError: the process ended, or took too long.
        """
        assert self.process.stdout is not None
        end = time.monotonic() + patience
        while b"\n" not in self.pending:
            left = end - time.monotonic()
            there = select.select([self.process.stdout], [], [], max(0.0, left))[0]
            more = os.read(self.process.stdout.fileno(), 1 << 16) if there else b""
            if not more:
                raise UserError(f"{self.candidate.name} {self._trouble(bool(there))}")
            self.pending += more
        line, _, self.pending = self.pending.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    def _trouble(self, ended: bool) -> str:
        if not ended:
            return "gave no answer in time: give it less to do"
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").strip().splitlines()
        return f"ended: {lines[-1] if lines else 'it wrote nothing to standard error'}"


def take_turns(
    candidates: Sequence[Candidate],
    rounds: int,
    seconds: float,
    phases: Mapping[str, Callable[[], Any]] | None = None,
) -> dict[str, dict[str, float]]:
    """Median units per second of each candidate in each phase, by phase and name.

    A phase is a context around all of its rounds. In a round each candidate works once for about
    `seconds`; each round starts with another candidate.

    Raises:
        UserError: a candidate ended, or gave no answer.
    """
    found: dict[str, dict[str, float]] = {}
    with ExitStack() as stack:
        running = []
        for candidate in candidates:
            running.append(stack.enter_context(Running(candidate)))
            running[-1].get_ready()
        for phase, surroundings in (phases or {"": ExitStack}).items():
            speeds: dict[str, list[float]] = {candidate.name: [] for candidate in candidates}
            with surroundings():
                for number in range(rounds):
                    for one in running[number % len(running) :] + running[: number % len(running)]:
                        speeds[one.candidate.name].append(one.measure(seconds))
            found[phase] = {name: median(values) for name, values in speeds.items()}
    return found


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """Context with `count` busy-looping processes."""
    loops = [subprocess.Popen(python("-c", "while True: pass")) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
