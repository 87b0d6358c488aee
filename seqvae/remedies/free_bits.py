"""Free bits: nats of KL that cost nothing."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from seqvae.batch import VAEOutput
from seqvae.interfaces import Remedy
from seqvae.numerics import batch_mean


def free_bits(kl: Tensor, nats: float) -> Tensor:
    """sum_j max(nats, mean_x KL_j): (B, D) -> (1, D). No gradient where the mean is below `nats`."""
    return batch_mean(kl).clamp(min=nats)


class FreeBits(Remedy):
    """Each dim may use `nats` for free, counted on the mean over the batch (appendix C.8, eq. 15)."""

    paper = "Kingma et al., Improving Variational Inference with Inverse Autoregressive Flow"
    year = 2016
    shapes_whole_kl = True

    def __init__(self, nats: Annotated[float, Field(ge=0)] = 0.25) -> None:
        super().__init__()
        self.nats = nats

    def shape_kl(self, kl: Tensor, out: VAEOutput, step: int) -> Tensor:
        """(B, D) -> (1, D)."""
        return free_bits(kl, self.nats)
