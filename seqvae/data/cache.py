"""The cache folder: what was made from the same content is made once, completely or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from seqvae.errors import UserError
from seqvae.utils.atomic_files import NO_PLACE, NO_RIGHT, NO_ROOM, atomic_folder


def cache_root() -> Path:
    """`$SEQVAE_CACHE`, or `seqvae` in the user's cache folder."""
    if root := os.environ.get("SEQVAE_CACHE"):
        return Path(root)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seqvae"


def content_key(*parts: object) -> str:
    """A hash of `parts`, the name under which whatever they determine is cached."""
    joined = "\n".join(map(str, parts))
    return hashlib.blake2b(joined.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


@contextlib.contextmanager
def fill_folder(folder: Path, mark: str, content: str = "tokens") -> Iterator[Path]:
    """A temporary folder that becomes `folder` at the end, or is removed after an error.

    Args:
        folder: a folder of the cache.
        mark: a file that it holds once it is complete: where another process was first, its folder stays.
        content: what it holds, for messages.

    Raises:
        UserError: a full disk, or no right to write there.
    """
    with explain_cache_errors(folder, content), atomic_folder(folder, mark) as work:
        yield work


@contextlib.contextmanager
def explain_cache_errors(where: Path, content: str = "tokens") -> Iterator[None]:
    """Turn a full or read-only disk under `where` into one line that says what to do.

    Raises:
        UserError: instead of the OSError.
    """
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            problem = f"no space left for {content} at {where}"
        elif error.errno in NO_RIGHT:
            problem = f"no right to write {content} at {where}"
        elif error.errno in NO_PLACE:
            problem = f"{content} cannot be written at {where} ({os.strerror(error.errno).lower()})"
        else:
            raise
        raise UserError(f"{problem}: make room, or set SEQVAE_CACHE to a folder elsewhere") from None
