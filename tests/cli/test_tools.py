"""The tools on the code through the command line: what they print, write and refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from run_cli import Cli
from tiny import SENTENCES, language_model

from seqvae.inference import TextVAE
from seqvae.inference.arithmetic import calculate
from seqvae.inference.editing import edit_minimally, find_direction

A, B = SENTENCES[:2]
QUICK = ("--beam", "2", "--rounds", "2", "--starts", "2", "--refine", "1", "--samples", "2")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Sentences with a class each."""
    file = tmp_path / "rows.jsonl"
    adjectives = ("old", "ugly", "quiet", "tired", "brave", "honest", "small", "angry")
    things = ("a box", "an egg", "some coins", "a toy", "some books")
    lines = [(f"the {a} dog takes {thing} {y}", y) for a in adjectives for thing in things for y in ".?"]
    file.write_text("".join(json.dumps({"text": text, "y": y}) + "\n" for text, y in lines))
    return file


def test_edit_by_search(cli: Cli, run: Path, tmp_path: Path) -> None:
    for name, lines in (("to", SENTENCES[:2]), ("from", SENTENCES[2:])):
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines))
    ends = ("--towards", tmp_path / "to", "--away", tmp_path / "from")
    vae = TextVAE.from_pretrained(run)
    wanted = edit_minimally(vae, [A, B], find_direction(vae, SENTENCES[:2], SENTENCES[2:]))
    code, out, err = cli("edit", run, A, B, *ends, "--device", "cpu")
    assert (code, out.splitlines()) == (0, [line for e in wanted for line in (e.text, f"> {e.edited}")])
    assert "held-out sentences lie on their own side" in err
    code, out, _ = cli("edit", run, A, *ends, "--json")
    assert json.loads(out)[0]["edited"] == wanted[0].edited
    code, out, _ = cli("edit", run, A, *ends, "--print0")
    assert out == f"{wanted[0].edited}\0"
    code, _, err = cli("edit", run, A)
    assert (code, "give --towards FILE and --away FILE" in err) == (2, True)
    code, out, _ = cli("edit", run, "--benchmark", "--examples", "6", "--seeds", "1")
    assert (code, out.splitlines()[-1].split()[0]) == (0, "search")


def test_infill(cli: Cli, run: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    code, out, _ = cli("infill", run, "the ___ dog sees a ball .", *QUICK)
    words = out.split()
    assert (code, words[0], " ".join(words[2:])) == (0, "the", "dog sees a ball .")
    code, out, _ = cli("infill", run, "the ___ dog", "--json", *QUICK)
    assert json.loads(out)[0]["words"] == [json.loads(out)[0]["text"].split()[1]]
    lm = language_model(tmp_path_factory)
    code, out, _ = cli("infill", run, "--benchmark", lm, "--examples", "20", *QUICK)
    assert (code, [line.split()[0] for line in out.splitlines()[2:]]) == (0, ["true", "vae", "lm"] * 2)
    code, _, err = cli("infill", run)
    assert (code, "give patterns" in err) == (2, True)


def test_neighbors(cli: Cli, run: Path, tmp_path: Path) -> None:
    file = tmp_path / "in.txt"
    file.write_text("".join(f"{line}\n" for line in SENTENCES))
    code, out, _ = cli("neighbors", run, B, "--data", file, "-k", "2")
    lines = out.splitlines()
    assert (code, lines[0], len(lines)) == (0, B, 3)
    assert lines[1].split("  ")[-1] == B
    assert float(lines[1].split()[0]) == pytest.approx(1, abs=1e-4)
    code, out, _ = cli("neighbors", run, B, "--metric", "kl", "--examples", "30", "--json")
    found = json.loads(out)[0]["neighbors"]
    assert [row["kl"] for row in found] == sorted(row["kl"] for row in found)
    for codes, name in ((tmp_path / "z.parquet", B), (tmp_path / "z.npy", "1")):
        assert cli("encode", run, "--input", file, "--output", codes)[0] == 0
        code, out, _ = cli("neighbors", run, B, "--codes", codes, "-k", "1")
        assert (code, out.splitlines()[1].split("  ")[-1]) == (0, name)
    code, _, err = cli("neighbors", run, B, "--codes", codes, "--data", "test")
    assert (code, "both say where to search" in err) == (2, True)


def test_arithmetic(cli: Cli, run: Path) -> None:
    vae = TextVAE.from_pretrained(run)
    code, out, _ = cli("arithmetic", run, f"{A} - {B} + {A}")
    assert (code, out) == (0, calculate(vae, f"{A} - {B} + {A}") + "\n")
    code, out, _ = cli("arithmetic", run, f"{A} + {B}", "--json")
    assert json.loads(out)[0]["expression"] == f"{A} + {B}"
    code, out, _ = cli("arithmetic", run, "--benchmark", "--examples", "6", "--seeds", "1")
    assert (code, len(out.splitlines())) == (0, 2 + 3 * 7)
    for words in ((), (f"{A} + {B}", "--benchmark")):
        code, _, err = cli("arithmetic", run, *words)
        assert (code, "one of the two" in err) == (2, True)
    code, _, err = cli("arithmetic", run, A)
    assert (code, "adds and subtracts nothing" in err) == (2, True)


def test_augment(cli: Cli, run: Path, table: Path, tmp_path: Path) -> None:
    out_file = tmp_path / "more.jsonl"
    wide = ("--label", "y", "--confidence", "0.5", "--nearest", "0", "--farthest", "1")
    given = ("augment", run, table, *wide, "--per-example", "1", "--labelled", "20", "--seeds", "2")
    code, out, err = cli(*given, "--output", out_file)
    assert code == 0, err
    rows: list[dict[str, Any]] = [json.loads(line) for line in out_file.read_text().splitlines()]
    assert rows
    assert {row["y"] for row in rows} <= {".", "?"}
    assert f"{len(rows)} variants of 80 sentences" in err
    assert [line.split()[0] for line in out.splitlines()[1:4]] == ["without", "with", "with"]
    assert any(word in out.splitlines()[4] for word in ("gain", "loss"))
    code, _, err = cli(*given, "--output", out_file)
    assert (code, "exists: choose another --output" in err) == (2, True)
    code, _, err = cli("augment", run, table, "--output", tmp_path / "x.jsonl")
    assert (code, "--label NAME" in err) == (2, True)


def test_export_for_the_projector(cli: Cli, run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "projector"
    code, out, _ = cli("export", run, folder, "--projector", "--data", "valid", "--examples", "7")
    assert (code, out) == (0, f"{folder}\n")
    assert len((folder / "tensors.tsv").read_text().splitlines()) == 7
    code, _, err = cli("export", run, tmp_path / "other", "--data", "valid")
    assert (code, "--data names examples for --projector" in err) == (2, True)
