"""Batches for training and validation, as pure functions of (seed, step)."""

from __future__ import annotations

from collections.abc import Iterator

from seqvae.batch import TextBatch
from seqvae.feeding import EVALUATION_SEED, EpochFeed, Rows, with_keyed_noise
from seqvae.text.batching import AT_ONCE, EpochOrder, collate, eval_batches, keys_of_batch
from seqvae.text.data import TextData
from seqvae.text.store import TokenStore
from seqvae.text.tokenizer import TextTokenizer


class TextFeed(EpochFeed):
    """The training loop's view of a corpus: batches of similar lengths."""

    def __init__(self, data: TextData, batch_size: int, accumulate: int, seed: int) -> None:
        """An update reads `batch_size` sentences, `accumulate` parts one after the other."""
        self.data = data
        super().__init__(len(data.train), batch_size, accumulate, seed)

    def valid(self, examples: int, batch_size: int = 64) -> Iterator[TextBatch]:
        """The first `examples` validation sentences, by length."""
        return eval_feed(self.data.valid, self.data.tokenizer, batch_size, examples)

    def _order_of(self, epoch: int) -> EpochOrder:
        return EpochOrder(self.data.train.offsets, self.batch_size, self.seed, epoch)

    def _batch_of(self, rows: Rows, step: int, epoch: int) -> TextBatch:
        return collate(self.data.train, rows, self.data.tokenizer.special, self.seed, step)


def eval_feed(
    store: TokenStore,
    tokenizer: TextTokenizer,
    batch_size: int = 64,
    examples: int | None = None,
    tokens: int | None = None,
) -> Iterator[TextBatch]:
    """Every sentence once, or the first `examples`, by length; noise keyed by place, as validation has it.

    A batch holds at most `batch_size` of them and, where asked for, so many padded `tokens`.
    """
    for rows in eval_batches(store.lengths[:examples], batch_size, tokens):
        yield collate(store, rows, tokenizer.special, EVALUATION_SEED, 0)


def measured_feed(
    store: TokenStore, tokenizer: TextTokenizer, batch_size: int = 64, examples: int | None = None
) -> list[TextBatch]:
    """The same sentences for measuring: noise keyed by content, so that their order changes nothing."""
    return with_keyed_noise(list(eval_feed(store, tokenizer, batch_size, examples, AT_ONCE)), keys_of_batch)
