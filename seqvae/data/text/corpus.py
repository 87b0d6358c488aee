"""Where a corpus lies and how it is told apart: files, saved datasets and the Hub, one example at a time."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from seqvae.data.hub import find_heldout_split, load_split
from seqvae.data.text.readers import (
    JSON,
    TABLES,
    Example,
    check_columns,
    read_json,
    read_lines,
    read_parquet,
    read_table,
    suffix,
    to_example,
)
from seqvae.errors import UserError

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(:[\w.-]+)?(@[\w.-]+)?")
_SUFFIXES = (*JSON, *TABLES, ".parquet", ".txt", ".gz")


def read_corpus(
    source: str, *, text_column: str = "text", labels: Sequence[str] = (), split: str = "train"
) -> Iterator[Example]:
    """The examples of `source`, in order; nothing is held in memory. Texts lose surrounding white space.

    `source` is a file of lines, JSON lines (`.jsonl`, `.ndjson`, `.json`), a table with a header (`.csv`;
    `.tsv`, where quotes mean nothing), each also gzipped; a `.parquet` file; a folder that `datasets` saved
    (`FOLDER` or `FOLDER@split`); or a Hub id, `owner/name`, `owner/name:config`, either with `@split`.

    Raises:
        UserError: no such source, nothing in it, not text, malformed, or without a column asked for.
    """
    empty = True
    for example in _reader(source, text_column, tuple(labels), split):
        empty = False
        yield example
    if empty:
        raise UserError(f"{source} is empty: give a file with at least one sentence a line")


def is_table(source: str) -> bool:
    """Whether `source` has named columns, or is plain lines."""
    return not Path(source).is_file() or suffix(Path(source)) in (*JSON, *TABLES, ".parquet")


def find_heldout_source(source: str, split: str) -> str | None:
    """The validation or test part (`split` is valid or test) that a dataset of several splits brings."""
    if Path(source).is_file() or "@" in source:
        return None
    return find_heldout_split(source, _locate(source)[0], split)


def content_hash(source: str, remember: Callable[[Path], str] | None = None) -> str:
    """A hash of what `source` holds; `remember` may answer for one file without reading it."""
    hashed = remember or file_hash
    path, split = _locate(source)
    if path is None:
        return f"hub:{source}:{_dataset(source, 'train')._fingerprint}"
    if path.is_file():
        return f"{suffix(path)}:{hashed(path)}"
    files = sorted(p for p in path.rglob("*") if p.is_file())
    return f"folder:{split}:" + ",".join(f"{p.relative_to(path)}={hashed(p)}" for p in files)


def file_hash(path: Path) -> str:
    """A hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _locate(source: str) -> tuple[Path | None, str | None]:
    """(path, split) of a source on this machine, (None, None) for a Hub id."""
    if not source:
        raise UserError("the data source is empty: name a file, a saved datasets folder or a Hub id")
    if Path(source).exists():
        return Path(source), None
    folder, _, split = source.rpartition("@")
    if folder and Path(folder).is_dir():
        return Path(folder), split
    if _HUB_ID.fullmatch(source) and Path(source).suffix.lower() not in _SUFFIXES:
        return None, None
    raise UserError(f"no data at {source}: give a file, a folder saved by datasets, or a Hub id owner/name")


def _reader(source: str, column: str, labels: tuple[str, ...], split: str) -> Iterator[Example]:
    path, _ = _locate(source)
    if path is None or path.is_dir():
        return _read_dataset(source, column, labels, split)
    kind = suffix(path)
    if kind == ".parquet":
        return read_parquet(path, column, labels)
    if kind in JSON:
        return read_json(path, column, labels)
    if kind in TABLES:
        return read_table(path, column, labels)
    if labels:
        raise UserError(f"{source} is plain text and has no columns: labels {', '.join(labels)} need a table")
    return read_lines(path)


def _read_dataset(source: str, column: str, labels: tuple[str, ...], split: str) -> Iterator[Example]:
    dataset = _dataset(source, split)
    check_columns(dataset.column_names, (column, *labels), source)
    for row in dataset.select_columns([column, *labels]):
        yield to_example(row, column, labels, source)


def _dataset(source: str, split: str) -> Any:
    """A `datasets.Dataset`; a split named in the source goes before `split`."""
    return load_split(source, _locate(source)[0], split)
