"""Gaussian posteriors with batch-normalised means, which bounds their KL from below.

Shapes: B examples, D latent dims.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from seqvae.distributed.batch_shards import global_batch_size
from seqvae.distributed.batch_statistics import batch_mean
from seqvae.interfaces import Latent
from seqvae.models.latents.gaussian import DiagonalNormal

MOMENTUM = 0.1
EPSILON = 1e-8  # far below any useful variance: a larger one would loosen the lower bound of the KL


class BatchNorm(nn.Module):
    """(x - mean) / sd per feature: of the global batch in training, else, or if B = 1, the running ones."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, dim))
        self.register_buffer("square", torch.ones(1, dim))  # running variance
        self.mean: Tensor
        self.square: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) with mean 0 and variance 1 over the global batch, in training."""
        if not self.training or global_batch_size(x) == 1:
            return (x - self.mean) / (self.square + EPSILON).sqrt()
        mean = batch_mean(x)
        square = batch_mean((x - mean) ** 2)
        self.mean.lerp_(mean.detach(), MOMENTUM)
        self.square.lerp_(square.detach(), MOMENTUM)
        return (x - mean) / (square + EPSILON).sqrt()


class BatchNormGaussian(Latent):
    """mu = gamma x BatchNorm(mu) with gamma fixed and no shift: E KL >= D gamma^2 / 2.

    Args:
        features: H, the number of encoder features.
        dim: D.
        gamma: standard deviation of each mean over the data.
    """

    paper = "Zhu et al., A Batch Normalized Inference Network Keeps the KL Vanishing Away"
    year = 2020
    is_diagonal_gaussian = True

    def __init__(
        self,
        features: int,
        dim: Annotated[int, Field(gt=0)] = 32,
        gamma: Annotated[float, Field(gt=0)] = 0.6,
    ) -> None:
        super().__init__()
        self.dim, self.gamma = dim, gamma
        self.mean = nn.Linear(features, dim)
        self.logvar = nn.Linear(features, dim)
        self.norm = BatchNorm(dim)

    def posterior(self, h: Tensor, c: Tensor | None = None) -> DiagonalNormal:
        """q(z|x) from features h (B, H)."""
        return DiagonalNormal(self.gamma * self.norm(self.mean(h)), self.logvar(h))


class DUGaussian(Latent):
    """Batch-normalised means with learned scales, and dropout on the variances.

    mu = gamma_j x BatchNorm(mu) with learnable gamma_j of fixed root mean square; variances are dropped at
    random, and are never below alpha / (2 pi e).

    Args:
        features: H, the number of encoder features.
        dim: D.
        gamma: root mean square of gamma_j.
        drop: dropout probability of a variance.
        alpha: sets the smallest variance.
    """

    paper = "Shen et al., Regularizing Variational Autoencoder with Diversity and Uncertainty Awareness"
    year = 2021
    is_diagonal_gaussian = True

    def __init__(
        self,
        features: int,
        dim: Annotated[int, Field(gt=0)] = 32,
        gamma: Annotated[float, Field(gt=0)] = 0.5,
        drop: Annotated[float, Field(ge=0, lt=1)] = 0.2,
        alpha: Annotated[float, Field(gt=0)] = 1.0,
    ) -> None:
        super().__init__()
        self.dim, self.gamma, self.floor = dim, gamma, alpha / (2 * math.pi * math.e)
        self.mean = nn.Linear(features, dim)
        self.logvar = nn.Linear(features, dim)
        self.drop = nn.Dropout(drop)
        self.scale = nn.Parameter(torch.ones(dim))
        self.norm = BatchNorm(dim)

    def posterior(self, h: Tensor, c: Tensor | None = None) -> DiagonalNormal:
        """q(z|x) from features h (B, H)."""
        scale = self.gamma * self.scale / self.scale.square().mean().sqrt()
        variance = self.drop(torch.exp(self.logvar(h))) + self.floor
        return DiagonalNormal(scale * self.norm(self.mean(h)), torch.log(variance))
