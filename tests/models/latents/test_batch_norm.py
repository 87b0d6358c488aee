"""Batch-normalised means keep the KL above its bound, and evaluation uses running statistics."""

from __future__ import annotations

import math

import pytest
import torch

from seqvae.models.latents.batch_norm import BatchNorm, BatchNormGaussian, DUGaussian
from seqvae.models.latents.gaussian import kl_to_standard


@pytest.mark.parametrize("gamma", [0.5, 0.7])
def test_the_mean_kl_is_at_least_half_gamma_squared_a_dim(gamma: float) -> None:
    latent = BatchNormGaussian(16, dim=8, gamma=gamma)
    q = latent.posterior(1e-3 * torch.randn(256, 16) + 5.0)  # features that hardly differ
    assert float(kl_to_standard(q.mean, q.logvar).detach().sum(-1).mean()) >= 0.98 * 8 * gamma**2 / 2


def test_norm_equals_torchs_in_training_and_at_evaluation() -> None:
    ours, theirs = BatchNorm(4), torch.nn.BatchNorm1d(4, affine=False)
    for _ in range(5):
        x = 3 * torch.randn(32, 4) + 1
        torch.testing.assert_close(ours(x), theirs(x))
    ours.eval()
    torch.testing.assert_close(ours.mean[0], theirs.running_mean)
    assert torch.isfinite(ours.train()(torch.randn(1, 4))).all()  # torch refuses a batch of one


def test_du_keeps_the_scale_and_the_floor() -> None:
    latent = DUGaussian(16, dim=8, gamma=0.5, drop=0.5, alpha=1.0)
    with torch.no_grad():
        latent.scale.copy_(torch.arange(1.0, 9.0))
    q = latent.posterior(torch.randn(512, 16)).detach()
    assert float(q.mean.var(0, correction=0).mean()) == pytest.approx(0.25, rel=0.02)
    floor = 1 / (2 * math.pi * math.e)
    assert float(q.logvar.exp().min()) == pytest.approx(floor, rel=1e-4)  # dropped variances
    assert float((q.logvar.exp() < 1.001 * floor).float().mean()) == pytest.approx(0.5, abs=0.05)
