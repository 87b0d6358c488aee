"""The protocol of progress reporters, and a reporter that does nothing."""

from __future__ import annotations

from typing import Any, Protocol


class Reporter(Protocol):
    """Receives the messages and the progress of a run."""

    def note(self, text: str) -> None:
        """Report a fact."""
        ...

    def warn(self, text: str) -> None:
        """Report a problem that the user should act on."""
        ...

    def advance(self, done: int, total: int, what: str) -> None:
        """Report that `done` of `total` units are done; `what` describes the current state."""
        ...

    def close(self) -> None:
        """End the progress display."""
        ...


class Silent:
    """A reporter that ignores everything."""

    def note(self, text: str) -> None:
        """Do nothing."""

    def warn(self, text: str) -> None:
        """Do nothing."""

    def advance(self, done: int, total: int, what: str) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def format_numbers(values: dict[str, Any]) -> str:
    """The numbers of a dict as one line, `rate 4.1  distortion 98.2`."""
    kept = {k: v for k, v in values.items() if isinstance(v, int | float)}
    return "  ".join(f"{k} {_format_number(v)}" for k, v in kept.items())


def _format_number(value: float) -> str:
    return f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 1000 else f"{value:.4g}"
