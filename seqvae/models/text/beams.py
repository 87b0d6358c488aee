"""Beam search for the most probable sentence.

Shapes: N sentences, n of them that are continued, U beams of each (at first 1, then W), R = n x U rows of the
decoder's state, L words at most.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import Tensor

from seqvae.keyed_noise import KeyedNoise
from seqvae.models.text.kernels.logits import BeamCandidates, join
from seqvae.models.text.likelihood import DecoderState, TextDecoder
from seqvae.models.text.restrictions import Restrictions
from seqvae.models.text.search import Read, Search, SearchState

if TYPE_CHECKING:
    from seqvae.models.text.decoding import GenerationConfig


@dataclass(frozen=True)
class BeamState(SearchState):
    """Beams whose next words (n, U) are chosen but not read; `output` holds each sentence's best ended beam.

    `decoder` and `written` have the R rows of the beams before these words. A beam copies the row of its
    parent only when its word is read, at the same time as the rows of ended sentences are dropped, so that
    states are copied once per word.
    """

    parents: Tensor  # (n, U) index of the row (of R) that each beam extends
    scores: Tensor  # (n, U) log2 probability, the next word included
    best: Tensor  # (n,) log2 probability of the best ended beam
    written: Tensor  # (R, L + 1) the words read so far, the start token first
    states: Tensor  # (n, U) of the constraint, the next word included

    without_rows: ClassVar[tuple[str, ...]] = ("position", "decoder", "written")

    def compacted(self) -> Self:
        """The same beams, each with its own row."""
        rows = self.parents.flatten()
        parents = torch.arange(len(rows), device=rows.device).view_as(self.parents)
        return replace(self, decoder=self.decoder.select(rows), written=self.written[rows], parents=parents)


class BeamSearch(Search[BeamState]):
    """Finds the most probable sentence among W beams; ended sentences are preferred to those cut at L words.

    The search of a sentence stops as soon as none of its beams can become better than its best ended one.
    """

    def __init__(self, decoder: TextDecoder, how: GenerationConfig, read: Read, fixed_shapes: bool) -> None:
        self.head, self.special, self.read = decoder.head, decoder.special, read
        self.width, self.steps, self.fixed_shapes = how.beam or 1, how.longest + 1, fixed_shapes
        weight = decoder.head.weight
        self.restrictions = Restrictions(how, decoder.special, len(weight), weight.device)

    def begin(self, decoder: DecoderState, random: KeyedNoise) -> BeamState:
        """One beam per sentence before its first word; with fixed shapes W, all but one of probability 0."""
        rows, device = len(random.index), random.index.device
        beams = self.width if self.fixed_shapes else 1
        scores = torch.full((rows, beams), -torch.inf, device=device)
        scores[:, 0] = 0.0
        every = torch.arange(rows, device=device)
        return BeamState(
            decoder=decoder,
            words=torch.full((rows, beams), self.special.bos, device=device),
            active=torch.ones(rows, dtype=torch.bool, device=device),
            rows=every,
            position=torch.zeros((), dtype=torch.long, device=device),
            output=torch.full((rows + 1, self.steps - 1), self.special.eos, device=device),
            parents=every[:, None].expand(-1, beams),
            scores=scores,
            best=torch.full((rows,), -torch.inf, device=device),
            written=torch.full((rows, self.steps), self.special.eos, device=device),
            states=self.restrictions.begin(rows, beams, device=device),
        )

    def step(self, state: BeamState) -> BeamState:
        """Read the next word of each beam, keep better sentences that end there, and choose W extensions."""
        state = state.compacted()
        words = state.words.flatten()[:, None]  # (R, 1)
        state.written.index_copy_(1, state.position[None], words)
        features, decoder = self.read(words, state.decoder)
        allowed = self.restrictions.allowed(state.written[:, 1:], state.position, state.states.flatten())
        ended, scores, beams, words = self._extend(features[:, -1], state.scores, allowed)
        best = self._keep_ended(state, ended)
        return replace(
            state,
            decoder=decoder,
            words=words,
            active=state.active & (state.scores.amax(1) > best),
            position=state.position + 1,
            parents=state.parents[:, :1] + beams,
            scores=scores,
            best=best,
            states=self.restrictions.advance(state.states.gather(1, beams), words),
        )

    def _extend(
        self, features: Tensor, scores: Tensor, allowed: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Extend the beams, given features (R, H), scores (n, U) and the words that may follow (R, V).

        Probabilities are renormalised over these words.

        Returns:
            Scores (n, U) of the beams if they end here, and the W best extensions: scores, beams and words,
            (n, W) each.
        """
        ended, extended, start, beams = [], [], 0, scores.shape[1]
        for logits in self.head.chunks(features, beams):
            rows = slice(start * beams, start * beams + len(logits.low))
            logits = logits.restricted(None if allowed is None else allowed[rows])
            logits = logits.without(*self.restrictions.never)
            ends = torch.full((len(logits.low), 1), self.special.eos, device=features.device)
            end = logits.at(ends).view(-1, beams)
            candidates = BeamCandidates.of(logits.without(self.special.eos), beams, self.width)
            before = scores[start : start + len(end)] - torch.logaddexp2(candidates.log2_sums, end)
            start += len(end)
            ended.append(before + end)
            extended.append(candidates.best(before, self.width))
        totals, parents, words = (join(parts) for parts in zip(*extended, strict=True))
        return join(ended), totals, parents, words

    def _keep_ended(self, state: BeamState, ended: Tensor) -> Tensor:
        """Write sentences whose score (n, U) of ending here is a new best; returns the best scores (n,)."""
        score, beam = ended.max(1)
        better = state.active & (score > state.best)
        sentences = state.written.view(*state.parents.shape, -1)[..., 1:]  # (n, U, L)
        chosen = sentences.gather(1, beam[:, None, None].expand(-1, -1, self.steps - 1))[:, 0]
        self._write(state, better, chosen)
        return torch.where(better, score, state.best)

    def _write(self, state: BeamState, where: Tensor, sentences: Tensor) -> None:
        """Write sentences (n, L) to the output where `where` (n,) is true."""
        before = state.output.index_select(0, state.rows)
        state.output.index_copy_(0, state.rows, torch.where(where[:, None], sentences, before))

    def finish(self, state: BeamState) -> Tensor:
        """The sentences (N, L); where no beam has ended, the best unfinished beam."""
        never = state.best == -torch.inf
        self._write(state, never, state.written.view(len(never), -1, self.steps)[:, 0, 1:])
        return state.output[:-1]
