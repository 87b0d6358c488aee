"""Latent dropout: the decoder reads codes with random entries dropped, so that it relies on all dims.

Shapes: S samples, B examples, D latent dims.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from seqvae.errors import UserError
from seqvae.interfaces import Batch, Remedy, RunContext
from seqvae.keyed_noise import KeyedNoise


def drop_entries(z: Tensor, rate: float, random: KeyedNoise) -> Tensor:
    """Each entry of z becomes 0 with probability `rate`, else z / (1 - rate): (S, B, D) -> (S, B, D)."""
    dropped = random.uniform("latent dropout", len(z), z.shape[-1]).transpose(0, 1) < rate
    return torch.where(dropped, 0.0, z / (1 - rate))


class LatentDropout(Remedy):
    """The decoder reads z with entries dropped, in training only; the KL is that of the whole z.

    The authors' code drops entries of softmax(z), the topic proportions that the decoder reads; this drops
    entries of z itself. The logged distortion is that under the dropped codes.

    Args:
        rate: probability per entry.
    """

    paper = "Srivastava & Sutton, Autoencoding Variational Inference for Topic Models"
    year = 2017

    def __init__(self, rate: Annotated[float, Field(ge=0, lt=1)] = 0.2) -> None:
        super().__init__()
        self.rate = rate

    def attach(self, vae: nn.Module, facts: RunContext) -> None:
        """Check the latent.

        Raises:
            UserError: the model has no code.
        """
        if not facts.latent_dim:
            raise UserError(
                "remedy 'latent_dropout' drops entries of a code, latent 'none' has none: leave it out"
            )

    def on_latent(self, z: Tensor, batch: Batch) -> Tensor:
        """Codes (S, B, D) with entries dropped."""
        return drop_entries(z, self.rate, batch.random)
