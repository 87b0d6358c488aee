"""The rate that a config asks for, and, of a variable-rate run, how many nats sentences need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from seqvae.analysis.minimum_rate import ReconstructionTarget, minimum_rates
from seqvae.config.schema import RunConfig
from seqvae.evaluation.rate_sweep import is_variable_rate, trained_range
from seqvae.inference import PretrainedVAE, TextVAE
from seqvae.inference.inputs import load_inputs

SENTENCES, ROUNDS = 60, 3
_LIMITED = ("capacity", "target_rate", "control_vae")  # remedies that hold the rate at `nats`


@dataclass(frozen=True)
class RequestedRate:
    """The line of a config that holds the rate at some nats; `nats` is None where it only presses it down."""

    key: str  # of the config, as `--set` takes it; `{}` is the place of the value
    nats: float | None


@dataclass(frozen=True)
class RateRangeTest:
    """Of a variable-rate run: the share of held-out sentences that no rate of its range reconstructs.

    `median` is the rate that half of the reconstructed ones need; None where none does.
    """

    low: float
    high: float
    lost: float
    median: float | None


def requested_rate(config: RunConfig) -> RequestedRate | None:
    """What holds the rate of a run down, where something does."""
    latent = config.latent.arguments
    nats = latent.get("nats", 6.0)
    if config.latent.name in ("exact_rate",) and isinstance(nats, int | float):
        return RequestedRate("latent.nats={}", float(nats))
    for place, remedy in enumerate(config.remedies):
        if remedy.name in _LIMITED:
            return RequestedRate(f"remedies.{place}.nats={{}}", float(remedy.arguments.get("nats", 8.0)))
        if remedy.name == "constant_beta" and remedy.arguments.get("beta", 1.0) > 1:
            return RequestedRate(f"remedies.{place}.beta=1", None)
    return None


def measure_range(vae: PretrainedVAE, split: str) -> RateRangeTest | None:
    """How many nats held-out sentences need; None of other runs."""
    if not is_variable_rate(vae.vae.latent) or not isinstance(vae, TextVAE) or vae.reads_vectors:
        return None
    low, high = trained_range(vae.vae.latent)
    needs = minimum_rates(vae, load_inputs(vae, split, SENTENCES), ReconstructionTarget(0.9, rounds=ROUNDS))
    found: list[Any] = sorted(need.nats for need in needs if need.nats is not None)
    lost = 1 - len(found) / max(1, len(needs))
    return RateRangeTest(low, high, lost, found[len(found) // 2] if found else None)
