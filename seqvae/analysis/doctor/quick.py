"""The first line of a diagnosis without a measurement of its own: what a report and the curve say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seqvae.analysis.doctor.checks import empty_code, undertrained, unread_code
from seqvae.analysis.doctor.finding import Evidence, Finding
from seqvae.analysis.doctor.measurements import Measurements
from seqvae.analysis.doctor.measures.curve import read_curve
from seqvae.analysis.doctor.measures.overlap import Overlap
from seqvae.data.text.choosing import MANY_UNKNOWN
from seqvae.evaluation.evaluate import evaluate
from seqvae.inference import PretrainedVAE
from seqvae.runs.run_folder import Run

EXAMPLES = 100  # enough to see that a code carries nothing


def first_line(run: Run, report: Mapping[str, Any]) -> str:
    """The first finding that an evaluation's report and the training curve show, with what to call next."""
    found = _problem(run, report)
    if found is None:
        return f"doctor: nothing found at a first look; `seqvae doctor {run.path}` looks closer"
    return f"doctor: {found}; `seqvae doctor {run.path}` says what to do"


def look_briefly(vae: PretrainedVAE, examples: int = EXAMPLES) -> str:
    """The same of a run that has no report yet: a few held-out examples, one code each.

    Raises:
        UserError: the data of the run are not there.
    """
    _, batches, _ = vae.evaluation_inputs(None, 64, examples)
    return first_line(vae.run, evaluate(vae.vae, batches, samples=1))


def _problem(run: Run, report: Mapping[str, Any]) -> str | None:
    unknown = report.get("unknown_share")
    if unknown is not None and unknown > MANY_UNKNOWN:
        evidence = Evidence("share of unknown tokens", unknown), Evidence("tokens", report.get("tokens"))
        return f"the tokenizer does not fit this corpus: {'; '.join(map(str, evidence))}"
    measured = _of_report(run, report)
    for check in (undertrained, unread_code, empty_code):
        found: Finding | None = check.check(measured)
        if found is not None:
            return found.line
    return None


def _of_report(run: Run, report: Mapping[str, Any]) -> Measurements:
    """Measurements of which only the report and the curve are known."""
    step = int(run.card["progress"]["step"])
    none = Overlap({}, 0.0, 0)
    cost = float(report.get("neg_elbo") or report.get("distortion") or 0.0)
    return Measurements(
        config=run.config,
        split=str(report.get("data", "")),
        steps=step,
        epochs=0.0,
        report=report,
        train_cost=cost,
        held_cost=cost,
        leaked_cost=None,
        fresh_cost=None,
        overlap=none,
        curve=read_curve(run.path),
    )
