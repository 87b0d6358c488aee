"""Priors fitted to a finished run after training: their files in its folder, and which of them serves a use.

priors/NAME.safetensors  the weights of the prior
priors/NAME.json         its kind and arguments, the weights it was fitted to, and its measured gain

Shapes: D latent dims.
"""

from __future__ import annotations

import json
import math
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from seqvae._deprecated import renamed_names
from seqvae.config.registry import construct
from seqvae.config.schema import Component
from seqvae.errors import UserError, suggest
from seqvae.evaluation.metrics.evaluation_pass import device_of
from seqvae.evaluation.rate_sweep import NEAR, FixedRatePrior, is_variable_rate
from seqvae.interfaces import Latent, Prior
from seqvae.models.priors import PRIORS
from seqvae.models.sampling import Rate
from seqvae.models.vae import VAE
from seqvae.runs.weights import WEIGHTS, read_weights, write_weights
from seqvae.utils.atomic_files import explain_disk_errors, sha256_of, write_atomically

FORMAT = 1
FOLDER = "priors"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class PosthocPrior:
    """A fitted prior: its name, module, config block and report."""

    name: str
    prior: Prior
    spec: Component  # its name in the table of priors, and its arguments
    report: dict[str, Any]


def build_prior(spec: Component, latent: Latent, seed: int = 0, condition: int = 0) -> Prior:
    """Build an untrained prior for these codes, with initial weights from `seed`.

    Raises:
        UserError: an unknown prior or argument.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return construct("prior", PRIORS, spec, dim=latent.dim, latent=latent, condition=condition)


def with_prior(vae: VAE, prior: Prior) -> VAE:
    """The same encoder, latent and decoder under another prior."""
    return vae.replace(prior=prior.to(device_of(vae)))


def save_posthoc_prior(path: Path, fitted: PosthocPrior) -> Path:
    """Write a prior's two files to the folder of its run; returns the JSON file.

    Raises:
        UserError: the name is taken or not a valid file name, or the disk is full.
    """
    check_free_name(path, fitted.name)
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


def check_free_name(path: Path, name: str) -> None:
    """Refuse a name under which no prior can be stored in the run.

    Raises:
        UserError: it is taken or not a valid file name.
    """
    if not NAME.fullmatch(name):
        raise UserError(f"a prior's name got {name!r}: use letters, digits, dots, dashes and underscores")
    for file in _files(path, name):
        if file.exists():
            raise UserError(f"{file} exists: choose another --name, or remove it")


if not TYPE_CHECKING:  # with a module `__getattr__` type checkers accept any name
    __getattr__ = renamed_names(__name__)
