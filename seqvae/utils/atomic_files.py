"""Files and folders that are written completely or not at all, and errors of a full or read-only disk."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from seqvae.errors import UserError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_RIGHT = (errno.EACCES, errno.EPERM, errno.EROFS)
NO_PLACE = (errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP)  # of a path


def list_checkpoints(path: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    found = [p for p in (path / "checkpoints").glob("step-*") if p.name[5:].isdigit()]
    return sorted(found, key=lambda p: int(p.name[5:]))


def write_atomically(file: Path, write: Callable[[Path], object], shared: bool = False) -> None:
    """Let `write` fill a temporary file next to `file`, then rename it: readers see the old or the new.

    Args:
        file: the file to write.
        write: fills the file whose path it is given.
        shared: whether several processes may write the file at the same time.
    """
    unfinished = _temporary(file, shared)
    try:
        write(unfinished)
        os.replace(unfinished, file)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def atomic_folder(folder: Path, mark: str | None = None) -> Iterator[Path]:
    """A temporary folder next to `folder` that is renamed to it at the end, or removed after an error.

    Args:
        folder: the folder to make. Without `mark` it replaces what is there, and its files are flushed first.
        mark: a file that a complete folder holds. Several processes may make such a folder at the same time;
            all of them write the same, so the first one's stays.

    Raises:
        UserError: `folder` is there and holds no `mark`.
    """
    work = _temporary(folder, shared=mark is not None)
    shutil.rmtree(work, ignore_errors=True)  # of a process that was killed
    try:
        work.mkdir(parents=True)
        yield work
        if mark is None:
            flush_folder(work)
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(work, folder)
        else:
            _rename_first(work, folder, mark)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _temporary(path: Path, shared: bool) -> Path:
    """The name under which `path` is written; a fixed one replaces what a killed process left."""
    return path.with_name(f".unfinished-{path.name}{f'-{uuid.uuid4().hex[:8]}' if shared else ''}")


def _rename_first(work: Path, folder: Path, mark: str) -> None:
    try:
        os.replace(work, folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        if not (folder / mark).exists():
            raise UserError(f"{folder} is in the way and holds no {mark}: remove it") from None


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
        if number not in NO_ROOM + NO_RIGHT:
            raise
        last = list_checkpoints(path)
        safe = f"the last good checkpoint is {last[-1]}" if last else "no checkpoint was written yet"
        remedy = "allow it" if number in NO_RIGHT else "make room"
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
        if file.is_file():
            with file.open("rb") as content:
                os.fsync(content.fileno())
