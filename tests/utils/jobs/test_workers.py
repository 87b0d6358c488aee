"""Jobs run after their dependencies, in one process and in several; a failure stops no other job."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from seqvae.errors import UserError
from seqvae.utils.jobs import scheduler
from seqvae.utils.jobs.leases import Lease
from seqvae.utils.jobs.scheduler import IN_PROCESS, Job, Slot
from seqvae.utils.jobs.workers import run_jobs
from seqvae.utils.reporter import Silent
from seqvae.utils.signals import Interrupted, stop_on_signals

TWO = (Slot("first", 1), Slot("second", 2))


class Heard(Silent):
    """Remembers what was said; sends Ctrl-C's signal at a note that ends so."""

    def __init__(self, stop_at: str = "\0") -> None:
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self.stop_at = stop_at

    def note(self, text: str) -> None:
        """One line; perhaps the one to stop at."""
        self.notes.append(text)
        if text.endswith(self.stop_at):
            signal.raise_signal(signal.SIGINT)

    def warn(self, text: str) -> None:
        """One loud line."""
        self.warnings.append(text)


def write(file: Path, needed: list[Path], place: Slot, report: Silent) -> None:
    """Needs files, and makes one that says where."""
    assert all(other.is_file() for other in needed)
    report.note("writes")
    file.write_text(f"{place.device} {place.threads}")


def mistaken(place: Slot, report: Silent) -> None:
    raise UserError("a mistake in one line")


def faulty(place: Slot, report: Silent) -> None:
    raise KeyError("a fault\nin two lines")


def killed(place: Slot, report: Silent) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def left(place: Slot, report: Silent) -> None:
    os._exit(3)


def patient(file: Path, place: Slot, report: Silent) -> None:
    """Works until it is asked to stop, then saves, as a training does."""
    with stop_on_signals() as stop:
        report.note("works")
        while not stop.number:
            time.sleep(0.01)
    file.write_text("saved")
    raise Interrupted("stopped", stop.number)


def settling(jobs: list[Job], report: Silent, places: tuple[Slot, ...] = ()) -> list[tuple[str, str | None]]:
    settled: list[tuple[str, str | None]] = []
    failed = run_jobs(jobs, lambda name, reason: settled.append((name, reason)), report, places)
    assert failed == {name: reason for name, reason in settled if reason is not None}
    return settled


def test_here_jobs_keep_their_order_but_for_what_they_need(tmp_path: Path) -> None:
    a, b, c = (tmp_path / name for name in "abc")
    jobs = [
        Job("a", partial(write, a, [c]), frozenset("c")),
        Job("b", partial(write, b, [])),
        Job("c", partial(write, c, [b]), frozenset("b")),
    ]
    report = Heard()
    assert settling(jobs, report) == [("b", None), ("c", None), ("a", None)]
    assert a.read_text() == "None None"
    assert [note for note in report.notes if note != "writes"] == ["[1/3] b", "[2/3] c", "[3/3] a"]


def test_a_failure_stops_only_those_that_need_it() -> None:
    def fine(place: Slot, report: Silent) -> None:
        assert place == IN_PROCESS

    jobs = [
        Job("mistake", mistaken),
        Job("after", fine, frozenset({"mistake"})),
        Job("after that", fine, frozenset({"after"})),
        Job("fault", faulty),
        Job("fine", fine),
        Job("lost", fine, frozenset({"nowhere"})),
    ]
    report = Heard()
    assert settling(jobs, report) == [
        ("mistake", "a mistake in one line"),
        ("after", "it needs mistake, which failed"),
        ("after that", "it needs after, which failed"),
        ("fault", "KeyError: 'a fault\\nin two lines'"),
        ("fine", None),
        ("lost", "a job that it depends on is missing"),
    ]
    assert "Traceback" in "".join(report.warnings)
    assert "mistake: a mistake in one line" in report.warnings


@pytest.mark.parametrize("places", [(), TWO], ids=["here", "side by side"])
def test_what_another_program_is_at_is_left_to_it(tmp_path: Path, places: tuple[Slot, ...]) -> None:
    a, b, file = tmp_path / "a", tmp_path / "b", tmp_path / "claim"
    other, report = Lease(file), Heard()
    assert other.acquire()
    jobs = [Job("a", mistaken, lease=Lease(file)), Job("b", partial(write, b, []))]
    assert settling(jobs, report, places) == [("b", None)]
    assert report.notes[-1] == f"a is left to {other.owner()}"
    assert not a.exists()
    other.release()


@pytest.mark.skipif(sys.platform == "win32", reason="no process there can be checked")
def test_what_a_dead_program_was_at_is_taken_over(tmp_path: Path) -> None:
    dead, file, report = subprocess.Popen([sys.executable, "-c", ""]), tmp_path / "claim", Heard()
    dead.wait()
    other = Lease(file)
    assert other.acquire()
    other.transfer(dead.pid)
    job = Job("a", partial(write, tmp_path / "a", []), lease=Lease(file))
    holder = other.owner()
    assert settling([job], report) == [("a", None)]
    assert report.notes == ["[1/1] a", f"a: taken over from {holder}, which is gone", "writes"]
    other.release()


@pytest.mark.parametrize("places", [(), TWO], ids=["here", "side by side"])
def test_what_is_needed_of_another_program_is_waited_for(
    tmp_path: Path, places: tuple[Slot, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "ASK", 0.01)
    a, b, file = tmp_path / "a", tmp_path / "b", tmp_path / "claim"
    other, own = Lease(file), Lease(tmp_path / "own")
    assert other.acquire()

    class Doing(Heard):
        def note(self, text: str) -> None:
            """The other program is done when this one has begun to wait."""
            super().note(text)
            if text.startswith("waiting for"):
                a.write_text("done elsewhere")
                other.release()

    jobs = [
        Job("a", mistaken, lease=Lease(file), is_done=a.exists),
        Job("b", partial(write, b, [a]), frozenset("a"), lease=own),
    ]
    holder, report = other.owner(), Doing()
    assert settling(jobs, report, places) == [("a", None), ("b", None)]
    assert report.notes[0] == f"waiting for a ({holder})"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]  # no claim is left over


def test_here_a_signal_ends_all() -> None:
    def stopped(place: Slot, report: Silent) -> None:
        raise KeyboardInterrupt

    with pytest.raises(Interrupted) as told:
        settling([Job("a", stopped), Job("b", faulty)], Heard())
    assert told.value.signal == signal.SIGINT


def test_processes_work_at_their_places_and_wait_for_what_they_need(tmp_path: Path) -> None:
    a, b, c = (tmp_path / name for name in "abc")
    jobs = [
        Job("a", partial(write, a, [])),
        Job("b", partial(write, b, [a]), frozenset("a")),
        Job("c", partial(write, c, [])),
    ]
    report = Heard()
    settled = settling(jobs, report, TWO)
    assert sorted(settled) == [("a", None), ("b", None), ("c", None)]
    assert {a.read_text(), c.read_text()} == {"first 1", "second 2"}
    assert report.notes[:2] == ["[1/3] a on first", "[2/3] c on second"]
    assert {"a: writes", "a: done"} < set(report.notes)


def test_a_process_that_dies_stops_no_other(tmp_path: Path) -> None:
    jobs = [
        Job("killed", killed),
        Job("left", left),
        Job("fault", faulty),
        Job("after", faulty, frozenset({"left"})),
        Job("fine", partial(write, tmp_path / "fine", [])),
    ]
    report = Heard()
    assert dict(settling(jobs, report, TWO)) == {
        "killed": "its process was killed by SIGKILL, often because memory ran out",
        "left": "its process ended with exit code 3",
        "fault": "KeyError: 'a fault\\nin two lines'",
        "after": "it needs left, which failed",
        "fine": None,
    }
    assert "Traceback" in "".join(report.warnings)


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals there")
def test_a_signal_lets_every_process_save(tmp_path: Path) -> None:
    file = tmp_path / "saved"
    jobs = [Job("patient", partial(patient, file)), Job("later", faulty, frozenset({"patient"}))]
    settled: list[str] = []
    with pytest.raises(Interrupted) as told:
        run_jobs(jobs, lambda name, reason: settled.append(name), Heard("works"), TWO)
    assert told.value.signal == signal.SIGINT
    assert file.read_text() == "saved"
    assert settled == []
