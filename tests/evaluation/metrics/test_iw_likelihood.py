"""Importance-weighted likelihoods of a linear Gaussian model, whose p(x) is known."""

from __future__ import annotations

import math

import pytest
import torch
from linear_toy import batches, exact_log_px, linear_vae, vectors

from seqvae.evaluation.metrics.likelihood import effective_samples, grouped_nll, iw_nll, score_batch


def weights(samples: int = 20, chunk: int = 20, size: int = 16, **posterior: float) -> torch.Tensor:
    vae = linear_vae(**posterior)
    parts = [score_batch(vae, batch, samples, chunk).log_weights for batch in batches(vectors(), size)]
    return torch.cat(parts, 1).double()  # type: ignore[arg-type]


@pytest.mark.parametrize("samples", [1, 2, 7])
def test_exact_posterior_gives_log_px_at_every_k(samples: int) -> None:
    log_w = weights(samples)
    torch.testing.assert_close(iw_nll(log_w), -exact_log_px(vectors()), atol=1e-4, rtol=0)
    torch.testing.assert_close(log_w, log_w[:1].expand_as(log_w), atol=1e-4, rtol=0)  # no variance
    assert float(effective_samples(log_w).mean()) == pytest.approx(samples, abs=1e-5)


def test_inexact_posterior_converges_to_log_px() -> None:
    log_w = weights(4000, scale=1.5)
    bounds = [float(grouped_nll(log_w, groups).mean()) for groups in (4000, 400, 40, 4, 1)]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[0] - bounds[-1] > 0.3
    assert bounds[-1] == pytest.approx(-float(exact_log_px(vectors()).mean()), abs=0.01)


def test_uneven_shares_fall_too() -> None:
    log_w = torch.randn(7, 200, generator=torch.Generator().manual_seed(0)).double() * 3
    one, half, all_ = grouped_nll(log_w, 7), grouped_nll(log_w, 2), grouped_nll(log_w, 1)
    torch.testing.assert_close(one, -log_w.mean(0))
    torch.testing.assert_close(all_, iw_nll(log_w))
    assert bool((one >= half).all())
    assert bool((half >= all_).all())


def test_effective_samples_between_one_and_k() -> None:
    assert effective_samples(torch.full((9, 3), -700.0)).tolist() == pytest.approx([9.0] * 3, rel=1e-4)
    lonely = torch.full((9, 1), -1000.0)
    lonely[4] = 0
    assert effective_samples(lonely).item() == pytest.approx(1)
    assert effective_samples(torch.tensor([[0.0], [math.log(3)]])).item() == pytest.approx(16 / 10)


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_chunks_change_nothing(chunk: int) -> None:
    assert torch.equal(weights(130, chunk=chunk, scale=1.5), weights(130, chunk=130, scale=1.5))


def test_batches_change_nothing() -> None:
    torch.testing.assert_close(weights(size=7, scale=1.5), weights(size=60, scale=1.5), rtol=1e-6, atol=1e-6)


def test_samples_do_not_share_noise() -> None:
    log_w = weights(250, scale=1.5)  # more than are drawn at once
    assert len(log_w[:, 0].unique()) == 250


def test_encoder_runs_once_and_decoder_in_chunks() -> None:
    vae = linear_vae()
    scores = score_batch(vae, batches(vectors())[0], samples=20, chunk=6)
    assert vae.encoder.calls == 1
    assert vae.decoder.most == 6
    assert scores.log_px_z.shape == (20, 16)
    assert scores.z.shape == scores.kl.shape == (16, 2)


def test_kl_is_the_mean_over_samples() -> None:
    batch = batches(vectors())[0]
    few, many = score_batch(linear_vae(), batch, 1, 1), score_batch(linear_vae(), batch, 20, 6)
    torch.testing.assert_close(few.kl, many.kl)
