"""The prior of a conditional VAE: a normal whose mean and variance are read off the condition.

Shapes: S samples, B examples, C conditions, D latent dims.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seqvae.errors import UserError
from seqvae.interfaces import Prior
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.diagonal_normals import scaled_squares
from seqvae.numerics import LOG_2PI


@dataclass(frozen=True)
class NormalOfCondition:
    """N(mean, diag exp(logvar)), each example's own: `mean` and `logvar` are (B, D)."""

    mean: Tensor
    logvar: Tensor

    def log_prob(self, z: Tensor) -> Tensor:
        """Log N(z; mean, var) in nats, (S, B) for z (S, B, D)."""
        squares = scaled_squares(z - self.mean, self.logvar)
        return -0.5 * (LOG_2PI + self.logvar + squares).sum(-1)

    def sample(self, n: int, random: KeyedNoise) -> Tensor:
        """Z (n, D), n = B: a code for each condition."""
        noise = random.for_n(n).normal("prior", self.mean.shape[-1]).to(self.mean)
        return self.mean + torch.exp(0.5 * self.logvar) * noise


class ConditionalPrior(Prior):
    """p(z|c) = N(mu(c), diag sigma^2(c)), both linear in c: the prior network of a conditional VAE.

    It starts as N(0, I). Under it the rate is KL(q(z|x, c) || p(z|c)): what c tells costs nothing.

    Raises:
        UserError: a model that is told nothing.
    """

    paper = "Sohn et al., Learning Structured Output Representation using Deep Conditional Generative Models"
    year = 2015

    def __init__(self, dim: int, condition: int = 0) -> None:
        super().__init__()
        if not condition:
            raise UserError("reads the labels that a model is told: name some, as `condition: [label]`")
        self.condition = condition
        self.mean = nn.Linear(condition, dim)
        self.logvar = nn.Linear(condition, dim)
        for layer in (self.mean, self.logvar):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, c: Tensor | None = None) -> NormalOfCondition:
        """The distribution of each example, told c (B, C).

        Raises:
            UserError: there is no condition.
        """
        if c is None:
            raise UserError("this run's prior is that of its labels: give --condition LABEL=VALUE")
        with torch.autocast(c.device.type, enabled=False):
            return NormalOfCondition(self.mean(c.float()), self.logvar(c.float()))
