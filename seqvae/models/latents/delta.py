"""Gaussian posterior of a delta-VAE, whose KL is bounded from below by a committed rate.

Shapes: B examples, D latent dims.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import softplus

from seqvae.interfaces import Latent
from seqvae.models.latents.exact_normal import ExactNormal, log_variance

START = -3.0  # initial excess before the softplus: 0.05 nats per dim above the committed rate
SHARP = -0.5 * math.pi  # initial angle: a small variance and a mean of 0, which can take either sign


def committed_normals(excess: Tensor, angle: Tensor, nats: float) -> ExactNormal:
    """Diagonal normals with KL_j = nats / D + softplus(excess_j) per dim.

    With r_j = sqrt(2 KL_j): mu_j = r_j cos(angle_j), and sigma_j solves sigma^2 - ln sigma^2 - 1 = s_j^2 for
    s_j = r_j sin(angle_j), sigma_j < 1 iff s_j < 0; then (mu_j^2 + s_j^2) / 2 is the KL to N(0, 1).

    Args:
        excess: any finite (B, D).
        angle: any finite (B, D), in radians.
        nats: committed rate of an example.

    Example:
        >>> q = committed_normals(torch.zeros(1, 4), torch.zeros(1, 4), nats=6.0)
        >>> q.kl  # 6 / 4 + ln 2 nats per dim
        tensor([[2.1931, 2.1931, 2.1931, 2.1931]])
    """
    kl = nats / excess.shape[-1] + softplus(excess)
    radius = torch.sqrt(2 * kl)  # smooth: the KL is bounded away from 0
    return ExactNormal(radius * torch.cos(angle), log_variance(radius * torch.sin(angle)), kl)


class Delta(Latent):
    """KL(q(z|x) || N(0, I)) >= `nats` for every x: the independent posterior of a delta-VAE.

    Each dim commits nats / D. The paper restricts sigma to the interval in which nats / D leave room for a
    mean, and sets |mu| to at least the rest: its mean has one sign and can never use half of the prior. Here
    each dim has an excess and an angle instead, the polar coordinates of (mu, s) outside the circle of
    radius sqrt(2 nats / D). They reach exactly the (mu, sigma) with a KL above nats / D, are smooth
    everywhere, and the mean can change its sign through the variance. The committed nats carry no information
    if all codes are shifted alike, so look at the MI.

    Args:
        features: H, the number of encoder features.
        dim: D.
        nats: committed rate of an example.
    """

    paper = "Razavi et al., Preventing Posterior Collapse with delta-VAEs"
    year = 2019
    is_diagonal_gaussian = True

    def __init__(
        self,
        features: int,
        dim: Annotated[int, Field(gt=0)] = 32,
        nats: Annotated[float, Field(gt=0)] = 6.0,
    ) -> None:
        super().__init__()
        self.dim, self.nats = dim, nats
        self.excess = nn.Linear(features, dim)
        self.angle = nn.Linear(features, dim)
        nn.init.constant_(self.excess.bias, START)
        nn.init.constant_(self.angle.bias, SHARP)

    def posterior(self, h: Tensor, c: Tensor | None = None) -> ExactNormal:
        """q(z|x) from features h (B, H)."""
        return committed_normals(self.excess(h), self.angle(h), self.nats)
