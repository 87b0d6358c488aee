"""Diagonal Gaussian posterior and its KL to normal priors."""

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
    """N(mean, diag exp(logvar)) of B examples.

    Attributes:
        mean: (B, D).
        logvar: (B, D).

    Example:
        >>> q = DiagonalNormal(torch.zeros(2, 3), torch.zeros(2, 3))
        >>> z = q.rsample(5, KeyedNoise(seed=0, step=0, index=torch.arange(2)))
        >>> z.shape, q.log_prob(z).shape
        (torch.Size([5, 2, 3]), torch.Size([5, 2]))
    """

    mean: Tensor
    logvar: Tensor

    @property
    def point_estimate(self) -> Tensor:
        """The mean, (B, D)."""
        return self.mean

    def rsample(self, n: int, random: KeyedNoise) -> Tensor:
        """Samples z = mean + exp(logvar / 2) * noise, (n, B, D)."""
        return self.mean + torch.exp(0.5 * self.logvar) * self._draw_noise(n, random)

    def rsample_with_log_prob(self, n: int, random: KeyedNoise) -> tuple[Tensor, Tensor]:
        """Samples z (n, B, D), as `rsample`, and log q(z|x) (n, B) in nats, computed from the noise.

        Where a standard deviation is below the spacing of floats at the mean, z is rounded to the mean, and
        `log_prob(z)` would be too high by half a nat per dim.
        """
        noise = self._draw_noise(n, random)
        log_q = -0.5 * (LOG_2PI + self.logvar + noise**2).sum(-1)
        return self.mean + torch.exp(0.5 * self.logvar) * noise, log_q

    def _draw_noise(self, n: int, random: KeyedNoise) -> Tensor:
        """Standard normal noise (n, B, D)."""
        return random.normal("posterior", n, self.mean.shape[-1]).transpose(0, 1).to(self.mean)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log N(z; mean, var) in nats, (S, B), for z (S, B, D)."""
        squares = scaled_squares(z - self.mean, self.logvar)
        return -0.5 * (LOG_2PI + self.logvar + squares).sum(-1)

    def detach(self) -> DiagonalNormal:
        """The same distribution, without gradients."""
        return DiagonalNormal(self.mean.detach(), self.logvar.detach())

    def select(self, i: Tensor | slice) -> DiagonalNormal:
        """The posteriors of the examples with indices `i`."""
        return DiagonalNormal(self.mean[i], self.logvar[i])


def kl_to_standard(mean: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mean, var) || N(0, 1)) = (mean^2 + var - 1 - log var) / 2 per dim, in nats.

    Source: Kingma & Welling 2014, appendix B.

    Example:
        >>> kl_to_standard(torch.tensor([0.0, 2.0]), torch.tensor([0.0, 0.0]))
        tensor([0., 2.])
    """
    return 0.5 * (mean**2 + torch.expm1(logvar) - logvar)  # exp - 1 would cancel near logvar = 0


def kl_to_normal(q: DiagonalNormal, p: DiagonalNormal | NormalOfCondition) -> Tensor:
    """KL(q || p) per dim, (B, D) nats: that of (z - mean_p) / sd_p to the standard normal."""
    mean = (q.mean - p.mean) * torch.exp(-0.5 * p.logvar)
    return kl_to_standard(mean, q.logvar - p.logvar)


@register_kl(DiagonalNormal, StandardNormal)
def _kl_to_standard(q: DiagonalNormal, p: StandardNormal) -> Tensor:
    return kl_to_standard(q.mean, q.logvar)


register_kl(DiagonalNormal, NormalOfCondition)(kl_to_normal)


class Gaussian(Latent):
    """q(z|x) = N(mu(h), diag sigma^2(h)), mu and ln sigma^2 linear in the features.

    Args:
        features: H, the number of encoder features.
        dim: D.

    Example:
        >>> from seqvae.models.priors import StandardPrior
        >>> latent, prior = Gaussian(features=16, dim=4), StandardPrior(4)
        >>> q = latent.posterior(torch.randn(2, 16))
        >>> z = q.rsample(1, KeyedNoise(seed=0, step=0, index=torch.arange(2)))
        >>> latent.kl(q, prior(), z).shape  # in closed form, per dim
        torch.Size([1, 2, 4])
    """

    paper = "Kingma & Welling, Auto-Encoding Variational Bayes"
    year = 2014
    is_diagonal_gaussian = True

    def __init__(self, features: int, dim: Annotated[int, Field(gt=0)] = 32) -> None:
        super().__init__()
        self.dim = dim
        self.mean = nn.Linear(features, dim)
        self.logvar = nn.Linear(features, dim)

    def posterior(self, h: Tensor, c: Tensor | None = None) -> DiagonalNormal:
        """q(z|x) from features h (B, H)."""
        return DiagonalNormal(self.mean(h), self.logvar(h))
