"""Execution of jobs with dependencies: serially in this process, or in parallel worker processes."""

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

POLL = 0.5  # seconds between two checks for signals
EVERY = 60.0  # seconds between two progress lines of a process


def run_jobs(
    jobs: Iterable[Job],
    settled: Callable[[str, str | None], object],
    report: Reporter,
    places: Sequence[Slot] = (),
) -> dict[str, str]:
    """Execute all jobs in order, each after its dependencies.

    A job that fails, or whose process dies, stops only the jobs that depend on it. A job that another program
    works on is left to it, and waited for only if another job depends on it.

    Args:
        jobs: the jobs.
        settled: called in this process as (name, reason) after each job; reason None means success.
        report: receives messages.
        places: one worker process at a time per slot; without slots the jobs run serially in this process.

    Returns:
        {name: reason} of the failed jobs.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; all worker processes have stopped.
        UserError: a lease cannot be written, because the disk is full or read-only.
    """
    scheduler = Scheduler({job.name: job for job in jobs}, settled)
    if places:
        _run_in_parallel(scheduler, places, report)
    else:
        _run_serially(scheduler, report)
    for name, job in list(scheduler.waiting.items()):
        if job.lease and name in scheduler.elsewhere:
            report.note(f"{name} is left to {job.lease.owner()}")
        else:
            scheduler.settle(name, "a job that it depends on is missing")
    return scheduler.failed


def _run_serially(scheduler: Scheduler, report: Reporter) -> None:
    total = len(scheduler.waiting)
    try:
        while (job := scheduler.next()) or scheduler.may_continue():
            if job is None:
                _wait(scheduler, report)
                continue
            _announce(job, f"[{total - len(scheduler.waiting)}/{total}]", report)
            try:
                reason = _attempt(job, IN_PROCESS, report)
            finally:
                report.close()
                job.release()
            scheduler.settle(job.name, reason)
            if reason is not None:
                report.warn(f"{job.name}: {reason}")
    except KeyboardInterrupt:
        raise Interrupted("stopped", signal.SIGINT) from None


def _announce(job: Job, number: str, report: Reporter, place: Slot = IN_PROCESS) -> None:
    """Report which job starts, on which device, and whether it was taken over from a dead process."""
    report.note(f"{number} {job.name}" + (f" on {place.device}" if place.device else ""))
    if job.lease and job.lease.stale_owner:
        report.note(f"{job.name}: taken over from {job.lease.stale_owner}, which is gone")


def _wait(scheduler: Scheduler, report: Reporter) -> None:
    """Wait a moment; report once what for."""
    others = {name: job for name, job in scheduler.waiting.items() if name in scheduler.elsewhere}
    if fresh := [f"{name} ({job.lease.owner()})" for name, job in others.items() if job.lease]:
        if scheduler.reported != fresh:
            report.note(f"waiting for {', '.join(fresh)}")
        scheduler.reported = fresh
    time.sleep(POLL)


def _attempt(job: Job, place: Slot, report: Reporter) -> str | None:
    """Do a job; returns the reason of a failure in one line. A bug also reports its traceback."""
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
    """A reporter that sends its messages to the parent process."""

    def __init__(self, connection: Connection[Any, Any]) -> None:
        self.connection, self.last = connection, time.monotonic()

    def note(self, text: str) -> None:
        """Send a note."""
        self.connection.send(("note", text))

    def warn(self, text: str) -> None:
        """Send a warning."""
        self.connection.send(("warn", text))

    def advance(self, done: int, total: int, what: str) -> None:
        """Send a note at most once per minute."""
        if time.monotonic() - self.last >= EVERY:
            self.last = time.monotonic()
            self.note(f"{done}/{total}  {what}")

    def close(self) -> None:
        """Do nothing: there is no bar."""


def _child(job: Job, place: Slot, connection: Connection[Any, Any]) -> None:
    """The main function of a worker process."""
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # so that Ctrl-C reaches only the parent, which stops each child once
    try:
        connection.send(("end", _attempt(job, place, _PipeReporter(connection))))
    except Interrupted as stopped:
        sys.exit(128 + stopped.signal)
    except BrokenPipeError:  # the parent has died
        sys.exit(1)


@dataclass
class _Worker:
    """A worker process and its slot."""

    job: Job
    place: Slot
    process: Any
    connection: Connection[Any, Any]
    reason: str | None = "its process ended without a message"


def _start(job: Job, place: Slot) -> _Worker:
    context = multiprocessing.get_context("spawn")  # a fork would share CUDA and threads
    ours, theirs = context.Pipe(duplex=False)
    sent = Job(job.name, job.work)  # without the lease, which this process keeps
    process = context.Process(target=_child, args=(sent, place, theirs), name=job.name)
    process.start()
    if job.lease and process.pid:
        job.lease.transfer(process.pid)
    theirs.close()  # otherwise the pipe would not report the end of the child
    return _Worker(job, place, process, ours)


def _run_in_parallel(scheduler: Scheduler, places: Sequence[Slot], report: Reporter) -> None:
    total, free = len(scheduler.waiting), list(places)
    running: dict[Any, _Worker] = {}
    with stop_on_signals() as stop:
        try:
            while True:
                while free and (job := scheduler.next()):
                    place = free.pop(0)
                    _announce(job, f"[{total - len(scheduler.waiting)}/{total}]", report, place)
                    worker = _start(job, place)
                    running[worker.connection] = worker
                if not running and not scheduler.may_continue():
                    return
                if not running:
                    _wait(scheduler, report)
                ended = [ready for ready in wait(list(running), POLL) if _receive(running[ready], report)]
                for worker in map(running.pop, ended):
                    free.append(worker.place)
                    _settle(worker, scheduler, report)
                if stop.number:
                    raise Interrupted("stopped", stop.number)
        finally:
            _stop_workers(list(running.values()))
            for worker in running.values():
                worker.job.release()


def _settle(worker: _Worker, scheduler: Scheduler, report: Reporter) -> None:
    """Give up the lease of a job that ended, and record why it ended."""
    worker.job.release()
    scheduler.settle(worker.job.name, worker.reason)
    report.note(f"{worker.job.name}: {worker.reason or 'done'}")


def _receive(worker: _Worker, report: Reporter) -> bool:
    """Receive one message; True if it was the last."""
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
    """Describe an exit code; a negative one is the signal that killed the process."""
    if code >= 0:
        return f"its process ended with exit code {code}"
    name = signal.Signals(-code).name
    hint = ", often because memory ran out" if name == "SIGKILL" else ""
    return f"its process was killed by {name}{hint}"


def _stop_workers(workers: Sequence[_Worker]) -> None:
    """Stop all processes and wait, since a training saves first; a second Ctrl-C kills them."""
    for worker in workers:
        worker.process.terminate()
    try:
        for worker in workers:
            worker.process.join()
    except KeyboardInterrupt:
        for worker in workers:
            worker.process.kill()
        raise
