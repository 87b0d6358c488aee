"""`probe` against a probe by hand, on text and images, and its error messages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny import language_model
from tiny_pictures import BASE as PICTURES

from seqvae.analysis.linear_probe import ProbeConfig, most_variable_inputs, probe
from seqvae.cli import main
from seqvae.config.loading import parse_config
from seqvae.data.text.batching import batch_from_ids
from seqvae.errors import UserError
from seqvae.evaluation.metrics.probe import linear_probe
from seqvae.experiments.lessons.recipes import pictures
from seqvae.inference import ImageVAE, TextVAE
from seqvae.training.loop import train

FEW = ProbeConfig(labels=(20, 60), seeds=2, pool=100, tested=80)


def test_raw_words_predict_a_label(run: Path) -> None:
    """The tiny run never saw a label; the last word of a sentence shows whether it is a question."""
    rows = probe(TextVAE.from_pretrained(run), "question", FEW)
    assert [row["labels"] for row in rows] == [20, 60]
    assert rows[1]["raw"] == 1.0 > rows[1]["baseline"]
    assert all(row["measure"] == "accuracy" and row["seeds"] == 2 and 0 < row["code"] <= 1 for row in rows)


def test_rows_are_those_of_the_probe_by_hand(tmp_path: Path) -> None:
    """All training pictures are the pool here, so their order, drawn in training, is all that differs."""
    vae = ImageVAE.from_pretrained(train(parse_config(PICTURES), tmp_path / "run"))
    everyone = ProbeConfig(labels=(90,), seeds=1, pool=10**6, tested=40)
    found = probe(vae, "y", everyone)[0]
    (x, y), (x_test, y_test) = pictures(vae, "train"), pictures(vae, "test", 40)
    n = min(90, len(y))
    told = {"code": (vae.encode(x), vae.encode(x_test)), "raw": (x.flatten(1), x_test.flatten(1))}
    for name, (seen, tested) in told.items():
        by_hand = linear_probe(seen, y[:, 1], tested, y_test[:, 1], (n,), 1)[0]
        assert found[name] == pytest.approx(by_hand["mean"], abs=0.1), name
    assert found["measure"] == "r2"


def test_raw_sentences_are_counts_of_their_tokens(run: Path) -> None:
    tokenizer = TextVAE.from_pretrained(run).tokenizer
    batch = batch_from_ids([[5, 6, 5], [7]], tokenizer.special)
    raw = tokenizer.raw_features(batch)
    assert raw.shape == (2, tokenizer.vocab_size)
    assert raw[0, [5, 6, 7, tokenizer.special.eos]].tolist() == [2, 1, 0, 1]
    assert raw.sum(1).tolist() == [4, 2]
    assert most_variable_inputs(tokenizer, [batch])[:3].tolist() == [5, 6, 7]


def test_the_command_says_the_same(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["probe", str(run), "tense", "--labels", "20,40", "--seeds", "1", "--device", "cpu", "--json"])
    said = json.loads(capsys.readouterr().out)
    assert said == probe(TextVAE.from_pretrained(run), "tense", ProbeConfig((20, 40), 1))
    with pytest.raises(SystemExit):
        main(["probe", str(run), "tense", "--labels", "20", "--seeds", "1"])
    head, _, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["labels", "measure", "code", "raw", "baseline"]
    assert row.split()[:2] == ["20", "accuracy"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["mood"], "corpus 'sentences' has no label 'mood': known: adjective"),
        (["tense", "--labels", "20,many"], "--labels got '20,many': write numbers with commas"),
        (["tense", "--labels", "20.5"], "--labels got '20.5': write whole numbers with commas, as 100,500"),
        (["tense", "--labels", "5"], "labels must lie between 10 and the"),
    ],
)
def test_what_cannot_be_probed_is_one_line(
    run: Path, arguments: list[str], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["probe", str(run), *arguments])
    said = capsys.readouterr().err
    assert stop.value.code == 2
    assert error in said
    assert len(said.splitlines()) == 1


def test_a_language_model_has_no_code(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(UserError, match="has no code to probe"):
        probe(TextVAE.from_pretrained(language_model(tmp_path_factory)), "tense", FEW)


def test_a_conditional_run_keeps_its_labels_in_place(tmp_path: Path) -> None:
    """A new label comes behind those that the model reads."""
    block = {**PICTURES, "data": {"name": "blob", "labels": ["x"], "examples": 120}, "condition": ["x"]}
    vae = ImageVAE.from_pretrained(train(parse_config(block), tmp_path / "run"))
    row = probe(vae, "y", FEW)[1]
    assert torch.isfinite(torch.tensor([row["code"], row["raw"]])).all()
