"""Prior of a conditional VAE: a normal whose mean and variance depend on the condition.

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
    """N(mean, diag exp(logvar)), different per example: `mean` and `logvar` are (B, D)."""

    mean: Tensor
    logvar: Tensor

    def log_prob(self, z: Tensor) -> Tensor:
        """Log N(z; mean, var) in nats, (S, B), for z (S, B, D)."""
        squares = scaled_squares(z - self.mean, self.logvar)
        return -0.5 * (LOG_2PI + self.logvar + squares).sum(-1)

    def sample(self, n: int, random: KeyedNoise) -> Tensor:
        """Samples z (n, D), n = B: one code per condition."""
        noise = random.for_n(n).normal("prior", self.mean.shape[-1]).to(self.mean)
        return self.mean + torch.exp(0.5 * self.logvar) * noise


class ConditionalPrior(Prior):
    """p(z|c) = N(mu(c), diag sigma^2(c)), both linear in c: the prior network of a conditional VAE.

    Initially N(0, I). The rate is KL(q(z|x, c) || p(z|c)): information about c costs no nats.

    Args:
        dim: D.
        condition: C.

    Raises:
        UserError: the model has no condition.
    """

    paper = "Sohn et al., Learning Structured Output Representation using Deep Conditional Generative Models"
    year = 2015

    def __init__(self, dim: int, condition: int = 0) -> None:
        super().__init__()
        if not condition:
            raise UserError("needs labels as condition: name some, as `condition: [label]`")
        self.condition = condition
        self.mean = nn.Linear(condition, dim)
        self.logvar = nn.Linear(condition, dim)
        for layer in (self.mean, self.logvar):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, c: Tensor | None = None) -> NormalOfCondition:
        """p(z|c) for c (B, C).

        Raises:
            UserError: no condition is given.
        """
        if c is None:
            raise UserError("this run's prior depends on its labels: give --condition LABEL=VALUE")
        with torch.autocast(c.device.type, enabled=False):  # densities need fp32
            return NormalOfCondition(self.mean(c.float()), self.logvar(c.float()))
