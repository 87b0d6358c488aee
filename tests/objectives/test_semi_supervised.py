"""The model M2: labels that are missing are summed out, and its classifier learns from few of them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import BASE, Listener, assert_same_runs
from tiny_text import SIZES, randomized, text_batch, tiny_config
from torch import Tensor
from typer.testing import CliRunner

from seqvae.build import build_objective, build_vae
from seqvae.cli import app
from seqvae.config.loading import parse_config
from seqvae.errors import UserError
from seqvae.evaluation.metrics.classifier import classifier_metrics
from seqvae.inference import TextVAE
from seqvae.interfaces import RunContext
from seqvae.models.vae import VAE
from seqvae.objectives import ELBO, SemiSupervised
from seqvae.training.loop import resume, train
from seqvae.utils.signals import Interrupted

TOLD: dict[str, Any] = {"data": {"labels": ["mood", "size"]}, "condition": {"size": {"classes": [0, 1, 2]}}}
CONFIG = tiny_config(objective={"name": "semi_supervised"}, **TOLD)
FACTS = RunContext(10, 50, 7, 2, 7, ("mood", "size"), (1.0, 0.5))
NONE = [math.nan] * 7


def batch_of(sizes: list[float]) -> Any:
    return text_batch().replace(labels=torch.stack([torch.zeros(7), torch.tensor(sizes)], 1))


@pytest.fixture
def vae() -> VAE:
    made: VAE = randomized(build_vae(CONFIG, SIZES), 0.5)
    return made


def elbo_of(vae: VAE, size: float) -> Tensor:
    """-ELBO (B,) as if all were of one class, with the batch's own noise."""
    batch = batch_of([size] * 7)
    out = vae(batch)
    return out.rate + out.distortion


def test_a_label_that_is_there_costs_its_own_bound(vae: VAE) -> None:
    objective = SemiSupervised(alpha=0.0)
    sizes = [0.0, 1, 2, 0, 1, 2, 0]
    loss = objective(vae, batch_of(sizes), 0)
    plain = ELBO()(vae, batch_of(sizes), 0)
    torch.testing.assert_close(loss.total, plain.total + math.log(3))
    torch.testing.assert_close(loss.rate, plain.rate)
    torch.testing.assert_close(loss.distortion, plain.distortion)


def test_a_label_that_is_missing_is_summed_out(vae: VAE) -> None:
    loss = SemiSupervised()(vae, batch_of(NONE), 0)
    assert vae.classifier is not None
    q = vae.classifier(batch_of(NONE)).exp()  # (B, 3)
    costs = torch.stack([elbo_of(vae, value) for value in (0.0, 1.0, 2.0)], -1) + math.log(3)
    known = (q * costs).sum(-1) + (q * q.log()).sum(-1)
    torch.testing.assert_close(loss.total, known.mean())
    assert float(loss.terms["classification"].detach()) == 0
    best = -torch.logsumexp(-costs, -1)  # what no q(y|x) can go below
    assert bool((known > best - 1e-5).all())


def test_labels_teach_the_classifier_by_their_mean(vae: VAE) -> None:
    objective = build_objective(CONFIG, vae, FACTS)
    assert isinstance(objective, SemiSupervised)
    assert objective.share == 0.5
    batch = batch_of([2.0, *NONE[1:]])
    assert vae.classifier is not None
    expected = -objective.alpha * vae.classifier(batch)[0, 2] / 7 / 0.5
    torch.testing.assert_close(objective(vae, batch, 0).terms["classification"], expected)


def test_noise_is_the_examples_own(vae: VAE) -> None:
    one, two = (SemiSupervised()(vae, batch_of(NONE), 0).total for _ in range(2))
    assert torch.equal(one, two)


def test_a_missing_label_is_guessed_at_use(vae: VAE) -> None:
    batch = batch_of([math.nan, 1.0, *NONE[2:]])
    assert vae.classifier is not None
    likeliest = vae.classifier(batch).argmax(-1)
    c = vae.condition(batch)
    assert c is not None
    assert c.argmax(-1).tolist() == [int(likeliest[0]), 1, *likeliest[2:].tolist()]
    bare = vae.condition(text_batch())  # a batch without any column
    assert bare is not None
    assert torch.equal(bare.argmax(-1), likeliest)


def test_accuracy_counts_examples_with_labels(vae: VAE) -> None:
    assert vae.classifier is not None
    likeliest = vae.classifier(text_batch()).argmax(-1).tolist()
    sizes = [float(likeliest[0]), float((likeliest[1] + 1) % 3), *NONE[2:]]
    found = classifier_metrics(vae, [batch_of(sizes)])
    assert (found["label_accuracy"], found["label_n"]) == (0.5, 2)
    log_q = vae.classifier(batch_of(sizes)).detach()
    assert found["label_nll"] == pytest.approx(-float(sum(log_q[i, int(sizes[i])] for i in (0, 1))) / 2)
    assert classifier_metrics(vae, [batch_of(NONE)]) == {}
    assert classifier_metrics(build_vae(tiny_config(), SIZES), [text_batch()]) == {}


def test_what_it_refuses(vae: VAE) -> None:
    with pytest.raises(
        UserError, match="it decodes an example once per class, BagOfWords reads one pass: leave"
    ):
        build_objective(
            tiny_config(objective={"name": "semi_supervised"}, remedies=[{"name": "bag_of_words"}], **TOLD),
            vae,
            FACTS,
        )
    with pytest.raises(UserError, match="'semi_supervised' got no example with 'size': label some"):
        SemiSupervised().attach(vae, RunContext(1, 1, 1, 2, 7, ("mood", "size"), (1.0, 0.0)))
    with pytest.raises(UserError, match="'semi_supervised' needs a label to infer: name it in condition"):
        SemiSupervised().attach(build_vae(tiny_config(), SIZES))


def test_remedies_of_the_kl_act(vae: VAE) -> None:
    config = tiny_config(
        objective={"name": "semi_supervised"}, remedies=[{"name": "constant_beta", "beta": 0.0}], **TOLD
    )
    loss = build_objective(config, vae, FACTS)(vae, batch_of([0.0] * 7), 0)
    apart = loss.distortion + math.log(3) + loss.terms["classification"]
    torch.testing.assert_close(loss.total, apart)


# a run


SETTINGS: dict[str, Any] = {
    **BASE,
    "data": {**BASE["data"], "labels": ["question"], "num_labeled": 60},
    "condition": ["question"],
    "objective": {"name": "semi_supervised", "alpha": 10},
    "train": {**BASE["train"], "steps": 60},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(parse_config(SETTINGS), tmp_path_factory.mktemp("m2") / "run")


def test_the_classifier_learns_from_few_labels(run: Path) -> None:
    made = TextVAE.from_pretrained(run)
    report = made.evaluate(samples=2, examples=200)
    assert report["label_n"] == 200
    assert report["label_accuracy"] > 0.9  # a question ends in its mark
    asked = "does the old dog see a ball in the park ?"
    (guessed,) = made.reconstruct([asked])
    (fixed,) = made.reconstruct([asked], condition={"question": "question"})
    assert guessed == fixed
    with pytest.raises(
        UserError, match="this model is conditioned on labels: give --condition question=VALUE"
    ):
        made.sample(2)


def test_it_goes_on_as_if_it_had_not_stopped(run: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    with pytest.raises(Interrupted, match="everything is saved"):
        train(parse_config(SETTINGS), half, Listener(stop_at_log=30))
    resume(half)
    assert_same_runs(run, half)


def test_the_command_line_prints_the_accuracy(run: Path) -> None:
    result = CliRunner().invoke(app, ["evaluate", str(run), "--examples", "50", "--samples", "2", "--json"])
    assert result.exit_code == 0, result.output
    assert '"label_accuracy"' in result.stdout
    written = CliRunner().invoke(app, ["sample", str(run), "-n", "2", "--condition", "question=question"])
    assert len(written.stdout.splitlines()) == 2
