"""The VampPrior: the mixture of the posteriors of learned inputs, and nothing saved twice.

Shapes: S samples, B examples, K pseudo-inputs, D latent dims.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from tiny_text import ENCODERS, RECURRENT, SIZES, text_batch, tiny_config, tiny_vae

from seqvae.build import build_vae
from seqvae.errors import UserError
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.latents import LATENTS
from seqvae.objectives import ELBO

VAMP = {"name": "vamp", "components": 3}
BOTH: dict[str, Any] = {"name": "gru", **RECURRENT, "bidirectional": True, "pooling": "max"}
READERS = {**ENCODERS, "bidirectional": BOTH}
REAL = [name for name in LATENTS if name not in ("none", "categorical")]


def random(n: int) -> KeyedNoise:
    return KeyedNoise(0, 0, torch.arange(n))


def latent_of(name: str) -> dict[str, Any]:
    return {"name": name, "dim": 2, "prior": VAMP}


@pytest.mark.parametrize("encoder", READERS)
def test_it_is_the_mixture_of_the_posteriors_of_its_inputs(encoder: str) -> None:
    vae = tiny_vae(READERS[encoder], latent_of("gaussian"))
    with torch.no_grad():
        p = vae.prior()
        q = vae.latent.posterior(vae.encoder.read(vae.prior.pseudo))
        z = torch.randn(5, 4, 2)
        each = torch.stack([q.select(slice(k, k + 1)).log_prob(z) for k in range(3)])  # (K, S, B)
        torch.testing.assert_close(p.log_prob(z), torch.logsumexp(each, 0) - math.log(3))


@pytest.mark.parametrize("encoder", READERS)
def test_soft_words_that_are_words_are_read_as_words(encoder: str) -> None:
    vae, batch = tiny_vae(READERS[encoder]), text_batch([[4, 5, 6], [6, 6, 1], [5, 4, 4]])
    with torch.no_grad():
        torch.testing.assert_close(vae.encoder.read(vae.encoder.embedding(batch.source)), vae.encoder(batch))


def test_density_integrates_to_one_and_samples_follow_it() -> None:
    vae, n = tiny_vae(latent=latent_of("gaussian")), 20_000
    line = torch.linspace(-30, 30, 601, dtype=torch.float64)
    cells = torch.cartesian_prod(line, line)
    with torch.no_grad():
        p = vae.prior()
        weights = torch.exp(p.log_prob(cells)) * 0.1**2
        z = p.sample(n, random(n)).double()
    assert float(weights.sum()) == pytest.approx(1.0, abs=1e-4)
    error = z.std(0) / math.sqrt(n)
    assert bool(((z.mean(0) - weights @ cells).abs() < 4 * error + 1e-3).all())
    assert torch.equal(p.sample(5, random(5)), p.sample(9, random(9))[:5])


def test_the_encoder_is_neither_saved_twice_nor_left_behind() -> None:
    vae = tiny_vae(latent=latent_of("gaussian"))
    assert [name for name in vae.state_dict() if name.startswith("prior.")] == ["prior.pseudo"]
    assert [name for name, _ in vae.prior.named_parameters()] == ["pseudo"]
    z = torch.randn(5, 4, 2)
    with torch.no_grad():
        before = vae.prior().log_prob(z)
        for parameter in vae.encoder.parameters():
            parameter.mul_(0.5)
        assert not torch.allclose(vae.prior().log_prob(z), before)  # it reads the encoder as it is now
    assert copy.deepcopy(vae).prior._reads[0] is not vae.encoder


@pytest.mark.parametrize("name", REAL)
def test_any_latent_with_it_trains_the_inputs_and_the_encoder(name: str) -> None:
    vae = tiny_vae(latent=latent_of(name)).train()
    before = {k: v.clone() for k, v in vae.latent.named_buffers()}
    draws = vae.prior().sample(4, random(4))
    assert draws.shape == (4, 2)
    assert vae.latent.training
    for key, buffer in vae.latent.named_buffers():
        assert torch.equal(buffer, before[key]), key  # running statistics are those of real sentences
    loss = ELBO([])(vae, text_batch(), 0)
    assert math.isfinite(float(loss.total.detach()))
    if vae.latent.has_density:
        loss.rate.backward()
        assert bool(vae.prior.pseudo.grad.any())


def test_kl_to_the_mixture_of_the_very_sentences_is_at_most_ln_k() -> None:
    """With the examples themselves as pseudo-inputs p(z) is q(z): the rate is the MI, at most ln K."""
    vae = tiny_vae(latent=latent_of("gaussian"), std=1.0)
    batch = text_batch([[4, 5, 6], [6, 6, 1], [5, 4, 4]])
    with torch.no_grad():
        vae.prior.pseudo = torch.nn.Parameter(vae.encoder.embedding(batch.source))
        kl = vae(batch, samples=500).kl
    assert bool((kl <= math.log(3) + 1e-5).all())
    assert float(kl.mean()) > -0.05


def test_no_encoder_no_vamp() -> None:
    with pytest.raises(UserError, match="reads no learned inputs"):
        build_vae(tiny_config(latent={"name": "none", "prior": VAMP}), SIZES)
