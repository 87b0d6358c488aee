"""MI of codes with known information, and equality of all ways of computing it."""

# ruff: noqa: D102
from __future__ import annotations

import math

import linear_toy as toy
import pytest
import torch
from linear_toy import batches, linear_vae, vectors

from seqvae.evaluation.metrics.information import (
    DiagonalDensity,
    MixedDensity,
    choose_partners,
    choose_rows,
    information_gain,
    log_density,
    mutual_information,
)
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.latents.gaussian import DiagonalNormal


class Opaque:
    """A Gaussian that shows its mean and its density only, as a flow would."""

    def __init__(self, q: DiagonalNormal) -> None:
        self.q, self.mean = q, q.mean

    def log_prob(self, z: torch.Tensor) -> torch.Tensor:
        return self.q.log_prob(z)


class Sheared(DiagonalNormal):
    """Has a Gaussian's mean and logvar, but another density."""

    def log_prob(self, z: torch.Tensor) -> torch.Tensor:
        return super().log_prob(2 * z) + z.shape[-1] * math.log(2)


def random(n: int) -> KeyedNoise:
    return KeyedNoise(1, 0, torch.arange(n))


def spread(n: int = 50, dim: int = 3, logvar: float = -1.0) -> tuple[list[DiagonalNormal], torch.Tensor]:
    made = torch.Generator().manual_seed(0)
    q = DiagonalNormal(torch.randn(n, dim, generator=made), torch.full((n, dim), logvar))
    z = q.rsample(2, random(n))
    return [q.select(slice(0, 20)), q.select(slice(20, n))], z


@pytest.mark.parametrize("hide", [False, True])
def test_separated_posteriors_carry_ln_n(hide: bool) -> None:
    n = 40
    q = DiagonalNormal(torch.arange(n)[:, None] * 10.0, torch.full((n, 1), -2.0))
    found = mutual_information([Opaque(q)] if hide else [q], q.rsample(1, random(n)))
    assert found.low == pytest.approx(math.log(n), abs=1e-6)
    assert found.high > 100  # no bound: that is why it is not the one to quote
    assert found.low_se == pytest.approx(0, abs=1e-6)
    assert found.n == n


@pytest.mark.parametrize("hide", [False, True])
def test_identical_posteriors_carry_no_information(hide: bool) -> None:
    n = 40
    q = DiagonalNormal(torch.full((n, 2), 0.3), torch.full((n, 2), -1.0))
    found = mutual_information([Opaque(q)] if hide else [q], q.rsample(1, random(n)))
    assert found.low == pytest.approx(0, abs=1e-5)
    assert found.high == pytest.approx(0, abs=1e-5)


def test_two_groups_carry_one_bit() -> None:
    n = 40
    means = (torch.arange(n) % 2)[:, None] * 50.0
    q = DiagonalNormal(means, torch.zeros(n, 1))
    assert mutual_information([q], q.rsample(1, random(n))).low == pytest.approx(math.log(2), abs=1e-6)


def test_linear_gaussian_reaches_its_closed_form() -> None:
    n, variance = 3000, toy.NOISE**2 / (1 + toy.NOISE**2)
    x = vectors(n, 1)
    vae = linear_vae(1)
    posteriors = [vae.posterior(batch) for batch in batches(x, 500)]
    z = torch.cat([q.rsample(1, b.random) for q, b in zip(posteriors, batches(x, 500), strict=True)], 1)
    found = mutual_information(posteriors, z)
    assert found.low == pytest.approx(-0.5 * math.log(variance), abs=4 * found.low_se + 5 / n)
    assert found.low <= found.high


def test_matrix_product_is_the_density() -> None:
    posteriors, z = spread()
    fast, slow = DiagonalDensity(posteriors)(z[0]), MixedDensity(posteriors)(z[0])
    assert fast.shape == (50, 50)
    torch.testing.assert_close(fast, slow.to(fast), rtol=1e-5, atol=1e-5)


def test_matrix_product_holds_for_sharp_posteriors_far_out() -> None:
    q = DiagonalNormal(torch.tensor([[1000.0], [1000.01]]), torch.full((2, 1), math.log(1e-6)))
    log_q = DiagonalDensity([q])(q.mean)
    exact = torch.distributions.Normal(q.mean[:, 0].double(), 1e-3).log_prob(q.mean.double())
    torch.testing.assert_close(log_q, exact, rtol=1e-4, atol=1e-3)


def test_fast_path_is_taken_only_where_the_density_agrees() -> None:
    posteriors, z = spread()
    assert isinstance(log_density(posteriors, z), DiagonalDensity)
    assert isinstance(log_density([Opaque(q) for q in posteriors], z), MixedDensity)
    sheared = [Sheared(q.mean, q.logvar) for q in posteriors]
    assert isinstance(log_density(sheared, z), MixedDensity)


def test_fast_and_general_path_agree() -> None:
    posteriors, z = spread()
    fast, slow = mutual_information(posteriors, z), mutual_information([Opaque(q) for q in posteriors], z)
    assert fast.low == pytest.approx(slow.low, abs=1e-5)
    assert fast.high == pytest.approx(slow.high, abs=1e-4)


@pytest.mark.parametrize("cells", [1, 70, 10_000])
def test_chunks_change_nothing(cells: int) -> None:
    posteriors, z = spread()
    whole, parts = mutual_information(posteriors, z), mutual_information(posteriors, z, cells=cells)
    assert parts.low == pytest.approx(whole.low, abs=1e-12)
    assert parts.high == pytest.approx(whole.high, abs=1e-12)
    assert parts.low_se == pytest.approx(whole.low_se, abs=1e-12)


def test_own_component_bounds_each_code_by_ln_n() -> None:
    log_q = torch.randn(7, 7, generator=torch.Generator().manual_seed(0)).double() * 5
    low, high = information_gain(log_q, torch.arange(7))
    assert bool((low <= math.log(7) + 1e-12).all())
    assert low[2] == pytest.approx(float(log_q[2, 2] - log_q[2].logsumexp(0)) + math.log(7))
    others = torch.cat([log_q[2, :2], log_q[2, 3:]])
    assert high[2] == pytest.approx(float(log_q[2, 2] - others.logsumexp(0)) + math.log(6))


def test_a_single_example_has_no_other() -> None:
    q = DiagonalNormal(torch.zeros(1, 2), torch.zeros(1, 2))
    found = mutual_information([q], q.rsample(1, random(1)))
    assert found.low == 0
    assert math.isnan(found.high)


def test_subset_follows_the_examples_not_their_order() -> None:
    index = torch.randperm(100, generator=torch.Generator().manual_seed(1))
    chosen = choose_rows(index, 30)
    again = choose_rows(torch.arange(100), 30)
    assert sorted(index[chosen].tolist()) == again.tolist()
    assert len(set(chosen.tolist())) == 30
    assert again.tolist() != choose_rows(torch.arange(100), 30, seed=1).tolist()


@pytest.mark.parametrize("n", [2, 3, 101])
def test_partners_are_others_and_each_is_used_once(n: int) -> None:
    other = choose_partners(torch.arange(n), seed=4)
    assert bool((other != torch.arange(n)).all())
    assert sorted(other.tolist()) == list(range(n))


def test_partners_follow_the_examples_not_their_order() -> None:
    order = torch.randperm(50, generator=torch.Generator().manual_seed(1))
    assert order[choose_partners(order)].tolist() == choose_partners(torch.arange(50))[order].tolist()
