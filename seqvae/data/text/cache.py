"""The cache: named by content, so that nothing is made twice, and filled whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from seqvae.errors import UserError


@contextlib.contextmanager
def atomic_folder(folder: Path, mark: str) -> Iterator[Path]:
    """A folder of another name that becomes `folder` at the end, or vanishes after an error.

    Where another process was first (the file `mark` is there), its folder stays.
    """
    work = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    try:
        with explain_write_errors(folder):
            work.mkdir(parents=True)
            yield work
            _moved(work, folder, mark)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _moved(work: Path, folder: Path, mark: str) -> None:
    try:
        work.rename(folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        if not (folder / mark).exists():
            raise UserError(f"{folder} is in the way and holds no {mark}: remove it") from None


@contextlib.contextmanager
def explain_write_errors(where: Path) -> Iterator[None]:
    """Turns a full disk or a missing right under `where` into one line that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            problem = f"no space left for tokens at {where}"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            problem = f"no right to write tokens at {where}"
        else:
            raise
        raise UserError(f"{problem}: make room, or set SEQVAE_CACHE to a folder elsewhere") from None
