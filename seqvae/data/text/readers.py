"""Reading of one text file as examples: lines, JSON, delimited tables and Parquet."""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from seqvae.data.input_files import open_unpacked, suffix
from seqvae.data.text.delimited import DELIMITERS, read_table_rows
from seqvae.data.text.delimited_rows import Quotes
from seqvae.data.text.encodings import read_text_lines
from seqvae.data.text.json_rows import read_json_values
from seqvae.data.text.running_text import (
    read_fasta,
    read_paragraphs,
    read_sentences,
    read_smiles,
    with_hints,
)
from seqvae.data.values import Value, Written, clean_text, typed_value, without_surrogates
from seqvae.errors import UserError, suggest

Format = Literal["lines", "paragraphs", "sentences", "fasta", "smiles", "json", "csv", "tsv", "parquet"]
TABLES: tuple[Format, ...] = ("json", "csv", "tsv", "parquet")  # formats with named columns
Note = Callable[[str], object]
SUFFIXES: dict[str, Format] = {
    ".txt": "lines",
    ".text": "lines",
    ".log": "lines",
    ".fasta": "fasta",
    ".fa": "fasta",
    ".faa": "fasta",
    ".fna": "fasta",
    ".smi": "smiles",
    ".smiles": "smiles",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}
_CONVERT = {
    **dict.fromkeys((".sdf", ".mol"), "holds structures: convert them to SMILES, one per line"),
    **dict.fromkeys((".fastq", ".fq"), "holds reads with qualities: convert it to FASTA"),
}
_HEAD = 1 << 16  # bytes for detecting the format of a file without a known suffix


class Example(NamedTuple):
    """One row of a corpus: text, values of the requested label columns, id, and vector."""

    text: str
    labels: tuple[Value, ...] = ()
    id: Any = None
    vector: Any = None  # (W,) the row of a matrix given with the corpus


@dataclass(frozen=True)
class ReadOptions:
    """How files are read; None means detected from name and content.

    `labels` and `id_column` name columns besides the texts. With `lenient`, an absent label column is missing
    for all rows. `note` is called with a line about every detected setting that is not the default.
    """

    text_column: str = "text"
    labels: tuple[str, ...] = ()
    id_column: str | None = None
    encoding: str | None = None
    delimiter: str | None = None
    quotes: Quotes | None = None
    format: Format | None = None
    lenient: bool = False
    note: Note = lambda line: None

    def __post_init__(self) -> None:
        delimiter = {"tab": "\t", "\\t": "\t"}.get(self.delimiter or "", self.delimiter)
        if delimiter is not None and (not delimiter or set(delimiter) & set('"\\\r\n')):
            raise UserError(f"delimiter got {self.delimiter!r}: give for example ';' or tab")
        object.__setattr__(self, "delimiter", delimiter)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that must exist, the text column first."""
        ids = () if self.id_column is None else (self.id_column,)
        return (self.text_column, *ids, *(() if self.lenient else self.labels))

    @property
    def key(self) -> str:
        """The settings that affect the content, for cache keys; empty if none was chosen."""
        chosen = {k: getattr(self, k) for k in ("encoding", "delimiter", "quotes", "format")}
        return "".join(f"|{k}={v!r}" for k, v in chosen.items() if v is not None)


def read_file(path: Path, options: ReadOptions) -> Iterator[Example]:
    """Iterate over the rows of a file in order, including those with empty texts.

    Raises:
        UserError: the file cannot be read, is damaged, has another format than its name, or lacks a column.
    """
    kind = options.format or format_of(path, options)
    if kind == "parquet":
        return _read_parquet(path, options)
    if kind == "json":
        return _read_json(path, options)
    if kind in ("csv", "tsv"):
        return _read_table(path, options, tabs=kind == "tsv")
    if (options.labels and not options.lenient) or options.id_column is not None:
        names = ", ".join(options.columns[1:])
        raise UserError(
            f"{path} is plain text and has no columns: labels {names} need a table (--format csv reads it as "
            "one)"
        )
    return _read_lines(path, options, kind)


def format_of(path: Path, options: ReadOptions) -> Format:
    """The format by the file's suffix, or by its first bytes if the suffix is unknown.

    Raises:
        UserError: a format that has to be converted first.
    """
    if (advice := _CONVERT.get(suffix(path))) is not None:
        raise UserError(f"{path} {advice}; --format lines reads each line as a text")
    named = SUFFIXES.get(suffix(path))
    if named is not None:
        return named
    with open_unpacked(path) as stream:
        head = stream.read(_HEAD)
    if head.startswith(b"PAR1"):
        return "parquet"
    encoding = "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    lines = head.decode(options.encoding or encoding, "replace").splitlines() or [""]
    found = _recognise(lines[0], options)
    if found != "lines":
        options.note(
            f"{path} is read as {found} by its first line: --format lines (data.format) reads plain lines"
        )
    return found


def _recognise(line: str, options: ReadOptions) -> Format:
    """JSON for an object or an array of objects, a table for a header with all columns, else lines."""
    start = line.lstrip()
    if start.startswith(('{"', '[{"')) or start == "[":
        return "json"
    for delimiter in [options.delimiter] if options.delimiter else DELIMITERS:
        fields = [field.strip(' "') for field in line.split(delimiter)]
        asked = len(options.columns) > 1 or options.delimiter is not None
        if (len(fields) > 1 or asked) and set(options.columns) <= set(fields):
            return "tsv" if delimiter == "\t" else "csv"
    return "lines"


def _read_lines(path: Path, options: ReadOptions, kind: Format) -> Iterator[Example]:
    missing = (None,) * len(options.labels)
    for line in _texts(read_text_lines(path, options.encoding), path, options, kind):
        yield Example(clean_text(line), missing)


def _texts(lines: Iterator[str], path: Path, options: ReadOptions, kind: Format) -> Iterator[str]:
    if kind == "paragraphs":
        return read_paragraphs(lines)
    if kind == "sentences":
        return read_sentences(lines)
    if kind == "fasta":
        return read_fasta(lines, str(path))
    if kind == "smiles":
        return read_smiles(lines, str(path), options.note)
    return lines if options.format == "lines" else with_hints(lines, str(path), options.note)


def _read_json(path: Path, options: ReadOptions) -> Iterator[Example]:
    names: Mapping[str, str] | None = None
    numbers = _NumbersAsText(options)
    for number, row in read_json_values(read_text_lines(path, options.encoding), str(path)):
        where = f"{path}, line {number}"
        if isinstance(row, str) and options.columns == (options.text_column,):
            yield Example(clean_text(row), (None,) * len(options.labels))
            continue
        if not isinstance(row, dict):
            raise UserError(f"{where} is {str(row)[:40]!r}, not a JSON object: write one object a line")
        if names is None:  # later rows may lack a label
            names = find_columns(list(row), options, where)
        yield to_example(numbers.spell(row, names[options.text_column], where), names, options, where)


class _NumbersAsText:
    """Spells a number among the texts of a JSON column (the film `1776`); the first value must be a text."""

    def __init__(self, options: ReadOptions) -> None:
        self.options, self.is_text, self.noted = options, False, False

    def spell(self, row: dict[str, Any], column: str, where: str) -> dict[str, Any]:
        """The row with its text as a string; one note for the first number of the file."""
        value = row.get(column)
        if not self.is_text or isinstance(value, bool) or not isinstance(value, int | float):
            self.is_text = self.is_text or isinstance(value, str)
            return row
        if not self.noted:
            self.options.note(f"{where}: column {column!r} holds the number {value}, read as text")
            self.noted = True
        return {**row, column: str(value)}


def _read_table(path: Path, options: ReadOptions, tabs: bool) -> Iterator[Example]:
    usual = ("\t",) if tabs else DELIMITERS
    lines = read_text_lines(path, options.encoding)
    table = read_table_rows(lines, str(path), options.columns, usual, options.delimiter, options.quotes)
    if not table.header:
        return
    usually = (usual[0], "none" if tabs else "double")
    if (table.dialect.delimiter, table.dialect.quotes) != usually or table.dialect.skip_spaces:
        options.note(f"{path}: {table.dialect.words}")
    names = find_columns(table.header, options, str(path))
    places = {column: table.header.index(column) for column in names.values()}
    for number, fields in table.rows:
        row = {column: Written(fields[place]) for column, place in places.items()}
        yield to_example(row, names, options, f"{path}, line {number}")


def _read_parquet(path: Path, options: ReadOptions) -> Iterator[Example]:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            names = find_columns(file.schema_arrow.names, options, str(path))
            row = 0
            for batch in file.iter_batches(columns=list(dict.fromkeys(names.values()))):
                for values in batch.to_pylist():
                    yield to_example(values, names, options, f"{path}, row {row}")
                    row += 1
    except UserError:
        raise
    except (
        ArrowException,
        OSError,
        ValueError,
        OverflowError,
    ) as error:  # damaged pages, found while reading
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{path} is not a Parquet file ({reason}): give one, or name it by its format"
        ) from None


def find_columns(names: Sequence[str], options: ReadOptions, where: str) -> dict[str, str]:
    """The file's column for each requested one: the same name, or one that is equal in Unicode NFC.

    Raises:
        UserError: a column that is missing or occurs twice.
    """
    found = {}
    for name in (*options.columns, *options.labels):
        if (column := _find(names, name)) is not None:
            found[name] = column
        elif name in options.columns:
            raise _no_column(name, names, options, where)
        else:
            options.note(f"{where} has no column {name!r}: its rows have no such label")
    for column in found.values():
        if names.count(column) > 1:
            raise UserError(f"{where} has two columns {column!r}: rename one of them")
    return found


def _find(names: Sequence[str], wanted: str) -> str | None:
    if wanted in names:
        return wanted
    same = [
        name for name in names if unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", wanted)
    ]
    return same[0] if len(same) == 1 else None


def _no_column(name: str, names: Sequence[str], options: ReadOptions, where: str) -> UserError:
    chosen = "--text-column (data.text_column)" if name == options.text_column else "--label (data.labels)"
    chosen = "--id-column" if name == options.id_column and name != options.text_column else chosen
    return UserError(f"{where} has no column {name!r}: {suggest(name, names)}; {chosen} names it")


def to_example(row: Mapping[str, Any], names: Mapping[str, str], options: ReadOptions, where: str) -> Example:
    """The text, labels and id of one row; `where` is its source in errors.

    Raises:
        UserError: a missing column, a text that is not a string, or a label that is neither number nor name.
    """
    column = names[options.text_column]
    if column not in row:
        raise _no_column(column, list(row), options, where)
    text = row[column]
    if not isinstance(text, str | None):
        shown = f"{text!r}"[:80]
        raise UserError(f"{where}: column {column!r} holds {shown}, not text: name the column with the texts")
    labels = tuple(_label(row.get(names.get(name, name)), name, where) for name in options.labels)
    identity = None if options.id_column is None else row.get(names[options.id_column])
    if isinstance(identity, str):
        identity = without_surrogates(str(identity))
    return Example(clean_text(text or ""), labels, identity)


def _label(value: Any, name: str, where: str) -> Value:
    if isinstance(value, Written):
        return (
            Written(without_surrogates(value)) if value else None
        )  # an empty field of a text table is missing
    return typed_value(value, name, where)
