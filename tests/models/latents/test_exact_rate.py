"""The exact rate is exact: for any input, precision, batch and way of normalising."""

from __future__ import annotations

import math

import pytest
import torch

from seqvae.config.registry import construct
from seqvae.config.schema import Component
from seqvae.errors import UserError
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.latents import LATENTS
from seqvae.models.latents.exact_normal import log_variance, unit_vector
from seqvae.models.latents.exact_rate import ExactRate
from seqvae.models.latents.gaussian import Gaussian, kl_to_standard
from seqvae.models.priors import StandardNormal


def inputs(scale: float) -> torch.Tensor:
    return scale * torch.randn(9, 16)


@pytest.mark.parametrize("nats", [0.5, 6.0, 64.0])
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1.0, 1e18])
def test_every_example_costs_r_nats(nats: float, scale: float) -> None:
    latent = ExactRate(16, dim=8, nats=nats)
    q = latent.posterior(inputs(scale))
    kl = latent.kl(q, StandardNormal(8), q.mean[None]).sum(-1)
    torch.testing.assert_close(kl, torch.full_like(kl, nats), atol=1e-4, rtol=0)
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
        latent.raw.bias[:8] = 100.0  # a shift of all codes carries no information
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
    torch.testing.assert_close(unit_vector(v).norm(dim=-1), torch.ones(4))
    torch.testing.assert_close(unit_vector(v)[0], torch.tensor([0.6, 0.8]))


RANGE = (2.0, 64.0)


def variable_rate_latent(
    nats: tuple[float, float] = RANGE, rate_sampling: str = "log_uniform", std: float = 0.3
) -> ExactRate:
    """A latent whose parameters for the rate are not zero."""
    latent = ExactRate(16, dim=8, nats=nats, rate_sampling=rate_sampling)  # type: ignore[arg-type]
    for parameter in (latent.scale, latent.shift):
        torch.nn.init.normal_(parameter, std=std)
    return latent


def noise(n: int, seed: int = 0, step: int = 0) -> KeyedNoise:
    return KeyedNoise(seed, step, torch.arange(n))


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1.0, 1e18])
def test_every_example_costs_the_nats_that_it_asks_for(
    scale: float, precision: torch.dtype, mode: str
) -> None:
    latent = variable_rate_latent().train(mode == "train")
    nats = torch.tensor([2.0, 2.1, 3.0, 6.0, 11.3, 20.0, 33.3, 63.9, 64.0])
    q = latent.posterior(inputs(scale).to(precision).float(), latent.rate_condition(nats))
    kl = latent.kl(q, StandardNormal(8), q.mean[None]).sum(-1)[0]
    torch.testing.assert_close(kl, nats, atol=1e-4, rtol=0)
    torch.testing.assert_close(kl_to_standard(q.mean, q.logvar).sum(-1), nats, atol=1e-4, rtol=0)


def test_a_batch_of_one_and_a_zero_vector_cost_what_they_ask_for() -> None:
    latent = variable_rate_latent()
    for parameter in (latent.raw.weight, latent.raw.bias):
        torch.nn.init.zeros_(parameter)
    kl = latent.posterior(torch.zeros(1, 16), latent.rate_condition(torch.tensor([50.0]))).kl.sum()
    kl.backward()
    assert float(kl.detach()) == pytest.approx(50, abs=1e-4)
    decoders = ("trust", "turn.linear", "turn.square")
    heard = [p for name, p in latent.named_parameters() if name not in decoders]
    assert all(bool(torch.isfinite(p.grad).all()) for p in heard)


def test_rates_are_drawn_log_uniformly_and_by_the_examples_own_noise() -> None:
    latent = variable_rate_latent()
    drawn = latent.rate_range.nats(latent.default_condition(noise(20_000)))[:, 0]
    assert 2 < float(drawn.min()) < 2.01
    assert 63.5 < float(drawn.max()) < 64
    share = (torch.log(drawn / 2) / math.log(32)).sort().values  # uniform if ln R is
    steps = torch.linspace(0, 1, len(share), dtype=torch.double)
    assert float((share - steps).abs().max()) < 1.63 / len(share) ** 0.5  # Kolmogorov and Smirnov, 1 %
    few = latent.default_condition(KeyedNoise(0, 0, torch.tensor([7, 3])))
    assert torch.equal(few, latent.default_condition(noise(20_000))[[7, 3]]), "an example's rate is its own"
    assert not torch.equal(few, latent.default_condition(KeyedNoise(0, 1, torch.tensor([7, 3]))))
    assert not torch.equal(few, latent.default_condition(KeyedNoise(1, 0, torch.tensor([7, 3]))))


def test_rates_are_drawn_uniformly_by_choice() -> None:
    latent = variable_rate_latent(rate_sampling="uniform")
    drawn = latent.rate_range.nats(latent.default_condition(noise(20_000)))[:, 0]
    share = ((drawn - 2) / 62).sort().values
    steps = torch.linspace(0, 1, len(share), dtype=torch.double)
    assert float((share - steps).abs().max()) < 1.63 / len(share) ** 0.5


def test_at_use_there_is_one_rate_until_another_is_chosen() -> None:
    latent = variable_rate_latent().eval()
    h = torch.randn(3, 16)

    def kl(of: ExactRate) -> torch.Tensor:
        return of.posterior(h, of.default_condition(noise(3))).kl.sum(-1)

    torch.testing.assert_close(kl(latent), torch.full((3,), 128**0.5), atol=1e-4, rtol=0)
    torch.testing.assert_close(kl(latent.at_rate(20.0)), torch.full((3,), 20.0), atol=1e-4, rtol=0)
    torch.testing.assert_close(kl(latent), torch.full((3,), 128**0.5), atol=1e-4, rtol=0)
    torch.testing.assert_close(latent.posterior(h).kl.sum(-1), kl(latent), atol=0, rtol=0)


def test_the_features_are_conditioned_on_the_rate() -> None:
    h, low, high = torch.randn(4, 16), torch.full((4,), 2.0), torch.full((4,), 64.0)
    new = ExactRate(16, dim=8, nats=RANGE).eval()
    same = [unit_vector(new.posterior(h, new.rate_condition(nats)).mean) for nats in (low, high)]
    torch.testing.assert_close(*same)  # at first only the length differs
    latent = variable_rate_latent().eval()
    directions = [
        unit_vector(latent.posterior(h, latent.rate_condition(nats)).mean.detach()) for nats in (low, high)
    ]
    assert float((directions[0] - directions[1]).abs().max()) > 0.05


def test_a_single_rate_has_neither_range_nor_parameters_for_it() -> None:
    torch.manual_seed(1)
    plain = ExactRate(16, dim=8, nats=6.0)
    torch.manual_seed(1)
    ranged = ExactRate(16, dim=8, nats=(6.0, 6.0))
    assert (plain.condition, ranged.condition) == (0, 1)
    assert plain.default_condition(noise(3)) is None
    added = {"scale", "shift", "spread", "trust", "turn.linear", "turn.square", "rate"}
    assert set(ranged.state_dict()) - set(plain.state_dict()) == added
    h = torch.randn(9, 16)
    a, b = plain.posterior(h), ranged.posterior(h, ranged.default_condition(noise(9)))
    assert torch.equal(a.mean, b.mean)
    assert torch.equal(a.logvar, b.logvar)
    assert torch.equal(a.kl, b.kl)


@pytest.mark.parametrize("wrong", [1.9, 64.1, 0.0, -3.0, float("nan"), float("inf")])
def test_rates_out_of_range_are_refused(wrong: float) -> None:
    message = rf"rate got {wrong:g} nats: this run was trained for 2 to 64$"
    with pytest.raises(UserError, match=message):
        variable_rate_latent().rate_condition(torch.tensor([5.0, wrong]))
    with pytest.raises(UserError, match=message):
        variable_rate_latent().at_rate(wrong)


def test_a_fixed_rate_latent_refuses_rates() -> None:
    for latent in (ExactRate(16), Gaussian(16)):
        for ask in (lambda of: of.at_rate(6.0), lambda of: of.rate_condition(torch.tensor([6.0]))):
            with pytest.raises(UserError, match=r"^this run is not variable-rate: .* trained over a range"):
                ask(latent)


def test_ranges_that_are_none_are_refused() -> None:
    with pytest.raises(UserError, match=r"nats got \[64, 2\]: give the lower rate first"):
        ExactRate(16, nats=(64.0, 2.0))
    with pytest.raises(UserError, match="normalise got 'batch': a range of nats needs 'example'"):
        ExactRate(16, nats=RANGE, normalise="batch")
    for nats in ([2], [2, 4, 8], [0, 4], -1):
        spec = Component(name="exact_rate", nats=nats)
        with pytest.raises(UserError, match="latent 'exact_rate', argument 'nats' got"):
            construct("latent", LATENTS, spec, features=4)
