"""Every verb that reads a run works on one of pretrained models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_pretrained import LINES, config, shared_run

from seqvae.cli import main
from seqvae.config.loading import dump_config
from seqvae.training.loop import train

VERBS: dict[str, list[str]] = {
    "evaluate": ["evaluate", "{run}", "--samples", "2", "--json"],
    "refine": ["evaluate", "{run}", "--samples", "2", "--refine", "2", "--examples", "4", "--json"],
    "sample": ["sample", "{run}", "-n", "2", "--top-p", "0.9", "--max-length", "5"],
    "beam": ["sample", "{run}", "-n", "2", "--beam", "3", "--max-length", "5"],
    "reconstruct": ["reconstruct", "{run}", LINES[0]],
    "interpolate": ["interpolate", "{run}", LINES[0], LINES[1], "--steps", "3"],
    "score": ["score", "{run}", "--data", "test", "--samples", "2"],
    "score sentences": ["score", "{run}", *LINES[:2], "--json"],
    "edit": ["edit", "{run}", LINES[0], "--towards", "{lines}", "--away", "{others}"],
    "encode": ["encode", "{run}", "--input", "{lines}", "--output", "{here}/z.parquet"],
    "show": ["show", "{run}"],
    "traverse": ["traverse", "{run}", "--dim", "0", "--steps", "3"],
    "fit-prior": ["fit-prior", "{run}", "--components", "2", "--samples", "2", "--name", "{new}"],
    "rate curve": ["rate", "{run}", "--rates", "2,4", "--data", "test", "--examples", "4"],
    "quality": ["quality", "{run}", "--with", "{lm}", "-n", "4"],
    "plot": ["plot", "{run}", "codes", "--output", "{here}/codes.png"],
}


@pytest.mark.parametrize("whole", [True, False])
def test_exports_with_and_without_its_bases(
    whole: bool,
    tmp_path_factory: pytest.TempPathFactory,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run, out = shared_run(tmp_path_factory, "frozen"), tmp_path / "out"
    with pytest.raises(SystemExit) as left:
        main(["export", str(run), str(out), *(["--whole"] if whole else [])])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert (out / "base").is_dir() == whole
    assert not (out / "checkpoints").exists()
    with pytest.raises(SystemExit) as left:
        main(["export", str(run), str(out)])
    assert left.value.code == 2
    assert "exists: choose another folder" in capsys.readouterr().err


@pytest.mark.parametrize("verb", VERBS)
def test_verbs(
    verb: str,
    tmp_path_factory: pytest.TempPathFactory,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = shared_run(tmp_path_factory, "dial" if "rate" in verb else "frozen")
    lines = tmp_path / "few.txt"
    lines.write_text("\n".join(LINES[:3]) + "\n")
    others = tmp_path / "others.txt"
    others.write_text("\n".join(LINES[3:6]) + "\n")
    where: dict[str, Any] = {
        "run": run,
        "lines": lines,
        "others": others,
        "here": tmp_path,
        "new": "m-" + tmp_path.name,
    }
    if verb == "quality":
        pytest.importorskip("sacrebleu")
        where["lm"] = shared_run(tmp_path_factory, "lm")
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        main([word.format(**where) for word in VERBS[verb]])
    said = capsys.readouterr()
    assert left.value.code == 0, said.err
    assert said.out
    if "--json" in VERBS[verb]:
        json.loads(said.out)


def test_compares_with_its_language_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = config(
        tmp_path,
        "train.steps=4",
        "train.validate_every=4",
        latent={"name": "exact_rate", "dim": 3, "nats": [1, 8]},
    )
    (tmp_path / "base.yaml").write_text(dump_config(base))
    variants = "{lm: {latent: {name: none}}, vae: {rates: [2, 8]}}"
    file = tmp_path / "both.yaml"
    file.write_text(
        f"base: {tmp_path}/base.yaml\nsamples: 2\ncolumns: [neg_elbo, rate]\nvariants: {variants}\n"
    )
    with pytest.raises(SystemExit) as left:
        main(["compare", str(file), "--out", str(tmp_path / "out")])
    said = capsys.readouterr()
    assert left.value.code == 0, said.err
    for row in ("| lm |", "| vae at 2 |", "| vae at 8 |"):
        assert row in said.out


def test_probes_a_label(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "lines.csv"
    table.write_text("text,place\n" + "".join(f"{line},{'park' in line:d}\n" for line in LINES))
    data = {"train": str(table), "labels": ["place"], "max_tokens": 48, "valid_share": 0.2, "test_share": 0.2}
    run = train(config(tmp_path, "train.steps=4", "train.validate_every=4", data=data), tmp_path / "run")
    with pytest.raises(SystemExit) as left:
        main(["probe", str(run), "place", "--labels", "10", "--seeds", "1", "--json"])
    said = capsys.readouterr()
    assert left.value.code == 0, said.err
    (row, *_) = json.loads(said.out)
    assert 0 <= row["code"] <= 1
