"""Free bits: the KL below a threshold is not penalised; papers use three variants of it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from seqvae.distributed.batch_statistics import batch_mean
from seqvae.interfaces import Remedy
from seqvae.interfaces.outputs import VAEOutput

Nats = Annotated[float, Field(ge=0)]


def free_bits(kl: Tensor, nats: float) -> Tensor:
    """max(nats, mean_x KL_j) per dim: (B, D) -> (1, D) nats; no gradient where the mean is below `nats`.

    Example:
        >>> import torch
        >>> free_bits(torch.tensor([[0.1, 2.0], [0.2, 4.0]]), nats=0.25)
        tensor([[0.2500, 3.0000]])
    """
    return batch_mean(kl).clamp(min=nats)


class FreeBits(Remedy):
    """Each dim may use `nats` for free, on average over the batch: sum_j max(nats, mean_x KL_j).

    Args:
        nats: threshold per dim.
    """

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
    """Each dim of each example may use `nats` for free: sum_j max(nats, KL_j(x)).

    Args:
        nats: threshold per dim.
    """

    paper = "Li et al., A Surprisingly Effective Fix for Deep Latent Variable Modeling of Text"
    year = 2019

    def __init__(self, nats: Nats = 0.25) -> None:
        super().__init__()
        self.nats = nats

    def transform_kl(self, kl: Tensor, out: VAEOutput, step: Tensor | int) -> Tensor:
        """(B, D) -> (B, D)."""
        return kl.clamp(min=self.nats)


class FreeBitsTotal(Remedy):
    """Each example may use `nats` for free, over all dims: max(nats, KL(x)).

    Args:
        nats: threshold per example.
    """

    paper = "Roberts et al., A Hierarchical Latent Vector Model for Learning Long-Term Structure in Music"
    year = 2018
    transforms_whole_kl = True

    def __init__(self, nats: Nats = 8.0) -> None:
        super().__init__()
        self.nats = nats

    def transform_kl(self, kl: Tensor, out: VAEOutput, step: Tensor | int) -> Tensor:
        """(B, D) -> (B, 1)."""
        return kl.sum(-1, keepdim=True).clamp(min=self.nats)
