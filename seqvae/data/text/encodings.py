"""Strict decoding of files to lines, by byte order mark, by a given encoding, or as UTF-8."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from seqvae.data.input_files import open_unpacked
from seqvae.errors import UserError

_MARKS = (  # longest first: UTF-32's little-endian mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CHUNK = 1 << 20  # bytes
_OTHERS = (  # first bytes of files that are no text, what they are, and what to do
    (b"%PDF", "a PDF", "save its text as a file, one text per line (pdftotext)"),
    (b"{\\rtf", "an RTF document", "save it as plain text"),
    (b"\xd0\xcf\x11\xe0", "an old office document", "save it as plain text"),
    (b"MThd", "a MIDI file", "write its events as tokens, one piece per line"),
    (b"SQLite format 3", "a database", "export a table as CSV"),
    (b"\x93NUMPY", "a numpy array", "write its texts into a file, one per line"),
    (b"PAR1", "a Parquet file", "read it with --format parquet"),
    (b"\x89PNG", "a picture", "name texts"),
    (b"\xff\xd8\xff", "a picture", "name texts"),
    (b"GIF8", "a picture", "name texts"),
    (b"RIFF", "audio or video", "name texts"),
    (b"OggS", "audio or video", "name texts"),
    (b"\x7fELF", "a program", "name texts"),
)


def check_encoding(name: str | None) -> None:
    """Reject an encoding that does not exist or does not encode text.

    Raises:
        UserError: the name is not a text encoding.
    """
    try:
        found = codecs.lookup(name or "utf-8")
    except (LookupError, ValueError):  # ValueError: a null character in it
        raise UserError(f"encoding got {name!r}: give for example utf-8, utf-16, latin-1 or cp1252") from None
    if not found._is_text_encoding:
        raise UserError(f"encoding got {name!r}, which does not encode text: give utf-8, utf-16, latin-1 ...")


def read_text_lines(path: Path, encoding: str | None = None) -> Iterator[str]:
    r"""The lines of a file without their ends (`\n`, `\r\n`, or `\r` in a file without any `\n`).

    A byte order mark determines the encoding and is removed; without one it is `encoding`, or UTF-8.

    Raises:
        UserError: an unknown encoding; a file that cannot be read; bytes that are invalid in the encoding, or
            null characters, with their line number.
    """
    check_encoding(encoding)
    with open_unpacked(path) as stream:
        yield from _without_ends(_decode(stream, encoding, path))


def _decode(stream: IO[bytes], encoding: str | None, path: Path) -> Iterator[str]:
    """Pieces of decoded text, none of them empty."""
    chunk = stream.read(_CHUNK)
    for magic, what, advice in _OTHERS:
        if chunk.startswith(magic):
            raise UserError(f"{path} is {what}, no text file: {advice}")
    mark = next((name for bom, name in _MARKS if chunk.startswith(bom)), None)
    name = mark or encoding or "utf-8"
    decoder, line, first = codecs.getincrementaldecoder(name)(), 1, True
    while True:
        try:
            text, failed = decoder.decode(chunk, not chunk), None
        except UnicodeError as error:
            text, wrong = _before(error, name)
            failed = _not_text(path, wrong, line + text.count("\n"), encoding)
        if "\0" in text:
            raise _not_text(path, 0, line + text[: text.index("\0")].count("\n"), encoding)
        if failed:
            raise failed
        line += text.count("\n")
        if text:
            yield text.removeprefix("\ufeff") if first else text
            first = False
        if not chunk:
            return
        chunk = stream.read(_CHUNK)


def _before(error: UnicodeError, name: str) -> tuple[str, int]:
    """The text before the byte that could not be decoded, and that byte."""
    if not isinstance(error, UnicodeDecodeError):
        return "", 0
    return error.object[: error.start].decode(name, "ignore"), error.object[error.start]


def _without_ends(pieces: Iterator[str]) -> Iterator[str]:
    first = next(pieces, "")
    end = "\r" if "\r" in first.rstrip("\r") and "\n" not in first else "\n"  # line ends of classic Mac OS
    rest: list[str] = []  # pieces of an unfinished line, joined once
    for piece in _chain(first, pieces):
        *lines, last = piece.split(end)
        if lines:
            yield "".join([*rest, lines[0]]).removesuffix("\r")
            for line in lines[1:]:
                yield line.removesuffix("\r")
            rest = []
        rest.append(last)
    if line := "".join(rest):
        yield line.removesuffix("\r")


def _chain(first: str, pieces: Iterator[str]) -> Iterator[str]:
    yield first
    yield from pieces


def _not_text(path: Path, byte: int, line: int, encoding: str | None) -> UserError:
    what = f"byte 0x{byte:02x} at line {line}"
    if encoding:
        return UserError(f"{path} is not {encoding} text ({what}): name another encoding, or mend the file")
    return UserError(
        f"{path} is not a text file ({what}): give UTF-8 text, or name its encoding (--encoding latin-1, "
        "data.encoding)"
    )
