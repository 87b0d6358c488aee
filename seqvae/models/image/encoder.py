"""The socket of every encoder of pictures; it reads learned pictures as well.

Shapes: B examples, K learned ones, C x H x W a picture, H features.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from seqvae.data.image.batch import ImageBatch
from seqvae.interfaces import Encoder
from seqvae.models.image.decoder import Shape


def clamp_straight_through(x: Tensor) -> Tensor:
    """X cut to [0, 1]; gradients pass where the next step leads back inside, so that no pixel is stuck."""
    kept = x + (x.clamp(0, 1) - x).detach()
    if kept.requires_grad:
        outwards = ((x < 0), (x > 1))

        def inwards(gradient: Tensor) -> Tensor:
            stuck = (outwards[0] & (gradient > 0)) | (outwards[1] & (gradient < 0))
            return gradient.masked_fill(stuck, 0.0)

        kept.register_hook(inwards)  # type: ignore[no-untyped-call]
    return kept


class ImageEncoder(Encoder[ImageBatch]):
    """Reads pictures of one shape."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """H (B, H) of pictures (B, C, H, W)."""

    def forward(self, batch: ImageBatch) -> Tensor:
        """H (B, H)."""
        return self.features(batch.source)

    def pseudo_inputs(self, count: int) -> Tensor:
        """(count, C, H, W) pictures of uniform noise."""
        return torch.rand(count, *self.shape)

    def read(self, x: Tensor) -> Tensor:
        """H (K, H) of learned pictures (K, C, H, W), cut to [0, 1]."""
        return self.features(clamp_straight_through(x))
