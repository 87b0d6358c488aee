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
