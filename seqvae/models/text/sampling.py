"""Greedy decoding and sampling: at every position the most probable word, or one drawn by keyed noise.

Shapes: N sentences, n that are continued, V words, L words at most.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from seqvae.keyed_noise import KeyedNoise
from seqvae.models.text.likelihood import DecoderState, TextDecoder
from seqvae.models.text.restrictions import Restrictions
from seqvae.models.text.search import Read, Search, SearchState

if TYPE_CHECKING:
    from seqvae.models.text.decoding import GenerationConfig


@dataclass(frozen=True)
class SamplingState(SearchState):
    """Sentences written from left to right; `output` holds their words, and the end token from the end on."""

    states: Tensor  # (n,) of the constraint
    uniforms: Tensor | None  # (N + 1, L) draws from (0, 1) for the words; None for greedy decoding

    shared: ClassVar[tuple[str, ...]] = ("output", "uniforms")


class Sampling(Search[SamplingState]):
    """Greedy decoding or sampling, as `how` says."""

    def __init__(self, decoder: TextDecoder, how: GenerationConfig, read: Read, fixed_shapes: bool) -> None:
        self.head, self.special, self.read = decoder.head, decoder.special, read
        self.how, self.steps, self.fixed_shapes = how, how.longest, fixed_shapes
        weight = decoder.head.weight
        self.restrictions = Restrictions(how, decoder.special, len(weight), weight.device)

    def begin(self, decoder: DecoderState, random: KeyedNoise) -> SamplingState:
        """The state before the first word."""
        rows, device, uniforms = len(random.index), random.index.device, None
        if not self.how.greedy:
            # for all positions at once: one by one they would take a dozen small operations per word
            uniforms = random.uniforms([f"word {position}" for position in range(self.steps)])
            uniforms = torch.cat([uniforms, uniforms[:1]])
        return SamplingState(
            decoder=decoder,
            words=torch.full((rows,), self.special.bos, device=device),
            active=torch.ones(rows, dtype=torch.bool, device=device),
            rows=torch.arange(rows, device=device),
            position=torch.zeros((), dtype=torch.long, device=device),
            output=torch.full((rows + 1, self.steps), self.special.eos, device=device),
            states=self.restrictions.begin(rows, device=device),
            uniforms=uniforms,
        )

    def step(self, state: SamplingState) -> SamplingState:
        """Write the next word of each sentence."""
        features, decoder = self.read(state.words[:, None], state.decoder)
        words, end = self._choose(features[:, -1], state), self.special.eos  # (n,)
        if self.fixed_shapes:
            words = torch.where(state.active, words, end)
        state.output.index_put_((state.rows, state.position), words)
        return replace(
            state,
            decoder=decoder,
            words=words,
            active=words != end,
            position=state.position + 1,
            states=self.restrictions.advance(state.states, words),
        )

    def _choose(self, features: Tensor, state: SamplingState) -> Tensor:
        """Words (n,) after features (n, H)."""
        limited = self.restrictions.most > 0  # else no one reads what is written
        written = state.output[state.rows] if limited else state.output
        allowed = self.restrictions.allowed(written, state.position, state.states)
        if state.uniforms is None and allowed is None:
            return self.head.argmax(features, self.restrictions.never)
        logits = self.restrictions.mask(self.head(features), allowed)
        if state.uniforms is None:
            return logits.argmax(-1)
        logits = filter_logits(logits / self.how.temperature, self.how.top_k, self.how.top_p)
        # x[i, j] with a tensor j () would read j on the host
        uniform = state.uniforms[state.rows, state.position.expand_as(state.rows)]
        return draw_words(logits, uniform)

    def finish(self, state: SamplingState) -> Tensor:
        """The sentences (N, L)."""
        return state.output[:-1]


def draw_words(logits: Tensor, uniform: Tensor) -> Tensor:
    """A word (n,) per row of logits (n, V), by inverting its cumulative distribution at `uniform` (n,)."""
    cumulative = torch.softmax(logits, -1).double().cumsum(-1)
    threshold = uniform.double()[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, threshold, right=True)[:, 0].clamp(max=logits.shape[-1] - 1)


def filter_logits(logits: Tensor, top_k: int | None, top_p: float | None) -> Tensor:
    """Logits, with -inf at all but the k best and outside the nucleus of mass p (Holtzman et al. 2020)."""
    if top_k is not None and top_k < logits.shape[-1]:
        worst_kept = logits.topk(top_k, -1).values[..., -1:]
        logits = logits.masked_fill(logits < worst_kept, -torch.inf)
    if top_p is not None and top_p < 1:
        ordered, order = logits.sort(-1, descending=True)
        before = torch.softmax(ordered, -1).cumsum(-1) - torch.softmax(ordered, -1)
        ordered = ordered.masked_fill(before >= top_p, -torch.inf)
        logits = torch.empty_like(logits).scatter_(-1, order, ordered)
    return logits
