"""KL dropout: each update charges only some of the dims, so that none is pressed down without a rest.

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

SEED = 0  # the choice of dims is the same for every run: it depends on the update alone


def drop_terms(kl: Tensor, rate: float, random: KeyedNoise) -> Tensor:
    """KL_j / (1 - rate) or, with probability `rate`, 0; a dim's choice is one for all rows. (B, D) -> (B, D).

    `random` numbers the D dims, not the examples. The mean over choices is the KL itself.
    """
    dropped = random.uniform("KL dropout") < rate  # (D,)
    return torch.where(dropped, 0.0, kl / (1 - rate))


class KLDropout(Remedy):
    """A dim's KL is left out of an update with probability `rate`, else weighed by 1 / (1 - rate).

    The paper zeroes the KL weights of random dims while it anneals them. The scale is ours: with it the
    loss is the same in the mean and what acts is the noise alone; without it this were a smaller beta.
    Where dims do not come apart (a sampled KL), the whole of it is left out or kept.
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
