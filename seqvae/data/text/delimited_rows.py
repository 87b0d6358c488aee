"""Rows of a delimited table in a known dialect: fields, quotes and escapes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

Quotes = Literal["double", "backslash", "none"]
Line = tuple[int, str]  # line number and text
Row = tuple[int, list[str]]  # first line number, and fields
OPEN_QUOTE = "a quote opens a field here and nothing closes it"
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


class MalformedError(ValueError):
    """A malformed quoted field: the line where it opens, and the problem."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line, self.what = line, what


def split_rows(numbered: Iterator[Line], dialect: Dialect, guard: bool) -> Iterator[Row]:
    """Rows with any number of fields; with `guard`, a quoted field that spans whole rows is an error.

    Raises:
        MalformedError: a quoted field that is not closed, or something follows its closing quote.
    """
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
                raise MalformedError(
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
        raise MalformedError(number, "a field begins with a quote, and none did before")
    return fields


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
            raise MalformedError(number, f"a quoted field is followed by {line[at : at + 20]!r}")
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
            raise MalformedError(number, OPEN_QUOTE) from None
        at = 0


def _unescape(text: str) -> str:
    r"""Replace `\"` and `\\`; other backslashes are unchanged."""
    return _ESCAPED.sub(r"\1", text)
