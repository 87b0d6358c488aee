"""Active units: number of latent dims whose posterior mean varies over examples.

Shapes: N evaluation examples, D latent dims.
"""

from __future__ import annotations

from torch import Tensor


def mean_variance(means: Tensor) -> Tensor:
    """(D,): Var_x(E_q z_j) over the examples, from posterior means (N, D); divided by N, not N - 1."""
    return ((means - means.mean(0)) ** 2).mean(0)  # not var(), which warns if D = 0


def sort_variances(variance: Tensor) -> Tensor:
    """(D,): the same variances, the largest first.

    Show it next to the count, which saturates if the means are normalised over the batch.
    """
    return variance.sort(descending=True).values


def active_units(variance: Tensor, threshold: float = 0.01) -> int:
    """#{j: Var_x(E_q z_j) > threshold} (Burda et al. 2016, whose threshold is .01), from (D,)."""
    return int((variance > threshold).sum())
