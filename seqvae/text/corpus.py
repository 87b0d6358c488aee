"""Reads texts and labels from files, saved datasets and the Hub, one example at a time."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import math
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from seqvae.registry import UserError, suggest

Value = float | str | None  # a number, a category's name, or missing


class Example(NamedTuple):
    """One text with the values of the label columns that were asked for."""

    text: str
    labels: tuple[Value, ...] = ()


_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(:[\w.-]+)?(@[\w.-]+)?")
_JSON = (".jsonl", ".ndjson", ".json")
_TABLES = (".csv", ".tsv")
_SUFFIXES = (*_JSON, *_TABLES, ".parquet", ".txt", ".gz")
_HELDOUT = {"valid": ("validation", "valid", "dev", "val"), "test": ("test",)}


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
    return not Path(source).is_file() or _suffix(Path(source)) in (*_JSON, *_TABLES, ".parquet")


def heldout_source(source: str, split: str) -> str | None:
    """The validation or test part (`split` is valid or test) that a dataset of several splits brings."""
    if Path(source).is_file() or "@" in source:
        return None
    names = _split_names(source)
    found = [name for name in _HELDOUT[split] if name in names]
    return f"{source}@{found[0]}" if found else None


def content_hash(source: str, remember: Callable[[Path], str] | None = None) -> str:
    """A hash of what `source` holds; `remember` may answer for one file without reading it."""
    hashed = remember or file_hash
    path, split = _located(source)
    if path is None:
        return f"hub:{source}:{_dataset(source, 'train')._fingerprint}"
    if path.is_file():
        return f"{_suffix(path)}:{hashed(path)}"
    files = sorted(p for p in path.rglob("*") if p.is_file())
    return f"folder:{split}:" + ",".join(f"{p.relative_to(path)}={hashed(p)}" for p in files)


def file_hash(path: Path) -> str:
    """A hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _located(source: str) -> tuple[Path | None, str | None]:
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


def _suffix(path: Path) -> str:
    """The format by name, `.gz` aside."""
    name = path.name.lower().removesuffix(".gz")
    return Path(name).suffix


def _reader(source: str, column: str, labels: tuple[str, ...], split: str) -> Iterator[Example]:
    path, _ = _located(source)
    if path is None or path.is_dir():
        return _read_dataset(source, column, labels, split)
    suffix = _suffix(path)
    if suffix == ".parquet":
        return _read_parquet(path, column, labels)
    if suffix in _JSON:
        return _read_json(path, column, labels)
    if suffix in _TABLES:
        return _read_table(path, column, labels)
    if labels:
        raise UserError(f"{source} is plain text and has no columns: labels {', '.join(labels)} need a table")
    return _read_lines(path)


def _open(path: Path) -> IO[bytes]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): check the path and its rights") from None
    if file.read(2) != b"\x1f\x8b":
        file.seek(0)
        return file
    file.close()
    return gzip.open(path)  # type: ignore[return-value]


def _lines(path: Path) -> Iterator[str]:
    """Decoded lines with their ends; a byte that is no text is an error that says where."""
    number = 0
    try:
        with _open(path) as file:
            for number, raw in enumerate(file, 1):
                if number == 1 and raw.startswith(b"\xef\xbb\xbf"):
                    raw = raw[3:]
                if b"\0" in raw:
                    raise UserError(_not_text(path, 0, number))
                yield raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(_not_text(path, error.object[error.start], number)) from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path} is a damaged gzip file ({error}): fetch or pack it again") from None


def _not_text(path: Path, byte: int, line: int) -> str:
    return f"{path} is not a text file (byte 0x{byte:02x} at line {line}): give UTF-8 text"


def _read_lines(path: Path) -> Iterator[Example]:
    for line in _lines(path):
        yield Example(line.strip())


def _read_json(path: Path, column: str, labels: tuple[str, ...]) -> Iterator[Example]:
    first = True
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except ValueError:
            raise UserError(f"{where} is not JSON ({line.strip()[:40]!r}): write one object a line") from None
        if not isinstance(row, dict):
            raise UserError(f"{where} is {line.strip()[:40]!r}, not a JSON object: write one object a line")
        if first:  # later rows may lack a label
            _check_columns(list(row), (column, *labels), where)
            first = False
        yield _whole(_example(row, column, labels, where))


def _whole(example: Example) -> Example:
    """Without half surrogate pairs, which JSON can write and no text can hold."""
    if example.text.isascii():
        return example
    return example._replace(text=example.text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def _read_table(path: Path, column: str, labels: tuple[str, ...]) -> Iterator[Example]:
    tabs = _suffix(path) == ".tsv"
    rows = csv.reader(
        _lines(path),
        delimiter="\t" if tabs else ",",
        quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL,
    )
    try:
        header = next(rows, [])
        if header:
            _check_columns(header, (column, *labels), str(path))
        for row in rows:
            if not row:
                continue
            where = f"{path}, line {rows.line_num}"
            if len(row) != len(header):
                raise UserError(f"{where} has {len(row)} fields, the header {len(header)}: mend or quote it")
            yield _example(dict(zip(header, row, strict=True)), column, labels, where)
    except csv.Error as error:
        raise UserError(f"{path}, line {rows.line_num} is not a table row ({error}): mend it") from None


def _read_parquet(path: Path, column: str, labels: tuple[str, ...]) -> Iterator[Example]:
    from pyarrow import ArrowInvalid
    from pyarrow.parquet import ParquetFile

    try:
        file = ParquetFile(path)
    except ArrowInvalid as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{path} is not a Parquet file ({reason}): give one, or name it by its format"
        ) from None
    names = file.schema_arrow.names
    _check_columns(names, (column, *labels), str(path))
    for batch in file.iter_batches(columns=[column, *labels]):
        for row in batch.to_pylist():
            yield _example(row, column, labels, str(path))


def _read_dataset(source: str, column: str, labels: tuple[str, ...], split: str) -> Iterator[Example]:
    dataset = _dataset(source, split)
    _check_columns(dataset.column_names, (column, *labels), source)
    for row in dataset.select_columns([column, *labels]):
        yield _example(row, column, labels, source)


def _dataset(source: str, split: str) -> Any:
    """A `datasets.Dataset`; a split named in the source goes before `split`."""
    import datasets

    path, named = _located(source)
    if path is not None:
        whole = _asked(source, lambda: datasets.load_from_disk(str(path)))
        if not isinstance(whole, datasets.DatasetDict):
            return whole
        wanted = named or split
        if wanted not in whole:
            raise UserError(f"{path} has no split {wanted!r}: {suggest(wanted, whole)}")
        return whole[wanted]
    name, _, wanted = source.partition("@")
    repository, _, config = name.partition(":")
    return _asked(source, lambda: datasets.load_dataset(repository, config or None, split=wanted or split))


def _split_names(source: str) -> list[str]:
    import datasets

    path, _ = _located(source)
    if path is not None:
        whole = _asked(source, lambda: datasets.load_from_disk(str(path)))
        return list(whole) if isinstance(whole, datasets.DatasetDict) else []
    repository, _, config = source.partition(":")
    return list(_asked(source, lambda: datasets.get_dataset_split_names(repository, config or None)))


def _asked(source: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except Exception as error:  # network, rights, formats: each library has its own
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        what = "as a saved datasets folder" if Path(source.partition("@")[0]).is_dir() else "from the Hub"
        raise UserError(
            f"{source} cannot be loaded {what} ({reason}): check the name and the network"
        ) from None


def _check_columns(names: Sequence[str], wanted: Sequence[str], where: str) -> None:
    for name in wanted:
        if name not in names:
            raise UserError(f"{where} has no column {name!r}: {suggest(name, names)}")


def _example(row: dict[str, Any], column: str, labels: tuple[str, ...], where: str) -> Example:
    if column not in row:
        _check_columns(list(row), [column], where)
    text = row[column]
    if not isinstance(text, str | None):
        raise UserError(
            f"{where}: column {column!r} holds {text!r}, not text: name the column with the texts"
        )
    return Example((text or "").strip(), tuple(_value(row, name, where) for name in labels))


def _value(row: dict[str, Any], name: str, where: str) -> Value:
    value = row.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, int | float):
        return None if math.isnan(value) else float(value)
    if not isinstance(value, str):
        raise UserError(
            f"{where}: label {name!r} is {value!r}: labels are numbers or the names of categories"
        )
    return _number(value)


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
