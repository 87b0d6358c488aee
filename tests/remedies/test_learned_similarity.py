"""Learned similarity: a distance in features, a discriminator that learns, and separate gradients.

Shapes: B examples, C x H x W pixels.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from seqvae.data.image.batch import ImageBatch
from seqvae.errors import UserError
from seqvae.interfaces import RunContext
from seqvae.keyed_noise import KeyedNoise
from seqvae.remedies.learned_similarity import (
    Discriminator,
    LearnedSimilarity,
    discriminator_loss,
    feature_distance,
)

SHAPE = (1, 8, 8)
FACTS = RunContext(total_steps=100, examples=50, batch_size=5, latent_dim=2)


def batch_of(x: Tensor) -> ImageBatch:
    index = torch.arange(len(x))
    return ImageBatch(x, x, index, torch.zeros(len(x), 0), KeyedNoise(0, 0, index))


def output(mean: Tensor) -> Any:
    """The part of a forward pass that the remedy reads."""
    return SimpleNamespace(likelihood=SimpleNamespace(mean=mean[None]))


def attached(weight: float = 1.0, shape: tuple[int, int, int] = SHAPE) -> LearnedSimilarity:
    remedy = LearnedSimilarity(weight=weight, channels=4)
    remedy.attach(SimpleNamespace(decoder=SimpleNamespace(shape=shape)), FACTS)  # type: ignore[arg-type]
    return remedy


def test_distance_is_half_the_square() -> None:
    assert feature_distance(torch.tensor([[3.0, 1.0]]), torch.tensor([[0.0, -3.0]])).tolist() == [12.5]


def test_discriminator_loss_at_chance() -> None:
    assert float(discriminator_loss(torch.zeros(3), torch.zeros(5))) == pytest.approx(0.6931472)
    assert float(discriminator_loss(torch.full((3,), 50.0), torch.full((5,), -50.0))) < 1e-6


def test_equal_pictures_have_no_distance_and_others_have_some() -> None:
    remedy, x = attached(weight=3.0), torch.rand(5, *SHAPE)
    same, other = (
        remedy.auxiliary_losses(nn.Identity(), output(mean), batch_of(x))["learned_similarity"]
        for mean in (x, 1 - x)
    )
    assert float(same) == 0.0
    assert float(other) > 0.1
    player = remedy.discriminator()
    assert isinstance(player, Discriminator)
    assert float(other) == pytest.approx(3 * float(player.distance(x, 1 - x).mean()))


def test_larger_features_are_no_larger_distance() -> None:
    remedy, x, y = attached(), torch.rand(5, *SHAPE), torch.rand(5, *SHAPE)
    player = remedy.player
    before = player.distance(x, y)
    with torch.no_grad():
        player.features[0].weight.mul_(7)
        player.features[0].bias.mul_(7)
    torch.testing.assert_close(player.distance(x, y), before, rtol=1e-3, atol=1e-3)


def test_the_model_gets_gradients_from_the_distance_and_the_player_from_its_own_loss() -> None:
    remedy, x = attached(), torch.rand(5, *SHAPE)
    mean = torch.rand(5, *SHAPE, requires_grad=True)
    out, batch = output(mean), batch_of(x)
    remedy.auxiliary_losses(nn.Identity(), out, batch)["learned_similarity"].backward()
    assert mean.grad is not None
    assert bool(mean.grad.any())
    assert all(p.grad is None for p in remedy.parameters())
    mean.grad = None
    remedy.player(out, batch).backward()
    assert mean.grad is None
    assert all(p.grad is not None and bool(p.grad.any()) for p in remedy.parameters())


def test_the_discriminator_learns_to_detect_blurred_images() -> None:
    remedy = attached()
    player, optimizer = remedy.player, torch.optim.Adam(remedy.parameters(), 3e-3)
    for step in range(60):
        x = (torch.rand(32, *SHAPE, generator=torch.Generator().manual_seed(step)) > 0.5).float()
        blurred = torch.nn.functional.avg_pool2d(x, 3, 1, 1)
        loss = player(output(blurred), batch_of(x))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.3  # from ln 2


def test_it_stays_in_fp32_under_autocast() -> None:
    remedy, x, y = attached(), torch.rand(5, *SHAPE), torch.rand(5, *SHAPE)
    out, batch = output(y), batch_of(x)
    exact = (
        remedy.auxiliary_losses(nn.Identity(), out, batch)["learned_similarity"],
        remedy.player(out, batch),
    )
    with torch.autocast("cpu", torch.bfloat16):
        got = (
            remedy.auxiliary_losses(nn.Identity(), out, batch)["learned_similarity"],
            remedy.player(out, batch),
        )
    assert all(torch.equal(a, b) for a, b in zip(exact, got, strict=True))


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 17, 23), (3, 2, 2), (1, 1, 4)])
def test_shapes_follow_the_data(shape: tuple[int, int, int]) -> None:
    remedy, x = attached(shape=shape), torch.rand(3, *shape)
    assert remedy.player.distance(x, 1 - x).shape == (3,)
    assert torch.isfinite(remedy.player(output(x), batch_of(x)))


def test_decoders_that_draw_nothing_are_refused() -> None:
    vae: Any = SimpleNamespace(decoder=nn.Identity())
    with pytest.raises(UserError, match="'learned_similarity' compares images, Identity generates none"):
        LearnedSimilarity().attach(vae, FACTS)
