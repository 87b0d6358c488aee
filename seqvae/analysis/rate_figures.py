"""Figures over the rate: rate-distortion, minimum rates and sample quality of a run."""

from __future__ import annotations

from typing import Any

from seqvae import plots
from seqvae.analysis.measurements import PlotInputs
from seqvae.build import modality_of
from seqvae.errors import UserError
from seqvae.evaluation.rate_sweep import is_variable_rate, trained_range
from seqvae.runs.metrics_log import read_metrics

QUALITY = {  # {key of `sample_quality`: its axis}
    "forward_ppl": "forward PPL of samples",
    "reverse_ppl": "reverse PPL of samples",
    "self_bleu": "self-BLEU of samples",
}


def rate_distortion(subject: PlotInputs) -> Any:
    """Rate-distortion plane with one point per rate or per run; otherwise the run's validations over time.

    Raises:
        UserError: the run has no validation with a rate.
    """
    if _several(subject):
        vaes = zip(subject.names(), (subject.vae, *subject.others), strict=True)
        without_code = [name for name, vae in vaes if not vae.latent_dim]
        return plots.rate_distortion_of(subject.reports, without_code, beside=True)
    lines = [m for m in read_metrics(subject.vae.run.path) if m["kind"] == "valid" and "rate" in m]
    if not lines:
        raise UserError(f"{subject.vae.run.path} has no validation with a rate: nothing to draw")
    path = [(m["rate"], m["distortion"]) for m in lines]
    return plots.rate_distortion({subject.vae.run.path.name: path[-1:]}, {"validations": path})


def minimum_rates(subject: PlotInputs) -> Any:
    """Histogram of the minimum rates of evaluation examples."""
    _, high = trained_range(subject.vae.vae.latent)
    what = modality_of(subject.vae.run.config).examples
    return plots.minimum_rates([need["nats"] for need in subject.needs], high, what)


def sample_quality(subject: PlotInputs) -> Any:
    """Forward and reverse perplexity and self-BLEU of prior samples over the rate."""
    *rows, real = subject.quality
    known = [row for row in rows if row["reverse_ppl"] is not None]
    best = min(known, key=lambda row: float(row["reverse_ppl"]), default=rows[0])
    name = f"{subject.vae.run.path.name}: best reverse PPL at {best['nats']:g} nats"
    panels = {
        label: {name: [(row["nats"], row[key]) for row in rows if row[key] is not None]}
        for key, label in QUALITY.items()
    }
    levels = {label: {"real sentences": real[key]} for key, label in QUALITY.items()}
    return plots.against_rate(panels, levels)


TABLES = {"rate-distortion": "reports", "needs": "needs", "sample-quality": "quality"}


def table(subject: PlotInputs, name: str) -> list[dict[str, Any]]:
    """The numbers of a figure over the rate, as rows.

    Raises:
        UserError: another figure, or one that shows the training log.
    """
    if name not in TABLES or (name == "rate-distortion" and not _several(subject)):
        raise UserError(f"plot {name!r} has no table here: leave out --json")
    rows: list[dict[str, Any]] = getattr(subject, TABLES[name])
    return rows


def _several(subject: PlotInputs) -> bool:
    return is_variable_rate(subject.vae.vae.latent) or bool(subject.others)
