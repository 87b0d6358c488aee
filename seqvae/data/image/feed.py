"""Batches of images for training and evaluation, as pure functions of (seed, step)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from seqvae.data.image.batch import ImageBatch
from seqvae.data.image.batching import collate, keys_of_batch
from seqvae.data.image.codec import ImageProcessor
from seqvae.data.image.dataset import ImageData
from seqvae.data.image.image_store import ImageStore
from seqvae.data.sampler import EVALUATION_SEED, EpochBatchSource, with_keyed_noise
from seqvae.data.splits import Rows


class ImageBatchSource(EpochBatchSource[ImageData]):
    """Training batches: a permutation of the images in every epoch."""

    def valid(self, examples: int, batch_size: int = 64) -> Iterator[ImageBatch]:
        """The first `examples` validation images."""
        return evaluation_batches(self.data.valid, self.data.codec, batch_size, examples)

    def _make_batch(self, rows: Rows, step: int, epoch: int) -> ImageBatch:
        return collate(self.data.train, rows, self.data.codec, self.seed, step, epoch + 1)


def evaluation_batches(
    store: ImageStore, codec: ImageProcessor, batch_size: int = 64, examples: int | None = None
) -> Iterator[ImageBatch]:
    """All images or the first `examples`, in order; noise keyed by position, as in validation."""
    rows = np.arange(len(store))[:examples]
    for start in range(0, len(rows), batch_size):
        yield collate(store, rows[start : start + batch_size], codec, EVALUATION_SEED)


def measured_feed(
    store: ImageStore, codec: ImageProcessor, batch_size: int = 64, examples: int | None = None
) -> list[ImageBatch]:
    """The same images for evaluation: noise keyed by content, so that their order has no effect."""
    return with_keyed_noise(list(evaluation_batches(store, codec, batch_size, examples)), keys_of_batch)
