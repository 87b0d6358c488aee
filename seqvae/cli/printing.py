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


def format_value(value: object) -> str:
    """A measure for people: four digits, nothing for None, the parts of lists and mappings side by side."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, list):
        return " ".join(format_value(v) for v in value)
    if isinstance(value, dict):
        return "  ".join(f"{k} {format_value(v)}" for k, v in value.items())
    return str(value)
