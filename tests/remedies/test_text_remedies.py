"""Bag of words, denoising and MMD against answers known by hand."""

from __future__ import annotations

import math

import pytest
import torch

from seqvae.data.text.batch import SpecialIds, TextBatch
from seqvae.data.text.batching import batch_from_ids
from seqvae.interfaces import RunContext
from seqvae.remedies.bag_of_words import bag_of_words_loss
from seqvae.remedies.denoising import Denoising, drop_words, shuffle_words
from seqvae.remedies.mmd import mmd

SPECIAL = SpecialIds(pad=0, unk=1, bos=2, eos=3)


def batch(n: int = 64) -> TextBatch:
    return batch_from_ids([[4 + (i + j) % 20 for j in range(3 + i % 7)] for i in range(n)], SPECIAL)


def damaged(before: TextBatch, **rates: float) -> TextBatch:
    remedy = Denoising(**{"drop": 0.0, **rates})  # type: ignore[arg-type]
    vae = torch.nn.ModuleDict({"encoder": torch.nn.Identity()})
    remedy.attach(vae, RunContext(1, 1, 1, 1, vocab_size=24))
    return remedy.on_encoder_input(before)


def test_uniform_words_cost_ln_v_each() -> None:
    targets, mask = torch.tensor([[5, 6, 0]]), torch.tensor([[True, True, False]])
    loss = bag_of_words_loss(torch.zeros(1, 1, 10), targets, mask)
    assert float(loss) == pytest.approx(2 * math.log(10))


def test_dropping_closes_the_gaps_and_keeps_the_end() -> None:
    source, lengths = torch.tensor([[5, 6, 7, 3, 0]]), torch.tensor([4])
    drop = torch.tensor([[False, True, False, True, True]])
    left, lengths = drop_words(source, lengths, drop, pad=0)
    assert left.tolist() == [[5, 7, 3, 0, 0]]
    assert lengths.tolist() == [3]


def test_shuffled_words_move_no_further_than_their_reach() -> None:
    source = torch.arange(10, 21)[None].repeat(200, 1)
    lengths = torch.full((200,), 11)
    moved = shuffle_words(source, lengths, 2, torch.rand(200, 11))
    places = moved.argsort(1) - torch.arange(11)
    assert int(places.abs().max()) == 2
    assert (moved[:, -1] == 20).all()
    assert torch.equal(moved.sort(1).values, source)


@pytest.mark.parametrize("kind", ["drop", "blank", "substitute"])
def test_rates_are_met_and_targets_stay(kind: str) -> None:
    before = batch(400)
    after = damaged(before, **{kind: 0.3})
    words = int((before.source_lengths - 1).sum())
    if kind == "drop":
        share = int((before.source_lengths - after.source_lengths).sum()) / words
    elif kind == "blank":
        share = int((after.source == SPECIAL.unk).sum()) / words
    else:
        share = int((after.source != before.source).sum()) / words / (1 - 4 / 24 - 1 / 24)
    assert share == pytest.approx(0.3, abs=4 * math.sqrt(0.21 / words))
    assert torch.equal(after.targets, before.targets)
    assert torch.equal(after.inputs, before.inputs)
    ends = after.source.gather(1, (after.source_lengths - 1)[:, None])
    assert (ends == SPECIAL.eos).all()


def test_idle_denoising_changes_nothing() -> None:
    before = batch()
    after = damaged(before)
    assert torch.equal(after.source, before.source)


def test_mmd_is_zero_for_equal_distributions_and_grows_with_distance() -> None:
    draws = torch.stack([mmd(torch.randn(64, 4), torch.randn(64, 4)) for _ in range(200)])
    assert abs(float(draws.mean())) < 4 * float(draws.std()) / math.sqrt(200)  # unbiased
    near, far = (float(mmd(torch.randn(256, 4), torch.randn(256, 4) + d)) for d in (0.5, 2.0))
    assert 0 < near < far
