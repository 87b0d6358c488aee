"""Copies on this disk of files that a URL names: fetched when they are read, into a bounded folder."""

from __future__ import annotations

import os
from pathlib import Path

from seqvae.data.bounded_cache import BoundedCache
from seqvae.data.cache import cache_root, content_key, fill_folder
from seqvae.data.remote import download, local_path, url_version
from seqvae.errors import UserError

FETCHED_GB = "SEQVAE_FETCHED_GB"
_GB = 8.0  # default limit of fetched files on this disk


def local_copy(url: str) -> Path:
    """The file itself where the URL names one on this disk, else a copy of it under its own name.

    At most `$SEQVAE_FETCHED_GB` gigabytes (8) of copies are kept, those read last.

    Raises:
        UserError: it is not there, cannot be read, or there is no room for it.
    """
    if (path := local_path(url)) is not None:
        return path
    name = url.rstrip("/").rpartition("/")[2]

    def fetch(folder: Path) -> None:
        with fill_folder(folder, name) as work:
            download(url, work / name)

    cache = BoundedCache(cache_root() / "fetched", _limit())
    return cache.obtain(content_key(url, url_version(url)), fetch, lambda folder: folder / name)


def _limit() -> int:
    given = os.environ.get(FETCHED_GB)
    try:
        limit = float(given or _GB)
    except ValueError:
        limit = -1
    if not limit > 0:
        raise UserError(f"{FETCHED_GB} got {given!r}: give gigabytes, as 8")
    return int(limit * 1e9)
