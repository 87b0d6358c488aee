"""Delta-VAE posteriors: never below the committed rate, and every Gaussian above it can be had.

Shapes: B examples, D latent dims.
"""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

from seqvae.keyed_noise import KeyedNoise
from seqvae.models.latents.delta import Delta, committed_normals
from seqvae.models.latents.gaussian import kl_to_standard
from seqvae.models.priors import StandardNormal, StandardPrior

EXCESSES = [-1e4, -100.0, -3.0, 0.0, 3.0, 40.0]
ANGLES = [-1e3, -math.pi, -math.pi / 2, -1e-4, 0.0, 1e-4, 0.7, math.pi / 2, 3.0, 1e3]


def grid() -> tuple[Tensor, Tensor]:
    """Every extreme with every other, each (60, 1) in fp64."""
    excess, angle = torch.tensor(list(product(EXCESSES, ANGLES)), dtype=torch.float64).unbind(-1)
    return excess[:, None], angle[:, None]


@pytest.mark.parametrize("nats", [1e-3, 0.2, 5.0])
def test_the_kl_of_the_very_normal_is_never_below_delta(nats: float) -> None:
    excess, angle = grid()
    q = committed_normals(excess, angle, nats)
    recomputed = kl_to_standard(q.mean, q.logvar)  # from mean and variance, not from what q says of itself
    torch.testing.assert_close(recomputed, nats + softplus(excess), rtol=1e-9, atol=1e-11)
    assert float(recomputed.min()) >= nats * (1 - 1e-9)
    assert float(q.kl.min()) >= nats


@torch.no_grad()
@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0, 1e3])
def test_every_example_pays_delta_whatever_the_features(scale: float) -> None:
    latent = Delta(4, dim=5, nats=6.0)
    q = latent.posterior(scale * torch.randn(200, 4))
    kl = latent.kl(q, StandardPrior(5)(), q.mean[None])
    assert kl.shape == (1, 200, 5)
    assert float(kl.sum(-1).min()) >= 6.0 * (1 - 1e-6)
    assert float(kl.min()) >= 6.0 / 5 * (1 - 1e-6)  # by dim
    torch.testing.assert_close(kl_to_standard(q.mean, q.logvar), kl[0], rtol=1e-3, atol=1e-4)


def test_every_normal_that_costs_more_can_be_had() -> None:
    mean = torch.tensor([[-2.0], [-0.3], [0.0], [0.9]], dtype=torch.float64)
    logvar = torch.tensor([[-0.7], [0.0], [-3.0], [1.1]], dtype=torch.float64)
    kl, nats = kl_to_standard(mean, logvar), 0.04
    s = torch.sign(logvar) * torch.sqrt((2 * kl - mean**2).clamp(min=0))
    q = committed_normals(torch.log(torch.expm1(kl - nats)), torch.atan2(s, mean), nats)
    torch.testing.assert_close(q.mean, mean)
    torch.testing.assert_close(q.logvar, logvar, atol=1e-7, rtol=1e-7)


def test_gradients_are_bounded_everywhere() -> None:
    """No dead sigmoid, no square root at 0: also where the mean or the variance uses up all the nats."""
    excess, angle = (x.requires_grad_() for x in grid())
    q = committed_normals(excess, angle, 0.2)
    (q.mean + q.logvar)[excess < 4].sum().backward()
    for gradient in (excess.grad, angle.grad):
        assert gradient is not None
        assert bool(torch.isfinite(gradient).all())
        assert float(gradient.abs().max()) < 20


@torch.no_grad()
def test_the_mean_starts_small_and_goes_both_ways() -> None:
    latent = Delta(4, dim=8, nats=6.0)
    mean = latent.posterior(torch.randn(500, 4)).mean
    assert float((mean > 0).float().mean()) == pytest.approx(0.5, abs=0.25)
    assert float(latent.posterior(torch.zeros(1, 4)).kl.sum()) < 6.0 + 8 * 0.2


def test_closed_form_is_the_mean_of_log_ratios() -> None:
    latent, n = Delta(4, dim=3, nats=2.0), 20_000
    with torch.no_grad():
        q = latent.posterior(torch.randn(5, 4))
        z = q.rsample(n, KeyedNoise(0, 0, torch.arange(5)))
        ratios = (q.log_prob(z) - StandardNormal(3).log_prob(z)).double()
    error = ratios.std(0) / math.sqrt(n)
    assert bool(((ratios.mean(0) - q.kl.sum(-1)).abs() < 4 * error).all())


def test_index_and_detach_keep_the_kl() -> None:
    q = Delta(4, dim=3).posterior(torch.randn(5, 4))
    assert torch.equal(q.select(torch.tensor([3, 0])).kl, q.kl[[3, 0]])
    assert not q.detach().kl.requires_grad
