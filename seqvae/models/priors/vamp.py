"""VampPrior: the mixture of the posteriors of learned pseudo-inputs.

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
    """(1/K) sum_k q(z|u_k).

    Attributes:
        components: the posteriors of the K pseudo-inputs.
        normal: whether they are diagonal Gaussians, whose densities are cheaper.
    """

    components: Posterior
    normal: bool = False

    def log_prob(self, z: Tensor) -> Tensor:
        """Log (1/K) sum_k q(z|u_k) in nats, (S, B), for z (S, B, D)."""
        return torch.logsumexp(self._component_log_probs(z), -1) - math.log(len(self.components.mean))

    def _component_log_probs(self, z: Tensor) -> Tensor:
        """Log q(z|u_k) in nats, (S, B, K)."""
        q: Any = self.components
        if self.normal:
            return DiagonalNormals(q.mean, q.logvar).log_prob(z).to(z)
        found: Tensor = q.log_prob(z[..., None, :])  # (S, B, 1, D) broadcasts with (K, D)
        return found

    def sample(self, n: int, random: KeyedNoise) -> Tensor:
        """Samples z (n, D): a random pseudo-input each, then its posterior."""
        rows = random.for_n(n).fold(1901)  # the stream "posterior" is also that of the examples' own codes
        uniform = rows.uniform("component")  # below 1, so the product may round up to K
        count = len(self.components.mean)
        chosen = (uniform * count).long().clamp(max=count - 1)
        return self.components.select(chosen).rsample(1, rows)[0]


class VampPrior(Prior):
    """p(z) = (1/K) sum_k q(z|u_k): the mixture of the posteriors of `components` learned pseudo-inputs u_k.

    The optimal p(z) is the aggregated posterior, the same mixture over all examples. For text, u_k are
    sequences of vectors in place of word embeddings. Each call of the prior runs the encoder on all u_k, a
    batch of K.

    Args:
        dim: D.
        encoder: the encoder of the model.
        latent: the latent of the model.
        components: K.

    Raises:
        UserError: the encoder does not support pseudo-inputs.
    """

    paper = "Tomczak & Welling, VAE with a VampPrior"
    year = 2018

    def __init__(
        self, dim: int, encoder: Encoder, latent: Latent, components: Annotated[int, Field(gt=0)] = 50
    ) -> None:
        super().__init__()
        self.pseudo = nn.Parameter(encoder.pseudo_inputs(components))
        self._reads = (encoder, latent)  # in a tuple, or their parameters would be registered here too

    def forward(self, c: Tensor | None = None) -> PosteriorMixture:
        """The distribution; the condition is ignored."""
        encoder, latent = self._reads
        h = encoder.read(self.pseudo)  # (K, H)
        training = latent.training
        latent.eval()  # batch statistics of pseudo-inputs must not enter the running ones
        with torch.autocast(h.device.type, enabled=False):
            components = latent.posterior(h.float())
        latent.train(training)
        return PosteriorMixture(components, latent.is_diagonal_gaussian)
