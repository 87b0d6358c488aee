"""Flow posteriors: an exact density of any code, a true inverse, and samples that follow it.

Shapes: S samples, B examples, H features, D latent dims.
"""

from __future__ import annotations

import math

import pytest
import torch
from tiny_text import randomized, text_batch, tiny_vae

from seqvae.errors import UserError
from seqvae.evaluation.evaluate import evaluate
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.coupling_flow import CouplingFlow
from seqvae.models.latents.flow import Flow, FlowPosterior
from seqvae.models.priors import StandardNormal, StandardPrior


def random(n: int) -> KeyedNoise:
    return KeyedNoise(0, 0, torch.arange(n))


def strong(dim: int, examples: int = 3, std: float = 0.6) -> tuple[Flow, FlowPosterior]:
    """Weights so large that the flow is far from the identity."""
    latent = randomized(Flow(4, dim=dim, layers=4, hidden=8).double(), std)
    return latent, latent.posterior(torch.randn(examples, 4, dtype=torch.float64))


@pytest.mark.parametrize("dim", [2, 3, 8])
@pytest.mark.parametrize("context", [0, 4])
def test_there_and_back(dim: int, context: int) -> None:
    flow = randomized(CouplingFlow(dim, 5, 8, context).double(), 0.6)
    x, h = 2 * torch.randn(50, 1, dim, dtype=torch.float64), torch.randn(7, 4, dtype=torch.float64)
    condition = h if context else None
    y, there = flow(x, condition)
    assert y.shape == ((50, 7, dim) if context else (50, 1, dim))
    assert float((y - x).detach().abs().mean()) > 0.1
    again, back = flow(y, condition, inverse=True)
    torch.testing.assert_close(again, x.expand_as(again))
    torch.testing.assert_close(there, -back)


@pytest.mark.parametrize("dim", [2, 5])
def test_the_determinant_is_that_of_the_jacobian(dim: int) -> None:
    flow = randomized(CouplingFlow(dim, 3, 8, 4).double(), 0.6)
    x, h = torch.randn(dim, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda v: flow(v, h)[0], x)
    torch.testing.assert_close(flow(x, h)[1], torch.linalg.slogdet(jacobian).logabsdet)


def test_a_flow_starts_as_the_identity_and_is_the_gaussian() -> None:
    latent, h = Flow(4, dim=6), torch.randn(3, 4)
    q, z = latent.posterior(h), torch.randn(5, 3, 6)
    assert torch.equal(q.log_prob(z), q.base.log_prob(z))
    assert torch.equal(q.rsample(5, random(3)), q.base.rsample(5, random(3)))


def test_log_prob_of_own_samples_is_the_change_of_variables() -> None:
    latent, q = strong(5)
    e = q.base.rsample(6, random(3))
    z, log_det = latent.flow(e, q.context)
    assert torch.equal(q.rsample(6, random(3)), z)
    torch.testing.assert_close(q.log_prob(z), q.base.log_prob(e) - log_det)


@torch.no_grad()
@pytest.mark.parametrize("example", [0, 1, 2])
def test_density_integrates_to_one_and_samples_follow_it(example: int) -> None:
    """By quadrature over a box twice as large as where the samples fall."""
    q, n = strong(2, std=0.4)[1].select(slice(example, example + 1)), 20_000
    z = q.rsample(n, random(1))[:, 0]
    low, high = z.amin(0), z.amax(0)
    places, step = torch.linspace(-0.5, 1.5, 1001, dtype=torch.float64), 2e-3
    cells = low + torch.cartesian_prod(places, places) * (high - low)  # (M, 2)
    weights = torch.exp(q.log_prob(cells[:, None])[:, 0]) * step**2 * (high - low).prod()
    assert float(weights.sum()) == pytest.approx(1.0, abs=1e-3)
    error = z.std(0) / math.sqrt(n)
    assert bool(((z.mean(0) - weights @ cells).abs() < 4 * error).all())


def test_the_density_of_any_code_under_any_example() -> None:
    """Codes (S, 1, D) against all examples, as MI asks for, equal the same pairs one by one."""
    _, q = strong(3)
    z = torch.randn(7, 1, 3, dtype=torch.float64)
    pairs = q.log_prob(z)
    assert pairs.shape == (7, 3)
    for i in range(3):
        torch.testing.assert_close(q.select(slice(i, i + 1)).log_prob(z), pairs[:, i : i + 1])
        torch.testing.assert_close(q.select(torch.tensor([i])).mean, q.mean[i : i + 1])


def test_kl_is_estimated_without_bias_where_it_is_known() -> None:
    """The base N(0, I) moved by x: KL(q || N moved the same way) = 0 and KL(q || N(0, I)) >= 0."""
    latent, q = strong(3)
    z = q.rsample(4000, random(3))
    assert not latent.kl(q, q, z).any()  # type: ignore[arg-type]
    kl = latent.kl(q, StandardPrior(3)(), z)
    assert kl.shape == (4000, 3, 1)
    assert bool((kl.mean(0) > 0).all())


def test_gradients_reach_every_parameter_and_detach_stops_them() -> None:
    latent, q = strong(4)
    (q.rsample(2, random(3)).square().sum() + q.log_prob(torch.randn(2, 3, 4).double()).sum()).backward()
    for name, parameter in latent.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.any()), name
    z = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    q.detach().log_prob(z).sum().backward()
    assert z.grad is not None  # codes keep theirs: estimators that drop the score need it
    assert not q.detach().log_prob(z.detach()).requires_grad
    torch.testing.assert_close(q.detach().log_prob(z), q.log_prob(z))


def test_more_samples_change_no_sample() -> None:
    _, q = strong(4)
    torch.testing.assert_close(q.rsample(7, random(3))[:3], q.rsample(3, random(3)))


def test_one_dim_is_refused() -> None:
    with pytest.raises(UserError, match="at least 2"):
        CouplingFlow(1, 4, 8)


def test_evaluation_measures_it() -> None:
    vae = tiny_vae(latent={"name": "flow", "dim": 3, "hidden": 4})
    report = evaluate(vae, [text_batch()], samples=50)
    assert 0 <= report["mi_low"] <= math.log(report["n"]) + 1e-6
    assert report["kl_per_dim"] == pytest.approx([report["rate"]])
    assert report["iw_nll"] <= report["neg_elbo"]
    assert StandardNormal(3).dim == vae.latent.dim
