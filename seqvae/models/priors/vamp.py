"""A prior made of posteriors: those of inputs that are learned.

Shapes: S samples, B examples, K pseudo-inputs, H features, D latent dims.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from seqvae.interfaces import Encoder, Latent, Posterior, Prior
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.diagonal_normals import DiagonalNormals


@dataclass(frozen=True)
class PosteriorMixture:
    """(1/K) sum_k q(z|u_k); `components` are the K posteriors, `normal` if they are diagonal Gaussians."""

    components: Posterior
    normal: bool = False

    def log_prob(self, z: Tensor) -> Tensor:
        """Ln (1/K) sum_k q(z|u_k) in nats, (S, B) for z (S, B, D)."""
        return torch.logsumexp(self._each(z), -1) - math.log(len(self.components.mean))

    def _each(self, z: Tensor) -> Tensor:
        """Ln q(z|u_k), (S, B, K)."""
        q: Any = self.components
        if self.normal:
            return DiagonalNormals(q.mean, q.logvar).log_prob(z).to(z)
        found: Tensor = q.log_prob(z[..., None, :])  # (S, B, 1, D) meets (K, D)
        return found

    def sample(self, n: int, random: KeyedNoise) -> Tensor:
        """Z (n, D): a pseudo-input each, then its posterior, with noise that no example uses."""
        rows = random.for_n(n).fold(1901)
        uniform = rows.uniform("component")  # below 1, so the product may round up to K
        count = len(self.components.mean)
        chosen = (uniform * count).long().clamp(max=count - 1)
        return self.components.select(chosen).rsample(1, rows)[0]


class VampPrior(Prior):
    """p(z) = (1/K) sum_k q(z|u_k): the mixture of the posteriors of `components` learned pseudo-inputs u_k.

    The optimum of p(z) is the aggregated posterior, the same mixture over all examples. A text's u_k are
    vectors where the encoder expects word embeddings. Posteriors that normalise over a batch take their
    running statistics for the u_k. The encoder reads all u_k whenever p(z) is asked for: a batch of K more.

    Raises:
        UserError: an encoder that reads no pseudo-inputs.
    """

    paper = "Tomczak & Welling, VAE with a VampPrior"
    year = 2018

    def __init__(
        self, dim: int, encoder: Encoder, latent: Latent, components: Annotated[int, Field(gt=0)] = 50
    ) -> None:
        super().__init__()
        self.pseudo = nn.Parameter(encoder.pseudo_inputs(components))
        self._reads = (encoder, latent)  # in a tuple, or their weights would be this prior's too

    def forward(self, c: Tensor | None = None) -> PosteriorMixture:
        """The distribution; it reads no condition."""
        encoder, latent = self._reads
        h = encoder.read(self.pseudo)  # (K, H)
        training = latent.training
        latent.eval()
        with torch.autocast(h.device.type, enabled=False):
            components = latent.posterior(h.float())
        latent.train(training)
        return PosteriorMixture(components, latent.is_diagonal_gaussian)
