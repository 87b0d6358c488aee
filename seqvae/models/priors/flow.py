"""Normalizing-flow prior: N(0, I) transformed by coupling layers.

Shapes: S samples, B examples, D latent dims, C conditions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from seqvae.interfaces import Prior
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.coupling_flow import CouplingFlow
from seqvae.numerics import LOG_2PI

Size = Annotated[int, Field(gt=0)]


@dataclass(frozen=True)
class FlowDistribution:
    """Distribution of z = f(e), e from N(0, I) in `dim` dimensions; f is conditioned on c (B, C) if given."""

    flow: nn.Module  # a CouplingFlow, or another map with its interface
    dim: int
    c: Tensor | None = None

    def log_prob(self, z: Tensor) -> Tensor:
        """Log N(f^-1(z)) + log |det df^-1/dz| in nats, (S, B), for z (S, B, D)."""
        e, log_det = self.flow(z, self.c, inverse=True)
        log_p: Tensor = -0.5 * (LOG_2PI + e**2).sum(-1) + log_det
        return log_p

    def sample(self, n: int, random: KeyedNoise) -> Tensor:
        """Samples z (n, D)."""
        weight = next(self.flow.parameters())
        z: Tensor = self.flow(random.for_n(n).normal("prior", self.dim).to(weight), self.c)[0]
        return z


class FlowPrior(Prior):
    """p(z) is N(0, I) transformed by affine couplings; initially N(0, I) itself.

    Args:
        dim: D.
        layers: number of coupling layers.
        hidden: width of their networks.
        condition: C, number of condition features that the couplings read; 0 for none.

    Raises:
        UserError: D is below 2.
    """

    paper = "Dinh et al., Density Estimation Using Real NVP"
    year = 2017

    def __init__(self, dim: int, layers: Size = 6, hidden: Size = 64, condition: int = 0) -> None:
        super().__init__()
        self.dim, self.condition = dim, condition
        self.flow = CouplingFlow(dim, layers, hidden, condition)

    def forward(self, c: Tensor | None = None) -> FlowDistribution:
        """p(z), or p(z|c) for c (B, C)."""
        return FlowDistribution(self.flow, self.dim, c if self.condition else None)
