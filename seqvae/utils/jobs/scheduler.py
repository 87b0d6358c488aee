"""Scheduling of jobs with dependencies.

Other programs, on this machine or another one, may work on the same jobs: leases keep them apart.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from seqvae.utils.jobs.leases import Lease
from seqvae.utils.reporter import Reporter

ASK = 2.0  # seconds between two attempts to acquire another program's job


@dataclass(frozen=True)
class Slot:
    """Device and CPU threads of a process; None for the job's own."""

    device: str | None = None
    threads: int | None = None


IN_PROCESS = Slot()


@dataclass(frozen=True)
class Job:
    """A unit of work, to be done after the jobs in `depends_on`; `work` must be picklable."""

    name: str
    work: Callable[[Slot, Reporter], object]
    depends_on: frozenset[str] = frozenset()
    lease: Lease | None = None  # acquired before the work, if other programs may do it too
    is_done: Callable[[], bool] = bool  # whether another program has done it

    def release(self) -> None:
        """Release the job's lease."""
        if self.lease:
            self.lease.release()


@dataclass
class Scheduler:
    """The state of all jobs: waiting, done, failed (with reasons), or being done by other programs."""

    waiting: dict[str, Job]
    settled: Callable[[str, str | None], object]
    done: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    elsewhere: dict[str, float] = field(default_factory=dict)  # {job: time of the next attempt to acquire it}
    reported: list[str] = field(default_factory=list)  # the jobs last reported as waited for

    def next(self) -> Job | None:
        """Take the first job that is ready; jobs whose dependency failed are settled as failed."""
        while lost := self._lost():
            self.settle(*lost)
        for job in list(self.waiting.values()):
            if not job.depends_on <= self.done or not self._acquire(job):
                continue
            if not job.is_done():
                return self.waiting.pop(job.name)
            job.release()
            self.settle(job.name, None)
            return self.next()
        return None

    def may_continue(self) -> bool:
        """Whether a waiting job may become ready once another program has finished its dependency."""
        found = [job for name, job in self.waiting.items() if name not in self.elsewhere]
        return bool(self.elsewhere) and any(
            job.depends_on <= self.done | self.waiting.keys() for job in found
        )

    def settle(self, name: str, reason: str | None) -> None:
        """Record a job as done, or as failed for a reason."""
        self.waiting.pop(name, None)
        if reason is None:
            self.done.add(name)
        else:
            self.failed[name] = reason
        self.settled(name, reason)

    def _acquire(self, job: Job) -> bool:
        """Acquire a job's lease, at most once every `ASK` seconds."""
        if job.lease is None:
            return True
        now = time.monotonic()
        if now < self.elsewhere.get(job.name, now):
            return False
        self.elsewhere[job.name] = now + ASK
        if not job.lease.acquire():
            return False
        del self.elsewhere[job.name]
        return True

    def _lost(self) -> tuple[str, str] | None:
        for job in self.waiting.values():
            for need in sorted(job.depends_on & self.failed.keys()):
                return job.name, f"it needs {need}, which failed"
        return None
