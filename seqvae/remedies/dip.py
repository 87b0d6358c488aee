"""DIP-VAE: codes whose covariance over the data is the identity are not correlated.

Shapes: B examples, D latent dims.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from seqvae.distributed.batch_shards import global_batch_size, global_mean
from seqvae.distributed.batch_statistics import batch_mean
from seqvae.interfaces import Batch, Remedy, RunContext
from seqvae.interfaces.outputs import VAEOutput
from seqvae.remedies.requirements import require_diagonal

NonNegative = Annotated[float, Field(ge=0)]


def covariance(x: Tensor) -> Tensor:
    """Cov (D, D) of the rows of x (B, D), divided by B; in fp32 also under autocast."""
    centred = x - batch_mean(x)
    with torch.autocast(x.device.type, enabled=False):
        return global_mean(centred.T @ centred / len(x))


def identity_penalty(cov: Tensor, off_diagonal: float, diagonal: float) -> Tensor:
    """off_diagonal x sum_{i != j} C_ij^2 + diagonal x sum_i (C_ii - 1)^2, (), from C (D, D)."""
    own = cov.diagonal()
    others = cov - torch.diag(own)
    return off_diagonal * others.square().sum() + diagonal * (own - 1).square().sum()


class DIP(Remedy):
    """The covariance of the posterior means (`kind` i) or of the codes (ii) is pulled to the identity.

    The codes' is Cov(mean) + E[variance]. `diagonal` weighs as much as `off_diagonal` unless given, and
    ten times as much for kind i.
    """

    paper = "Kumar et al., Variational Inference of Disentangled Latent Concepts from Unlabeled Observations"
    year = 2018

    def __init__(
        self,
        kind: Literal["i", "ii"] = "ii",
        off_diagonal: NonNegative = 10.0,
        diagonal: NonNegative | None = None,
    ) -> None:
        super().__init__()
        self.kind, self.off_diagonal = kind, off_diagonal
        self.is_diagonal_gaussian = (
            (10 if kind == "i" else 1) * off_diagonal if diagonal is None else diagonal
        )

    def attach(self, vae: nn.Module, facts: RunContext) -> None:
        """Look at the latent.

        Raises:
            UserError: the posterior is no diagonal normal.
        """
        require_diagonal("dip", vae)

    def auxiliary_losses(self, vae: nn.Module, out: VAEOutput, batch: Batch) -> dict[str, Tensor]:
        """The penalty of this batch; 0 for a batch of one, which has no covariance."""
        mean, logvar = out.q.mean, out.q.logvar  # type: ignore[attr-defined]
        if global_batch_size(mean) < 2:
            return {"dip": mean.new_zeros(())}
        cov = covariance(mean)
        if self.kind == "ii":
            cov = cov + torch.diag(batch_mean(torch.exp(logvar))[0])
        return {"dip": identity_penalty(cov, self.off_diagonal, self.is_diagonal_gaussian)}
