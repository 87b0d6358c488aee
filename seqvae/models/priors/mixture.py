"""Mixture prior: a learned mixture of diagonal Gaussians.

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

CONDITIONED_PARTS = 32  # hidden units of the network that reads the condition


@dataclass(frozen=True)
class GaussianMixture:
    """sum_k w_k N(mean_k, diag exp(logvar_k)).

    Attributes:
        log_w: (K,), or (B, K) if conditioned.
        mean: (K, D), or (B, K, D).
        logvar: as `mean`.

    Example:
        >>> mean = torch.tensor([[-2.0], [2.0]])
        >>> p = GaussianMixture(torch.tensor([0.5, 0.5]).log(), mean, torch.zeros(2, 1))
        >>> p.log_prob(torch.zeros(3, 1, 1)).shape, p.sample(4, KeyedNoise(0, 0, torch.arange(4))).shape
        (torch.Size([3, 1]), torch.Size([4, 1]))
    """

    log_w: Tensor
    mean: Tensor
    logvar: Tensor

    def log_prob(self, z: Tensor) -> Tensor:
        """Log p(z) in nats, (S, B), for z (S, B, D)."""
        if self.mean.dim() == 2:
            each = DiagonalNormals(self.mean, self.logvar).log_prob(z).to(z)  # (S, B, K)
        else:
            squares = scaled_squares(z[..., None, :] - self.mean, self.logvar)  # (S, B, K, D)
            each = -0.5 * (LOG_2PI + self.logvar + squares).sum(-1)
        return torch.logsumexp(self.log_w + each, -1)

    def sample(self, n: int, random: KeyedNoise) -> Tensor:
        """Samples z (n, D): a random component each, then its Gaussian."""
        rows = random.for_n(n)
        cdf = self.log_w.exp().cumsum(-1).expand(n, -1).contiguous()  # (n, K)
        uniform = rows.uniform("component").to(cdf)[:, None]
        chosen = torch.searchsorted(cdf, uniform)[:, 0]
        chosen = chosen.clamp(max=cdf.shape[-1] - 1)  # the rounded sum may end just below 1
        mean, logvar = (
            each.expand(n, *each.shape[-2:])[torch.arange(n, device=chosen.device), chosen]
            for each in (self.mean, self.logvar)
        )
        return mean + torch.exp(0.5 * logvar) * rows.normal("prior", mean.shape[-1]).to(mean)


class MixturePrior(Prior):
    """p(z) is a mixture of `components` diagonal Gaussians, all learned: weights, means and variances.

    Initially close to N(0, I), with half of the variance between the components and half within them. With a
    condition, a small network of c, whose output is zero at first, is added to all of them.

    Args:
        dim: D.
        components: K.
        condition: C, number of condition features; 0 for none.
    """

    paper = "Jiang et al., Variational Deep Embedding: A Generative Approach to Clustering"
    year = 2017

    def __init__(self, dim: int, components: Annotated[int, Field(gt=0)] = 20, condition: int = 0) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(components))
        self.mean = nn.Parameter(math.sqrt(0.5) * torch.randn(components, dim))
        self.logvar = nn.Parameter(torch.full((components, dim), math.log(0.5)))
        self.condition = condition
        # `told` is a key of checkpoints: renaming it would need a key map
        self.told = _zero_linear(condition, components * (2 * dim + 1)) if condition else None

    def forward(self, c: Tensor | None = None) -> GaussianMixture:
        """p(z), or p(z|c) for c (B, C)."""
        if self.told is None or c is None:
            return GaussianMixture(torch.log_softmax(self.logits, 0), self.mean, self.logvar)
        offset = self.told(c).view(len(c), len(self.logits), -1)  # (B, K, 1 + 2D)
        mean, logvar = offset[..., 1:].chunk(2, -1)
        weights = torch.log_softmax(self.logits + offset[..., 0], -1)
        return GaussianMixture(weights, self.mean + mean, self.logvar + logvar)


def _zero_linear(condition: int, outputs: int) -> nn.Sequential:
    """A network from c (B, C) to (B, `outputs`), whose output is zero at initialisation."""
    last = nn.Linear(CONDITIONED_PARTS, outputs)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(condition, CONDITIONED_PARTS), nn.SiLU(), last)
