"""Numbers that cannot be trusted have cautions: narrow posteriors, heavy weights, collapsed codes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import Listener, config
from tiny_pictures import store_of
from tiny_text import SENTENCES, text_batch, tiny_vae
from torch.distributions import Normal

from seqvae.data.image.dataset import same_pictures
from seqvae.evaluation.evaluate import evaluate
from seqvae.evaluation.metrics.cautions import cautions, effective_examples, heavy_weights, unit_errors
from seqvae.evaluation.metrics.information import mutual_information
from seqvae.evaluation.metrics.likelihood import draws
from seqvae.evaluation.metrics.text_scores import corpus_bleu, has_bleu
from seqvae.inference import TextVAE
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.diagonal_normals import NARROW, DiagonalNormals, scaled_squares
from seqvae.models.latents.exact_normal import ExactNormal, log_variance
from seqvae.models.latents.gaussian import DiagonalNormal
from seqvae.runs.checkpoint import TrainState
from seqvae.training.loop import train
from seqvae.training.model_selection import collapse_message, is_collapsed

DEEP = -129.0  # the log variance of one dim that costs 64 nats: exp(129) is no float
NOISE = KeyedNoise(3, 0, torch.arange(6))


@pytest.mark.parametrize("logvar", [0.0, -40.0, DEEP, -400.0, -4000.0])
def test_a_difference_of_equal_numbers_is_zero(logvar: float) -> None:
    zero = torch.zeros(1, requires_grad=True)
    found = scaled_squares(zero, torch.tensor([logvar]))
    assert found.tolist() == [0.0]
    assert torch.autograd.grad(found.sum(), zero)[0].isfinite().all()


def test_squares_are_those_of_the_quotient() -> None:
    d, logvar = torch.tensor([0.3, -2.0, 1e-28]), torch.tensor([-3.0, 1.0, DEEP])
    expected = d.double() ** 2 * torch.exp(-logvar.double())
    torch.testing.assert_close(scaled_squares(d, logvar).double(), expected, rtol=1e-5, atol=0)


def test_densities_of_narrow_normals() -> None:
    """A dim of deviation 1e-6 beside one of 1; the expanded square would be wrong by whole nats."""
    mean = torch.tensor([[3.0, 0.5], [3.0001, -0.5]]).double()
    logvar = torch.tensor([[2 * math.log(1e-6), 0.0], [2 * math.log(1e-6), 0.2]]).double()
    assert float(logvar.min()) < NARROW
    z = mean + torch.tensor([[1.7e-6, 1.0], [-0.3e-6, 0.1]])
    expected = Normal(mean, (0.5 * logvar).exp()).log_prob(z[:, None]).sum(-1)
    torch.testing.assert_close(DiagonalNormals(mean, logvar).log_prob(z), expected, rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize("latent", ["gaussian", "flow"])
def test_the_density_of_a_draw_is_that_of_the_noise(latent: str) -> None:
    vae, batch = tiny_vae(latent={"name": latent, "dim": 2}, std=0.2), text_batch()
    with torch.no_grad():
        q: Any = vae.posterior(batch)
        z, log_q = q.rsample_with_log_prob(50, batch.random)
        assert torch.equal(z, q.rsample(50, batch.random))
        torch.testing.assert_close(log_q, q.log_prob(z), rtol=1e-4, atol=1e-4)


def test_where_floats_end_the_noise_still_counts() -> None:
    """E log q(z|x) = -entropy, to the bit where no float lies between mean and z."""
    q = DiagonalNormal(torch.ones(6, 4), torch.full((6, 4), DEEP))
    log_q = torch.cat([part for _, part in draws(q, NOISE, 4000, 100)])
    entropy = 2 * (1 + math.log(2 * math.pi) + DEEP)
    assert float(log_q.mean()) == pytest.approx(-entropy, abs=0.05)
    assert log_q.isfinite().all()


def test_separated_narrow_codes_carry_ln_n() -> None:
    q = DiagonalNormal(torch.linspace(-2, 2, 6)[:, None].expand(6, 4), torch.full((6, 4), DEEP))
    found = mutual_information([q], q.rsample(1, NOISE))
    assert found.low == pytest.approx(math.log(6))


@pytest.mark.parametrize("nats", [64.0, 700.0, 3000.0])
def test_one_sample_bound_is_the_elbo_at_any_rate(nats: float) -> None:
    """-E log w = distortion + KL, the KL being known: all nats in the deviation of one of the dims."""
    vae, batch = tiny_vae(), text_batch()
    s = torch.tensor([[-math.sqrt(2 * nats), 0.0]]).expand(len(SENTENCES), 2)
    q = ExactNormal(torch.zeros_like(s), log_variance(s), 0.5 * s**2)
    with torch.no_grad():
        rows = list(draws(q, batch.random, 2000, 100))
        z, log_q = (torch.cat(part) for part in zip(*rows, strict=True))
        log_p = vae.prior(None).log_prob(z)
    assert float((log_q - log_p).double().mean()) == pytest.approx(nats, abs=0.1)


def test_a_variable_rate_over_few_dims_is_evaluated(tmp_path: Path) -> None:
    sets = ("latent={name: exact_rate, dim: 4, nats: [2, 64]}", "train.steps=20")
    vae = TextVAE.from_pretrained(train(config(*sets), tmp_path / "run"))
    for nats in (2.0, 64.0):
        report = vae.evaluate(samples=5, examples=60, rate=nats)
        assert report["rate"] == pytest.approx(nats, rel=1e-4)
        assert report["iw_nll"] < report["neg_elbo"]
        assert report["mi"] <= math.log(60) + 1e-6


def test_heavy_weights_are_reported() -> None:
    ess = torch.tensor([1.1, 1.5, 6.0, 9.0])
    assert heavy_weights(ess, 20) == 0.5
    assert heavy_weights(ess, 4) is None, "four weights say nothing"
    said = cautions({"heavy_weights": 0.5, "iw_samples": 20})
    assert said[0].startswith(
        "iw_nll: at 50% of the examples one of the 20 samples carries most of the weight"
    )
    assert cautions({"heavy_weights": 0.05, "iw_samples": 20}) == []
    assert cautions({}) == []


def test_a_report_carries_its_cautions() -> None:
    vae = tiny_vae()
    with torch.no_grad():
        vae.latent.logvar.bias.fill_(-12.0)  # far narrower than p(z|x)
    report = evaluate(vae, [text_batch()], samples=100)
    assert 0 <= report["heavy_weights"] <= 1
    assert [line.split(":")[0] for line in report["cautions"]] == ["iw_nll"] * (report["heavy_weights"] > 0.1)
    assert report["active_units_low"] <= report["active_units"] <= report["active_units_high"]


def test_units_that_depend_on_outliers_are_reported() -> None:
    torch.manual_seed(0)
    means = torch.stack([torch.randn(300), torch.zeros(300), torch.randn(300)], 1).double()
    means[:, 2] *= 0.101 / means[:, 2].std(correction=0)  # just above the threshold
    means[7, 1] = 5.0  # one code far out: variance .08
    variance = means.var(0, correction=0)
    assert variance[1] > 0.01
    assert float(effective_examples(means)[1]) == pytest.approx(1, abs=0.1)
    assert float(effective_examples(means)[0]) == pytest.approx(100, rel=0.3)
    found = unit_errors(means, variance, 0.01)
    assert found == {"active_units_low": 1, "active_units_high": 3, "active_units_outlying": 1}
    said = cautions({"active_units": 3, **found})
    assert said[0].startswith("active_units: 1 of the 3 dims owe their variance to fewer than 3 examples")


@pytest.mark.parametrize(
    ("references", "meant"),
    [
        (["emma", "olivia", "mary ann"], False),
        (["CC(=O)Oc1ccccc1"] * 5, False),
        (["床前明月光"] * 5, False),
        (["a man is walking"] + ["emma"] * 9, True),
        (["a man is walking"] + ["emma"] * 10, False),
        ([], False),
    ],
)
def test_bleu_is_null_where_it_has_no_meaning(references: list[str], meant: bool) -> None:
    assert has_bleu(references) is meant
    assert meant or corpus_bleu(references, references) is None


def test_collapse_looks_at_information_too() -> None:
    names = {"rate": 5.9, "active_units": 30, "mi_low": 0.19, "mi_n": 500}
    assert is_collapsed(names, 32)
    assert not is_collapsed(names | {"mi_low": 4.0}, 32)
    assert not is_collapsed(names | {"mi_low": None}, 32)
    assert not is_collapsed({"rate": 5.9, "active_units": 30, "mi_low": 0.6, "mi_n": 2}, 32)
    assert is_collapsed({"rate": 0.2, "active_units": 3}, 32)
    said = collapse_message(TrainState(), names, 32, "free_bits")
    assert said is not None
    assert "rate 5.90 nats, 30 active units, MI 0.19 nats, so it is almost the same for all examples" in said
    assert said.endswith("Try free_bits")


def test_a_collapse_that_the_tokenizer_caused_names_it(tmp_path: Path) -> None:
    words = np.random.default_rng(0).integers(0, 26, (300, 12))
    lines = ["".join(chr(97 + letter) for letter in row) for row in words]
    (tmp_path / "names.txt").write_text("".join(f"{line}\n" for line in lines))
    report = Listener()
    sets = (
        f"data={{train: {tmp_path / 'names.txt'}, max_tokens: 20}}",
        "tokenizer.force=true",
        "remedies=[{name: constant_beta, beta: 9}]",
    )
    train(config(*sets), tmp_path / "run", report)
    told = " ".join(report.warnings)
    assert "100 % of the validation tokens are unknown to the tokenizer" in told
    assert "free_bits" not in told


def test_pictures_that_are_all_the_same_are_the_cause() -> None:
    one = np.arange(12, dtype=np.uint8).reshape(1, 1, 3, 4)
    assert same_pictures(store_of(one.repeat(5, 0)))
    other = one.repeat(5, 0)
    other[3, 0, 0, 0] = 9
    assert not same_pictures(store_of(other))
