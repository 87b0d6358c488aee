"""Long work in background threads: started once, shared by all who ask, with progress to show meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from seqvae.errors import UserError
from seqvae.evaluation.metrics.evaluation_pass import ProgressCallback

Work = Callable[[ProgressCallback], Any]
PATIENCE = 0.4  # seconds that a request waits for a result before it reports progress instead


@dataclass
class Job:
    """One piece of work and how far it is."""

    name: str
    state: Literal["running", "done", "failed"] = "running"
    done: int = 0
    total: int = 0
    what: str = ""
    result: Any = None
    error: str = ""
    finished: threading.Event = field(default_factory=threading.Event)

    def advance(self, done: int, total: int, what: str) -> None:
        """Keep the progress that the work reports."""
        self.done, self.total, self.what = done, total, what

    @property
    def progress(self) -> dict[str, Any]:
        """How far the work is, for the page."""
        shown = {"job": self.name, "state": self.state, "done": self.done, "total": self.total}
        return {**shown, "what": self.what, "error": self.error}


class Pending(Exception):  # noqa: N818 - no error: the answer comes later
    """The result is not there yet."""

    def __init__(self, job: Job) -> None:
        super().__init__(job.name)
        self.job = job


class JobFailed(Exception):  # noqa: N818 - named like `Pending`
    """The work broke; the message is its last line."""


class Jobs:
    """All background work of a page, by name; each name runs once."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()

    def start(self, name: str, work: Work) -> Job:
        """The job of this name, started at the first call."""
        with self._lock:
            if name not in self._jobs:
                job = self._jobs[name] = Job(name)
                threading.Thread(target=_run, args=(job, work), name=name, daemon=True).start()
            return self._jobs[name]

    def result(self, name: str, work: Work, patience: float = PATIENCE) -> Any:
        """What the job of this name gives.

        Raises:
            Pending: it still runs after `patience` seconds.
            UserError: the work was refused.
            JobFailed: the work broke.
        """
        job = self.start(name, work)
        if not job.finished.wait(patience):
            raise Pending(job)
        if isinstance(job.result, UserError):
            raise job.result
        if job.state == "failed":
            raise JobFailed(f"{name}: {job.error}")
        return job.result

    def ready(self, name: str) -> Any:
        """What the job of this name gave, None before that."""
        with self._lock:
            job = self._jobs.get(name)
        return job.result if job is not None and job.state == "done" else None

    def states(self) -> list[dict[str, Any]]:
        """The progress of each job, in the order of their starts."""
        with self._lock:
            return [job.progress for job in self._jobs.values()]

    def wait(self, name: str) -> None:
        """Block until the job of this name has ended, if it was started."""
        with self._lock:
            job = self._jobs.get(name)
        if job is not None:
            job.finished.wait()


def _run(job: Job, work: Work) -> None:
    """Do the work in this thread; whatever it raises is kept for those who ask."""
    try:
        job.result = work(job.advance)
        job.state = "done"
    except UserError as refused:
        job.result, job.error, job.state = refused, str(refused), "failed"
    except Exception as error:
        job.error, job.state = f"{type(error).__name__}: {error}", "failed"
    finally:
        job.finished.set()
