"""Minimum rates: the nats that an example needs to be reconstructed, by bisection of the rate.

Shapes: N examples, M of them in one call, S samples, B of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from seqvae.errors import UserError
from seqvae.evaluation.metrics.evaluation_pass import detached_float64
from seqvae.evaluation.metrics.text_scores import token_accuracy
from seqvae.evaluation.rate_sweep import trained_range
from seqvae.inference import PretrainedVAE, TextVAE
from seqvae.inference.inputs import Inputs
from seqvae.inference.text_vae import Reconstruction
from seqvae.interfaces import point_estimate
from seqvae.models.sampling import with_own_labels
from seqvae.models.vae import VAE
from seqvae.utils.reporter import Reporter

MeetsTarget = Callable[
    [Tensor, Tensor], Tensor
]  # rows (M,) and their rates (M,) -> whether each is reconstructed (M,)


@dataclass(frozen=True)
class ReconstructionTarget:
    """When an example counts as reconstructed, and how finely its rate is searched.

    A sentence is reconstructed if its greedy reconstruction has a token accuracy (by position, the end token
    counted) of at least `accuracy`; or, for any modality, if -ln p(x|z) is at most `distortion` nats. Both
    are measured at the posterior mean, or averaged over `draws` samples of the posterior. The mean carries no
    noise, so that it may suffice at fewer nats than are needed to distinguish all sentences; samples do not.
    """

    accuracy: float = 1.0
    distortion: float | None = None
    draws: int = 0
    rounds: int = 8

    def __post_init__(self) -> None:
        """Reject an accuracy outside (0, 1]."""
        if not 0 < self.accuracy <= 1:
            raise UserError(f"accuracy got {self.accuracy:g}: give a fraction of the tokens in (0, 1]")


@dataclass(frozen=True)
class MinimumRate:
    """A sentence, the lowest rate in nats at which it is reconstructed, and its reconstruction there.

    If it is not reconstructed at the run's highest rate, `nats` is None and `reconstruction` is that one.
    """

    text: str
    nats: float | None
    reconstruction: str

    @property
    def summary(self) -> str:
        """The sentence; if it was not reconstructed at any rate, also its reconstruction."""
        return self.text if self.nats is not None else f"{self.text}  ->  {self.reconstruction}"


@dataclass(frozen=True)
class ImageMinimumRate:
    """An image by its index, the lowest rate that meets the target, and the distortion there, in nats."""

    picture: int
    nats: float | None
    distortion: float

    @property
    def summary(self) -> str:
        """The image's index and the distortion."""
        return f"{self.picture}  (distortion {self.distortion:.2f} nats)"


def bisect_rates(meets_target: MeetsTarget, n: int, low: float, high: float, rounds: int = 8) -> Tensor:
    """Lowest rates in nats at which N examples meet a target, by bisection of ln R.

    It assumes that an example that meets the target at one rate does so at all higher rates. The result is a
    rate at which it does, at most (high / low)^(1 / 2^rounds) times too high.

    Args:
        meets_target: (rows (M,), rates (M,)) -> bool (M,); called `rounds` + 2 times, for all rows at once.
        n: N.
        low: lowest rate, the result for examples that meet the target there.
        high: highest rate; examples that do not meet the target there get infinity.
        rounds: number of bisections.

    Returns:
        Rates (N,) fp64.
    """
    rows = torch.arange(n)
    least = torch.full((n,), torch.inf, dtype=torch.double)
    for end in (high, low):  # only rows that meet the target at the highest rate are tried at the lowest
        ends = torch.full((len(rows),), end, dtype=torch.double)
        rows = rows[meets_target(rows, ends)]
        least[rows] = end
    rows = torch.arange(n)[least == high]
    failed = torch.full((len(rows),), low, dtype=torch.double)
    for _ in range(rounds if len(rows) else 0):
        middle = torch.sqrt(failed * least[rows])  # the midpoint in ln R
        back = meets_target(rows, middle)
        least[rows] = torch.where(back, middle, least[rows])
        failed = torch.where(back, failed, middle)
    return least


def minimum_rates(
    vae: TextVAE,
    sentences: Inputs,
    wanted: ReconstructionTarget | None = None,
    report: Reporter | None = None,
) -> list[MinimumRate]:
    """Minimum rate of each sentence, in the order given.

    Raises:
        UserError: not a variable-rate run, an empty sentence, or labels that are missing or unknown.
    """
    least, high = _search(vae, sentences, wanted or ReconstructionTarget(), report)
    shown = vae.reconstruct(
        sentences.x,
        how=vae.greedy_untruncated(),
        rate=least.clamp(max=high).tolist(),
        condition=sentences.condition,
    )
    pairs = zip(shown, least.tolist(), strict=True)
    return [MinimumRate(s.text, nats if nats <= high else None, s.reconstruction) for s, nats in pairs]


def image_minimum_rates(
    vae: PretrainedVAE, pictures: Inputs, wanted: ReconstructionTarget, report: Reporter | None = None
) -> list[ImageMinimumRate]:
    """Minimum rate of each image for a distortion, in the order given.

    Raises:
        UserError: no distortion, not a variable-rate run, or labels that are missing or unknown.
    """
    if wanted.distortion is None:
        raise UserError(
            "a picture is never exactly reconstructed: give the nats it may cost with --distortion X"
        )
    least, high = _search(vae, pictures, wanted, report)
    reached = measure_distortions(vae, pictures, least.clamp(max=high), wanted.draws)
    pairs = zip(least.tolist(), reached, strict=True)
    return [ImageMinimumRate(i, nats if nats <= high else None, d) for i, (nats, d) in enumerate(pairs)]


def find_minimum_rates(
    vae: PretrainedVAE, examples: Inputs, wanted: ReconstructionTarget, report: Reporter | None = None
) -> list[MinimumRate] | list[ImageMinimumRate]:
    """Minimum rate of each sentence or image, the lowest first.

    Raises:
        UserError: as `minimum_rates` and `image_minimum_rates`.
    """
    if isinstance(vae, TextVAE):
        found: Any = minimum_rates(vae, examples, wanted, report)
    else:
        found = image_minimum_rates(vae, examples, wanted, report)
    return sorted(found, key=lambda need: torch.inf if need.nats is None else need.nats)


def _search(
    vae: PretrainedVAE, examples: Inputs, wanted: ReconstructionTarget, report: Reporter | None
) -> tuple[Tensor, float]:
    """The minimum rates (N,), and the highest rate of the run."""
    low, high = trained_range(vae.vae.latent)
    calls = 0

    def meets_target(rows: Tensor, nats: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if report is not None:
            report.advance(calls, wanted.rounds + 2, "rates")
        return _meets_target(vae, examples.rows(rows), nats, wanted)

    return bisect_rates(meets_target, len(examples), low, high, wanted.rounds), high


def _meets_target(vae: PretrainedVAE, examples: Inputs, nats: Tensor, wanted: ReconstructionTarget) -> Tensor:
    if not len(examples):
        return torch.zeros(0, dtype=torch.bool)
    if wanted.distortion is not None:
        cost = torch.tensor(measure_distortions(vae, examples, nats, wanted.draws))
        return cost <= wanted.distortion
    back = measure_accuracies(cast(TextVAE, vae), examples, nats, wanted.draws)
    return torch.tensor([share >= wanted.accuracy for share in back])


@torch.no_grad()
def measure_distortions(vae: PretrainedVAE, examples: Inputs, nats: Tensor, draws: int = 0) -> list[float]:
    """-ln p(x|z) of each example at its own rate (N,), in nats, at the mean or averaged over samples."""
    model: VAE = vae.vae if examples.condition is None else with_own_labels(vae.vae)
    found = [torch.zeros(0, dtype=torch.float64)]
    for batch in vae.conditioned_batches(examples.x, 0, nats.tolist(), examples.condition):
        q = model.posterior(batch)
        z = q.rsample(draws, batch.random) if draws else point_estimate(q)[None]  # (S, B, D)
        likelihood = model.likelihood(z, model.condition(batch))
        found.append(-detached_float64(likelihood.log_prob(batch)).mean(0))
    return torch.cat([part.to(found[-1].device) for part in found]).tolist()


def measure_accuracies(vae: TextVAE, examples: Inputs, nats: Tensor, draws: int = 0) -> list[float]:
    """Token accuracy of each sentence at its own rate (N,) nats, at the mean or averaged over samples."""

    def measure(sample: bool, seed: int) -> list[float]:
        asked: dict[str, Any] = {"rate": nats.tolist(), "condition": examples.condition}
        asked["how"] = vae.greedy_untruncated()
        # equal sentences get equal noise, whichever of them are in this call of the bisection
        pairs = vae.reconstruct(examples.x, sample=sample, seed=seed, **asked, repeats_differ=False)
        return _measure_accuracies(vae, pairs)

    if not draws:
        return measure(False, 0)
    drawn = (measure(True, seed) for seed in range(draws))
    return [sum(row) / draws for row in zip(*drawn, strict=True)]


def _measure_accuracies(vae: TextVAE, pairs: Sequence[Reconstruction]) -> list[float]:
    back = vae.tokenizer.encode_batch([pair.reconstruction for pair in pairs])
    wanted = vae.references([pair.text for pair in pairs])
    return [token_accuracy([a], [b]) for a, b in zip(back, wanted, strict=True)]
