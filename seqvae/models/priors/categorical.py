"""Uniform prior over one-hot codes, for the categorical latent.

Shapes: S samples, B examples, G groups, C classes, D = G C latent dims.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from seqvae.errors import UserError
from seqvae.interfaces import Latent, Prior
from seqvae.keyed_noise import KeyedNoise
from seqvae.numerics import one_hot


@dataclass(frozen=True)
class UniformCategorical:
    """Every class of every group has the same probability."""

    groups: int
    classes: int

    def log_prob(self, z: Tensor) -> Tensor:
        """-G ln C in nats, (S, B), for one-hot z (S, B, D)."""
        return torch.full_like(z[..., 0], -self.groups * math.log(self.classes))

    def sample(self, n: int, random: KeyedNoise) -> Tensor:
        """One-hot samples z (n, D)."""
        uniform = random.for_n(n).uniform("prior", self.groups)  # below 1, so the product may round up to C
        chosen = (uniform * self.classes).long().clamp(max=self.classes - 1)
        return one_hot(chosen, self.classes).to(uniform).flatten(1)


class UniformCategoricalPrior(Prior):
    """p(z) selects the class of each group with probability 1 / C, as prior of categorical codes.

    Args:
        dim: D.
        latent: the categorical latent, which has C.

    Raises:
        UserError: the latent is not categorical.
    """

    paper = "Jang et al., Categorical Reparameterization with Gumbel-Softmax"
    year = 2017

    def __init__(self, dim: int, latent: Latent) -> None:
        super().__init__()
        classes = getattr(latent, "classes", None)
        if classes is None:
            raise UserError("goes with latent 'categorical' only: use standard, mixture, vamp or flow")
        self.groups, self.classes = dim // classes, classes

    def forward(self, c: Tensor | None = None) -> UniformCategorical:
        """The distribution; the condition is ignored."""
        return UniformCategorical(self.groups, self.classes)
