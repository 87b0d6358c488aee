"""Beam search for the missing words of sentences whose other words are fixed, up to their end or beyond.

Shapes: N sentences, W beams of each, R = N x W rows, T words of the longest, V words of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from seqvae.models.text.likelihood import DecoderState, TextDecoder

BLANK, OPEN = -1, -2  # a word to be found; a word or the end, and nothing after the end
Pattern = Sequence[int]  # word ids, `BLANK` where a word is missing


@torch.no_grad()
def fill_blanks(
    decoder: TextDecoder,
    state: DecoderState,
    patterns: Sequence[Pattern],
    beam: int = 5,
    longest: int | None = None,
) -> tuple[list[list[list[int]]], Tensor]:
    """The likeliest words for the blanks of each pattern, as beam search over p(x|z) finds them.

    Every word is scored, also the fixed ones and the end, so that what follows a blank has a say in it.

    Args:
        decoder: in evaluation mode.
        state: `decoder.start(z, c)` of the N codes.
        patterns: N patterns.
        beam: W, sentences that are kept per pattern; 1 writes the likeliest word at each place.
        longest: words up to which a sentence may go on after its pattern; None: it ends with it.

    Returns:
        For each pattern at most W sentences, the likeliest first, and log p(x|z) in nats (N, W), -inf where a
        pattern has fewer. The end is not scored of a sentence that is cut at `longest`.
    """
    end = decoder.special.eos
    wanted = pattern_table(patterns, end, longest).to(decoder.head.bias.device)  # (N, T)
    rows, device = len(wanted), wanted.device
    state = state.select(torch.arange(rows, device=device).repeat_interleave(beam))
    scores = torch.full((rows, beam), -torch.inf, device=device)
    scores[:, 0] = 0.0
    words = torch.full((rows, beam), decoder.special.bos, device=device)
    written = torch.zeros(rows, beam, 0, dtype=torch.long, device=device)
    hidden = hidden_words(decoder)
    for place in wanted.T:  # (N,)
        features, state = decoder.read(words.view(-1, 1), state)
        log_p = torch.log_softmax(decoder.head(features[:, -1]).float(), -1).view(rows, beam, -1)
        total = scores[..., None] + _allowed(log_p, place, words == end, hidden, end)
        scores, chosen = total.flatten(1).topk(beam, -1)
        parents, words = chosen // log_p.shape[-1], chosen % log_p.shape[-1]
        written = torch.cat([written.gather(1, _wide(parents, written)), words[..., None]], -1)
        state = state.select((parents + torch.arange(rows, device=device)[:, None] * beam).flatten())
        if bool((words == end).all()):
            break
    return _finish(written, scores, end), scores.cpu()


def pattern_table(patterns: Sequence[Pattern], end: int, longest: int | None = None) -> Tensor:
    """(N, T): patterns, each with its end, or open up to `longest` words.

    Example:
        >>> pattern_table([[7, BLANK, 8], [9]], end=1)
        tensor([[ 7, -1,  8,  1],
                [ 9,  1, -2, -2]])
        >>> pattern_table([[7, BLANK, 8], [9]], end=1, longest=4)
        tensor([[ 7, -1,  8, -2],
                [ 9, -2, -2, -2]])
    """
    width = longest or 1 + max(map(len, patterns), default=0)
    closed = [[*row] if longest else [*row, end] for row in patterns]
    rows = [[*row, *[OPEN] * (width - len(row))] for row in closed]
    return torch.tensor(rows, dtype=torch.long).view(len(patterns), width)


def hidden_words(decoder: TextDecoder) -> Tensor:
    """(V,) bool: which words are never put into a blank: the special ones."""
    special = decoder.special
    hidden = torch.zeros_like(decoder.head.bias, dtype=torch.bool)
    ids = torch.tensor([special.pad, special.unk, special.bos, special.eos], device=hidden.device)
    return hidden.index_fill(0, ids, True)


def _allowed(log_p: Tensor, place: Tensor, ended: Tensor, hidden: Tensor, end: int) -> Tensor:
    """Log p (N, W, V) where a word may be written at this place (N,), else -inf.

    A sentence that has `ended` (N, W) is continued by its end at no cost.
    """
    ids = torch.arange(log_p.shape[-1], device=log_p.device)
    blank, open_ = ((place == kind)[:, None, None] for kind in (BLANK, OPEN))
    fits = torch.where(blank | open_, ~hidden, ids == place.clamp(min=0)[:, None, None])
    fits = torch.where(ended[..., None], ids == end, fits | (open_ & (ids == end)))
    return torch.where(ended[..., None], 0.0, log_p).masked_fill(~fits, -torch.inf)


def _wide(parents: Tensor, written: Tensor) -> Tensor:
    return parents[..., None].expand(-1, -1, written.shape[-1])


def _finish(written: Tensor, scores: Tensor, end: int) -> list[list[list[int]]]:
    """The sentences of each pattern, up to their end."""
    rows = zip(written.tolist(), scores.tolist(), strict=True)
    return [
        [_until(words, end) for words, score in zip(beams, own, strict=True) if score > -torch.inf]
        for beams, own in rows
    ]


def _until(words: list[int], end: int) -> list[int]:
    return words[: words.index(end)] if end in words else words
