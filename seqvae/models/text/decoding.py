"""From codes to sentences: greedy, sampled and beam decoding with the decoder's own `start` and `read`."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any

import torch
from pydantic import Field

from seqvae.errors import UserError
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.text.beams import BeamSearch
from seqvae.models.text.captured import borrowed_session, filled_up
from seqvae.models.text.kernels.buffers import bytes_of
from seqvae.models.text.kernels.precision import weight_cache
from seqvae.models.text.likelihood import DecoderState, TextDecoder
from seqvae.models.text.sampling import Sampling
from seqvae.models.text.search import Stage, run
from seqvae.utils.accelerator import free_memory, runs_ahead

BEAMS = 2560  # followed at once: a CPU has their states near it then
GPU_ROWS, FEW_ROWS = 1 << 15, 1 << 10  # sentences or beams at once on a GPU, and as many as always fit
INTERVAL = 16  # words between two questions which sentences go on, on a GPU
COPIES = 3  # of a state, that a step holds at once


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
        need = "finite" if self.temperature == math.inf else "above 0"
        self._require(finite, "temperature", self.temperature, need)
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
    decoder: TextDecoder,
    state: DecoderState,
    rows: int,
    how: GenerationConfig,
    random: KeyedNoise,
    interval: int | None = None,
) -> list[list[int]]:
    """Word ids of `rows` sentences, without start and end.

    Row i's chance depends on `random.index[i]` alone, so a sentence does not change with its neighbours.

    Args:
        decoder: in evaluation mode.
        state: `decoder.start(z, c)` of the codes.
        rows: how many codes these are.
        how: greedy, sampled or by beams.
        random: the noise of each sentence.
        interval: words between two questions of the host which sentences go on; with steps on fixed buffers,
            which a GPU runs as CUDA graphs. 0: asked at every word, without buffers. By default `INTERVAL` on
            a GPU, which would have to be waited for, and 0 elsewhere, where a row that ended costs time.
    """
    device = random.index.device
    if interval is None:
        interval = INTERVAL if runs_ahead(device) else 0
    most, written = _merge_rows(state, rows, how, device), []
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
    """Word ids of a sentence for each number of `random.index`, whatever stands after the end."""
    kind: Any = BeamSearch if how.beam else Sampling
    search, rows = kind(decoder, how, decoder.read, full=interval > 0), len(random.index)
    if not search.full:
        return run(search, Stage(search, search.begin(state, random)), interval=1)
    index = filled_up(torch.arange(rows, device=random.index.device))
    frame = search.begin(state.select(index), replace(random, index=random.index[index]))
    frame = replace(frame, going=torch.arange(len(index), device=index.device) < rows).packed()
    with borrowed_session(decoder, how, frame, lambda read: kind(decoder, how, read, full=True)) as session:
        return run(session.search, session.start(frame), interval)[:rows]


def _merge_rows(state: DecoderState, rows: int, how: GenerationConfig, device: torch.device) -> int:
    """How many sentences are written at once: on a GPU as many as a quarter of its free memory holds."""
    width = how.beam or 1
    if not runs_ahead(device):
        return max(1, BEAMS // width) if how.beam else max(1, rows)
    most = GPU_ROWS // width
    if rows > FEW_ROWS // width and device.type == "cuda" and torch.cuda.is_available():
        one = state.select(torch.zeros(1, dtype=torch.long, device=device)).fixed(how.max_length + 1)
        most = min(most, free_memory(device) // (4 * COPIES * width * bytes_of(one)))
    return max(1, most)


def _until(words: list[int], end: int) -> list[int]:
    return words[: words.index(end)] if end in words else words
