"""What is wrong with a run and what to change: `findings(run)`, from measurements on its own data.

from seqvae.analysis.doctor import findings
for finding in findings("runs/mine"):
    print(finding.line, finding.prescription)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from seqvae.analysis.doctor.finding import Evidence, Finding
from seqvae.analysis.doctor.measurements import Measurements, Sizes, measure
from seqvae.analysis.doctor.table import CHECKS, judge
from seqvae.evaluation.metrics.evaluation_pass import ProgressCallback
from seqvae.inference import PretrainedVAE, TextVAE, load

__all__ = ["CHECKS", "Diagnosis", "Evidence", "Finding", "Measurements", "Sizes", "diagnose", "findings"]
NOTHING = "nothing found"


@dataclass(frozen=True)
class Diagnosis:
    """What was found in a run, causes first, and the measurements that it rests on."""

    findings: list[Finding]
    measured: Measurements

    @property
    def causes(self) -> list[Finding]:
        """The findings that no other one explains."""
        return [finding for finding in self.findings if not finding.cause]

    @property
    def line(self) -> str:
        """The first finding in one line."""
        return self.findings[0].line if self.findings else NOTHING


def diagnose(
    run: str | Path | PretrainedVAE,
    scorer: TextVAE | None = None,
    sizes: Sizes | None = None,
    progress: ProgressCallback | None = None,
    device: str = "auto",
) -> Diagnosis:
    """Measure a run on its own data and look for what is wrong.

    Args:
        run: a run folder, or a loaded run.
        scorer: a language model of the same corpus and tokenizer that sentences and samples are compared
            with; by default n-grams that are counted on the training split.
        sizes: how many examples are measured.
        progress: what is called with (examples done, in all, what is being measured).
        device: where a run folder is loaded.

    Raises:
        UserError: no such run, its data are not there, or the scorer is no language model of the same tokens.
    """
    vae = run if isinstance(run, PretrainedVAE) else load(run, device)
    measured = measure(vae, scorer, sizes, progress)
    return Diagnosis(judge(measured), measured)


def findings(run: str | Path | PretrainedVAE, scorer: TextVAE | None = None) -> list[Finding]:
    """What is wrong with a run, causes first; nothing in a healthy one. See `diagnose`.

    Raises:
        UserError: as `diagnose`.
    """
    return diagnose(run, scorer).findings
