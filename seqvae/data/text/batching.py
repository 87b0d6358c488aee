"""From token ids to padded batches: the grouping of sentences, and their tensors.

Shapes: B examples, T tokens, L labels, N sentences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from seqvae.data.splits import Rows
from seqvae.data.text.batch import SpecialIds, TextBatch
from seqvae.data.text.sentences import Sentences, Shuffles
from seqvae.data.text.source import SourceRows
from seqvae.keyed_noise import KeyedNoise, Signed, hash_content

AT_ONCE = 1 << 14  # padded tokens per batch in use, so that memory is independent of the number of rows
_POOL = 150  # batches per sorting pool: 1.5 % padding on captions and PTB, 3.5 % with 64
BLOCK = 1 << 16  # sentences per shuffled block


def collate(
    store: Sentences, rows: npt.NDArray[Any], special: SpecialIds, seed: int = 0, step: int = 0
) -> TextBatch:
    """The sentences `rows` (B,) of `store`, padded to the longest; all ids int64 on the CPU."""
    rows = np.asarray(rows, np.int64)
    grid, lengths = store.grid(rows)
    labels = torch.from_numpy(np.array(store.labels[rows], np.float32))
    batch = _batch(np.asarray(grid, np.int64), lengths, special, labels, rows, seed, step)
    return batch if store.source is None else with_source(batch, store.source.rows(rows))


def with_source(batch: TextBatch, rows: SourceRows) -> TextBatch:
    """The batch with these rows (B,) as the encoder's input, instead of the run's own tokens."""
    source, lengths = rows.tensors()
    return batch.replace(source=source, source_lengths=lengths)


def batch_from_ids(
    sentences: Sequence[Sequence[int]], special: SpecialIds, seed: int = 0, step: int = 0
) -> TextBatch:
    """A batch of given ids (without special tokens), numbered from 0, without labels (B, 0)."""
    lengths = np.fromiter(map(len, sentences), np.int64, len(sentences))
    grid = np.zeros((len(sentences), int(lengths.max(initial=0))), np.int64)
    for row, ids in zip(grid, sentences, strict=True):
        row[: len(ids)] = ids
    labels = torch.zeros(len(sentences), 0)
    return _batch(grid, lengths, special, labels, np.arange(len(sentences)), seed, step)


def _batch(
    grid: Rows, lengths: Rows, special: SpecialIds, labels: torch.Tensor, rows: Rows, seed: int, step: int
) -> TextBatch:
    """Make source, inputs and targets (B, T) from ids (B, T - 1); ids beyond the lengths are ignored."""
    size, longest = len(lengths), int(lengths.max(initial=0))
    kept = grid[:, :longest]
    inside = np.arange(longest) < lengths[:, None]
    targets = np.full((size, longest + 1), special.pad, np.int64)
    inputs = targets.copy()
    np.copyto(targets[:, :-1], kept, where=inside)
    np.copyto(inputs[:, 1:], kept, where=inside)
    targets[np.arange(size), lengths] = special.eos
    inputs[:, 0] = special.bos
    index, counted = torch.from_numpy(rows), torch.from_numpy(lengths + 1)
    return TextBatch(
        source=torch.from_numpy(targets.copy()),
        source_lengths=counted,
        inputs=torch.from_numpy(inputs),
        targets=torch.from_numpy(targets),
        lengths=counted,
        special=special,
        index=index,
        labels=labels,
        random=KeyedNoise(seed, step, index),
    )


def keys_of(sentences: Sequence[Sequence[int]]) -> Signed:
    """(B,) hash of each sentence's ids without special tokens, see `hash_content`."""
    lengths = np.fromiter(map(len, sentences), np.int64, len(sentences))
    flat = np.fromiter(chain.from_iterable(sentences), np.int64, int(lengths.sum()))
    return hash_content(flat, lengths)


def keys_of_batch(batch: TextBatch) -> Signed:
    """(B,) the same keys for a batch on the CPU."""
    lengths = batch.lengths.numpy() - 1  # without </s>
    inside = np.arange(batch.targets.shape[1]) < lengths[:, None]
    return hash_content(batch.targets.numpy()[inside], lengths)


@dataclass(frozen=True)
class LengthBucketSampler(Sequence[Rows]):
    """The batches of one epoch, arrays of rows with similar lengths, as a function of (seed, epoch).

    A block of 65,536 sentences, a random subset of the corpus or of a group of shards, is permuted, sorted by
    length within pools of 150 batches, and its batches are permuted again. This happens when its first
    batch is requested, so that neither the time nor the memory of a start grows with N. The one smaller batch
    is kept.
    """

    corpus: Shuffles
    batch_size: int
    seed: int
    epoch: int

    @property
    def examples(self) -> int:
        """N, the number of sentences."""
        return len(self.corpus)

    def __len__(self) -> int:
        return -(-self.examples // self.batch_size)

    def __getitem__(self, i: Any) -> Any:
        """The rows (B,) of batch `i`."""
        block, place = divmod(range(len(self))[i], self._batches)
        rows, starts = self._blocks(block)
        return rows[starts[place] : starts[place] + self.batch_size]

    @property
    def _batches(self) -> int:
        """Batches per block."""
        return max(1, BLOCK // self.batch_size)

    @cached_property
    def _blocks(self) -> Callable[[int], tuple[Rows, Rows]]:
        return lru_cache(maxsize=16)(self._in_order)

    def _in_order(self, block: int) -> tuple[Rows, Rows]:
        """The rows of a block, batch after batch, and the start of each batch in shuffled order."""
        random = np.random.default_rng([self.seed % 2**64, self.epoch, block])
        rows = random.permutation(self._shuffled_blocks(block))
        lengths = self.corpus.lengths_at(rows)
        places = np.arange(len(rows))
        rows = rows[np.lexsort((lengths, places // (self.batch_size * _POOL)))]
        return rows, random.permutation(places[:: self.batch_size])

    def _shuffled_blocks(self, block: int) -> Rows:
        size = self._batches * self.batch_size
        if self.examples <= size:
            return np.arange(self.examples)
        places = np.arange(block * size, min((block + 1) * size, self.examples), dtype=np.uint64)
        return self.corpus.shuffled(places, self.seed * 2**32 + self.epoch)


def token_bounded(lengths: Sequence[int], batch_size: int, tokens: int = AT_ONCE) -> Iterator[slice]:
    """Slices of consecutive sentences with at most `batch_size` sentences and `tokens` padded tokens.

    `</s>` counts. A sentence longer than `tokens` is a slice of its own.
    """
    start, longest = 0, 0
    for place, length in enumerate(lengths):
        wider = max(longest, length + 1)
        if place > start and (place - start == batch_size or wider * (place - start + 1) > tokens):
            yield slice(start, place)
            start, wider = place, length + 1
        longest = wider
    if len(lengths):
        yield slice(start, len(lengths))


def eval_batches(lengths: npt.NDArray[Any], batch_size: int, max_tokens: int | None = None) -> list[Rows]:
    """Batches of all sentences, longest first, of at most `batch_size` sentences and `max_tokens` tokens.

    `max_tokens` counts `</s>` and padding; a sentence longer than it is a batch of its own.
    """
    lengths = np.asarray(lengths)
    order = np.argsort(-lengths.astype(np.int64), kind="stable")
    batches, start = [], 0
    while start < len(order):
        size = batch_size
        if max_tokens is not None:
            size = min(size, max(1, max_tokens // (int(lengths[order[start]]) + 1)))
        batches.append(order[start : start + size])
        start += size
    return batches
