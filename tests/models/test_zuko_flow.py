"""Zuko's flows as priors and posteriors: exact inverse, determinant and density, on keyed noise.

Shapes: S samples, B examples, H features, D latent dims.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from tiny_text import randomized

from seqvae.errors import UserError
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.latents.zuko_flow import ZukoFlowLatent
from seqvae.models.priors.zuko_flow import ZukoFlowPrior
from seqvae.models.zuko_flow import ZukoFlow

INSTALLED = pytest.mark.skipif(find_spec("zuko") is None, reason="zuko is not installed")
KINDS = pytest.mark.parametrize(
    "how", [{"kind": "nsf"}, {"kind": "maf"}, {"kind": "nsf", "autoregressive": True}], ids=str
)


def random(n: int) -> KeyedNoise:
    return KeyedNoise(0, 0, torch.arange(n))


@INSTALLED
@KINDS
@pytest.mark.parametrize(("dim", "context"), [(2, 0), (3, 4), (5, 4)])
def test_there_and_back(how: dict[str, Any], dim: int, context: int) -> None:
    flow = randomized(ZukoFlow(dim, 3, 8, context, **how).double(), 0.4)
    x, h = torch.randn(20, 1, dim, dtype=torch.float64), torch.randn(7, 4, dtype=torch.float64)
    condition = h if context else None
    y, there = flow(x, condition)
    assert y.shape == ((20, 7, dim) if context else (20, 1, dim))
    assert float((y - x).detach().abs().mean()) > 0.05
    again, back = flow(y, condition, inverse=True)
    torch.testing.assert_close(again, x.expand_as(again), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(there, -back, rtol=1e-5, atol=1e-6)


@INSTALLED
@KINDS
def test_the_determinant_is_that_of_the_jacobian(how: dict[str, Any]) -> None:
    flow = randomized(ZukoFlow(4, 2, 8, 3, **how).double(), 0.4)
    x, h = torch.randn(4, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    for inverse in (False, True):
        jacobian = torch.autograd.functional.jacobian(lambda v: flow(v, h, inverse)[0], x)  # noqa: B023
        torch.testing.assert_close(flow(x, h, inverse)[1], torch.linalg.slogdet(jacobian).logabsdet)


@INSTALLED
@KINDS
def test_the_density_of_a_prior_integrates_to_one(how: dict[str, Any]) -> None:
    prior = randomized(ZukoFlowPrior(2, 2, 8, **how), 0.3)
    line = torch.linspace(-12, 12, 401)
    grid = torch.cartesian_prod(line, line)[:, None]
    with torch.no_grad():
        mass = prior().log_prob(grid).exp().sum() * (line[1] - line[0]) ** 2
    assert float(mass) == pytest.approx(1, abs=0.01)


@INSTALLED
def test_samples_of_a_prior_follow_its_density() -> None:
    prior = randomized(ZukoFlowPrior(2, 2, 8), 0.5)
    with torch.no_grad():
        z = prior().sample(4000, random(1))
        few = prior().sample(10, random(1))
        entropy = -prior().log_prob(z[None]).mean()
        plain = -torch.distributions.Normal(0, 1).log_prob(z).sum(-1).mean()
    torch.testing.assert_close(few, z[:10])
    assert entropy < plain  # Gibbs: cross entropy with another density is larger


@INSTALLED
@KINDS
def test_a_posterior_scores_its_own_samples(how: dict[str, Any]) -> None:
    latent = randomized(ZukoFlowLatent(6, 3, hidden=8, **how), 0.3)
    q = latent.posterior(torch.randn(4, 6))
    z, log_q = q.rsample_with_log_prob(5, random(4))
    torch.testing.assert_close(q.rsample(5, random(4)), z)
    torch.testing.assert_close(q.log_prob(z), log_q, rtol=1e-3, atol=1e-3)
    every = q.log_prob(z[0][:, None])  # each code under each example
    torch.testing.assert_close(every.diagonal(), log_q[0], rtol=1e-3, atol=1e-3)
    log_q.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in latent.parameters())


@INSTALLED
def test_a_detached_posterior_has_no_gradient() -> None:
    q = ZukoFlowLatent(6, 3, hidden=8).posterior(torch.randn(4, 6)).detach()
    assert not q.log_prob(torch.randn(2, 4, 3)).requires_grad


def test_what_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="a code of 1 dim"):
        ZukoFlowPrior(1)
    monkeypatch.setitem(sys.modules, "zuko", None)
    monkeypatch.setitem(sys.modules, "zuko.flows", None)
    with pytest.raises(UserError, match=r"not installed: `pip install 'seqvae\[flows\]'`"):
        ZukoFlowPrior(2)
