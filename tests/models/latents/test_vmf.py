"""Von Mises-Fisher codes: the published KLs, Monte Carlo, and the moments of its samples."""

from __future__ import annotations

import math

import pytest
import torch

from seqvae.keyed_noise import KeyedNoise
from seqvae.models.latents.vmf import VMF, kl_to_uniform, log_bessel, mean_length
from seqvae.models.priors import UniformSphere


def random(n: int) -> KeyedNoise:
    return KeyedNoise(0, 0, torch.arange(n))


@pytest.mark.parametrize(("kappa", "nats"), [(13, 2.17), (25, 5.76), (50, 12.25), (100, 20.76), (200, 30.37)])
def test_the_kl_is_the_published_one_in_32_dims(kappa: float, nats: float) -> None:
    assert kl_to_uniform(32, kappa) == pytest.approx(nats, abs=0.01)  # Xu & Durrett 2018


def test_half_orders_have_closed_forms() -> None:
    for x in (0.1, 1.0, 30.0, 700.0):
        expected = 0.5 * math.log(2 / (math.pi * x)) + x + math.log(-math.expm1(-2 * x) / 2)
        assert log_bessel(0.5, x) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("dim", [2, 3, 32, 512])
@pytest.mark.parametrize("kappa", [1.0, 30.0, 1000.0])
def test_kl_and_mean_length_by_monte_carlo(dim: int, kappa: float) -> None:
    latent = VMF(4, dim=dim, kappa=kappa)
    q = latent.posterior(torch.randn(1, 4)).detach()
    z = q.rsample(4000, random(1))[:, 0]  # (4000, D)
    torch.testing.assert_close(z.norm(dim=-1), torch.ones(4000), atol=1e-4, rtol=0)
    along = (z * q.direction).sum(-1)
    error = 4 * float(along.std()) / math.sqrt(4000) + 1e-5
    assert float(along.mean()) == pytest.approx(mean_length(dim, kappa), abs=error)
    gains = (q.log_prob(z[:, None]) - UniformSphere(dim).log_prob(z[:, None]))[:, 0]
    error = 4 * float(gains.std()) / math.sqrt(4000) + 1e-3
    assert float(gains.mean()) == pytest.approx(latent.nats, abs=error)
    assert latent.nats >= 0


def test_samples_follow_the_mean_direction_with_gradients() -> None:
    latent = VMF(4, dim=8, kappa=50.0)
    q = latent.posterior(torch.randn(3, 4))
    z = q.rsample(5, random(3))
    assert z.shape == (5, 3, 8)
    z.sum().backward()
    assert float(latent.mean.weight.grad.abs().sum()) > 0
