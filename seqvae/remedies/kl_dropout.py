"""KL dropout: each update leaves the KL of random latent dims out of the loss.

Shapes: B examples, D latent dims.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from seqvae.interfaces import Remedy
from seqvae.interfaces.outputs import VAEOutput
from seqvae.keyed_noise import KeyedNoise

SEED = 0  # of every run: hooks on the KL get no noise of the run, so the choice depends on the update alone


def drop_terms(kl: Tensor, rate: float, random: KeyedNoise) -> Tensor:
    """KL_j / (1 - rate) or, with probability `rate`, 0, for all examples alike: (B, D) -> (B, D).

    The expectation is the KL itself.

    Args:
        kl: nats (B, D).
        rate: probability of a zero.
        random: noise whose index (D,) numbers dims instead of examples.
    """
    dropped = random.uniform("KL dropout") < rate  # (D,)
    return torch.where(dropped, 0.0, kl / (1 - rate))


class KLDropout(Remedy):
    """A dim's KL is left out of an update with probability `rate`, else divided by 1 - rate.

    The paper zeroes the KL weights of random dims while it anneals them. The division is our addition: it
    keeps the expected loss, so that only the noise acts and not a smaller beta. A KL that does not factorise
    over dims is left out or kept as a whole.

    Args:
        rate: probability per dim and update.
    """

    paper = "Song et al., Preventing Posterior Collapse with DVAE for Text Modeling"
    year = 2025

    def __init__(self, rate: Annotated[float, Field(ge=0, lt=1)] = 0.3) -> None:
        super().__init__()
        self.rate = rate

    def transform_kl(self, kl: Tensor, out: VAEOutput, step: Tensor | int) -> Tensor:
        """(B, D) -> (B, D)."""
        dims = torch.arange(kl.shape[-1], device=kl.device)
        return drop_terms(kl, self.rate, KeyedNoise(SEED, step, dims))
