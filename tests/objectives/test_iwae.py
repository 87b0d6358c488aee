"""IWAE on a linear Gaussian model where every example has parameters of its own, so that one backward pass
gives as many independent gradients as there are examples.

x = slope z + s e, z ~ N(prior, 1), q = N(mean, exp(logvar)). Shapes: K samples, B examples, D latent dims.
"""  # noqa: D205

# ruff: noqa: D102
from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_text import SIZES, WORDS, text_batch, tiny_config, tiny_vae
from torch import Tensor, nn

from seqvae.build import build_objective, build_vae
from seqvae.errors import UserError
from seqvae.interfaces import Decoder, Encoder, Latent, Prior, Remedy, RunContext, kl_divergence
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.latents.gaussian import DiagonalNormal
from seqvae.models.vae import VAE
from seqvae.numerics import log_mean_exp
from seqvae.objectives import ELBO, IWAE
from seqvae.remedies import REMEDIES

NOISE, SLOPE, X = 0.5, 1.2, (0.7, -0.4)
FACTS = RunContext(total_steps=100, examples=50, batch_size=5, latent_dim=2, vocab_size=WORDS)


class Empty(Encoder):
    """Reads nothing."""

    out_dim = 0

    def forward(self, batch: Any) -> Tensor:
        return torch.zeros(len(batch.x), 0)


class Free(Latent):
    """A posterior an example, beside the exact one."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.dim = len(X)
        self.mean = nn.Parameter(torch.full((size, self.dim), 0.2))
        self.logvar = nn.Parameter(torch.full((size, self.dim), -0.8))

    def posterior(self, h: Tensor, c: Tensor | None = None) -> DiagonalNormal:
        return DiagonalNormal(1 * self.mean, 1 * self.logvar)

    def kl(self, q: DiagonalNormal, p: Any, z: Tensor) -> Tensor:
        return kl_divergence(q, p, z)


class Shifted(Prior):
    """N(centre, 1), which knows no closed form of the KL."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.centre = nn.Parameter(torch.zeros(size, len(X)))

    def forward(self, c: Tensor | None = None) -> Any:
        return DiagonalNormal(self.centre, torch.zeros_like(self.centre))


@dataclass
class Near:
    """N(x; mean, s^2)."""

    mean: Tensor
    support: str = "real"

    def log_prob(self, batch: Any) -> Tensor:
        squares = (batch.x - self.mean) ** 2 / NOISE**2
        return -0.5 * (math.log(2 * math.pi * NOISE**2) + squares).sum(-1)


class Sloped(Decoder):
    """Slope x z."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.full((size, len(X)), SLOPE))

    def forward(self, z: Tensor, c: Tensor | None = None) -> Near:
        return Near(self.slope * z)


def model(size: int) -> VAE:
    return VAE(Empty(), Free(size), Shifted(size), Sloped(size))


def batch(size: int, step: int = 0) -> Any:
    return SimpleNamespace(
        x=torch.tensor(X).expand(size, -1), random=KeyedNoise(0, step, torch.arange(size)), condition=None
    )


def gradients(objective: Any, size: int, step: int = 0) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss, and the gradients of B independent draws (B, D) by parameter."""
    vae = model(size)
    total = objective(vae, batch(size, step), 0).total
    total.backward()
    return total.detach(), {name: size * p.grad for name, p in vae.named_parameters() if p.grad is not None}


ENCODER, REST = ("latent.mean", "latent.logvar"), ("prior.centre", "decoder.slope")


def test_one_sample_is_the_elbo() -> None:
    elbo, expected = gradients(ELBO([]), 50)
    total, found = gradients(IWAE([], samples=1), 50)
    torch.testing.assert_close(total, elbo)
    assert found.keys() == expected.keys() == {*ENCODER, *REST}
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-4, rtol=1e-5, msg=name)


def test_the_bound_tightens_with_the_samples() -> None:
    """Down to -log N(x; 0, slope^2 + s^2), by more than four standard errors a step."""
    size = 20_000
    bounds = []
    for samples in (1, 4, 16, 64):
        vae = model(size)
        with torch.no_grad():
            out = vae(batch(size), samples)
            loss = IWAE([], samples=samples)(vae, batch(size), 0).total
            each = -log_mean_exp(out.log_weights)
        torch.testing.assert_close(loss, each.mean())
        bounds.append((float(loss), 4 * float(each.std()) / math.sqrt(size)))
    variance = SLOPE**2 + NOISE**2
    exact = sum(0.5 * (math.log(2 * math.pi * variance) + x**2 / variance) for x in X)
    for (loose, e), (tight, f) in pairwise(bounds):
        assert loose - tight > math.hypot(e, f)
    assert bounds[-1][0] == pytest.approx(exact, abs=0.05)
    assert bounds[-1][0] > exact - bounds[-1][1]


@pytest.mark.parametrize("samples", [1, 5, 20])
def test_dreg_has_the_same_value_and_the_same_gradient_of_decoder_and_prior(samples: int) -> None:
    total, standard = gradients(IWAE([], samples), 200)
    same, dreg = gradients(IWAE([], samples, "dreg"), 200)
    assert torch.equal(total, same)
    for name in REST:
        torch.testing.assert_close(dreg[name], standard[name], atol=1e-4, rtol=1e-4, msg=name)


@pytest.mark.parametrize("samples", [1, 5, 20])
def test_dreg_is_unbiased_and_less_noisy(samples: int) -> None:
    """The mean difference of 100,000 paired draws is within four standard errors of 0."""
    size = 100_000
    _, standard = gradients(IWAE([], samples), size)
    _, dreg = gradients(IWAE([], samples, "dreg"), size)
    for name in ENCODER:
        difference = (dreg[name] - standard[name]).double()
        error = difference.std(0) / math.sqrt(size)
        assert bool((difference.mean(0).abs() < 4 * error).all()), name
        assert bool((dreg[name].var(0) < standard[name].var(0)).all()), name
    signal = [
        float((g["latent.mean"].mean(0).abs() / g["latent.mean"].std(0)).min()) for g in (standard, dreg)
    ]
    assert signal[1] > signal[0]


class Pull(Remedy):
    """A term that reads codes, for tests."""

    def auxiliary_losses(self, vae: nn.Module, out: Any, batch: Any) -> Mapping[str, Tensor]:
        """3 x the sum of the codes, mean over K and B."""
        return {"pull": 3 * out.z.sum(-1).mean()}


@pytest.mark.parametrize("estimator", ["standard", "dreg"])
def test_further_terms_have_their_own_gradient(estimator: Any) -> None:
    alone, plain = gradients(IWAE([], 5, estimator), 50)
    total, found = gradients(IWAE([Pull()], 5, estimator), 50)
    assert not torch.equal(total, alone)
    torch.testing.assert_close(found["latent.mean"] - plain["latent.mean"], torch.full((50, 2), 3.0))


@pytest.mark.parametrize("estimator", ["standard", "dreg"])
@torch.no_grad()
def test_the_log_has_the_plain_elbo(estimator: Any) -> None:
    vae, objective = tiny_vae(), IWAE([], 7, estimator)
    loss, out = objective(vae, text_batch(), 0), vae(text_batch(), 7)
    assert torch.equal(loss.rate, out.rate.mean())
    assert torch.equal(loss.distortion, out.distortion.mean())
    torch.testing.assert_close(loss.kl_per_dim.sum(), loss.rate)
    assert float(loss.total) < float(loss.rate + loss.distortion)
    assert loss.beta == 1


@pytest.mark.parametrize("estimator", ["standard", "dreg"])
@pytest.mark.parametrize("latent", ["gaussian", "bn_gaussian", "exact_rate", "vmf", "flow"])
def test_a_text_model_learns_by_it(latent: str, estimator: str) -> None:
    torch.manual_seed(0)
    spec = {"name": latent, "dim": 2}
    config = tiny_config(latent=spec, objective={"name": "iwae", "samples": 4, "estimator": estimator})
    vae = build_vae(config, SIZES).train()
    objective = build_objective(config, vae, FACTS)
    optimizer, losses = torch.optim.Adam(vae.parameters(), lr=0.02), []
    for step in range(60):
        optimizer.zero_grad()
        loss = objective(vae, text_batch(step=step), step).total
        loss.backward()
        assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in vae.parameters())
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])


ON_THE_KL = {name for name, kind in REMEDIES.items() if kind.transform_kl is not Remedy.transform_kl}
ON_BETA = {name for name, kind in REMEDIES.items() if kind.beta is not Remedy.beta}


OF_THE_TINY_MODEL = [n for n, kind in REMEDIES.items() if kind.batch_type != "image" and n != "align"]


@pytest.mark.parametrize("name", OF_THE_TINY_MODEL)  # align needs an encoder of given vectors
def test_remedies_without_a_meaning_are_refused(name: str) -> None:
    config = tiny_config(objective={"name": "iwae", "samples": 3}, remedies=[{"name": name}])
    vae = tiny_vae()
    if name in ON_THE_KL | ON_BETA:
        with pytest.raises(UserError, match=r"objective 'iwae': it has no KL for \w+ to act on: leave that"):
            build_objective(config, vae, FACTS)
        return
    loss = build_objective(config, vae, FACTS)(vae, text_batch(), 0)
    assert bool(loss.total.isfinite())
    assert {"free_bits", "capacity", "geco", "constant_beta"} < ON_THE_KL | ON_BETA


@pytest.mark.parametrize("latent", ["deterministic", "categorical"])
def test_codes_without_a_density_are_refused(latent: str) -> None:
    config = tiny_config(latent={"name": latent}, objective={"name": "iwae"})
    with pytest.raises(UserError, match=r"its gradient, \w+ has none: take elbo, or another latent"):
        build_objective(config, tiny_vae(latent={"name": latent}), FACTS)
