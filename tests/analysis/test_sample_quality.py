"""Forward and reverse perplexity of samples: repeated text, the data themselves, and seeds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tiny import language_model, trained
from tiny_text import untruncated
from typer.testing import CliRunner

from seqvae.analysis.sample_perplexity import SmallLM, forward_ppl, reverse_ppl
from seqvae.analysis.sample_quality import _texts, real_quality, sample_quality
from seqvae.cli import app
from seqvae.data.text.dataset import load_data
from seqvae.errors import UserError
from seqvae.inference import TextVAE

TINY = SmallLM(embed=8, hidden=16, dropout=0.0, steps=40, batch_size=16, lr=0.02, precision="fp32")


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> TextVAE:
    return TextVAE.from_pretrained(language_model(tmp_path_factory))


@pytest.fixture(scope="module")
def real(vae: TextVAE) -> list[str]:
    return _texts(vae, load_data(vae.config.data, vae.tokenizer).train, 150, seed=1)


def test_numbers_of_samples_and_of_the_data(vae: TextVAE, scorer: TextVAE) -> None:
    report = sample_quality(vae, scorer, 80, seed=1, small=TINY)
    again = sample_quality(vae, scorer, 80, seed=1, small=TINY)
    assert report == again
    assert report["samples"] == 80
    assert report["forward_ppl"] > 1
    assert report["reverse_ppl"] > 1
    own = untruncated(max_length=vae.config.data.max_tokens)
    assert forward_ppl(scorer, vae.sample(80, own, seed=1)) == report["forward_ppl"]
    assert forward_ppl(scorer, vae.sample(80, own, seed=2)) != report["forward_ppl"]
    hoped = real_quality(vae, scorer, 80, seed=1, small=TINY)
    assert hoped.keys() == report.keys()
    assert hoped["samples"] == 80
    assert hoped["reverse_ppl"] < report["reverse_ppl"]  # of a hardly trained model


def test_forward_is_the_evaluation_of_the_sentences(scorer: TextVAE, real: list[str], tmp_path: Path) -> None:
    file = tmp_path / "real.txt"
    file.write_text("\n".join(real) + "\n")
    known = scorer.evaluate(str(file), samples=1)["ppl"]
    assert forward_ppl(scorer, [*real, "", " "]) == known
    assert forward_ppl(scorer, ["", " "]) is None


def test_a_repeater_is_caught_by_the_reverse_and_not_by_the_forward(
    vae: TextVAE, scorer: TextVAE, real: list[str]
) -> None:
    cheapest = min(real[:10], key=lambda sentence: forward_ppl(scorer, [sentence]) or 0.0)
    forward, reverse = forward_ppl(scorer, [cheapest] * 60), reverse_ppl(vae, [cheapest] * 60, small=TINY)
    wanted_forward, wanted_reverse = forward_ppl(scorer, real), reverse_ppl(vae, real, small=TINY)
    assert forward is not None
    assert reverse is not None
    assert wanted_forward is not None
    assert wanted_reverse is not None
    assert forward < wanted_forward
    assert reverse > 2 * wanted_reverse
    assert reverse_ppl(vae, ["", "a cat"], small=TINY) is None


def test_real_sentences_are_those_of_the_data(vae: TextVAE, real: list[str]) -> None:
    everything = _texts(vae, load_data(vae.config.data, vae.tokenizer).train)
    assert len(everything) == 200
    assert len(real) == 150
    assert set(real) <= set(everything)
    assert real != everything[:150], "they are chosen, not the first"


def test_what_is_refused(vae: TextVAE, scorer: TextVAE, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(UserError, match="samples got 1: sentences are compared with one another"):
        sample_quality(vae, scorer, 1)
    with pytest.raises(UserError, match=r"has a code: give a language model \(a run with `latent: none`\)"):
        sample_quality(vae, vae, 10)
    sets = "latent.name=none", "train.steps=20", "tokenizer.vocab_size=30"
    other = TextVAE.from_pretrained(trained(tmp_path_factory.getbasetemp(), "tiny-lm-30", *sets))
    with pytest.raises(
        UserError, match=r"tokenizes text differently from .+: train one on the same data and tok"
    ):
        real_quality(vae, other, 10)


def test_the_command_sets_samples_beside_real_sentences(
    vae: TextVAE, scorer: TextVAE, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seqvae.analysis import sample_perplexity as module

    monkeypatch.setattr(module, "SmallLM", lambda: TINY)
    words = ["quality", str(vae.run.path), "--with", str(scorer.run.path), "-n", "40", "--device", "cpu"]
    told = json.loads(CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False).stdout)
    assert told["samples"] == sample_quality(vae, scorer, 40, small=TINY)
    assert told["real"] == real_quality(vae, scorer, 40, small=TINY)
    table = CliRunner().invoke(app, words, catch_exceptions=False).stdout.splitlines()
    assert table[0].split() == ["measure", "samples", "real", "sentences"]
    assert table[2].split()[0] == "forward_ppl"


def test_the_config_of_the_small_model(vae: TextVAE, tmp_path: Path) -> None:
    config = replace(TINY, hidden=12).config(tmp_path / "samples.txt", vae, seed=3)
    assert config.latent.name == "none"
    assert (config.train.seed, config.train.steps) == (3, 40)
    assert config.decoder.arguments["tie"] is False
    assert SmallLM().config(tmp_path / "samples.txt", vae, 0).decoder.arguments["tie"] is True
