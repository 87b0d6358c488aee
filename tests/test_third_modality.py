"""A third modality is a folder and one row: `counts_modality` trains, resumes, is measured and is used."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from tiny import Listener
from typer.testing import CliRunner

from seqvae.cli import app
from seqvae.config.loading import load_config, parse_config
from seqvae.config.schema import RUN_CONFIGS
from seqvae.errors import UserError
from seqvae.inference import load
from seqvae.inference.inputs import load_inputs
from seqvae.modalities import MODALITIES
from seqvae.remedies import REMEDIES
from seqvae.runs.run_folder import read_card
from seqvae.training.loop import resume, train
from seqvae.utils.signals import Interrupted


@pytest.fixture(scope="module", autouse=True)
def counts() -> Iterator[None]:
    """The one row; other tests do not see it."""
    with pytest.MonkeyPatch.context() as patch:
        known = dict(RUN_CONFIGS)
        from counts_modality import COUNTS

        patch.setitem(MODALITIES, "counts", COUNTS)
        yield
        RUN_CONFIGS.clear()
        RUN_CONFIGS.update(known)
        del sys.modules["counts_modality"]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 rows of six counts whose rates depend on a number of two values, which is their label."""
    draw = np.random.default_rng(0)
    kind = draw.integers(0, 2, 300)
    rates = np.array([[9, 9, 9, 1, 1, 1], [1, 1, 1, 9, 9, 9]])[kind]
    path = tmp_path_factory.mktemp("counts") / "counts.txt"
    np.savetxt(path, np.column_stack([draw.poisson(rates), kind]), fmt="%d")
    return path


def values(file: Path, **more: Any) -> dict[str, Any]:
    settings = {"steps": 60, "batch_size": 32, "lr": 0.02, "precision": "fp32", "device": "cpu"}
    data = {"train": str(file), "labels": ["kind"]}
    times = {"log_every": 20, "validate_every": 30, "valid_examples": 20}
    latent = {"name": "gaussian", "dim": 2}
    return {"modality": "counts", "data": data, "latent": latent, "train": settings | times, **more}


@pytest.fixture(scope="module")
def run(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(parse_config(values(file)), tmp_path_factory.mktemp("run") / "counts")


def test_it_is_saved_and_measured(run: Path) -> None:
    assert read_card(run)["sizes"] == {"columns": 6}
    assert (run / "columns.json").exists()
    report = load(run).evaluate(samples=5)
    assert report["data"] == "test"
    assert report["rows"] == report["n"] == 15
    assert {"neg_elbo", "iw_nll", "rate", "mi_low", "active_units"} <= report.keys()
    assert report["iw_nll"] < report["neg_elbo"]
    assert report["mi_low"] > 0.3  # nats: the kind alone, which the code learns, has ln 2


def test_it_is_used(run: Path, file: Path) -> None:
    vae = load(run)
    inputs = load_inputs(vae, str(file), 40)
    codes = vae.encode(inputs.x)
    assert codes.shape == (40, 2)
    kinds = np.loadtxt(file)[:40, 6]
    back = vae.decode(codes)
    assert ((back[:, :3].sum(1) < back[:, 3:].sum(1)).numpy() == (kinds == 1)).mean() > 0.9
    assert len(vae.score(inputs.x[:3], samples=2)) == 3
    assert len(load_inputs(vae, "valid")) == 15


def test_it_resumes_exactly(file: Path, run: Path, tmp_path: Path) -> None:
    parted = tmp_path / "parted"
    with pytest.raises(Interrupted, match="stopped at step 20 of 60"):
        train(parse_config(values(file)), parted, Listener(stop_at_log=20))
    resume(parted)
    ours, theirs = (load(path).vae.state_dict() for path in (parted, run))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("name", [name for name, made in REMEDIES.items() if made.batch_type == "any"])
def test_every_general_remedy_trains_on_it(file: Path, tmp_path: Path, name: str) -> None:
    sets = [f"remedies=[{{name: {name}}}]", "train.steps=4", "train.validate_every=4"]
    path = train(parse_config(values(file), sets), tmp_path / "run")
    assert load(path).latent_dim == 2


@pytest.mark.parametrize(("objective", "labelled"), [("iwae", 270), ("semi_supervised", 40)])
def test_objectives_train_on_it(file: Path, tmp_path: Path, objective: str, labelled: int) -> None:
    sets = [f"objective={{name: {objective}}}", "condition=[kind]", f"data.num_labeled={labelled}"]
    sets += ["train.steps=4"]
    path = train(parse_config(values(file), sets), tmp_path / "run")
    vae = load(path).with_condition({"kind": 1})
    assert vae.vae.labels is not None


def test_the_command_line_knows_it(file: Path, tmp_path: Path) -> None:
    config, out = tmp_path / "counts.yaml", tmp_path / "run"
    config.write_text(yaml.safe_dump(values(file)))
    command = ["train", str(config), "--out", str(out), "--set", "train.steps=4"]
    assert CliRunner().invoke(app, command).exit_code == 0
    made = CliRunner().invoke(app, ["evaluate", str(out), "--json", "--samples", "2"])
    assert json.loads(made.stdout)["rows"] == 15
    assert load_config(out / "config.yaml").modality == "counts"


def test_what_belongs_to_text_is_refused(file: Path, tmp_path: Path) -> None:
    config = parse_config(values(file), ["remedies=[{name: word_dropout}]"])
    with pytest.raises(UserError, match="remedy 'word_dropout' reads text batches, this run has counts"):
        train(config, tmp_path / "run")
