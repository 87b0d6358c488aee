"""Whether prior draws fall where no example is encoded to, in all dims at once.

Shapes: M training examples, N held-out ones, n prior draws, D latent dims.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from seqvae.evaluation.metrics.holes import aggregate_log_density
from seqvae.interfaces import Posterior
from seqvae.models.latents.gaussian import DiagonalNormal

RARE = 0.01  # of the held-out codes, how many have a lower density than the threshold


@dataclass(frozen=True)
class HoleTest:
    """`share` of the prior draws below the density that 1 % of the held-out codes do not reach.

    `gap` is the mean log density of held-out codes less that of prior draws, in nats. 1 % and about 0 where
    the aggregated posterior is the prior.
    """

    share: float
    gap: float
    codes: Tensor  # (N, D) held-out codes, drawn
    draws: Tensor  # (n, D) of the prior


def find_holes(
    posteriors: Sequence[Posterior], codes: Tensor, draws: Tensor, density: bool = True
) -> HoleTest:
    """Compare held-out codes (N, D) with prior draws (n, D) under the mixture of M training posteriors.

    The held-out codes are no components of the mixture, so narrow posteriors make both sides equally rare.
    Without a `density` q(z|x) each training code counts as a normal as wide as codes lie apart.
    """
    parts = list(posteriors) if density else [smooth(torch.cat([q.mean for q in posteriors]))]
    here, there = aggregate_log_density(parts, codes), aggregate_log_density(parts, draws)
    limit = torch.quantile(here, RARE)
    gap = float(here.median() - there.median())
    return HoleTest(float((there < limit).double().mean()), gap, codes, draws)


def smooth(codes: Tensor) -> Any:
    """Normals around codes (M, D): Scott's rule for a kernel density (Scott 1992)."""
    m, d = codes.shape
    width = codes.std(0).clamp(min=1e-6).log() - math.log(m) / (d + 4)
    return DiagonalNormal(codes, (2 * width).expand_as(codes))
