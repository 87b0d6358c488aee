"""Holes: prior mass where no example is encoded, dim by dim and in the whole code.

q(z) = (1/N) sum_n q(z|x_n) is the aggregate posterior, q(z_j) that of one dim, p(z_j) = N(0, 1) the prior.
Shapes: N examples, M prior draws, D latent dims, G points of a grid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from seqvae.evaluation.metrics.information import log_density
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


@dataclass(frozen=True)
class Holes:
    """Which prior draws lie where the aggregate posterior has less density than almost all codes have.

    Attributes:
        threshold: the quantile of `at_codes`, nats.
        at_codes: ln q(z) at one code of each of some examples, their own component left out (n,), nats.
        at_draws: ln q(z) at the prior draws (M,), nats.
    """

    threshold: float
    at_codes: Tensor
    at_draws: Tensor

    @property
    def inside(self) -> Tensor:
        """(M,) bool: the draws in a hole."""
        return self.at_draws < self.threshold

    @property
    def share(self) -> float:
        """The share of prior draws in a hole; about the quantile itself where the prior is q(z)."""
        return float(self.inside.double().mean())


def aggregate_log_density(
    posteriors: Sequence[Posterior], z: Tensor, own: Tensor | None = None, cells: int = 2**22
) -> Tensor:
    """Ln q(z_m) in nats (M,) in fp64 on the CPU, for codes z (M, D) under the aggregate of N posteriors.

    Where `own` (M,) names the example that each code was drawn for, the other N - 1 posteriors are
    averaged: a code under its own narrow posterior would always look dense. Holds a few times `cells`
    numbers at once.
    """
    density = log_density(posteriors, z[None])
    rows, found = max(1, cells // density.width), []
    for start in range(0, len(z), rows):
        log_q = density(z[start : start + rows])  # (m, N)
        n = log_q.shape[1]
        if own is not None:
            mine = own[start : start + rows, None].to(log_q.device)
            log_q, n = log_q.scatter(1, mine, -math.inf), n - 1
        found.append(log_q.logsumexp(1).cpu() - math.log(max(1, n)))
    return torch.cat(found)


def find_holes(
    posteriors: Sequence[Posterior], codes: Tensor, own: Tensor, draws: Tensor, quantile: float = 0.01
) -> Holes:
    """Compare the density of the aggregate posterior at prior draws with that at codes of real examples.

    Args:
        posteriors: those of consecutive batches, of N examples in all.
        codes: (n, D), a sample of the posterior of each of n of these examples.
        own: (n,), which of the N examples each code belongs to.
        draws: (M, D), codes drawn from the prior.
        quantile: the density that this share of the codes lies below is the threshold.

    Example:
        >>> from seqvae.models.latents.gaussian import DiagonalNormal
        >>> narrow = DiagonalNormal(torch.tensor([[-1.0], [1.0]]), torch.full((2, 1), -4.0))
        >>> find_holes([narrow], torch.tensor([[-1.0], [1.0]]), torch.arange(2), torch.zeros(1, 1)).share
        0.0
    """
    at_codes = aggregate_log_density(posteriors, codes, own)
    at_draws = aggregate_log_density(posteriors, draws)
    return Holes(float(at_codes.quantile(quantile)), at_codes, at_draws)
