"""Files named by URL (`s3://`, `hf://`, `memory://` ...), through fsspec: listing, versions, copies."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from seqvae.errors import UserError
from seqvae.utils.atomic_files import write_atomically

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_EXTRAS = {
    "s3": "pip install 's3fs' (extra seqvae[s3])",
    "gs": "pip install gcsfs",
    "gcs": "pip install gcsfs",
}
_VERSIONS = ("ETag", "etag", "blob_id", "md5Hash", "sha256", "LastModified", "mtime", "created")


def is_url(source: str) -> bool:
    """Whether a source is named by a URL."""
    return _URL.match(source) is not None


def local_path(url: str) -> Path | None:
    """The path of a `file://` URL; None of any other."""
    return Path(_open_url(url)[1]) if url.partition("://")[0] in ("file", "local") else None


def expand_url(url: str) -> list[str]:
    """The file itself, the files that match a pattern, or those of a folder, in the order of their names.

    Raises:
        UserError: nothing is there, or the place cannot be read.
    """
    system, path = _open_url(url)
    with _explain_errors(url):
        if any(c in path for c in "*?["):
            matching = system.glob(path, detail=True)
            found = [name for name, facts in matching.items() if facts["type"] == "file"]
        elif system.isdir(path):
            found = system.find(path)
        elif system.exists(path):
            return [url]
        else:
            found = []
    if not found:
        raise UserError(f"no file at {url}: check the address and the pattern")
    return [str(system.unstrip_protocol(name)) for name in sorted(found)]


def url_size(url: str) -> int:
    """How many bytes a file has.

    Raises:
        UserError: it is not there, or cannot be read.
    """
    return int(_read_facts(url).get("size") or 0)


def url_version(url: str) -> str:
    """What the place says of a file's content: ETag, hash or time of change, and size; nothing is read.

    Raises:
        UserError: it is not there, or cannot be read.
    """
    facts = _read_facts(url)
    lfs = facts.get("lfs")
    if isinstance(lfs, Mapping) and lfs.get("sha256"):
        return f"sha256={lfs['sha256']}"
    known = next((f"{key}={facts[key]}" for key in _VERSIONS if facts.get(key)), "")
    return f"{known} size={facts.get('size')}"


def download(url: str, file: Path) -> None:
    """Copy a file to this disk.

    Raises:
        UserError: it is not there, or cannot be read.
    """
    system, path = _open_url(url)
    with _explain_errors(url):
        system.get_file(path, str(file))


def upload(file: Path, url: str) -> None:
    """Copy a file from this disk, whole or not at all; the folders above it are made where there are such.

    Raises:
        UserError: it cannot be written there.
    """
    system, path = _open_url(url)
    with _explain_errors(url, "written"):
        if (here := local_path(url)) is not None:
            here.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(here, lambda unfinished: shutil.copyfile(file, unfinished))
            return
        system.makedirs(system._parent(path), exist_ok=True)
        system.put_file(str(file), path)


def url_exists(url: str) -> bool:
    """Whether a file is there, asked anew.

    Raises:
        UserError: the place cannot be asked.
    """
    system, path = _open_url(url)
    with _explain_errors(url):
        system.invalidate_cache()
        return bool(system.exists(path))


def _read_facts(url: str) -> Mapping[str, Any]:
    system, path = _open_url(url)
    with _explain_errors(url):
        facts: Mapping[str, Any] = system.info(path)
    return facts


def _open_url(url: str) -> tuple[Any, str]:
    """The file system of a URL and the path in it."""
    from fsspec.core import url_to_fs

    protocol = url.partition("://")[0]
    try:
        system, path = url_to_fs(url)
    except ImportError as error:
        raise UserError(f"{url} needs a package ({error}): {_EXTRAS.get(protocol, 'install it')}") from None
    except ValueError as error:
        raise UserError(f"{url} cannot be read ({error}): give s3://, hf://, file:// or a path") from None
    return system, path


@contextmanager
def _explain_errors(url: str, what: str = "read") -> Iterator[None]:
    """Errors of a place in one line: each library has its own."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        first = (str(error).strip().splitlines() or ["no message"])[0]
        reason = f"{type(error).__name__}: {first}"
        raise UserError(f"{url} cannot be {what} ({reason}): check the address and the rights") from None
