"""Corpora from files, folders, saved data sets and the Hub, read row by row."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from seqvae.data.content import file_hash
from seqvae.data.hub import find_heldout_split, is_saved, load_split
from seqvae.data.input_files import PACKED, expand, suffix
from seqvae.data.remote import is_url, local_path, url_version
from seqvae.data.text.fetched import local_copy
from seqvae.data.text.readers import (
    SUFFIXES,
    TABLES,
    Example,
    ReadOptions,
    find_columns,
    format_of,
    read_file,
    to_example,
)
from seqvae.errors import UserError, suggest

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(:[\w.-]+)?(@[\w.-]+)?")
_PARTS = {
    "train": ("train", "training"),
    "valid": ("valid", "validation", "dev", "val"),
    "test": ("test",),
}


def read_corpus(
    source: str | Sequence[str], options: ReadOptions | None = None, split: str = "train"
) -> Iterator[Example]:
    """Iterate over the rows of `source` in order, including those without text, in constant memory.

    A source is a file of lines, JSON (lines of objects, or an array of them), a table with a header (`.csv`,
    `.tsv`), each also packed as `.gz`, `.bz2`, `.xz` or `.zst`; a `.parquet` file; a folder of such files; a
    folder saved by `datasets`; a Hub id, `owner/name` or `owner/name:config`; or the URL of such a file
    (`s3://`, `hf://`, `memory://` ...). Folders and Hub ids may have a suffix `@split`. Several sources, or a
    glob, are concatenated.

    Raises:
        UserError: no such source, empty, not text, malformed, or without a requested column.
    """
    options = options or ReadOptions()
    for one in expand(source):
        empty = True
        for example in _read(one, options, split):
            empty = False
            yield example
        if empty:
            raise UserError(f"{one} is empty: give a file with at least one sentence a line")


def is_table(source: str | Sequence[str], options: ReadOptions | None = None) -> bool:
    """Whether `source` has named columns, as opposed to plain lines."""
    return any(_is_table(one, options or ReadOptions()) for one in expand(source))


def find_heldout_source(source: str | Sequence[str], split: str) -> str | None:
    """The source's own validation or test split (`split` is valid or test), or None."""
    sources = expand(source)
    if len(sources) != 1 or is_url(sources[0]) or Path(sources[0]).is_file() or "@" in sources[0]:
        return None
    path, _ = _locate(sources[0])
    if path is not None and not is_saved(path):
        return f"{sources[0]}@{split}" if split in _by_part(path) else None
    return find_heldout_split(sources[0], path, split)


def content_hash(source: str | Sequence[str], remember: Callable[[Path], str] | None = None) -> str:
    """A hash of the content of `source`; `remember` hashes a file, perhaps from a cache."""
    found = [_content_hash(one, remember or file_hash) for one in expand(source)]
    return found[0] if len(found) == 1 else "several:" + "+".join(found)


def _content_hash(source: str, hashed: Callable[[Path], str]) -> str:
    if is_url(source) and local_path(source) is None:
        return f"{_kind(source)}:{source}:{url_version(source)}"
    path, split = _locate(source)
    if path is None:
        return f"hub:{source}:{_dataset(source, 'train')._fingerprint}"
    if path.is_file():
        return f"{_kind(path)}:{hashed(path)}"
    kept = [p for files in _by_part(path).values() for p in files] if not is_saved(path) else path.rglob("*")
    files = sorted(p for p in kept if p.is_file())
    return f"folder:{split}:" + ",".join(f"{p.relative_to(path)}={hashed(p)}" for p in files)


def _kind(path: str | Path) -> str:
    """What a file's name says of its format; FASTA and SMILES were read as lines by older versions."""
    kind = SUFFIXES.get(suffix(path))
    return f"{kind}{suffix(path)}" if kind in ("fasta", "smiles") else suffix(path)


def _locate(source: str) -> tuple[Path | None, str | None]:
    """(path, split) of a local source, (None, None) for a Hub id."""
    if not source:
        raise UserError("the data source is empty: name a file, a saved datasets folder or a Hub id")
    if is_url(source):
        return local_copy(source), None
    if Path(source).exists():
        if not (Path(source).is_file() or Path(source).is_dir()):
            raise UserError(
                f"{source} is a pipe, which is read once: give it by --corpus, or write it into a file"
            )
        return Path(source), None
    folder, _, split = source.rpartition("@")
    if folder and Path(folder).is_dir():
        return Path(folder), split
    if _HUB_ID.fullmatch(source) and Path(source).suffix.lower() not in (*SUFFIXES, *PACKED):
        return None, None
    raise UserError(f"no data at {source}: give a file, a folder saved by datasets, or a Hub id owner/name")


def _is_table(source: str, options: ReadOptions) -> bool:
    if is_url(source) and (named := options.format or SUFFIXES.get(suffix(source))):
        return named in TABLES  # nothing need be fetched
    path, split = _locate(source)
    if path is None or is_saved(path):
        return True
    files = _files_in(path, split or "train") if path.is_dir() else [path]
    return any((options.format or format_of(file, options)) in TABLES for file in files)


def _read(source: str, options: ReadOptions, split: str) -> Iterator[Example]:
    path, named = _locate(source)
    if is_url(source):
        yield from _read_copy(source, path, options)
    elif path is None or is_saved(path):
        yield from _read_dataset(source, options, split)
    elif path.is_dir():
        for file in _files_in(path, named or split):
            yield from read_file(file, options)
    else:
        yield from read_file(path, options)


def _read_copy(url: str, path: Path | None, options: ReadOptions) -> Iterator[Example]:
    """The rows of the copy of a file, which messages name by its URL."""
    assert path is not None
    named = replace(options, note=lambda line: options.note(line.replace(str(path), url)))
    try:
        yield from read_file(path, named)
    except UserError as error:
        raise UserError(str(error).replace(str(path), url)) from None


def _files_in(folder: Path, split: str) -> list[Path]:
    """The text files of a folder that belong to a split, sorted by name.

    Raises:
        UserError: a folder without text files, or without that split.
    """
    parts = _by_part(folder)
    part = next((part for part, names in _PARTS.items() if split in names), split)
    if part not in parts:
        raise UserError(f"{folder} has no split {split!r}: {suggest(split, parts)}")
    return parts[part]


def _by_part(folder: Path) -> dict[str, list[Path]]:
    """Text files by the split with which their own or their folder's name begins; others are for training.

    If some files are named after training, files without a split's name belong to no split.
    """
    files = [p for p in sorted(folder.rglob("*")) if suffix(p) in SUFFIXES and p.is_file()]
    files = [p for p in files if not any(part.startswith(".") for part in p.relative_to(folder).parts)]
    if not files:
        known = ", ".join(SUFFIXES)
        raise UserError(f"{folder} is a folder without text files ({known}), and `datasets` did not save it")
    parts: dict[str, list[Path]] = {}
    for path in files:
        parts.setdefault(_part_of(path.relative_to(folder)), []).append(path)
    others = parts.pop("", [])
    return parts if "train" in parts or not others else {"train": others, **parts}


def _part_of(path: Path) -> str:
    for name in (path.name, *path.parts[:-1]):
        first = re.split(r"[^a-z]", name.lower(), maxsplit=1)[0]
        for part, names in _PARTS.items():
            if first in names:
                return part
    return ""


def _read_dataset(source: str, options: ReadOptions, split: str) -> Iterator[Example]:
    dataset = _dataset(source, split)
    names = find_columns(dataset.column_names, options, source)
    for number, row in enumerate(dataset.select_columns(list(dict.fromkeys(names.values())))):
        yield to_example(row, names, options, f"{source}, row {number}")


def _dataset(source: str, split: str) -> Any:
    """Load a `datasets.Dataset`; a split named in the source overrides `split`."""
    return load_split(source, _locate(source)[0], split)
