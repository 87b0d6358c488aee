"""The mixture prior against torch.distributions, quadrature and its own samples."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from seqvae.keyed_noise import KeyedNoise
from seqvae.models.priors.mixture import GaussianMixture, MixturePrior

LOG_W = torch.log(torch.tensor([0.5, 0.2, 0.3]))
MEAN = torch.tensor([[0.0, 2.0], [-3.0, 1.0], [4.0, -1.0]])
LOGVAR = torch.tensor([[0.0, -1.0], [1.0, 0.5], [-2.0, 0.0]])


def random(n: int) -> KeyedNoise:
    return KeyedNoise(0, 0, torch.arange(n))


def test_density_is_that_of_torch() -> None:
    parts = Independent(Normal(MEAN, torch.exp(0.5 * LOGVAR)), 1)
    reference = MixtureSameFamily(Categorical(logits=LOG_W), parts)
    z = 3 * torch.randn(5, 4, 2)
    got = GaussianMixture(LOG_W, MEAN, LOGVAR).log_prob(z)
    assert got.shape == (5, 4)
    torch.testing.assert_close(got, reference.log_prob(z))


def test_density_integrates_to_one() -> None:
    line = torch.linspace(-20, 20, 2001, dtype=torch.float64)
    p = GaussianMixture(LOG_W.double(), MEAN[:, :1].double(), LOGVAR[:, :1].double())
    mass = torch.exp(p.log_prob(line[:, None])).sum() * 0.02
    torch.testing.assert_close(mass, torch.ones((), dtype=torch.float64), atol=1e-7, rtol=0)


def test_samples_have_the_moments_and_are_keyed() -> None:
    p, n = GaussianMixture(LOG_W, MEAN, LOGVAR), 40_000
    z = p.sample(n, random(n))
    w = LOG_W.exp()[:, None]
    mean = (w * MEAN).sum(0)
    variance = (w * (LOGVAR.exp() + MEAN**2)).sum(0) - mean**2
    assert bool(((z.mean(0) - mean).abs() < 4 * (variance / n).sqrt()).all())
    squares = (z - mean) ** 2
    assert bool(((squares.mean(0) - variance).abs() < 4 * squares.std(0) / math.sqrt(n)).all())
    assert torch.equal(p.sample(5, random(5)), p.sample(9, random(9))[:5])


def test_it_starts_near_the_standard_normal_and_learns() -> None:
    prior = MixturePrior(3, components=500)
    z = prior().sample(5000, random(5000)).detach()
    assert float(z.mean(0).abs().max()) < 0.15
    assert float((z.var(0) - 1).abs().max()) < 0.2
    prior().log_prob(z[:50, None]).sum().backward()
    for parameter in prior.parameters():
        assert parameter.grad is not None
        assert bool(parameter.grad.any())


def test_maximum_likelihood_finds_two_clusters() -> None:
    z = torch.cat([torch.randn(300, 1) * 0.3 - 2, torch.randn(100, 1) * 0.3 + 2])[:, None]
    prior = MixturePrior(1, components=2)
    with torch.no_grad():
        prior.mean.copy_(torch.tensor([[-0.5], [0.5]]))
    optimizer = torch.optim.Adam(prior.parameters(), lr=0.05)
    for _ in range(1500):
        optimizer.zero_grad()
        (-prior().log_prob(z).mean()).backward()
        optimizer.step()
    p = prior()
    left, right = z[:300], z[300:]
    torch.testing.assert_close(p.log_w.exp(), torch.tensor([0.75, 0.25]), atol=1e-3, rtol=0)
    for fitted, moment in (
        (p.mean[:, 0], Tensor.mean),
        (p.logvar[:, 0], lambda x: x.var(correction=0).log()),
    ):
        wanted = torch.stack([moment(left), moment(right)])
        torch.testing.assert_close(fitted, wanted, atol=1e-2, rtol=0)
