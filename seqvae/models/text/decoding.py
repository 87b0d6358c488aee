"""From codes to sentences: greedy, sampled and beam decoding with the decoder's own `start` and `read`.

Shapes: N sentences, A that are still written, W beams, V words.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from seqvae.errors import UserError
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.text.kernels.logits import BeamCandidates
from seqvae.models.text.kernels.precision import weight_cache
from seqvae.models.text.likelihood import DecoderState, TextDecoder

BEAMS, GPU_BEAMS = 2560, 1 << 15  # followed at once: a CPU has their states near it then


@dataclass(frozen=True)
class GenerationConfig:
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
        finite = 0 < self.temperature < math.inf
        self._require(
            finite, "temperature", self.temperature, "above 0" if self.temperature <= 0 else "finite"
        )
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
def generate_tokens(
    decoder: TextDecoder, state: DecoderState, rows: int, how: GenerationConfig, random: KeyedNoise
) -> list[list[int]]:
    """Word ids of `rows` sentences, without start and end; `state` is `decoder.start(z, c)`.

    Row i's chance depends on `random.index[i]` alone, so a sentence does not change with its neighbours.
    """
    if rows == 0:
        return []
    with weight_cache():
        if not how.beam:
            return _sample_tokens(decoder, state, rows, how, random)
        device = random.index.device
        groups = torch.split(torch.arange(rows, device=device), _merge_rows(how.beam, device))
        return list(chain(*(_Beams(decoder, state.select(some), len(some), how).run() for some in groups)))


def _merge_rows(width: int, device: torch.device) -> int:
    """How many sentences beams search for at once."""
    return max(1, (GPU_BEAMS if device.type == "cuda" else BEAMS) // width)


def _sample_tokens(
    decoder: TextDecoder, state: DecoderState, rows: int, how: GenerationConfig, random: KeyedNoise
) -> list[list[int]]:
    device = random.index.device
    written = torch.full((rows, how.max_length), decoder.special.eos, device=device)
    alive = torch.arange(rows, device=device)
    words = torch.full((rows,), decoder.special.bos, device=device)
    for place in range(how.max_length):
        features, state = decoder.read(words[:, None], state)
        last = features[:, -1]  # (alive, H)
        if how.greedy:
            words = decoder.head.argmax(last)
        else:
            words = _sample_next(decoder.head(last), how, random, place, alive)
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


def _sample_next(
    logits: Tensor, how: GenerationConfig, random: KeyedNoise, place: int, alive: Tensor
) -> Tensor:
    """One word a row by inverting the cumulative distribution, (N, V) -> (N,)."""
    probabilities = torch.softmax(filter_logits(logits / how.temperature, how.top_k, how.top_p), -1)
    ladder = probabilities.double().cumsum(-1)
    here = KeyedNoise(random.seed, random.step, random.index[alive])
    chance = here.uniform(f"word {place}", 1).double() * ladder[:, -1:]
    return torch.searchsorted(ladder, chance, right=True)[:, 0].clamp(max=logits.shape[-1] - 1)


def filter_logits(logits: Tensor, top_k: int | None, top_p: float | None) -> Tensor:
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


class _Beams:
    """The most probable sentence that `width` beams find, ended ones before those cut at `max_length`.

    A sentence leaves as soon as no beam of it can still beat its best ended one.
    """

    def __init__(self, decoder: TextDecoder, state: DecoderState, rows: int, how: GenerationConfig) -> None:
        device, self.eos, max_length = decoder.head.weight.device, decoder.special.eos, how.max_length
        self.decoder, self.width, self.max_length = decoder, how.beam or 1, max_length
        self.chosen = torch.full((rows, max_length + 1), self.eos, device=device)
        self.alive = torch.arange(rows, device=device)  # (A,)
        self.state = state
        self.scores = torch.zeros(rows, 1, device=device)  # bits (A, U): one beam, W after its first word
        self.best = torch.full((rows,), -torch.inf, device=device)  # (A,)
        self.written = torch.empty(rows, 1, 0, dtype=torch.long, device=device)
        self.words = torch.full((rows,), decoder.special.bos, device=device)

    def run(self) -> list[list[int]]:
        """Word ids of each sentence."""
        for place in range(self.max_length + 1):
            features, self.state = self.decoder.read(self.words[:, None], self.state)
            ended, ahead = self._score(features[:, -1])
            self._keep_ended(ended)
            going = (self.scores.amax(1) > self.best).nonzero()[:, 0]
            if place == self.max_length or not len(going):
                break
            self._branch(going, *(part[going] for part in ahead))
        cut = self.best == -torch.inf  # never ended: the best beam as it is
        self.chosen[self.alive[cut], : self.written.shape[-1]] = self.written[cut, 0]
        return [_until(row, self.eos) for row in self.chosen.tolist()]

    def _score(self, features: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        """From features (A U, H): scores of ending here (A, U), and the best scores, beams, words ahead."""
        ended, ahead, start, beams = [], [], 0, self.scores.shape[1]
        for logits in self.decoder.head.chunks(features, beams):
            end = logits.at(self.words.new_full((len(logits.low), 1), self.eos)).view(-1, beams)
            choices = BeamCandidates.of(logits.without(self.eos), beams, self.width)
            scores = self.scores[start : start + len(end)] - torch.logaddexp2(choices.log2_sums, end)
            start += len(end)
            ended.append(scores + end)
            ahead.append(choices.best(scores, self.width))
        totals, parents, words = (torch.cat(parts) for parts in zip(*ahead, strict=True))
        return torch.cat(ended), (totals, parents, words)

    def _keep_ended(self, ended: Tensor) -> None:
        """Remember each row's best sentence that ends here (A, U), if it beats what was known."""
        score, beam = ended.max(1)
        better = (score > self.best).nonzero()[:, 0]
        self.best[better] = score[better]
        rows = self.alive[better]
        self.chosen[rows] = self.eos
        self.chosen[rows, : self.written.shape[-1]] = self.written[better, beam[better]]

    def _branch(self, going: Tensor, totals: Tensor, beams: Tensor, words: Tensor) -> None:
        """Let the sentences `going` go on with the beams (A, W) they branch from, and the others leave."""
        rows = going[:, None] * self.scores.shape[1] + beams
        self.alive, self.best, self.scores = self.alive[going], self.best[going], totals
        self.written = torch.cat([_branch_states(self.written[going], beams), words[..., None]], -1)
        self.state = self.state.select(rows.flatten())
        self.words = words.flatten()


def _branch_states(written: Tensor, parent: Tensor) -> Tensor:
    """What the parents (A, W) of new beams have written, (A, W, T)."""
    return written.gather(1, parent[..., None].expand(-1, -1, written.shape[-1]))
