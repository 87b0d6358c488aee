"""Atomic file writes, and user errors for a full or read-only disk."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from seqvae.errors import UserError

DISK_ERRORS = (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.EFBIG)


def list_checkpoints(path: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    found = [p for p in (path / "checkpoints").glob("step-*") if p.name[5:].isdigit()]
    return sorted(found, key=lambda p: int(p.name[5:]))


def write_atomically(file: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file next to `file`, then rename it: readers see the old or the new."""
    unfinished = file.with_name(f".unfinished-{file.name}")
    try:
        write(unfinished)
        os.replace(unfinished, file)
    finally:
        unfinished.unlink(missing_ok=True)


def write_named(file: Path, write: Callable[[Path], object]) -> None:
    """Write a file that the user named, atomically.

    Raises:
        UserError: the file cannot be written.
    """
    try:
        write_atomically(file, write)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"cannot write {file} ({reason}): choose another place") from None


@contextmanager
def explain_disk_errors(path: Path) -> Iterator[None]:
    """Turn the error of a full or read-only disk into a user error that names the last good checkpoint.

    Raises:
        UserError: instead of the OSError, or of the error that safetensors raises for it.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        number = _error_number(error)
        if number not in DISK_ERRORS:
            raise
        last = list_checkpoints(path)
        safe = f"the last good checkpoint is {last[-1]}" if last else "no checkpoint was written yet"
        remedy = "allow it" if number in (errno.EACCES, errno.EROFS) else "make room"
        reason = os.strerror(number).lower()
        raise UserError(f"cannot write to {path} ({reason}): {safe}; {remedy} and resume") from None


def _error_number(error: BaseException) -> int:
    """The errno of an error: torch chains the OSError, safetensors puts the number into its message."""
    for found in (error, error.__context__):
        if isinstance(found, OSError) and found.errno:
            return found.errno
    written = re.search(r"os error (\d+)", str(error))
    return int(written[1]) if written else 0


def sha256_of(file: Path) -> str:
    """The SHA-256 of a file's content."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def flush_folder(folder: Path) -> None:
    """Call fsync on every file of a folder, before a rename makes it visible."""
    for file in folder.iterdir():
        with file.open("rb") as content:
            os.fsync(content.fileno())
