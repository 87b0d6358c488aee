"""A learned mixture of diagonal Gaussians as prior.

Shapes: S samples, B examples, K components, D latent dims.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from seqvae.interfaces import Prior
from seqvae.numerics import LOG_2PI, Randomness


@dataclass(frozen=True)
class GaussianMixture:
    """sum_k w_k N(mean_k, diag exp(logvar_k)); `log_w` (K,), `mean` and `logvar` (K, D)."""

    log_w: Tensor
    mean: Tensor
    logvar: Tensor

    def log_prob(self, z: Tensor) -> Tensor:
        """Ln p(z) in nats, (S, B) for z (S, B, D)."""
        squares = (z[..., None, :] - self.mean) ** 2 * torch.exp(-self.logvar)  # (S, B, K, D)
        each = -0.5 * (LOG_2PI + self.logvar + squares).sum(-1)
        return torch.logsumexp(self.log_w + each, -1)

    def sample(self, n: int, random: Randomness) -> Tensor:
        """Z (n, D): a component each, then its Gaussian."""
        rows = random.rows(n)
        ladder = self.log_w.exp().cumsum(0)
        chosen = torch.searchsorted(ladder, rows.uniform("component").to(ladder))
        chosen = chosen.clamp(max=len(ladder) - 1)  # the ladder may end just below 1
        noise = rows.normal("prior", self.mean.shape[-1]).to(self.mean)
        return self.mean[chosen] + torch.exp(0.5 * self.logvar[chosen]) * noise


class MixturePrior(Prior):
    """p(z) is a mixture of `components` diagonal Gaussians, all learned: weights, means and variances.

    It starts near N(0, I), with half of the variance between the components and half inside.
    """

    paper = "Jiang et al., Variational Deep Embedding: A Generative Approach to Clustering"
    year = 2017

    def __init__(self, dim: int, components: Annotated[int, Field(gt=0)] = 20) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(components))
        self.mean = nn.Parameter(math.sqrt(0.5) * torch.randn(components, dim))
        self.logvar = nn.Parameter(torch.full((components, dim), math.log(0.5)))

    def forward(self, c: Tensor | None = None) -> GaussianMixture:
        """The distribution; it reads no condition."""
        return GaussianMixture(torch.log_softmax(self.logits, 0), self.mean, self.logvar)
