"""Codes without noise, and no code at all."""

from __future__ import annotations

import pytest
import torch
from tiny_text import DECODERS, ENCODERS, text_batch, tiny_vae

from seqvae.evaluation.evaluate import evaluate
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.latents.deterministic import Deterministic, NoEncoder, NoLatent, Point

MEAN = torch.tensor([[1.0, 2.0], [3.0, -4.0]])


def test_point_is_itself() -> None:
    q = Point(MEAN.clone().requires_grad_())
    z = q.rsample(3, KeyedNoise(0, 0, torch.arange(2)))
    assert torch.equal(z, MEAN.expand(3, 2, 2))
    assert q.log_prob(z).tolist() == [[0.0, 0.0]] * 3
    assert torch.equal(q.select(torch.tensor([1])).mean, MEAN[1:])
    assert not q.detach().mean.requires_grad


@torch.no_grad()
def test_autoencoder_has_no_density_and_no_rate() -> None:
    assert Deterministic.has_density is False
    vae, batch = tiny_vae(latent={"name": "deterministic", "dim": 2}), text_batch()
    out = vae(batch)
    assert torch.equal(out.z[0], out.q.mean)
    assert out.rate.tolist() == [0.0] * batch.size
    report = evaluate(vae, [batch])
    assert [report[name] for name in ("neg_elbo", "rate", "iw_nll", "ppl", "mi")] == [None] * 5
    assert report["distortion"] == pytest.approx(float(out.distortion.mean()), rel=1e-5)


def test_autoencoder_learns_through_its_code() -> None:
    vae = tiny_vae(latent={"name": "deterministic", "dim": 2})
    vae(text_batch()).distortion.mean().backward()
    for name, parameter in vae.encoder.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.any()), name


@pytest.mark.parametrize("decoder", DECODERS)
def test_no_latent_means_no_encoder_and_no_layers_for_z(decoder: str) -> None:
    spec = {"name": "none"}
    vae = tiny_vae(ENCODERS["transformer"], spec, DECODERS[decoder])
    assert isinstance(vae.latent, NoLatent)
    assert isinstance(vae.encoder, NoEncoder)
    assert vae.latent.dim == 0
    names = [name for name, _ in vae.named_parameters()]
    assert all(name.startswith("decoder.") for name in names)
    assert not any(word in name for name in names for word in ("z_to", "decoder.first", "decoder.skip"))
    assert all(parameter.numel() for parameter in vae.parameters())


def test_language_model_is_scored_exactly() -> None:
    vae, batch = tiny_vae(latent={"name": "none"}), text_batch()
    report = evaluate(vae, [batch], samples=9)
    with torch.no_grad():
        exact = -float(vae(batch).log_px_z.mean())
    assert report["iw_nll"] == report["neg_elbo"] == report["distortion"] == pytest.approx(exact, rel=1e-6)
    assert (report["rate"], report["iw_samples"], report["active_units"]) == (0, 1, 0)
