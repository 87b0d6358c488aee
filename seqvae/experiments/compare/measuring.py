"""Measurements of a comparison's runs, each stored under a name with all settings that change it."""

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
from seqvae.inference.posthoc_prior_fit import FitBudget, fit_posthoc_prior, require_real_codes
from seqvae.inference.posthoc_priors import posthoc_prior_names
from seqvae.utils.reporter import Reporter

QUALITY = ("forward_ppl", "reverse_ppl", "self_bleu", "distinct_1", "distinct_2", "copied", "empty")
BRIEFLY = FitBudget(valid=200, samples=5)  # few: the protocol measures the gain of the prior on test data


@dataclass(frozen=True)
class Measurement:
    """Numbers of a finished run, stored in its report/NAME.json; the name has all their settings."""

    name: str
    measure: Callable[[RunSpec, PretrainedVAE, Reporter], dict[str, Any]]

    def file(self, run: Path) -> Path:
        """The file of the numbers."""
        return run / "report" / f"{self.name}.json"


def measurements(comparison: Comparison, variant: str, seed: int) -> list[Measurement]:
    """All measurements of a run; keys of later ones replace those of earlier ones."""
    found = [_evaluation(comparison.samples, comparison.test_examples)]
    if comparison.factors:
        found.append(_factors(comparison.test_examples))
    if not comparison.measures_samples(variant, seed):
        return found
    if comparison.quality:
        found.append(_quality(comparison, comparison.quality, None))
    if comparison.fit_prior:
        found.append(_posthoc_prior_metrics(comparison, comparison.fit_prior))
    if comparison.quality and comparison.fit_prior:
        found.append(_quality(comparison, comparison.quality, comparison.fit_prior))
    return found


def evaluations_at_rates(entry: RunSpec, comparison: Comparison) -> dict[str, tuple[Measurement, float]]:
    """The evaluations at the rates of a run's variant, by row name, with the rate in nats."""
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
    """The part of a measurement's name for the number of examples."""
    return "" if examples is None else f"-first-{examples}"


def _factors(examples: int | None) -> Measurement:
    """`factor_scores` on the same examples; empty for a model without a code."""

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
        scorer = load(_scorer_run(comparison, how, entry), entry.config.train.device)
        assert isinstance(scorer, TextVAE)
        found = sample_quality(vae, scorer, how.samples)
        ending = "" if prior is None else "_fitted"
        return {f"{key}{ending}": found[key] for key in QUALITY}

    name = f"quality-{how.samples}-{Path(how.scorer).name}"
    return Measurement(name if prior is None else f"{name}-{prior}", measure)


def _scorer_run(comparison: Comparison, how: Quality, entry: RunSpec) -> Path:
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
    """Fit the prior if the run has none of that name yet; returns its name."""
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
