"""Base class of image encoders, which can also encode learned pseudo-inputs.

Shapes: B examples, K pseudo-inputs, C x H x W an image, H features.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from seqvae.data.image.batch import ImageBatch
from seqvae.interfaces import Encoder
from seqvae.models.image.decoder import Shape


def clamp_straight_through(x: Tensor) -> Tensor:
    """Clamp x to [0, 1]; outside, only gradients that lead back inside pass, so that no pixel gets stuck."""
    kept = x + (x.clamp(0, 1) - x).detach()
    if kept.requires_grad:
        outwards = ((x < 0), (x > 1))

        def inwards(gradient: Tensor) -> Tensor:
            stuck = (outwards[0] & (gradient > 0)) | (outwards[1] & (gradient < 0))
            return gradient.masked_fill(stuck, 0.0)

        kept.register_hook(inwards)  # type: ignore[no-untyped-call]
    return kept


class ImageEncoder(Encoder[ImageBatch]):
    """An encoder of images of a fixed shape."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """Features (B, H) of images (B, C, H, W)."""

    def forward(self, batch: ImageBatch) -> Tensor:
        """Features (B, H)."""
        return self.features(batch.source)

    def pseudo_inputs(self, count: int) -> Tensor:
        """(count, C, H, W) images of uniform noise, the initial pseudo-inputs."""
        return torch.rand(count, *self.shape)

    def read(self, x: Tensor) -> Tensor:
        """Features (K, H) of pseudo-inputs (K, C, H, W), clamped to [0, 1]."""
        return self.features(clamp_straight_through(x))
