"""Mutual information of x and z over the whole evaluation set (not within batches).

MI = E_x KL(q(z|x) || p(z)) - KL(q(z) || p(z)) = E log q(z|x) - log q(z), q(z) = (1/N) sum_n q(z|x_n).
Shapes: S samples, B examples of one posterior, N evaluation examples, M rows of a chunk, D latent dims.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from seqvae.evaluation.metrics.latent_usage import standard_error
from seqvae.interfaces import Posterior
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.diagonal_normals import DiagonalNormals, to_float64


class Density(Protocol):
    """Log q(z_m | x_n) of M codes under N posteriors."""

    width: int  # numbers in memory per code

    def __call__(self, z: Tensor) -> Tensor:
        """(M, N) nats for codes (M, D)."""
        ...


@dataclass(frozen=True)
class Information:
    """Two estimates of the MI in nats, with standard errors over examples.

    `low` includes an example's own component in q(z): a lower estimate, at most ln N, the one to report.
    `high` excludes it; it is not a bound, and NaN for a single example.
    """

    low: float
    high: float
    low_se: float
    high_se: float
    n: int


def mutual_information(
    posteriors: Sequence[Posterior], z: Tensor, cells: int = 2**22, density: Density | None = None
) -> Information:
    """MI between examples and codes z (S, N, D), z[:, n] sampled from the n-th posterior, in nats.

    Args:
        posteriors: posteriors of consecutive batches, N examples in total.
        z: samples (S, N, D).
        cells: bounds the memory to a small multiple of this number of values, for any N.
        density: log q(z_m | x_n); chosen by `log_density` by default.
    """
    density = density or log_density(posteriors, z)
    n, rows = z.shape[1], max(1, cells // density.width)
    gains = [_gains(density, codes, start) for codes in z for start, codes in _chunks(codes, rows)]
    low, high = (torch.cat(part).view(len(z), n).mean(0) for part in zip(*gains, strict=True))  # (N,)
    return Information(float(low.mean()), float(high.mean()), standard_error(low), standard_error(high), n)


def information_gain(log_q: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    """Log q(z|x) - log q(z), including and excluding the own component in q(z), each (M,).

    From log q(z_m | x_n) (M, N) and the column `own` (M,) of the example from which z_m was sampled.
    """
    n = log_q.shape[1]
    mine = log_q.gather(1, own[:, None])
    others = log_q.scatter(1, own[:, None], -math.inf).logsumexp(1)
    mine = mine[:, 0]
    low = mine - torch.logaddexp(mine, others) + math.log(n)
    high = mine - others + math.log(n - 1) if n > 1 else torch.full_like(mine, math.nan)
    return low, high


def log_density(posteriors: Sequence[Posterior], z: Tensor) -> Density:
    """The N x N density of these posteriors: a matrix product if they are diagonal Gaussians.

    Posteriors with `mean` and `logvar` (B, D) count as such only if their own `log_prob` agrees on
    the first codes of z (S, N, D); a flow on top of a Gaussian does not.
    """
    shapes = [(q.mean.shape, getattr(getattr(q, "logvar", None), "shape", None)) for q in posteriors]
    if any(mean != logvar for mean, logvar in shapes):
        return MixedDensity(posteriors)
    fast, few = DiagonalDensity(posteriors), z[0, :4]
    agrees = torch.allclose(fast(few), MixedDensity(posteriors)(few), rtol=1e-4, atol=1e-3)
    return fast if agrees else MixedDensity(posteriors)


class DiagonalDensity:
    """Log N(z_m; mu_n, diag sigma_n^2) as a matrix product."""

    def __init__(self, posteriors: Sequence[Posterior]) -> None:
        mean = torch.cat([q.mean for q in posteriors])
        self.normals = DiagonalNormals(mean, torch.cat([q.logvar for q in posteriors]))  # type: ignore[attr-defined]
        self.width = len(mean)

    def __call__(self, z: Tensor) -> Tensor:
        """(M, N) nats for codes (M, D)."""
        return self.normals.log_prob(z)


class MixedDensity:
    """Log q(z_m | x_n) by each posterior's own `log_prob`, for any family."""

    def __init__(self, posteriors: Sequence[Posterior]) -> None:
        self.posteriors = posteriors
        self.width = max(sum(len(q.mean) for q in posteriors), *(q.mean.numel() for q in posteriors))

    def __call__(self, z: Tensor) -> Tensor:
        """(M, N) nats for codes (M, D)."""
        parts = [q.log_prob(z[:, None].to(q.mean.device)) for q in self.posteriors]  # (M, 1, D) meets (B, D)
        return to_float64(torch.cat(parts, 1))


def choose_rows(index: Tensor, limit: int, seed: int = 0) -> Tensor:
    """A random subset of at most `limit` rows, keyed by the examples' index (N,), whatever their order.

    Rows are returned in ascending order. It limits the N x N density of a large data set.
    """
    return keyed_order(index, seed, "subset")[:limit].sort().values


def choose_partners(index: Tensor, seed: int = 0) -> Tensor:
    """(N,): for each example the row of another one, a permutation; itself only if N = 1.

    One cycle through all examples, in an order keyed by seed and `index` (N,), not by their order here.
    """
    order = keyed_order(index, seed, "partners")
    other = torch.empty_like(order)
    other[order] = order.roll(-1)
    return other


def keyed_order(index: Tensor, seed: int, stream: str) -> Tensor:
    """(N,): rows in an order that depends only on the examples' index and the seed."""
    by_number = index.argsort(stable=True)
    keys = KeyedNoise(seed, 0, index[by_number]).uniform(stream)  # (N,)
    return by_number[keys.argsort(stable=True)]


def _chunks(codes: Tensor, rows: int) -> list[tuple[int, Tensor]]:
    return [(start, codes[start : start + rows]) for start in range(0, len(codes), rows)]


def _gains(density: Density, codes: Tensor, start: int) -> tuple[Tensor, Tensor]:
    log_q = density(codes)  # (M, N)
    return information_gain(log_q, torch.arange(start, start + len(codes), device=log_q.device))
