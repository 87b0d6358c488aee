"""Latents without a density: the plain autoencoder, and no code at all (a language model)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from seqvae.interfaces import Batch, Encoder, Latent, register_kl
from seqvae.keyed_noise import KeyedNoise


@dataclass(frozen=True)
class Point:
    """A point mass at `mean` (B, D)."""

    mean: Tensor

    @property
    def point_estimate(self) -> Tensor:
        """The point, (B, D)."""
        return self.mean

    def rsample(self, n: int, random: KeyedNoise) -> Tensor:
        """The point itself, (n, B, D)."""
        return self.mean.expand(n, *self.mean.shape)

    def log_prob(self, z: Tensor) -> Tensor:
        """Zeros (S, B): there is no density, and importance weights reduce to p(x|z)."""
        return torch.zeros_like((z - self.mean).sum(-1))

    def detach(self) -> Point:
        """The same point, without gradients."""
        return Point(self.mean.detach())

    def select(self, i: Tensor | slice) -> Point:
        """The points of the examples with indices `i`."""
        return Point(self.mean[i])


@register_kl(Point, object)
def _no_kl(q: Point, p: object) -> Tensor:
    return q.mean.new_zeros(len(q.mean), 1)  # a point mass has no density: the loss has no KL term


class Deterministic(Latent):
    """z = mu(h), a plain autoencoder: without a density, rate and likelihood are undefined.

    Args:
        features: H, the number of encoder features.
        dim: D.
    """

    paper = "Hinton & Salakhutdinov, Reducing the Dimensionality of Data with Neural Networks"
    year = 2006
    has_density: ClassVar[bool] = False

    def __init__(self, features: int, dim: Annotated[int, Field(gt=0)] = 32) -> None:
        super().__init__()
        self.dim = dim
        self.mean = nn.Linear(features, dim)

    def posterior(self, h: Tensor, c: Tensor | None = None) -> Point:
        """The code (B, D) of features h (B, H)."""
        return Point(self.mean(h))


class NoLatent(Latent):
    """No z: the decoder alone, a language model, as a baseline."""

    paper = "Mikolov et al., Recurrent Neural Network Based Language Model"
    year = 2010
    needs_encoder: ClassVar[bool] = False

    def __init__(self, features: int = 0) -> None:
        super().__init__()
        self.dim = 0

    def posterior(self, h: Tensor, c: Tensor | None = None) -> Point:
        """The empty code (B, 0)."""
        return Point(h[:, :0])


class NoEncoder(Encoder):
    """Encoder of models without z: features (B, 0)."""

    out_dim = 0

    def forward(self, batch: Batch) -> Tensor:
        """Empty features (B, 0)."""
        return torch.zeros(batch.size, 0, device=batch.index.device)
