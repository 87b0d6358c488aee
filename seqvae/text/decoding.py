"""From codes to sentences: greedy, sampled and beam decoding with the decoder's own `start` and `read`.

Shapes: N sentences, W beams, V words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from seqvae.numerics import Randomness
from seqvae.registry import UserError
from seqvae.text.likelihood import DecoderState, TextDecoder


@dataclass(frozen=True)
class Decoding:
    """How sentences are drawn. `greedy` and `beam` leave chance out; the filters work on samples."""

    greedy: bool = False
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    beam: int | None = None
    max_length: Annotated[int, Field(gt=0)] = 64  # words, the end token not counted

    def __post_init__(self) -> None:
        """Refuse what has no meaning.

        Raises:
            UserError: a number out of its range, or greedy and beam at once.
        """
        self._require(self.temperature > 0, "temperature", self.temperature, "above 0")
        self._require(self.top_k is None or self.top_k > 0, "top-k", self.top_k, "above 0")
        self._require(self.top_p is None or 0 < self.top_p <= 1, "top-p", self.top_p, "in (0, 1]")
        self._require(self.beam is None or self.beam > 0, "beam", self.beam, "above 0")
        self._require(self.max_length > 0, "max-length", self.max_length, "above 0")
        self._require(not (self.greedy and self.beam), "greedy", self.greedy, "off when a beam is asked for")

    @staticmethod
    def _require(good: bool, name: str, got: object, need: str) -> None:
        if not good:
            raise UserError(f"{name} got {got}: it must be {need}")


@torch.no_grad()
def decode(
    decoder: TextDecoder, state: DecoderState, rows: int, how: Decoding, random: Randomness
) -> list[list[int]]:
    """Word ids of `rows` sentences, without start and end; `state` is `decoder.start(z, c)`.

    Row i's chance depends on `random.index[i]` alone, so a sentence does not change with its neighbours.
    """
    if how.beam:
        return _beam(decoder, state, rows, how.beam, how.max_length)
    return _one_by_one(decoder, state, rows, how, random)


def _one_by_one(
    decoder: TextDecoder, state: DecoderState, rows: int, how: Decoding, random: Randomness
) -> list[list[int]]:
    device = random.index.device
    written = torch.full((rows, how.max_length), decoder.special.eos, device=device)
    alive = torch.arange(rows, device=device)
    words = torch.full((rows,), decoder.special.bos, device=device)
    for place in range(how.max_length):
        features, state = decoder.read(words[:, None], state)
        logits = decoder.head(features[:, -1])  # (alive, V)
        words = logits.argmax(-1) if how.greedy else _drawn(logits, how, random, place, alive)
        written[alive, place] = words
        going = (words != decoder.special.eos).nonzero()[:, 0]
        if len(going) == len(words):
            continue
        if not len(going):
            break
        alive, words, state = alive[going], words[going], state.select(going)
    return [_until(row, decoder.special.eos) for row in written.tolist()]


def _until(words: list[int], end: int) -> list[int]:
    return words[: words.index(end)] if end in words else words


def _drawn(logits: Tensor, how: Decoding, random: Randomness, place: int, alive: Tensor) -> Tensor:
    """One word a row by inverting the cumulative distribution, (N, V) -> (N,)."""
    probabilities = torch.softmax(filtered(logits / how.temperature, how.top_k, how.top_p), -1)
    ladder = probabilities.double().cumsum(-1)
    here = Randomness(random.seed, random.step, random.index[alive])
    chance = here.uniform(f"word {place}", 1).double() * ladder[:, -1:]
    return torch.searchsorted(ladder, chance, right=True)[:, 0].clamp(max=logits.shape[-1] - 1)


def filtered(logits: Tensor, top_k: int | None, top_p: float | None) -> Tensor:
    """Logits with all but the k best, and all beyond the share p (Holtzman et al. 2020), at -inf."""
    if top_k is not None and top_k < logits.shape[-1]:
        worst_kept = logits.topk(top_k, -1).values[..., -1:]
        logits = logits.masked_fill(logits < worst_kept, -torch.inf)
    if top_p is not None and top_p < 1:
        ordered, order = logits.sort(-1, descending=True)
        before = torch.softmax(ordered, -1).cumsum(-1) - torch.softmax(ordered, -1)
        ordered = ordered.masked_fill(before >= top_p, -torch.inf)
        logits = torch.empty_like(logits).scatter_(-1, order, ordered)
    return logits


def _beam(
    decoder: TextDecoder, state: DecoderState, rows: int, width: int, max_length: int
) -> list[list[int]]:
    """The most probable sentence that `width` beams find, ended ones before those cut at `max_length`."""
    device, eos = decoder.head.weight.device, decoder.special.eos
    first = torch.arange(rows, device=device).repeat_interleave(width)
    state = state.select(first)
    scores = torch.full((rows, width), -torch.inf, device=device)
    scores[:, 0] = 0.0  # all beams start equal: only one may branch
    written = torch.empty(rows, width, 0, dtype=torch.long, device=device)
    words = torch.full((rows * width,), decoder.special.bos, device=device)
    best = torch.full((rows,), -torch.inf, device=device)
    chosen: list[list[int]] = [[] for _ in range(rows)]
    for _ in range(max_length + 1):
        features, state = decoder.read(words[:, None], state)
        log_probs = torch.log_softmax(decoder.head(features[:, -1]), -1).view(rows, width, -1)
        ended = scores + log_probs[..., eos]
        _keep_ended(ended, written, best, chosen)
        if written.shape[-1] == max_length or bool((scores.amax(1) <= best).all()):
            break
        log_probs[..., eos] = -torch.inf
        scores, flat = (scores[..., None] + log_probs).flatten(1).topk(width, 1)  # (N, W)
        parent, word = flat // log_probs.shape[-1], flat % log_probs.shape[-1]
        written = torch.cat([written.gather(1, parent[..., None].expand_as(written)), word[..., None]], -1)
        state = state.select((parent + torch.arange(rows, device=device)[:, None] * width).flatten())
        words = word.flatten()
    return [
        chosen[row] if best[row] > -torch.inf else written[row, 0].tolist()
        for row in range(rows)
    ]  # fmt: skip


def _keep_ended(ended: Tensor, written: Tensor, best: Tensor, chosen: list[list[int]]) -> None:
    """Remember each row's best sentence that ends here, if it beats what was known."""
    score, beam = ended.max(1)
    for row in (score > best).nonzero()[:, 0].tolist():
        best[row] = score[row]
        chosen[row] = written[row, beam[row]].tolist()
