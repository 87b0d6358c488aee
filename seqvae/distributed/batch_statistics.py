"""Statistics of the global batch, whichever processes share it."""

from __future__ import annotations

from torch import Tensor

from seqvae.distributed.batch_shards import global_mean


def batch_mean(x: Tensor) -> Tensor:
    """Mean over the global batch (dim 0), kept as a dim of 1: where batch statistics are taken."""
    return global_mean(x.mean(0, keepdim=True))
