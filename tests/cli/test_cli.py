"""Every command: its output, that only results go to stdout, and its files."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from run_cli import Cli, Result
from tiny import BASE, SENTENCES, card

from seqvae.cli import main
from seqvae.cli.inspect import KINDS
from seqvae.config.loading import load_config
from seqvae.config.shipped import shipped_configs
from seqvae.errors import UserError
from seqvae.evaluation.evaluate import KEYS
from seqvae.inference import TextVAE

A, B = SENTENCES[:2]
COMMANDS = (
    "train", "evaluate", "sample", "reconstruct", "interpolate", "encode", "decode", "list", "show", "cp",
    "fit-prior", "plot", "compare", "selftest", "rate", "traverse",
    "lesson", "bench", "explore", "edit", "infill", "neighbors", "arithmetic", "augment", "export",
)  # fmt: skip


@pytest.fixture
def good(cli: Cli) -> Cli:
    """A command that must succeed."""

    def call(*arguments: object) -> Result:
        result = cli(*arguments)
        assert result.code == 0, result.err
        return result

    return call


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "in.txt"
    path.write_text("\n".join(SENTENCES) + "\n\n")
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_help(good: Cli, command: str) -> None:
    result = good(command, "--help")
    assert "Usage" in result.out
    assert result.err == ""


def test_help_names_every_command(good: Cli) -> None:
    out = good("--help").out
    assert all(re.search(rf"^\W*{command} ", out, re.MULTILINE) for command in COMMANDS)


def test_train_a_config(good: Cli, tmp_path: Path) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text(yaml.safe_dump(BASE))
    out = tmp_path / "run"
    result = good("train", config, "--out", out, "--set", "train.steps=10", "--set", "latent.dim=3")
    assert result.out == f"{out}\n"
    assert "train: 200 sentences" in result.err
    assert "step 10 " in result.err
    assert "finished 10 steps" in result.err
    assert load_config(out / "config.yaml").latent.arguments == {"dim": 3}


def test_train_a_corpus(good: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    corpus = Path("a: corpus #1.txt")  # what YAML would read otherwise
    corpus.write_text("\n".join(f"the {i % 7} dogs see {i} cats ." for i in range(60)))
    small = ("encoder.hidden=8", "encoder.embed=8", "decoder.hidden=8", "decoder.embed=8", "latent.dim=2")
    sets = [word for s in (*small, "train.steps=2", "train.device=cpu") for word in ("--set", s)]
    for expected in ("runs/a: corpus #1", "runs/a: corpus #1-2"):
        assert good("train", "--corpus", corpus, *sets).out == f"{expected}\n"
    config = load_config("runs/a: corpus #1/config.yaml")
    assert config.data.train == str(corpus.resolve())
    assert [remedy.name for remedy in config.remedies] == ["word_dropout"]
    assert config.latent.name == "exact_rate"


def test_a_corpus_that_changed_meanwhile_costs_a_line_not_the_run(
    good: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(vae: object) -> str:
        raise UserError("the training data have changed")

    monkeypatch.setattr("seqvae.analysis.rate_asked.describe_rate_asked", refuse)
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(BASE))
    result = good("train", tmp_path / "c.yaml", "--out", tmp_path / "run", "--set", "train.steps=2")
    assert result.out == f"{tmp_path / 'run'}\n"
    assert "not measured after training: the training data have changed" in result.err


def test_train_a_shipped_config(good: Cli, tmp_path: Path) -> None:
    sets = [*BASE["train"].items(), ("steps", 2)]
    settings = [word for k, v in sets for word in ("--set", f"train.{k}={v}")]
    size = [word for k in ("encoder", "decoder") for word in ("--set", f"{k}.hidden=8")]
    data = ("--set", "data.examples=50")
    assert good("train", "text/quickstart", "--out", tmp_path / "run", *settings, *size, *data).lines
    assert card(tmp_path / "run")["run"]["decoder"]["hidden"] == 8


def test_evaluate(good: Cli, run: Path, file: Path) -> None:
    result = good("evaluate", run, "--data", file, "--samples", "2", "--device", "cpu", "--json")
    report = json.loads(result.out)
    assert set(KEYS) <= report.keys()
    assert (report["n"], report["iw_samples"]) == (4, 2)
    table = good("evaluate", run, "--data", file, "--samples", "2").out
    rows = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in table.splitlines()[2:])
    assert rows["n"] == "4"
    assert rows["rate"] == f"{report['rate']:.4g}"


def test_evaluate_the_runs_own_test_split(good: Cli, run: Path) -> None:
    result = good("evaluate", run, "--samples", "1", "--json")
    assert json.loads(result.out)["n"] == 2000
    assert "/2000" in result.err, "progress is seen"


def test_evaluate_against_the_factors(good: Cli, run: Path) -> None:
    table = good("evaluate", run, "--samples", "1", "--examples", "120", "--factors").out
    rows = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in table.splitlines()[2:])
    assert rows["n"] == "120"
    assert 0 <= float(rows["mig"]) <= 1
    assert rows["nats_per_factor"].startswith("question ")


def test_sample(good: Cli, run: Path, vae: TextVAE) -> None:
    assert good("sample", run).lines == vae.sample(10)
    assert good("sample", run, "-n", 3, "--seed", 4).lines == vae.sample(3, seed=4)
    assert good("sample", run, "--seed", 4).out != good("sample", run, "--seed", 5).out
    found = json.loads(good("sample", run, "-n", 3, "--json").out)
    assert found == [{"text": text} for text in vae.sample(3)]


@pytest.mark.parametrize(
    "how",
    [
        ("--greedy",),
        ("--beam", 3),
        ("--top-k", 5),
        ("--top-p", 0.5),
        ("--temperature", 0.5),
        ("--top-k", 9, "--top-p", 0.9, "--temperature", 1.5, "--max-length", 4),
    ],
)
def test_how_to_sample(good: Cli, run: Path, how: tuple[object, ...]) -> None:
    once = good("sample", run, "-n", 30, "--seed", 1, *how)
    assert len(once.lines) == 30
    assert once.out == good("sample", run, "-n", 30, "--seed", 1, *how).out
    assert once.out != good("sample", run, "-n", 30, "--seed", 1).out
    assert all(len(line.split()) <= (4 if "--max-length" in how else 20) for line in once.lines)


def test_repeated_samples_are_counted_aside(good: Cli, run: Path) -> None:
    result = good("sample", run, "-n", 200, "--max-length", 1, "--greedy")
    distinct = len(set(result.lines))
    assert len(result.lines) == 200
    assert result.err == f"{200 - distinct} of 200 sentences repeat another one\n"


def test_reconstruct(good: Cli, run: Path, vae: TextVAE, file: Path) -> None:
    pairs = vae.reconstruct(SENTENCES)
    expected = [line for p in pairs for line in (p.text, f"{'=' if p.exact else '>'} {p.reconstruction}")]
    assert good("reconstruct", run, *SENTENCES).lines == expected
    assert good("reconstruct", run, "--input", file).lines == [*expected, "", ""], "a blank line is a row"
    assert json.loads(good("reconstruct", run, A, "--json").out) == [vars(pairs[0])]
    drawn = [good("reconstruct", run, *SENTENCES, "--draw", "--seed", seed).out for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1]


def test_reconstruct_a_pipe(good: Cli, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{A}\n\na cat\n"))
    result = good("reconstruct", run, "--input", "-")
    assert result.lines[::2] == [A, "", "a cat"]
    assert result.err == "1 of 3 rows are without a text: they keep their place, without a result\n"


def test_a_column_is_read_as_the_run_read_it(good: Cli, tmp_path: Path) -> None:
    table, config, z = tmp_path / "table.csv", tmp_path / "mine.yaml", tmp_path / "z.parquet"
    table.write_text("id,sentence\n" + "".join(f"{i},the dog sees {i} cats\n" for i in range(40)))
    config.write_text(yaml.safe_dump(BASE | {"data": {"train": str(table), "text_column": "sentence"}}))
    good("train", config, "--out", tmp_path / "run", "--set", "train.steps=2")
    good("encode", tmp_path / "run", "--input", table, "--output", z)
    assert pq.read_table(z)["text"].to_pylist()[:2] == ["the dog sees 0 cats", "the dog sees 1 cats"]


@pytest.mark.parametrize("path", ["linear", "slerp"])
def test_interpolate(good: Cli, run: Path, vae: TextVAE, path: Any) -> None:
    points = vae.interpolate(A, B, 5, path)
    ends = [pair.reconstruction for pair in vae.reconstruct([A, B])]
    assert [points[0].text, points[-1].text] == ends
    expected = [f"a     {A}", *(f"{p.t:.2f}  {p.text}" for p in points), f"b     {B}"]
    assert good("interpolate", run, A, B, "--steps", 5, "--path", path).lines == expected
    found = json.loads(good("interpolate", run, A, B, "--steps", 5, "--path", path, "--json").out)
    assert found == {"a": A, "b": B, "path": path, "points": [vars(p) for p in points]}


@pytest.mark.parametrize("ending", ["npy", "parquet"])
def test_codes_there_and_back(
    good: Cli, run: Path, vae: TextVAE, file: Path, tmp_path: Path, ending: str
) -> None:
    z = tmp_path / f"z.{ending}"
    here = ("--device", "cpu")  # as `vae`
    told = good("encode", run, "--input", file, "--output", z, *here).lines
    assert told == [f"{z}: 4 codes of 4 dims, of 5 rows"]
    written = np.load(z) if ending == "npy" else np.array(pq.read_table(z)["z"].to_pylist(), np.float32)
    np.testing.assert_array_equal(written[:4], vae.encode(SENTENCES).numpy())
    assert np.isnan(written[4:]).all()
    assert len(written) == 5
    if ending == "parquet":
        assert pq.read_table(z)["text"].to_pylist() == [*SENTENCES, ""]
        assert pq.read_table(z)["row"].to_pylist() == [0, 1, 2, 3, 4]
    expected = [pair.reconstruction for pair in vae.reconstruct(SENTENCES)]
    result = good("decode", run, "--input", z, *here)
    assert result.lines == [*expected, ""]
    assert result.err == "1 of 5 rows hold no code: they keep their place, without a text\n"
    found = json.loads(good("decode", run, "--input", z, *here, "--json").out)
    assert found == [{"text": text} for text in [*expected, None]]
    drawn = tmp_path / f"drawn.{ending}"
    good("encode", run, "--input", file, "--output", drawn, "--draw")
    assert drawn.read_bytes() != z.read_bytes()


def test_list(good: Cli) -> None:
    everything = json.loads(good("list", "--json").out)
    shown = good("list").out
    for kind, rows in everything.items():
        assert kind in shown.splitlines()
        assert json.loads(good("list", kind, "--json").out) == rows
        lines = good("list", kind).lines
        assert [line.split()[0] for line in lines[3:]] == [row["name"] for row in rows]
    assert tuple(everything) == KINDS
    dropout = next(row for row in everything["remedies"] if row["name"] == "word_dropout")
    assert (dropout["arguments"], dropout["year"]) == ("rate=0.3", 2016)
    assert "vocab_size" not in json.dumps(everything["encoders"]), "no argument that a config may not set"


def test_show(good: Cli, run: Path) -> None:
    shown = good("show", run)
    assert "# 40 steps, selected step " in shown.out
    assert shown.lines[-1] == "# finished: yes"
    assert yaml.safe_load(shown.out)["latent"] == {"name": "gaussian", "dim": 4}
    assert json.loads(good("show", run, "--json").out)["finished"] is True
    one_per_folder = {name.rpartition("/")[0]: (name, path) for name, path in shipped_configs().items()}
    for name, path in one_per_folder.values():
        shown_as_json = json.loads(good("show", name, "--json").out)
        if name.startswith("compare/"):
            assert shown_as_json == json.loads(json.dumps(yaml.safe_load(path.read_text(encoding="utf-8"))))
        else:
            assert shown_as_json == load_config(path).model_dump(by_alias=True)
        assert good("show", path).out == good("show", name).out


def test_cp(good: Cli, cli: Cli, tmp_path: Path) -> None:
    target = tmp_path / "mine.yaml"
    assert good("cp", "text/quickstart", target).out == f"{target}\n"
    assert target.read_bytes() == shipped_configs()["text/quickstart"].read_bytes()
    target.write_text("changed")
    again = cli("cp", "text/quickstart", target)
    assert (again.code, again.out) == (2, "")
    assert again.err == f"seqvae: {target} exists: choose another name\n"
    assert target.read_text() == "changed"
    assert good("cp", "text/quickstart", tmp_path).out == f"{tmp_path / 'quickstart.yaml'}\n"


def test_a_reader_that_leaves_early(run: Path) -> None:
    """`seqvae sample RUN | head -1`, with more than a pipe holds."""
    command = [sys.executable, "-m", "seqvae", "sample", str(run), "-n", "3000", "--device", "cpu"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
    assert process.returncode == 0, "`set -o pipefail` counts on it"
    assert len(first.split()) > 0
    assert "Error" not in err
    assert "Traceback" not in err


def test_a_bug_keeps_its_traceback(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqvae.config.shipped.find_config", lambda name: {}[name])
    result = cli("show", "text/quickstart")
    assert (result.code, result.out) == (1, "")
    assert "Traceback" in result.err


@pytest.mark.parametrize(
    ("chosen", "then"),
    [
        ({}, {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "1000"}),
        ({"OMP_WAIT_POLICY": "active"}, {"OMP_WAIT_POLICY": "active"}),
        ({"GOMP_SPINCOUNT": "5"}, {"GOMP_SPINCOUNT": "5"}),
    ],
)
def test_waiting_threads_spin_briefly_unless_set_otherwise(
    chosen: dict[str, str], then: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "")  # what is set in here is put back
        monkeypatch.delenv(name)
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        main(["list", "priors"])
    assert {n: os.environ[n] for n in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT") if n in os.environ} == then
