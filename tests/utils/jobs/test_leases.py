"""Of several processes exactly one has a lease, until it is released or its owner is gone."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from seqvae.errors import UserError
from seqvae.utils.jobs import leases
from seqvae.utils.jobs.leases import Lease, file_lock

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="no process there can be checked")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "folder" / ".run.claim"


@pytest.fixture(scope="module")
def gone() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def claimed(file: Path, machine: str, process: int) -> None:
    """The lease of another process, as on disk."""
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"machine": machine, "process": process, "claim": "x"}))


def test_one_process_has_the_lease_until_it_is_released(file: Path) -> None:
    ours, theirs = Lease(file), Lease(file)
    assert ours.acquire()
    assert not theirs.acquire()
    assert theirs.owner() == f"process {os.getpid()} on {socket.gethostname()}"
    ours.release()
    assert theirs.owner() == "another process"
    assert theirs.acquire()
    ours.release()  # not ours any more
    assert file.exists()
    theirs.release()
    assert not list(file.parent.iterdir())


@POSIX
def test_the_claim_of_a_process_that_is_gone_is_void(file: Path, gone: int) -> None:
    claimed(file, socket.gethostname(), gone)
    claim = Lease(file)
    assert claim.acquire()
    assert claim.stale_owner == f"process {gone} on {socket.gethostname()}"
    claim.release()
    assert not list(file.parent.iterdir())


@POSIX
def test_a_process_killed_while_clearing_a_lease_blocks_no_other(file: Path, gone: int) -> None:
    claimed(file, socket.gethostname(), gone)
    gate, claim = file.with_name(f"{file.name}-gate"), Lease(file)
    gate.touch()
    assert not claim.acquire()
    os.utime(gate, (0, 0))
    assert not claim.acquire()  # which removes the gate
    assert claim.acquire()
    claim.release()
    assert not list(file.parent.iterdir())


@POSIX
def test_of_many_that_find_a_stale_lease_one_gets_it(file: Path, gone: int) -> None:
    for _ in range(40):
        claimed(file, socket.gethostname(), gone)
        rivals, taken, start = [Lease(file) for _ in range(6)], [], threading.Barrier(6)

        def race(rival: Lease) -> None:
            start.wait()  # noqa: B023
            if rival.acquire():
                taken.append(rival)  # noqa: B023

        threads = [threading.Thread(target=race, args=(rival,)) for rival in rivals]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(taken) == 1
        taken[0].release()
        assert not list(file.parent.iterdir())


@pytest.mark.parametrize("machine", ["elsewhere", ""], ids=["another machine", "not written yet"])
def test_of_another_machine_a_claim_is_void_after_a_silence(file: Path, machine: str) -> None:
    claimed(file, machine, os.getpid())
    if not machine:
        file.write_text("")
    claim, past = Lease(file), time.time() - leases.SILENCE
    os.utime(file, (past + 60, past + 60))
    assert not claim.acquire()
    os.utime(file, (past - 60, past - 60))
    assert claim.acquire()
    claim.release()
    assert not list(file.parent.iterdir())


def test_an_owner_touches_his_claim(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "BEAT", 0.01)
    claim = Lease(file)
    assert claim.acquire()
    os.utime(file, (0, 0))
    for _ in range(500):
        if file.stat().st_mtime > 0:
            break
        time.sleep(0.01)
    else:
        pytest.fail("it was not touched")
    claim.release()


@POSIX
def test_a_claim_may_be_another_processs(file: Path, gone: int) -> None:
    ours, theirs = Lease(file), Lease(file)
    assert ours.acquire()
    ours.transfer(gone)
    assert theirs.owner().startswith(f"process {gone} on")
    assert theirs.acquire()
    ours.release()
    assert theirs.owner().startswith(f"process {os.getpid()} on")
    theirs.release()


def test_one_at_a_time(file: Path) -> None:
    inside, most = 0, []

    def enter() -> None:
        nonlocal inside
        with file_lock(file):
            inside += 1
            most.append(inside)
            time.sleep(0.005)
            inside -= 1

    threads = [threading.Thread(target=enter) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 5


def test_a_full_disk_is_reported(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(UserError, match=r"cannot write to .* \(no space left on device\)"):
        Lease(file).acquire()
