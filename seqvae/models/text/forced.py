"""Greedy decoding that must write given words: each place for them is tried, the likeliest sentence wins.

Shapes: N tries, L words at most.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from seqvae.models.text.likelihood import DecoderState, TextDecoder

FREE = -1  # a place whose word the decoder chooses


@torch.no_grad()
def write_forced(decoder: TextDecoder, state: DecoderState, forced: Tensor) -> tuple[list[list[int]], Tensor]:
    """Sentences that hold the words of `forced` (N, L) where these are not `FREE`, and ln p(x|z) (N,), nats.

    Elsewhere the likeliest word is written; a sentence does not end before its last forced word.

    Args:
        decoder: in evaluation mode.
        state: `decoder.start` of N codes.
        forced: (N, L) ids.
    """
    n, length = forced.shape
    end, places = decoder.special.eos, torch.arange(length)
    last = torch.where(forced == FREE, -1, places).amax(1).to(forced.device)  # (N,), -1 without any
    words, output = forced.new_full((n,), decoder.special.bos), forced.new_full((n, length), end)
    alive = torch.ones_like(words, dtype=torch.bool)
    total = torch.zeros(n, dtype=torch.float64, device=words.device)
    for place in range(length):
        features, state = decoder.read(words[:, None], state)
        logits = torch.log_softmax(decoder.head(features[:, -1]).float(), -1)  # (N, V)
        open_ = logits.masked_fill((place < last)[:, None] & _at(logits, end), -torch.inf)
        words = torch.where(forced[:, place] == FREE, open_.argmax(-1), forced[:, place])
        words = torch.where(alive, words, end)
        total += torch.where(alive, logits.gather(1, words[:, None])[:, 0].double(), 0.0)
        output[:, place] = words
        alive = alive & (words != end)
        if not bool(alive.any()):
            break
    rows = [row[: row.index(end)] if end in row else row for row in output.tolist()]
    return rows, total.cpu()


def _at(logits: Tensor, word: int) -> Tensor:
    """(1, V) bool: the column of a word."""
    return (torch.arange(logits.shape[-1], device=logits.device) == word)[None]


def place_words(piece: Sequence[int], fixed: Tensor) -> Tensor:
    """(N, L): `fixed` (L,) with a piece of words at each place where it fits after the last fixed one.

    Example:
        >>> place_words([7, 8], torch.tensor([FREE, FREE, FREE]))
        tensor([[ 7,  8, -1],
                [-1,  7,  8]])
    """
    length, taken = len(fixed), (fixed != FREE).nonzero()
    first = int(taken.max()) + 1 if len(taken) else 0
    rows = []
    for start in range(first, length - len(piece) + 1):
        row = fixed.clone()
        row[start : start + len(piece)] = torch.tensor(list(piece), dtype=fixed.dtype)
        rows.append(row)
    return torch.stack(rows) if rows else fixed.new_zeros(0, length)
