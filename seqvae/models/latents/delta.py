"""A Gaussian posterior that cannot cost less than a committed rate.

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
from seqvae.models.latents.exact_rate import ExactNormal, log_variance

START = -3.0  # of the excess before its softplus: 0.05 nats a dim above the committed ones
SHARP = -0.5 * math.pi  # of the angle: all nats in a small variance, the mean at 0 and free to go both ways


def committed_normals(excess: Tensor, angle: Tensor, nats: float) -> ExactNormal:
    """The normals whose dims cost KL_j = nats / D + softplus(excess_j), for any finite (B, D) inputs.

    With r_j = sqrt(2 KL_j): mu_j = r_j cos(angle_j), and sigma_j solves sigma^2 - ln sigma^2 - 1 = s_j^2 for
    s_j = r_j sin(angle_j), sigma_j < 1 iff s_j < 0; then (mu_j^2 + s_j^2) / 2 is the KL to N(0, 1).
    """
    kl = nats / excess.shape[-1] + softplus(excess)
    radius = torch.sqrt(2 * kl)  # smooth: it cannot come near 0
    return ExactNormal(radius * torch.cos(angle), log_variance(radius * torch.sin(angle)), kl)


class Delta(Latent):
    """KL(q(z|x) || N(0, I)) >= `nats` for every x: the independent posterior of a delta-VAE.

    Each dim commits nats / D. The paper squashes sigma into the interval where nats / D leave room for a
    mean, and takes |mu| at least the rest: its mean has one sign and can never use half of the prior. Here
    each dim has an excess and an angle instead, the polar coordinates of (mu, s) outside the circle of
    radius sqrt(2 nats / D): they reach exactly the (mu, sigma) that cost more than nats / D, are smooth
    everywhere, and the mean changes its sign by way of the variance. A constant shift pays the committed
    nats and tells nothing, so look at the MI.
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
        """q(z|x) from h (B, H)."""
        return committed_normals(self.excess(h), self.angle(h), self.nats)
