"""The check of a GPU: verdicts, sections that fail or hang, and a dry run of the whole script."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from seqvae.bench import check as check_module
from seqvae.bench.check import Check, main, print_lines, run_check
from seqvae.bench.check_lines import TARGETS, Line, Target, judge
from seqvae.bench.check_work import SPLITS, TIMED, full_scale, tiny_scale, write_config, write_texts
from seqvae.bench.setting import bench_config
from seqvae.config import load_config
from seqvae.registry import UserError

SPEED = Target("training", "reference", "reference.train_tokens_per_s", 100, "tokens/s")
TIME = Target("epochs", "training", "training.seconds", 90, "s", at_most=True)


@pytest.mark.parametrize(
    ("target", "value", "reason", "verdict", "good"),
    [
        (SPEED, 100, "", "ok", True),
        (SPEED, 99, "", "MISSED", False),
        (TIME, 90.0, "", "ok", True),
        (TIME, 90.1, "", "MISSED", False),
        (SPEED, None, "took longer than 60 s", "not run: took longer than 60 s", True),
        (SPEED, None, "failed: no memory", "failed: no memory", False),
        (SPEED, None, "", "not run: the section gave no such figure", True),
    ],
)
def test_verdicts(target: Target, value: Any, reason: str, verdict: str, good: bool) -> None:
    line = judge(target, value, reason, counts=True)
    assert (line.verdict, line.good) == (verdict, good)


def test_nothing_is_judged_at_tiny_sizes() -> None:
    line = judge(SPEED, 5, "", counts="no CUDA")
    assert (line.verdict, line.shown, line.wanted) == ("not run: no CUDA", "5", ">= 100")


def test_every_figure_is_one_of_a_section() -> None:
    sections = {*TIMED, "training", "evaluate", "peers", "tests"}
    assert {target.section for target in TARGETS} == sections
    assert len({target.figure for target in TARGETS}) == len(TARGETS)


def checked(tmp_path: Path, seconds: float = 60.0) -> Check:
    return Check(tiny_scale("no CUDA"), tmp_path, None, "no CUDA", time.monotonic() + seconds)


def test_a_section_costs_its_own_lines_alone(tmp_path: Path) -> None:
    check = checked(tmp_path)
    assert check.run("good", ["-c", "print(7)"], 30) == "7\n"
    assert check.run("bad", ["-c", "raise ValueError('this way')"], 30) is None
    assert check.run("slow", ["-c", "import time; time.sleep(60)"], 1.5) is None
    assert checked(tmp_path, 0.5).run("late", ["-c", "print(7)"], 30) is None
    assert check.reasons == {"bad": "failed: ValueError: this way", "slow": "took longer than 2 s"}


def test_what_fails_is_a_line_and_an_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Check, "run", lambda self, section, *_: self.reasons.update({section: "failed: x"}))
    lines = {line.what: line for line in run_check(checked(tmp_path))}
    assert lines["training, GRU 256, batch 32"].verdict == "failed: x"
    assert lines["evaluate --samples 500, its test part"].verdict == "not run: there is no trained run"
    assert lines["training, LSTM 256: times the faster peer"].verdict.startswith("not run: give --peers")
    assert lines["CUDA tests"].verdict == "not run: no CUDA"
    print_lines(list(lines.values()), "a card", 120.0)
    shown = capsys.readouterr().out
    assert "a card, torch" in shown
    assert "2.0 minutes" in shown
    monkeypatch.setattr(check_module, "run_check", lambda check: [Line("a", 1, "", "", "MISSED")])
    assert main(["--dry", "--out", str(tmp_path / "found.json")]) == 1
    assert "device" in (tmp_path / "found.json").read_text(encoding="utf-8")
    monkeypatch.setattr(check_module, "run_check", lambda check: [Line("a", 1, "", "", "ok")])
    assert main(["--dry"]) == 0


def test_peers_have_lines_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {"name": "seqvae lstm", "tokens_per_s": 400, "times": 4.0},
        {"name": "vae-lagging-encoder", "tokens_per_s": 100, "times": 1.0},
    ]
    monkeypatch.setattr(Check, "figures", lambda self, section, *_: rows if section == "peers" else None)
    monkeypatch.setattr(Check, "run", lambda *_: None)
    check = Check(full_scale(), tmp_path, tmp_path, "", time.monotonic() + 60)
    lines = {(line.what, line.unit): line for line in run_check(check)}
    assert lines["training, LSTM 256: times the faster peer", ""].verdict == "ok"
    assert lines["vae-lagging-encoder", "tokens/s"].shown == "100"


@pytest.mark.parametrize("scale", [full_scale(), tiny_scale("no CUDA")])
def test_presets_and_the_run_are_configs(scale: Any, tmp_path: Path) -> None:
    for preset in scale.presets:
        bench_config(preset, scale.overrides(preset))
    write_config(tmp_path / "train.yaml", scale, tmp_path)
    assert load_config(str(tmp_path / "train.yaml")).train.epochs == scale.epochs


def test_texts_are_made_or_taken(tmp_path: Path) -> None:
    ptb, made, taken = (tmp_path / name for name in ("ptb", "made", "taken"))
    for folder in (ptb, made, taken):
        folder.mkdir()
    write_texts(made, tiny_scale("no CUDA"), None)
    counts = [len((made / name).read_text(encoding="utf-8").splitlines()) for name, _ in SPLITS.values()]
    assert counts == [420, 33, 37]
    for name, _ in SPLITS.values():
        (ptb / name).write_text("a b\n", encoding="utf-8")
    write_texts(taken, full_scale(), ptb)
    assert (taken / "ptb.valid.txt").read_text(encoding="utf-8") == "a b\n"
    (ptb / "ptb.test.txt").unlink()
    with pytest.raises(UserError, match=r"holds no ptb\.test\.txt: give the folder"):
        write_texts(tmp_path, full_scale(), ptb)


@pytest.mark.long
def test_the_script_runs_dry(root: Path) -> None:
    done = subprocess.run(
        ["bash", str(root / "scripts" / "gpu_check.sh"), "--dry"],
        env={**os.environ, "PYTHON": sys.executable, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = done.stdout.splitlines()[4:]
    assert len(rows) == len(TARGETS)
    assert all("not run: no CUDA" in row or "not run: give --peers" in row for row in rows)
    assert not any(" - " in row for row in rows if "peer" not in row and "tests" not in row)
