"""Sentences that are no words: learned vectors where an encoder expects embeddings.

Shapes: K sentences, T places, E embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

LENGTH = 16  # places of a learned sentence


def soft_words(embedding: nn.Embedding, count: int) -> Tensor:
    """(count, T, E) draws from N(0, s^2), s the words' own root mean square."""
    weight = embedding.weight.detach()
    return weight.square().mean().sqrt() * torch.randn(count, LENGTH, weight.shape[1])


def all_true(x: Tensor) -> Tensor:
    """The mask (B, T) of embedded words (B, T, E) without padding."""
    return torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
