"""Strict parsing of delimited tables (CSV, TSV ...), with detection of delimiter and quoting."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from seqvae.errors import UserError

Quotes = Literal["double", "backslash", "none"]
Line = tuple[int, str]  # line number and text
Row = tuple[int, list[str]]  # first line number, and fields
DELIMITERS = (",", ";", "\t", "|")
_SAMPLE_ROWS, _SAMPLE_CHARACTERS = 1000, 1 << 20
_CUT_WITHIN = 50  # lines: a quote that opens so near to the end of the sample may be closed after it
_SEPARATOR = re.compile(r'"?sep=(.)"?', re.IGNORECASE)  # first line of files written by Excel
_NAMES = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars"}
_ESCAPED = re.compile(r'\\(["\\])')


class Dialect(NamedTuple):
    """How lines are split into fields.

    A quote inside a quoted field is doubled (`double`, RFC 4180) or escaped (`backslash`), or there are no
    quoted fields and quotes are text (`none`). With `skip_spaces`, spaces may precede a quoted field. With
    `undecided`, the sample has no quoted field, so a later field that begins with a quote is an error.
    """

    delimiter: str = ","
    quotes: Quotes = "double"
    skip_spaces: bool = False
    undecided: bool = False

    @property
    def words(self) -> str:
        """Description for notes."""
        split = f"fields end at {_NAMES.get(self.delimiter, repr(self.delimiter))}"
        quoted = {
            "double": "",
            "backslash": ', quotes in them are escaped as \\"',
            "none": ", quotes are text",
        }
        return (
            split + quoted[self.quotes] + (", spaces before a quote are skipped" if self.skip_spaces else "")
        )


class Table(NamedTuple):
    """A table that is read row by row: header, rows, and dialect."""

    header: list[str]
    rows: Iterator[Row]
    dialect: Dialect


class _MalformedError(ValueError):
    """A malformed quoted field: the line where it opens, and the problem."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line, self.what = line, what


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
    rows = _strict(_rows(numbered, dialect, guard=quotes is None), where)
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
        return next(_rows(iter(sample), dialect, guard=False), (1, []))[1]
    except _MalformedError:
        return []


def _fits(sample: list[Line], cut: bool, dialect: Dialect, guard: bool) -> list[str] | None:
    """The header if all rows of the sample are well-formed (the last may be `cut`), else None."""
    header: list[str] | None = None
    try:
        for _, fields in _rows(iter(sample), dialect, guard):
            if header is None:
                header = fields
            elif len(fields) != len(header) and fields != [""]:
                return None
    except _MalformedError as error:
        near = cut and error.line > sample[-1][0] - _CUT_WITHIN
        return header if near and error.what == _OPEN else None
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
    except _MalformedError as error:
        raise UserError(
            f'{where}, line {error.line}: {error.what}: close it, write a quote inside as "", or name the '
            "convention (--quotes double, backslash or none; data.quotes)"
        ) from None


def _rows(numbered: Iterator[Line], dialect: Dialect, guard: bool) -> Iterator[Row]:
    """Rows with any number of fields; with `guard`, a quoted field that spans whole rows is an error."""
    escapes = dialect.quotes == "backslash"
    plain = dialect.quotes == "none" and not dialect.undecided
    taken: list[str] = []  # further lines of a quoted field
    more = _record(numbered, taken)
    width = 0
    for number, line in numbered:
        if plain or ('"' not in line and not (escapes and "\\" in line)):
            fields = line.split(dialect.delimiter)
        elif dialect.undecided:
            fields = _undecided(number, line, dialect)
        else:
            taken.clear()
            fields = list(_fields(number, line, more, dialect))
            lines = [line, *taken]
            if guard and len(lines) > 2 and all(len(x.split(dialect.delimiter)) == width > 1 for x in lines):
                raise _MalformedError(
                    number, f"a quoted field goes on over {len(lines)} lines that look like rows"
                )
        width = width or len(fields)
        yield number, fields


def _record(numbered: Iterator[Line], taken: list[str]) -> Iterator[Line]:
    for number, line in numbered:
        taken.append(line)
        yield number, line


def _undecided(number: int, line: str, dialect: Dialect) -> list[str]:
    fields = line.split(dialect.delimiter)
    if any(field.startswith('"') for field in fields):
        raise _MalformedError(number, "a field begins with a quote, and none did before")
    return fields


_OPEN = "a quote opens a field here and nothing closes it"


def _fields(number: int, line: str, more: Iterator[Line], dialect: Dialect) -> Iterator[str]:
    """The fields of a row with quotes; a quoted field may continue on lines from `more`."""
    at, delimiter = 0, dialect.delimiter
    while True:
        start = at
        if dialect.skip_spaces:
            start += len(line) - at - len(line[at:].lstrip(" "))
        if line.startswith('"', start):
            value, line, at = _parse_quoted(number, line, start + 1, more, dialect)
            yield value
        else:
            end = _unquoted_end(line, at, dialect)
            yield _unescape(line[at:end]) if dialect.quotes == "backslash" else line[at:end]
            at = end
        if at >= len(line):
            return
        if not line.startswith(delimiter, at):
            raise _MalformedError(number, f"a quoted field is followed by {line[at : at + 20]!r}")
        at += len(delimiter)
        if at == len(line):
            yield ""
            return


def _unquoted_end(line: str, at: int, dialect: Dialect) -> int:
    """The end of an unquoted field: the next delimiter that is not escaped."""
    end = line.find(dialect.delimiter, at)
    while dialect.quotes == "backslash" and end > 0 and _is_escaped(line, end):
        end = line.find(dialect.delimiter, end + 1)
    return len(line) if end < 0 else end


def _is_escaped(line: str, at: int) -> bool:
    before = line[:at]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1


def _parse_quoted(
    number: int, line: str, at: int, more: Iterator[Line], dialect: Dialect
) -> tuple[str, str, int]:
    """The value of a quoted field, the line on which it ends, and the position after its closing quote."""
    parts: list[str] = []
    while True:
        end = line.find('"', at)
        while end >= 0:
            if dialect.quotes == "backslash" and _is_escaped(line, end):
                end = line.find('"', end + 1)
            elif line.startswith('""', end):
                end = line.find('"', end + 2)
            else:
                break
        parts.append(line[at:] if end < 0 else line[at:end])
        if end >= 0:
            value = "\n".join(parts).replace('""', '"')
            after = end + 1
            after += (len(line) - after - len(line[after:].lstrip(" "))) if dialect.skip_spaces else 0
            return _unescape(value) if dialect.quotes == "backslash" else value, line, after
        try:
            _, line = next(more)
        except StopIteration:
            raise _MalformedError(number, _OPEN) from None
        at = 0


def _unescape(text: str) -> str:
    r"""Replace `\"` and `\\`; other backslashes are unchanged."""
    return _ESCAPED.sub(r"\1", text)
