"""Printing of results to stdout: JSON, lines, texts and formatted numbers."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Iterable
from typing import Any

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_ESCAPES = {"\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def emit_json(value: Any) -> None:
    """Print one JSON document; characters that the encoding of stdout may lack are escaped."""
    unicode = (getattr(sys.stdout, "encoding", None) or "").lower().startswith("utf")
    _write(json.dumps(value, ensure_ascii=not unicode, indent=2))


def emit_lines(lines: Iterable[str]) -> None:
    """Print lines; control characters in them are escaped as in JSON."""
    for line in lines:
        _write(escape_controls(line))


def emit_texts(texts: Iterable[str], print0: bool = False) -> None:
    """Print one text per line; with `print0` unescaped, each ended by a null character."""
    if not print0:
        emit_lines(texts)
        return
    for text in texts:
        _write(text, "\0")


def _write(text: str, end: str = "\n") -> None:
    """Write to stdout at once; `typer.echo` would write UTF-8 where ASCII is wanted and drop ANSI codes."""
    print(text, end=end, flush=True)


def escape_controls(text: str) -> str:
    r"""A text in one line: line ends and other control characters as `\n`, `\t`, `\u0085` ..."""
    return _CONTROL.sub(lambda found: _ESCAPES.get(found[0]) or f"\\u{ord(found[0]):04x}", text)


def write_what_can_be_written() -> None:
    """Let stdout and stderr escape characters that their encoding lacks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def format_value(value: object) -> str:
    """A metric for reading: four digits, `-` for None, the parts of lists and mappings in one line."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, list):
        return " ".join(format_value(v) for v in value)
    if isinstance(value, dict):
        return "  ".join(f"{k} {format_value(v)}" for k, v in value.items())
    return str(value)
