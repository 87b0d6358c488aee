"""Denoising: the encoder reads a corrupted sentence, the decoder predicts the original."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from seqvae.data.text.batch import TextBatch
from seqvae.errors import UserError
from seqvae.interfaces import Encoder, Remedy, RunContext
from seqvae.numerics import constant

Rate = Annotated[float, Field(ge=0, le=1)]  # a probability


def shuffle_words(source: Tensor, lengths: Tensor, reach: float, chance: Tensor) -> Tensor:
    """Permute words so that each moves at most `reach` positions (Lample et al. 2018).

    Words are sorted by position + (reach + 1) x chance. The end token, the last real one, stays.

    Args:
        source: token ids (B, T).
        lengths: number of real tokens (B,).
        reach: largest distance.
        chance: uniform noise (B, T) in (0, 1).
    """
    places = torch.arange(source.shape[1], device=source.device).expand_as(source)
    fixed = places >= (lengths - 1)[:, None]
    keys = places + torch.where(fixed, 0.0, (reach + 1) * chance)
    keys = keys.masked_fill(fixed, 1e9) + torch.where(fixed, places * 1.0, 0.0)
    return source.gather(1, keys.argsort(dim=1, stable=True))


def drop_words(source: Tensor, lengths: Tensor, drop: Tensor, pad: int) -> tuple[Tensor, Tensor]:
    """Delete words, and move the rest to the left; the end token stays.

    Args:
        source: token ids (B, T).
        lengths: number of real tokens (B,).
        drop: (B, T), true where a word is deleted.
        pad: id of the padding token.

    Returns:
        The shorter sentences (B, T) and their lengths (B,).
    """
    places = torch.arange(source.shape[1], device=source.device)
    real = places < lengths[:, None]
    kept = real & ~(drop & (places < (lengths - 1)[:, None]))
    order = (~kept).int().argsort(dim=1, stable=True)  # a stable sort by a flag keeps the word order
    left = kept.sum(1)
    return source.gather(1, order).masked_fill(places >= left[:, None], pad), left


class Denoising(Remedy[TextBatch]):
    """Words of the encoder's input are dropped, blanked, substituted or moved; the targets stay.

    Args:
        drop: probability that a word is deleted.
        blank: probability that a word becomes <unk>.
        substitute: probability that a word becomes another one.
        shuffle: largest number of positions that a word moves.
    """

    paper = "Shen et al., Educating Text Autoencoders: Latent Representation Guidance via Denoising"
    year = 2020
    batch_type: ClassVar[str] = "text"

    def __init__(
        self,
        drop: Rate = 0.3,
        blank: Rate = 0.0,
        substitute: Rate = 0.0,
        shuffle: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        super().__init__()
        self.drop, self.blank, self.substitute, self.shuffle = drop, blank, substitute, shuffle
        self.vocab_size = 0

    def attach(self, vae: torch.nn.Module, facts: RunContext) -> None:
        """Store the size of the vocabulary, from which substitutes are drawn.

        Raises:
            UserError: the encoder does not read the run's own words.
        """
        if isinstance(vae.encoder, Encoder) and vae.encoder.own_source:
            raise UserError(
                "denoising changes the words that the encoder reads, and this encoder reads vectors or "
                "tokens of its own: use word_dropout or latent_dropout"
            )
        self.vocab_size = facts.vocab_size or 0

    def on_encoder_input(self, batch: TextBatch) -> TextBatch:
        """The batch with a corrupted `source`."""
        source, lengths = batch.source, batch.source_lengths
        if self.shuffle:
            source = shuffle_words(source, lengths, self.shuffle, self._draw("shuffle", batch))
        source = self._replace(source, batch)
        if self.drop:
            lost = self._draw("drop", batch) < self.drop
            source, lengths = drop_words(source, lengths, lost, batch.special.pad)
        return batch.replace(source=source, source_lengths=lengths)

    def _replace(self, source: Tensor, batch: TextBatch) -> Tensor:
        """Blank and substitute words; special tokens are neither replaced nor used as substitutes."""
        special = constant(tuple(sorted(set(vars(batch.special).values()))), source.device, torch.long)
        word = ~torch.isin(source, special)
        others = (self._draw("other", batch) * self.vocab_size).long()
        swap = word & (self._draw("substitute", batch) < self.substitute) & ~torch.isin(others, special)
        source = torch.where(swap, others, source)
        return torch.where(word & (self._draw("blank", batch) < self.blank), batch.special.unk, source)

    @staticmethod
    def _draw(stream: str, batch: TextBatch) -> Tensor:
        return batch.random.uniform(f"denoising/{stream}", batch.source.shape[1])
