"""JSON rows: one value per line, or one array whose members are the rows."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from seqvae.errors import UserError

Row = tuple[int, Any]  # first line number, and value
_SPACE = " \t\r\n"
_VISIBLE = re.compile(r"[^ \t\r\n]")
_MISSING = object()
_DECODER = json.JSONDecoder(parse_int=lambda digits: int(digits) if len(digits) < 300 else float(digits))


def read_json_values(lines: Iterable[str], where: str) -> Iterator[Row]:
    """The line number and value of each row; blank lines are skipped. `where` is the source in errors.

    Raises:
        UserError: a line or a member of the array that is not JSON, or is nested too deeply.
    """
    numbered = iter(enumerate(lines, 1))
    first = next(((number, line) for number, line in numbered if line.strip(_SPACE)), None)
    if first is not None and first[1].lstrip(_SPACE).startswith("["):
        yield from _Array(first, numbered, where).members()
        return
    for number, line in itertools.chain([first] if first else [], numbered):
        text = line.strip(_SPACE)
        if not text:
            continue
        value, end, _ = _decode(text)
        if value is _MISSING or end < len(text):
            raise _not_json(where, number, text)
        yield number, value


def _decode(text: str, at: int = 0) -> tuple[Any, int, bool]:
    """The value that begins at `at`, its end, and whether it may be completed by more text."""
    try:
        value, end = _DECODER.raw_decode(text, at)
    except json.JSONDecodeError as error:
        return _MISSING, at, error.pos >= len(text.rstrip(_SPACE))
    except RecursionError:
        return _MISSING, at, False
    return value, end, False


class _Array:
    """An array that is read member by member, with only the lines of the current member in memory."""

    def __init__(self, first: tuple[int, str], more: Iterator[tuple[int, str]], where: str) -> None:
        self.line, self.text = first
        self.at = self.text.index("[") + 1  # position of the next character to parse
        self.more, self.where = more, where

    def members(self) -> Iterator[Row]:
        """The members with their first line numbers."""
        if self._next_sign() != "]":
            yield self._member()
            while (sign := self._next_sign()) != "]":
                if sign != ",":
                    raise self._not_json()
                self._advance(self.at + 1)
                self._next_sign()
                yield self._member()
        self._check_end()

    def _member(self) -> Row:
        lines = 1
        while True:
            value, end, incomplete = _decode(self.text, self.at)
            if value is not _MISSING:
                line = self.line
                self._advance(end)
                return line, value
            if not incomplete or not self._read(lines):
                raise self._not_json()
            lines *= 2  # doubling: else a member of n lines is parsed n times

    def _read(self, lines: int) -> bool:
        """Append up to `lines` lines; False at the end of the file."""
        found = [line for _, line in itertools.islice(self.more, lines)]
        self.text, self.at = "\n".join([self.text[self.at :], *found]), 0
        return bool(found)

    def _advance(self, end: int) -> None:
        self.line += self.text.count("\n", self.at, end)
        self.at = end

    def _next_sign(self) -> str:
        """The next character that is not white space, without consuming it."""
        while True:
            found = _VISIBLE.search(self.text, self.at)
            self._advance(found.start() if found else len(self.text))
            if found:
                return found[0]
            if not self._read(1):
                raise UserError(
                    f"{self.where}, line {self.line}: the array is not closed: fetch the file again"
                )

    def _check_end(self) -> None:
        for text in itertools.chain([self.text[self.at + 1 :]], (line for _, line in self.more)):
            if behind := text.strip(_SPACE):
                raise UserError(
                    f"{self.where} continues after its array ({behind[:40]!r}): write one array, or one "
                    "object a line"
                )

    def _not_json(self) -> UserError:
        return _not_json(self.where, self.line, self.text[self.at : self.at + 80])


def _not_json(where: str, line: int, text: str) -> UserError:
    shown = text.strip(_SPACE)[:40]
    return UserError(f"{where}, line {line} is not JSON ({shown!r}): write one object a line")
