"""The batch of images: what an image model reads and predicts.

Shapes: B examples, L labels, C conditions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
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
    def size(self) -> int:
        """B."""
        return len(self.index)

    @property
    def num_targets(self) -> int:
        """What is counted when speed is told, and a loss `a unit`: pictures."""
        return self.size

    @property
    def target_counts(self) -> Tensor:
        """(B,): how many units each example has: one."""
        return torch.ones_like(self.index)

    @property
    def decoder_positions(self) -> int:
        """How much an example costs the decoder, in tokens: about 128 pixels each."""
        return max(1, self.targets[0].numel() // 128)

    def replace(self, **values: Any) -> ImageBatch:
        """A copy with some fields replaced."""
        return replace(self, **values)
