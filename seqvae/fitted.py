"""Priors fitted to a finished run: what they bring, and how they are kept beside its weights.

priors/NAME.safetensors  the weights of the prior
priors/NAME.json         its kind and arguments, what it was fitted to, and what it brought

Shapes: D latent dims.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seqvae.build import wing_of
from seqvae.checkpoint import Run
from seqvae.config import Component
from seqvae.disk import digest, disk_errors, write_atomically
from seqvae.fitting import Fitting, fit_prior, held_codes, log_density
from seqvae.gains import brought
from seqvae.generate import with_rate
from seqvae.interfaces import Batch, Feed, Latent, Prior
from seqvae.metrics.gather import Progress, device_of, evaluating
from seqvae.model import VAE
from seqvae.priors import PRIORS
from seqvae.rates import OneRate, has_dial, rates_of
from seqvae.registry import UserError, construct, suggest
from seqvae.run_data import load_run_data
from seqvae.sources import AtDrawnRates, Fixed, Source
from seqvae.weights import WEIGHTS, read_weights, write_weights

FORMAT = 1
FOLDER = "priors"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
BATCH = 256  # examples that are encoded at once
AT_EACH = 256  # validation examples, at most, on which a prior is measured at each rate


@dataclass(frozen=True)
class Amounts:
    """How much data a run's prior is fitted to and judged on."""

    examples: int = 50_000  # of the training split, at most
    valid: int = 1000  # of the validation split, on which `brought` is measured
    samples: int = 20  # K of its IW-NLL


@dataclass(frozen=True)
class Fitted:
    """A prior with its name, how to build it, and what is told of it."""

    name: str
    prior: Prior
    spec: Component  # its row in the table of priors, and arguments
    report: dict[str, Any]


def fit_run(
    run: Run,
    spec: Component,
    name: str,
    how: Fitting,
    amounts: Amounts | None = None,
    progress: Progress | None = None,
) -> Fitted:
    """Fit a prior to the encoded training data of a run, measure what it brought, and keep it in the run.

    Where the run has a dial, one prior is fitted to codes of all its rates, told ln R (`how.rate`: to one);
    where the model is told labels, the prior is told them too.

    Raises:
        UserError: codes that do not fill R^D, a name that is taken, or a prior that does not exist.
    """
    amounts = amounts or Amounts()
    vae = run.vae if how.rate is None else with_rate(run.vae, how.rate)
    needs_real_codes(vae.latent)
    _check_free(run.path, name)
    any_rate = has_dial(vae.latent) and how.rate is None
    condition = (0 if vae.labels is None else vae.labels.dim) + any_rate
    prior = built(spec, vae.latent, how.seed, condition)
    wing = wing_of(run.config)
    feed = wing.make_feed(load_run_data(run, "train", "valid"), BATCH, 1, how.seed)
    sources = encoded(vae, training_batches(feed, amounts.examples), any_rate)
    fit = fit_prior(prior, sources, how, progress)
    before, _ = log_density(vae.prior, held_codes(sources, how))
    report: dict[str, Any] = {"seed": how.seed, "n": fit.n, "held_out": fit.held_out, "epochs": fit.epochs}
    report |= {"condition": condition, "any_rate": any_rate, "nats": how.rate}
    report["log_density"] = {"trained": before, "fitted": fit.after, "fitted_se": fit.after_se}
    judged = prior if how.rate is None else OneRate(prior, vae.latent, how.rate)
    report["valid"] = brought(vae, judged, list(feed.valid(amounts.valid)), amounts.samples, progress)
    if any_rate:
        report["rates"] = _at_each_rate(vae, prior, feed, amounts, progress)
    fitted = Fitted(name, prior, spec, report)
    save_fitted(run.path, fitted)
    return fitted


def _at_each_rate(
    vae: VAE, prior: Prior, feed: Feed, amounts: Amounts, progress: Progress | None
) -> list[dict[str, Any]]:
    """What a prior that is told the rate brings at 2, 4, 8 ... nats of the trained range."""
    few = list(feed.valid(min(amounts.valid, AT_EACH)))
    return [
        {"nats": nats, **brought(with_rate(vae, nats), prior, few, amounts.samples, progress)}
        for nats in rates_of(vae.latent)
    ]


def built(spec: Component, latent: Latent, seed: int = 0, condition: int = 0) -> Prior:
    """A prior for these codes that nothing was fitted to yet; the same seed, the same weights.

    Raises:
        UserError: an unknown prior or argument.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return construct("prior", PRIORS, spec, dim=latent.dim, latent=latent, condition=condition)


def training_batches(feed: Feed, examples: int) -> Iterator[Batch]:
    """The batches of one epoch until at least so many examples came, each example once."""
    seen = 0
    for step in range(feed.steps_per_epoch):
        for batch in feed.update(step):
            yield batch
            seen += batch.size
        if seen >= examples:
            return


def encoded(vae: VAE, batches: Iterable[Batch], any_rate: bool = False) -> list[Source]:
    """q(z|x) of each batch, in evaluation mode and without gradients; at `any_rate` of a dial, drawn anew."""
    device = device_of(vae)
    with evaluating(vae):
        there = (batch.to(device) for batch in batches)
        if any_rate:
            return [AtDrawnRates(vae, batch, vae.encoder(batch).float()) for batch in there]
        return [Fixed(vae.posterior(batch).detach(), _labels(vae, batch)) for batch in there]


def _labels(vae: VAE, batch: Batch) -> Tensor | None:
    """What of its condition (B, C) an example's labels are."""
    c = None if vae.labels is None else vae.condition(batch)
    return c if c is None or vae.labels is None else c[:, : vae.labels.dim]


def with_prior(vae: VAE, prior: Prior) -> VAE:
    """The same encoder, latent and decoder under another prior."""
    return vae.changed(prior=prior.to(device_of(vae)))


def needs_real_codes(latent: Latent) -> None:
    """Refuse latents whose codes do not live in all of R^D.

    Raises:
        UserError: such a latent.
    """
    if latent.dim == 0 or latent.default_prior != "standard":
        raise UserError(
            f"a mixture or a flow spreads over all of R^D, the codes of {type(latent).__name__} do not: "
            "fit it to a run of gaussian or deterministic codes"
        )


def save_fitted(path: Path, fitted: Fitted) -> Path:
    """Write a prior's two files into the folder of its run; the JSON of them.

    Raises:
        UserError: a name that is taken or no file's, or the disk is full.
    """
    _check_free(path, fitted.name)
    card = {"format_version": FORMAT, "prior": fitted.spec.model_dump(), **fitted.report}
    card["model"] = digest(path / WEIGHTS)
    weights, told = _files(path, fitted.name)
    with disk_errors(path):
        weights.parent.mkdir(exist_ok=True)
        write_atomically(weights, lambda p: write_weights(fitted.prior, p))
    _write(told, card)
    return told


def load_fitted(path: Path, name: str, latent: Latent) -> Prior:
    """A prior that was fitted to the run in a folder, in evaluation mode; `latent` is the run's.

    Raises:
        UserError: none of that name, damaged files, or the run's weights are other ones than then.
    """
    weights, told = _files(path, name)
    if not told.is_file():
        known = suggest(name, fitted_names(path))
        raise UserError(f"{path} has no prior {name!r}: {known}; `seqvae fit-prior {path}` fits one")
    try:
        card: dict[str, Any] = json.loads(told.read_text(encoding="utf-8"))
        spec, version, model = Component.model_validate(card["prior"]), card["format_version"], card["model"]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{told} was not written by seqvae: remove it and fit the prior again") from None
    if version > FORMAT:
        raise UserError(f"{told} has format {version}, this seqvae reads up to {FORMAT}: update seqvae")
    if model != digest(path / WEIGHTS):
        raise UserError(f"{told} was fitted to other weights than {path} has now: remove it, fit again")
    prior = built(spec, latent, condition=card.get("condition", 0))
    read_weights(prior, weights)
    if has_dial(latent) and not card.get("any_rate"):
        prior = OneRate(prior, latent, card.get("nats"))
    return prior.eval()


def keep_fitted(path: Path, model: str) -> None:
    """Priors of the weights whose digest was `model` become those of the run's weights as they are now.

    For weights in which nothing has changed but the default rate.
    """
    for name in fitted_names(path):
        told = _files(path, name)[1]
        card = json.loads(told.read_text(encoding="utf-8"))
        if card.get("model") == model:
            _write(told, {**card, "model": digest(path / WEIGHTS)})


def _write(file: Path, card: dict[str, Any]) -> None:
    text = json.dumps(card, indent=2) + "\n"
    with disk_errors(file.parents[1]):
        write_atomically(file, lambda p: p.write_text(text, encoding="utf-8"))


def fitted_names(path: Path) -> list[str]:
    """The priors that were fitted to a run."""
    return sorted(file.stem for file in (path / FOLDER).glob("*.json"))


def _files(path: Path, name: str) -> tuple[Path, Path]:
    return path / FOLDER / f"{name}.safetensors", path / FOLDER / f"{name}.json"


def _check_free(path: Path, name: str) -> None:
    if not NAME.fullmatch(name):
        raise UserError(f"a prior's name got {name!r}: use letters, digits, dots, dashes and underscores")
    for file in _files(path, name):
        if file.exists():
            raise UserError(f"{file} exists: choose another --name, or remove it")
