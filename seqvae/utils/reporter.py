"""Where progress goes: the protocol of reporters, and one that stays silent."""

from __future__ import annotations

from typing import Any, Protocol


class Reporter(Protocol):
    """Somebody who is told how a run goes."""

    def note(self, text: str) -> None:
        """A plain fact."""
        ...

    def warn(self, text: str) -> None:
        """Something to act on."""
        ...

    def advance(self, done: int, total: int, what: str) -> None:
        """How far, and the numbers of the moment."""
        ...

    def close(self) -> None:
        """No more progress."""
        ...


class Silent:
    """Tells nobody."""

    def note(self, text: str) -> None:
        """Nothing."""

    def warn(self, text: str) -> None:
        """Nothing."""

    def advance(self, done: int, total: int, what: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def format_numbers(values: dict[str, Any]) -> str:
    """`rate 4.1  distortion 98.2`: the numbers of a dict in a line."""
    kept = {k: v for k, v in values.items() if isinstance(v, int | float)}
    return "  ".join(f"{k} {_format_number(v)}" for k, v in kept.items())


def _format_number(value: float) -> str:
    return f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 1000 else f"{value:.4g}"
