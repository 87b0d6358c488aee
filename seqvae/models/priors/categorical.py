"""The uniform prior over one-hot choices, which goes with categorical codes.

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
    """Every class of every group alike."""

    groups: int
    classes: int

    def log_prob(self, z: Tensor) -> Tensor:
        """-G ln C in nats, (S, B) for one-hot z (S, B, D)."""
        return torch.full_like(z[..., 0], -self.groups * math.log(self.classes))

    def sample(self, n: int, random: KeyedNoise) -> Tensor:
        """One-hot z (n, D)."""
        uniform = random.for_n(n).uniform("prior", self.groups)  # below 1, so the product may round up to C
        chosen = (uniform * self.classes).long().clamp(max=self.classes - 1)
        return one_hot(chosen, self.classes).to(uniform).flatten(1)


class UniformCategoricalPrior(Prior):
    """p(z) picks each group's class with probability 1 / C: the prior of categorical codes.

    Raises:
        UserError: the latent's codes are not made of classes.
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
        """The distribution; it reads no condition."""
        return UniformCategorical(self.groups, self.classes)
