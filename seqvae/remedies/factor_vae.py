"""FactorVAE: total correlation, estimated by a discriminator of codes and dim-wise permuted codes.

Shapes: B examples, D latent dims.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import softplus

from seqvae.distributed.batch_shards import all_gather_rows, local_slice
from seqvae.interfaces import Batch, Remedy, RunContext
from seqvae.interfaces.outputs import VAEOutput
from seqvae.keyed_noise import KeyedNoise
from seqvae.remedies.requirements import require_reparameterized

SLOPE = 0.2  # negative slope of the leaky ReLUs


def permute_dims(z: Tensor, random: KeyedNoise) -> Tensor:
    """Z (B, D) with each dim permuted over the examples on its own: samples of prod_j q(z_j)."""
    return z.gather(0, random.uniform("factor_vae", z.shape[1]).argsort(0))


def ratio_loss(joint: Tensor, permuted: Tensor) -> Tensor:
    """Cross-entropy () in nats of classifying codes and permuted codes by their logits.

    Its minimum over logits is log q(z) / prod_j q(z_j).
    """
    return 0.5 * (softplus(-joint).mean() + softplus(permuted).mean())


class Discriminator(nn.Module):
    """MLP whose logit estimates log q(z) / prod_j q(z_j)."""

    def __init__(self, dim: int, hidden: int, layers: int) -> None:
        super().__init__()
        sizes = [dim, *[hidden] * layers]
        inner = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.LeakyReLU(SLOPE))]
        self.log_ratio = nn.Sequential(*inner, nn.Linear(hidden, 1))

    def forward(self, out: VAEOutput, batch: Batch) -> Tensor:
        """Classification loss () on detached codes."""
        z = out.z[0].detach()
        permuted = local_slice(permute_dims(all_gather_rows(z), batch.random.all_gather()))
        with torch.autocast(z.device.type, enabled=False):
            return ratio_loss(self.log_ratio(z), self.log_ratio(permuted))

    def total_correlation(self, z: Tensor) -> Tensor:
        """E log q(z) / prod_j q(z_j) () in nats, with gradients to z (B, D) but not to the weights."""
        # the model must not train the discriminator, which minimises another loss
        fixed = {name: weight.detach() for name, weight in self.log_ratio.named_parameters()}
        with torch.autocast(z.device.type, enabled=False):
            log_ratios: Tensor = functional_call(self.log_ratio, fixed, (z,))
        return log_ratios.mean()


class FactorVAE(Remedy):
    """gamma x TC, the total correlation that a jointly trained density-ratio discriminator estimates.

    By default the discriminator is smaller than the paper's; it permutes the same batch, not a second one.

    Args:
        gamma: weight of the total correlation.
        hidden: width of the discriminator.
        layers: number of its hidden layers.
    """

    paper = "Kim & Mnih, Disentangling by Factorising"
    year = 2018

    def __init__(
        self,
        gamma: Annotated[float, Field(ge=0)] = 10.0,
        hidden: Annotated[int, Field(gt=0)] = 256,
        layers: Annotated[int, Field(gt=0)] = 4,
    ) -> None:
        super().__init__()
        self.gamma, self.hidden, self.layers = gamma, hidden, layers

    def attach(self, vae: nn.Module, facts: RunContext) -> None:
        """Create the discriminator.

        Raises:
            UserError: codes are deterministic or discrete.
        """
        require_reparameterized("factor_vae", vae)
        self.player = Discriminator(facts.latent_dim, self.hidden, self.layers)

    def auxiliary_losses(self, vae: nn.Module, out: VAEOutput, batch: Batch) -> dict[str, Tensor]:
        """The weighted TC of the codes of this batch."""
        return {"factor_vae": self.gamma * self.player.total_correlation(out.z[0])}

    def discriminator(self) -> nn.Module:
        """The discriminator."""
        return self.player
