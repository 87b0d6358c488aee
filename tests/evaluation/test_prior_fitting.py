"""Post-hoc priors: known densities are found, the gain agrees with evaluation, files round-trip.

Shapes: N codes, B examples, D latent dims.
"""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from tiny import autoencoder, config, language_model, tiny_run, trained
from tiny_text import text_batch, tiny_vae
from torch import Tensor, nn
from typer.testing import CliRunner

from seqvae.cli.fit_prior import fit_prior as command
from seqvae.config.schema import Component
from seqvae.errors import UserError
from seqvae.evaluation.evaluate import evaluate
from seqvae.evaluation.posterior_samples import FixedPosterior, LatentCodes, PosteriorSource
from seqvae.evaluation.prior_comparison import compare_priors
from seqvae.evaluation.prior_fitting import (
    PriorFitConfig,
    fit_prior,
    held_out_codes,
    init_flow,
    init_mixture,
    k_means,
    log_density,
)
from seqvae.inference import TextVAE
from seqvae.inference.posthoc_prior_fit import (
    FitBudget,
    encode_posteriors,
    fit_posthoc_prior,
    require_real_codes,
    training_batches,
)
from seqvae.inference.posthoc_priors import (
    PosthocPrior,
    build_prior,
    load_posthoc_prior,
    posthoc_prior_names,
    save_posthoc_prior,
    with_prior,
)
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.latents import LATENTS, DiagonalNormal
from seqvae.models.latents.deterministic import Point
from seqvae.models.priors import StandardPrior
from seqvae.models.priors.flow import FlowPrior
from seqvae.models.priors.mixture import MixturePrior
from seqvae.models.sampling import sample_prior
from seqvae.runs.run_folder import load_run
from seqvae.training.loop import train

ENTROPY = 0.5 * math.log(2 * math.pi * math.e)  # of N(0, 1), nats
MIXTURE = Component.model_validate({"name": "mixture", "components": 3})
FLOW = Component.model_validate({"name": "flow", "layers": 2, "hidden": 8})
QUICK = PriorFitConfig(epochs=3)
FEW = FitBudget(examples=150, valid=10, samples=3)


def random(n: int = 1, seed: int = 0) -> KeyedNoise:
    return KeyedNoise(seed, 0, torch.arange(n))


def clusters(n: int = 3000, dim: int = 3, sd: float = 0.5) -> Tensor:
    """Four far-apart Gaussians of equal weight: the entropy is ln 4 + D ln sd + D ENTROPY."""
    centres = (
        6 * torch.tensor([[1.0, 1.0, 1.0], [-1.0, 1.0, -1.0], [1.0, -1.0, -1.0], [-1.0, -1.0, 1.0]])[:, :dim]
    )
    return centres[torch.arange(n) % 4] + sd * random(n).normal("codes", dim)


def parts(z: Tensor, size: int = 256) -> list[PosteriorSource]:
    return [FixedPosterior(Point(part)) for part in torch.split(z, size)]


@pytest.mark.parametrize("make", [lambda: MixturePrior(3, 4), lambda: MixturePrior(3, 9)])
def test_a_mixture_finds_the_density_of_points(make: Any) -> None:
    prior = make()
    fit = fit_prior(prior, parts(clusters()))
    known = -(math.log(4) + 3 * math.log(0.5) + 3 * ENTROPY)
    assert fit.prior is prior
    assert fit.before < known - 10
    assert fit.after == pytest.approx(known, abs=4 * fit.after_se + 0.03)
    assert (fit.n, fit.held_out) == (2700, 300)


def test_a_flow_finds_a_correlated_density() -> None:
    z = random(3000).normal("codes", 4) @ torch.tensor(
        [[3.0, 2.0, 0.0, 0.0], [0.0, 0.5, 0.0, 0.4], [0.0, 0.0, 0.2, 0.0], [0.1, 0.0, 0.3, 1.0]]
    ) + torch.tensor([5.0, -2.0, 0.0, 1.0])
    fit = fit_prior(FlowPrior(4, layers=4, hidden=16), parts(z), PriorFitConfig(epochs=12, lr=5e-3))
    known = -(4 * ENTROPY + 0.5 * float(torch.logdet(torch.cov(z.T))))
    alone = -(4 * ENTROPY + 0.5 * float(z.var(0).log().sum()))  # of the best Gaussian without correlations
    assert alone < known - 0.5
    assert fit.after == pytest.approx(known, abs=4 * fit.after_se + 0.1)


@dataclass(frozen=True)
class Scaled:
    """Codes with standard deviation e^c, conditioned on c: no single density fits them all."""

    n: int
    device = torch.device("cpu")

    def __len__(self) -> int:
        return self.n

    def sample(self, random: KeyedNoise) -> LatentCodes:
        """C from -1 to 1."""
        c = 2 * random.uniform("c", 1) - 1
        return LatentCodes(torch.exp(c) * random.normal("z", 2), c)


@pytest.mark.parametrize(
    ("make", "how"),
    [
        (lambda c: MixturePrior(2, 2, condition=c), PriorFitConfig(epochs=25)),
        (lambda c: FlowPrior(2, 4, 16, condition=c), PriorFitConfig(epochs=15, lr=5e-3)),
    ],
    ids=["mixture", "flow"],
)
def test_a_conditional_prior_fits_each_value_of_the_condition(make: Any, how: PriorFitConfig) -> None:
    held = held_out_codes([Scaled(3000)], how)
    known = -2 * (ENTROPY + float(held.c.mean()))
    torch.manual_seed(0)
    told, deaf = (fit_prior(make(c), [Scaled(3000)], how) for c in (1, 0))
    assert told.after == pytest.approx(known, abs=0.06)
    assert deaf.after < known - 0.1
    for c in (-0.9, 0.9):
        prior = told.prior(torch.full((4000, 1), c))
        torch.testing.assert_close(
            prior.sample(4000, random(4000)).std(0), torch.full((2,), math.exp(c)), rtol=0.12, atol=0
        )
        alone = told.prior(torch.full((1, 1), c)).log_prob(torch.zeros(1, 1, 2))
        torch.testing.assert_close(alone, prior.log_prob(torch.zeros(1, 4000, 2))[:, :1])


@pytest.mark.parametrize(
    "prior", [lambda c: MixturePrior(2, 3, condition=c), lambda c: FlowPrior(2, condition=c)]
)
def test_at_first_a_condition_changes_nothing(prior: Any) -> None:
    made = prior(1)
    z, c = torch.randn(3, 5, 2), torch.randn(5, 1)
    torch.testing.assert_close(made(c).log_prob(z), made(None).log_prob(z))
    torch.testing.assert_close(made(c).sample(5, random(5)), made(None).sample(5, random(5)))


def test_codes_are_drawn_anew_and_not_the_means() -> None:
    """q(z) is N(0, 1) in every dim, though the means alone are narrower."""
    mean = 0.8 * random(3000).normal("means", 2)
    q = DiagonalNormal(mean, torch.full_like(mean, math.log(1 - 0.8**2)))
    prior = MixturePrior(2, 3)
    fit = fit_prior(prior, [FixedPosterior(q)], PriorFitConfig(epochs=10))
    assert fit.after == pytest.approx(-2 * ENTROPY, abs=4 * fit.after_se + 0.02)
    z = prior().sample(5000, random(5000))
    torch.testing.assert_close(z.var(0), torch.ones(2), atol=0.12, rtol=0)


def test_the_same_seed_gives_the_same_fit_however_codes_are_batched() -> None:
    z = clusters(600)
    q = DiagonalNormal(z, torch.full_like(z, -2.0))
    few = [FixedPosterior(q.select(slice(i, i + 100))) for i in range(0, 600, 100)]
    fits = []
    for posteriors, seed in (([FixedPosterior(q)], 1), (few, 1), (few, 2)):
        fits.append(
            fit_prior(build_prior(MIXTURE, Latent(3), 5), posteriors, PriorFitConfig(seed=seed, epochs=4))
        )
    same, again, other = (fit.prior.state_dict() for fit in fits)
    for name in same:
        assert torch.equal(same[name], again[name]), name
        assert not torch.equal(same[name], other[name]), name
    assert fits[0].after == fits[1].after


class Latent(nn.Module):
    """All that building a mixture or a flow asks of a latent."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim


def test_equal_codes_do_not_diverge() -> None:
    """Half of the codes are one point: without a floor its component's density has no bound."""
    z = clusters(1000)
    z[::2] = z[0]
    prior = MixturePrior(3, 5)
    fit = fit_prior(prior, parts(z), PriorFitConfig(epochs=20))
    assert math.isfinite(fit.after)
    assert float(prior.logvar.detach().min()) >= math.log(0.9e-3 * float(z.var(0).min()))


def test_the_best_epoch_is_kept() -> None:
    """A rate that ruins the fit leaves the start, which no step was better than."""
    z = clusters(400)
    prior, start = MixturePrior(3, 4), MixturePrior(3, 4)
    fit = fit_prior(prior, parts(z), PriorFitConfig(lr=50.0, epochs=8, patience=8))
    best = log_density(prior, held_out_codes(parts(z), PriorFitConfig()))[0]
    assert fit.after == best
    init_mixture(start.requires_grad_(False), z, random())
    assert best > log_density(start, LatentCodes(z))[0] - 1


def test_k_means_finds_separated_clusters() -> None:
    z = clusters(400, sd=0.1)
    centres = k_means(z, 4, random())
    nearest = torch.cdist(z, centres)
    assert float(nearest.min(1).values.max()) < 1
    assert torch.bincount(nearest.argmin(1)).tolist() == [100] * 4
    assert k_means(torch.zeros(5, 2), 3, random()).isfinite().all()  # all codes are one


@pytest.mark.parametrize(("dim", "layers"), [(2, 2), (5, 6), (4, 3)])
def test_a_flow_starts_at_the_diagonal_gaussian(dim: int, layers: int) -> None:
    z = 4 * torch.rand(1, dim) + (0.1 + 2 * torch.rand(dim)) * random(500).normal("codes", dim)
    prior = FlowPrior(dim, layers, hidden=7)
    init_flow(prior.requires_grad_(False), z)
    gaussian = torch.distributions.Normal(z.mean(0), z.std(0))
    torch.testing.assert_close(
        prior().log_prob(z[None])[0], gaussian.log_prob(z).sum(-1), atol=1e-3, rtol=1e-4
    )


def test_what_cannot_be_fitted() -> None:
    with pytest.raises(UserError, match="StandardPrior has nothing to fit: take a mixture or a flow"):
        fit_prior(StandardPrior(3), parts(clusters(50)))
    with pytest.raises(UserError, match="a prior cannot be fitted to 1 codes: encode more examples"):
        fit_prior(MixturePrior(3), parts(clusters(1)))
    with pytest.raises(UserError, match="a prior cannot be fitted to 2 codes"):
        fit_prior(MixturePrior(3), parts(clusters(2)))
    assert fit_prior(MixturePrior(3, 2), parts(clusters(3)), PriorFitConfig(epochs=1)).n == 2
    with pytest.raises(UserError, match="a mixture of 20 components got 9 codes: ask for fewer"):
        fit_prior(MixturePrior(3), parts(clusters(10)))


@pytest.mark.parametrize("name", LATENTS)
def test_which_latents_have_codes_in_all_of_space(name: str) -> None:
    latent = tiny_vae(latent={"name": name}).latent
    if name in ("vmf", "categorical", "none"):
        with pytest.raises(
            UserError, match=r"^a mixture or a flow spreads over all of R\^D, the codes of .+ do not"
        ):
            require_real_codes(latent)
    else:
        require_real_codes(latent)


def shifted_vae(name: str = "gaussian") -> Any:
    """Its codes lie far from N(0, I)."""
    vae = tiny_vae(latent={"name": name, "dim": 2})
    if name == "gaussian":
        nn.init.constant_(vae.latent.mean.bias, 2.0)
    return vae


@pytest.mark.parametrize("name", ["gaussian", "bn_gaussian", "du_gaussian", "exact_rate", "delta", "flow"])
def test_the_gain_is_that_of_evaluation(name: str) -> None:
    vae, batch = shifted_vae(name), text_batch(seed=3)
    prior = MixturePrior(2, 3)
    gains = compare_priors(vae, prior, [batch], samples=30)
    assert vae.prior is not prior
    for key, model in (("trained", vae), ("fitted", with_prior(vae, prior))):
        report = evaluate(model, [batch], samples=30)
        for number in ("rate", "neg_elbo", "iw_nll"):
            assert gains[key][number] == pytest.approx(report[number], abs=1e-4), (key, number)
    for number in ("neg_elbo", "iw_nll"):
        gain = gains["trained"][number] - gains["fitted"][number]
        assert gains[f"{number}_gain"] == pytest.approx(gain, abs=1e-6)


def test_a_prior_where_the_codes_are_saves_nats() -> None:
    vae = shifted_vae()
    sources = encode_posteriors(vae, [text_batch(seed=seed) for seed in range(60)])
    prior = MixturePrior(2, 2)
    fit = fit_prior(prior, sources, PriorFitConfig(epochs=20))
    batch = text_batch(seed=99)
    gains = compare_priors(vae, prior, [batch], samples=500)
    saved = gains["trained"]["rate"] - gains["fitted"]["rate"]
    assert saved > 1
    with torch.no_grad():
        z = vae.posterior(batch).rsample(5000, batch.random.fold(7))
        difference = (prior().log_prob(z) - vae.prior().log_prob(z)).mean()
    assert saved == pytest.approx(float(difference), abs=0.2)  # the rate differs by E ln p of the codes
    assert fit.after > fit.before
    assert gains["neg_elbo_gain"] == pytest.approx(saved, abs=1e-4)  # the distortion stays as it was
    drawn = with_prior(vae, prior).prior().sample(500, random(500)).detach().mean(0)
    torch.testing.assert_close(
        drawn, torch.cat([source.q.mean for source in sources]).mean(0), atol=0.5, rtol=0
    )


def test_another_prior_shares_all_else() -> None:
    vae, prior = tiny_vae(), MixturePrior(2)
    other = with_prior(vae, prior)
    assert (other.encoder, other.latent, other.decoder) == (vae.encoder, vae.latent, vae.decoder)
    assert other.prior is prior
    assert not other.training
    assert not any(module.training for module in vae.modules())


def test_an_autoencoder_has_a_prior_but_no_gain() -> None:
    vae, batch = tiny_vae(latent={"name": "deterministic", "dim": 2}), text_batch()
    assert compare_priors(vae, MixturePrior(2), [batch]) == {"n": batch.size, "trained": None, "fitted": None}


@pytest.fixture
def run(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_run(tmp_path_factory), tmp_path / "run"))


@pytest.mark.parametrize("spec", [MIXTURE, FLOW], ids=["mixture", "flow"])
def test_a_run_keeps_its_priors(run: Path, spec: Component) -> None:
    loaded = load_run(run)
    fitted = fit_posthoc_prior(loaded, spec, "mine", QUICK, FEW)
    assert posthoc_prior_names(run) == ["mine"]
    z = random(20).normal("codes", 4)[None]
    again = load_posthoc_prior(run, "mine", loaded.vae.latent)
    with torch.no_grad():
        assert torch.equal(again().log_prob(z), fitted.prior().log_prob(z))
    assert not again.training
    card = json.loads((run / "priors" / "mine.json").read_text())
    assert card["prior"] == spec.model_dump()
    assert card["n"] + card["held_out"] == 200  # all there are: a batch is never cut
    assert card["valid"]["n"] == 10
    assert card["log_density"]["fitted"] > card["log_density"]["trained"]
    assert card["valid"]["fitted"]["neg_elbo"] != card["valid"]["trained"]["neg_elbo"]
    with pytest.raises(
        UserError, match=r"priors/mine.safetensors exists: choose another --name, or remove it"
    ):
        fit_posthoc_prior(loaded, spec, "mine", QUICK, FEW)
    fit_posthoc_prior(loaded, spec, "other", QUICK, FEW)
    assert posthoc_prior_names(run) == ["mine", "other"]
    both = (run / "priors" / f"{name}.safetensors" for name in ("mine", "other"))
    assert len({file.read_bytes() for file in both}) == 1, "the same seed fits the same prior"


@pytest.fixture
def dial(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Path:
    block = "latent={name: exact_rate, dim: 4, nats: [1, 16]}"
    return Path(
        shutil.copytree(trained(tmp_path_factory.getbasetemp(), "tiny-dial", block), tmp_path / "dial")
    )


@pytest.mark.parametrize("spec", [MIXTURE, FLOW], ids=["mixture", "flow"])
def test_a_variable_rate_run_gets_one_prior_for_all_rates(dial: Path, spec: Component) -> None:
    fitted = fit_posthoc_prior(load_run(dial), spec, "all", PriorFitConfig(epochs=8), FitBudget(200, 40, 3))
    assert [row["nats"] for row in fitted.report["rates"]] == [1, 2, 4, 8, 16]
    assert all(row["fitted"]["rate"] < row["trained"]["rate"] for row in fitted.report["rates"][-2:])
    assert fitted.report["rates"][0]["trained"]["rate"] == pytest.approx(1, abs=1e-4)
    vae = TextVAE.from_pretrained(dial).with_prior("all")
    low, high = (sample_prior(vae.with_rate(nats).vae, 400, 0) for nats in (1.0, 16.0))
    plain = sample_prior(TextVAE.from_pretrained(dial).vae, 400, 0)
    assert not torch.equal(low, high)
    assert not torch.equal(plain, high)
    assert torch.equal(
        high, sample_prior(vae.vae, 400, 0, c=vae.vae.latent.rate_condition(torch.full((400,), 16.0)))
    )
    told = vae.with_rate(16.0).evaluate(samples=3, examples=40)
    assert told["rate"] < 16
    assert vae.sample(3, rate=16.0) == vae.with_rate(16.0).sample(3)


def test_a_prior_is_conditioned_on_labels_and_the_rate(tmp_path: Path) -> None:
    block = "latent={name: exact_rate, dim: 4, nats: [1, 16]}"
    labels = ("data.labels=[tense]", "condition=[tense]", "train.steps=5")
    run = train(config(block, *labels), tmp_path / "told")
    fitted = fit_posthoc_prior(load_run(run), MIXTURE, "both", PriorFitConfig(epochs=1), FEW)
    assert fitted.report["condition"] == 4  # three tenses and the rate
    alone = fit_posthoc_prior(load_run(run), MIXTURE, "one", PriorFitConfig(epochs=1, rate=4.0), FEW)
    assert alone.report["condition"] == 3
    vae = TextVAE.from_pretrained(run)
    for name in ("both", "one"):
        assert len(vae.with_prior(name).sample(2, rate=4.0, condition={"tense": "past"})) == 2
    with pytest.raises(UserError, match="codes of 4 nats, not of 8"):
        vae.with_prior("one").sample(2, rate=8.0, condition={"tense": "past"})


def test_a_prior_of_one_rate_refuses_others(dial: Path) -> None:
    fit_posthoc_prior(load_run(dial), MIXTURE, "one", PriorFitConfig(epochs=1, rate=4.0), FEW)
    vae = TextVAE.from_pretrained(dial).with_prior("one")
    assert len(vae.sample(2, rate=4.0)) == 2
    assert vae.evaluate(samples=2, examples=10, rate=4.0)["rate"] != pytest.approx(4, abs=1e-3)
    for ask in (lambda: vae.sample(2, rate=8.0), lambda: vae.evaluate(samples=2, examples=10, rate=8.0)):
        with pytest.raises(
            UserError, match=r"^this prior was fitted to codes of 4 nats, not of 8: `seqvae fit"
        ):
            ask()
    file = dial / "priors" / "one.json"  # as files were before priors were conditioned on the rate
    old = {
        k: v for k, v in json.loads(file.read_text()).items() if k not in ("condition", "any_rate", "nats")
    }
    file.write_text(json.dumps(old))
    again = TextVAE.from_pretrained(dial).with_prior("one")
    assert len(again.sample(2, rate=4.0)) == 2  # the middle of 1 to 16
    with pytest.raises(UserError, match="codes of 4 nats, not of 2"):
        again.sample(2, rate=2.0)


def test_runs_without_a_density_or_without_a_code(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    plain = load_run(shutil.copytree(autoencoder(tmp_path_factory), tmp_path / "ae"))
    fitted = fit_posthoc_prior(plain, MIXTURE, "mixture", QUICK, FEW)
    assert fitted.report["valid"]["trained"] is None
    assert fitted.report["log_density"]["fitted"] > fitted.report["log_density"]["trained"]
    with pytest.raises(UserError, match="the codes of NoLatent do not: fit it to a run of gaussian"):
        fit_posthoc_prior(load_run(language_model(tmp_path_factory)), MIXTURE, "mixture", QUICK, FEW)


def test_what_is_no_prior_of_a_run(run: Path) -> None:
    loaded, latent = load_run(run), load_run(run).vae.latent
    with pytest.raises(
        UserError, match=r"run has no prior 'mix': known: none; `seqvae fit-prior .+run` fits one"
    ):
        load_posthoc_prior(run, "mix", latent)
    for name in ("../mix", "", ".mix", "a b"):
        with pytest.raises(UserError, match=r"a prior's name got '.*': use letters, digits, dots"):
            fit_posthoc_prior(loaded, MIXTURE, name, QUICK, FEW)
    save_posthoc_prior(run, PosthocPrior("mix", build_prior(MIXTURE, latent), MIXTURE, {}))
    with pytest.raises(UserError, match=r"has no prior 'mik': did you mean 'mix'\? known: mix"):
        load_posthoc_prior(run, "mik", latent)
    (run / "priors" / "mix.safetensors").write_bytes(b"no weights")
    with pytest.raises(UserError, match="cannot be read as this model's weights"):
        load_posthoc_prior(run, "mix", latent)
    (run / "priors" / "mix.json").write_text("{}")
    with pytest.raises(UserError, match="was not written by seqvae: remove it and fit the prior again"):
        load_posthoc_prior(run, "mix", latent)


def test_a_prior_belongs_to_the_weights_it_was_fitted_to(run: Path) -> None:
    latent = load_run(run).vae.latent
    file = save_posthoc_prior(run, PosthocPrior("mix", build_prior(MIXTURE, latent), MIXTURE, {}))
    weights = bytearray((run / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (run / "model.safetensors").write_bytes(bytes(weights))
    with pytest.raises(
        UserError, match=r"mix.json was fitted to other weights than .+ has now: remove it, fit again"
    ):
        load_posthoc_prior(run, "mix", latent)
    card = json.loads(file.read_text()) | {"format_version": 2}
    file.write_text(json.dumps(card))
    with pytest.raises(UserError, match="has format 2, this seqvae reads up to 1: update seqvae"):
        load_posthoc_prior(run, "mix", latent)


def test_training_batches_are_each_example_once(run: Path) -> None:
    from seqvae.build import modality_of

    loaded = load_run(run)
    wing = modality_of(loaded.config)
    feed = wing.make_batch_source(wing.load_data(loaded.config, loaded.codec), 64, 1, 0)
    everyone = torch.cat([batch.index for batch in training_batches(feed, 10**9)])
    assert everyone.sort().values.tolist() == list(range(200))
    assert sum(batch.size for batch in training_batches(feed, 70)) == 128


def cli(*arguments: object) -> Any:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(command)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command(run: Path) -> None:
    told = cli(run, "--components", 2, "--examples", 100, "--samples", 2, "--device", "cpu")
    assert told.exit_code == 0, told.output
    lines = told.stdout.splitlines()
    assert lines[0].startswith("prior mixture: ")
    assert [line.split("  ")[0] for line in lines[3:]] == ["held-out ln p(z)", "rate", "neg_elbo", "iw_nll"]
    asked = (
        "--prior",
        "flow",
        "--name",
        "bent",
        "--examples",
        100,
        "--samples",
        2,
        "--json",
        "--device",
        "cpu",
    )
    report = json.loads(cli(run, *asked).stdout)
    assert report["name"] == "bent"
    assert report["valid"]["fitted"]["rate"] is not None
    assert posthoc_prior_names(run) == ["bent", "mixture"]
    wrong = cli(run, "--prior", "flow", "--components", 3, "--name", "x", "--device", "cpu")
    assert isinstance(wrong.exception, UserError)
    assert "prior 'flow' takes no argument 'components': known: hidden, layers" in str(wrong.exception)
