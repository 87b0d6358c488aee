"""The rate in nats, in total and per dim, and the standard error of a mean.

Shapes: S samples, B examples, N evaluation examples, D latent dims (or 1 if the KL does not decompose).
"""

from __future__ import annotations

import math

from torch import Tensor


def rate(kl: Tensor) -> Tensor:
    """(B,): KL(q(z|x) || p(z)) in nats of each example, from kl (S, B, D)."""
    return kl.sum(-1).mean(0)


def kl_per_dim(kl: Tensor) -> Tensor:
    """(D,): nats per dim, averaged over samples and examples, from kl (S, B, D) or (N, D)."""
    return kl.flatten(0, -2).mean(0)


def standard_error(x: Tensor) -> float:
    """Standard error of the mean of x (N,): s / sqrt(N), s with N - 1; NaN for a single example."""
    return math.nan if len(x) < 2 else float(x.double().std()) / math.sqrt(len(x))
