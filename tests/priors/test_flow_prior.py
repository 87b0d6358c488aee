"""The flow prior: mass one, change of variables, and samples that follow its density."""

from __future__ import annotations

import math

import pytest
import torch
from tiny_text import SIZES, randomized, tiny_config

from seqvae.build import build_vae
from seqvae.numerics import Randomness
from seqvae.priors import StandardNormal
from seqvae.priors.flow import FlowPrior, MovedNormal
from seqvae.registry import UserError


def random(n: int) -> Randomness:
    return Randomness(0, 0, torch.arange(n))


def strong(dim: int) -> tuple[FlowPrior, MovedNormal]:
    prior: FlowPrior = randomized(FlowPrior(dim, layers=4, hidden=8).double(), 0.6)
    return prior, prior()


def test_it_starts_as_the_standard_normal() -> None:
    p, z = FlowPrior(4)(), torch.randn(5, 3, 4)
    torch.testing.assert_close(p.log_prob(z), StandardNormal(4).log_prob(z))
    assert torch.equal(p.sample(6, random(6)), StandardNormal(4).sample(6, random(6)))


def test_log_prob_of_own_samples_is_the_change_of_variables() -> None:
    prior, p = strong(3)
    e = random(9).normal("prior", 3).double()
    z, log_det = prior.flow(e)
    assert torch.equal(p.sample(9, random(9)), z)
    torch.testing.assert_close(p.log_prob(z), StandardNormal(3).log_prob(e) - log_det)


def test_density_integrates_to_one_and_samples_follow_it() -> None:
    """By quadrature over a box twice as large as where the samples fall."""
    (_, p), n = strong(2), 20_000
    with torch.no_grad():
        z = p.sample(n, random(n))
        low, high = z.amin(0), z.amax(0)
        places, step = torch.linspace(-0.5, 1.5, 1001, dtype=torch.float64), 2e-3
        cells = low + torch.cartesian_prod(places, places) * (high - low)
        weights = torch.exp(p.log_prob(cells)) * step**2 * (high - low).prod()
    assert float(weights.sum()) == pytest.approx(1.0, abs=1e-3)
    error = z.std(0) / math.sqrt(n)
    assert bool(((z.mean(0) - weights @ cells).abs() < 4 * error).all())


def test_maximum_likelihood_bends_it_to_the_data() -> None:
    """A ring, whose entropy is known, is coded in clearly fewer nats than by the best Gaussian."""
    angle = 2 * math.pi * torch.rand(1000)
    z = torch.stack([angle.cos(), angle.sin()], -1) * (2 + 0.2 * torch.randn(1000, 1))
    prior = FlowPrior(2, layers=6, hidden=32)
    optimizer, losses = torch.optim.Adam(prior.parameters(), lr=5e-3), []
    for _ in range(200):
        optimizer.zero_grad()
        loss = -prior().log_prob(z).mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    gaussian = 1 + math.log(2 * math.pi) + 0.5 * float(torch.logdet(torch.cov(z.T)))
    assert min(losses[-50:]) < gaussian - 0.3, "one step is not judged: Adam leaps now and then"
    for parameter in prior.parameters():
        assert parameter.grad is not None
        assert bool(parameter.grad.any())


def test_one_dim_is_refused() -> None:
    config = tiny_config(latent={"name": "gaussian", "dim": 1, "prior": {"name": "flow"}})
    with pytest.raises(UserError, match="needs at least 2"):
        build_vae(config, SIZES)
