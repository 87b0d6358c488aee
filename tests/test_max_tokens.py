"""One longest length: use reads as much of a text as training did, unless asked for more."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import SENTENCES, Listener, config
from typer.testing import CliRunner

from seqvae.cli import app
from seqvae.config.loading import parse_config
from seqvae.data.text.batching import AT_ONCE, token_bounded
from seqvae.data.text.feed import measured_feed
from seqvae.errors import UserError
from seqvae.inference import ImageVAE, TextVAE, text_writer
from seqvae.inference import image_vae as image_module
from seqvae.training.loop import train
from seqvae.utils import notices

MOST = 20  # of the tiny run
LONG = " ".join(["the old dog sees a ball ."] * 10)
CUT = " ".join(LONG.split()[:MOST])


@pytest.fixture(autouse=True)
def _said_anew() -> None:
    notices.forget()


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.name == "seqvae"]


def test_every_verb_reads_what_training_read(vae: TextVAE, tmp_path: Path) -> None:
    assert vae.config.data.max_tokens == MOST
    torch.testing.assert_close(vae.encode([LONG]), vae.encode([CUT]))
    assert vae.score([LONG], 3)[0] == vae.score([CUT], 3)[0]
    assert vae.reconstruct([LONG]) == vae.reconstruct([CUT])
    assert vae.shift([LONG], torch.ones(4)) == vae.shift([CUT], torch.ones(4))
    for name, text in (("long", LONG), ("cut", CUT)):
        (tmp_path / name).write_text(f"{text}\n" * 3)
    found = [vae.evaluate(str(tmp_path / name), samples=3) for name in ("long", "cut")]
    for key in ("tokens", "iw_nll", "bits_per_char", "exact_match"):
        assert found[0][key] == pytest.approx(found[1][key], rel=1e-5), key
    assert vae.score([LONG], 3)[0].units == MOST + 1


def test_more_is_read_where_it_is_asked_for(vae: TextVAE) -> None:
    longer = vae.with_max_tokens(100)
    assert longer.score([LONG], 3)[0].units == len(LONG.split()) + 1
    assert not torch.allclose(longer.encode([LONG]), vae.encode([LONG]))
    assert longer.score(SENTENCES, 3) == vae.score(SENTENCES, 3)
    assert vae.with_max_tokens(2).reconstruct([LONG])[0].text == "the old"
    with pytest.raises(UserError, match="max_tokens got 0: give a whole number, 1 or more"):
        vae.with_max_tokens(0)


def test_the_cut_is_reported_once(vae: TextVAE, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "seqvae")
    for _ in range(2):
        vae.reconstruct([LONG, SENTENCES[0], LONG])
    assert lines(caplog) == [
        "2 of 3 sentences have more than 20 tokens and are cut there, as in training: --max-tokens N "
        "(with_max_tokens) reads more"
    ]


def test_an_evaluated_file_says_what_was_cut(
    vae: TextVAE, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "seqvae")
    (tmp_path / "a").write_text(f"{LONG}\n{SENTENCES[0]}\n")
    vae.evaluate(str(tmp_path / "a"), samples=1)
    assert lines(caplog)[0].startswith(f"1 of the 2 sentences of {tmp_path / 'a'} have more than 20 tokens")
    notices.forget()
    caplog.clear()
    drops = vae.config.data.model_copy(update={"overlong": "drop"})
    changed = vae.config.model_copy(update={"data": drops})
    other = TextVAE(replace(vae.run, config=changed))
    other.evaluate(str(tmp_path / "a"), samples=1)
    assert "1 sentences of" in lines(caplog)[0]
    assert "are left out, as in training" in lines(caplog)[0]


def test_unknown_words_are_reported_once(vae: TextVAE, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "seqvae")
    vae.encode(["the zebra", "a zyx qwe"])
    vae.encode(["another zebra"])
    assert lines(caplog) == [
        "3 of 5 tokens are outside the vocabulary, in 2 of 2 sentences: the model reads <unk> there, "
        "whatever the word"
    ]


def test_the_command_line_has_the_option(run: Path) -> None:
    def units(*more: str) -> str:
        done = CliRunner().invoke(app, ["score", str(run), LONG, "--samples", "1", "--json", *more])
        assert done.exit_code == 0, done.output
        return done.stdout

    assert f'"units": {MOST + 1}' in units()
    assert f'"units": {len(LONG.split()) + 1}' in units("--max-tokens", "100")
    for command in ("encode", "reconstruct", "evaluate", "edit", "interpolate", "rate", "plot"):
        assert "--max-tokens" in CliRunner().invoke(app, [command, "--help"]).stdout, command
    assert "--max-tokens" not in CliRunner().invoke(app, ["train", "--help"]).stdout


def test_batches_are_bounded_by_tokens() -> None:
    assert list(token_bounded([3, 3, 3, 3, 3], 2)) == [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert list(token_bounded([3, 9, 3, 99, 3], 64, 20)) == [
        slice(0, 2),
        slice(2, 3),
        slice(3, 4),
        slice(4, 5),
    ]
    assert list(token_bounded([], 64)) == []
    for run in token_bounded(np.random.default_rng(0).integers(0, 3000, 500).tolist(), 64):
        assert run.stop - run.start <= 64


def test_memory_follows_tokens_not_rows(
    vae: TextVAE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At use and in evaluation: no batch of more padded tokens than is said, unless one text has them."""
    longer = vae.with_max_tokens(2000)
    texts = [" ".join(["dog"] * 1500)] * 30
    for batch in longer._batches(texts, 0):
        assert batch.targets.numel() <= AT_ONCE
    (tmp_path / "a").write_text("".join(f"{text}\n" for text in texts))
    _, store = longer.evaluation_store(str(tmp_path / "a"))
    assert [b.targets.numel() <= AT_ONCE for b in measured_feed(store, vae.tokenizer)] == [True] * 3
    monkeypatch.setattr(text_writer, "CPU_TOKENS", 40)
    assert vae.reconstruct(SENTENCES) == TextVAE(vae.run).reconstruct(SENTENCES)
    assert vae.decode(vae.encode(SENTENCES)) == [pair.reconstruction for pair in vae.reconstruct(SENTENCES)]


def test_pictures_are_bounded_by_their_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "modality": "image",
        "data": {"name": "blob", "examples": 60},
        "encoder": {"name": "mlp", "hidden": [8]},
        "latent": {"name": "gaussian", "dim": 2},
        "decoder": {"name": "mlp", "hidden": [8]},
        "train": {"steps": 3, "batch_size": 20, "precision": "fp32", "device": "cpu", "valid_examples": 20},
    }
    vae = ImageVAE.from_pretrained(train(parse_config(values), tmp_path / "run"))
    pictures = vae.sample(7)
    z, whole = vae.encode(pictures), vae.reconstruct(pictures)
    monkeypatch.setattr(image_module, "VALUES", 2 * pictures[0].numel())
    assert [batch.size for batch in vae._batches(pictures, 0)] == [2, 2, 2, 1]
    torch.testing.assert_close(vae.encode(pictures), z)
    torch.testing.assert_close(vae.reconstruct(pictures), whole)
    done = CliRunner().invoke(app, ["evaluate", str(tmp_path / "run"), "--max-tokens", "3"])
    assert "--max-tokens is for text" in str(done.exception)


def test_training_says_what_it_cut(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(f"{LONG}\n{SENTENCES[0]}\n" * 20)
    report = Listener()
    train(
        config(f"data={{train: {tmp_path / 'a.txt'}, max_tokens: 20}}", "train.steps=2"),
        tmp_path / "run",
        report,
    )
    assert any("cut to the longest allowed" in note for note in report.notes)
