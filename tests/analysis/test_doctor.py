"""The doctor on tiny runs: what it returns, what the command prints, and the mended run beside the first."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from tiny import autoencoder, language_model, tiny_run, trained
from typer.testing import CliRunner

from seqvae.analysis.doctor import Diagnosis, Sizes, diagnose, findings
from seqvae.analysis.doctor.quick import first_line, look_briefly
from seqvae.cli import app
from seqvae.config.loading import parse_config
from seqvae.inference import TextVAE, load
from seqvae.training.loop import train

PICTURES = {
    "modality": "image",
    "data": {"name": "blob", "examples": 100},
    "encoder": {"name": "mlp", "hidden": [16]},
    "latent": {"name": "gaussian", "dim": 4},
    "decoder": {"name": "mlp", "hidden": [16]},
    "train": {"steps": 20, "batch_size": 16, "validate_every": 5, "device": "cpu"},
}
SMALL = Sizes(examples=60, training=128, samples=5, draws=50)
Factory = pytest.TempPathFactory


@pytest.fixture(scope="module")
def empty(tmp_path_factory: Factory) -> Path:
    """A run whose code is empty, trained until its curve is flat."""
    sets = ("remedies=[{name: constant_beta, beta: 30}]", "train.steps=400", "train.validate_every=50")
    return trained(tmp_path_factory.getbasetemp(), "doctor-empty", *sets, "train.decay=cosine")


@pytest.fixture(scope="module")
def diagnosis(empty: Path) -> Diagnosis:
    return diagnose(empty, sizes=SMALL, device="cpu")


def test_an_empty_code_is_found(diagnosis: Diagnosis) -> None:
    names = [finding.name for finding in diagnosis.findings]
    assert "empty_code" in names
    found = next(finding for finding in diagnosis.findings if finding.name == "empty_code")
    assert found.evidence[0].value == diagnosis.measured.report["mi_low"]
    assert any(line.startswith("remedies=") and "free_bits" in line for line in found.prescription)


def test_the_same_run_has_the_same_diagnosis(empty: Path, diagnosis: Diagnosis) -> None:
    again = diagnose(load(empty, "cpu"), sizes=SMALL)
    assert again.findings == diagnosis.findings


def test_findings_need_no_more_than_a_folder(tmp_path_factory: Factory) -> None:
    found = findings(tiny_run(tmp_path_factory))
    assert all(finding.evidence and finding.problem for finding in found)


@pytest.mark.parametrize("make", [language_model, autoencoder])
def test_runs_without_a_density_are_measured(
    make: Callable[[Factory], Path], tmp_path_factory: Factory
) -> None:
    found = diagnose(make(tmp_path_factory), sizes=SMALL, device="cpu")
    assert "empty_code" not in [finding.name for finding in found.findings]


def test_a_scorer_takes_the_place_of_ngrams(tmp_path_factory: Factory) -> None:
    scorer = TextVAE.from_pretrained(language_model(tmp_path_factory))
    found = diagnose(tiny_run(tmp_path_factory), scorer, SMALL, device="cpu").measured.language
    assert found is not None
    assert found.model == "tiny-lm"
    assert found.per_sentence == pytest.approx(scorer.evaluate(samples=1, examples=60)["iw_nll"])


def test_pictures_are_measured(tmp_path_factory: Factory) -> None:
    run = tmp_path_factory.getbasetemp() / "doctor-pictures"
    found = diagnose(train(parse_config(PICTURES), run), sizes=SMALL, device="cpu").measured
    assert found.language is None
    assert found.tokens is None
    assert found.holes is not None
    assert found.width is not None


def test_the_first_line_agrees_with_the_report(empty: Path) -> None:
    vae = load(empty, "cpu")
    line = look_briefly(vae)
    assert line.startswith("doctor: ")
    assert f"`seqvae doctor {empty}`" in line
    healthy = {
        "rate": 6.0,
        "mi_low": 4.0,
        "shuffle_gap": 9.0,
        "spectrum": [1.0],
        "iw_nll": 20.0,
        "unknown_share": 0.0,
    }
    sick = healthy | {"mi_low": 0.0, "shuffle_gap": 0.0}
    assert "nothing found" in first_line(vae.run, healthy)
    assert "the code is empty" in first_line(vae.run, sick)
    assert "the tokenizer does not fit" in first_line(vae.run, healthy | {"unknown_share": 0.4})


def test_the_command_reports(empty: Path) -> None:
    result = CliRunner().invoke(app, ["doctor", str(empty), "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert "1. " in result.stdout
    assert "evidence" in result.stdout
    assert "--set" in result.stdout


def test_a_dry_run_writes_the_config_and_trains_nothing(empty: Path, tmp_path: Path) -> None:
    out = tmp_path / "better"
    command = ["doctor", str(empty), "--apply", "--dry-run", "--out", str(out), "--json", "--device", "cpu"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["command"] == f"seqvae train {out}.yaml --out {out}"
    assert not out.exists()
    assert yaml.safe_load(Path(found["config"]).read_text())["modality"] == "text"
    again = CliRunner().invoke(app, command)
    assert "exists: choose another --out" in str(again.exception)


def test_apply_trains_the_mended_config_and_shows_both(empty: Path, tmp_path: Path) -> None:
    out = tmp_path / "mended"
    result = CliRunner().invoke(app, ["doctor", str(empty), "--apply", "--out", str(out), "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    changed = {key: (before, after) for key, before, after in found["comparison"]}
    assert changed["rate"][1] > changed["rate"][0] + 1  # free bits
    assert changed["mi_low"][1] > changed["mi_low"][0]
    assert (out / "config.json").is_file()
    assert isinstance(found["findings_after"], list)


@pytest.mark.parametrize("option", [["--dry-run"], ["--out", "x"]])
def test_options_of_apply_go_with_it(empty: Path, option: list[str]) -> None:
    result = CliRunner().invoke(app, ["doctor", str(empty), *option])
    assert f"{option[0]} goes with --apply" in str(result.exception)
