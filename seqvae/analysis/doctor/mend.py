"""A finding's prescription laid over the config of its run, trained, and compared with the run before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqvae.analysis.doctor.finding import Finding
from seqvae.config.loading import dump_config, parse_config
from seqvae.config.schema import RunConfig
from seqvae.errors import UserError
from seqvae.utils.atomic_files import write_atomically


@dataclass(frozen=True)
class MendedConfig:
    """The config after the changes in `lines`, which come from the findings `used`."""

    config: RunConfig
    lines: tuple[str, ...]
    used: tuple[Finding, ...]

    @property
    def compare(self) -> tuple[str, ...]:
        """The keys of a report that the changes are made for."""
        return tuple(dict.fromkeys(key for finding in self.used for key in finding.compare))


def mend(config: RunConfig, found: Sequence[Finding]) -> MendedConfig:
    """Lay prescriptions over a config: the causes', in their order, each unless it meets a line before it.

    Two findings may want other remedies: the first one's are taken, and the next diagnosis sees what is left.

    Raises:
        UserError: no finding has config lines.
    """
    lines: list[str] = []
    used: list[Finding] = []
    for finding in found:
        if finding.prescription and not finding.cause and not _meets(lines, finding.prescription):
            lines += finding.prescription
            used.append(finding)
    if not lines:
        raise UserError("no finding has config lines to apply: what it advises is to be done by hand")
    values = config.model_dump(by_alias=True)
    return MendedConfig(parse_config(values, lines, where="mended config"), tuple(lines), tuple(used))


def _meets(taken: Sequence[str], lines: Sequence[str]) -> bool:
    """Whether a line sets what one before it sets, or a part of it."""
    before, now = ([line.partition("=")[0].split(".") for line in some] for some in (taken, lines))
    return any(a[: len(b)] == b[: len(a)] for a in before for b in now)


def write_config(mended: MendedConfig, out: Path) -> Path:
    """The file OUT.yaml with the config, and in its first lines what was changed and why.

    Raises:
        UserError: the file exists.
    """
    file = out.with_name(f"{out.name}.yaml")
    if file.exists():
        raise UserError(f"{file} exists: choose another --out")
    file.parent.mkdir(parents=True, exist_ok=True)
    head = "".join(f"# {finding.name}: {finding.problem}\n" for finding in mended.used)
    changes = "".join(f"#   {line}\n" for line in mended.lines)
    text = f"{head}{changes}{dump_config(mended.config)}"
    write_atomically(file, lambda path: path.write_text(text, encoding="utf-8"))
    return file


def compare_reports(
    keys: Sequence[str], before: Mapping[str, Any], after: Mapping[str, Any]
) -> list[tuple[str, Any, Any]]:
    """(key, before, after) of the numbers that changes were made for."""
    return [(key, before.get(key), after.get(key)) for key in keys if key in before or key in after]
