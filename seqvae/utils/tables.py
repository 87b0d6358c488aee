"""Tables as aligned text and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

Row = Sequence[str]


def align_columns(head: Row, rows: Sequence[Row]) -> Iterator[str]:
    """Lines of a table with aligned columns."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, ["-" * w for w in widths], *rows):
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def markdown_table(head: Row, rows: Sequence[Row]) -> Iterator[str]:
    """Lines of a Markdown table; `|` inside a cell is escaped."""
    for row in (head, ["---"] * len(head), *rows):
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
