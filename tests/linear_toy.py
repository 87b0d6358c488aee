"""The smallest models whose numbers are known: a linear Gaussian VAE and the batches it reads.

x = z + s e with z, e ~ N(0, I_D), so p(x) = N(0, (1 + s^2) I) and p(z|x) = N(x / (1 + s^2), s^2 / (1 + s^2)).
Shapes: S samples, B examples, D latent dims.
"""

# ruff: noqa: D102
from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from seqvae.evaluation.selftest.linear_vae import VectorBatch
from seqvae.interfaces import Batch, Decoder, Encoder, Latent, PriorDistribution
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.latents.gaussian import DiagonalNormal, kl_to_standard
from seqvae.models.priors.standard import StandardPrior
from seqvae.models.vae import VAE

NOISE = 0.5  # s


class Identity(Encoder):
    """H = x."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.out_dim, self.calls = dim, 0

    def forward(self, batch: Batch) -> Tensor:
        self.calls += 1
        return batch.x


class Linear(Latent):
    """The exact posterior, or one that is `shift` beside it and `scale` times as wide."""

    def __init__(self, dim: int, shift: float = 0.0, scale: float = 1.0) -> None:
        super().__init__()
        self.dim, self.shift, self.scale = dim, shift, scale

    def posterior(self, h: Tensor, c: Tensor | None = None) -> DiagonalNormal:
        variance = self.scale**2 * NOISE**2 / (1 + NOISE**2)
        return DiagonalNormal(h / (1 + NOISE**2) + self.shift, torch.full_like(h, math.log(variance)))

    def kl(self, q: DiagonalNormal, p: PriorDistribution, z: Tensor) -> Tensor:
        return kl_to_standard(q.mean, q.logvar)[None]


class WithoutDensity(Linear):
    """The same codes from a latent that knows no density."""

    has_density = False


@dataclass(frozen=True)
class GaussianLikelihood:
    """N(x; z, s^2 I)."""

    z: Tensor
    support: str = "real"

    def log_prob(self, batch: VectorBatch) -> Tensor:
        constant = math.log(2 * math.pi * NOISE**2)
        return -0.5 * (constant + (batch.x - self.z) ** 2 / NOISE**2).sum(-1)


class IdentityDecoder(Decoder):
    """The mean of x is z; counts the codes that it was given at once."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0

    def forward(self, z: Tensor, c: Tensor | None = None) -> GaussianLikelihood:
        self.most = max(self.most, len(z))
        return GaussianLikelihood(z)


def linear_vae(dim: int = 2, **posterior: float) -> VAE:
    return VAE(Identity(dim), Linear(dim, **posterior), StandardPrior(dim), IdentityDecoder())


def vectors(n: int = 60, dim: int = 2, seed: int = 0) -> Tensor:
    """Draws (N, D) from the model."""
    made = torch.Generator().manual_seed(seed)
    return torch.randn(n, dim, generator=made) * math.sqrt(1 + NOISE**2)


def batches(x: Tensor, size: int = 16, order: Tensor | None = None) -> list[VectorBatch]:
    order = torch.arange(len(x)) if order is None else order
    return [VectorBatch(x[rows], rows, KeyedNoise(3, 0, rows)) for rows in order.split(size)]


def exact_log_px(x: Tensor) -> Tensor:
    """(N,): log N(x; 0, (1 + s^2) I)."""
    variance = 1 + NOISE**2
    return -0.5 * (math.log(2 * math.pi * variance) + x.double() ** 2 / variance).sum(-1)
