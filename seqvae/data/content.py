"""What files contain, as hashes: caches are named by them, so that a changed file is read again."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path

_SETTLED = (
    2.0  # seconds; a file changed later than that before its hash may change again within one clock tick
)


def cache_root() -> Path:
    """`$SEQVAE_CACHE`, or `seqvae` in the user's cache folder."""
    if root := os.environ.get("SEQVAE_CACHE"):
        return Path(root)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seqvae"


def content_key(*parts: object) -> str:
    """The name under which what these parts decide is found again."""
    joined = "\n".join(map(str, parts))
    return hashlib.blake2b(joined.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def file_hash(path: Path) -> str:
    """A hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def remembered_hash(path: Path, hashed: Callable[[Path], str] | None = None) -> str:
    """The hash of a file's bytes; they are read again unless the system says that nobody wrote to the file.

    Size and modification time can be kept while the content changes (`cp -p`, `touch -r`), the time of the
    last change of the inode cannot. A file that was changed in the last two seconds is not remembered.
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
    """Remember; where the cache cannot be written, the next run reads the file again."""
    work = note.with_name(f".{note.name}.{uuid.uuid4().hex[:8]}")
    with contextlib.suppress(OSError):
        note.parent.mkdir(parents=True, exist_ok=True)
        work.write_text(text, encoding="utf-8")
        work.replace(note)
