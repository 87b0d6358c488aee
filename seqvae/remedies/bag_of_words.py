"""Bag-of-words loss: the code alone predicts the words of the sentence, in any order."""

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
    """-sum_t log softmax(logits)_{x_t} in nats, (S, B).

    Args:
        logits: (S, B, V), one distribution over words per code.
        targets: token ids (B, T).
        mask: (B, T), true where a token counts.
    """
    log_probs = torch.log_softmax(logits.float(), -1)
    log_p = log_probs.gather(-1, targets.expand(len(logits), *targets.shape))
    return -masked_sum(log_p, mask)


class BagOfWords(Remedy[TextBatch]):
    """weight x -sum_t log softmax(MLP(z))_{x_t}: all words predicted from z at once.

    Args:
        weight: factor of the loss.
        hidden: width of the hidden layer of the MLP.
    """

    paper = "Zhao et al., Learning Discourse-level Diversity for Neural Dialog Models using CVAEs"
    year = 2017
    batch_type: ClassVar[str] = "text"

    def __init__(
        self, weight: Annotated[float, Field(ge=0)] = 1.0, hidden: Annotated[int, Field(gt=0)] = 256
    ) -> None:
        super().__init__()
        self.weight, self.hidden = weight, hidden

    def attach(self, vae: nn.Module, facts: RunContext) -> None:
        """Create the MLP."""
        assert facts.vocab_size is not None
        first, last = nn.Linear(facts.latent_dim, self.hidden), nn.Linear(self.hidden, facts.vocab_size)
        self.words = nn.Sequential(first, nn.Tanh(), last)

    def auxiliary_losses(self, vae: nn.Module, out: VAEOutput, batch: TextBatch) -> dict[str, Tensor]:
        """The weighted loss, averaged over sentences; the end token is not a word."""
        words = batch.mask & (batch.targets != batch.special.eos)
        loss = bag_of_words_loss(self.words(out.z), batch.targets, words)
        return {"bag_of_words": self.weight * loss.mean()}
