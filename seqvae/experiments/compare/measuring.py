"""What a comparison measures of a run: each measurement under a name that holds all that changes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqvae.analysis.sample_quality import sample_quality
from seqvae.config.schema import Component
from seqvae.errors import UserError
from seqvae.evaluation.prior_fitting import PriorFitConfig
from seqvae.experiments.compare.schema import Comparison, Quality, RunSpec, run_folder
from seqvae.inference import PretrainedVAE, TextVAE, load
from seqvae.inference.posthoc_priors import (
    FitBudget,
    fit_posthoc_prior,
    posthoc_prior_names,
    require_real_codes,
)
from seqvae.utils.reporter import Reporter

QUALITY = ("forward_ppl", "reverse_ppl", "self_bleu", "distinct_1", "distinct_2", "copied", "empty")
BRIEFLY = FitBudget(valid=200, samples=5)  # the protocol measures what a prior brings, on other data


@dataclass(frozen=True)
class Measurement:
    """Numbers of a finished run, kept in its report/NAME.json: the name holds all that changes them."""

    name: str
    measure: Callable[[RunSpec, PretrainedVAE, Reporter], dict[str, Any]]

    def file(self, run: Path) -> Path:
        """Where the numbers are kept."""
        return run / "report" / f"{self.name}.json"


def measurements(comparison: Comparison, variant: str, seed: int) -> list[Measurement]:
    """All that is measured on a run; later ones may write over the keys of those before them."""
    found = [_evaluation(comparison.samples, comparison.test_examples)]
    if comparison.factors:
        found.append(_factors(comparison.test_examples))
    if not comparison.judges(variant, seed):
        return found
    if comparison.quality:
        found.append(_quality(comparison, comparison.quality, None))
    if comparison.fit_prior:
        found.append(_posthoc_prior_metrics(comparison, comparison.fit_prior))
    if comparison.quality and comparison.fit_prior:
        found.append(_quality(comparison, comparison.quality, comparison.fit_prior))
    return found


def evaluations_at_rates(entry: RunSpec, comparison: Comparison) -> dict[str, tuple[Measurement, float]]:
    """The evaluations at the rates of a run's variant, by the name of their rows."""
    rows = comparison.variants[entry.variant].rows(entry.variant).items()
    how = comparison.samples, comparison.test_examples
    return {name: (_evaluation(*how, nats), nats) for name, nats in rows if nats is not None}


def _evaluation(samples: int, examples: int | None, rate: float | None = None) -> Measurement:
    """The protocol of `seqvae evaluate`, over the test split or its first examples."""

    def measure(entry: RunSpec, vae: PretrainedVAE, report: Reporter) -> dict[str, Any]:
        found = vae.evaluate(samples=samples, progress=report.advance, examples=examples, rate=rate)
        report.close()
        return found

    at = "" if rate is None else f"-rate-{rate:g}"
    return Measurement(f"evaluation-{samples}{_first(examples)}{at}", measure)


def _first(examples: int | None) -> str:
    """What a measurement's name says of the examples."""
    return "" if examples is None else f"-first-{examples}"


def _factors(examples: int | None) -> Measurement:
    """`factor_scores` on the same examples; nothing of a model without a code."""

    def measure(entry: RunSpec, vae: PretrainedVAE, report: Reporter) -> dict[str, Any]:
        if vae.latent_dim == 0:
            return {}
        found = vae.factor_scores(progress=report.advance, examples=examples)
        report.close()
        return found

    return Measurement(f"factors{_first(examples)}", measure)


def _quality(comparison: Comparison, how: Quality, prior: str | None) -> Measurement:
    """Metrics of prior samples; under a fitted prior the keys end in `_fitted`."""

    def measure(entry: RunSpec, vae: PretrainedVAE, report: Reporter) -> dict[str, Any]:
        if prior is not None:
            if not _supports_posthoc_prior(vae):
                return {}
            vae = vae.with_prior(_ensure_posthoc_prior(vae, prior, report))
        assert isinstance(vae, TextVAE)
        judge = load(_judge(comparison, how, entry), entry.config.train.device)
        assert isinstance(judge, TextVAE)
        found = sample_quality(vae, judge, how.samples)
        ending = "" if prior is None else "_fitted"
        return {f"{key}{ending}": found[key] for key in QUALITY}

    name = f"quality-{how.samples}-{Path(how.scorer).name}"
    return Measurement(name if prior is None else f"{name}-{prior}", measure)


def _judge(comparison: Comparison, how: Quality, entry: RunSpec) -> Path:
    """The run of the language model that scores samples: the variant's first seed, or a folder."""
    if how.scorer not in comparison.variants:
        return Path(how.scorer)
    seed = (comparison.variants[how.scorer].seeds or comparison.seeds)[0]
    return run_folder(entry.path.parents[1], how.scorer, seed)


def _posthoc_prior_metrics(comparison: Comparison, prior: str) -> Measurement:
    """-ELBO, rate and IW-NLL of the same protocol under a prior fitted to the encoded training data."""

    def measure(entry: RunSpec, vae: PretrainedVAE, report: Reporter) -> dict[str, Any]:
        if not _supports_posthoc_prior(vae):
            return {}
        name = _ensure_posthoc_prior(vae, prior, report)
        found = vae.prior_gains(name, comparison.samples, comparison.test_examples, report.advance)["fitted"]
        report.close()
        return {f"{key}_fitted": value for key, value in (found or {}).items()}

    first = _first(comparison.test_examples)
    return Measurement(f"evaluation-{comparison.samples}{first}-{prior}", measure)


def _ensure_posthoc_prior(vae: PretrainedVAE, prior: str, report: Reporter) -> str:
    """The name of the prior, fitted now if it is not there yet."""
    if prior not in posthoc_prior_names(vae.run.path):
        report.note(f"fitting a {prior} to the codes of {vae.run.path}")
        fit_posthoc_prior(vae.run, Component(name=prior), prior, PriorFitConfig(), BRIEFLY)
    return prior


def _supports_posthoc_prior(vae: PretrainedVAE) -> bool:
    try:
        require_real_codes(vae.vae.latent)
    except UserError:
        return False
    return True
