"""Uniform prior on the unit sphere, for von Mises-Fisher codes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from seqvae.interfaces import Prior
from seqvae.keyed_noise import KeyedNoise
from seqvae.numerics import log_sphere_area


@dataclass(frozen=True)
class UniformSphere:
    """Uniform distribution on the unit sphere in `dim` dimensions."""

    dim: int

    def log_prob(self, z: Tensor) -> Tensor:
        """-log of the area of the sphere in nats, (S, B), for z (S, B, D)."""
        return torch.full_like(z[..., 0], -log_sphere_area(self.dim))

    def sample(self, n: int, random: KeyedNoise) -> Tensor:
        """Samples z (n, D) of length 1."""
        return normalize(random.for_n(n).normal("prior", self.dim), dim=-1)


class UniformSpherePrior(Prior):
    """p(z) is uniform on the unit sphere in `dim` dimensions."""

    paper = "Xu & Durrett, Spherical Latent Spaces for Stable Variational Autoencoders"
    year = 2018

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, c: Tensor | None = None) -> UniformSphere:
        """The distribution; the condition is ignored."""
        return UniformSphere(self.dim)
