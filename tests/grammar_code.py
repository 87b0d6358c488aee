"""A code whose answers are known: factors of the embedded grammar, one-hot, and an exact decoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from seqvae.data.synthetic.sentences import FACTORS, factors_of, iter_sentences, sentence
from seqvae.data.text.similar_spelling import SimilarSpelling
from seqvae.models.text.filling import BLANK

SIZES = [len(values) for values in FACTORS.values()]


class GrammarVAE:
    """What the tools ask of a `TextVAE`, without a network; a text outside the grammar has the code 0."""

    modality = "text"
    latent_dim = sum(SIZES)
    embedded_factors = tuple(FACTORS)
    run = SimpleNamespace(path=Path("grammar"))
    tokenizer = SimpleNamespace(decode=" ".join, decode_batch=lambda rows: list(map(" ".join, rows)))

    similar_spelling = SimilarSpelling(
        {word: word for text, _ in iter_sentences(400, 0) for word in text.split()}
    )

    def encode(self, texts: Sequence[str]) -> Tensor:
        """(N, D)."""
        rows = [factors_of(text) for text in texts]
        parts = [
            torch.zeros(self.latent_dim)
            if row is None
            else torch.cat([one_hot(torch.tensor(v), n).float() for v, n in zip(row, SIZES, strict=True)])
            for row in rows
        ]
        return torch.stack(parts)

    def greedy_untruncated(self) -> None:
        """There is one way to decode."""

    def decode(self, z: Tensor, how: None = None) -> list[str]:
        """The sentence whose values are the largest of each factor."""
        columns = [part.argmax(-1) for part in z.split(SIZES, -1)]
        return [sentence(row) for row in torch.stack(columns, -1).tolist()]

    def shift(self, texts: Sequence[str], step: Tensor, how: None = None) -> list[str]:
        """As `TextVAE.shift`."""
        return self.decode(self.encode(texts) + step)

    def log_prob(self, texts: Sequence[str], z: Tensor) -> Tensor:
        """How many factors agree, in proportion; -100 for a text outside the grammar."""
        inside = torch.tensor([factors_of(text) is not None for text in texts])
        return torch.where(inside, (self.encode(texts) * z).sum(-1), -100.0)

    def fill(self, patterns: Sequence[list[Any]], z: Tensor, beam: int) -> list[list[list[Any]]]:
        """The words of the code's own sentence."""
        rows = zip(patterns, self.decode(z), strict=True)
        return [[[b if a == BLANK else a for a, b in zip(p, text.split(), strict=False)]] for p, text in rows]

    def token_ids(self, texts: Sequence[str]) -> list[list[Any]]:
        """The words."""
        return [text.split() for text in texts]
