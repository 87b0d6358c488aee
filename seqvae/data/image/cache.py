"""Pictures that took long to decode, kept as arrays that can be mapped."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from seqvae.errors import UserError


def cache_root() -> Path:
    """`$SEQVAE_CACHE`, or `seqvae` in the user's cache folder."""
    if root := os.environ.get("SEQVAE_CACHE"):
        return Path(root)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seqvae"


def cache_folder(*parts: object) -> Path:
    """Where that which these parts decide is kept."""
    key = hashlib.blake2b("\n".join(map(str, parts)).encode(), digest_size=16).hexdigest()
    return cache_root() / "pictures" / key


@contextlib.contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """A folder of another name that becomes `folder` at the end, or vanishes after an error.

    Raises:
        UserError: a full disk, or no right to write there.
    """
    work = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    try:
        work.mkdir(parents=True)
        yield work
        _moved(work, folder)
    except OSError as error:
        raise _explained(error, folder) from None
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _moved(work: Path, folder: Path) -> None:
    try:
        work.rename(folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # another process was first
            raise


def _explained(error: OSError, where: Path) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        problem = f"no space left for pictures at {where}"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        problem = f"no right to write pictures at {where}"
    else:
        return error
    return UserError(f"{problem}: make room, or set SEQVAE_CACHE to a folder elsewhere")
