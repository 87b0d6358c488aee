"""Batches: the three views of a sentence, the order of an epoch, little padding."""

from pathlib import Path

import numpy as np
import pytest

from seqvae.data.text import batching
from seqvae.data.text.batch import SpecialIds
from seqvae.data.text.batching import LengthBucketSampler, batch_from_ids, collate, eval_batches
from seqvae.data.text.readers import Example
from seqvae.data.text.token_store import Counts, TokenStore
from seqvae.data.text.token_writer import build_store
from seqvae.data.text.tokenizer_training import train_word

SPECIAL = SpecialIds(pad=9, unk=1, bos=2, eos=3)
LENGTHS = np.clip(np.random.default_rng(0).lognormal(2.5, 0.4, 100_000), 1, 64).astype(np.int32)


def corpus(sentences: int = len(LENGTHS)) -> TokenStore:
    """Sentences of these lengths, without tokens."""
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(LENGTHS[:sentences], dtype=np.int64)])
    nothing = np.zeros(0, np.int64)
    return TokenStore(Path("none"), Counts(sentences), (), {}, nothing, offsets, nothing, nothing)


CORPUS = corpus()


def test_batch_from_ids() -> None:
    batch = batch_from_ids([[5, 6], [7], []], SPECIAL)
    assert batch.source.tolist() == batch.targets.tolist() == [[5, 6, 3], [7, 3, 9], [3, 9, 9]]
    assert batch.inputs.tolist() == [[2, 5, 6], [2, 7, 9], [2, 9, 9]]
    assert batch.lengths.tolist() == batch.source_lengths.tolist() == [3, 2, 1]
    assert batch.labels.shape == (3, 0)
    assert batch.source.data_ptr() != batch.targets.data_ptr()  # a remedy may write into what is read


def test_collate_is_batch_from_ids_of_the_rows(tmp_path: Path) -> None:
    tokenizer = train_word(["a b c d"])
    rows = [Example(" ".join("abcd"[: 1 + i % 4]), (float(i),)) for i in range(9)]
    store = build_store(rows, tokenizer, tmp_path / "s", max_tokens=9, label_names=("i",))
    chosen = np.array([8, 3, 4])
    batch = collate(store, chosen, tokenizer.special, seed=1, step=2)
    plain = batch_from_ids([store.tokens(i).tolist() for i in chosen], tokenizer.special)
    for name in ("source", "inputs", "targets", "lengths"):
        assert getattr(batch, name).equal(getattr(plain, name))
    assert batch.index.tolist() == [8, 3, 4]
    assert batch.labels.tolist() == [[8.0], [3.0], [4.0]]
    assert (batch.random.seed, batch.random.step) == (1, 2)


@pytest.mark.parametrize("size", [1, 64, 1000])
def test_an_epoch_meets_every_sentence_once(size: int) -> None:
    order = LengthBucketSampler(corpus(5000), size, seed=0, epoch=0)
    assert np.array_equal(np.sort(np.concatenate(list(order))), np.arange(5000))
    assert len(order) == -(-5000 // size)
    assert sorted({len(rows) for rows in order}) in ([1], [8, 64], [1000])


@pytest.mark.parametrize("size", [1, 64, 600])
def test_so_do_many_blocks(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "BLOCK", 500)
    order = LengthBucketSampler(corpus(5000), size, seed=0, epoch=0)
    assert np.array_equal(np.sort(np.concatenate(list(order))), np.arange(5000))
    assert [len(rows) for rows in order].count(size) == 5000 // size
    assert np.array_equal(order[len(order) - 1], order[-1])
    assert len(list(order)) == len(order) == -(-5000 // size)


def test_a_block_is_drawn_from_all_of_the_corpus_and_put_in_order_when_it_is_met(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batching, "BLOCK", 6400)
    made, drawn = LengthBucketSampler._shuffled_blocks, []
    monkeypatch.setattr(
        LengthBucketSampler,
        "_shuffled_blocks",
        lambda order, block: drawn.append(block) or made(order, block),
    )
    order = LengthBucketSampler(CORPUS, 64, seed=0, epoch=0)
    first = np.concatenate([order[i] for i in range(100)])
    assert drawn == [0]
    assert np.histogram(first, 10, (0, len(LENGTHS)))[0] == pytest.approx([640] * 10, abs=4 * 640**0.5)
    assert _padding([order[i] for i in range(100)]) < 0.03
    other = np.concatenate([LengthBucketSampler(CORPUS, 64, seed=0, epoch=1)[i] for i in range(100)])
    assert len(np.intersect1d(first, other)) == pytest.approx(6400 * 0.064, abs=4 * 400**0.5)


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    def first(seed: int, epoch: int) -> list[int]:
        return LengthBucketSampler(CORPUS, 32, seed, epoch)[0].tolist()

    assert first(0, 0) == first(0, 0)
    assert len({tuple(first(s, e)) for s in range(3) for e in range(3)}) == 9


def _padding(batches: list[np.ndarray]) -> float:
    padded = sum((LENGTHS[rows].max() + 1) * len(rows) for rows in batches)
    return 1 - sum(LENGTHS[rows].sum() + len(rows) for rows in batches) / padded


@pytest.mark.parametrize("size", [32, 64, 128])
def test_little_padding(size: int) -> None:
    assert _padding(list(LengthBucketSampler(CORPUS, size, 0, 0))) < 0.03


def test_batches_of_an_epoch_are_not_met_by_length() -> None:
    longest = [LENGTHS[rows].max() for rows in LengthBucketSampler(CORPUS, 64, 0, 0)]
    assert abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.1


def test_eval_batches_hold_everything_once_within_bounds() -> None:
    batches = eval_batches(LENGTHS, batch_size=256, max_tokens=2048)
    assert np.array_equal(np.sort(np.concatenate(batches)), np.arange(len(LENGTHS)))
    assert all((LENGTHS[rows].max() + 1) * len(rows) <= 2048 and len(rows) <= 256 for rows in batches)
    assert [len(rows) for rows in eval_batches(np.array([9, 1]), 8, max_tokens=5)] == [1, 1]
    assert eval_batches(np.zeros(0), 8) == []
