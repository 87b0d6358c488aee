"""DIP-VAE: the covariance of the codes over the data is regularised towards the identity.

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
    """Covariance (D, D) of the rows of x (B, D) over the global batch, with divisor B."""
    centred = x - batch_mean(x)
    with torch.autocast(x.device.type, enabled=False):  # matrix products would run in bf16
        return global_mean(centred.T @ centred / len(x))


def identity_penalty(cov: Tensor, off_diagonal: float, diagonal: float) -> Tensor:
    """off_diagonal x sum_{i != j} C_ij^2 + diagonal x sum_i (C_ii - 1)^2, (), from C (D, D).

    Example:
        >>> identity_penalty(torch.tensor([[1.0, 0.5], [0.5, 3.0]]), off_diagonal=10.0, diagonal=1.0)
        tensor(9.)
    """
    variances = cov.diagonal()
    others = cov - torch.diag(variances)
    return off_diagonal * others.square().sum() + diagonal * (variances - 1).square().sum()


class DIP(Remedy):
    """The covariance of the posterior means (`kind` i) or of the codes (ii) is pulled to the identity.

    That of the codes is Cov(mean) + E[variance].

    Args:
        kind: `i` or `ii`.
        off_diagonal: weight of the covariances.
        diagonal: weight of the variances; by default `off_diagonal`, times ten for kind i.
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
        self.diagonal = (10 if kind == "i" else 1) * off_diagonal if diagonal is None else diagonal

    def attach(self, vae: nn.Module, facts: RunContext) -> None:
        """Check the latent.

        Raises:
            UserError: the posterior is not a diagonal normal.
        """
        require_diagonal("dip", vae)

    def auxiliary_losses(self, vae: nn.Module, out: VAEOutput, batch: Batch) -> dict[str, Tensor]:
        """The penalty of the global batch; 0 for a single example, which has no covariance."""
        mean, logvar = out.q.mean, out.q.logvar  # type: ignore[attr-defined]
        if global_batch_size(mean) < 2:
            return {"dip": mean.new_zeros(())}
        cov = covariance(mean)
        if self.kind == "ii":
            cov = cov + torch.diag(batch_mean(torch.exp(logvar))[0])
        return {"dip": identity_penalty(cov, self.off_diagonal, self.diagonal)}
