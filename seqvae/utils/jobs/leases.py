"""Who of several processes, on one machine or on many that see the same folder, works on a thing.

A claim is a file that one of them alone can make. It names its owner, who touches it now and then; it is void
once the owner is gone: on this machine when no such process is there, on another when the file was left
untouched for long. Both times are the file system's, so that the machines' clocks may differ.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from seqvae.utils.atomic_files import explain_disk_errors

BEAT = 20.0  # seconds between two touches
SILENCE = 600.0  # seconds without a touch after which an owner on another machine is taken for gone
LEFT = 60.0  # seconds after which what takes a moment was left undone
ASKING = 0.05  # seconds between two tries of who waits


class Lease:
    """The right to work on a thing, which one process has at a time; `file` says which one."""

    def __init__(self, file: Path, silence: float = SILENCE) -> None:
        self.file, self.silence = file, silence
        self.told: str | None = None  # what the file says of us, while the claim is ours
        self.gone: str | None = None  # whom we have it from, where that owner never gave it back
        self._ended = threading.Event()

    def acquire(self) -> bool:
        """Make it ours; False where it is another's.

        Raises:
            UserError: the folder cannot be written to.
        """
        with explain_disk_errors(self.file.parent):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            if not self._create() and not (self._clear_stale() and self._create()):
                return False
        self._ended.clear()
        threading.Thread(target=self._beat, daemon=True).start()
        return True

    def transfer(self, process: int) -> None:
        """Name another process of this machine as the one who works, so that its end ends the claim."""
        mine, self.told = self._beside(), _describe_owner(process)
        with explain_disk_errors(self.file.parent):
            mine.write_text(self.told, "utf-8")
            os.replace(mine, self.file)

    def release(self) -> None:
        """Give it back, if it is still ours."""
        self._ended.set()
        if self.told is not None and self._read() == self.told:
            self.file.unlink(missing_ok=True)
        self.told = None

    def owner(self) -> str:
        """Whose it is, for people."""
        owner = _owner(self._read())
        return f"process {owner['process']} on {owner['machine']}" if owner else "another process"

    def _create(self) -> bool:
        told = _describe_owner(os.getpid())
        try:
            with self.file.open("x", encoding="utf-8") as made:
                made.write(told)
        except FileExistsError:
            return False
        self.told = told
        return True

    def _clear_stale(self) -> bool:
        """Whether the claim of an owner who is gone was there, and is out of the way now."""
        told = self._read()
        if told is None or not self._is_stale(told):
            return told is None
        gate = self.file.with_name(f"{self.file.name}-gate")
        try:  # one by one, or the fresh claim of who was faster would be cleared away
            gate.open("x").close()
        except FileExistsError:
            self._clear(gate)
            return False
        try:
            if self._read() != told:
                return False
            self.gone = self.owner()
            self.file.unlink()
        finally:
            gate.unlink(missing_ok=True)
        return True

    def _clear(self, gate: Path) -> None:
        """Remove a gate that somebody left who was killed in it."""
        with suppress(FileNotFoundError):
            if self._age(gate) > LEFT:
                gate.unlink()

    def _is_stale(self, told: str) -> bool:
        owner = _owner(told)
        if owner and owner["machine"] == socket.gethostname() and sys.platform != "win32":
            return not _is_alive(int(owner["process"]))
        with suppress(FileNotFoundError):
            return self._age(self.file) > self.silence
        return False

    def _age(self, file: Path) -> float:
        """Seconds since a file was touched."""
        probe = self._beside()
        probe.touch()
        try:
            return probe.stat().st_mtime - file.stat().st_mtime
        finally:
            probe.unlink()

    def _beside(self) -> Path:
        """A new name in the same folder."""
        return self.file.with_name(f"{self.file.name}-{uuid.uuid4().hex[:8]}")

    def _read(self) -> str | None:
        try:
            return self.file.read_text("utf-8")
        except FileNotFoundError:
            return None

    def _beat(self) -> None:
        while not self._ended.wait(BEAT):
            with suppress(OSError):
                os.utime(self.file)


@contextmanager
def file_lock(file: Path) -> Iterator[None]:
    """Inside, no other process is inside with the same file; for what takes seconds at most."""
    claim = Lease(file, silence=LEFT)
    while not claim.acquire():
        time.sleep(ASKING)
    try:
        yield
    finally:
        claim.release()


def _describe_owner(process: int) -> str:
    return json.dumps({"machine": socket.gethostname(), "process": process, "claim": uuid.uuid4().hex})


def _owner(told: str | None) -> dict[str, str | int] | None:
    """Machine and process; None of a file that is not written yet."""
    try:
        owner = json.loads(told or "")
    except ValueError:
        return None
    return owner if isinstance(owner, dict) and {"machine", "process"} <= owner.keys() else None


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
