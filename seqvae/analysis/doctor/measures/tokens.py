"""How a tokenizer fits its corpus."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from seqvae.config.schema import Component, TextRunConfig
from seqvae.data.text.choosing import choose_tokenizer, look_at, percentile
from seqvae.data.text.dataset import splits_of
from seqvae.data.text.token_store import TokenStore

LENGTHS = 20_000  # texts whose words are counted


@dataclass(frozen=True)
class TokenFacts:
    """Of the held-out split: what its tokens are; `better` is the tokenizer that the corpus asks for."""

    unknown: float  # share of the tokens
    single: float  # share of the sentences that are one token
    tokens: float  # per sentence, ends not counted
    characters: float  # per token
    cut: float  # share of the training sentences that are cut to the longest length
    max_tokens: int
    wanted_tokens: int  # 99 % of the sentences that were not cut have no more
    better: Component
    reason: str


def measure_tokens(config: TextRunConfig, data: Any, split: str) -> TokenFacts:
    """Count tokens, and look at the texts again for a better tokenizer."""
    held: TokenStore = data.splits[split]
    counts, n, train = held.counts, max(1, len(held)), data.train
    texts = splits_of(config.data)
    better, reason = choose_tokenizer(
        look_at((e.text for e in texts["train"].examples()), (e.text for e in texts["valid"].examples()))
    )
    return TokenFacts(
        unknown=counts.unknown / max(1, counts.tokens),
        single=float((held.lengths <= 1).mean()),
        tokens=counts.tokens / n,
        characters=float(np.sum(held.chars)) / max(1, counts.tokens),
        cut=train.counts.truncated / max(1, train.counts.kept),
        max_tokens=config.data.max_tokens,
        wanted_tokens=percentile([len(e.text.split()) for e in islice(texts["train"].examples(), LENGTHS)]),
        better=better,
        reason=reason,
    )
