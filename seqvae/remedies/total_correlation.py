"""Total correlation: of the KL's three parts, the one that keeps dims from being independent costs more.

KL(q(z|x) || p(z)) = MI of index and code + TC + sum_j KL(q(z_j) || p(z_j)), in the mean over x.
Shapes: M examples of a batch, N of the training data, D latent dims.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from seqvae.distributed.batch_shards import all_gather_rows
from seqvae.interfaces import Batch, Remedy, RunContext
from seqvae.interfaces.outputs import VAEOutput
from seqvae.models.diagonal_normals import scaled_squares
from seqvae.numerics import LOG_2PI
from seqvae.remedies.requirements import require_diagonal

Estimate = Literal["weighted", "stratified"]


def log_densities(z: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
    """Log q(z_m,j | x_n) (M, M, D) in nats, from (M, D) each; rows are codes, columns examples."""
    squares = scaled_squares(z[:, None] - mean, logvar)
    return -0.5 * (LOG_2PI + logvar + squares)


def log_shares(size: int, examples: int, estimate: Estimate, device: torch.device | None = None) -> Tensor:
    """Log of the share of each example in q(z) = sum_n share x q(z|x_n), (M, M) fp32 on `device`.

    `weighted`: 1 / (N M) each. `stratified`: 1 / N for the code's own example and the rest for the others
    in equal parts, which is unbiased, and exact where the batch is the whole of the data.
    """
    examples = max(examples, size)
    if estimate == "weighted":
        return torch.full((size, size), -math.log(examples * size), device=device)
    others = (examples - 1) / (examples * max(size - 1, 1))
    shares = torch.full((size, size), others, device=device)
    return shares.fill_diagonal_(1 / examples).log()


def total_correlation(log_q: Tensor, log_share: Tensor) -> Tensor:
    """TC = E [log q(z) - sum_j log q(z_j)] () in nats, from (M, M, D) and (M, M)."""
    joint = torch.logsumexp(log_q.sum(-1) + log_share, 1)  # (M,)
    single = torch.logsumexp(log_q + log_share[..., None], 1)  # (M, D)
    return (joint - single.sum(-1)).mean()


class TotalCorrelation(Remedy):
    """(beta - 1) x TC, so that TC weighs beta in all: beta-TCVAE with minibatch-weighted sampling.

    The weighted estimate is the paper's; its value, not its gradient, lies about (D - 1) ln N above the TC.
    The `stratified` one (also theirs, here symmetric in the other examples) has no such offset.
    """

    paper = "Chen et al., Isolating Sources of Disentanglement in Variational Autoencoders"
    year = 2018

    def __init__(self, beta: Annotated[float, Field(ge=0)] = 4.0, estimate: Estimate = "weighted") -> None:
        super().__init__()
        self.weight, self.estimate, self.examples = beta - 1, estimate, 1

    def attach(self, vae: nn.Module, facts: RunContext) -> None:
        """Learn N.

        Raises:
            UserError: the posterior is no diagonal normal.
        """
        require_diagonal("total_correlation", vae)
        self.examples = facts.examples

    def auxiliary_losses(self, vae: nn.Module, out: VAEOutput, batch: Batch) -> dict[str, Tensor]:
        """The weighted TC of this batch's codes."""
        mean, logvar = all_gather_rows(out.q.mean), all_gather_rows(out.q.logvar)  # type: ignore[attr-defined]
        shares = log_shares(len(mean), self.examples, self.estimate, mean.device).to(mean)
        tc = total_correlation(log_densities(all_gather_rows(out.z[0]), mean, logvar), shares)
        return {"total_correlation": self.weight * tc}
