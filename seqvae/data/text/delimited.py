"""Tables as text (CSV, TSV and their relatives): strict rows, and a dialect that is recognised or named."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from seqvae.errors import UserError

Quotes = Literal["double", "backslash", "none"]
Line = tuple[int, str]  # its number, and it
Row = tuple[int, list[str]]  # the line on which it begins, and its fields
DELIMITERS = (",", ";", "\t", "|")
_SAMPLE_ROWS, _SAMPLE_CHARACTERS = 1000, 1 << 20
_CUT_WITHIN = 50  # lines from the end of a sample: a quote that opens there may well be closed behind it
_SEPARATOR = re.compile(r'"?sep=(.)"?', re.IGNORECASE)  # the first line of a file that Excel wrote
_NAMES = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars"}
_ESCAPED = re.compile(r'\\(["\\])')


class Dialect(NamedTuple):
    """How a line falls into fields.

    `quotes` inside a quoted field are written twice (`double`, RFC 4180), behind a backslash (`backslash`),
    or there are no quoted fields and quotes are text (`none`). With `skip_spaces` spaces may stand before a
    quoted field. With `undecided` nothing said yet whether fields are quoted: the first that begins with a
    quote is refused.
    """

    delimiter: str = ","
    quotes: Quotes = "double"
    skip_spaces: bool = False
    undecided: bool = False

    @property
    def words(self) -> str:
        """In plain words."""
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
    """A table that is read row by row: its header, and the rows below."""

    header: list[str]
    rows: Iterator[Row]
    dialect: Dialect


class _MalformedError(ValueError):
    """A quoted field that is not closed as it must be: the line where it opens, and what is wrong."""

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
    """The header and the rows of a table, of which every row has as many fields as the header.

    A first line `sep=;` names the delimiter. Otherwise, where `delimiter` or `quotes` is not given, it is the
    first of the `usual` delimiters, and the first convention, under which the first rows are well-formed and
    the header has the columns `wanted`. Blank lines are left out, unless the table has one column.

    Raises:
        UserError: while rows are read, one that is malformed or has more or fewer fields than the header,
            with its line.
    """
    numbered: Iterator[Line] = iter(enumerate(lines, 1))
    first = next(numbered, None)
    named = _SEPARATOR.fullmatch(first[1]) if first else None
    if first and not named:
        numbered = itertools.chain([first], numbered)
    sample, cut, numbered = _sampled(numbered)
    chosen = delimiter or (named[1] if named else None)
    dialect = _recognised(sample, cut, wanted, [chosen] if chosen else usual, quotes)
    rows = _strict(_rows(numbered, dialect, guard=quotes is None), where)
    header = next(rows, (1, []))[1]
    return Table(header, _full(rows, len(header), where), dialect)


def _sampled(numbered: Iterator[Line]) -> tuple[list[Line], bool, Iterator[Line]]:
    """The first lines, whether there may be more, and all of them."""
    sample: list[Line] = []
    size = 0
    for line in itertools.islice(numbered, _SAMPLE_ROWS):
        sample.append(line)
        size += len(line[1])
        if size > _SAMPLE_CHARACTERS:
            break
    cut = len(sample) == _SAMPLE_ROWS or size > _SAMPLE_CHARACTERS
    return sample, cut, itertools.chain(sample, numbered)


def _recognised(
    sample: list[Line], cut: bool, wanted: Sequence[str], delimiters: Sequence[str], quotes: Quotes | None
) -> Dialect:
    """The first dialect that fits the sample; the nearest to one where none does, to say what is wrong."""
    dialects = [d for delimiter in delimiters for d in _dialects(delimiter, quotes, sample)]
    for dialect in dialects:
        header = _fits(sample, cut, dialect, guard=quotes is None)
        if header is not None and set(wanted) <= set(header):
            return dialect
    likely = [d for d in dialects if set(wanted) <= set(_header(sample, d))] or dialects
    return max(likely, key=lambda dialect: len(_header(sample, dialect)))


def _dialects(delimiter: str, quotes: Quotes | None, sample: list[Line]) -> list[Dialect]:
    """Those to try with a delimiter; tables that tabs split often have quotes that are text."""
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
    """The header, where all rows of the sample are well-formed; the last may be `cut`."""
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
    """Rows of any number of fields; with `guard` also a quoted field that swallows whole rows is refused."""
    special = '"\\' if dialect.quotes == "backslash" else '"'
    plain = dialect.quotes == "none" and not dialect.undecided
    taken: list[str] = []  # the lines that a quoted field went on over
    more = _recorded(numbered, taken)
    width = 0
    for number, line in numbered:
        if plain or not any(c in line for c in special):
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


def _recorded(numbered: Iterator[Line], taken: list[str]) -> Iterator[Line]:
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
    """The fields of a row that has quotes; a quoted one may go on over lines, taken from `more`."""
    at, delimiter = 0, dialect.delimiter
    while True:
        start = at
        if dialect.skip_spaces:
            start += len(line) - at - len(line[at:].lstrip(" "))
        if line.startswith('"', start):
            value, line, at = _quoted(number, line, start + 1, more, dialect)
            yield value
        else:
            end = _unquoted_end(line, at, dialect)
            yield _unescaped(line[at:end]) if dialect.quotes == "backslash" else line[at:end]
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
    """Where an unquoted field ends: at the next delimiter that no backslash escapes."""
    end = line.find(dialect.delimiter, at)
    while dialect.quotes == "backslash" and end > 0 and _is_escaped(line, end):
        end = line.find(dialect.delimiter, end + 1)
    return len(line) if end < 0 else end


def _is_escaped(line: str, at: int) -> bool:
    before = line[:at]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1


def _quoted(number: int, line: str, at: int, more: Iterator[Line], dialect: Dialect) -> tuple[str, str, int]:
    """The value of a quoted field, the line that it ends on, and the place behind its closing quote."""
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
            return _unescaped(value) if dialect.quotes == "backslash" else value, line, after
        try:
            _, line = next(more)
        except StopIteration:
            raise _MalformedError(number, _OPEN) from None
        at = 0


def _unescaped(text: str) -> str:
    r"""`\"` and `\\` as what they say; a backslash before anything else is itself."""
    return _ESCAPED.sub(r"\1", text)
