"""`seqvae doctor`: what is wrong with a run, what to change, and whether the change helps."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seqvae.cli.options import DEVICE, JSON, RATE, RUN, load_vae, require_text
from seqvae.cli.printing import emit_json, emit_lines, format_value
from seqvae.cli.terminal import Terminal
from seqvae.errors import UserError
from seqvae.utils.tables import align_columns

if TYPE_CHECKING:
    from seqvae.analysis.doctor import Diagnosis, Finding


def doctor(
    run: RUN,
    scorer: Annotated[
        str | None, typer.Option(help="A language model of the corpus: its run; else n-grams.")
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Train the mended config, show both.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --apply: write the config, print the command.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="The mended run; RUN-mended by default.")] = None,
    rate: RATE = None,
    device: DEVICE = "auto",
    json: JSON = False,
) -> None:
    """Say what is wrong with a run, from measurements, and what to change in its config."""
    if (dry_run or out is not None) and not apply:
        raise UserError(f"{'--dry-run' if dry_run else '--out'} goes with --apply")
    found = _diagnosed(run, scorer, rate, device)
    mended = _apply(run, found, scorer, out, dry_run, device) if apply and found.causes else {}
    if json:
        emit_json({"run": run, "findings": [one.as_dict() for one in found.findings], **mended})
        return
    emit_lines(_report(found))
    emit_lines(_mended_lines(mended))


def _diagnosed(run: str, scorer: str | None, rate: float | None, device: str) -> Diagnosis:
    from seqvae.analysis.doctor import diagnose

    vae, judge, report = load_vae(run, device, rate), None, Terminal()
    if scorer is not None:
        require_text(vae, "--scorer compares sentences")
        judge = load_vae(scorer, device)
        require_text(judge, "--scorer compares sentences")
    found = diagnose(vae, judge, progress=report.advance)
    report.close()
    return found


def _report(found: Diagnosis) -> list[str]:
    if not found.findings:
        return ["nothing found: the run looks healthy"]
    lines: list[str] = []
    for place, finding in enumerate(found.causes, 1):
        lines += [f"{place}. {finding.problem}", *_details(finding)]
        follows = [one for one in found.findings if one.cause == finding.name]
        lines += [f"   explains      {one.problem}: {one.evidence[0]}" for one in follows]
    return lines


def _details(finding: Finding) -> list[str]:
    sets = [f"--set {shlex.quote(line)}" for line in finding.prescription]
    parts = {
        "evidence": [str(one) for one in finding.evidence],
        "prescription": [*sets, *([finding.advice] if finding.advice else [])],
        "effect": [finding.effect],
    }
    return [
        f"   {name if first else '':13} {line}"
        for name, rows in parts.items()
        for first, line in zip([True] + [False] * len(rows), rows, strict=False)
    ]


def _apply(
    run: str, found: Diagnosis, scorer: str | None, out: Path | None, dry_run: bool, device: str
) -> dict[str, Any]:
    """Write the mended config and train it, or say how; before and after."""
    from seqvae.analysis.doctor.mend import compare_reports, mend, write_config
    from seqvae.training.loop import train

    out = out or Path(f"{run.rstrip('/')}-mended")
    mended = mend(found.measured.config, found.findings)
    file = write_config(mended, out)
    command = f"seqvae train {shlex.quote(str(file))} --out {shlex.quote(str(out))}"
    result: dict[str, Any] = {"config": str(file), "changes": list(mended.lines), "command": command}
    if dry_run:
        return result
    train(mended.config, out, Terminal())
    after = _diagnosed(str(out), scorer, None, device)
    rows = compare_reports(mended.compare, found.measured.report, after.measured.report)
    still = [one.as_dict() for one in after.findings]
    return result | {"mended": str(out), "comparison": rows, "findings_after": still}


def _mended_lines(mended: dict[str, Any]) -> list[str]:
    if not mended:
        return []
    if "mended" not in mended:
        return ["", mended["command"]]
    rows = [(key, format_value(before), format_value(after)) for key, before, after in mended["comparison"]]
    left = [one["line"] for one in mended["findings_after"] if not one["cause"]] or ["nothing found"]
    table = align_columns(("measure", "before", "after"), rows)
    return ["", f"mended: {mended['mended']}", *table, *(f"now: {line}" for line in left)]


COMMANDS = (doctor,)
