"""Regions of the prior without codes, against closed forms, and independence of chunks."""

from __future__ import annotations

import math

import pytest
import torch

from seqvae.evaluation.metrics.holes import (
    consistent_units,
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
