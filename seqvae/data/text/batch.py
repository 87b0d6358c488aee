"""Batches of sentences: the inputs and targets of a text model.

Shapes: B examples, T tokens, L labels, C conditions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from seqvae.interfaces.batch import MovableBatch
from seqvae.keyed_noise import KeyedNoise


@dataclass(frozen=True)
class SpecialIds:
    """The tokenizer's ids of padding, unknown token, start and end."""

    pad: int
    unk: int
    bos: int
    eos: int


@dataclass(frozen=True)
class TextBatch(MovableBatch):
    """Sentences padded on the right.

    `source` (B, Ts) is what the encoder reads: the sentence and `</s>`, or, where the encoder has a source of
    its own, ids of another tokenizer (B, Ts) or vectors (B, W). `inputs` (B, T) is what the
    decoder reads: `<s>` and the sentence. `targets` (B, T) is what it predicts: the sentence and `</s>`.
    Remedies may change what is read, never the targets.
    """

    source: Tensor
    source_lengths: Tensor  # (B,) counts </s>
    inputs: Tensor
    targets: Tensor
    lengths: Tensor  # (B,) predicted tokens: the sentence and </s>
    special: SpecialIds
    index: Tensor  # (B,) the example's position in its corpus
    labels: Tensor  # (B, L), NaN if missing
    random: KeyedNoise  # the noise of these examples at this step
    condition: Tensor | None = None  # (B, C) condition of the latent; by default its own

    @property
    def num_targets(self) -> int:
        """Number of predicted tokens, for throughput and per-token losses."""
        return int(self.lengths.sum())

    @property
    def target_counts(self) -> Tensor:
        """(B,): number of predicted tokens of each example."""
        return self.lengths

    @property
    def decoder_positions(self) -> int:
        """Decoder cost of an example in tokens: T."""
        return self.targets.shape[1]

    @property
    def mask(self) -> Tensor:
        """(B, T), true where a token is predicted."""
        places = torch.arange(self.targets.shape[1], device=self.targets.device)
        return places < self.lengths[:, None]

    @property
    def source_mask(self) -> Tensor:
        """(B, Ts), true where the encoder reads a token."""
        places = torch.arange(self.source.shape[1], device=self.source.device)
        return places < self.source_lengths[:, None]

    def pad_to_multiple(self, multiple: int) -> TextBatch:
        """Pad to a length that is a multiple of `multiple`, so that a GPU sees few shapes."""
        names = ("inputs", "targets") if self.source.is_floating_point() else ("source", "inputs", "targets")
        widths = {name: -getattr(self, name).shape[1] % multiple for name in names}
        return self.replace(
            **{
                name: pad(getattr(self, name), (0, width), value=self.special.pad)
                for name, width in widths.items()
            }
        )
