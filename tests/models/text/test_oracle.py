"""A sequence model so small that every sentence can be counted: sums to 1, log p(x) by quadrature.

Shapes: S nodes or samples, B sentences, T tokens, D = 1 latent dim.
"""
# ruff: noqa: D102

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from tiny_text import DECODERS, SPECIAL, WORDS, Spec, all_sentences, randomized, text_batch, tiny_vae
from torch import Tensor

from seqvae.data.text.batch import TextBatch
from seqvae.evaluation.evaluate import evaluate
from seqvae.evaluation.metrics.likelihood import score_batch
from seqvae.evaluation.metrics.text import TextMetrics
from seqvae.interfaces import Latent, Prior
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.latents import NoEncoder
from seqvae.models.vae import VAE
from seqvae.numerics import log_mean_exp

LENGTH = 4
ENDED = [ids for words in range(LENGTH) for ids in all_sentences(words)]  # </s> within 4 tokens
CUT = list(all_sentences(LENGTH))  # not ended within 4 tokens
NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(100)  # for integrals against N(0, 1)
LOG_MASS = torch.from_numpy(np.log(_WEIGHTS / math.sqrt(2 * math.pi)))  # (S,)
Z = torch.from_numpy(NODES).float()[:, None, None]  # (S, 1, 1)
FEW = [[4, 5], [6, 1, 6], [], [5, 5, 4, 6]]
MODELS = {
    **DECODERS,
    **{f"{name}-2-layers": {**DECODERS[f"{name}-state"], "layers": 2} for name in ("gru", "lstm")},
}


def model(spec: Spec, latent: str = "gaussian") -> VAE:
    return tiny_vae(latent={"name": latent} | ({"dim": 1} if latent != "none" else {}), decoder=spec)


def total_probability(vae: VAE, z: Tensor) -> Tensor:
    """(S,): P(ended within 4 tokens | z) + P(not ended within 4 tokens | z), z (S, 1, D)."""
    ended, cut = text_batch(ENDED), text_batch(CUT)
    whole = vae.likelihood(z.expand(-1, ended.size, -1)).log_prob(ended)  # (S, B)
    prefixes = vae.likelihood(z.expand(-1, cut.size, -1)).token_log_probs(cut)[..., :LENGTH].sum(-1)
    return whole.double().exp().sum(-1) + prefixes.double().exp().sum(-1)


def exact_log_px(vae: VAE, batch: TextBatch) -> Tensor:
    """(B,): log sum_i w_i p(x | z_i) over the nodes."""
    log_px_z = vae.likelihood(Z.expand(-1, batch.size, -1)).log_prob(batch).double()  # (S, B)
    return (log_px_z + LOG_MASS[:, None]).logsumexp(0)


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_all_sentences_sum_to_one(name: str) -> None:
    vae = model(MODELS[name])
    totals = total_probability(vae, Z[20:80:10])
    torch.testing.assert_close(totals, torch.ones_like(totals), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["gru-state", "lstm-state", "transformer-slots", "gru-tied-2"])
@torch.no_grad()
def test_language_models_sum_to_one(name: str) -> None:
    vae = model(DECODERS[name], "none")
    assert float(total_probability(vae, torch.zeros(1, 1, 0))) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_marginals_sum_to_one(name: str) -> None:
    vae = model(MODELS[name])
    ended, cut = text_batch(ENDED), text_batch(CUT)
    prefixes = vae.likelihood(Z.expand(-1, cut.size, -1)).token_log_probs(cut)[..., :LENGTH].sum(-1)
    cut_mass = (prefixes.double() + LOG_MASS[:, None]).exp().sum()
    assert float(exact_log_px(vae, ended).exp().sum() + cut_mass) == pytest.approx(1, abs=1e-5)


@torch.no_grad()
def test_chances_depend_on_z_and_history() -> None:
    for spec in MODELS.values():
        vae, batch = model(spec), text_batch(FEW)
        log_px_z = vae.likelihood(Z[[30, 70]].expand(-1, batch.size, -1)).token_log_probs(batch)
        assert float((log_px_z[0] - log_px_z[1]).abs().max()) > 1e-3
        row = text_batch([[4, 4, 4, 4]])
        words = vae.likelihood(Z[[50]]).token_log_probs(row)[0, 0, :4]
        assert float(words.max() - words.min()) > 1e-3


@torch.no_grad()
def test_quadrature_has_converged() -> None:
    vae, batch = model(DECODERS["gru-state+steps+softmax"]), text_batch(FEW)
    grid = torch.linspace(-9, 9, 2001)[:, None, None]
    mass = torch.distributions.Normal(0.0, 1.0).log_prob(grid[:, 0]).double() + math.log(18 / 2000)
    fine = (vae.likelihood(grid.expand(-1, batch.size, -1)).log_prob(batch).double() + mass).logsumexp(0)
    torch.testing.assert_close(exact_log_px(vae, batch), fine, atol=1e-5, rtol=0)


def broadened(vae: VAE) -> VAE:
    """The encoder's means, and posteriors wider than the prior: the importance weights are bounded."""
    with torch.no_grad():
        vae.latent.logvar.weight.zero_()
        vae.latent.logvar.bias.fill_(math.log(2))
    return vae


@pytest.mark.parametrize(
    "name", ["gru-state+steps+softmax", "lstm-state", "transformer-slots", "transformer-norms"]
)
@torch.no_grad()
def test_importance_weights_find_the_exact_likelihood(name: str) -> None:
    vae, batch, samples = broadened(model(DECODERS[name])), text_batch(FEW, seed=3), 4000
    log_weights = score_batch(vae, batch, samples, 1000).log_weights.double()
    estimate = log_mean_exp(log_weights)  # (B,)
    shares = torch.exp(log_weights - estimate)
    error = shares.std(0) / math.sqrt(samples)  # of log mean w, by the delta method
    exact = exact_log_px(vae, batch)
    assert bool(((estimate - exact).abs() < 4 * error + 1e-5).all())
    assert float(error.max()) < 0.05  # the check has teeth
    assert -evaluate(vae, [batch], samples=samples)["iw_nll"] == pytest.approx(
        float(exact.mean()), abs=float(4 * error.max())
    )


@torch.no_grad()
def test_bounds_are_ordered_and_the_gap_is_a_divergence() -> None:
    """-ELBO >= the bound of two samples >= -log p(x); -ELBO exceeds it by KL(q(z|x) || p(z|x)) exactly."""
    vae, batch = model(DECODERS["gru-state+steps+softmax"]), text_batch(FEW)
    q, exact = vae.posterior(batch), exact_log_px(vae, batch)
    z = (q.mean + torch.exp(0.5 * q.logvar) * Z).float()  # (S, B, 1): nodes of q itself
    log_joint = vae.likelihood(z).log_prob(batch).double() + vae.prior().log_prob(z)
    log_weights = log_joint - q.log_prob(z)  # (S, B)
    mass = LOG_MASS.exp()[:, None]
    elbo = (mass * log_weights).sum(0)
    pairs = torch.logaddexp(log_weights[:, None], log_weights[None]) - math.log(2)
    two = (mass[:, None] * mass[None] * pairs).sum((0, 1))
    divergence = (mass * (q.log_prob(z) - (log_joint - exact))).sum(0)
    assert bool((-elbo > -two).all())
    assert bool((-two > -exact).all())
    torch.testing.assert_close(exact - elbo, divergence, atol=1e-4, rtol=0)
    rate = vae.latent.kl(q, vae.prior(), z)[0, :, 0].double()
    torch.testing.assert_close(
        rate, (mass * (q.log_prob(z) - vae.prior().log_prob(z))).sum(0), atol=1e-4, rtol=0
    )


@dataclass(frozen=True)
class OnNodes:
    """A distribution over the nodes: log masses (S,), or (B, S)."""

    log_mass: Tensor

    @property
    def mean(self) -> Tensor:
        return (self.log_mass.exp() @ Z[:, 0].double()).float()

    @property
    def point_estimate(self) -> Tensor:
        return self.mean

    def rsample(self, n: int, random: KeyedNoise) -> Tensor:
        ladder = self.log_mass.exp().cumsum(-1)
        chance = random.uniform("posterior", n).double() * ladder[:, -1:]  # (B, n)
        return Z[torch.searchsorted(ladder, chance), 0].transpose(0, 1)

    def log_prob(self, z: Tensor) -> Tensor:
        nearest = (z - Z[:, 0, 0]).abs().argmin(-1)  # (S, B)
        if self.log_mass.ndim == 1:
            return self.log_mass[nearest]
        return self.log_mass[torch.arange(len(self.log_mass)), nearest]


class NodePrior(Prior):
    """p(z) over the nodes."""

    def forward(self, c: Tensor | None = None) -> Any:
        return OnNodes(LOG_MASS)


class ExactPosterior(Latent):
    """p(z|x) over the nodes, for the sentences given."""

    def __init__(self, log_posterior: Tensor) -> None:
        super().__init__()
        self.dim, self.log_posterior = 1, log_posterior

    def posterior(self, h: Tensor, c: Tensor | None = None) -> Any:
        return OnNodes(self.log_posterior)

    def kl(self, q: Any, p: Any, z: Tensor) -> Tensor:
        return (q.log_mass.exp() * (q.log_mass - p.log_mass)).sum(-1)[None, :, None]


@pytest.mark.parametrize("samples", [1, 7, 150])
@torch.no_grad()
def test_exact_posterior_gives_log_px_at_every_k(samples: int) -> None:
    vae, batch = model(DECODERS["transformer-slots+norms+embeddings+softmax"]), text_batch(FEW)
    exact = exact_log_px(vae, batch)
    log_joint = vae.likelihood(Z.expand(-1, batch.size, -1)).log_prob(batch).double() + LOG_MASS[:, None]
    oracle = VAE(NoEncoder(), ExactPosterior((log_joint - exact).T.contiguous()), NodePrior(), vae.decoder)
    log_weights = score_batch(oracle, batch, samples, 64).log_weights
    torch.testing.assert_close(log_weights.double(), exact.expand(samples, -1), atol=1e-4, rtol=0)
    if samples > 1:
        assert len(score_batch(oracle, batch, samples, 64).log_px_z[:, 0].unique()) > 1  # the codes differ
    report = evaluate(oracle, [batch], samples=samples)
    assert report["iw_nll"] == pytest.approx(-float(exact.mean()), abs=1e-4)


@torch.no_grad()
def test_perplexity_of_a_uniform_model_is_its_choices() -> None:
    vae = randomized(model(DECODERS["gru-state"], "none"), std=0.0)
    report = evaluate(vae, [text_batch(FEW)], measures=TextMetrics())
    assert report["ppl"] == pytest.approx(WORDS - len({SPECIAL.pad, SPECIAL.bos}))
