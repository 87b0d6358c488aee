"""Holes: prior mass where no example is encoded, dim by dim.

q(z_j) = (1/N) sum_n N(mu_nj, sigma_nj^2) is the aggregated posterior of one dim, p(z_j) = N(0, 1) the prior.
Shapes: N examples, D latent dims, G points of a grid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from seqvae.interfaces import Posterior
from seqvae.models.diagonal_normals import scaled_squares, to_float64
from seqvae.numerics import LOG_2PI


def log_aggregate(mean: Tensor, logvar: Tensor, grid: Tensor, cells: int = 2**21) -> Tensor:
    """Log q(z_j) in nats at the points (G,) of a grid, (D, G), from means and log variances (N, D).

    In fp64 on the means' device, with a small multiple of `cells` numbers in memory at once.
    """
    mean, logvar = to_float64(mean.detach()), to_float64(logvar.detach())
    grid = grid.to(mean)
    rows = max(1, cells // max(1, mean.shape[1] * len(grid)))
    total = mean.new_full((mean.shape[1], len(grid)), -math.inf)
    for mu, s in zip(torch.split(mean, rows), torch.split(logvar, rows), strict=True):  # (M, D)
        distance = scaled_squares(grid - mu[..., None], s[..., None])  # (M, D, G)
        total = torch.logaddexp(total, (-0.5 * (distance + s[..., None] + LOG_2PI)).logsumexp(0))
    return total - math.log(len(mean))


def prior_to_aggregate_kl(mean: Tensor, logvar: Tensor, points: int = 401, width: float = 6.0) -> Tensor:
    """(D,): KL(p(z_j) || q(z_j)) in nats, from posterior means and log variances (N, D).

    Large if the prior has mass where there are no codes; 0 if q(z_j) is the prior, which includes collapsed
    dims. Narrow posteriors of few examples leave gaps between them: 5,000 normals of standard deviation .03
    with ideally distributed means have .05 nats. Holes in the joint distribution of several dims are not
    detected. Computed by the trapezoid rule.

    Args:
        mean: posterior means (N, D).
        logvar: posterior log variances (N, D).
        points: number of grid points.
        width: the grid is -width ... width, which by default holds all but 2e-9 of the prior.
    """
    grid = torch.linspace(-width, width, points, dtype=torch.float64)
    log_p = -0.5 * (grid**2 + LOG_2PI)
    weight = log_p.exp()
    weight[[0, -1]] /= 2
    weight /= weight.sum()
    return ((log_p - log_aggregate(mean, logvar, grid).cpu()) * weight).sum(-1)


def consistent_units(kl: Tensor, threshold: float = 0.03) -> int:
    """#{j: KL(p(z_j) || q(z_j)) < threshold}, CU, from (D,) (Zhang et al. 2022, whose threshold is .03).

    Zhang et al., Improving Variational Autoencoders with Density Gap-based Regularization; their code takes
    the expectation over prior samples, this one over a grid. A collapsed dim is consistent too: read it
    together with the active units.
    """
    return int((kl < threshold).sum())


def hole_metrics(posteriors: Sequence[Posterior]) -> dict[str, Any]:
    """`prior_gap_per_dim` and `consistent_units` of diagonal normals under the prior N(0, I).

    `posteriors` are those of consecutive batches, with `mean` and `logvar` (B, D).
    """
    mean = torch.cat([q.mean for q in posteriors])
    logvar = torch.cat([q.logvar for q in posteriors])  # type: ignore[attr-defined]
    kl = prior_to_aggregate_kl(mean, logvar)
    return {"prior_gap_per_dim": kl.tolist(), "consistent_units": consistent_units(kl)}
