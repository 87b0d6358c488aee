"""The exact rate is exact: for any input, precision, batch and way of normalising."""

from __future__ import annotations

import pytest
import torch

from seqvae.latents.exact_rate import ExactRate, log_variance, unit
from seqvae.latents.gaussian import kl_to_standard
from seqvae.priors import StandardNormal


def inputs(scale: float) -> torch.Tensor:
    return scale * torch.randn(9, 16)


@pytest.mark.parametrize("nats", [0.5, 6.0, 64.0])
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1.0, 1e18])
def test_every_example_costs_r_nats(nats: float, scale: float) -> None:
    latent = ExactRate(16, dim=8, nats=nats)
    q = latent.posterior(inputs(scale))
    told = latent.kl(q, StandardNormal(8), q.mean[None]).sum(-1)
    torch.testing.assert_close(told, torch.full_like(told, nats), atol=1e-4, rtol=0)
    counted = kl_to_standard(q.mean, q.logvar).sum(-1)
    torch.testing.assert_close(counted, torch.full_like(counted, nats), atol=1e-4, rtol=0)


def test_the_zero_vector_has_a_code_and_a_gradient() -> None:
    latent = ExactRate(16, dim=8, nats=6.0).eval()
    torch.nn.init.zeros_(latent.raw.weight)
    torch.nn.init.zeros_(latent.raw.bias)
    q = latent.posterior(torch.zeros(3, 16))
    (q.mean.sum() + q.logvar.sum()).backward()
    assert torch.isfinite(q.mean).all()
    assert torch.isfinite(latent.raw.weight.grad).all()
    torch.testing.assert_close(q.kl.sum(-1), torch.full((3,), 6.0), atol=1e-4, rtol=0)


def test_the_variance_solves_its_equation_and_has_the_sign_of_s() -> None:
    s = torch.cat([torch.linspace(-12, 12, 2001), torch.tensor([1e-8, -1e-8, 1e4, -100.0, 1e15])]).double()
    u = log_variance(s)
    torch.testing.assert_close(torch.expm1(u) - u, s**2, rtol=1e-9, atol=1e-12)
    assert torch.equal(u.sign(), s.sign())


def test_gradients_around_zero_equal_finite_differences() -> None:
    s = torch.tensor([0.0, 1e-4, -1e-4, 9e-4, 1.1e-3, -1.1e-3, 0.5, -0.5, 3.0, -3.0], dtype=torch.double)
    assert torch.autograd.gradcheck(log_variance, s.requires_grad_(), eps=1e-6, atol=1e-6)


def test_means_are_centred_over_the_batch_before_scaling() -> None:
    latent = ExactRate(16, dim=8)
    h = torch.randn(64, 16)
    with torch.no_grad():
        latent.raw.bias[:8] = 100.0  # a shift of all codes tells nothing
    shifted = latent.posterior(h).mean
    with torch.no_grad():
        latent.raw.bias[:8] = 0.0
    torch.testing.assert_close(shifted, latent.posterior(h).mean, atol=1e-3, rtol=1e-3)


def test_evaluation_does_not_depend_on_the_batch_and_one_example_will_do() -> None:
    latent = ExactRate(16, dim=8)
    h = torch.randn(32, 16)
    for _ in range(100):
        latent.posterior(h)
    latent.eval()
    whole, alone = latent.posterior(h).mean, latent.posterior(h[:1]).mean
    torch.testing.assert_close(whole[:1], alone)
    assert torch.isfinite(latent.train().posterior(h[:1]).mean).all()


@pytest.mark.parametrize("normalise", ["batch", "feature"])
def test_the_batch_mean_is_r_by_choice(normalise: str) -> None:
    latent = ExactRate(16, dim=8, nats=6.0, normalise=normalise)  # type: ignore[arg-type]
    kl = latent.posterior(torch.randn(64, 16)).kl.detach()
    assert float(kl.sum(-1).mean()) == pytest.approx(6.0, abs=1e-4)
    assert float(kl.sum(-1).std()) > 0.1
    if normalise == "feature":
        torch.testing.assert_close(kl.mean(0), torch.full((8,), 6.0 / 8), atol=1e-4, rtol=0)


def test_unit_vectors_of_extreme_ones() -> None:
    v = torch.tensor([[3.0, 4.0], [0.0, 0.0], [1e38, 1e38], [1e-30, 0.0]])
    torch.testing.assert_close(unit(v).norm(dim=-1), torch.ones(4))
    torch.testing.assert_close(unit(v)[0], torch.tensor([0.6, 0.8]))
