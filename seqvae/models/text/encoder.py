"""The base class of all encoders of sentences; it also encodes pseudo-inputs (as in VampPrior).

Shapes: B sentences, K pseudo-inputs, T positions, E embedding, H features.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from seqvae.data.text.batch import TextBatch
from seqvae.interfaces import Encoder

LENGTH = 16  # positions of a pseudo-input


class TextEncoder(Encoder[TextBatch]):
    """Embeds the words of a batch and encodes the sequence of embeddings."""

    embedding: nn.Embedding

    @abstractmethod
    def pool_states(self, x: Tensor, mask: Tensor) -> Tensor:
        """Features (B, H) of embedded words (B, T, E); `mask` (B, T) is false at padding."""

    def forward(self, batch: TextBatch) -> Tensor:
        """Features (B, H)."""
        return self.pool_states(self.embedding(batch.source), batch.source_mask)

    def pseudo_inputs(self, count: int) -> Tensor:
        """Draws (count, T, E) from N(0, s^2), s the root mean square of the word embeddings."""
        weight = self.embedding.weight.detach()
        return weight.square().mean().sqrt() * torch.randn(count, LENGTH, weight.shape[1])

    def read(self, x: Tensor) -> Tensor:
        """Features (K, H) of sequences of vectors (K, T, E) without padding."""
        return self.pool_states(x, torch.ones(x.shape[:2], dtype=torch.bool, device=x.device))
