"""One text file of any format to examples: lines, JSON lines, tables and Parquet."""

from __future__ import annotations

import csv
import gzip
import json
import math
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from seqvae.errors import UserError, suggest

JSON = (".jsonl", ".ndjson", ".json")
TABLES = (".csv", ".tsv")
Value = float | str | None  # a number, a category's name, or missing


class Example(NamedTuple):
    """One text with the values of the label columns that were asked for."""

    text: str
    labels: tuple[Value, ...] = ()


def suffix(path: Path) -> str:
    """The format by name, `.gz` aside."""
    name = path.name.lower().removesuffix(".gz")
    return Path(name).suffix


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


def read_lines(path: Path) -> Iterator[Example]:
    """A sentence a line, blank lines too."""
    for line in _lines(path):
        yield Example(line.strip())


def read_json(path: Path, column: str, labels: tuple[str, ...]) -> Iterator[Example]:
    """A JSON object a line.

    Raises:
        UserError: the file cannot be read, is no text or no JSON, or lacks a column.
    """
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
            check_columns(list(row), (column, *labels), where)
            first = False
        yield _whole(to_example(row, column, labels, where))


def _whole(example: Example) -> Example:
    """Without half surrogate pairs, which JSON can write and no text can hold."""
    if example.text.isascii():
        return example
    return example._replace(text=example.text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def read_table(path: Path, column: str, labels: tuple[str, ...]) -> Iterator[Example]:
    """Rows under a header, split at commas or, in a `.tsv`, at tabs.

    Raises:
        UserError: the file cannot be read, is no text or no table, or lacks a column.
    """
    tabs = suffix(path) == ".tsv"
    rows = csv.reader(
        _lines(path),
        delimiter="\t" if tabs else ",",
        quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL,
    )
    try:
        header = next(rows, [])
        if header:
            check_columns(header, (column, *labels), str(path))
        for row in rows:
            if not row:
                continue
            where = f"{path}, line {rows.line_num}"
            if len(row) != len(header):
                raise UserError(f"{where} has {len(row)} fields, the header {len(header)}: mend or quote it")
            yield to_example(dict(zip(header, row, strict=True)), column, labels, where)
    except csv.Error as error:
        raise UserError(f"{path}, line {rows.line_num} is not a table row ({error}): mend it") from None


def read_parquet(path: Path, column: str, labels: tuple[str, ...]) -> Iterator[Example]:
    """Rows of a Parquet file, batch by batch.

    Raises:
        UserError: the file is damaged, or lacks a column.
    """
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
    check_columns(names, (column, *labels), str(path))
    for batch in file.iter_batches(columns=[column, *labels]):
        for row in batch.to_pylist():
            yield to_example(row, column, labels, str(path))


def check_columns(names: Sequence[str], wanted: Sequence[str], where: str) -> None:
    """Refuse a column that is not there, the texts' first; `where` opens the message."""
    for name in wanted:
        if name not in names:
            chosen = "data.text_column" if name == wanted[0] else "data.labels"
            raise UserError(f"{where} has no column {name!r}: {suggest(name, names)}; {chosen} names it")


def to_example(row: dict[str, Any], column: str, labels: tuple[str, ...], where: str) -> Example:
    """The text and the labels of one row; `where` opens the messages.

    Raises:
        UserError: a column that is missing, a text that is none, or a label that is neither number nor name.
    """
    if column not in row:
        check_columns(list(row), [column], where)
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
