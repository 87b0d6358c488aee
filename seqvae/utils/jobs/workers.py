"""Jobs that wait for one another: one at a time in this process, or several in processes of their own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from seqvae.errors import UserError
from seqvae.utils.jobs.scheduler import IN_PROCESS, Job, Scheduler, Slot
from seqvae.utils.reporter import Reporter
from seqvae.utils.signals import Interrupted, stop_on_signals

POLL = 0.5  # seconds between two looks at the signals
EVERY = 60.0  # seconds between two lines of progress of a process


def run_jobs(
    jobs: Iterable[Job],
    settled: Callable[[str, str | None], object],
    report: Reporter,
    places: Sequence[Slot] = (),
) -> dict[str, str]:
    """Do all jobs in their order, each after those it needs; the reasons of those that failed, by name.

    Without `places` they are done here, one at a time; otherwise each in a fresh process, one at a place. A
    job that fails, or whose process dies, stops those that need it and no other. `settled(name, reason)` is
    called here after each; reason None is success. What another program is at is left to it, and waited for
    only where a job needs it.

    Raises:
        Interrupted: Ctrl-C or SIGTERM came; every process was asked to stop, and has.
        UserError: a claim cannot be made, as the disk is full or read-only.
    """
    board = Scheduler({job.name: job for job in jobs}, settled)
    if places:
        _run_in_parallel(board, places, report)
    else:
        _run_serially(board, report)
    for name, job in list(board.waiting.items()):
        if job.lease and name in board.elsewhere:
            report.note(f"{name} is left to {job.lease.owner()}")
        else:
            board.settle(name, "what it needs is not there and not to be done")
    return board.failed


def _run_serially(board: Scheduler, report: Reporter) -> None:
    total = len(board.waiting)
    try:
        while (job := board.next()) or board.hopes():
            if job is None:
                _wait(board, report)
                continue
            _announce(job, f"[{total - len(board.waiting)}/{total}]", report)
            try:
                reason = _attempt(job, IN_PROCESS, report)
            finally:
                report.close()
                job.release()
            board.settle(job.name, reason)
            if reason is not None:
                report.warn(f"{job.name}: {reason}")
    except KeyboardInterrupt:
        raise Interrupted("stopped", signal.SIGINT) from None


def _announce(job: Job, number: str, report: Reporter, place: Slot = IN_PROCESS) -> None:
    """Say what begins, where, and whether it was another's."""
    report.note(f"{number} {job.name}" + (f" on {place.device}" if place.device else ""))
    if job.lease and job.lease.gone:
        report.note(f"{job.name}: taken over from {job.lease.gone}, which is gone")


def _wait(board: Scheduler, report: Reporter) -> None:
    """Let some time pass, after saying once what for."""
    others = {name: job for name, job in board.waiting.items() if name in board.elsewhere}
    if fresh := [f"{name} ({job.lease.owner()})" for name, job in others.items() if job.lease]:
        if board.reported != fresh:
            report.note(f"waiting for {', '.join(fresh)}")
        board.reported = fresh
    time.sleep(POLL)


def _attempt(job: Job, place: Slot, report: Reporter) -> str | None:
    """Do a job; why it failed, in a line. A fault of ours shows its traceback besides."""
    try:
        job.work(place, report)
    except Interrupted:
        raise
    except UserError as error:
        return str(error)
    except Exception as error:
        report.warn(traceback.format_exc())
        first = (str(error).strip().splitlines() or ["no message"])[0]
        return f"{type(error).__name__}: {first}"
    return None


class _PipeReporter:
    """A reporter whose words are said by the parent process."""

    def __init__(self, connection: Connection[Any, Any]) -> None:
        self.connection, self.last = connection, time.monotonic()

    def note(self, text: str) -> None:
        """A plain fact."""
        self.connection.send(("note", text))

    def warn(self, text: str) -> None:
        """Something to act on."""
        self.connection.send(("warn", text))

    def advance(self, done: int, total: int, what: str) -> None:
        """A line a minute."""
        if time.monotonic() - self.last >= EVERY:
            self.last = time.monotonic()
            self.note(f"{done}/{total}  {what}")

    def close(self) -> None:
        """Nothing: there is no bar."""


def _child(job: Job, place: Slot, connection: Connection[Any, Any]) -> None:
    """What a fresh process does."""
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # Ctrl-C reaches the parent alone, which asks each child once
    try:
        connection.send(("end", _attempt(job, place, _PipeReporter(connection))))
    except Interrupted as stopped:
        sys.exit(128 + stopped.signal)
    except BrokenPipeError:  # the parent is gone, and nobody waits for this
        sys.exit(1)


@dataclass
class _Worker:
    """A process at its place."""

    job: Job
    place: Slot
    process: Any
    connection: Connection[Any, Any]
    reason: str | None = "its process ended without a word"


def _start(job: Job, place: Slot) -> _Worker:
    context = multiprocessing.get_context("spawn")  # a fork would share CUDA and threads
    ours, theirs = context.Pipe(duplex=False)
    sent = Job(job.name, job.work)  # the claim stays here
    process = context.Process(target=_child, args=(sent, place, theirs), name=job.name)
    process.start()
    if job.lease and process.pid:
        job.lease.transfer(process.pid)
    theirs.close()  # or its end would never be seen
    return _Worker(job, place, process, ours)


def _run_in_parallel(board: Scheduler, places: Sequence[Slot], report: Reporter) -> None:
    total, free = len(board.waiting), list(places)
    running: dict[Any, _Worker] = {}
    with stop_on_signals() as stop:
        try:
            while True:
                while free and (job := board.next()):
                    place = free.pop(0)
                    _announce(job, f"[{total - len(board.waiting)}/{total}]", report, place)
                    worker = _start(job, place)
                    running[worker.connection] = worker
                if not running:
                    if not board.hopes():
                        return
                    _wait(board, report)
                for heard in wait(list(running), POLL):
                    if _receive(running[heard], report):
                        worker = running.pop(heard)
                        free.append(worker.place)
                        worker.job.release()
                        board.settle(worker.job.name, worker.reason)
                        report.note(f"{worker.job.name}: {worker.reason or 'done'}")
                if stop.number:
                    raise Interrupted("stopped", stop.number)
        finally:
            _stop_workers(list(running.values()))
            for worker in running.values():
                worker.job.release()


def _receive(worker: _Worker, report: Reporter) -> bool:
    """Take one message; whether it was the last."""
    try:
        kind, text = worker.connection.recv()
    except (EOFError, OSError):
        worker.process.join()
        if worker.process.exitcode:
            worker.reason = _describe_exit(worker.process.exitcode)
    else:
        if kind != "end":
            getattr(report, kind)(f"{worker.job.name}: {text}")
            return False
        worker.reason = text
        worker.process.join()
    worker.connection.close()
    return True


def _describe_exit(code: int) -> str:
    """Why a process ended that said nothing: a negative code is the signal that killed it."""
    if code >= 0:
        return f"its process ended with exit code {code}"
    name = signal.Signals(-code).name
    hint = ", often for want of memory" if name == "SIGKILL" else ""
    return f"its process was killed by {name}{hint}"


def _stop_workers(workers: Sequence[_Worker]) -> None:
    """Ask every process to stop, and wait: a training saves first. A second Ctrl-C kills."""
    for worker in workers:
        worker.process.terminate()
    try:
        for worker in workers:
            worker.process.join()
    except KeyboardInterrupt:
        for worker in workers:
            worker.process.kill()
        raise
