"""Fits a prior to the codes of a finished run, measures its gain, and stores it in the run.

Shapes: B examples, C condition features.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from seqvae.build import modality_of
from seqvae.config.schema import Component
from seqvae.errors import UserError
from seqvae.evaluation.metrics.evaluation_pass import ProgressCallback, device_of, evaluation_mode
from seqvae.evaluation.posterior_samples import (
    FixedPosterior,
    PosteriorSource,
    RandomRatePosterior,
    merge_sources,
)
from seqvae.evaluation.prior_comparison import compare_priors
from seqvae.evaluation.prior_fitting import PriorFitConfig, fit_prior, held_out_codes, log_density
from seqvae.evaluation.rate_sweep import FixedRatePrior, is_variable_rate, resolve_rates
from seqvae.inference.posthoc_priors import PosthocPrior, build_prior, check_free_name, save_posthoc_prior
from seqvae.interfaces import Batch, BatchSource, Latent, Prior
from seqvae.models.sampling import with_rate
from seqvae.models.vae import VAE
from seqvae.runs.run_data import load_run_data
from seqvae.runs.run_folder import Run
from seqvae.utils.accelerator import is_asynchronous

BATCH = 256  # examples encoded per batch
AT_EACH = 256  # validation examples, at most, for the gain at each rate


@dataclass(frozen=True)
class FitBudget:
    """How much data a prior is fitted and measured on."""

    examples: int = 50_000  # of the training split, at most
    valid: int = 1000  # of the validation split, for `compare_priors`
    samples: int = 20  # K of its IW-NLL


def fit_posthoc_prior(
    run: Run,
    spec: Component,
    name: str,
    how: PriorFitConfig,
    amounts: FitBudget | None = None,
    progress: ProgressCallback | None = None,
) -> PosthocPrior:
    """Fit a prior to the encoded training data of a run, measure its gain, and store it in the run.

    For a variable-rate run one prior is fitted to codes of all rates, conditioned on ln R, or to the codes of
    one rate (`how.rate`). If the model is conditioned on labels, so is the prior.

    Args:
        run: the run; its training and validation data must be available.
        spec: name and arguments of the prior.
        name: name under which it is stored.
        how: seed, rate and optimisation of the fit.
        amounts: number of examples to fit and to measure on.
        progress: called as (done, total, what).

    Raises:
        UserError: codes that do not fill R^D, a name that is taken, or a prior that does not exist.
    """
    amounts = amounts or FitBudget()
    vae = run.vae if how.rate is None else with_rate(run.vae, how.rate)
    require_real_codes(vae.latent)
    check_free_name(run.path, name)
    any_rate = is_variable_rate(vae.latent) and how.rate is None
    condition = (0 if vae.labels is None else vae.labels.dim) + any_rate
    prior = build_prior(spec, vae.latent, how.seed, condition)
    modality = modality_of(run.config)
    feed = modality.make_batch_source(load_run_data(run, "train", "valid"), BATCH, 1, how.seed)
    sources = encode_posteriors(vae, training_batches(feed, amounts.examples), any_rate)
    fit = fit_prior(prior, sources, how, progress)
    before, _ = log_density(vae.prior, held_out_codes(sources, how))
    report: dict[str, Any] = {"seed": how.seed, "n": fit.n, "held_out": fit.held_out, "epochs": fit.epochs}
    report |= {"condition": condition, "any_rate": any_rate, "nats": how.rate}
    report["log_density"] = {"trained": before, "fitted": fit.after, "fitted_se": fit.after_se}
    judged = prior if how.rate is None else FixedRatePrior(prior, vae.latent, how.rate)
    report["valid"] = compare_priors(vae, judged, list(feed.valid(amounts.valid)), amounts.samples, progress)
    if any_rate:
        report["rates"] = _compare_at_each_rate(vae, prior, feed, amounts, progress)
    fitted = PosthocPrior(name, prior, spec, report)
    save_posthoc_prior(run.path, fitted)
    return fitted


def _compare_at_each_rate(
    vae: VAE, prior: Prior, feed: BatchSource, amounts: FitBudget, progress: ProgressCallback | None
) -> list[dict[str, Any]]:
    """The gain of a prior conditioned on the rate at 2, 4, 8 ... nats of the trained range."""
    few = list(feed.valid(min(amounts.valid, AT_EACH)))
    return [
        {"nats": nats, **compare_priors(with_rate(vae, nats), prior, few, amounts.samples, progress)}
        for nats in resolve_rates(vae.latent)
    ]


def training_batches(feed: BatchSource, examples: int) -> Iterator[Batch]:
    """Batches of one epoch, until they hold at least `examples` examples; each example occurs once."""
    seen = 0
    for step in range(feed.steps_per_epoch):
        for batch in feed.update(step):
            yield batch
            seen += batch.size
        if seen >= examples:
            return


def encode_posteriors(vae: VAE, batches: Iterable[Batch], any_rate: bool = False) -> list[PosteriorSource]:
    """q(z|x) of each batch, in evaluation mode and without gradients; with `any_rate` at rates drawn anew."""
    device = device_of(vae)
    with evaluation_mode(vae):
        there = (batch.to(device) for batch in batches)
        if any_rate:
            return [RandomRatePosterior(vae, batch, vae.encoder(batch).float()) for batch in there]
        fixed = [FixedPosterior(vae.posterior(batch).detach(), _labels(vae, batch)) for batch in there]
    # one draw for all examples needs few kernel launches; a CPU is faster in parts that fit its caches
    return merge_sources(fixed) if is_asynchronous(device) else list(fixed)


def _labels(vae: VAE, batch: Batch) -> Tensor | None:
    """The label part of the condition (B, C), without the rate."""
    c = None if vae.labels is None else vae.condition(batch)
    return c if c is None or vae.labels is None else c[:, : vae.labels.dim]


def require_real_codes(latent: Latent) -> None:
    """Reject latents whose codes do not fill R^D.

    Raises:
        UserError: no code, or codes on a sphere or discrete.
    """
    if latent.dim == 0 or latent.default_prior != "standard":
        raise UserError(
            f"a mixture or a flow spreads over all of R^D, the codes of {type(latent).__name__} do not: "
            "fit it to a run of gaussian or deterministic codes"
        )
