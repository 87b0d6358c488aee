"""Usage of the code: rate in total and per dim, active units; and the standard error of a mean.

Shapes: S samples, B examples, N evaluation examples, D latent dims (or 1 where the KL does not factorise).
"""

from __future__ import annotations

import math

from torch import Tensor


def rate(kl: Tensor) -> Tensor:
    """KL(q(z|x) || p(z)) in nats per example, (B,), from kl (S, B, D)."""
    return kl.sum(-1).mean(0)


def kl_per_dim(kl: Tensor) -> Tensor:
    """KL in nats per dim, (D,), averaged over samples and examples, from kl (S, B, D) or (N, D)."""
    return kl.flatten(0, -2).mean(0)


def standard_error(x: Tensor) -> float:
    """Standard error s / sqrt(N) of the mean of x (N,), s with N - 1; NaN for a single example."""
    return math.nan if len(x) < 2 else float(x.double().std()) / math.sqrt(len(x))


def mean_variance(means: Tensor) -> Tensor:
    """Var_x(E_q z_j) over the examples, (D,), from posterior means (N, D); divided by N, not N - 1."""
    return ((means - means.mean(0)) ** 2).mean(0)  # not var(), which warns if D = 0


def sort_variances(variance: Tensor) -> Tensor:
    """The variances (D,) in descending order.

    Report them with the number of active units, which saturates if the means are normalised over the batch.
    """
    return variance.sort(descending=True).values


def active_units(variance: Tensor, threshold: float = 0.01) -> int:
    """Number of dims with Var_x(E_q z_j) > threshold (Burda et al. 2016, who use .01), from (D,)."""
    return int((variance > threshold).sum())
