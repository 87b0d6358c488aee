"""A folder of a bounded size: what is asked for is made once, what was not used for longest makes room."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from seqvae.utils.jobs.leases import Lease

T = TypeVar("T")
WAIT = 0.1  # seconds between two looks at what another process makes


@dataclass(frozen=True)
class BoundedCache:
    """Folders by name under `root`, `limit` bytes of them at most; None bounds nothing.

    Many processes may use it, on all machines that see the folder: an entry is made by one of them while the
    others wait. An entry that a process reads may be removed by another one, which costs nothing where the
    system keeps open and mapped files (not on Windows). The entry asked for last always stays.
    """

    root: Path
    limit: int | None = None

    def path(self, name: str) -> Path:
        """Where an entry lies, if it is there."""
        return self.root / name

    def obtain(self, name: str, make: Callable[[Path], object], read: Callable[[Path], T]) -> T:
        """What `read` makes of the entry; `make` fills a new folder where there is none, atomically.

        Raises:
            UserError: as `make` and `read`; no room on the disk, or no right to write.
        """
        while True:
            with contextlib.suppress(FileNotFoundError):
                return self._read(name, read)
            lease = Lease(self.root / f".{name}.claim")
            if not lease.acquire():
                time.sleep(WAIT)
                continue
            try:
                found = self._make(name, make, read)
            except FileNotFoundError:  # made, and removed by another process since
                continue
            finally:
                lease.release()
            self.make_room(keep=name)
            return found

    def _make(self, name: str, make: Callable[[Path], object], read: Callable[[Path], T]) -> T:
        """The entry, which another process may have made in between."""
        with contextlib.suppress(FileNotFoundError):
            return self._read(name, read)
        if self.path(name).exists():  # and lacks a file
            self._remove(name)
        make(self.path(name))
        return self._read(name, read)

    def touch(self, name: str) -> None:
        """Note that an entry is in use, if it is there."""
        with contextlib.suppress(OSError):
            os.utime(self.path(name))

    def _read(self, name: str, read: Callable[[Path], T]) -> T:
        folder = self.path(name)
        os.utime(folder)  # used now
        return read(folder)

    def make_room(self, keep: str = "") -> list[str]:
        """Remove entries until the limit holds, the one used longest ago first; their names."""
        if self.limit is None:
            return []
        entries = sorted(self._entries(), key=lambda entry: (entry[1] != keep, -entry[0]))  # the latest first
        total, removed = 0, []
        for _, name, size in entries:
            if name != keep and total + size > self.limit:
                self._remove(name)
                removed.append(name)
            else:
                total += size
        return removed

    def _entries(self) -> list[tuple[float, str, int]]:
        """(time of last use, name, bytes) of each."""
        found = []
        for folder in self.root.iterdir() if self.root.exists() else ():
            with contextlib.suppress(OSError):
                if folder.is_dir() and not folder.name.startswith("."):
                    found.append((folder.stat().st_mtime, folder.name, folder_bytes(folder)))
        return found

    def _remove(self, name: str) -> None:
        gone = self.root / f".gone-{uuid.uuid4().hex[:8]}"
        with contextlib.suppress(OSError):
            self.path(name).rename(gone)  # so that no process sees half of an entry
        shutil.rmtree(gone, ignore_errors=True)


def folder_bytes(folder: Path) -> int:
    """The bytes of the files of a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
