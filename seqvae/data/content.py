"""Hashes of file contents, which name cache entries, so that a changed file is read again."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable
from pathlib import Path

from seqvae.data.cache import cache_root, content_key
from seqvae.utils.atomic_files import write_atomically

_SETTLED = (
    2.0  # seconds; a file changed later than that before its hash may change again within one clock tick
)


def file_hash(path: Path) -> str:
    """A hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def remembered_hash(path: Path, hashed: Callable[[Path], str] | None = None) -> str:
    """The hash of a file's bytes, cached until the system reports a change of the file.

    Size and modification time can be kept while the content changes (`cp -p`, `touch -r`), the time of the
    last change of the inode cannot. The hash of a file changed within the last two seconds is not cached.
    """
    state = _state(path)
    kind = [] if hashed is None else [hashed.__name__]
    note = cache_root() / "sources" / content_key(path.resolve(), *kind)
    with contextlib.suppress(OSError, ValueError):
        before, _, digest = note.read_text(encoding="utf-8").partition("\n")
        if before == state and digest:
            return digest
    digest = (hashed or file_hash)(path)
    if _state(path) == state and time.time() - path.stat().st_ctime > _SETTLED:
        _write_note(note, f"{state}\n{digest}")
    return digest


def _state(path: Path) -> str:
    found = path.stat()
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}"


def _write_note(note: Path, text: str) -> None:
    """Store a hash; if the cache is not writable, the next run reads the file again."""
    with contextlib.suppress(OSError):
        note.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(note, lambda file: file.write_text(text, encoding="utf-8"), shared=True)
