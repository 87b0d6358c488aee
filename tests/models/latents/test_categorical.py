"""Categorical codes: Gumbel draws against probabilities, closed forms against sums over all codes.

Shapes: S samples, B examples, G groups, C classes, D = G C.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import pytest
import torch
from tiny_text import SIZES, text_batch, tiny_config, tiny_vae
from torch import Tensor
from torch.nn.functional import one_hot

from seqvae.build import build_vae, check_config
from seqvae.errors import UserError
from seqvae.evaluation.evaluate import evaluate
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.latents.categorical import Categorical, Concrete, kl_to_uniform
from seqvae.models.priors import StandardNormal
from seqvae.models.priors.categorical import UniformCategorical
from seqvae.models.sampling import choose_codes, sample_prior

LOG_P = torch.log_softmax(
    torch.tensor([[[0.0, 1.0, -2.0], [3.0, 0.0, 0.0]], [[0.0] * 3, [-1.0, 0.5, 2.0]]]), -1
)
SPEC: dict[str, Any] = {"name": "categorical", "groups": 2, "classes": 3}


def random(n: int = 2) -> KeyedNoise:
    return KeyedNoise(0, 0, torch.arange(n))


def every_code() -> Tensor:
    """All 9 one-hot codes of two groups of three, (9, 1, 6)."""
    chosen = torch.tensor(list(product(range(3), repeat=2)))
    return one_hot(chosen, 3).flatten(1)[:, None].float()


@pytest.mark.parametrize("soft", [False, True])
def test_draws_follow_the_probabilities(soft: bool) -> None:
    n = 40_000
    z = Concrete(LOG_P, 0.5, soft).rsample(n, random())
    assert z.shape == (n, 2, 6)
    torch.testing.assert_close(z.unflatten(-1, (2, 3)).sum(-1), torch.ones(n, 2, 2))
    assert bool(((z == 0) | (z == 1)).all()) is not soft
    winners = one_hot(z.unflatten(-1, (2, 3)).argmax(-1), 3).double().mean(0)  # (B, G, C)
    p = LOG_P.exp()
    assert bool(((winners - p).abs() < 4 * torch.sqrt(p * (1 - p) / n) + 1e-5).all())


def test_groups_are_independent() -> None:
    n = 40_000
    z = Concrete(LOG_P, 1.0, False).rsample(n, random())[:, 0]  # (n, D)
    joint = torch.einsum("ni,nj->ij", z[:, :3], z[:, 3:]) / n
    p = LOG_P[0].exp()
    expected = p[0][:, None] * p[1]
    assert bool(((joint - expected).abs() < 4.5 * torch.sqrt(expected * (1 - expected) / n) + 1e-5).all())


def test_density_sums_to_one_and_is_the_product_of_choices() -> None:
    z = every_code()
    log_q = Concrete(LOG_P, 1.0, False).log_prob(z)
    assert log_q.shape == (9, 2)
    torch.testing.assert_close(log_q.exp().sum(0), torch.ones(2))
    torch.testing.assert_close(log_q[5], LOG_P[:, 0, 1] + LOG_P[:, 1, 2])  # classes 1 and 2
    assert float(UniformCategorical(2, 3).log_prob(z).exp().sum()) == pytest.approx(1.0, abs=1e-6)


def test_kl_is_the_sum_over_all_codes() -> None:
    z, q, p = every_code(), Concrete(LOG_P, 1.0, False), UniformCategorical(2, 3)
    summed = (q.log_prob(z).exp() * (q.log_prob(z) - p.log_prob(z))).sum(0)
    torch.testing.assert_close(kl_to_uniform(LOG_P).sum(-1), summed)
    torch.testing.assert_close(kl_to_uniform(torch.full((1, 1, 8), -math.log(8))), torch.zeros(1, 1))
    certain = torch.log_softmax(torch.tensor([[[200.0] + [0.0] * 7]]), -1)
    torch.testing.assert_close(kl_to_uniform(certain), torch.full((1, 1), math.log(8)))


def test_kl_is_the_mean_of_log_ratios() -> None:
    q, p, n = Concrete(LOG_P, 1.0, False), UniformCategorical(2, 3), 20_000
    z = q.rsample(n, random())
    ratios = (q.log_prob(z) - p.log_prob(z)).double()
    error = ratios.std(0) / math.sqrt(n) + 1e-6
    assert bool(((ratios.mean(0) - kl_to_uniform(LOG_P).sum(-1)).abs() < 4 * error).all())


@pytest.mark.parametrize("straight_through", [False, True])
def test_training_may_be_relaxed_evaluation_is_hard(straight_through: bool) -> None:
    latent = Categorical(4, groups=2, classes=3, straight_through=straight_through)
    h = torch.randn(5, 4)
    z = latent.train().posterior(h).rsample(3, random(5))
    assert bool(((z == 0) | (z == 1)).all()) is straight_through
    (z * torch.randn(6)).sum().backward()
    assert latent.logits.weight.grad is not None
    assert float(latent.logits.weight.grad.abs().sum()) > 0
    hard = latent.eval().posterior(h).rsample(3, random(5))
    assert bool(((hard == 0) | (hard == 1)).all())
    assert torch.equal(hard.unflatten(-1, (2, 3)).argmax(-1), z.unflatten(-1, (2, 3)).argmax(-1))


def test_straight_through_has_the_gradient_of_the_relaxed_draw() -> None:
    gradients = []
    for soft in (False, True):
        log_p = LOG_P.clone().requires_grad_()
        (Concrete(log_p, 0.7, soft).rsample(4, random()) * torch.arange(6.0)).sum().backward()
        gradients.append(log_p.grad)
    assert torch.equal(gradients[0], gradients[1])  # type: ignore[arg-type]


def test_mean_is_the_expectation_and_mode_is_a_code() -> None:
    q = Concrete(LOG_P, 1.0, False)
    z = every_code()
    torch.testing.assert_close(q.mean, torch.einsum("sb,sbd->bd", q.log_prob(z).exp(), z.expand(9, 2, 6)))
    assert q.point_estimate.tolist() == [[0, 1, 0, 1, 0, 0], [1, 0, 0, 0, 0, 1]]
    assert torch.equal(choose_codes(q, text_batch()), q.point_estimate)  # what is decoded for an example


def test_index_and_detach() -> None:
    q = Concrete(LOG_P.clone().requires_grad_(), 1.0, True)
    assert torch.equal(q.select(torch.tensor([1])).log_p, LOG_P[1:])
    assert not q.detach().log_p.requires_grad
    assert q.detach().soft


def test_prior_draws_are_uniform_and_keyed() -> None:
    p, n = UniformCategorical(2, 5), 20_000
    z = p.sample(n, random(n))
    assert torch.equal(z.unflatten(-1, (2, 5)).sum(-1), torch.ones(n, 2))
    assert bool(((z.mean(0) - 0.2).abs() < 4 * math.sqrt(0.2 * 0.8 / n)).all())
    assert torch.equal(p.sample(5, random(5)), p.sample(9, random(9))[:5])


def test_evaluation_measures_the_discrete_code() -> None:
    vae, batch = tiny_vae(latent=SPEC), text_batch()
    assert sample_prior(vae, 4, seed=0).shape == (4, 6)
    report = evaluate(vae, [batch], samples=400)
    with torch.no_grad():
        z = every_code().expand(9, batch.size, 6)
        out = vae.decode_from(batch, vae.posterior(batch), z)
        exact = -torch.logsumexp(out.log_px_z - 2 * math.log(3), 0).mean()  # ln sum_z p(z) p(x|z)
    assert report["iw_nll"] == pytest.approx(float(exact), abs=0.02)
    assert len(report["kl_per_dim"]) == 2
    assert 0 <= report["mi_low"] <= min(2 * math.log(3), math.log(batch.size)) + 1e-6


def test_priors_over_real_codes_are_refused() -> None:
    config = tiny_config(latent={**SPEC, "prior": {"name": "standard"}})
    with pytest.raises(UserError, match="got prior 'standard': use uniform_categorical"):
        check_config(config)
    latent = Categorical(4, groups=2, classes=3)
    q = latent.posterior(torch.randn(2, 4))
    with pytest.raises(UserError, match="a prior over real codes"):
        latent.kl(q, StandardNormal(6), q.mean[None])
    real = tiny_config(latent={"name": "gaussian", "dim": 2, "prior": {"name": "uniform_categorical"}})
    with pytest.raises(UserError, match="goes with latent 'categorical' only"):
        build_vae(real, SIZES)
