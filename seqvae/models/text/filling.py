"""Beam search for the missing words of sentences whose other words are fixed.

Shapes: N sentences, W beams of each, R = N x W rows, T words of the longest, V words of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from seqvae.models.text.likelihood import DecoderState, TextDecoder

BLANK, PAD = -1, -2  # a word to be found; after the end
Pattern = Sequence[int]  # word ids, `BLANK` where a word is missing


@torch.no_grad()
def fill_blanks(
    decoder: TextDecoder, state: DecoderState, patterns: Sequence[Pattern], beam: int = 5
) -> tuple[list[list[list[int]]], Tensor]:
    """The likeliest words for the blanks of each pattern, as beam search over p(x|z) finds them.

    Every word is scored, also the fixed ones and the end, so that what follows a blank has a say in it.

    Args:
        decoder: in evaluation mode.
        state: `decoder.start(z, c)` of the N codes.
        patterns: N patterns.
        beam: W, sentences that are kept per pattern.

    Returns:
        For each pattern at most W sentences, the likeliest first, and log p(x|z) in nats (N, W), -inf where a
        pattern has fewer.
    """
    wanted = pattern_table(patterns, decoder.special.eos).to(decoder.head.bias.device)  # (N, T)
    rows, device = len(wanted), wanted.device
    state = state.select(torch.arange(rows, device=device).repeat_interleave(beam))
    scores = torch.full((rows, beam), -torch.inf, device=device)
    scores[:, 0] = 0.0
    words = torch.full((rows * beam,), decoder.special.bos, device=device)
    written = torch.zeros(rows, beam, 0, dtype=torch.long, device=device)
    hidden = hidden_words(decoder)
    for place in wanted.T:  # (N,)
        features, state = decoder.read(words[:, None], state)
        log_p = torch.log_softmax(decoder.head(features[:, -1]), -1).view(rows, beam, -1)
        total = scores[..., None] + _allowed(log_p, place, hidden)
        scores, chosen = total.flatten(1).topk(beam, -1)
        parents, words = chosen // log_p.shape[-1], chosen % log_p.shape[-1]
        written = torch.cat([written.gather(1, _wide(parents, written)), words[..., None]], -1)
        state = state.select((parents + torch.arange(rows, device=device)[:, None] * beam).flatten())
        words = words.flatten()
    return _finish(written, scores, [len(pattern) for pattern in patterns]), scores.cpu()


def pattern_table(patterns: Sequence[Pattern], end: int) -> Tensor:
    """(N, T): patterns, each with its end, padded."""
    longest = 1 + max(map(len, patterns), default=0)
    rows = [[*row, end] + [PAD] * (longest - 1 - len(row)) for row in patterns]
    return torch.tensor(rows, dtype=torch.long).view(len(patterns), longest)


def hidden_words(decoder: TextDecoder) -> Tensor:
    """(V,) bool: which words are never put into a blank: the special ones."""
    special = decoder.special
    hidden = torch.zeros_like(decoder.head.bias, dtype=torch.bool)
    hidden[[special.pad, special.unk, special.bos, special.eos]] = True
    return hidden


def _allowed(log_p: Tensor, place: Tensor, hidden: Tensor) -> Tensor:
    """Log p (N, W, V) where a word may be written at this place (N,), else -inf.

    After its end a sentence is continued by word 0 at no cost.
    """
    blank, ended = (place == BLANK)[:, None, None], (place == PAD)[:, None, None]
    ids = torch.arange(log_p.shape[-1], device=log_p.device)
    open_ = torch.where(blank, ~hidden, ids == place.clamp(min=0)[:, None, None])
    return torch.where(ended, 0.0, log_p).masked_fill(~open_, -torch.inf)


def _wide(parents: Tensor, written: Tensor) -> Tensor:
    return parents[..., None].expand(-1, -1, written.shape[-1])


def _finish(written: Tensor, scores: Tensor, lengths: Sequence[int]) -> list[list[list[int]]]:
    """The sentences of each pattern, without end and padding."""
    rows = zip(written.tolist(), scores.tolist(), lengths, strict=True)
    return [
        [words[:length] for words, score in zip(beams, own, strict=True) if score > -torch.inf]
        for beams, own, length in rows
    ]
