"""Likelihoods of pictures: they sum or integrate to 1, and agree with what is known.

Shapes: S samples, B examples, C x H x W pixels.
"""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from tiny_pictures import picture_batch
from torch.distributions import Normal
from torch.nn.functional import binary_cross_entropy_with_logits

from seqvae.data.image.batch import ImageBatch
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.image.likelihood import (
    LOWEST_LOG_SCALE,
    LOWEST_LOGVAR,
    Bernoulli,
    DiscretizedLogistic,
    Gaussian,
    at_least,
    logistic_log_prob,
)

MANY = 20_000


def batch_of(x: torch.Tensor) -> ImageBatch:
    index = torch.arange(len(x))
    return ImageBatch(x, x, index, torch.zeros(len(x), 0), KeyedNoise(0, 0, index))


def one_pixel(values: torch.Tensor) -> ImageBatch:
    return batch_of(values.view(-1, 1, 1, 1))


def test_bernoulli_sums_to_one_over_all_pictures_of_two_by_two() -> None:
    every = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4))).view(16, 1, 2, 2)
    logits = 3 * torch.randn(2, 1, 1, 2, 2)
    log_probs = Bernoulli(logits.expand(2, 16, 1, 2, 2)).log_prob(batch_of(every))
    assert log_probs.shape == (2, 16)
    torch.testing.assert_close(log_probs.exp().sum(1), torch.ones(2))


def test_bernoulli_scores_grey_by_cross_entropy() -> None:
    batch, logits = picture_batch(3, binary=False), torch.randn(2, 3, 1, 5, 7)
    wanted = -binary_cross_entropy_with_logits(logits, batch.targets.expand_as(logits), reduction="none")
    torch.testing.assert_close(Bernoulli(logits).log_prob(batch), wanted.sum((2, 3, 4)))


def test_bernoulli_stays_finite_and_right_far_out() -> None:
    got = Bernoulli(torch.tensor([500.0, -500.0]).view(1, 2, 1, 1, 1)).log_prob(one_pixel(torch.zeros(2)))
    assert got.tolist() == [[-500.0, 0.0]]


def test_gaussian_is_that_of_torch() -> None:
    batch, mean, logvar = (
        picture_batch(3, binary=False),
        torch.rand(2, 3, 1, 5, 7),
        torch.randn(2, 3, 1, 5, 7),
    )
    wanted = Normal(mean, torch.exp(0.5 * logvar)).log_prob(batch.targets).sum((2, 3, 4))
    torch.testing.assert_close(Gaussian(mean, logvar).log_prob(batch), wanted)
    once = Normal(mean, math.exp(-0.7)).log_prob(batch.targets).sum((2, 3, 4))
    torch.testing.assert_close(Gaussian(mean, torch.tensor(-1.4)).log_prob(batch), once)


LEVELS = torch.arange(256) / 255


@pytest.mark.parametrize("log_scale", [-9.0, -7.0, -4.0, -2.0, 0.0])
@pytest.mark.parametrize("location", [0.0, 0.3, 0.5, 100.3 / 255, 1.0])
def test_logistic_sums_to_one_over_all_levels(location: float, log_scale: float) -> None:
    shape = (1, 256, 1, 1, 1)
    likelihood = DiscretizedLogistic(torch.full(shape, location), torch.tensor(log_scale))
    total = likelihood.log_prob(one_pixel(LEVELS)).double().exp().sum()
    assert float(total) == pytest.approx(1.0, abs=2e-5)


def test_logistic_edges_take_the_tails() -> None:
    """Differences of the distribution function in double precision, with nothing below 0 and above 255."""
    location, scale = torch.tensor(0.01, dtype=torch.float64), 0.02
    cut = torch.sigmoid(((torch.arange(255).double() + 0.5) / 255 - location) / scale)
    wanted = torch.cat([cut[:1], cut[1:] - cut[:-1], 1 - cut[-1:]])
    x = LEVELS.double().view(256, 1, 1, 1)
    got = logistic_log_prob(x, location.expand(1, 256, 1, 1, 1), torch.tensor(math.log(scale)).double())
    torch.testing.assert_close(got[0].exp(), wanted, atol=1e-9, rtol=1e-6)


def test_logistic_gradients_are_finite_where_the_mass_is_gone() -> None:
    location = torch.zeros(1, 256, 1, 1, 1, requires_grad=True)
    log_scale = torch.full((1, 256, 1, 1, 1), LOWEST_LOG_SCALE, requires_grad=True)
    DiscretizedLogistic(location, log_scale).log_prob(one_pixel(LEVELS)).sum().backward()
    for tensor in (location, log_scale):
        assert tensor.grad is not None
        assert bool(torch.isfinite(tensor.grad).all())


def test_spreads_have_a_floor() -> None:
    for low in (LOWEST_LOGVAR, LOWEST_LOG_SCALE):
        bounded = at_least(torch.tensor([-1e4, 5.0]), low)
        assert float(bounded[0]) == pytest.approx(low)
        assert float(bounded[1]) == pytest.approx(5.0, abs=1e-4)


def samples_of(likelihood: object) -> torch.Tensor:
    drawn: torch.Tensor = likelihood.sample(KeyedNoise(0, 0, torch.arange(MANY)))  # type: ignore[attr-defined]
    return drawn.flatten().double()


def test_samples_follow_their_likelihoods() -> None:
    """Means within four standard errors, and the share of every level that the logistic gives mass to."""
    wide = (1, MANY, 1, 1, 1)
    black = samples_of(Bernoulli(torch.full(wide, -1.0)))
    assert set(black.unique().tolist()) == {0.0, 1.0}
    chance = 1 / (1 + math.e)
    assert float(black.mean()) == pytest.approx(chance, abs=4 * math.sqrt(chance * (1 - chance) / MANY))
    real = samples_of(Gaussian(torch.full(wide, 0.25), torch.tensor(-2.0)))
    assert float(real.mean()) == pytest.approx(0.25, abs=4 * math.exp(-1) / math.sqrt(MANY))
    assert float(real.var()) == pytest.approx(math.exp(-2), rel=4 * math.sqrt(2 / MANY))
    levels = samples_of(DiscretizedLogistic(torch.full(wide, 0.02), torch.tensor(-4.0)))
    mass = (
        logistic_log_prob(LEVELS.view(256, 1, 1, 1), torch.full((1, 256, 1, 1, 1), 0.02), torch.tensor(-4.0))[
            0
        ]
        .exp()
        .double()
    )
    share = torch.bincount((levels * 255).round().long(), minlength=256) / MANY
    assert bool(((share - mass).abs() < 4.5 * torch.sqrt(mass * (1 - mass) / MANY) + 1e-4).all())


@pytest.mark.parametrize(
    "likelihood",
    [
        Bernoulli(torch.randn(2, 3, 1, 5, 7)),
        Gaussian(torch.rand(2, 3, 1, 5, 7), torch.tensor(-2.0)),
        DiscretizedLogistic(torch.rand(2, 3, 1, 5, 7), torch.randn(2, 3, 1, 5, 7) - 3),
    ],
    ids=lambda likelihood: likelihood.support,
)
def test_face(likelihood: Bernoulli | Gaussian | DiscretizedLogistic) -> None:
    batch = picture_batch(3)
    assert likelihood.mean.shape == likelihood.sample(batch.random).shape == (2, 3, 1, 5, 7)
    assert bool(((likelihood.mean >= 0) & (likelihood.mean <= 1)).all())
    assert likelihood.support in ("binary", "real", "levels")
    exact = likelihood.log_prob(batch)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(likelihood.log_prob(batch), exact)  # sums over pixels stay in fp32
    first = likelihood.sample(KeyedNoise(0, 0, torch.arange(3)))
    assert torch.equal(first, likelihood.sample(KeyedNoise(0, 0, torch.arange(3))))
    assert not torch.equal(first, likelihood.sample(KeyedNoise(1, 0, torch.arange(3))))
