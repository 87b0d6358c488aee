"""Standard normal prior."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from seqvae.interfaces import Prior
from seqvae.keyed_noise import KeyedNoise
from seqvae.numerics import LOG_2PI


@dataclass(frozen=True)
class StandardNormal:
    """N(0, I) in `dim` dimensions.

    Example:
        >>> import torch
        >>> p = StandardNormal(2)
        >>> p.sample(3, KeyedNoise(seed=0, step=0, index=torch.arange(3))).shape
        torch.Size([3, 2])
        >>> p.log_prob(torch.zeros(1, 1, 2))  # -ln(2 pi)
        tensor([[-1.8379]])
    """

    dim: int

    def log_prob(self, z: Tensor) -> Tensor:
        """Log N(z; 0, I) in nats, (S, B), for z (S, B, D)."""
        return -0.5 * (LOG_2PI + z**2).sum(-1)

    def sample(self, n: int, random: KeyedNoise) -> Tensor:
        """Samples z (n, D)."""
        return random.for_n(n).normal("prior", self.dim)


class StandardPrior(Prior):
    """p(z) = N(0, I) in `dim` dimensions."""

    paper = "Kingma & Welling, Auto-Encoding Variational Bayes"
    year = 2014

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, c: Tensor | None = None) -> StandardNormal:
        """The distribution; the condition is ignored."""
        return StandardNormal(self.dim)
