"""The uniform prior on the unit sphere, which goes with codes of length 1."""

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
    """Every direction of `dim` dimensions alike."""

    dim: int

    def log_prob(self, z: Tensor) -> Tensor:
        """-ln area of the sphere, (S, B) for z (S, B, D)."""
        return torch.full_like(z[..., 0], -log_sphere_area(self.dim))

    def sample(self, n: int, random: KeyedNoise) -> Tensor:
        """Z (n, D) of length 1."""
        return normalize(random.for_n(n).normal("prior", self.dim), dim=-1)


class UniformSpherePrior(Prior):
    """p(z) is uniform on the unit sphere: the prior of von Mises-Fisher codes."""

    paper = "Xu & Durrett, Spherical Latent Spaces for Stable Variational Autoencoders"
    year = 2018

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, c: Tensor | None = None) -> UniformSphere:
        """The distribution; it reads no condition."""
        return UniformSphere(self.dim)
