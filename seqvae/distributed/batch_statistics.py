"""Statistics of the global batch, which do not depend on the number of ranks."""

from __future__ import annotations

from torch import Tensor

from seqvae.distributed.batch_shards import global_mean


def batch_mean(x: Tensor) -> Tensor:
    """Mean (1, ...) over the global batch, from x (B, ...); differentiable."""
    return global_mean(x.mean(0, keepdim=True))
