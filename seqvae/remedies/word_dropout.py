"""Word dropout: a decoder that misses some previous words has to use the code."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from seqvae.data.text.batch import TextBatch
from seqvae.interfaces import Remedy
from seqvae.keyed_noise import KeyedNoise


def drop_words(inputs: Tensor, rate: float, unk: int, random: KeyedNoise) -> Tensor:
    """Each input word becomes `unk` with probability `rate`; the start token stays: (B, T) -> (B, T).

    Example:
        >>> noise = KeyedNoise(seed=0, step=0, index=torch.tensor([0]))
        >>> drop_words(torch.tensor([[2, 4, 5, 6]]), rate=1.0, unk=1, random=noise)
        tensor([[2, 1, 1, 1]])
    """
    dropped = random.uniform("word dropout", inputs.shape[1]) < rate
    later = torch.arange(inputs.shape[1], device=inputs.device) > 0
    return torch.where(dropped & later, unk, inputs)


class WordDropout(Remedy[TextBatch]):
    """Decoder inputs become <unk> with probability `rate`, in training only.

    Args:
        rate: probability per word; at 1 the decoder reads nothing but the code.
    """

    paper = "Bowman et al., Generating Sentences from a Continuous Space"
    year = 2016
    batch_type: ClassVar[str] = "text"

    def __init__(self, rate: Annotated[float, Field(ge=0, le=1)] = 0.3) -> None:
        super().__init__()
        self.rate = rate

    def on_decoder_input(self, batch: TextBatch) -> TextBatch:
        """The batch with some `inputs` replaced; targets and source stay."""
        unk, random = batch.special.unk, batch.random
        return batch.replace(inputs=drop_words(batch.inputs, self.rate, unk, random))
