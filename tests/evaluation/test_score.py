"""Scores of single examples against the averages of `evaluate`, and edits of sentences."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
from run_cli import run_cli
from tiny import SENTENCES, autoencoder, language_model

from seqvae.errors import UserError
from seqvae.evaluation.evaluate import evaluate
from seqvae.evaluation.score import score_examples
from seqvae.inference import TextVAE

A, B = SENTENCES[:2]


def test_the_mean_of_the_scores_is_what_evaluation_says(vae: TextVAE) -> None:
    _, batches, measures = vae.evaluation_inputs(None, 3, 10)
    found, report = (
        score_examples(vae.vae, batches, 5),
        evaluate(vae.vae, batches, samples=5, measures=measures),
    )
    assert len(found) == report["n"]
    for name in ("iw_nll", "neg_elbo", "rate", "distortion"):
        assert fmean(getattr(score, name) for score in found) == pytest.approx(report[name], rel=1e-6)
    assert sum(score.units for score in found) == report["tokens"]


def test_a_score_is_the_examples_own(vae: TextVAE) -> None:
    """Not of the company: the noise is keyed by the place, the rest by nothing else."""
    alone, together = vae.score([A], 4), vae.score([A, *SENTENCES], 4)
    assert vars(alone[0]) == pytest.approx(vars(together[0]), rel=1e-5)
    assert alone[0].units == len(A.split()) + 1
    assert vae.score([A], 4, seed=1) != alone
    assert vae.score([]) == []


def test_what_has_no_code_or_no_density_scores_too(tmp_path_factory: pytest.TempPathFactory) -> None:
    exact = TextVAE.from_pretrained(language_model(tmp_path_factory)).score([A, B])[1]
    assert exact.iw_nll == pytest.approx(exact.neg_elbo) == pytest.approx(exact.distortion)
    assert exact.rate == 0
    point = TextVAE.from_pretrained(autoencoder(tmp_path_factory)).score([A])[0]
    assert (point.iw_nll, point.neg_elbo, point.rate) == (None, None, None)
    assert point.distortion > 0


def test_score_on_the_command_line(run: Path, vae: TextVAE, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run_cli(capsys, "score", str(run), A, B, "--samples", "3", "--device", "cpu", "--json")
    assert code == 0
    assert json.loads(out) == [
        {"text": t, **vars(s)} for t, s in zip((A, B), vae.score([A, B], 3), strict=True)
    ]
    code, out, _ = run_cli(capsys, "score", str(run), *SENTENCES, "--samples", "3", "--sort")
    per_unit = [float(line.split()[1]) for line in out.splitlines()[2:]]
    assert len(per_unit) == len(SENTENCES)
    assert per_unit == sorted(per_unit, reverse=True)
    code, _, err = run_cli(capsys, "score", str(run), A, "--data", "test")
    assert (code, "names all examples" in err) == (2, True)
    with pytest.raises(UserError, match="samples must be at least 1, got 0"):
        vae.score([A], 0)


def test_an_edit_moves_by_the_difference_of_means(vae: TextVAE) -> None:
    step = vae.encode([A]).mean(0) - vae.encode([B, SENTENCES[2]]).mean(0)
    there = vae.decode(vae.encode([B]) + 2 * step, vae.writer.greedy)
    assert vae.edit([B], [A], [B, SENTENCES[2]], 2) == there
    assert vae.edit([A, B], [A], [B], 0) == [pair.reconstruction for pair in vae.reconstruct([A, B])]
    assert torch.allclose(vae.encode([B]) + vae.encode([A]) - vae.encode([B]), vae.encode([A]), atol=1e-5)
    assert vae.edit([B], [A], [B], 1) == [vae.reconstruct([A])[0].reconstruction]
    assert torch.allclose(vae.direction([A], [B, SENTENCES[2]]), step)
    assert vae.shift([B], 2 * step) == there
    with pytest.raises(UserError, match="`away` holds no sentence"):
        vae.edit([A], [B], [])


def test_edit_on_the_command_line(
    run: Path, vae: TextVAE, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in (("to", A), ("from", B)):
        (tmp_path / name).write_text(f"{text}\n")
    ends = ("--towards", str(tmp_path / "to"), "--away", str(tmp_path / "from"))
    code, out, _ = run_cli(capsys, "edit", str(run), B, SENTENCES[2], *ends, "--strength", "0,1.5")
    assert code == 0
    assert out.splitlines()[0] == B
    assert out.splitlines()[2] == f"1.5  {vae.edit([B], [A], [B], 1.5)[0]}"
    assert out.splitlines()[3] == SENTENCES[2]
    code, out, _ = run_cli(capsys, "edit", str(run), B, *ends, "--strength", "1", "--json")
    assert json.loads(out) == [{"text": B, "edited": {"1.0": vae.edit([B], [A], [B])[0]}}]
    code, _, err = run_cli(capsys, "edit", str(run), B, *ends, "--strength", "much")
    assert (code, "--strength got 'much': write numbers" in err) == (2, True)
    code, _, err = run_cli(capsys, "edit", str(run), B, *ends, "--strength", ",")
    assert (code, "--strength got ',': write numbers" in err) == (2, True)


def test_groups_are_encoded_once_for_all_strengths(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in (("to", A), ("from", B)):
        (tmp_path / name).write_text(f"{text}\n")
    encode, read = TextVAE.encode, []

    def counted(vae: TextVAE, texts: list[str], *rest: Any, **options: Any) -> Any:
        read.append(texts)
        return encode(vae, texts, *rest, **options)

    monkeypatch.setattr(TextVAE, "encode", counted)
    ends = ("--towards", str(tmp_path / "to"), "--away", str(tmp_path / "from"))
    assert run_cli(capsys, "edit", str(run), B, *ends, "--strength", "0,1,2")[0] == 0
    assert read == [[A], [B]]
