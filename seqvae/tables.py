"""Tables for a terminal and for a README."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

Row = Sequence[str]


def aligned(head: Row, rows: Sequence[Row]) -> Iterator[str]:
    """Lines with columns as wide as they must be."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, ["-" * w for w in widths], *rows):
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def markdown(head: Row, rows: Sequence[Row]) -> Iterator[str]:
    """The lines of a Markdown table; a `|` inside a cell does not end it."""
    for row in (head, ["---"] * len(head), *rows):
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
