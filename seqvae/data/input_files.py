"""Input files: packed files, globs, pipes and standard input, which are copied to be read again."""

from __future__ import annotations

import atexit
import bz2
import contextlib
import glob
import gzip
import lzma
import os
import shutil
import stat
import sys
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from seqvae.data.cache import cache_root
from seqvae.data.content import file_hash
from seqvae.data.remote import expand_url, is_url
from seqvae.errors import UserError

PACKED = (".gz", ".bz2", ".xz", ".zst", ".zstd")
STDIN = "-"
_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_CHUNK = 1 << 20  # bytes


def suffix(path: str | Path) -> str:
    """The suffix in lower case, without `.gz`, `.bz2`, `.xz` and `.zst`: `a.CSV.gz` gives `.csv`."""
    name = Path(path).name.lower()
    for packed in PACKED:
        name = name.removesuffix(packed)
    return Path(name).suffix


@contextlib.contextmanager
def open_unpacked(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, unpacked if its first bytes are those of gzip, bzip2, xz or zstd, for any name.

    Raises:
        UserError: it cannot be read, is a damaged archive, or is a zip archive.
    """
    try:
        kind = _packing(path)
        with _open(path, kind) as stream:
            yield stream
    except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
        raise UserError(f"{path} is a damaged {kind} file ({error}): fetch or pack it again") from None
    except OSError as error:
        if error.errno is None:  # from an unpacking library: errors of the system have a number
            reason = str(error).splitlines()[0]
            raise UserError(f"{path} is a damaged {kind} file ({reason}): fetch or pack it again") from None
        raise UserError(f"{path} cannot be read ({error.strerror}): check the path and its rights") from None


def is_packed(path: Path) -> bool:
    """Whether a file's first bytes are those of gzip, bzip2, xz or zstd."""
    return _packing(path) != "plain"


def _packing(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(6)
    if head.startswith(b"PK\x03\x04"):
        raise UserError(f"{path} is a zip archive or an office document: unpack it, or save it as text")
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), "plain")


def _open(path: Path, kind: str) -> Any:
    if kind == "gzip":
        return gzip.open(path)
    if kind == "bzip2":
        return bz2.open(path)
    if kind == "xz":
        return lzma.open(path)
    return _zstd(path) if kind == "zstd" else path.open("rb")


def _zstd(path: Path) -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd

        return zstd.open(path)
    import pyarrow

    return pyarrow.input_stream(str(path), compression="zstd")


def in_words(source: str | Sequence[str]) -> str:
    """A source, or several, as text for messages."""
    return source if isinstance(source, str) else ", ".join(source)


def expand(source: str | Sequence[str]) -> list[str]:
    """Expand a source or several into a list: globs become their matching files, sorted.

    URLs may be patterns or folders too.

    Raises:
        UserError: an empty list, or a glob that no file matches.
    """
    given = [source] if isinstance(source, str) else list(source)
    if not given:
        raise UserError("the list of data sources is empty: name a file, a saved datasets folder or a Hub id")
    return [one for each in given for one in _matches(each)]


def _matches(source: str) -> list[str]:
    if is_url(source):
        return expand_url(source)
    if os.path.lexists(source) or not glob.has_magic(source):
        return [source]
    found = sorted(path for path in glob.glob(source, recursive=True) if os.path.isfile(path))
    if not found:
        raise UserError(f"no file matches {source}: check the pattern")
    return found


def regular_file(source: str, keep: bool = False) -> str:
    """Return `source`, or the path of a copy of a pipe or of standard input (`-`).

    A pipe can be read only once, but data are read several times. With `keep` the copy is stored in the cache
    under its content's hash, for later use by a run; otherwise it is deleted when the program ends.

    Raises:
        UserError: empty input, no standard input, or several processes share it.
    """
    if source == STDIN:
        return str(_store(_standard_input(), keep, source))
    with contextlib.suppress(OSError, ValueError):
        mode = os.stat(source).st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISSOCK(mode):
            with open(source, "rb") as stream:
                return str(_store(stream, keep, source))
    return source


def regular_files(source: str | Sequence[str], keep: bool = False) -> str | list[str]:
    """`regular_file` of a source, or of each of several.

    Raises:
        UserError: as `regular_file`.
    """
    return (
        regular_file(source, keep) if isinstance(source, str) else [regular_file(one, keep) for one in source]
    )


def _standard_input() -> Any:
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise UserError("standard input cannot be shared by several processes: write it into a file first")
    if sys.stdin is None:
        raise UserError("there is no standard input here: name a file")
    return getattr(sys.stdin, "buffer", sys.stdin)


def _store(stream: Any, keep: bool, source: str) -> Path:
    """Copy a stream to a file."""
    folder = cache_root() / "piped" if keep else Path(_scratch())
    try:
        path = _copy(stream, folder)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(
            f"{source} cannot be kept in {folder} ({reason}): make room, or write it into a file first"
        ) from None
    if not path.stat().st_size:
        path.unlink()
        raise UserError(f"{source} is empty: give data with at least one sentence a line")
    return path.replace(folder / f"stdin-{file_hash(path)}") if keep else path


def _copy(stream: Any, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=folder, prefix=".unfinished-")
    with os.fdopen(handle, "wb") as copy:
        while chunk := stream.read(_CHUNK):
            copy.write(chunk.encode("utf-8", "surrogateescape") if isinstance(chunk, str) else chunk)
    return Path(name)


_folder: list[str] = []  # folder of temporary copies; made when first needed


def _scratch() -> str:
    if not _folder:
        _folder.append(tempfile.mkdtemp(prefix="seqvae-"))
        atexit.register(shutil.rmtree, _folder[0], ignore_errors=True)
    return _folder[0]
