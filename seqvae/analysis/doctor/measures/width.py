"""What a wider posterior would cost: the same means, with all standard deviations multiplied.

Shapes: S samples, B examples of a batch, D latent dims.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from seqvae.evaluation.metrics.evaluation_pass import detached_float64, device_of, evaluation_mode
from seqvae.interfaces import Batch
from seqvae.models.latents.gaussian import DiagonalNormal, kl_to_standard
from seqvae.models.priors import StandardPrior
from seqvae.models.vae import VAE

FACTORS = (1.0, 1.5, 2.0, 3.0)
SAMPLES = 4


@dataclass(frozen=True)
class WidthTest:
    """Rate and distortion in nats per example at each factor of the standard deviations; the first is 1."""

    factors: tuple[float, ...]
    rate: tuple[float, ...]
    distortion: tuple[float, ...]

    @property
    def gain(self) -> float:
        """Nats of -ELBO saved by the best of the factors."""
        sums = [r + d for r, d in zip(self.rate, self.distortion, strict=True)]
        return sums[0] - min(sums)

    @property
    def price(self) -> float:
        """Nats of distortion added per nat of rate saved at factor 1.5: near 1 where -ELBO is optimal."""
        return (self.distortion[1] - self.distortion[0]) / max(1e-6, self.rate[0] - self.rate[1])


def measure_width(vae: VAE, batches: Sequence[Batch]) -> WidthTest | None:
    """Measure the batches at each factor; None where q(z|x) is no diagonal normal or p(z) not N(0, I)."""
    if not vae.latent.is_diagonal_gaussian or not isinstance(vae.prior, StandardPrior):
        return None
    device = device_of(vae)
    with evaluation_mode(vae):
        rows = torch.cat([_rows(vae, batch.to(device)) for batch in batches])  # (N, factors, 2)
    means = rows.mean(0)
    return WidthTest(FACTORS, tuple(means[:, 0].tolist()), tuple(means[:, 1].tolist()))


def _rows(vae: VAE, batch: Batch) -> Tensor:
    """(B, factors, 2): rate and distortion of each example."""
    q, c = vae.posterior(batch), vae.condition(batch)
    found = []
    for factor in FACTORS:
        wide = DiagonalNormal(q.mean, q.logvar + 2 * torch.tensor(factor).log())  # type: ignore[attr-defined]
        z = wide.rsample(SAMPLES, batch.random)
        distortion = -detached_float64(vae.likelihood(z, c).log_prob(batch)).mean(0)
        rate = detached_float64(kl_to_standard(wide.mean, wide.logvar).sum(-1))
        found.append(torch.stack([rate, distortion], -1).cpu())
    return torch.stack(found, 1)
