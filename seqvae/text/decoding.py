"""From codes to sentences: greedy, sampled and beam decoding with the decoder's own `start` and `read`.

Shapes: N sentences, A that are still written, W beams, V words.
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
from seqvae.text.precision import weights_held


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
    with weights_held():
        if how.beam:
            return _Beams(decoder, state, rows, how.beam, how.max_length).run()
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
        last = features[:, -1]  # (alive, H)
        if how.greedy:
            words = decoder.head.best(last)
        else:
            words = _drawn(decoder.head(last), how, random, place, alive)
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


def largest(x: Tensor, k: int, block: int = 64) -> tuple[Tensor, Tensor]:
    """The k largest of each row of x (N, V) and their places, (N, k) each, the largest first.

    They lie in the k blocks of columns with the largest maxima: looking there alone saves a CPU most of it.
    """
    blocks = x.shape[1] // block
    if blocks < 4 * k:
        values, places = x.topk(k, -1)
        return values, places
    maxima = x[:, : blocks * block].view(len(x), blocks, block).amax(-1)
    inside = torch.arange(block, device=x.device)
    columns = (maxima.topk(k, -1).indices[..., None] * block + inside).flatten(1)
    rest = torch.arange(blocks * block, x.shape[1], device=x.device).expand(len(x), -1)
    columns = torch.cat([columns, rest], 1)
    values, places = x.gather(1, columns).topk(k, -1)
    return values, columns.gather(1, places)


class _Beams:
    """The most probable sentence that `width` beams find, ended ones before those cut at `max_length`.

    A sentence leaves as soon as no beam of it can still beat its best ended one.
    """

    def __init__(
        self, decoder: TextDecoder, state: DecoderState, rows: int, width: int, max_length: int
    ) -> None:
        device, self.eos = decoder.head.weight.device, decoder.special.eos
        self.decoder, self.width, self.max_length = decoder, width, max_length
        self.chosen = torch.full((rows, max_length + 1), self.eos, device=device)
        self.alive = torch.arange(rows, device=device)  # (A,)
        self.state = state.select(self.alive.repeat_interleave(width))
        self.scores = torch.full((rows, width), -torch.inf, device=device)
        self.scores[:, 0] = 0.0  # all beams start equal: only one may branch
        self.best = torch.full((rows,), -torch.inf, device=device)  # (A,)
        self.written = torch.empty(rows, width, 0, dtype=torch.long, device=device)
        self.words = torch.full((rows * width,), decoder.special.bos, device=device)

    def run(self) -> list[list[int]]:
        """Word ids of each sentence."""
        for place in range(self.max_length + 1):
            features, self.state = self.decoder.read(self.words[:, None], self.state)
            log_probs = torch.log_softmax(self.decoder.head(features[:, -1]), -1)  # (A W, V)
            self._keep_ended(self.scores + log_probs[:, self.eos].view_as(self.scores))
            going = (self.scores.amax(1) > self.best).nonzero()[:, 0]
            if place == self.max_length or not len(going):
                break
            self._branch(log_probs, going)
        cut = self.best == -torch.inf  # never ended: the best beam as it is
        self.chosen[self.alive[cut], : self.written.shape[-1]] = self.written[cut, 0]
        return [_until(row, self.eos) for row in self.chosen.tolist()]

    def _keep_ended(self, ended: Tensor) -> None:
        """Remember each row's best sentence that ends here (A, W), if it beats what was known."""
        score, beam = ended.max(1)
        better = (score > self.best).nonzero()[:, 0]
        self.best[better] = score[better]
        rows = self.alive[better]
        self.chosen[rows] = self.eos
        self.chosen[rows, : self.written.shape[-1]] = self.written[better, beam[better]]

    def _branch(self, log_probs: Tensor, going: Tensor) -> None:
        """Let the sentences `going` branch, and the others leave."""
        width = self.width
        rows = (going[:, None] * width + torch.arange(width, device=going.device)).flatten()
        if len(going) < len(self.alive):
            log_probs = log_probs[rows]
            self.alive, self.best, self.scores = self.alive[going], self.best[going], self.scores[going]
            self.written = self.written[going]
        log_probs[:, self.eos] = -torch.inf
        found, words = largest(log_probs, min(width, log_probs.shape[1]))  # (A W, W): no beam gives more
        total = (self.scores.view(-1, 1) + found).view(len(going), -1)
        self.scores, flat = total.topk(width, 1)  # (A, W)
        parent, word = flat // found.shape[1], words.view(len(going), -1).gather(1, flat)
        self.written = torch.cat([_branched(self.written, parent), word[..., None]], -1)
        self.state = self.state.select(rows.view(-1, width).gather(1, parent).flatten())
        self.words = word.flatten()


def _branched(written: Tensor, parent: Tensor) -> Tensor:
    """What the parents (A, W) of new beams have written, (A, W, T)."""
    return written.gather(1, parent[..., None].expand(-1, -1, written.shape[-1]))
