"""Free bits: nats of KL that cost nothing, in the three forms that papers call by this one name."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from seqvae.distributed.batch_statistics import batch_mean
from seqvae.interfaces import Remedy
from seqvae.interfaces.outputs import VAEOutput

Nats = Annotated[float, Field(ge=0)]


def free_bits(kl: Tensor, nats: float) -> Tensor:
    """sum_j max(nats, mean_x KL_j): (B, D) -> (1, D). No gradient where the mean is below `nats`."""
    return batch_mean(kl).clamp(min=nats)


class FreeBits(Remedy):
    """Each dim may use `nats` for free, counted on the mean over the batch."""

    paper = "Kingma et al., Improving Variational Inference with Inverse Autoregressive Flow"
    year = 2016
    transforms_whole_kl = True

    def __init__(self, nats: Nats = 0.25) -> None:
        super().__init__()
        self.nats = nats

    def transform_kl(self, kl: Tensor, out: VAEOutput, step: Tensor | int) -> Tensor:
        """(B, D) -> (1, D)."""
        return free_bits(kl, self.nats)


class FreeBitsExample(Remedy):
    """Each dim of each example may use `nats` for free: sum_j max(nats, KL_j(x))."""

    paper = "Li et al., A Surprisingly Effective Fix for Deep Latent Variable Modeling of Text"
    year = 2019

    def __init__(self, nats: Nats = 0.25) -> None:
        super().__init__()
        self.nats = nats

    def transform_kl(self, kl: Tensor, out: VAEOutput, step: Tensor | int) -> Tensor:
        """(B, D) -> (B, D)."""
        return kl.clamp(min=self.nats)


class FreeBitsTotal(Remedy):
    """Each example may use `nats` for free in all: max(nats, KL(x))."""

    paper = "Roberts et al., A Hierarchical Latent Vector Model for Learning Long-Term Structure in Music"
    year = 2018
    transforms_whole_kl = True

    def __init__(self, nats: Nats = 8.0) -> None:
        super().__init__()
        self.nats = nats

    def transform_kl(self, kl: Tensor, out: VAEOutput, step: Tensor | int) -> Tensor:
        """(B, D) -> (B, 1)."""
        return kl.sum(-1, keepdim=True).clamp(min=self.nats)
