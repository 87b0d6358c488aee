"""A report over tiny sentence models: its keys, its known numbers, and what may not change it.

Shapes: S samples, B sentences, T tokens, D latent dims, V words.
"""
# ruff: noqa: D102

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from seqvae.data.text.batch import SpecialIds, TextBatch
from seqvae.errors import UserError
from seqvae.evaluation import evaluate as module
from seqvae.evaluation.evaluate import KEYS, EvaluationSettings, evaluate, validate
from seqvae.evaluation.metrics.checks import MeasurementError
from seqvae.evaluation.metrics.text import TextGeneration, TextMetrics
from seqvae.interfaces import Batch, Decoder, Encoder
from seqvae.keyed_noise import KeyedNoise
from seqvae.models.latents.deterministic import Deterministic, NoEncoder, NoLatent
from seqvae.models.latents.gaussian import Gaussian
from seqvae.models.priors.standard import StandardPrior
from seqvae.models.vae import VAE

SPECIAL = SpecialIds(pad=0, unk=1, bos=2, eos=3)
WORDS, DIM = 8, 2
SENTENCES = [[4, 5], [6], [7, 7, 4], [], [5, 5, 5, 5], [4, 6, 7], [6, 4], [7], [5, 6], [4, 4, 4]]


class Counts(Encoder):
    """How often each word occurs (B, V)."""

    out_dim = WORDS

    def forward(self, batch: Batch) -> Tensor:
        words = nn.functional.one_hot(batch.source, WORDS).float()
        return (words * batch.source_mask[..., None]).sum(1)


@dataclass(frozen=True)
class WordByWord:
    """Words that depend on z and their place only."""

    logits: Tensor  # (S, B, V)

    support = "tokens"

    def token_log_probs(self, batch: TextBatch) -> Tensor:
        log_probs = self.logits.log_softmax(-1)[:, :, None].expand(-1, -1, batch.targets.shape[1], -1)
        targets = batch.targets.expand(len(self.logits), *batch.targets.shape)
        return log_probs.gather(-1, targets[..., None])[..., 0].masked_fill(~batch.mask, 0.0)

    def log_prob(self, batch: TextBatch) -> Tensor:
        return self.token_log_probs(batch).sum(-1)


class Table(Decoder):
    """Logits linear in z; `reads` False: z goes unread."""

    def __init__(self, dim: int = DIM, reads: bool = True) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(dim, WORDS))
        self.bias = nn.Parameter(torch.empty(WORDS))
        self.dropout = nn.Dropout(0.9)
        self.needs_encoder = reads

    def forward(self, z: Tensor, c: Tensor | None = None) -> WordByWord:
        return WordByWord(
            self.dropout((z if self.needs_encoder else torch.zeros_like(z)) @ self.table + self.bias)
        )


def text_vae(latent: str = "gaussian", reads: bool = True) -> VAE:
    torch.manual_seed(0)
    if latent == "none":
        vae = VAE(NoEncoder(), NoLatent(), StandardPrior(0), Table(0))
    else:
        made = {"gaussian": Gaussian, "deterministic": Deterministic}[latent](WORDS, DIM)
        vae = VAE(Counts(), made, StandardPrior(DIM), Table(reads=reads))
    for parameter in vae.parameters():
        parameter.data.normal_(std=0.4)
    return vae


def padded(rows: list[list[int]]) -> Tensor:
    return nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], True, SPECIAL.pad)


def batches(size: int = 4, order: list[int] | None = None) -> list[TextBatch]:
    order = order or list(range(len(SENTENCES)))
    return [batch(order[i : i + size]) for i in range(0, len(order), size)]


def batch(rows: list[int]) -> TextBatch:
    index, words = torch.tensor(rows), [SENTENCES[i] for i in rows]
    targets = padded([[*row, SPECIAL.eos] for row in words])
    inputs = padded([[SPECIAL.bos, *row] for row in words])
    lengths = torch.tensor([len(row) + 1 for row in words])
    labels = torch.empty(len(rows), 0)
    noise = KeyedNoise(5, 0, index)
    return TextBatch(targets, lengths, inputs, targets, lengths, SPECIAL, index, labels, noise)


def perfect() -> TextMetrics:
    """A decoder that gives every sentence back, and two different sentences from the prior."""
    tools = TextGeneration(
        reconstruct=lambda z, found: [SENTENCES[i] for i in found.index.tolist()],
        prior_sample=lambda n, seed: [[4], [5, seed]] * (n // 2),
        detokenize=lambda tokens: " ".join(f"w{token}" for token in tokens),
        characters=sum(3 * len(row) - 1 for row in SENTENCES if row),
    )
    return TextMetrics(tools)


def test_report_has_every_key_and_is_json() -> None:
    report = evaluate(text_vae(), batches(), measures=perfect())
    assert set(KEYS) <= set(report)
    assert [key for key in KEYS if report[key] is None] == []
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report["n"] == len(SENTENCES)
    assert report["tokens"] == sum(len(row) + 1 for row in SENTENCES)
    assert report["mi"] == report["mi_low"]
    assert report["precision"] == "fp32"


def test_parts_agree() -> None:
    report = evaluate(text_vae(), batches(), samples=7, measures=perfect())
    assert report["neg_elbo"] == pytest.approx(report["rate"] + report["distortion"])
    assert report["rate"] == pytest.approx(sum(report["kl_per_dim"]))
    assert report["ppl"] == pytest.approx(math.exp(report["iw_nll"] * report["n"] / report["tokens"]))
    bits = report["iw_nll"] * report["n"] / math.log(2)
    assert report["bits_per_char"] == pytest.approx(bits / (perfect().tools.characters + report["n"]))
    assert list(report["iw_nll_at"]) == ["1", "4", "7"]
    assert 1 <= report["ess"] <= report["iw_samples"] == 7
    assert report["spectrum"] == sorted(report["spectrum"], reverse=True)


def test_perfect_reconstruction() -> None:
    report = evaluate(
        text_vae(), batches(), measures=perfect(), settings=EvaluationSettings(prior_draws=10, seed=9)
    )
    for numbers in (report, report["reconstruction_at_samples"]):
        assert (numbers["token_accuracy"], numbers["exact_match"], numbers["edit_distance"]) == (1, 1, 0)
    assert (report["distinct_samples"], report["distinct_of"]) == (2, 10)


def test_codes_and_sentences_stay_together() -> None:
    vae, seen = text_vae(), []

    def reconstruct(z: Tensor, found: TextBatch) -> list[list[int]]:
        with torch.no_grad():
            seen.append(torch.allclose(z, vae.posterior(found).mean, atol=1e-6))
        return [[4]] * len(z)

    tools = TextGeneration(reconstruct, lambda n, seed: [[4]], str, 10)
    evaluate(vae, batches(), measures=TextMetrics(tools))
    assert seen == [True, False] * 3  # the mean, then a sample


@pytest.mark.parametrize("changed", [{"size": 1}, {"size": 10}, {"order": [3, 9, 1, 0, 2, 8, 4, 7, 5, 6]}])
def test_batches_and_order_change_nothing(changed: dict[str, Any]) -> None:
    settings = EvaluationSettings(mi_examples=6)
    one = evaluate(text_vae(), batches(), settings=settings, measures=perfect())
    other = evaluate(text_vae(), batches(**changed), settings=settings, measures=perfect())
    assert other["cautions"] == one["cautions"]
    for name in one.keys() - {"seconds", "tokens_per_s", "precision", "cautions", "active_units_outlying"}:
        assert other[name] == pytest.approx(one[name], rel=1e-5, abs=1e-6), name


def test_decoder_work_is_chunked_without_changing_a_number() -> None:
    whole = evaluate(text_vae(), batches())
    small = evaluate(text_vae(), batches(), settings=EvaluationSettings(cells=1))
    assert small["iw_nll"] == pytest.approx(whole["iw_nll"], rel=1e-6)
    assert small["rate"] == pytest.approx(whole["rate"], rel=1e-6)


def test_likelihood_is_that_of_a_quadrature() -> None:
    vae = text_vae()
    for parameter in vae.latent.parameters():
        nn.init.zeros_(parameter)
    nn.init.constant_(vae.latent.logvar.bias, math.log(2))  # wider than the prior: the weights are bounded
    grid = torch.linspace(-6, 6, 241)
    z = torch.cartesian_prod(grid, grid)[:, None]  # (S, 1, D)
    with torch.no_grad():
        vae.eval()
        log_joint = [vae.likelihood(z).log_prob(batch([i]))[:, 0] for i in range(len(SENTENCES))]
        mass = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum((1, 2)) + 2 * math.log(0.05)
        exact = -torch.stack([(row + mass).logsumexp(0) for row in log_joint]).mean()
    assert evaluate(vae, batches(), samples=4000)["iw_nll"] == pytest.approx(float(exact), abs=0.02)


def test_unread_code_loses_nothing_when_shuffled() -> None:
    report = evaluate(text_vae(reads=False), batches(), measures=TextMetrics())
    assert report["shuffle_gap"] == 0
    assert report["gain_by_position"] == [0.0] * 5  # the longest sentence and its end


def test_gain_by_position_adds_up_to_the_shuffle_gap() -> None:
    report = evaluate(text_vae(), batches(), measures=TextMetrics())
    reached = [sum(len(row) >= t for row in SENTENCES) for t in range(5)]
    total = sum(g * n for g, n in zip(report["gain_by_position"], reached, strict=True))
    assert total / len(SENTENCES) == pytest.approx(report["shuffle_gap"])


def test_autoencoder_has_no_likelihood() -> None:
    report = evaluate(text_vae("deterministic"), batches(), measures=perfect())
    absent = "neg_elbo rate iw_nll iw_nll_se iw_samples ess ppl bits_per_char mi mi_low mi_high kl_per_dim"
    assert [name for name in absent.split() if report[name] is not None] == []
    assert report["distortion"] > 0
    assert report["exact_match"] == 1
    assert "neg_elbo" not in validate(text_vae("deterministic"), batches(), mi_examples=9)


def test_language_model_is_exact() -> None:
    vae = text_vae("none")
    report = evaluate(vae, batches(), measures=perfect())
    with torch.no_grad():
        nll = [-WordByWord(vae.decoder.bias[None, None]).log_prob(batch([i])) for i in range(10)]
    assert report["iw_nll"] == pytest.approx(float(torch.stack(nll).mean()), rel=1e-6)
    assert report["iw_nll"] == report["distortion"] == report["neg_elbo"]
    assert (report["rate"], report["mi"], report["active_units"], report["iw_samples"]) == (0, 0, 0, 1)
    assert report["kl_per_dim"] == []
    absent = "token_accuracy exact_match bleu shuffle_gap distinct_samples"
    assert [name for name in absent.split() if report[name] is not None] == []


def test_without_text_tools_the_likelihoods_remain() -> None:
    report = evaluate(text_vae(), batches(), measures=TextMetrics())
    assert report["ppl"] > 1
    assert report["bits_per_char"] is report["bleu"] is report["distinct_samples"] is None


def test_mi_over_a_stated_subset() -> None:
    report = evaluate(text_vae(), batches(), settings=EvaluationSettings(mi_examples=6))
    assert report["mi_n"] == 6
    assert report["mi_low"] <= math.log(6)


def test_single_sentence_has_no_spread() -> None:
    single = [batch([0])]
    report = evaluate(text_vae(), single)
    assert (report["mi_low"], report["mi_high"], report["shuffle_gap"], report["iw_nll_se"]) == (
        0, None, None, None,
    )  # fmt: skip


def test_modes_and_gradients_are_left_as_they_were() -> None:
    vae = text_vae()
    vae.train()
    vae.encoder.eval()  # a frozen part
    first = evaluate(vae, batches())
    assert (vae.training, vae.encoder.training, vae.decoder.dropout.training) == (True, False, True)
    assert first["iw_nll"] == evaluate(vae.eval(), batches())["iw_nll"]  # dropout was off
    assert all(parameter.grad is None for parameter in vae.parameters())
    assert torch.is_grad_enabled()


def test_validation_is_the_elbo_of_one_sample() -> None:
    vae = text_vae()
    numbers = validate(vae, batches(), mi_examples=10_000)
    assert set(numbers) == {
        "n",
        "neg_elbo",
        "rate",
        "distortion",
        "active_units",
        "kl_per_dim",
        "mi_low",
        "mi_n",
    }
    report = evaluate(vae, batches(), samples=1)
    assert {name: report[name] for name in numbers} == numbers
    assert "mi_low" not in validate(vae, batches())


def test_progress_reaches_the_end_of_each_pass() -> None:
    told: list[tuple[int, int, str]] = []
    evaluate(text_vae(), batches(), measures=perfect(), progress=lambda *now: told.append(now))
    assert {(10, 10, what) for what in ("likelihood", "shuffle", "reconstruction")} <= set(told)
    assert told[0] == (4, 10, "likelihood")


def test_an_iterator_is_read_more_than_once() -> None:
    assert evaluate(text_vae(), iter(batches()))["shuffle_gap"] is not None


def test_autocast_of_the_caller_is_named() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert evaluate(text_vae(), batches())["precision"] == "bf16"


def test_nothing_to_evaluate() -> None:
    with pytest.raises(UserError, match="nothing to evaluate: the data set holds no example"):
        evaluate(text_vae(), [])
    with pytest.raises(UserError, match="samples must be at least 1, got 0"):
        evaluate(text_vae(), batches(), samples=0)


def test_broken_model_fails_loudly() -> None:
    vae = text_vae()
    nn.init.constant_(vae.decoder.bias, math.nan)
    with pytest.raises(MeasurementError, match="distortion is nan"):
        evaluate(vae, batches())


def test_impossible_numbers_fail_loudly(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = module.code_metrics
    monkeypatch.setattr(module, "code_metrics", lambda *args: honest(*args) | {"mi_low": 9.0, "mi_se": 0.0})
    with pytest.raises(MeasurementError, match="MI <= rate does not hold"):
        evaluate(text_vae(), batches())
