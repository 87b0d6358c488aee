"""Greedy and sampled sentences: the likeliest word at every place, or one drawn by keyed noise.

Shapes: N sentences, n that are still written, V words, L words at most.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from seqvae.numerics import Randomness
from seqvae.text.likelihood import DecoderState, TextDecoder
from seqvae.text.search import Frame, Read, Search

if TYPE_CHECKING:
    from seqvae.text.decoding import Decoding


@dataclass(frozen=True)
class Drafts(Frame):
    """Sentences that are written from the left; `table` holds their words, the end token after them."""

    chances: (
        Tensor | None
    )  # (N + 1, L) in (0, 1), by which words are drawn; none where the likeliest is taken

    tables: ClassVar[tuple[str, ...]] = ("table", "chances")


class Sampling(Search[Drafts]):
    """One word after the other, by `how`: the likeliest, or drawn."""

    def __init__(self, decoder: TextDecoder, how: Decoding, read: Read, full: bool) -> None:
        self.head, self.special, self.read = decoder.head, decoder.special, read
        self.how, self.steps, self.full = how, how.max_length, full

    def begin(self, state: DecoderState, random: Randomness) -> Drafts:
        """Before the first word."""
        rows, device, chances = len(random.index), random.index.device, None
        if not self.how.greedy:
            drawn = random.uniforms([f"word {place}" for place in range(self.steps)])
            chances = torch.cat([drawn, drawn[:1]])
        return Drafts(
            state=state,
            words=torch.full((rows,), self.special.bos, device=device),
            going=torch.ones(rows, dtype=torch.bool, device=device),
            rows=torch.arange(rows, device=device),
            place=torch.zeros((), dtype=torch.long, device=device),
            table=torch.full((rows + 1, self.steps), self.special.eos, device=device),
            chances=chances,
        )

    def step(self, frame: Drafts) -> Drafts:
        """The next word of each."""
        features, state = self.read(frame.words[:, None], frame.state)
        words, end = self._chosen(features[:, -1], frame), self.special.eos  # (n,)
        words = torch.where(frame.going, words, end) if self.full else words
        frame.table.index_put_((frame.rows, frame.place), words)
        return replace(frame, state=state, words=words, going=words != end, place=frame.place + 1)

    def _chosen(self, features: Tensor, frame: Drafts) -> Tensor:
        """Words (n,) after features (n, H)."""
        if frame.chances is None:
            return self.head.best(features)
        logits = self.head(features) / self.how.temperature
        # an index () would be read by the host
        chances = frame.chances[frame.rows, frame.place.expand_as(frame.rows)]
        return draw(filtered(logits, self.how.top_k, self.how.top_p), chances)

    def finish(self, frame: Drafts) -> Tensor:
        """(N, L)."""
        return frame.table[:-1]


def draw(logits: Tensor, chance: Tensor) -> Tensor:
    """A word (n,) of each row of logits (n, V), by inverting its cumulative distribution at chance (n,)."""
    ladder = torch.softmax(logits, -1).double().cumsum(-1)
    step = chance.double()[:, None] * ladder[:, -1:]
    return torch.searchsorted(ladder, step, right=True)[:, 0].clamp(max=logits.shape[-1] - 1)


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
