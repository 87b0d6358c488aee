"""Jobs that wait for one another, and which of them is next.

Other programs may do some of the same jobs, on this machine or another one: `claims` keep them apart.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from seqvae.utils.jobs.leases import Lease
from seqvae.utils.reporter import Reporter

ASK = 2.0  # seconds between two looks at what other programs are at


@dataclass(frozen=True)
class Slot:
    """Where a process works; None is what the job itself says."""

    device: str | None = None
    threads: int | None = None


IN_PROCESS = Slot()


@dataclass(frozen=True)
class Job:
    """Something to be done, after the jobs it `needs`; `work` travels to another process by pickle."""

    name: str
    work: Callable[[Slot, Reporter], object]
    needs: frozenset[str] = frozenset()
    lease: Lease | None = None  # to be had before it is done, where other programs may do it too
    is_done: Callable[[], bool] = bool  # whether another program has done it

    def release(self) -> None:
        """Let others have it."""
        if self.lease:
            self.lease.release()


@dataclass
class Scheduler:
    """Which jobs wait, which are done, which others are at, and why some are not done."""

    waiting: dict[str, Job]
    settled: Callable[[str, str | None], object]
    done: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    elsewhere: dict[str, float] = field(default_factory=dict)  # when to ask again whether others are at it
    reported: list[str] = field(default_factory=list)  # what was last said to be waited for

    def next(self) -> Job | None:
        """The first job whose needs are met, taken off the board; those that lost a need are settled."""
        while lost := self._lost():
            self.settle(*lost)
        for job in list(self.waiting.values()):
            if not job.needs <= self.done or not self._acquire(job):
                continue
            if not job.is_done():
                return self.waiting.pop(job.name)
            job.release()
            self.settle(job.name, None)
            return self.next()
        return None

    def hopes(self) -> bool:
        """Whether a job that waits can be done here once another program has done what it needs."""
        found = [job for name, job in self.waiting.items() if name not in self.elsewhere]
        return bool(self.elsewhere) and any(job.needs <= self.done | self.waiting.keys() for job in found)

    def settle(self, name: str, reason: str | None) -> None:
        """Done, or not for a reason."""
        self.waiting.pop(name, None)
        if reason is None:
            self.done.add(name)
        else:
            self.failed[name] = reason
        self.settled(name, reason)

    def _acquire(self, job: Job) -> bool:
        """Whether a job is ours to do."""
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
            for need in sorted(job.needs & self.failed.keys()):
                return job.name, f"it needs {need}, which failed"
        return None
