"""All checks, and which finding explains which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from seqvae.analysis.doctor.checks import (
    duplicates,
    empty_code,
    holes,
    length_only,
    narrow_posterior,
    overtrained,
    poor_samples,
    rate_too_large,
    rate_too_small,
    tokenizer,
    undertrained,
    unread_code,
)
from seqvae.analysis.doctor.finding import Finding
from seqvae.analysis.doctor.measurements import Measurements


@dataclass(frozen=True)
class Check:
    """One question to a run; `explains` names the findings that follow from its own."""

    name: str
    look: Callable[[Measurements], Finding | None]
    explains: frozenset[str]


# causes before what follows from them
CHECKS = tuple(
    Check(module.NAME, module.check, module.EXPLAINS)
    for module in (
        overtrained,
        tokenizer,
        duplicates,
        undertrained,
        unread_code,
        empty_code,
        length_only,
        rate_too_large,
        rate_too_small,
        narrow_posterior,
        holes,
        poor_samples,
    )
)


def judge(measured: Measurements) -> list[Finding]:
    """All findings, causes first; one that an earlier one explains names it as its `cause`."""
    found: list[Finding] = []
    for check in CHECKS:
        if (finding := check.look(measured)) is not None:
            causes = [one.name for one in found if finding.name in _explained(one.name)]
            found.append(replace(finding, cause=causes[0] if causes else ""))
    return sorted(found, key=lambda finding: bool(finding.cause))


def _explained(name: str) -> frozenset[str]:
    return next(check.explains for check in CHECKS if check.name == name)
