"""The diagonal Gaussian posterior against torch.distributions and against its own samples.

Shapes: S samples, B examples, D latent dims.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence

from seqvae.keyed_noise import KeyedNoise
from seqvae.models.latents.gaussian import DiagonalNormal, Gaussian, kl_to_standard
from seqvae.models.priors.standard import StandardNormal, StandardPrior

MEAN = torch.tensor([[0.0, 1.5, -3.0], [0.2, -0.7, 10.0]])
LOGVAR = torch.tensor([[0.0, -4.0, 1.0], [0.5, -0.1, 2.0]])


class Mixed:
    """N(0, I) without a registered closed form of the KL."""

    def log_prob(self, z: Tensor) -> Tensor:
        """(S, B)."""
        return Normal(0.0, 1.0).log_prob(z).sum(-1)


def reference(mean: Tensor = MEAN, logvar: Tensor = LOGVAR) -> Independent:
    return Independent(Normal(mean, torch.exp(0.5 * logvar)), 1)


def noise(examples: int = 2, seed: int = 0) -> KeyedNoise:
    return KeyedNoise(seed, 0, torch.arange(examples))


def test_kl_is_that_of_torch() -> None:
    wanted = kl_divergence(Normal(MEAN, torch.exp(0.5 * LOGVAR)), Normal(0.0, 1.0))
    torch.testing.assert_close(kl_to_standard(MEAN, LOGVAR), wanted)


def test_kl_is_the_mean_of_log_ratios() -> None:
    q, p = DiagonalNormal(MEAN[:1], LOGVAR[:1]), StandardNormal(3)
    z = q.rsample(40_000, noise(1))
    ratios = (q.log_prob(z) - p.log_prob(z)).double()[:, 0]
    error = float(ratios.std()) / math.sqrt(len(ratios))
    assert abs(float(ratios.mean()) - float(kl_to_standard(q.mean, q.logvar).sum())) < 4 * error


def test_kl_near_its_minimum_is_exact() -> None:
    """(m^2 + v^2 / 2) / 2 to second order: no cancellation of exp(v) - 1 - v."""
    mean, logvar = torch.full((1, 1), 1e-3), torch.tensor([[1e-3]])
    exact = 0.5 * (1e-6 + math.expm1(1e-3) - 1e-3)
    assert abs(float(kl_to_standard(mean, logvar)) - exact) < 1e-4 * exact + 1e-10
    assert kl_to_standard(torch.zeros(1, 2), torch.zeros(1, 2)).tolist() == [[0.0, 0.0]]


def test_density_is_that_of_torch() -> None:
    z = torch.randn(5, 2, 3)
    torch.testing.assert_close(DiagonalNormal(MEAN, LOGVAR).log_prob(z), reference().log_prob(z))
    torch.testing.assert_close(StandardNormal(3).log_prob(z), Normal(0.0, 1.0).log_prob(z).sum(-1))
    pairs = DiagonalNormal(MEAN, LOGVAR).log_prob(z[:, :1])  # (S, 1, D) against every example
    torch.testing.assert_close(pairs, reference().log_prob(z[:, :1]))


def test_samples_have_the_moments() -> None:
    n = 20_000
    z = DiagonalNormal(MEAN, LOGVAR).rsample(n, noise()).double()
    assert z.shape == (n, 2, 3)
    deviation = torch.exp(0.5 * LOGVAR)
    assert bool(((z.mean(0) - MEAN).abs() < 4 * deviation / math.sqrt(n)).all())
    assert bool(((z.var(0) / deviation**2 - 1).abs() < 4 * math.sqrt(2 / n)).all())
    correlations = torch.corrcoef(z.flatten(1).T) - torch.eye(6)
    assert float(correlations.abs().max()) < 4.5 / math.sqrt(n)  # 15 pairs


def test_samples_are_reparametrised() -> None:
    mean, logvar = MEAN.clone().requires_grad_(), LOGVAR.clone().requires_grad_()
    q = DiagonalNormal(mean, logvar)
    z = q.rsample(1, noise())
    by_mean, by_logvar = torch.autograd.grad(z.sum(), [mean, logvar])
    assert torch.equal(by_mean, torch.ones_like(mean))
    torch.testing.assert_close(by_logvar, 0.5 * (z[0] - mean).detach())


def test_more_samples_change_no_sample() -> None:
    q = DiagonalNormal(MEAN, LOGVAR)
    assert torch.equal(q.rsample(7, noise())[:3], q.rsample(3, noise()))
    row = DiagonalNormal(MEAN[1:], LOGVAR[1:]).rsample(3, KeyedNoise(0, 0, torch.tensor([1])))
    assert torch.equal(row, q.rsample(3, noise())[:, 1:])


def test_index_and_detach() -> None:
    q = DiagonalNormal(MEAN.clone().requires_grad_(), LOGVAR.clone().requires_grad_())
    for rows in (torch.tensor([1, 0, 1]), slice(1, 2)):
        assert torch.equal(q.select(rows).mean, MEAN[rows])
        assert torch.equal(q.select(rows).logvar, LOGVAR[rows])
    detached = q.detach()
    assert not detached.mean.requires_grad
    assert not detached.logvar.requires_grad
    assert q.mean.requires_grad
    assert torch.equal(detached.mean, MEAN)


def test_latent_is_linear_and_closed_form_equals_samples() -> None:
    latent, p = Gaussian(4, dim=3), StandardPrior(3)
    h = torch.randn(6, 4)
    with torch.no_grad():
        q = latent.posterior(h)
        torch.testing.assert_close(q.mean, h @ latent.mean.weight.T + latent.mean.bias)
        z = q.rsample(20_000, noise(6))
        closed, sampled = latent.kl(q, p(), z), latent.kl(q, Mixed(), z)
    assert closed.shape == (1, 6, 3)
    assert sampled.shape == (20_000, 6, 1)
    error = sampled.std(0)[:, 0] / math.sqrt(20_000)
    assert bool(((sampled.mean(0)[:, 0] - closed[0].sum(-1)).abs() < 4 * error).all())


def test_prior_samples_are_standard_and_keyed() -> None:
    p, n = StandardNormal(2), 20_000
    z = p.sample(n, noise(n)).double()
    assert bool((z.mean(0).abs() < 4 / math.sqrt(n)).all())
    assert bool(((z.var(0) - 1).abs() < 4 * math.sqrt(2 / n)).all())
    assert torch.equal(p.sample(5, noise(5)), p.sample(9, noise(9))[:5])
    assert torch.equal(p.sample(5, noise(1)), p.sample(5, noise(5)))  # rows of noise that were not given
