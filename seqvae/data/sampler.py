"""Base of training batches: the order of examples as a pure function of (seed, step).

Shapes: B examples of a batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Generic, TypeVar

import numpy as np
import torch

from seqvae.data.splits import Rows, SplitData
from seqvae.distributed.batch_shards import local_rows
from seqvae.interfaces import Batch
from seqvae.interfaces.batch import BatchT
from seqvae.keyed_noise import Signed, distinguish_repeats

EVALUATION_SEED = 0  # evaluation noise is the same for all runs, so that they can be compared in pairs

DataT = TypeVar("DataT", bound=SplitData[Any])


def with_keyed_noise(batches: Sequence[BatchT], keys_of: Callable[[BatchT], Signed]) -> list[BatchT]:
    """The same batches with noise keyed by the content of each example instead of its position.

    Equal examples get different noise: shared noise would make standard errors of means too small.
    """
    keys = np.concatenate([np.zeros(0, np.int64), *map(keys_of, batches)])
    parts = torch.split(torch.from_numpy(distinguish_repeats(keys)), [batch.size for batch in batches])
    pairs = zip(batches, parts, strict=True)
    return [batch.replace(random=replace(batch.random, index=part)) for batch, part in pairs]


class EpochBatchSource(ABC, Generic[DataT]):
    """Training batches, epoch after epoch; subclasses make the batches, and may define the order of examples.

    Args:
        data: the splits.
        batch_size: examples per update.
        accumulate: micro-batches per update.
        seed: seed of the order and of the noise.
    """

    def __init__(self, data: DataT, batch_size: int, accumulate: int, seed: int) -> None:
        self.data, self.examples = data, len(data.train)
        self.batch_size, self.accumulate, self.seed = batch_size, accumulate, seed
        self._epoch, self._order = -1, self._epoch_order(0)

    @property
    def steps_per_epoch(self) -> int:
        """Updates per pass over the training examples."""
        return -(-self.examples // self.batch_size)

    def update(self, step: int, inner: int = 0) -> list[Batch]:
        """The micro-batches of update `step`, on the CPU, with the rows of this rank.

        Encoder-only updates before it have `inner` from 1: the first reads the same examples, the others a
        random batch of the epoch, and each has its own noise.
        """
        epoch, place = divmod(step, self.steps_per_epoch)
        if inner > 1:
            place = int(
                np.random.default_rng([self.seed % 2**64, step, inner]).integers(self.steps_per_epoch)
            )
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self._epoch_order(epoch)
        rows = self._order[place]
        parts = [local_rows(part) for part in np.array_split(rows, min(self.accumulate, len(rows)))]
        batches = [self._make_batch(part, step, epoch) for part in parts]
        return [batch.replace(random=batch.random.fold(inner)) for batch in batches] if inner else batches

    def _epoch_order(self, epoch: int) -> Sequence[Any]:
        """The rows (B,) of each batch of an epoch, in order: by default those of one permutation."""
        order = np.random.default_rng([self.seed % 2**64, epoch]).permutation(self.examples)
        return [order[i : i + self.batch_size] for i in range(0, self.examples, self.batch_size)]

    @abstractmethod
    def valid(self, examples: int, batch_size: int = 64) -> Iterator[Batch]:
        """The first `examples` of the validation split."""

    @abstractmethod
    def _make_batch(self, rows: Rows, step: int, epoch: int) -> Batch:
        """Make the batch of the examples `rows`, with the noise of a step."""
