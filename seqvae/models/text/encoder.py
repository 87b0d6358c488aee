"""The socket of every encoder of sentences; it reads learned vectors in the place of words as well.

Shapes: B sentences, K learned ones, T places, E embedding, H features.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from seqvae.data.text.batch import TextBatch
from seqvae.interfaces import Encoder

LENGTH = 16  # places of a learned sentence


class TextEncoder(Encoder[TextBatch]):
    """Embeds the words of a batch and reads the embedded sentence."""

    embedding: nn.Embedding

    @abstractmethod
    def pool_states(self, x: Tensor, mask: Tensor) -> Tensor:
        """H (B, H) of embedded words (B, T, E), those where `mask` (B, T) is true."""

    def forward(self, batch: TextBatch) -> Tensor:
        """H (B, H)."""
        return self.pool_states(self.embedding(batch.source), batch.source_mask)

    def pseudo_inputs(self, count: int) -> Tensor:
        """(count, T, E) draws from N(0, s^2), s the words' own root mean square."""
        weight = self.embedding.weight.detach()
        return weight.square().mean().sqrt() * torch.randn(count, LENGTH, weight.shape[1])

    def read(self, x: Tensor) -> Tensor:
        """H (K, H) of sentences of vectors (K, T, E), none of them padding."""
        return self.pool_states(x, torch.ones(x.shape[:2], dtype=torch.bool, device=x.device))
