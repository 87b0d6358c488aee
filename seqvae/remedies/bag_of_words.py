"""Bag of words: the code alone must tell which words the sentence has."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from seqvae.data.text.batch import TextBatch
from seqvae.interfaces import Remedy, RunContext
from seqvae.interfaces.outputs import VAEOutput
from seqvae.numerics import masked_sum


def bag_of_words_loss(logits: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """-sum_t log softmax(logits)_{x_t}, (S, B) nats, for logits (S, B, V), targets and mask (B, T)."""
    log_probs = torch.log_softmax(logits.float(), -1)
    said = log_probs.gather(-1, targets.expand(len(logits), *targets.shape))
    return -masked_sum(said, mask)


class BagOfWords(Remedy[TextBatch]):
    """weight x -sum_t log softmax(MLP(z))_{x_t}: all words predicted from z at once."""

    paper = "Zhao et al., Learning Discourse-level Diversity for Neural Dialog Models using CVAEs"
    year = 2017
    batch_type: ClassVar[str] = "text"

    def __init__(
        self, weight: Annotated[float, Field(ge=0)] = 1.0, hidden: Annotated[int, Field(gt=0)] = 256
    ) -> None:
        super().__init__()
        self.weight, self.hidden = weight, hidden

    def attach(self, vae: nn.Module, facts: RunContext) -> None:
        """Make the MLP."""
        assert facts.vocab_size is not None
        first, last = nn.Linear(facts.latent_dim, self.hidden), nn.Linear(self.hidden, facts.vocab_size)
        self.words = nn.Sequential(first, nn.Tanh(), last)

    def auxiliary_losses(self, vae: nn.Module, out: VAEOutput, batch: TextBatch) -> dict[str, Tensor]:
        """The loss, mean over sentences; the end token does not count as a word."""
        words = batch.mask & (batch.targets != batch.special.eos)
        loss = bag_of_words_loss(self.words(out.z), batch.targets, words)
        return {"bag_of_words": self.weight * loss.mean()}
