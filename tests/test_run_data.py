"""The splits of a run: changed data are refused, and moved data are found."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import card, config
from tiny_pictures import grey, write_idx
from typer.testing import CliRunner

from seqvae.cli import app
from seqvae.config.loading import parse_config
from seqvae.config.schema import Component
from seqvae.errors import UserError
from seqvae.evaluation.prior_fitting import PriorFitConfig
from seqvae.inference import load
from seqvae.inference.default_rate import choose_rate
from seqvae.inference.inputs import load_inputs
from seqvae.inference.posthoc_prior_fit import fit_posthoc_prior
from seqvae.training.loop import resume, train
from seqvae.utils import notices
from seqvae.utils.data_paths import missing_source, moved_to, with_absolute_paths

LINES = [f"the dog number {i} sees a ball" for i in range(80)]
CHANGED = r"split of .* holds other examples now.*--corpus PATH.*--data FILE"
QUICK = ("train.steps=6", "train.validate_every=3")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQVAE_CACHE", str(tmp_path / "cache"))
    notices.forget()


def written(folder: Path, lines: list[str] = LINES, name: str = "mine.txt") -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    (folder / name).write_text("".join(f"{line}\n" for line in lines))
    return folder / name


def trained(tmp_path: Path, *sets: str) -> Path:
    written(tmp_path / "data")
    return train(config(f"data={{train: {tmp_path / 'data' / 'mine.txt'}}}", *QUICK, *sets), tmp_path / "run")


def test_a_run_remembers_each_split(tmp_path: Path) -> None:
    splits = card(trained(tmp_path))["splits"]
    assert set(splits) == {"train", "valid", "test"}
    assert len({split["examples"] for split in splits.values()}) == 3


def test_a_changed_corpus_is_refused_by_every_verb(tmp_path: Path) -> None:
    vae = load(trained(tmp_path), "cpu")
    before = vae.evaluate(samples=1)
    written(tmp_path / "data", LINES[::-1][:70])
    for verb in (
        lambda: vae.evaluate(samples=1),
        lambda: load_inputs(vae, "test"),
        lambda: load_inputs(vae, "train"),
        lambda: fit_posthoc_prior(vae.run, Component(name="mixture"), "mixture", PriorFitConfig()),
        lambda: vae.evaluation_inputs(None, 64, None),
    ):
        with pytest.raises(
            UserError, match=r"split of .* holds other examples now.*--corpus PATH.*--data FILE"
        ):
            verb()
    assert vae.evaluate(str(tmp_path / "data" / "mine.txt"), samples=1)["n"] == 70, "a file is a file"
    written(tmp_path / "data")
    assert vae.evaluate(samples=1)["iw_nll"] == pytest.approx(before["iw_nll"])


def test_the_command_line_says_it_in_a_line(tmp_path: Path) -> None:
    run = trained(tmp_path)
    written(tmp_path / "data", ["other words"] * 90)
    for command in (["evaluate"], ["score", "--data", "test"], ["plot", "kl-per-dim", "--output", "a.png"]):
        done = CliRunner().invoke(app, [command[0], str(run), *command[1:]])
        assert isinstance(done.exception, UserError), command
        assert "\n" not in str(done.exception)


def test_the_default_rate_is_chosen_on_the_run_s_own_split(tmp_path: Path) -> None:
    run = trained(tmp_path, "latent={name: exact_rate, dim: 2, nats: [1, 4]}")
    written(tmp_path / "data", LINES[:60])
    with pytest.raises(UserError, match=r"the valid split of .* holds other examples now"):
        choose_rate(load(run, "cpu").run, [2.0])


def test_changed_labels_are_named(tmp_path: Path) -> None:
    def table(tag: str) -> None:
        rows = "".join(f"{line},{tag if i % 2 else 'odd'}\n" for i, line in enumerate(LINES))
        (tmp_path / "t.csv").write_text("text,kind\n" + rows)

    table("even")
    run = train(config(f"data={{train: {tmp_path / 't.csv'}, labels: [kind]}}", *QUICK), tmp_path / "run")
    rows = "".join(f"{line},{'odd' if i % 3 else 'even'}\n" for i, line in enumerate(LINES))
    (tmp_path / "t.csv").write_text("text,kind\n" + rows)
    with pytest.raises(UserError, match=r"the test split of .* holds another label 'kind' now"):
        load(run, "cpu").evaluate(samples=1)


def test_a_longer_reading_is_the_same_split(tmp_path: Path) -> None:
    vae: Any = load(trained(tmp_path, "data.overlong=drop", "data.max_tokens=7"), "cpu")
    assert vae.with_max_tokens(99).evaluate(samples=1)["n"] == vae.evaluate(samples=1)["n"]


def test_paths_of_a_run_do_not_depend_on_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "data")
    monkeypatch.chdir(tmp_path / "data")
    run = train(config("data={train: mine.txt}", *QUICK), tmp_path / "run")
    assert card(run)["run"]["data"]["train"] == str(tmp_path / "data" / "mine.txt")
    monkeypatch.chdir(tmp_path)
    assert load(run, "cpu").evaluate(samples=1)["n"] == 4
    given = parse_config({"data": {"train": "owner/name"}, "tokenizer": {"name": "file", "path": "data"}})
    absolute: Any = with_absolute_paths(given)
    assert absolute.data.train == "owner/name"
    assert absolute.tokenizer.path == str(tmp_path / "data")
    assert with_absolute_paths(absolute) == absolute


def test_a_moved_corpus_is_named_anew(tmp_path: Path) -> None:
    run = trained(tmp_path)
    vae = load(run, "cpu")
    before = vae.evaluate(samples=1)["iw_nll"]
    os.rename(tmp_path / "data", tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"was trained on .*mine.txt, which is not there: .*--corpus PATH"):
        vae.evaluate(samples=1)
    for place in ("elsewhere", "elsewhere/mine.txt"):
        assert vae.with_corpus(str(tmp_path / place)).evaluate(samples=1)["iw_nll"] == pytest.approx(before)
    found = ["evaluate", str(run), "--samples", "1", "--json"]
    done = CliRunner().invoke(app, [*found, "--corpus", str(tmp_path / "elsewhere")])
    assert json.loads(done.stdout)["iw_nll"] == pytest.approx(before)
    other = written(tmp_path / "other", LINES[:50])
    with pytest.raises(UserError, match="holds other examples now"):
        vae.with_corpus(str(other)).evaluate(samples=1)
    with pytest.raises(UserError, match="which is not there: name a file or folder"):
        vae.with_corpus(str(tmp_path / "nowhere"))


def test_files_of_each_split_move_together(tmp_path: Path) -> None:
    for name in ("train", "valid", "test"):
        written(tmp_path / "a", LINES, f"{name}.txt")
    paths = {name: str(tmp_path / "a" / f"{name}.txt") for name in ("train", "valid", "test")}
    data = parse_config({"data": paths}).data
    os.rename(tmp_path / "a", tmp_path / "b")
    assert missing_source(data) == paths["train"]
    moved = moved_to(data, str(tmp_path / "b"))
    assert [moved.train, moved.valid, moved.test] == [str(tmp_path / "b" / f"{n}.txt") for n in paths]
    assert missing_source(moved) is None
    with pytest.raises(UserError, match="name the folder of them"):
        moved_to(data, str(tmp_path / "b" / "train.txt"))
    os.remove(tmp_path / "b" / "test.txt")
    with pytest.raises(UserError, match=r"holds no test\.txt, which the run was trained on"):
        moved_to(data, str(tmp_path / "b"))
    with pytest.raises(UserError, match="trained on embedded data: leave it out"):
        moved_to(parse_config({"data": {"name": "sentences"}}).data, str(tmp_path))


def test_a_run_without_fingerprints_warns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = trained(tmp_path)
    told = {key: value for key, value in card(run).items() if key != "splits"}
    (run / "config.json").write_text(json.dumps(told))
    assert load(run, "cpu").evaluate(samples=1)["n"] == 4
    assert not caplog.records
    written(tmp_path / "data", LINES[::-1])
    load(run, "cpu").evaluate(samples=1)
    assert "may have changed since it was trained" in caplog.records[0].message


def test_a_resumed_run_checks_held_out_data_too(tmp_path: Path) -> None:
    written(tmp_path / "data")
    valid = written(tmp_path / "data", LINES[:10], "valid.txt")
    sets = f"data={{train: {tmp_path / 'data' / 'mine.txt'}, valid: {valid}}}"
    run = train(config(sets, *QUICK), tmp_path / "run")
    told = card(run)
    told["progress"]["finished"] = False
    (run / "config.json").write_text(json.dumps(told))
    written(tmp_path / "data", LINES[5:20], "valid.txt")
    with pytest.raises(UserError, match=r"the valid split of .* holds other examples now"):
        resume(run)


def test_pictures_too(tmp_path: Path) -> None:
    pixels = grey(80, 6, 6)
    file = write_idx(tmp_path / "mine-idx3-ubyte", pixels[:, 0].copy())
    values = {
        "modality": "image",
        "data": {"train": str(file)},
        "encoder": {"name": "mlp", "hidden": [8]},
        "latent": {"name": "gaussian", "dim": 2},
        "decoder": {"name": "mlp", "hidden": [8]},
        "train": {"steps": 3, "batch_size": 20, "precision": "fp32", "device": "cpu", "valid_examples": 4},
    }
    vae = load(train(parse_config(values), tmp_path / "run"), "cpu")
    before = vae.evaluate(samples=1)["iw_nll"]
    write_idx(file, np.ascontiguousarray(pixels[::-1, 0]))
    with pytest.raises(UserError, match=r"the test split of .* holds other examples now"):
        vae.evaluate(samples=1)
    write_idx(tmp_path / "moved-idx3-ubyte", pixels[:, 0].copy())
    assert vae.with_corpus(str(tmp_path / "moved-idx3-ubyte")).evaluate(samples=1)["iw_nll"] == before
