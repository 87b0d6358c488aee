"""Priors fitted to a finished run after training, stored in its folder.

priors/NAME.safetensors  the weights of the prior
priors/NAME.json         its kind and arguments, the weights it was fitted to, and its measured gain

Shapes: D latent dims.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seqvae.build import modality_of
from seqvae.config.registry import construct
from seqvae.config.schema import Component
from seqvae.errors import UserError, suggest
from seqvae.evaluation.metrics.evaluation_pass import ProgressCallback, device_of, evaluation_mode
from seqvae.evaluation.posterior_samples import (
    FixedPosterior,
    PosteriorSource,
    RandomRatePosterior,
    merge_sources,
)
from seqvae.evaluation.prior_comparison import compare_priors
from seqvae.evaluation.prior_fitting import PriorFitConfig, fit_prior, held_out_codes, log_density
from seqvae.evaluation.rate_sweep import NEAR, FixedRatePrior, is_variable_rate, resolve_rates
from seqvae.interfaces import Batch, BatchSource, Latent, Prior
from seqvae.models.priors import PRIORS
from seqvae.models.sampling import Rate, with_rate
from seqvae.models.vae import VAE
from seqvae.runs.run_data import load_run_data
from seqvae.runs.run_folder import Run
from seqvae.runs.weights import WEIGHTS, read_weights, write_weights
from seqvae.utils.accelerator import is_asynchronous
from seqvae.utils.atomic_files import explain_disk_errors, sha256_of, write_atomically

FORMAT = 1
FOLDER = "priors"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
BATCH = 256  # examples encoded per batch
AT_EACH = 256  # validation examples, at most, for the gain at each rate


@dataclass(frozen=True)
class FitBudget:
    """How much data a prior is fitted and measured on."""

    examples: int = 50_000  # of the training split, at most
    valid: int = 1000  # of the validation split, for `compare_priors`
    samples: int = 20  # K of its IW-NLL


@dataclass(frozen=True)
class PosthocPrior:
    """A fitted prior: its name, module, config block and report."""

    name: str
    prior: Prior
    spec: Component  # its name in the table of priors, and its arguments
    report: dict[str, Any]


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
    _check_free(run.path, name)
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


def build_prior(spec: Component, latent: Latent, seed: int = 0, condition: int = 0) -> Prior:
    """Build an untrained prior for these codes, with initial weights from `seed`.

    Raises:
        UserError: an unknown prior or argument.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return construct("prior", PRIORS, spec, dim=latent.dim, latent=latent, condition=condition)


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


def with_prior(vae: VAE, prior: Prior) -> VAE:
    """The same encoder, latent and decoder under another prior."""
    return vae.replace(prior=prior.to(device_of(vae)))


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


def save_posthoc_prior(path: Path, fitted: PosthocPrior) -> Path:
    """Write a prior's two files to the folder of its run; returns the JSON file.

    Raises:
        UserError: the name is taken or not a valid file name, or the disk is full.
    """
    _check_free(path, fitted.name)
    card = {"format_version": FORMAT, "prior": fitted.spec.model_dump(), **fitted.report}
    card["model"] = sha256_of(path / WEIGHTS)
    weights, card_file = _files(path, fitted.name)
    with explain_disk_errors(path):
        weights.parent.mkdir(exist_ok=True)
        write_atomically(weights, lambda p: write_weights(fitted.prior, p))
    _write(card_file, card)
    return card_file


def load_posthoc_prior(path: Path, name: str, latent: Latent) -> Prior:
    """Load a prior fitted to the run in a folder, in evaluation mode; `latent` is that of the run.

    Raises:
        UserError: no such prior, damaged files, or the run's weights have changed since the fit.
    """
    weights, card_file = _files(path, name)
    if not card_file.is_file():
        known = suggest(name, posthoc_prior_names(path))
        raise UserError(f"{path} has no prior {name!r}: {known}; `seqvae fit-prior {path}` fits one")
    try:
        card: dict[str, Any] = json.loads(card_file.read_text(encoding="utf-8"))
        spec, version, model = Component.model_validate(card["prior"]), card["format_version"], card["model"]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{card_file} was not written by seqvae: remove it and fit the prior again") from None
    if version > FORMAT:
        raise UserError(f"{card_file} has format {version}, this seqvae reads up to {FORMAT}: update seqvae")
    if model != sha256_of(path / WEIGHTS):
        raise UserError(f"{card_file} was fitted to other weights than {path} has now: remove it, fit again")
    prior = build_prior(spec, latent, condition=card.get("condition", 0))
    read_weights(prior, weights)
    if is_variable_rate(latent) and not card.get("any_rate"):
        prior = FixedRatePrior(prior, latent, card.get("nats"))
    return prior.eval()


def best_posthoc_prior(path: Path, latent: Latent, rate: Rate = None) -> str | None:
    """The name of the prior with the best held-out density of codes, among those that fit this use.

    Passed over: priors of other weights, and of a variable-rate run those of one rate, unless codes of that
    rate alone are drawn. None where there is none.
    """
    names = posthoc_prior_names(path)
    model = sha256_of(path / WEIGHTS) if names else ""
    densities: dict[str, float] = {}
    for name in names:
        with suppress(ValueError, KeyError, TypeError):
            card = json.loads(_files(path, name)[1].read_text(encoding="utf-8"))
            if card["model"] == model and (card.get("any_rate") or _serves(latent, card.get("nats"), rate)):
                densities[name] = float(card["log_density"]["fitted"])
    return max(densities, key=lambda name: densities[name]) if densities else None


def _serves(latent: Any, nats: float | None, rate: Rate) -> bool:
    """Whether a prior that was fitted at one rate, `nats` (None: the middle one), is for these codes."""
    if not is_variable_rate(latent):
        return True
    fitted = latent.rate_range.geometric_mean if nats is None else nats
    asked = float(latent.rate) if rate is None else rate
    return isinstance(asked, int | float) and math.isclose(asked, fitted, rel_tol=NEAR)


def adopt_posthoc_priors(path: Path, model: str) -> None:
    """Make the priors fitted to weights with sha256 `model` valid for the run's current weights.

    Only for weights in which nothing but the default rate has changed.
    """
    for name in posthoc_prior_names(path):
        card_file = _files(path, name)[1]
        card = json.loads(card_file.read_text(encoding="utf-8"))
        if card.get("model") == model:
            _write(card_file, {**card, "model": sha256_of(path / WEIGHTS)})


def _write(file: Path, card: dict[str, Any]) -> None:
    text = json.dumps(card, indent=2) + "\n"
    with explain_disk_errors(file.parents[1]):
        write_atomically(file, lambda p: p.write_text(text, encoding="utf-8"))


def posthoc_prior_names(path: Path) -> list[str]:
    """Names of the priors stored in a run."""
    return sorted(file.stem for file in (path / FOLDER).glob("*.json"))


def _files(path: Path, name: str) -> tuple[Path, Path]:
    return path / FOLDER / f"{name}.safetensors", path / FOLDER / f"{name}.json"


def _check_free(path: Path, name: str) -> None:
    if not NAME.fullmatch(name):
        raise UserError(f"a prior's name got {name!r}: use letters, digits, dots, dashes and underscores")
    for file in _files(path, name):
        if file.exists():
            raise UserError(f"{file} exists: choose another --name, or remove it")
