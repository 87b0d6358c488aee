"""Delimited tables (CSV, TSV ...): detection of delimiter and quoting, and strict reading of rows."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from seqvae.data.text.delimited_rows import OPEN_QUOTE, Dialect, Line, MalformedError, Quotes, Row, split_rows
from seqvae.errors import UserError

DELIMITERS = (",", ";", "\t", "|")
_SAMPLE_ROWS, _SAMPLE_CHARACTERS = 1000, 1 << 20
_CUT_WITHIN = 50  # lines: a quote that opens so near to the end of the sample may be closed after it
_SEPARATOR = re.compile(r'"?sep=(.)"?', re.IGNORECASE)  # first line of files written by Excel


class Table(NamedTuple):
    """A table that is read row by row: header, rows, and dialect."""

    header: list[str]
    rows: Iterator[Row]
    dialect: Dialect


def read_table_rows(
    lines: Iterable[str],
    where: str,
    wanted: Sequence[str],
    usual: Sequence[str] = DELIMITERS,
    delimiter: str | None = None,
    quotes: Quotes | None = None,
) -> Table:
    """Read a table in which every row has as many fields as the header.

    A first line `sep=;` names the delimiter. Otherwise, if `delimiter` or `quotes` is not given, it is the
    first of the `usual` delimiters and quoting conventions with which the first rows are well-formed and the
    header has the columns `wanted`. Blank lines are skipped, unless the table has one column.

    Raises:
        UserError: while rows are read, one that is malformed or has more or fewer fields than the header,
            with its line.
    """
    numbered: Iterator[Line] = iter(enumerate(lines, 1))
    first = next(numbered, None)
    named = _SEPARATOR.fullmatch(first[1]) if first else None
    if first and not named:
        numbered = itertools.chain([first], numbered)
    sample, cut, numbered = _read_sample(numbered)
    chosen = delimiter or (named[1] if named else None)
    dialect = _recognise(sample, cut, wanted, [chosen] if chosen else usual, quotes)
    rows = _strict(split_rows(numbered, dialect, guard=quotes is None), where)
    header = next(rows, (1, []))[1]
    return Table(header, _full(rows, len(header), where), dialect)


def _read_sample(numbered: Iterator[Line]) -> tuple[list[Line], bool, Iterator[Line]]:
    """The sample of first lines, whether more lines may follow, and an iterator over all lines."""
    sample: list[Line] = []
    size = 0
    for line in itertools.islice(numbered, _SAMPLE_ROWS):
        sample.append(line)
        size += len(line[1])
        if size > _SAMPLE_CHARACTERS:
            break
    cut = len(sample) == _SAMPLE_ROWS or size > _SAMPLE_CHARACTERS
    return sample, cut, itertools.chain(sample, numbered)


def _recognise(
    sample: list[Line], cut: bool, wanted: Sequence[str], delimiters: Sequence[str], quotes: Quotes | None
) -> Dialect:
    """The first dialect that fits the sample; if none does, the nearest, whose errors are then reported."""
    dialects = [d for delimiter in delimiters for d in _dialects(delimiter, quotes, sample)]
    for dialect in dialects:
        header = _fits(sample, cut, dialect, guard=quotes is None)
        if header is not None and set(wanted) <= set(header):
            return dialect
    likely = [d for d in dialects if set(wanted) <= set(_header(sample, d))] or dialects
    return max(likely, key=lambda dialect: len(_header(sample, dialect)))


def _dialects(delimiter: str, quotes: Quotes | None, sample: list[Line]) -> list[Dialect]:
    """Dialects to try for a delimiter; in tab-separated tables quotes are often plain text."""
    if quotes is not None:
        return [Dialect(delimiter, quotes), *([Dialect(delimiter, quotes, True)] if quotes != "none" else [])]
    quoted = [
        Dialect(delimiter, "double"),
        Dialect(delimiter, "double", True),
        Dialect(delimiter, "backslash"),
    ]
    if delimiter != "\t":
        return quoted
    starts = any(field.startswith('"') for _, line in sample for field in line.split("\t"))
    return [*quoted, Dialect("\t", "none")] if starts else [Dialect("\t", "none", undecided=True)]


def _header(sample: list[Line], dialect: Dialect) -> list[str]:
    try:
        return next(split_rows(iter(sample), dialect, guard=False), (1, []))[1]
    except MalformedError:
        return []


def _fits(sample: list[Line], cut: bool, dialect: Dialect, guard: bool) -> list[str] | None:
    """The header if all rows of the sample are well-formed (the last may be `cut`), else None."""
    header: list[str] | None = None
    try:
        for _, fields in split_rows(iter(sample), dialect, guard):
            if header is None:
                header = fields
            elif len(fields) != len(header) and fields != [""]:
                return None
    except MalformedError as error:
        near = cut and error.line > sample[-1][0] - _CUT_WITHIN
        return header if near and error.what == OPEN_QUOTE else None
    return header


def _full(rows: Iterator[Row], width: int, where: str) -> Iterator[Row]:
    for line, fields in rows:
        if fields == [""] and width != 1:
            continue
        if len(fields) != width:
            raise UserError(
                f"{where}, line {line} has {len(fields)} fields, the header {width}: mend or quote it, or "
                "name the dialect (--delimiter, --quotes)"
            )
        yield line, fields


def _strict(rows: Iterator[Row], where: str) -> Iterator[Row]:
    try:
        yield from rows
    except MalformedError as error:
        raise UserError(
            f'{where}, line {error.line}: {error.what}: close it, write a quote inside as "", or name the '
            "convention (--quotes double, backslash or none; data.quotes)"
        ) from None
