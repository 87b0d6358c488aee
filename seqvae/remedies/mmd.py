"""Maximum mean discrepancy between the aggregated posterior and the prior."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from seqvae.distributed.batch_shards import all_gather_rows
from seqvae.interfaces import Batch, Remedy
from seqvae.interfaces.outputs import VAEOutput


def inverse_multiquadratic(a: Tensor, b: Tensor) -> Tensor:
    """Kernel C / (C + |a - b|^2) with C = 2 D, (N, M), of a (N, D) and b (M, D)."""
    scale = 2.0 * a.shape[-1]
    squares = (a[:, None] - b[None]).square().sum(-1)
    return scale / (scale + squares)


def mmd(a: Tensor, b: Tensor) -> Tensor:
    """Unbiased estimate () of MMD^2 between samples a (N, D) and b (M, D), N, M > 1 (Gretton et al. 2012).

    Example:
        >>> z = torch.randn(100, 2)
        >>> bool(mmd(z, torch.randn(100, 2)) < mmd(z, 3 + torch.randn(100, 2)))
        True
    """
    own = [_off_diagonal_mean(inverse_multiquadratic(x, x)) for x in (a, b)]
    return own[0] + own[1] - 2 * inverse_multiquadratic(a, b).mean()


def _off_diagonal_mean(k: Tensor) -> Tensor:
    n = len(k)  # without the diagonal, whose k(x, x) = 1 would bias the estimate
    return (k.sum() - k.diagonal().sum()) / (n * (n - 1))


class MMD(Remedy):
    """weight x MMD^2(q(z), p(z)), the term that InfoVAE adds; a WAE with `constant_beta: 0`.

    Args:
        weight: factor of the loss.
    """

    paper = "Zhao et al., InfoVAE: Balancing Learning and Inference in Variational Autoencoders"
    year = 2017

    def __init__(self, weight: Annotated[float, Field(ge=0)] = 10.0) -> None:
        super().__init__()
        self.weight = weight

    def auxiliary_losses(self, vae: nn.Module, out: VAEOutput, batch: Batch) -> dict[str, Tensor]:
        """The weighted MMD^2 of the codes of the global batch and as many prior samples; 0 if B = 1."""
        z = all_gather_rows(out.z[0])
        if len(z) < 2:
            return {"mmd": z.new_zeros(())}
        with torch.no_grad():
            draws = out.p.sample(len(z), batch.random.all_gather().fold(1))
        return {"mmd": self.weight * mmd(z, draws)}
