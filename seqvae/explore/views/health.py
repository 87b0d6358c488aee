"""How healthy a run is: what its evaluation says, nats per dim and per position, and its curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seqvae.errors import UserError
from seqvae.evaluation.metrics.evaluation_pass import ProgressCallback
from seqvae.evaluation.metrics.keys import METRICS
from seqvae.explore.requests import Empty
from seqvae.explore.session import Explorer, rounded
from seqvae.runs.metrics_log import read_metrics

EXAMPLES, SAMPLES = 1000, 5  # of the evaluation behind this page
SHOWN = (
    "n", "rate", "distortion", "neg_elbo", "iw_nll", "ppl", "mi_low", "active_units", "shuffle_gap",
    "token_accuracy", "exact_match", "bleu", "squared_error", "distinct_samples",
)  # fmt: skip
CURVES = ("neg_elbo", "rate", "distortion", "beta", "mi_low", "active_units")
POINTS = 400  # of a curve, at most


def health(explorer: Explorer, _: Empty) -> dict[str, Any]:
    """The report of `evaluate` on some examples, findings in plain words, and how the training went."""

    def measure(progress: Any) -> dict[str, Any]:
        how = {"samples": SAMPLES, "examples": min(EXAMPLES, explorer.examples), "progress": progress}
        return explorer.vae.evaluate(explorer.data, **how)

    report: dict[str, Any] = explorer.jobs.result("evaluation", measure)
    return {
        "findings": findings(explorer, report),
        "numbers": [_number(key, report[key]) for key in SHOWN if report.get(key) is not None],
        "kl_per_dim": [rounded(v, 4) for v in explorer.points.kl_per_dim.tolist()],
        "gain_by_position": _listed(report.get("gain_by_position")),
        "curves": curves(explorer),
    }


def findings(explorer: Explorer, report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is wrong with the run, in plain words: what `seqvae doctor` finds, and the evaluation's cautions.

    Causes come first. Each is `text` and `level`, and may hold `evidence` (lines), `config` (lines that
    would change it) and `effect` (a sentence).
    """
    found: list[dict[str, Any]] = explorer.jobs.result(
        "doctor", lambda progress: diagnosed(explorer, progress)
    )
    return [*found, *({"level": "warning", "text": line} for line in report.get("cautions") or [])]


def diagnosed(explorer: Explorer, progress: ProgressCallback) -> list[dict[str, Any]]:
    """Findings of the doctor on the run's own splits; the reason if these cannot be read."""
    from seqvae.analysis.doctor import diagnose

    try:
        found = diagnose(explorer.vae, progress=progress).findings
    except UserError as error:
        return [{"level": "warning", "text": f"not diagnosed: {error}"}]
    return [
        {
            "level": "warning",
            "text": finding.problem,
            "evidence": [str(evidence) for evidence in finding.evidence],
            "config": list(finding.prescription),
            "effect": " ".join(part for part in (finding.advice, finding.effect) if part),
        }
        for finding in found
    ]


def _number(key: str, value: Any) -> dict[str, Any]:
    metric = METRICS[key]
    return {
        "key": key,
        "label": metric.label,
        "unit": metric.unit,
        "doc": metric.doc,
        "value": rounded(value, 4),
    }


def _listed(values: Any) -> list[float] | None:
    return None if values is None else [rounded(v, 4) for v in values if v is not None]


def curves(explorer: Explorer) -> dict[str, dict[str, list[list[float]]]]:
    """{metric: {train or valid: [[step, value], ...]}}, thinned out."""
    found: dict[str, dict[str, list[list[float]]]] = {}
    for line in read_metrics(explorer.vae.run.path):
        for key in CURVES:
            value = line.get(key)
            if isinstance(value, int | float) and value == value:
                found.setdefault(key, {}).setdefault(str(line["kind"]), []).append(
                    [line["step"], rounded(value, 4)]
                )
    return {key: {kind: _thin(rows) for kind, rows in kinds.items()} for key, kinds in found.items()}


def _thin(rows: list[list[float]]) -> list[list[float]]:
    every = -(-len(rows) // POINTS)
    return rows[::-1][::every][::-1] if every > 1 else rows
