"""Results go to stdout and nothing else does."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import typer


def emit_json(value: Any) -> None:
    """One JSON document on stdout."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


def emit_lines(lines: Iterable[str]) -> None:
    """Lines on stdout."""
    for line in lines:
        typer.echo(line)


def emit_table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Columns as wide as they must be, on stdout."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, tuple("-" * w for w in widths), *rows):
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
