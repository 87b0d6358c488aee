"""Linear Gaussian data and a linear VAE, whose optimum is known in closed form (pPCA).

x ~ N(0, diag lambda), decoder N(W z, s^2 I), weight beta on the KL. At the optimum, for each axis j,
R_j = ln+(lambda_j / (beta s^2)) / 2 nats, the residual is min(lambda_j, beta s^2), and the axis collapses
where lambda_j <= beta s^2 (Lucas et al. 2019, Don't Blame the ELBO!).
Shapes: S samples, B examples, X data dims, D latent dims.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seqvae.interfaces import Decoder, Encoder
from seqvae.interfaces.batch import MovableBatch
from seqvae.keyed_noise import KeyedNoise


@dataclass(frozen=True)
class VectorBatch(MovableBatch):
    """A batch of vectors x (B, X)."""

    x: Tensor
    index: Tensor
    random: KeyedNoise
    condition: Tensor | None = None

    @property
    def source(self) -> Tensor:
        """The encoder's input, x."""
        return self.x

    @property
    def targets(self) -> Tensor:
        """The decoder's target, x."""
        return self.x

    @property
    def labels(self) -> Tensor:
        """(B, 0): no labels."""
        return self.x[:, :0]

    @property
    def decoder_positions(self) -> int:
        """1: a vector counts as one position."""
        return 1


def linear_data(eigenvalues: Sequence[float], n: int, seed: int = 0, step: int = 0) -> VectorBatch:
    """N vectors whose empirical covariance is exactly diag `eigenvalues`, with noise for `step`."""
    index = torch.arange(n)
    noise = KeyedNoise(seed, 0, index).normal("data", len(eigenvalues)).double()
    noise = noise - noise.mean(0)
    whitener = torch.linalg.inv(torch.linalg.cholesky(noise.T @ noise / n)).T
    x = noise @ whitener * torch.tensor(eigenvalues, dtype=torch.float64).sqrt()
    return VectorBatch(x.float(), index, KeyedNoise(seed, step, index))


class LinearEncoder(Encoder[VectorBatch]):
    """The identity h = x; the latent has its own linear map."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.out_dim = dim

    def forward(self, batch: VectorBatch) -> Tensor:
        """(B, X)."""
        return batch.x


@dataclass
class VectorLikelihood:
    """N(x; mean, variance I), `mean` (S, B, X)."""

    mean: Tensor
    variance: float
    support: str = "real"

    def log_prob(self, batch: VectorBatch) -> Tensor:
        """(S, B) nats."""
        squares = (batch.x - self.mean).square() / self.variance
        return -0.5 * (math.log(2 * math.pi * self.variance) + squares).sum(-1)


class LinearDecoder(Decoder[VectorBatch]):
    """p(x|z) = N(W z, variance I)."""

    def __init__(self, dim: int, out: int, variance: float = 1.0) -> None:
        super().__init__()
        self.map, self.variance = nn.Linear(dim, out, bias=False), variance

    def forward(self, z: Tensor, c: Tensor | None = None) -> VectorLikelihood:
        """The distribution of x for z (S, B, D)."""
        return VectorLikelihood(self.map(z), self.variance)


def optimal_rates(eigenvalues: Sequence[float], variance: float, beta: float) -> list[float]:
    """R_j in nats, largest first."""
    return sorted((0.5 * max(0.0, math.log(v / (beta * variance))) for v in eigenvalues), reverse=True)


def optimal_distortion(eigenvalues: Sequence[float], variance: float, beta: float) -> float:
    """-E log p(x|z) in nats at the optimum."""
    residual = sum(min(v, beta * variance) for v in eigenvalues)
    return 0.5 * (len(eigenvalues) * math.log(2 * math.pi * variance) + residual / variance)
