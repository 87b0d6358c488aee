"""The standard normal prior."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from seqvae.interfaces import Prior
from seqvae.keyed_noise import KeyedNoise
from seqvae.numerics import LOG_2PI


@dataclass(frozen=True)
class StandardNormal:
    """N(0, I) in `dim` dimensions."""

    dim: int

    def log_prob(self, z: Tensor) -> Tensor:
        """Log N(z; 0, I) in nats, (S, B) for z (S, B, D)."""
        return -0.5 * (LOG_2PI + z**2).sum(-1)

    def sample(self, n: int, random: KeyedNoise) -> Tensor:
        """Z (n, D)."""
        return random.for_n(n).normal("prior", self.dim)


class StandardPrior(Prior):
    """p(z) = N(0, I)."""

    paper = "Kingma & Welling, Auto-Encoding Variational Bayes"
    year = 2014

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, c: Tensor | None = None) -> StandardNormal:
        """The distribution; it reads no condition."""
        return StandardNormal(self.dim)
