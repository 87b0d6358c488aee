"""`evaluate`: all metrics of a model on a data set, checked against inequalities that must hold.

Shapes: K importance samples, B examples of a batch, N evaluation examples, T tokens, D latent dims.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from seqvae.errors import UserError
from seqvae.evaluation.metrics.cautions import cautions
from seqvae.evaluation.metrics.checks import check_report
from seqvae.evaluation.metrics.chunks import cells_at_once, samples_at_once
from seqvae.evaluation.metrics.classifier import classifier_metrics
from seqvae.evaluation.metrics.evaluation_pass import (
    EvaluationPass,
    PerExample,
    ProgressCallback,
    code_metrics,
    detached_float64,
    device_of,
    evaluation_mode,
    likelihood_metrics,
    run_evaluation_pass,
)
from seqvae.evaluation.metrics.holes import hole_metrics
from seqvae.evaluation.metrics.information import choose_partners
from seqvae.evaluation.metrics.keys import ALWAYS
from seqvae.evaluation.metrics.latent_usage import standard_error
from seqvae.interfaces import Batch, ModalityMetrics
from seqvae.models.priors import StandardPrior
from seqvae.models.vae import VAE

KEYS = ALWAYS  # keys of every report
VALIDATED = (  # keys of a validation
    "n", "neg_elbo", "rate", "distortion", "active_units", "kl_per_dim", "mi_low", "mi_n", "label_accuracy",
)  # fmt: skip


@dataclass(frozen=True)
class EvaluationSettings:
    """Settings that the report states, or that do not affect the numbers."""

    seed: int = 0  # of the MI subset, the shuffle and the prior samples
    mi_examples: int = 10_000  # MI is estimated on a subset if there are more
    prior_draws: int = 1000  # of `distinct_samples`; 0 leaves it out
    cells: int | None = None  # samples x examples x tokens per decoder chunk; None: what fits
    together: bool = False  # whether all ranks call it and share the examples


def evaluate(
    vae: VAE,
    batches: Iterable[Batch],
    *,
    samples: int = 20,
    measures: ModalityMetrics | None = None,
    settings: EvaluationSettings | None = None,
    progress: ProgressCallback | None = None,
) -> dict[str, Any]:
    """Measure a model on N examples, without remedies, at beta = 1 and in evaluation mode.

    Likelihoods are in nats per example, means over the examples. Rate and distortion are means over the same
    K codes per example as IW-NLL. All noise is keyed by example, so that batch size and order affect only
    rounding. The precision is that of the caller's autocast.

    Args:
        vae: the model.
        batches: the evaluation examples.
        samples: K, importance samples per example.
        measures: metrics of the modality, such as perplexity.
        settings: seed, sizes of subsets and chunks.
        progress: called as (examples done, N, what).

    Returns:
        A dict of JSON values with `KEYS` and more; None for a metric that does not apply.

    Raises:
        UserError: no example, or `samples` below 1.
        MeasurementError: the numbers violate an inequality that holds for every model, so there is a bug.
    """
    settings, began = settings or EvaluationSettings(), time.perf_counter()
    batches = _examples(batches, samples)
    evaluation, cells = EvaluationPass(vae, batches, progress, settings.together), settings.cells
    cells = cells_at_once(device_of(vae)) if cells is None else cells
    with evaluation_mode(vae):
        gathered = run_evaluation_pass(evaluation, samples, lambda batch: samples_at_once(batch, cells))
        report = {**dict.fromkeys(KEYS), **likelihood_metrics(gathered)}
        warned: list[str] = []
        if measures is not None:
            report |= _without_cautions(measures.per_target(batches, gathered.get("iw_nll")), warned)
        report |= code_metrics(gathered, settings.mi_examples, settings.seed)
        if vae.latent.is_diagonal_gaussian and isinstance(vae.prior, StandardPrior):
            report |= hole_metrics(gathered.posteriors)
        if gathered.dim > 0:
            report |= _shuffled_code_loss(evaluation, gathered, measures, settings.seed)
        if gathered.dim > 0 and measures is not None:
            report |= _without_cautions(_reconstruction_metrics(evaluation, gathered, measures), warned)
            if settings.prior_draws:
                report |= measures.sample_metrics(settings.prior_draws, settings.seed)
        report |= classifier_metrics(vae, batches)
    report["cautions"] = [*cautions(report), *warned]
    report |= {"precision": _precision(vae), "seconds": time.perf_counter() - began}
    check_report(report, one_prior=vae.labels is None or not vae.prior.condition)
    return {name: _jsonable(value) for name, value in report.items()}


def validate(vae: VAE, batches: Iterable[Batch], *, mi_examples: int = 0) -> dict[str, Any]:
    """The validation of the training loop: one code per example, no remedies, beta = 1.

    Args:
        vae: the model.
        batches: the validation examples.
        mi_examples: examples over which MI is estimated, at most; 0 for no MI.

    Returns:
        `n`, `distortion` and `active_units`; if q(z|x) has a density `neg_elbo`, `rate`, `kl_per_dim` (a
        list), `mi_low` and `mi_n`; `label_accuracy` of a classifier. Nats per example.

    Raises:
        UserError: no example.
    """
    with evaluation_mode(vae):
        batches = _examples(batches, 1)
        gathered = run_evaluation_pass(EvaluationPass(vae, batches), 1, lambda batch: 1)
        numbers = likelihood_metrics(gathered) | code_metrics(gathered, mi_examples)
        numbers |= classifier_metrics(vae, batches)
    return {name: numbers[name] for name in VALIDATED if name in numbers}


def _without_cautions(numbers: dict[str, Any], found: list[str]) -> dict[str, Any]:
    """The numbers without their cautions, which are appended to `found`."""
    found += numbers.pop("cautions", [])
    return numbers


def _examples(batches: Iterable[Batch], samples: int) -> Sequence[Batch]:
    require_samples(samples)
    batches = list(batches)
    if sum(batch.size for batch in batches) == 0:
        raise UserError("nothing to evaluate: the data set holds no example; give one that does")
    return batches


def require_samples(samples: int) -> None:
    """Reject a number of samples below 1.

    Raises:
        UserError: `samples` is below 1.
    """
    if samples < 1:
        raise UserError(f"samples must be at least 1, got {samples}: papers use 500, a quick look 20")


def _shuffled_code_loss(
    evaluation: EvaluationPass, gathered: PerExample, measures: ModalityMetrics | None, seed: int
) -> dict[str, Any]:
    """Nats per example lost if each is scored with another example's code, in total and by position."""
    if gathered.n < 2:
        return {}
    other = gathered["z"][choose_partners(gathered["index"], seed)]

    def lost(batch: Batch, rows: slice) -> tuple[Tensor, Any]:
        gains = _gains(evaluation.vae, batch, gathered["z"][rows], other[rows], measures)
        return gains.sum(-1), None if measures is None else measures.position_gains(gains, batch)

    gaps, places = zip(*evaluation.over("shuffle", lost), strict=True)
    gap = torch.cat(gaps).cpu()
    numbers = {"shuffle_gap": float(gap.mean()), "shuffle_gap_se": standard_error(gap)}
    return numbers | ({} if measures is None else measures.summarise_positions(places))


def _gains(vae: VAE, batch: Batch, z: Tensor, other: Tensor, measures: ModalityMetrics | None) -> Tensor:
    """Log p(x|z) - log p(x|z of another example) by position (B, P); P = 1 without positions."""

    def scored(codes: Tensor) -> Tensor:
        likelihood = vae.likelihood(codes[None].to(batch.index.device), vae.condition(batch))
        if measures is None:
            return detached_float64(likelihood.log_prob(batch)[0])[:, None]
        return detached_float64(measures.position_log_probs(likelihood, batch))

    return scored(z) - scored(other)


def _reconstruction_metrics(
    evaluation: EvaluationPass, gathered: PerExample, measures: ModalityMetrics
) -> dict[str, Any]:
    """Reconstruction metrics from posterior means, and from one posterior sample per example."""

    def back(batch: Batch, rows: slice) -> Any:
        codes, drawn = (gathered[name][rows].to(batch.index.device) for name in ("code", "z"))
        return measures.compare_reconstructions(batch, codes, drawn)

    return measures.summarise_reconstructions(evaluation.over("reconstruction", back))


def _precision(vae: nn.Module) -> str:
    kind = device_of(vae).type
    if not torch.is_autocast_enabled(kind):
        return "fp32"
    return {torch.bfloat16: "bf16", torch.float16: "fp16"}.get(torch.get_autocast_dtype(kind), "mixed")


def _jsonable(value: Any) -> Any:
    """None for numbers that JSON cannot represent, such as NaN, the standard error of one example."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
