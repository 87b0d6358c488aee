"""What the doctor reports: a finding with its evidence, what to change, and what the change should do."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Evidence:
    """One measured number beside the number that it is compared with."""

    measure: str  # what was measured, in words
    value: float | None
    limit: str = ""  # what a run without this problem has, in words

    def __str__(self) -> str:
        limit = f" ({self.limit})" if self.limit else ""
        return f"{self.measure} {format_number(self.value)}{limit}"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a run.

    Attributes:
        name: of the check, such as `empty_code`.
        problem: what is wrong, one sentence.
        evidence: the measurements that say so, at least two.
        prescription: config lines as `--set` takes them, `key.path=value`; empty where data must be changed.
        advice: what to do besides, or in place of config lines; may be empty.
        effect: what these changes should do.
        compare: keys of the report that should change, shown before and after.
        cause: name of the finding that explains this one; empty where none does.
    """

    name: str
    problem: str
    evidence: tuple[Evidence, ...]
    prescription: tuple[str, ...]
    effect: str
    advice: str = ""
    compare: tuple[str, ...] = ()
    cause: str = ""

    @property
    def line(self) -> str:
        """The finding in one line."""
        return f"{self.problem}: {'; '.join(map(str, self.evidence[:2]))}"

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        return asdict(self) | {"line": self.line}


def format_number(value: float | None) -> str:
    """A number for people: no more digits than are known."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 1000 else f"{value:.3g}"
