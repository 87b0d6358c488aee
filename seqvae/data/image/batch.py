"""The batch of images: what an image model reads and predicts.

Shapes: B examples, L labels, C conditions.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from seqvae.interfaces.batch import MovableBatch
from seqvae.keyed_noise import KeyedNoise


@dataclass(frozen=True)
class ImageBatch(MovableBatch):
    """Pictures of values in [0, 1]: what the encoder reads, and what the decoder is scored on.

    Remedies may change `source`, never `targets`. Binarised pictures hold 0 and 1.
    """

    source: Tensor  # (B, C, H, W)
    targets: Tensor  # (B, C, H, W)
    index: Tensor  # (B,) the example's place in its data set
    labels: Tensor  # (B, L), NaN where a label is missing
    random: KeyedNoise  # the noise of these examples at this step
    condition: Tensor | None = None  # (B, C) what is asked of the latent; by default its own

    @property
    def decoder_positions(self) -> int:
        """How much an example costs the decoder, in tokens: about 128 pixels each."""
        return max(1, self.targets[0].numel() // 128)
