"""Beam search: the most probable sentence that a few beams find.

Shapes: N sentences, n that go on, U beams now and W beams to come of each, R = n x U rows of a decoder's
state, L words at most.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import Tensor

from seqvae.numerics import Randomness
from seqvae.text.likelihood import DecoderState, TextDecoder
from seqvae.text.search import Frame, Read, Search
from seqvae.text.wide import Choices, join

if TYPE_CHECKING:
    from seqvae.text.decoding import Decoding


@dataclass(frozen=True)
class Beams(Frame):
    """Beams that branch next: `words` (n, U) are chosen, but not read yet.

    `table` holds the best ended sentences. `state` and `written` have the rows R of the beams that were read;
    those from which none goes on are dropped when the next word is read.
    """

    parents: Tensor  # (n, U) the row of R that each goes on from
    scores: Tensor  # (n, U) bits, the next words counted
    best: Tensor  # (n,) bits of the best ended sentence
    written: Tensor  # (R, L + 1) what was read, the start token first

    undivided: ClassVar[tuple[str, ...]] = ("place", "state", "written")

    def packed(self) -> Self:
        """The same, whose rows R are those of the beams."""
        rows = self.parents.flatten()
        parents = torch.arange(len(rows), device=rows.device).view_as(self.parents)
        return replace(self, state=self.state.select(rows), written=self.written[rows], parents=parents)


class BeamSearch(Search[Beams]):
    """The most probable sentence that W beams find, ended ones before those cut at L words.

    A sentence goes no further as soon as no beam of it can still beat its best ended one.
    """

    def __init__(self, decoder: TextDecoder, how: Decoding, read: Read, full: bool) -> None:
        self.head, self.special, self.read = decoder.head, decoder.special, read
        self.width, self.steps, self.full = how.beam or 1, how.max_length + 1, full

    def begin(self, state: DecoderState, random: Randomness) -> Beams:
        """One beam of each sentence before its first word; if `full`, W, all but one of them impossible."""
        rows, device = len(random.index), random.index.device
        beams = self.width if self.full else 1
        scores = torch.full((rows, beams), -torch.inf, device=device)
        scores[:, 0] = 0.0
        every = torch.arange(rows, device=device)
        return Beams(
            state=state,
            words=torch.full((rows, beams), self.special.bos, device=device),
            going=torch.ones(rows, dtype=torch.bool, device=device),
            rows=every,
            place=torch.zeros((), dtype=torch.long, device=device),
            table=torch.full((rows + 1, self.steps - 1), self.special.eos, device=device),
            parents=every[:, None].expand(-1, beams),
            scores=scores,
            best=torch.full((rows,), -torch.inf, device=device),
            written=torch.full((rows, self.steps), self.special.eos, device=device),
        )

    def step(self, frame: Beams) -> Beams:
        """Read the next word of each beam, note who ends best there, and choose the beams to come."""
        frame = frame.packed()
        words = frame.words.flatten()[:, None]  # (R, 1)
        frame.written.index_copy_(1, frame.place[None], words)
        features, state = self.read(words, frame.state)
        ended, scores, beams, words = self._scored(features[:, -1], frame.scores)
        best = self._note_ended(frame, ended)
        return replace(
            frame,
            state=state,
            words=words,
            going=frame.going & (frame.scores.amax(1) > best),
            place=frame.place + 1,
            parents=frame.parents[:, :1] + beams,
            scores=scores,
            best=best,
        )

    def _scored(self, features: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """From features (R, H) and scores (n, U): those of ending here (n, U), and the best to come (n, W).

        These are scores, beams and words.
        """
        ended, ahead, start, beams = [], [], 0, scores.shape[1]
        for logits in self.head.chunks(features, beams):
            end = logits.at(self._end_words(len(logits.low), features.device)).view(-1, beams)
            choices = Choices.of(logits.without(self.special.eos), beams, self.width)
            here = scores[start : start + len(end)] - torch.logaddexp2(choices.log2_sums, end)
            start += len(end)
            ended.append(here + end)
            ahead.append(choices.best(here, self.width))
        totals, parents, words = (join(parts) for parts in zip(*ahead, strict=True))
        return join(ended), totals, parents, words

    def _end_words(self, rows: int, device: torch.device) -> Tensor:
        return torch.full((rows, 1), self.special.eos, device=device)

    def _note_ended(self, frame: Beams, ended: Tensor) -> Tensor:
        """Write each sentence that ends best here (n, U) if it beats the known ones; the best scores (n,)."""
        score, beam = ended.max(1)
        better = frame.going & (score > frame.best)
        sentences = self._sentences(frame).gather(1, beam[:, None, None].expand(-1, -1, self.steps - 1))[:, 0]
        known = frame.table.index_select(0, frame.rows)
        frame.table.index_copy_(0, frame.rows, torch.where(better[:, None], sentences, known))
        return torch.where(better, score, frame.best)

    def _sentences(self, frame: Beams) -> Tensor:
        """What the beams have read (n, U, L), without the start token."""
        return frame.written.view(*frame.parents.shape, -1)[..., 1:]

    def finish(self, frame: Beams) -> Tensor:
        """(N, L); where no beam ever ended, the best one as it is."""
        cut = frame.best == -torch.inf
        known = frame.table.index_select(0, frame.rows)
        first = frame.written.view(len(cut), -1, self.steps)[:, 0, 1:]
        frame.table.index_copy_(0, frame.rows, torch.where(cut[:, None], first, known))
        return frame.table[:-1]
