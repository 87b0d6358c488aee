"""FactorVAE: a second player tells codes from codes whose dims were shuffled apart, and must fail.

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

SLOPE = 0.2  # of the leaky rectifiers


def permute_dims(z: Tensor, random: KeyedNoise) -> Tensor:
    """Each dim of z (B, D) in another order of the examples: a draw of prod_j q(z_j)."""
    return z.gather(0, random.uniform("factor_vae", z.shape[1]).argsort(0))


def ratio_loss(joint: Tensor, apart: Tensor) -> Tensor:
    """Cross-entropy () of telling codes from shuffled ones, in nats; best where logits are log ratios."""
    return 0.5 * (softplus(-joint).mean() + softplus(apart).mean())


class Discriminator(nn.Module):
    """Log q(z) / prod_j q(z_j), learned from detached codes and the same ones shuffled."""

    def __init__(self, dim: int, hidden: int, layers: int) -> None:
        super().__init__()
        sizes = [dim, *[hidden] * layers]
        inner = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.LeakyReLU(SLOPE))]
        self.log_ratio = nn.Sequential(*inner, nn.Linear(hidden, 1))

    def forward(self, out: VAEOutput, batch: Batch) -> Tensor:
        """Its own loss ()."""
        z = out.z[0].detach()
        apart = local_slice(permute_dims(all_gather_rows(z), batch.random.all_gather()))
        with torch.autocast(z.device.type, enabled=False):
            return ratio_loss(self.log_ratio(z), self.log_ratio(apart))

    def total_correlation(self, z: Tensor) -> Tensor:
        """E log q(z) / prod_j q(z_j) () in nats, with gradients to z (B, D) and not to the weights."""
        fixed = {name: weight.detach() for name, weight in self.log_ratio.named_parameters()}
        with torch.autocast(z.device.type, enabled=False):
            log_ratios: Tensor = functional_call(self.log_ratio, fixed, (z,))
        return log_ratios.mean()


class FactorVAE(Remedy):
    """gamma x TC, the TC of a density-ratio discriminator that trains beside the model at its rate.

    It is smaller than the paper's by default, and shuffles the same batch rather than a second one.
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
        """Make the discriminator.

        Raises:
            UserError: the codes are no random real numbers.
        """
        require_reparameterized("factor_vae", vae)
        self.player = Discriminator(facts.latent_dim, self.hidden, self.layers)

    def auxiliary_losses(self, vae: nn.Module, out: VAEOutput, batch: Batch) -> dict[str, Tensor]:
        """The weighted TC of this batch's codes."""
        return {"factor_vae": self.gamma * self.player.total_correlation(out.z[0])}

    def discriminator(self) -> nn.Module:
        """The discriminator."""
        return self.player
