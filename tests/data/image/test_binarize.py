"""Binarisation: rates are grey values, draws are keyed by seed, epoch and place, fixed is fixed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_pictures import codec_of, grey, loaded, store_of

from seqvae.data.image.batching import batch_from_pixels, collate
from seqvae.data.image.binarize import FIXED, binarize_fixed, sample_binary
from seqvae.data.image.feed import ImageBatchSource, evaluation_batches

MANY = 4000


def test_rates_are_grey_values() -> None:
    """Each of 256 levels within four standard errors of level / 255; black and white without any."""
    levels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16).repeat(MANY, 0)
    white = binarize_fixed(levels, np.arange(MANY), seed=3)
    assert set(np.unique(white)) == {0, 255}
    chance = np.arange(256) / 255
    error = np.sqrt(chance * (1 - chance) / MANY)
    rates = (white[:, 0] / 255).mean(0).ravel()
    assert (np.abs(rates - chance) <= 4 * error).all()
    assert rates[0] == 0.0
    assert rates[255] == 1.0


def test_a_draw_belongs_to_seed_epoch_and_place() -> None:
    pixels, places = grey(6, 8, 8), np.arange(6)
    one = sample_binary(pixels, places, 0)
    assert torch.equal(one, sample_binary(pixels, places, 0))
    assert not torch.equal(one, sample_binary(pixels, places, 1))
    assert not torch.equal(one, sample_binary(pixels, places, 0, draw=1))
    assert not torch.equal(one, sample_binary(pixels, places + 1, 0))
    order = np.array([4, 1])
    assert torch.equal(
        sample_binary(pixels[order], places[order], 0), one[order]
    )  # whatever else is in the batch


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, places = grey(9), np.arange(9)
    whole = binarize_fixed(pixels, places, 0)
    monkeypatch.setattr("seqvae.data.image.binarize._AT_ONCE", 70)
    assert np.array_equal(binarize_fixed(pixels, places, 0), whole)


def test_neighbouring_pixels_are_drawn_apart() -> None:
    half = np.full((MANY, 1, 2, 2), 128, np.uint8)
    white = sample_binary(half, np.arange(MANY), 0).flatten(1).numpy()
    assert np.abs(np.corrcoef(white.T) - np.eye(4)).max() < 4.5 / np.sqrt(MANY)


def test_stochastic_is_drawn_anew_each_epoch_and_once_for_evaluation() -> None:
    store = store_of(grey(6, 8, 8))
    codec = codec_of(store.pixels, "stochastic", seed=5)
    rows = np.arange(6)
    first, again, second = (collate(store, rows, codec, draw=draw).targets for draw in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert set(first.unique().tolist()) == {0.0, 1.0}
    evaluated = torch.cat([batch.targets for batch in evaluation_batches(store, codec, batch_size=4)])
    assert torch.equal(evaluated, collate(store, rows, codec, draw=FIXED).targets)
    assert not torch.equal(evaluated, first)


def test_epochs_of_a_feed_are_draws_of_their_own(tmp_path: object) -> None:
    data = loaded(examples=40, binarize="stochastic")
    feed = ImageBatchSource(data, batch_size=40, accumulate=1, seed=0)
    epochs = []
    for step in (0, 1):
        (batch,) = feed.update(step)
        epochs.append(batch.targets[batch.index.argsort()])
    assert not torch.equal(*epochs)
    assert torch.equal(epochs[0] > 0, (epochs[0] > 0) & (torch.from_numpy(data.train.pixels.copy()) > 0))


def test_fixed_is_the_same_in_training_and_evaluation() -> None:
    data = loaded(examples=40, binarize="fixed", binarize_seed=2)
    feed = ImageBatchSource(data, batch_size=8, accumulate=1, seed=0)
    seen: dict[int, torch.Tensor] = {}
    for step in range(15):  # three epochs
        for batch in feed.update(step):
            for i, x in zip(batch.index.tolist(), batch.targets, strict=True):
                assert torch.equal(seen.setdefault(i, x), x)
    evaluated = torch.cat([batch.targets for batch in evaluation_batches(data.train, data.codec)])
    assert torch.equal(evaluated, torch.stack([seen[i] for i in range(40)]))
    other = loaded(examples=40, binarize="fixed", binarize_seed=3)
    assert not np.array_equal(other.train.pixels, data.train.pixels)


def test_fixed_does_not_depend_on_the_run_or_on_the_rest_of_the_source() -> None:
    """Two seeds of training, and two cuts of the data, see the same black and white."""
    short, long = loaded(examples=20, binarize="fixed"), loaded(examples=60, binarize="fixed")
    assert np.array_equal(short.train.pixels, long.train.pixels[:20])


def test_the_draw_of_a_stochastic_evaluation_is_the_fixed_one() -> None:
    fixed, stochastic = (loaded(examples=10, binarize=kind) for kind in ("fixed", "stochastic"))
    for name in ("valid", "test"):
        batches = [
            next(iter(evaluation_batches(data.splits[name], data.codec))).targets
            for data in (fixed, stochastic)
        ]
        assert torch.equal(*batches)


def test_pictures_of_users_are_binarised_as_the_model_reads_them() -> None:
    pixels = grey(3, 8, 8)
    assert set(batch_from_pixels(pixels, codec_of(pixels, "fixed")).source.unique().tolist()) == {0.0, 1.0}
    plain = batch_from_pixels(pixels, codec_of(pixels))
    assert torch.equal((plain.source * 255).round().byte(), torch.from_numpy(pixels))
    assert plain.labels.shape == (3, 0)


@pytest.mark.parametrize(
    ("kind", "told"),
    [("none", "scored as they come"), ("fixed", "drawn once"), ("stochastic", "anew in each epoch")],
)
def test_the_protocol_is_reported(kind: str, told: str) -> None:
    data = loaded(examples=10, binarize=kind, binarize_seed=7)
    (line,) = [line for line in data.report() if "binarisation" in line]
    assert told in line
    assert ("seed 7" in line) == (kind != "none")
