"""File leases: one process at a time works on a run, also across machines that share the folder.

A lease is a file that only one process can create. It names its owner, who touches it regularly. It is stale
once the owner has died: on this machine if the process does not exist, on another if the file has not been
touched for long. Ages compare time stamps of the file system, because the machines' clocks may differ.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from seqvae.utils.atomic_files import explain_disk_errors

BEAT = 20.0  # seconds between two touches
SILENCE = 600.0  # seconds without a touch after which an owner on another machine counts as dead
LEFT = 60.0  # seconds after which the holder of a gate counts as dead


class Lease:
    """A lease on `file`, held by one process at a time."""

    def __init__(self, file: Path, silence: float = SILENCE) -> None:
        self.file, self.silence = file, silence
        self.content: str | None = None  # content of the file while this process holds the lease
        self.stale_owner: str | None = None  # the dead owner from whom the lease was taken over
        self._ended = threading.Event()

    def acquire(self) -> bool:
        """Try to acquire the lease; False if another process holds it.

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
        """Make another process of this machine the owner, so that the lease ends with that process."""
        mine, self.content = self._unique_path(), _describe_owner(process)
        with explain_disk_errors(self.file.parent):
            mine.write_text(self.content, "utf-8")
            os.replace(mine, self.file)

    def release(self) -> None:
        """Release the lease, if this process still holds it."""
        self._ended.set()
        if self.content is not None and self._read() == self.content:
            self.file.unlink(missing_ok=True)
        self.content = None

    def owner(self) -> str:
        """The owner, for messages."""
        owner = _owner(self._read())
        return f"process {owner['process']} on {owner['machine']}" if owner else "another process"

    def _create(self) -> bool:
        content = _describe_owner(os.getpid())
        try:
            with self.file.open("x", encoding="utf-8") as made:
                made.write(content)
        except FileExistsError:
            return False
        self.content = content
        return True

    def _clear_stale(self) -> bool:
        """Remove a stale lease; True if there is no lease now."""
        content = self._read()
        if content is None or not self._is_stale(content):
            return content is None
        gate = self.file.with_name(f"{self.file.name}-gate")
        try:  # a gate serialises this: otherwise the new lease of a faster process could be removed
            gate.open("x").close()
        except FileExistsError:
            self._remove_stale_gate(gate)
            return False
        try:
            if self._read() != content:
                return False
            self.stale_owner = self.owner()
            self.file.unlink()
        finally:
            gate.unlink(missing_ok=True)
        return True

    def _remove_stale_gate(self, gate: Path) -> None:
        """Remove the gate of a process that was killed while holding it."""
        with suppress(FileNotFoundError):
            if self._age(gate) > LEFT:
                gate.unlink()

    def _is_stale(self, content: str) -> bool:
        owner = _owner(content)
        if owner and owner["machine"] == socket.gethostname() and sys.platform != "win32":
            return not _is_alive(int(owner["process"]))
        with suppress(FileNotFoundError):
            return self._age(self.file) > self.silence
        return False

    def _age(self, file: Path) -> float:
        """Seconds since a file was touched, by the clock of the file system."""
        probe = self._unique_path()
        probe.touch()
        try:
            return probe.stat().st_mtime - file.stat().st_mtime
        finally:
            probe.unlink()

    def _unique_path(self) -> Path:
        """A new, unique name in the same folder."""
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
    """Context in which no other process of this machine holds the lock `file`; the system frees a dead one's.

    Machines that share the folder exclude each other too if its file system supports locks (`flock`), as NFS
    does. Use it only where a missing exclusion does no harm: a `Lease` does not depend on such locks.

    Raises:
        UserError: the folder cannot be written to.
    """
    with explain_disk_errors(file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(file)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _describe_owner(process: int) -> str:
    return json.dumps({"machine": socket.gethostname(), "process": process, "claim": uuid.uuid4().hex})


def _owner(content: str | None) -> dict[str, str | int] | None:
    """Machine and process of the owner; None for a file that is not written yet."""
    try:
        owner = json.loads(content or "")
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
