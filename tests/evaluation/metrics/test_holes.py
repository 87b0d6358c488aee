"""Regions of the prior without codes, against closed forms, and independence of chunks."""

from __future__ import annotations

import math

import pytest
import torch

from seqvae.evaluation.metrics.holes import (
    aggregate_log_density,
    consistent_units,
    find_holes,
    hole_metrics,
    log_aggregate,
    prior_to_aggregate_kl,
)
from seqvae.models.latents.gaussian import DiagonalNormal


def test_posteriors_at_the_prior_leave_no_hole() -> None:
    kl = prior_to_aggregate_kl(torch.zeros(50, 3), torch.zeros(50, 3))
    assert kl.tolist() == pytest.approx([0.0] * 3, abs=1e-12)
    assert consistent_units(kl) == 3


@pytest.mark.parametrize(("mu", "s"), [(0.0, 0.5), (0.0, 2.0), (1.0, 1.0), (-2.0, 0.3), (0.0, 0.05)])
def test_one_normal_has_its_closed_form(mu: float, s: float) -> None:
    kl = prior_to_aggregate_kl(torch.full((7, 1), mu), torch.full((7, 1), 2 * math.log(s)))
    assert float(kl) == pytest.approx(math.log(s) + (1 + mu**2) / (2 * s**2) - 0.5, rel=1e-5)


def test_a_mixture_that_makes_up_the_prior_is_consistent() -> None:
    # sigma^2 + Var(mu) = 1, the centres at the quantiles of N(0, 1 - sigma^2)
    sigma, n = 0.6, 2000
    quantiles = torch.special.ndtri((torch.arange(n, dtype=torch.float64) + 0.5) / n)
    mean = (quantiles * math.sqrt(1 - sigma**2))[:, None]
    kl = prior_to_aggregate_kl(mean, torch.full_like(mean, 2 * math.log(sigma)))
    assert 0 <= float(kl) < 1e-5


def test_two_far_modes_leave_a_hole() -> None:
    mean = torch.tensor([[-2.0, -2.0, 0.0], [2.0, 2.0, 0.0]])
    logvar = torch.tensor([0.1, 1.0, 1.0]).log().mul(2).expand(2, 3)
    kl = prior_to_aggregate_kl(mean, logvar)
    # between the modes log q is about that of the nearer one: E_p of ((|z| - 2)^2 / 2 s^2) and the constants
    nearest = (5 - 4 * 2 * math.sqrt(2 / math.pi) / 2) / (2 * 0.01) + math.log(0.1) + math.log(2) - 0.5
    assert float(kl[0]) == pytest.approx(nearest, rel=2e-3)
    assert float(kl[0]) > 50 > float(kl[1]) > 0.1
    assert float(kl[2]) == pytest.approx(0, abs=1e-9)
    assert consistent_units(kl) == 1
    assert consistent_units(kl, threshold=100) == 3 - int(kl[0] >= 100)


def test_far_narrow_posteriors_are_finite_and_huge() -> None:
    kl = prior_to_aggregate_kl(torch.full((3, 1), 10.0), torch.full((3, 1), -20.0))
    assert math.isfinite(float(kl))
    assert float(kl) > 1e8


def test_chunks_and_types_change_nothing() -> None:
    mean, logvar, grid = torch.randn(101, 3), torch.randn(101, 3) - 1, torch.linspace(-4, 4, 17)
    whole = log_aggregate(mean, logvar, grid)
    assert whole.shape == (3, 17)
    assert whole.dtype == torch.float64
    assert torch.allclose(log_aggregate(mean, logvar, grid, cells=1), whole)
    assert torch.allclose(log_aggregate(mean, logvar, grid, cells=200), whole)
    assert torch.allclose(
        log_aggregate(mean[torch.randperm(101)], logvar[:1].expand(101, 3), grid),
        log_aggregate(mean, logvar[:1].expand(101, 3), grid),
    )
    by_hand = torch.distributions.Normal(mean[:, 1].double(), (logvar[:, 1].double() / 2).exp())
    assert torch.allclose(whole[1], by_hand.log_prob(grid[:, None].double()).exp().mean(1).log())


def test_density_sums_to_one() -> None:
    grid = torch.linspace(-12, 12, 4001, dtype=torch.float64)
    density = log_aggregate(torch.randn(40, 2), torch.randn(40, 2) - 1, grid).exp()
    assert torch.trapezoid(density, grid).tolist() == pytest.approx([1.0, 1.0], abs=1e-6)


def test_four_hundred_points_are_enough_for_narrow_posteriors() -> None:
    mean = torch.randn(2000, 2)
    narrow = torch.full_like(mean, 2 * math.log(0.03))
    few, many = (prior_to_aggregate_kl(mean, narrow, points=points) for points in (401, 6401))
    assert torch.allclose(few, many, rtol=0.01)


def test_numbers_for_a_report() -> None:
    q = DiagonalNormal(torch.tensor([[0.0, 3.0], [0.0, 3.0]]), torch.zeros(2, 2))
    numbers = hole_metrics([q, q])
    assert numbers["prior_gap_per_dim"] == pytest.approx([0.0, 4.5], abs=1e-6)
    assert numbers["consistent_units"] == 1


def _normal(mean: torch.Tensor, sigma: float) -> DiagonalNormal:
    return DiagonalNormal(mean, torch.full_like(mean, 2 * math.log(sigma)))


def test_aggregate_density_of_the_whole_code() -> None:
    q = [_normal(torch.randn(4, 3), 0.7), _normal(torch.randn(6, 3), 1.3)]
    z = torch.randn(5, 3)
    by_hand = torch.cat([each.log_prob(z[:, None]) for each in q], 1).double()  # (5, 10)
    assert torch.allclose(aggregate_log_density(q, z), by_hand.logsumexp(1) - math.log(10), atol=1e-5)
    own = torch.tensor([0, 9, 3, 4, 7])
    others = torch.stack([torch.cat([row[:i], row[i + 1 :]]) for row, i in zip(by_hand, own, strict=True)])
    without = aggregate_log_density(q, z, own)
    assert torch.allclose(without, others.logsumexp(1) - math.log(9), atol=1e-5)
    assert torch.allclose(aggregate_log_density(q, z, own, cells=1), without)


def test_a_prior_that_is_the_aggregate_lies_in_holes_as_often_as_the_quantile_says() -> None:
    random, n, sigma = torch.Generator().manual_seed(0), 3000, 0.6
    mean = torch.randn(n, 2, generator=random) * math.sqrt(1 - sigma**2)
    codes = mean + sigma * torch.randn(n, 2, generator=random)
    draws = torch.randn(20_000, 2, generator=random)
    found = find_holes([_normal(mean, sigma)], codes, torch.arange(n), draws)
    assert found.share == pytest.approx(0.01, abs=0.006)
    wider = find_holes([_normal(mean, sigma)], codes, torch.arange(n), draws, quantile=0.2)
    assert wider.share == pytest.approx(0.2, abs=0.03)


def test_a_prior_around_a_ring_of_codes_has_a_hole_in_its_middle() -> None:
    turn = torch.arange(500) * (2 * math.pi / 500)
    mean = 2 * torch.stack([turn.cos(), turn.sin()], 1)
    codes = mean + 0.1 * torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    draws = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, -2.0], [9.0, 9.0]])
    found = find_holes([_normal(mean, 0.1)], codes, torch.arange(500), draws)
    assert found.inside.tolist() == [True, False, False, True]
    assert found.share == 0.5
