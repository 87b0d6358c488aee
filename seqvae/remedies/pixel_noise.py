"""Pixel noise: the encoder reads a corrupted image, the decoder predicts the original.

Shapes: B examples, images C x H x W.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from seqvae.data.image.batch import ImageBatch
from seqvae.interfaces import Remedy
from seqvae.keyed_noise import KeyedNoise
from seqvae.remedies.denoising import Rate


def add_noise(
    x: Tensor, random: KeyedNoise, drop: float = 0.0, salt: float = 0.0, gaussian: float = 0.0
) -> Tensor:
    """Corrupt images by Gaussian noise, then salt-and-pepper noise, then dropped pixels.

    Args:
        x: images (B, C, H, W) in [0, 1].
        random: noise of the examples.
        drop: fraction of pixels set to black, in all channels.
        salt: fraction of pixels set to black or white with equal probability, in all channels.
        gaussian: standard deviation of the noise per value; results are clamped to [0, 1].
    """
    channels, height, width = x.shape[1:]
    if gaussian:
        x = (x + gaussian * random.normal("pixel noise/gaussian", channels, height, width)).clamp(0, 1)
    if salt:
        chance = random.uniform("pixel noise/salt", 1, height, width)
        x = torch.where(chance < salt, (chance < salt / 2).to(x.dtype), x)
    if drop:
        x = x.masked_fill(random.uniform("pixel noise/drop", 1, height, width) < drop, 0.0)
    return x


class PixelNoise(Remedy[ImageBatch]):
    """Pixels of the encoder's input are dropped (black), salted (black or white) or get Gaussian noise.

    Im et al. (2017, Denoising Criterion for Variational Auto-Encoding Framework) do this to a VAE: the
    posterior, averaged over the noise, is a mixture, and the KL stays that of q(z | corrupted x).

    Args:
        drop: probability per pixel.
        salt: probability per pixel.
        gaussian: standard deviation, for pixels in [0, 1].
    """

    paper = "Vincent et al., Extracting and Composing Robust Features with Denoising Autoencoders"
    year = 2008
    batch_type: ClassVar[str] = "image"

    def __init__(
        self, drop: Rate = 0.25, salt: Rate = 0.0, gaussian: Annotated[float, Field(ge=0)] = 0.0
    ) -> None:
        super().__init__()
        self.drop, self.salt, self.gaussian = drop, salt, gaussian

    def on_encoder_input(self, batch: ImageBatch) -> ImageBatch:
        """The batch with a corrupted `source`; targets stay."""
        source = add_noise(batch.source, batch.random, self.drop, self.salt, self.gaussian)
        return batch.replace(source=source)
