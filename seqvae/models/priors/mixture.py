"""A learned mixture of diagonal Gaussians as prior.

Shapes: S samples, B examples, K components, D latent dims, C conditions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from seqvae.interfaces import Prior
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.diagonal_normals import DiagonalNormals, scaled_squares
from seqvae.numerics import LOG_2PI

CONDITIONED_PARTS = 32  # units between a condition and what it moves


@dataclass(frozen=True)
class GaussianMixture:
    """sum_k w_k N(mean_k, diag exp(logvar_k)); `log_w` (K,), `mean` and `logvar` (K, D).

    Each example has its own where they are told a condition: (B, K) and (B, K, D).
    """

    log_w: Tensor
    mean: Tensor
    logvar: Tensor

    def log_prob(self, z: Tensor) -> Tensor:
        """Ln p(z) in nats, (S, B) for z (S, B, D)."""
        if self.mean.dim() == 2:
            each = DiagonalNormals(self.mean, self.logvar).log_prob(z).to(z)  # (S, B, K)
        else:
            squares = scaled_squares(z[..., None, :] - self.mean, self.logvar)  # (S, B, K, D)
            each = -0.5 * (LOG_2PI + self.logvar + squares).sum(-1)
        return torch.logsumexp(self.log_w + each, -1)

    def sample(self, n: int, random: KeyedNoise) -> Tensor:
        """Z (n, D): a component each, then its Gaussian."""
        rows = random.for_n(n)
        ladder = self.log_w.exp().cumsum(-1).expand(n, -1).contiguous()  # (n, K)
        chance = rows.uniform("component").to(ladder)[:, None]
        chosen = torch.searchsorted(ladder, chance)[:, 0]
        chosen = chosen.clamp(max=ladder.shape[-1] - 1)  # the ladder may end just below 1
        mean, logvar = (
            each.expand(n, *each.shape[-2:])[torch.arange(n, device=chosen.device), chosen]
            for each in (self.mean, self.logvar)
        )
        return mean + torch.exp(0.5 * logvar) * rows.normal("prior", mean.shape[-1]).to(mean)


class MixturePrior(Prior):
    """p(z) is a mixture of `components` diagonal Gaussians, all learned: weights, means and variances.

    It starts near N(0, I), with half of the variance between the components and half inside. Told a
    condition c, all of them are moved by what a small network makes of c, which is nothing at first.
    """

    paper = "Jiang et al., Variational Deep Embedding: A Generative Approach to Clustering"
    year = 2017

    def __init__(self, dim: int, components: Annotated[int, Field(gt=0)] = 20, condition: int = 0) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(components))
        self.mean = nn.Parameter(math.sqrt(0.5) * torch.randn(components, dim))
        self.logvar = nn.Parameter(torch.full((components, dim), math.log(0.5)))
        self.condition = condition
        self.told = _zero_linear(condition, components * (2 * dim + 1)) if condition else None

    def forward(self, c: Tensor | None = None) -> GaussianMixture:
        """The distribution, each example's own where it is told c (B, C)."""
        if self.told is None or c is None:
            return GaussianMixture(torch.log_softmax(self.logits, 0), self.mean, self.logvar)
        moved = self.told(c).view(len(c), len(self.logits), -1)  # (B, K, 1 + 2D)
        mean, logvar = moved[..., 1:].chunk(2, -1)
        weights = torch.log_softmax(self.logits + moved[..., 0], -1)
        return GaussianMixture(weights, self.mean + mean, self.logvar + logvar)


def _zero_linear(condition: int, outputs: int) -> nn.Sequential:
    """From c (B, C) to (B, `outputs`), zero at first."""
    last = nn.Linear(CONDITIONED_PARTS, outputs)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(condition, CONDITIONED_PARTS), nn.SiLU(), last)
