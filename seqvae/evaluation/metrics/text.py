"""Metrics of text: perplexity, bits per character, gain by position, and reconstruction.

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

POSITIONS = 20  # number of positions of the gain by position
MANY_UNKNOWN = 0.01  # fraction of words above which a perplexity is misleading
Sentences = list[list[int]]


def perplexity(total_nll: float, tokens: int) -> float:
    """Exp(total NLL in nats / predicted tokens); `</s>` counts as predicted, `<s>` and padding do not."""
    nats = total_nll / tokens
    return math.exp(nats) if nats < 700 else math.inf


def bits_per_character(total_nll: float, characters: int, sentences: int, spelling: float = 0.0) -> float:
    """(Total NLL + spelling) / ln 2 / (characters + sentences): each end counts as one character.

    `spelling` is the cost in nats of spelling the out-of-vocabulary words, for which the likelihood only has
    the unknown token. With a model of all words it is an upper bound, because that model also gives
    probability to the vocabulary's words.

    Args:
        total_nll: nats of all sentences.
        characters: characters of all sentences, without line ends.
        sentences: number of sentences.
        spelling: nats of spelling the unknown words.
    """
    return (total_nll + spelling) / math.log(2) / (characters + sentences)


def unknown_rows(batch: TextBatch) -> list[list[bool]]:
    """Which tokens of each sentence are the unknown token, by id; used if the text itself is not at hand."""
    return [[token == batch.special.unk for token in row] for row in text_scores.sentences(batch)]


@dataclass(frozen=True)
class TextGeneration:
    """Functions of a tokenizer and a decoder that metrics need; token ids are without specials and `</s>`."""

    reconstruct: Callable[[Tensor, TextBatch], Sentences]  # greedy, from codes (B, D)
    prior_sample: Callable[[int, int], Sentences]  # (n, seed): greedy, from n prior samples
    detokenize: Callable[[list[int]], str]
    characters: int  # of the evaluated sentences, without line ends
    spelling: float = 0.0  # nats of spelling their unknown tokens
    literal: int = 0  # tokens that the text itself writes as the unknown one
    unknown: Callable[[TextBatch], Sequence[Sequence[bool]]] = unknown_rows  # which tokens of each sentence


@dataclass(frozen=True)
class TextMetrics:
    """`interfaces.ModalityMetrics` of text; without tools only metrics that need no decoding."""

    tools: TextGeneration | None = None

    def per_target(self, batches: Sequence[TextBatch], iw_nll: Tensor | None) -> dict[str, Any]:
        """Predicted tokens, and IW-NLL per token and per character."""
        tokens = sum(batch.num_targets for batch in batches)
        numbers: dict[str, Any] = {"tokens": tokens, **self._unknown(batches)}
        if iw_nll is None:
            return numbers
        total, n = float(iw_nll.sum()), len(iw_nll)
        if self.tools is not None:
            spelling = self.tools.spelling
            numbers["spelling_nats"] = spelling / n
            numbers["bits_per_char"] = bits_per_character(total, self.tools.characters, n, spelling)
        return numbers | {"ppl": perplexity(total, tokens)}

    def _unknown(self, batches: Sequence[TextBatch]) -> dict[str, Any]:
        """Number and fraction of out-of-vocabulary tokens, `</s>` not counted."""
        rows = unknown_rows if self.tools is None else self.tools.unknown
        unknown = sum(sum(row) for batch in batches for row in rows(batch))
        words = sum(batch.num_targets - batch.size for batch in batches)
        share = unknown / max(words, 1)
        found: dict[str, Any] = {"unknown_share": share, "unknown_tokens": int(unknown)}
        if self.tools is not None and self.tools.literal:
            found["literal_unknown"] = self.tools.literal
        if share > MANY_UNKNOWN:
            found["cautions"] = [
                f"ppl: {share:.1%} of the words are unknown and count as one easy token each: read "
                "bits_per_char, which charges their spelling"
            ]
        return found

    def position_log_probs(self, likelihood: Any, batch: TextBatch) -> Tensor:
        """Log p (B, T) of each token, in nats."""
        scored: Tensor = likelihood.token_log_probs(batch)[0]
        return scored

    def position_gains(self, gains: Tensor, batch: TextBatch) -> tuple[Tensor, Tensor]:
        """Sums and counts at the first positions."""
        return text_scores.by_position(gains, batch.mask, POSITIONS)

    def summarise_positions(self, parts: Sequence[tuple[Tensor, Tensor]]) -> dict[str, Any]:
        """`gain_by_position`: nats lost there when z is another sentence's."""
        return {"gain_by_position": text_scores.position_means(parts)}

    def compare_reconstructions(
        self, batch: TextBatch, codes: Tensor, drawn: Tensor
    ) -> tuple[Sentences, ...]:
        """Greedy reconstructions from posterior means and from one sample each, and the references."""
        if self.tools is None:
            return ()
        back = (self.tools.reconstruct(z, batch) for z in (codes, drawn))
        return (*back, text_scores.mark_unknown(text_scores.sentences(batch), self.tools.unknown(batch)))

    def summarise_reconstructions(self, parts: Sequence[tuple[Sentences, ...]]) -> dict[str, Any]:
        """Accuracy, exact matches, BLEU and edit distance of the reconstructions."""
        if self.tools is None:
            return {}
        at_mean, at_sample, wanted = (list(chain(*rows)) for rows in zip(*parts, strict=True))
        sampled = text_scores.reconstruction_scores(at_sample, wanted, self.tools.detokenize)
        whole = text_scores.reconstruction_scores(at_mean, wanted, self.tools.detokenize)
        return {**whole, "reconstruction_at_samples": sampled, **self._bleu_caution(wanted)}

    def _bleu_caution(self, wanted: Sentences) -> dict[str, Any]:
        assert self.tools is not None
        if text_scores.has_bleu([text_scores.reference_text(ids, self.tools.detokenize) for ids in wanted]):
            return {}
        return {"cautions": ["bleu: null, as fewer than a tenth of the sentences have four words"]}

    def sample_metrics(self, n: int, seed: int) -> dict[str, Any]:
        """Number of different sentences among `n` greedy decodings of prior samples."""
        if self.tools is None:
            return {}
        drawn = self.tools.prior_sample(n, seed)
        return {"distinct_samples": text_scores.distinct_sentences(drawn), "distinct_of": len(drawn)}
