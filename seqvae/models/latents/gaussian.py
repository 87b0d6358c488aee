"""The diagonal Gaussian posterior of every textbook VAE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from seqvae.interfaces import Latent, register_kl
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.diagonal_normals import scaled_squares
from seqvae.models.priors.conditional import NormalOfCondition
from seqvae.models.priors.standard import StandardNormal
from seqvae.numerics import LOG_2PI


@dataclass(frozen=True)
class DiagonalNormal:
    """N(mean, diag exp(logvar)) for B examples; `mean` and `logvar` are (B, D)."""

    mean: Tensor
    logvar: Tensor

    @property
    def point_estimate(self) -> Tensor:
        """The mean, (B, D)."""
        return self.mean

    def rsample(self, n: int, random: KeyedNoise) -> Tensor:
        """Z = mean + exp(logvar / 2) * noise, (n, B, D)."""
        return self.mean + torch.exp(0.5 * self.logvar) * self._noise(n, random)

    def rsample_with_log_prob(self, n: int, random: KeyedNoise) -> tuple[Tensor, Tensor]:
        """The same z (n, B, D) and log q(z|x) of them (n, B), taken from the noise itself.

        Where a deviation is below the spacing of floats at the mean, z is rounded to the mean, and
        `log_prob` of it is too high by half a nat per dim.
        """
        noise = self._noise(n, random)
        log_q = -0.5 * (LOG_2PI + self.logvar + noise**2).sum(-1)
        return self.mean + torch.exp(0.5 * self.logvar) * noise, log_q

    def _noise(self, n: int, random: KeyedNoise) -> Tensor:
        """(n, B, D)."""
        return random.normal("posterior", n, self.mean.shape[-1]).transpose(0, 1).to(self.mean)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log N(z; mean, var) in nats, (S, B) for z (S, B, D)."""
        squares = scaled_squares(z - self.mean, self.logvar)
        return -0.5 * (LOG_2PI + self.logvar + squares).sum(-1)

    def detach(self) -> DiagonalNormal:
        """The same distribution, without gradients."""
        return DiagonalNormal(self.mean.detach(), self.logvar.detach())

    def select(self, i: Tensor | slice) -> DiagonalNormal:
        """The posteriors of the chosen examples."""
        return DiagonalNormal(self.mean[i], self.logvar[i])


def kl_to_standard(mean: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mean, var) || N(0, 1)) = (mean^2 + var - 1 - log var) / 2 a dim, in nats.

    Source: Kingma & Welling 2014, appendix B.
    """
    return 0.5 * (mean**2 + torch.expm1(logvar) - logvar)


def kl_to_normal(q: DiagonalNormal, p: DiagonalNormal | NormalOfCondition) -> Tensor:
    """KL(q || p) a dim, (B, D) nats: that of (z - mean_p) / sd_p to the standard normal."""
    mean = (q.mean - p.mean) * torch.exp(-0.5 * p.logvar)
    return kl_to_standard(mean, q.logvar - p.logvar)


@register_kl(DiagonalNormal, StandardNormal)
def _kl_to_standard(q: DiagonalNormal, p: StandardNormal) -> Tensor:
    return kl_to_standard(q.mean, q.logvar)


register_kl(DiagonalNormal, NormalOfCondition)(kl_to_normal)


class Gaussian(Latent):
    """q(z|x) = N(mu(h), diag sigma^2(h)), both linear in the features."""

    paper = "Kingma & Welling, Auto-Encoding Variational Bayes"
    year = 2014
    is_diagonal_gaussian = True

    def __init__(self, features: int, dim: Annotated[int, Field(gt=0)] = 32) -> None:
        super().__init__()
        self.dim = dim
        self.mean = nn.Linear(features, dim)
        self.logvar = nn.Linear(features, dim)

    def posterior(self, h: Tensor, c: Tensor | None = None) -> DiagonalNormal:
        """q(z|x) from h (B, H)."""
        return DiagonalNormal(self.mean(h), self.logvar(h))
