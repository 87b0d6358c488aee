"""Training batches: every image once per epoch, a function of (seed, step) alone."""

from __future__ import annotations

import numpy as np
import torch
from tiny_pictures import loaded, picture_batch

from seqvae.data.image.batch import ImageBatch
from seqvae.data.image.feed import ImageBatchSource, evaluation_batches


def feed(batch_size: int = 7, accumulate: int = 1, seed: int = 0, **settings: object) -> ImageBatchSource:
    return ImageBatchSource(
        loaded(**({"examples": 40, "labels": ["x", "y"]} | settings)), batch_size, accumulate, seed
    )


def same(a: ImageBatch, b: ImageBatch) -> bool:
    fields = ("source", "targets", "index", "labels")
    noise = torch.equal(a.random.normal("n", 3), b.random.normal("n", 3))
    return noise and all(torch.equal(getattr(a, name), getattr(b, name)) for name in fields)


def test_each_epoch_reads_every_picture_once() -> None:
    made = feed()
    assert (made.examples, made.steps_per_epoch) == (40, 6)
    orders = []
    for epoch in range(3):
        rows = [batch.index for step in range(6) for batch in made.update(6 * epoch + step)]
        orders.append(torch.cat(rows).tolist())
        assert sorted(orders[-1]) == list(range(40))
        assert [len(r) for r in rows] == [7, 7, 7, 7, 7, 5]
    assert orders[0] != orders[1] != orders[2] != list(range(40))


def test_an_update_is_a_function_of_seed_and_step() -> None:
    one, other = feed(binarize="stochastic"), feed(binarize="stochastic")
    for step in (9, 0, 14, 3):
        assert all(same(a, b) for a, b in zip(one.update(step), other.update(step), strict=True))
    assert not same(one.update(3)[0], feed(binarize="stochastic", seed=1).update(3)[0])


def test_pictures_and_labels_belong_together() -> None:
    made = feed()
    (batch,) = made.update(2)
    store = made.data.train
    assert torch.equal(
        (batch.targets * 255).round().byte(), torch.from_numpy(store.pixels[batch.index.numpy()])
    )
    assert np.array_equal(batch.labels.numpy(), store.labels[batch.index.numpy()])
    assert batch.targets.dtype == torch.float32
    assert batch.targets.shape[1:] == (1, 32, 32)


def test_parts_of_an_update_are_the_update() -> None:
    whole, parts = (
        feed(binarize="stochastic").update(4)[0],
        feed(accumulate=3, binarize="stochastic").update(4),
    )
    assert [part.size for part in parts] == [3, 2, 2]
    assert torch.equal(torch.cat([part.targets for part in parts]), whole.targets)
    noise = [part.random.normal("n", 2) for part in parts]
    assert torch.equal(torch.cat(noise), whole.random.normal("n", 2))
    assert len(feed(batch_size=2, accumulate=5).update(0)) == 2


def test_the_encoders_own_updates() -> None:
    made = feed()
    plain, first, second = (made.update(3, inner)[0] for inner in (0, 1, 2))
    assert torch.equal(plain.index, first.index)
    assert not torch.equal(plain.random.normal("n", 2), first.random.normal("n", 2))
    assert same(second, made.update(3, 2)[0])
    places = {tuple(made.update(3, inner)[0].index.tolist()) for inner in range(2, 12)}
    assert len(places) > 2


def test_evaluation_reads_every_picture_in_order_whatever_the_batches() -> None:
    data = loaded(labels=["x"], binarize="stochastic")
    one, other = (list(evaluation_batches(data.valid, data.codec, size)) for size in (64, 100))
    assert torch.cat([batch.index for batch in one]).tolist() == list(range(512))
    for name in ("targets", "labels"):
        assert torch.equal(*(torch.cat([getattr(batch, name) for batch in made]) for made in (one, other)))
    assert torch.equal(*(torch.cat([batch.random.normal("n", 2) for batch in made]) for made in (one, other)))
    few = list(ImageBatchSource(data, 8, 1, seed=3).valid(30, batch_size=20))
    assert [batch.size for batch in few] == [20, 10]
    assert torch.equal(few[0].targets, one[0].targets[:20])  # the seed of training does not matter


def test_a_batch_moves_and_counts() -> None:
    batch = picture_batch(3)
    assert (batch.size, batch.decoder_positions, batch.condition) == (3, 1, None)
    assert same(batch.to("cpu"), batch)
