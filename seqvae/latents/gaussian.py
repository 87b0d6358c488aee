"""The diagonal Gaussian posterior of every textbook VAE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from seqvae.interfaces import Latent, PriorDistribution
from seqvae.numerics import LOG_2PI, Randomness


@dataclass(frozen=True)
class DiagonalNormal:
    """N(mean, diag exp(logvar)) for B examples; `mean` and `logvar` are (B, D)."""

    mean: Tensor
    logvar: Tensor

    def rsample(self, n: int, random: Randomness) -> Tensor:
        """Z = mean + exp(logvar / 2) * noise, (n, B, D)."""
        noise = random.normal("posterior", n, self.mean.shape[-1])  # (B, n, D)
        return self.mean + torch.exp(0.5 * self.logvar) * noise.transpose(0, 1).to(self.mean)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log N(z; mean, var) in nats, (S, B) for z (S, B, D)."""
        squares = (z - self.mean) ** 2 * torch.exp(-self.logvar)
        return -0.5 * (LOG_2PI + self.logvar + squares).sum(-1)

    def detach(self) -> DiagonalNormal:
        """The same distribution, without gradients."""
        return DiagonalNormal(self.mean.detach(), self.logvar.detach())

    def index(self, i: Tensor | slice) -> DiagonalNormal:
        """The posteriors of the chosen examples."""
        return DiagonalNormal(self.mean[i], self.logvar[i])


def kl_to_standard(mean: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mean, var) || N(0, 1)) = (mean^2 + var - 1 - log var) / 2 a dim, in nats.

    Source: Kingma & Welling 2014, appendix B.
    """
    return 0.5 * (mean**2 + torch.expm1(logvar) - logvar)


def kl_to_normal(q: DiagonalNormal, p: DiagonalNormal) -> Tensor:
    """KL(q || p) a dim, (B, D) nats: that of (z - mean_p) / sd_p to the standard normal."""
    mean = (q.mean - p.mean) * torch.exp(-0.5 * p.logvar)
    return kl_to_standard(mean, q.logvar - p.logvar)


def gaussian_kl(q: DiagonalNormal, p: PriorDistribution, z: Tensor) -> Tensor:
    """KL(q || p): (1, B, D) in closed form where p is normal a dim, else log q(z) - log p(z) (S, B, 1)."""
    if getattr(p, "is_standard", False):
        return kl_to_standard(q.mean, q.logvar)[None]
    if getattr(p, "is_diagonal", False):
        return kl_to_normal(q, p)[None]  # type: ignore[arg-type]
    return (q.log_prob(z) - p.log_prob(z))[..., None]


class Gaussian(Latent):
    """q(z|x) = N(mu(h), diag sigma^2(h)), both linear in the features."""

    paper = "Kingma & Welling, Auto-Encoding Variational Bayes"
    year = 2014
    diagonal = True

    def __init__(self, features: int, dim: Annotated[int, Field(gt=0)] = 32) -> None:
        super().__init__()
        self.dim = dim
        self.mean = nn.Linear(features, dim)
        self.logvar = nn.Linear(features, dim)

    def posterior(self, h: Tensor, c: Tensor | None = None) -> DiagonalNormal:
        """q(z|x) from h (B, H)."""
        return DiagonalNormal(self.mean(h), self.logvar(h))

    def kl(self, q: DiagonalNormal, p: PriorDistribution, z: Tensor) -> Tensor:
        """(1, B, D) in closed form under the standard prior, else (S, B, 1) from the samples."""
        return gaussian_kl(q, p, z)
