"""Total correlation, DIP, FactorVAE and attribute regularisation against answers that are known.

Shapes: M, B examples, D latent dims.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_text import WORDS, text_batch, tiny_config, tiny_vae
from torch import Tensor, nn

from seqvae.build import build_objective
from seqvae.errors import UserError
from seqvae.interfaces import RunContext
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.latents.gaussian import DiagonalNormal
from seqvae.remedies.attribute_regularization import AttributeRegularization, ordering_loss
from seqvae.remedies.dip import DIP, covariance, identity_penalty
from seqvae.remedies.factor_vae import Discriminator, FactorVAE, permute_dims
from seqvae.remedies.total_correlation import TotalCorrelation, log_densities, log_shares, total_correlation

MANY = 10**6
FACTS = RunContext(total_steps=100, examples=50, batch_size=5, latent_dim=2, vocab_size=WORDS)


def output(mean: Tensor, logvar: Tensor | None = None, z: Tensor | None = None) -> Any:
    """The part of a forward pass that a remedy reads."""
    q = DiagonalNormal(mean, torch.zeros_like(mean) if logvar is None else logvar)
    return SimpleNamespace(q=q, z=(mean if z is None else z)[None])


def vectors(index: Tensor) -> Any:
    """What a remedy reads of a batch."""
    return SimpleNamespace(
        random=KeyedNoise(0, 0, index), lengths=index + 1, labels=torch.zeros(len(index), 0)
    )


def aggregated(correlation: float, size: int, variance: float = 0.3) -> tuple[Tensor, Tensor, Tensor]:
    """z, mean, logvar (M, 2) with q(z) = N(0, C), C of unit variances and the given correlation."""
    cov = torch.tensor([[1.0, correlation], [correlation, 1.0]])
    mean = torch.randn(size, 2) @ torch.linalg.cholesky(cov - variance * torch.eye(2)).T
    z = mean + math.sqrt(variance) * torch.randn(size, 2)
    return z, mean, torch.full_like(mean, math.log(variance))


@pytest.mark.parametrize("correlation", [0.0, 0.6])
def test_tc_of_a_gaussian_is_its_analytic_value(correlation: float) -> None:
    """-ln(1 - r^2) / 2; four standard errors over the draws, and 1 / (variance M) for the log of a mean."""
    shares = log_shares(1000, MANY, "stratified")
    draws = torch.stack(
        [total_correlation(log_densities(*aggregated(correlation, 1000)), shares) for _ in range(12)]
    )
    error = 4 * float(draws.std()) / math.sqrt(len(draws)) + 1 / (0.3 * 1000)
    assert error < 0.05
    assert float(draws.mean()) == pytest.approx(-0.5 * math.log(1 - correlation**2), abs=error)


def test_tc_of_separated_posteriors_is_that_of_the_index() -> None:
    """Every dim names the example: TC = (D - 1) ln N, and D ln N too much of ln N a term where weighted."""
    mean = 100.0 * torch.arange(8.0)[:, None].repeat(1, 3)
    log_q = log_densities(mean, mean, torch.zeros(8, 3))
    exact = total_correlation(log_q, log_shares(8, 8, "stratified"))
    assert float(exact) == pytest.approx(2 * math.log(8), rel=1e-5)
    weighted = total_correlation(log_q, log_shares(8, 8, "weighted"))
    assert float(weighted - exact) == pytest.approx(2 * math.log(8), rel=1e-5)


def test_tc_of_identical_posteriors_is_zero() -> None:
    log_q = log_densities(torch.randn(9, 3), torch.zeros(9, 3), torch.zeros(9, 3))
    assert float(total_correlation(log_q, log_shares(9, 9, "stratified"))) == pytest.approx(0, abs=1e-5)


def test_shares_add_up_to_one_where_they_should() -> None:
    assert log_shares(7, 50, "stratified").exp().sum(1).tolist() == pytest.approx([1.0] * 7)
    assert float(log_shares(1, 50, "stratified")) == pytest.approx(-math.log(50))
    assert log_shares(7, 50, "weighted").unique().tolist() == pytest.approx([-math.log(350)])


def test_the_number_of_examples_moves_no_gradient_of_the_weighted_tc() -> None:
    gradients = []
    for examples in (10, MANY):
        mean = torch.linspace(-1, 1, 10).view(5, 2).requires_grad_()
        log_q = log_densities(torch.ones(5, 2), mean, torch.zeros(5, 2))
        total_correlation(log_q, log_shares(5, examples, "weighted")).backward()
        gradients.append(mean.grad)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("beta", [1.0, 3.0])
def test_tc_weighs_beta_in_all(beta: float) -> None:
    remedy, out = TotalCorrelation(beta), output(torch.randn(5, 2))
    remedy.attach(tiny_vae(), FACTS)
    term = remedy.auxiliary_losses(nn.Identity(), out, vectors(torch.arange(5)))["total_correlation"]
    tc = total_correlation(log_densities(out.z[0], out.q.mean, out.q.logvar), log_shares(5, 50, "weighted"))
    torch.testing.assert_close(term, (beta - 1) * tc)


def whitened(size: int, dim: int) -> Tensor:
    """Rows whose covariance is the identity."""
    x = torch.randn(size, dim, dtype=torch.float64)
    x = x - x.mean(0)
    return x @ torch.linalg.inv(torch.linalg.cholesky(covariance(x))).T


def test_dip_by_hand() -> None:
    cov = torch.tensor([[2.0, 0.5], [0.5, 1.0]])
    assert float(identity_penalty(cov, 10.0, 3.0)) == pytest.approx(10 * 2 * 0.25 + 3)
    x = torch.randn(50, 3)
    torch.testing.assert_close(covariance(x), torch.cov(x.T, correction=0))


def test_dip_is_zero_where_the_covariance_is_the_identity() -> None:
    mean, batch = whitened(60, 4), vectors(torch.arange(60))
    of_means = DIP("i").auxiliary_losses(nn.Identity(), output(mean), batch)["dip"]
    assert float(of_means) == pytest.approx(0, abs=1e-9)
    narrow = output(math.sqrt(0.75) * mean, torch.full_like(mean, math.log(0.25)))
    assert float(DIP("ii").auxiliary_losses(nn.Identity(), narrow, batch)["dip"]) == pytest.approx(
        0, abs=1e-9
    )
    assert float(DIP("i").auxiliary_losses(nn.Identity(), narrow, batch)["dip"]) == pytest.approx(
        4 * 100 * 0.25**2
    )


def test_dip_has_no_answer_to_one_example() -> None:
    term = DIP().auxiliary_losses(nn.Identity(), output(torch.ones(1, 3)), vectors(torch.arange(1)))["dip"]
    assert float(term) == 0


def test_dip_pulls_there() -> None:
    mean = (torch.randn(64, 2) @ torch.tensor([[1.0, 0.9], [0.0, 0.4]])).requires_grad_()
    optimizer = torch.optim.Adam([mean], lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        DIP("i").auxiliary_losses(nn.Identity(), output(mean), vectors(torch.arange(64)))["dip"].backward()
        optimizer.step()
    torch.testing.assert_close(covariance(mean.detach()), torch.eye(2), atol=1e-2, rtol=0)


def test_permuted_codes_keep_each_dim_and_lose_the_rest() -> None:
    z = torch.randn(5000, 1).repeat(1, 3)
    mixed = permute_dims(z, KeyedNoise(0, 0, torch.arange(5000)))
    assert torch.equal(mixed.sort(0).values, z.sort(0).values)
    assert float((torch.corrcoef(mixed.T) - torch.eye(3)).abs().max()) < 4 / math.sqrt(5000)
    assert torch.equal(mixed, permute_dims(z, KeyedNoise(0, 0, torch.arange(5000))))
    assert not torch.equal(mixed, permute_dims(z, KeyedNoise(0, 1, torch.arange(5000))))


@pytest.mark.parametrize("correlation", [0.0, 0.8])
def test_the_discriminator_finds_the_tc_of_a_gaussian(correlation: float) -> None:
    """-ln(1 - r^2) / 2 within 0.04 nats after 500 updates, on fresh codes."""
    factor = torch.linalg.cholesky(torch.tensor([[1.0, correlation], [correlation, 1.0]]))
    player = Discriminator(2, hidden=64, layers=2)
    optimizer = torch.optim.Adam(player.parameters(), lr=3e-3)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, 500)
    for step in range(500):
        batch = SimpleNamespace(random=KeyedNoise(0, step, torch.arange(512)))
        optimizer.zero_grad()
        player(output(torch.randn(512, 2) @ factor.T), batch).backward()
        optimizer.step()
        decay.step()
    with torch.no_grad():
        found = player.total_correlation(torch.randn(50_000, 2) @ factor.T)
    assert float(found) == pytest.approx(-0.5 * math.log(1 - correlation**2), abs=0.04)


def test_factor_vae_keeps_the_players_apart() -> None:
    vae, remedies = tiny_vae(), [{"name": "factor_vae", "hidden": 8}]
    objective = build_objective(tiny_config(remedies=remedies), vae, FACTS)
    loss, (rival,) = objective(vae, text_batch(), 0), objective.discriminators()
    model, players = list(vae.parameters()), list(rival.parameters())
    assert players
    assert all(
        g is None for g in torch.autograd.grad(loss.total, players, allow_unused=True, retain_graph=True)
    )
    assert all(
        g is None for g in torch.autograd.grad(loss.adversary, model, allow_unused=True, retain_graph=True)
    )
    assert all(
        g is not None and g.any() for g in torch.autograd.grad(loss.adversary, players, retain_graph=True)[:2]
    )
    through = torch.autograd.grad(loss.terms["factor_vae"], [vae.latent.mean.weight])[0]
    assert through.any()


def test_gamma_weighs_the_tc() -> None:
    remedy, out = FactorVAE(gamma=3.0, hidden=8), output(torch.randn(6, 2))
    remedy.attach(tiny_vae(), FACTS)
    term = remedy.auxiliary_losses(nn.Identity(), out, vectors(torch.arange(6)))["factor_vae"]
    torch.testing.assert_close(term, 3 * remedy.player.log_ratio(out.z[0]).mean())


def test_ordering_by_hand() -> None:
    z = torch.tensor([0.0, 1.0, -2.0])
    a = torch.tensor([1.0, 1.0, 3.0])  # pairs: equal, rising, rising
    missed = (math.tanh(0.5), 1 + math.tanh(1.0), 1 + math.tanh(1.5))
    assert float(ordering_loss(z, a, 0.5)) == pytest.approx(sum(missed) / 3, rel=1e-5)


def test_ordering_is_lowest_where_codes_follow_the_attribute() -> None:
    a = torch.randn(20)
    assert float(ordering_loss(1e3 * a, a, 1e3)) == pytest.approx(0, abs=1e-5)
    assert float(ordering_loss(torch.exp(a) * 1e3, a, 1e3)) == pytest.approx(0, abs=1e-5), (
        "only the order counts"
    )
    assert float(ordering_loss(-1e3 * a, a, 1e3)) == pytest.approx(2, abs=1e-5)
    assert float(ordering_loss(torch.zeros(20), a, 1.0)) == pytest.approx(1)


def test_pairs_with_a_missing_label_are_left_out() -> None:
    z, a = torch.randn(6, requires_grad=True), torch.tensor([1.0, math.nan, 3.0, 2.0, math.nan, 0.0])
    known = ~a.isnan()
    loss = ordering_loss(z, a, 1.0)
    torch.testing.assert_close(loss, ordering_loss(z[known], a[known], 1.0))
    loss.backward()
    assert z.grad is not None
    assert torch.equal(z.grad != 0, known)
    for none in (torch.full((6,), math.nan), torch.tensor([1.0])):
        assert float(ordering_loss(torch.zeros(len(none)), none, 1.0)) == 0


def test_an_attribute_moves_only_its_dim() -> None:
    remedy = AttributeRegularization({2: "mood", 0: "length"})
    remedy.attach(nn.Identity(), RunContext(1, 1, 1, 4, vocab_size=9, labels=("age", "mood")))
    assert remedy.columns == {2: 1, 0: None}
    z = torch.randn(6, 4, requires_grad=True)
    labels = torch.stack([torch.randn(6), torch.full((6,), math.nan)], 1)
    batch = SimpleNamespace(target_counts=torch.arange(6), labels=labels)
    remedy.auxiliary_losses(nn.Identity(), output(z), batch)["attribute_regularization"].backward()
    assert z.grad is not None
    assert z.grad.any(0).tolist() == [True, False, False, False], "no mood is known"
    labels[:, 1] = torch.arange(6)
    remedy.auxiliary_losses(nn.Identity(), output(z), batch)["attribute_regularization"].backward()
    assert z.grad.any(0).tolist() == [True, False, True, False]


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({0: "mod"}, r"got the label 'mod', which is not in data.labels: did you mean 'mood'\?"),
        ({2: "mood"}, r"got dim 2 for 'mood', the code has 2: give dims from 0"),
    ],
)
def test_attributes_that_are_not_there(attributes: dict[int, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        AttributeRegularization(attributes).attach(nn.Identity(), RunContext(1, 1, 1, 2, 9, ("mood",)))
    with pytest.raises(UserError, match="got the label 'length'"):  # no text, no length
        AttributeRegularization().attach(nn.Identity(), RunContext(1, 1, 1, 2))


@pytest.mark.parametrize("remedy", ["total_correlation", "dip", "factor_vae", "aggressive_encoder"])
@pytest.mark.parametrize("latent", ["vmf", "categorical", "deterministic", "none"])
def test_latents_that_do_not_fit_are_refused(remedy: str, latent: str) -> None:
    config = tiny_config(latent={"name": latent}, remedies=[{"name": remedy}])
    vae = tiny_vae(latent={"name": latent})
    fitting = {"vmf": ("factor_vae", "aggressive_encoder"), "categorical": ("aggressive_encoder",)}
    if remedy in fitting.get(latent, ()):
        build_objective(config, vae, FACTS)
        return
    with pytest.raises(UserError, match=rf"remedy '{remedy}' .* has none: leave it out, or take") as caught:
        build_objective(config, vae, FACTS)
    assert "\n" not in str(caught.value)
