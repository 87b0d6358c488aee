"""Batches of images: the inputs and targets of an image model.

Shapes: B examples, L labels, C conditions.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from seqvae.interfaces.batch import MovableBatch
from seqvae.keyed_noise import KeyedNoise


@dataclass(frozen=True)
class ImageBatch(MovableBatch):
    """Images with values in [0, 1]: the encoder's input, and the decoder's targets.

    Remedies may change `source`, never `targets`. Binarised images hold 0 and 1.
    """

    source: Tensor  # (B, C, H, W)
    targets: Tensor  # (B, C, H, W)
    index: Tensor  # (B,) the example's position in its data set
    labels: Tensor  # (B, L), NaN if missing
    random: KeyedNoise  # the noise of these examples at this step
    condition: Tensor | None = None  # (B, C) condition of the latent; by default its own

    @property
    def decoder_positions(self) -> int:
        """Decoder cost of an example in token equivalents, about 128 pixels each."""
        return max(1, self.targets[0].numel() // 128)
