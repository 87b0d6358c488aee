"""How much the code is used: its rate, by dim too, and active units; and the standard error of a mean.

Shapes: S samples, B examples, N evaluation examples, D latent dims (or 1 where the KL does not factorise).
"""

from __future__ import annotations

import math

from torch import Tensor


def rate(kl: Tensor) -> Tensor:
    """(B,): KL(q(z|x) || p(z)) in nats per example, from kl (S, B, D)."""
    return kl.sum(-1).mean(0)


def kl_per_dim(kl: Tensor) -> Tensor:
    """(D,): nats per dim, averaged over samples and examples, from kl (S, B, D) or (N, D)."""
    return kl.flatten(0, -2).mean(0)


def standard_error(x: Tensor) -> float:
    """Of the mean of x (N,): s / sqrt(N), s with N - 1 in it; NaN for a single example."""
    return math.nan if len(x) < 2 else float(x.double().std()) / math.sqrt(len(x))


def mean_variance(means: Tensor) -> Tensor:
    """(D,): Var_x(E_q z_j) over the examples, from posterior means (N, D); divided by N, not N - 1."""
    return ((means - means.mean(0)) ** 2).mean(0)  # var() warns where D = 0


def sort_variances(variance: Tensor) -> Tensor:
    """(D,): the same variances, the largest first.

    Report it with the count of active units: the count saturates where the means are normalised over the
    batch.
    """
    return variance.sort(descending=True).values


def active_units(variance: Tensor, threshold: float = 0.01) -> int:
    """#{j: Var_x(E_q z_j) > threshold} (Burda et al. 2016, whose threshold is .01), from (D,)."""
    return int((variance > threshold).sum())
