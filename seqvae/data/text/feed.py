"""Batches of text for training and evaluation, as pure functions of (seed, step)."""

from __future__ import annotations

from collections.abc import Iterator

from seqvae.data.sampler import EVALUATION_SEED, EpochBatchSource, with_keyed_noise
from seqvae.data.splits import Rows
from seqvae.data.text.batch import TextBatch
from seqvae.data.text.batching import AT_ONCE, LengthBucketSampler, collate, eval_batches, keys_of_batch
from seqvae.data.text.dataset import TextData
from seqvae.data.text.token_store import TokenStore
from seqvae.data.text.tokenizer import TextTokenizer


class TextBatchSource(EpochBatchSource[TextData]):
    """Training batches of sentences of similar lengths."""

    def valid(self, examples: int, batch_size: int = 64) -> Iterator[TextBatch]:
        """The first `examples` validation sentences, sorted by length."""
        return evaluation_batches(self.data.valid, self.data.tokenizer, batch_size, examples)

    def _epoch_order(self, epoch: int) -> LengthBucketSampler:
        return LengthBucketSampler(self.data.train, self.batch_size, self.seed, epoch)

    def _make_batch(self, rows: Rows, step: int, epoch: int) -> TextBatch:
        return collate(self.data.train, rows, self.data.tokenizer.special, self.seed, step)


def evaluation_batches(
    store: TokenStore,
    tokenizer: TextTokenizer,
    batch_size: int = 64,
    examples: int | None = None,
    tokens: int | None = None,
) -> Iterator[TextBatch]:
    """All sentences or the first `examples`, sorted by length; noise keyed by position, as in validation.

    A batch holds at most `batch_size` sentences and, if given, `tokens` padded tokens.
    """
    for rows in eval_batches(store.lengths[:examples], batch_size, tokens):
        yield collate(store, rows, tokenizer.special, EVALUATION_SEED, 0)


def measured_feed(
    store: TokenStore, tokenizer: TextTokenizer, batch_size: int = 64, examples: int | None = None
) -> list[TextBatch]:
    """The same sentences for evaluation: noise keyed by content, so that their order has no effect."""
    return with_keyed_noise(
        list(evaluation_batches(store, tokenizer, batch_size, examples, AT_ONCE)), keys_of_batch
    )
