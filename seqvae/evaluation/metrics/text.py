"""What an evaluation asks of text: perplexity, gain by position, and whether sentences come back.

A sentence is its token ids without specials and without `</s>`. Shapes: B examples, T tokens, P positions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from torch import Tensor

from seqvae.data.text.batch import TextBatch
from seqvae.evaluation.metrics import text_scores

POSITIONS = 20  # of the gain by position
Sentences = list[list[int]]


def perplexity(total_nll: float, tokens: int) -> float:
    """Exp(total NLL in nats / predicted tokens); `</s>` counts as predicted, `<s>` and padding do not."""
    nats = total_nll / tokens
    return math.exp(nats) if nats < 700 else math.inf


def bits_per_character(total_nll: float, characters: int, sentences: int) -> float:
    """Total NLL / ln 2 / (characters + sentences): the end of each sentence counts as one character."""
    return total_nll / math.log(2) / (characters + sentences)


@dataclass(frozen=True)
class TextGeneration:
    """What measuring needs of a tokenizer and a decoder; token ids are without specials and `</s>`."""

    reconstruct: Callable[[Tensor, TextBatch], Sentences]  # greedy, from codes (B, D)
    prior_sample: Callable[[int, int], Sentences]  # (n, seed): greedy, from n prior draws
    detokenize: Callable[[list[int]], str]
    characters: int  # of the evaluated sentences, without line ends


@dataclass(frozen=True)
class TextMetrics:
    """The text wing's answers to `interfaces.Measures`; without tools, those that need no decoding."""

    tools: TextGeneration | None = None

    def per_target(self, batches: Sequence[TextBatch], iw_nll: Tensor | None) -> dict[str, Any]:
        """Predicted tokens, and IW-NLL per token and per character."""
        tokens = sum(batch.num_targets for batch in batches)
        numbers: dict[str, Any] = {"tokens": tokens}
        if iw_nll is None:
            return numbers
        total = float(iw_nll.sum())
        if self.tools is not None:
            numbers["bits_per_char"] = bits_per_character(total, self.tools.characters, len(iw_nll))
        return numbers | {"ppl": perplexity(total, tokens)}

    def position_log_probs(self, likelihood: Any, batch: TextBatch) -> Tensor:
        """Log p of each token (B, T)."""
        scored: Tensor = likelihood.token_log_probs(batch)[0]
        return scored

    def position_gains(self, gains: Tensor, batch: TextBatch) -> tuple[Tensor, Tensor]:
        """Sums and counts at the first positions."""
        return text_scores.by_position(gains, batch.mask.cpu(), POSITIONS)

    def summarise_positions(self, parts: Sequence[tuple[Tensor, Tensor]]) -> dict[str, Any]:
        """`gain_by_position`: nats lost there when z is another sentence's."""
        return {"gain_by_position": text_scores.position_means(parts)}

    def compare_reconstructions(
        self, batch: TextBatch, codes: Tensor, drawn: Tensor
    ) -> tuple[Sentences, ...]:
        """Greedy sentences from posterior means, from one sample each, and the wanted ones."""
        if self.tools is None:
            return ()
        back = (self.tools.reconstruct(z, batch) for z in (codes, drawn))
        return (*back, text_scores.sentences(batch))

    def summarise_reconstructions(self, parts: Sequence[tuple[Sentences, ...]]) -> dict[str, Any]:
        """Accuracy, exact matches, BLEU and edit distance of what came back."""
        if self.tools is None:
            return {}
        at_mean, at_sample, wanted = (list(chain(*rows)) for rows in zip(*parts, strict=True))
        sampled = text_scores.reconstruction_scores(at_sample, wanted, self.tools.detokenize)
        whole = text_scores.reconstruction_scores(at_mean, wanted, self.tools.detokenize)
        return {**whole, "reconstruction_at_samples": sampled, **self._bleu_caution(wanted)}

    def _bleu_caution(self, wanted: Sentences) -> dict[str, Any]:
        assert self.tools is not None
        if text_scores.has_bleu([self.tools.detokenize(ids) for ids in wanted]):
            return {}
        return {"cautions": ["bleu: null, as fewer than a tenth of the sentences have four words"]}

    def sample_metrics(self, n: int, seed: int) -> dict[str, Any]:
        """How many of `n` greedy prior draws are different sentences."""
        if self.tools is None:
            return {}
        drawn = self.tools.prior_sample(n, seed)
        return {"distinct_samples": text_scores.distinct_sentences(drawn), "distinct_of": len(drawn)}
