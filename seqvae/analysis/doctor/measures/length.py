"""Whether a code holds the length of its sentence and nothing else.

Shapes: N examples, D latent dims.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from seqvae.evaluation.metrics.evaluation_pass import EvaluationPass, PerExample, detached_float64
from seqvae.evaluation.metrics.information import keyed_order
from seqvae.interfaces import Batch
from seqvae.models.vae import VAE

GROUPS = 12  # of lengths


@dataclass(frozen=True)
class LengthTest:
    """What of a code is length.

    `explained` (D,) is the share of a dim's variance over examples that the length explains. `gap` and
    `gap_alike` are nats lost with the code of any other example, and with that of one of the same length.
    """

    explained: tuple[float, ...]
    gap: float
    gap_alike: float

    def rate_share(self, kl: Sequence[float]) -> float:
        """The share of the rate in dims that length explains, weighted by how far it does."""
        total = sum(kl)
        if len(kl) != len(self.explained) or total <= 0:
            return sum(self.explained) / max(1, len(self.explained))
        return sum(nats * share for nats, share in zip(kl, self.explained, strict=True)) / total


def measure_length(vae: VAE, batches: Sequence[Batch], held: PerExample) -> LengthTest:
    """Group the held-out examples by length, and swap codes inside and across lengths."""
    lengths = torch.cat([batch.target_counts for batch in batches]).cpu().double()
    order = keyed_order(held["index"], 0, "length partners")
    z = held["z"]
    own = _distortions(vae, batches, z)
    anyone = _distortions(vae, batches, z[_partners(order, lengths * 0)])
    alike = _distortions(vae, batches, z[_partners(order, lengths)])
    return LengthTest(
        tuple(explained_share(held["mean"].double(), lengths).tolist()),
        float((anyone - own).mean()),
        float((alike - own).mean()),
    )


def _partners(order: Tensor, lengths: Tensor) -> Tensor:
    """(N,): for each example the next one in `order` among those of its length, or of the nearest."""
    ranked = order[lengths[order].argsort(stable=True)]
    other = torch.empty_like(ranked)
    other[ranked] = ranked.roll(-1)
    return other


def explained_share(means: Tensor, lengths: Tensor) -> Tensor:
    """(D,): correlation ratio of means (N, D) over groups of similar lengths (N,), in [0, 1].

    Variance between groups / variance, less what as many groups explain of noise: (eta^2 - k/N) / (1 - k/N).
    """
    shares = torch.linspace(0, 1, GROUPS + 1, dtype=lengths.dtype)[1:-1]
    edges: Tensor = torch.unique(torch.quantile(lengths, shares))
    groups = torch.bucketize(lengths, edges)
    centred = means - means.mean(0)
    total = (centred**2).sum(0)
    between = torch.zeros_like(total)
    kinds: Tensor = torch.unique(groups)
    for group in kinds:
        rows = centred[groups == group]
        between += len(rows) * rows.mean(0) ** 2
    chance = (len(kinds) - 1) / max(1, len(means) - 1)
    share = (between / total.clamp(min=1e-12) - chance) / max(1e-6, 1 - chance)
    return share.clamp(0, 1)


def _distortions(vae: VAE, batches: Sequence[Batch], codes: Tensor) -> Tensor:
    """(N,) -ln p(x|z) in nats, of each example with the code (N, D) in its row."""

    def score(batch: Batch, rows: slice) -> Tensor:
        z = codes[rows].to(batch.index.device)[None]
        return -detached_float64(vae.likelihood(z, vae.condition(batch)).log_prob(batch)[0]).cpu()

    return torch.cat(EvaluationPass(vae, batches).over("length", score))
