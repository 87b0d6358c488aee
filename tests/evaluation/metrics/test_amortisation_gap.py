"""Refined posteriors of a linear VAE, whose best -ELBO is -log p(x), and that nothing of the model moves.

Shapes: B examples, D latent dims.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tiny_text import text_batch, tiny_vae

from seqvae.errors import UserError
from seqvae.evaluation.evaluate import evaluate
from seqvae.evaluation.metrics.amortisation_gap import SVIConfig, amortisation_gap, svi_posterior
from seqvae.evaluation.selftest.linear_vae import LinearDecoder, LinearEncoder, VectorBatch, linear_data
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.latents import Gaussian
from seqvae.models.priors import StandardPrior
from seqvae.models.vae import VAE

WEIGHTS = (3.0, 1.0, 0.2)  # of the decoder, on its diagonal; its variance is 1


def linear(shift: float = 0.0, width: float = 1.0, weights: tuple[float, ...] = WEIGHTS) -> VAE:
    """With the exact posterior, or one `shift` of its deviations beside it and `width` times as wide."""
    w, dim = torch.tensor(weights), len(weights)
    variance = 1 / (1 + w**2)
    vae = VAE(LinearEncoder(dim), Gaussian(dim, dim), StandardPrior(dim), LinearDecoder(dim, dim))
    with torch.no_grad():
        vae.decoder.map.weight.copy_(torch.diag(w))
        vae.latent.mean.weight.copy_(torch.diag(variance * w))
        vae.latent.mean.bias.copy_(shift * variance.sqrt())
        vae.latent.logvar.weight.zero_()
        vae.latent.logvar.bias.copy_(torch.log(variance * width**2))
    return vae


def data(n: int = 100, weights: tuple[float, ...] = WEIGHTS) -> tuple[VectorBatch, float]:
    """Vectors whose covariance is exactly the model's, and their mean -log p(x) in nats."""
    covariance = [w**2 + 1 for w in weights]
    known = 0.5 * (sum(math.log(2 * math.pi * v) for v in covariance) + len(covariance))
    return linear_data(covariance, n), known


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize(("shift", "width"), [(1.0, 1.0), (2.0, 3.0), (0.5, 0.4)])
def test_a_wrong_encoder_is_refined_to_the_exact_posterior(
    shift: float, width: float, optimizer: Any
) -> None:
    batch, known = data()
    how = SVIConfig(steps=100, lr=0.2, optimizer=optimizer, samples=50)
    report = amortisation_gap(linear(shift, width), [batch], how)
    assert report["neg_elbo"] > 1.1 * known
    assert report["neg_elbo_refined"] == pytest.approx(known, rel=0.01)
    gap = report["neg_elbo"] - report["neg_elbo_refined"]
    assert report["amortisation_gap"] == pytest.approx(gap, abs=1e-4)
    rate = sum(0.5 * math.log(1 + w**2) for w in WEIGHTS)  # E KL of the exact posterior: the MI of a channel
    assert report["rate_refined"] == pytest.approx(rate, rel=0.02)


def test_an_exact_encoder_has_no_gap() -> None:
    batch, known = data()
    report = amortisation_gap(linear(), [batch], SVIConfig(samples=50))
    assert report["neg_elbo"] == pytest.approx(known, rel=0.01)
    assert abs(report["amortisation_gap"]) < 1e-3
    assert report["rate_refined"] == pytest.approx(report["rate"], abs=1e-3)


def test_the_scale_of_a_dim_does_not_matter() -> None:
    """A posterior a hundred times as narrow is refined as fast, in the same steps."""
    found = []
    for weights in ((1.0, 2.0), (1.0, 200.0)):
        batch, known = data(weights=weights)
        found.append(amortisation_gap(linear(1.0, 1.5, weights), [batch])["neg_elbo_refined"] - known)
    assert found[0] == pytest.approx(found[1], abs=0.2)
    assert found[0] < 0.2


def test_each_example_is_refined_independently() -> None:
    """Neither the batch nor the order changes an example's steps."""
    vae, (batch, _) = linear(1.0, 2.0), data(12)
    rows = torch.tensor([7, 2, 9])
    some = VectorBatch(batch.x[rows], rows, KeyedNoise(0, 0, rows))
    with torch.no_grad():
        whole, part = (svi_posterior(vae, b, vae.posterior(b), SVIConfig(steps=7)) for b in (batch, some))
    torch.testing.assert_close(part.mean, whole.mean[rows])
    torch.testing.assert_close(part.logvar, whole.logvar[rows])
    assert not torch.allclose(part.mean, vae.posterior(some).mean, atol=0.1)


def test_text_is_refined_too_and_the_model_is_unchanged() -> None:
    vae, batch = tiny_vae(latent={"name": "gaussian", "dim": 2}), text_batch()
    vae.encoder.requires_grad_(False)
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    report = amortisation_gap(vae.train(), [batch], SVIConfig(steps=100, samples=100, chunk=30))
    assert vae.training
    assert report["amortisation_gap"] > 4 * report["amortisation_gap_se"] > 0
    for name, value in vae.state_dict().items():
        assert torch.equal(value, before[name]), name
    for name, parameter in vae.named_parameters():
        assert parameter.grad is None
        assert parameter.requires_grad != name.startswith("encoder"), name
    evaluated = evaluate(vae, [batch], samples=100)
    assert report["neg_elbo"] == pytest.approx(evaluated["neg_elbo"], rel=1e-5)
    assert report["rate"] == pytest.approx(evaluated["rate"], rel=1e-5)


@pytest.mark.parametrize("name", ["bn_gaussian", "du_gaussian", "exact_rate", "delta"])
@pytest.mark.parametrize("prior", ["standard", "mixture"])
def test_every_diagonal_latent_under_any_prior(name: str, prior: str) -> None:
    vae = tiny_vae(latent={"name": name, "dim": 2, "prior": {"name": prior}})
    report = amortisation_gap(vae, [text_batch()], SVIConfig(steps=30, samples=100))
    assert report["amortisation_gap"] > 0  # the constraints of the latent's own q are given up


@pytest.mark.parametrize("name", ["vmf", "flow", "categorical", "deterministic", "none"])
def test_what_is_no_diagonal_normal_is_refused(name: str) -> None:
    vae = tiny_vae(latent={"name": name})
    with pytest.raises(UserError, match=r"refinement changes a mean and a variance per dim, .+ has none"):
        amortisation_gap(vae, [text_batch()])


def test_no_example_is_refused() -> None:
    with pytest.raises(UserError, match="nothing to refine: the data set holds no example"):
        amortisation_gap(linear(), [])
