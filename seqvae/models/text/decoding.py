"""Greedy, sampled and beam decoding of codes, by the `start` and `read` of the decoder."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any

import torch
from pydantic import Field

from seqvae.data.text.token_automaton import START, TokenMoves
from seqvae.errors import UserError
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.text.beams import BeamSearch
from seqvae.models.text.captured import open_session, pad_index
from seqvae.models.text.kernels.buffers import bytes_of
from seqvae.models.text.kernels.precision import weight_cache
from seqvae.models.text.likelihood import DecoderState, TextDecoder
from seqvae.models.text.sampling import Sampling
from seqvae.models.text.search import Stepper, run_search
from seqvae.utils.accelerator import free_memory, is_asynchronous

TOP_P = 0.95  # default of samples
LONGEST = 64  # words, where neither a run nor the user says how many
BEAMS = 2560  # at once on a CPU, so that their states fit into its caches
GPU_ROWS = 1 << 15  # sentences or beams at once on a GPU, at most
FEW_ROWS = 1 << 10  # this many fit into the memory of any GPU
COPIES = 3  # copies of a state that a step holds at once
INTERVAL = 16  # words after which the host of a GPU checks which sentences have ended


@dataclass(frozen=True)
class GenerationConfig:
    """How sentences are decoded. `greedy` and `beam` are deterministic; top-k and top-p apply to samples.

    The defaults are those of use: top-p, no unknown token, and no 4-gram more often in a sentence than in
    training text. `UNTRUNCATED` samples from the model's own distribution.
    """

    greedy: bool = False
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = TOP_P  # 1 or None: all words
    beam: int | None = None
    max_length: Annotated[int, Field(gt=0)] | None = None  # words without the end; None: the run's max_tokens
    unknown: bool | None = None  # whether the unknown token may be written; None: only in copies of it
    repeats: int | None = None  # times that a 4-gram may occur; 0: any, None: as in the run's training text
    moves: TokenMoves | None = None  # the only sentences that may be written

    def __post_init__(self) -> None:
        """Check the ranges of all settings.

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
        self._require(self.repeats is None or self.repeats >= 0, "repeats", self.repeats, "0 or more")
        longest = self.max_length
        self._require(longest is None or longest > 0, "max-length", longest, "above 0")
        self._require(not (self.greedy and self.beam), "greedy", self.greedy, "off when a beam is asked for")

    @property
    def longest(self) -> int:
        """Words of a sentence at most, the end token not counted."""
        return self.max_length or LONGEST

    @staticmethod
    def _require(good: bool, name: str, got: object, need: str) -> None:
        if not good:
            raise UserError(f"{name} got {got}: it must be {need}")


UNTRUNCATED = GenerationConfig(top_p=None, unknown=True, repeats=0)


@torch.no_grad()
def generate_tokens(
    decoder: TextDecoder,
    state: DecoderState,
    rows: int,
    how: GenerationConfig,
    random: KeyedNoise,
    interval: int | None = None,
) -> list[list[int]]:
    """Word ids of `rows` sentences, without start and end.

    The noise of row i depends on `random.index[i]` alone, so a sentence does not depend on its batch.

    Args:
        decoder: in evaluation mode.
        state: `decoder.start(z, c)` of the codes.
        rows: number of codes.
        how: greedy decoding, sampling or beam search.
        random: the noise of each sentence.
        interval: number of words after which the host drops sentences that have ended; the steps between are
            captured as CUDA graphs. 0: after every word, without graphs. By default 16 on a GPU, because the
            host has to wait for it, and 0 on a CPU, where rows of ended sentences cost time.

    Raises:
        UserError: a constraint that no sentence of so few words matches.
    """
    if how.moves is not None and (least := int(how.moves.distance[START])) > how.longest:
        raise UserError(
            f"the constraint needs at least {least} tokens, a sentence has at most {how.longest}: raise "
            "--max-length (max_length), or mend the constraint"
        )
    device = random.index.device
    if interval is None:
        interval = INTERVAL if is_asynchronous(device) else 0
    most, written = _rows_at_once(state, rows, how, device), []
    for start in range(0, rows, most):
        some = slice(start, min(start + most, rows))
        part = state if most >= rows else state.select(torch.arange(rows, device=device)[some])
        with weight_cache():
            found = _search(decoder, part, how, replace(random, index=random.index[some]), interval)
        written += [_until(row, decoder.special.eos) for row in found]
    return written


def _search(
    decoder: TextDecoder, state: DecoderState, how: GenerationConfig, random: KeyedNoise, interval: int
) -> list[list[int]]:
    """Word ids of one sentence per number of `random.index`; those after the end token are arbitrary."""
    kind: Any = BeamSearch if how.beam else Sampling
    search, rows = kind(decoder, how, decoder.read, fixed_shapes=interval > 0), len(random.index)
    if not search.fixed_shapes:
        return run_search(search, Stepper(search, search.begin(state, random)), interval=1)
    index = pad_index(torch.arange(rows, device=random.index.device))
    first = search.begin(state.select(index), replace(random, index=random.index[index]))
    first = replace(first, active=torch.arange(len(index), device=index.device) < rows).compacted()
    with open_session(decoder, how, first, lambda read: kind(decoder, how, read, True)) as session:
        return run_search(session.search, session.start(first), interval)[:rows]


def _rows_at_once(state: DecoderState, rows: int, how: GenerationConfig, device: torch.device) -> int:
    """How many sentences to write at once: on a GPU as many as fit into a quarter of its free memory."""
    width = how.beam or 1
    if not is_asynchronous(device):
        return max(1, BEAMS // width) if how.beam else max(1, rows)
    most = GPU_ROWS // width
    if rows > FEW_ROWS // width and device.type == "cuda" and torch.cuda.is_available():
        one = state.select(torch.zeros(1, dtype=torch.long, device=device)).allocate(how.longest + 1)
        most = min(most, free_memory(device) // (4 * COPIES * width * bytes_of(one)))
    return max(1, most)


def _until(words: list[int], end: int) -> list[int]:
    return words[: words.index(end)] if end in words else words
