"""All GPU measurements in one run: `python -m seqvae.benchmarks.check`, or scripts/gpu_check.sh.

Every section is a process with its own time limit: a section that fails or hangs affects only its own lines.
Without CUDA, or with `--dry`, all sections run at tiny sizes, as a test; figures are not judged then.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from seqvae.benchmarks.check_lines import PEER_TIMES, TARGETS, Line, judge
from seqvae.benchmarks.check_work import (
    DRY_RUN,
    SPLITS,
    Scale,
    full_scale,
    tiny_scale,
    write_config,
    write_texts,
)
from seqvae.utils.tables import align_columns

ROOT = Path(__file__).parents[2]
MINUTES = 10.0


@dataclass
class Check:
    """The state of a check: figures found so far, and the time left."""

    scale: Scale
    folder: Path
    peers: Path | None
    no_tests: str  # why the CUDA tests are left out; empty if they run
    end: float
    found: dict[str, Any] = field(default_factory=dict)  # figures by name
    reasons: dict[str, str] = field(default_factory=dict)  # reasons of sections without figures, by section

    def run(self, section: str, arguments: Sequence[str], most: float) -> str | None:
        """Run a command and return its output; None, with a reason, if it failed or timed out."""
        left = min(most, self.end - time.monotonic())
        if left <= 1:
            self.reasons[section] = "no time was left"
            return None
        print(f"gpu_check: {section} (at most {left:.0f} s)", file=sys.stderr, flush=True)
        command = [sys.executable, *arguments]
        try:
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=left)
        except subprocess.TimeoutExpired:
            self.reasons[section] = f"took longer than {left:.0f} s"
            return None
        if done.returncode:
            lines = (done.stderr or done.stdout).strip().splitlines()
            self.reasons[section] = f"failed: {lines[-1] if lines else f'exit code {done.returncode}'}"
            return None
        return done.stdout

    def figures(self, section: str, arguments: Sequence[str], most: float) -> Any:
        """The JSON that `seqvae ARGUMENTS --json` prints, or None."""
        out = self.run(section, ["-m", "seqvae", *arguments, "--json"], most)
        return None if out is None else json.loads(out)


def run_check(check: Check) -> list[Line]:
    """Run every section, the figures first and the tests last."""
    for section in (_presets, _training, _peers, _tests):
        section(check)
    return list(_lines(check))


def _presets(check: Check) -> None:
    for preset, use in check.scale.presets.items():
        sets = [word for override in check.scale.overrides(preset) for word in ("--set", override)]
        what = ["--no-cold", "--use" if use else "--no-use", "--seconds", str(check.scale.seconds)]
        found = check.figures(preset, ["bench", "--preset", preset, *what, *sets], 90 if use else 60)
        for name, value in (found or {}).items():
            check.found[f"{preset}.{name}"] = value


def _training(check: Check) -> None:
    """Time 20 epochs at hidden 1024 with validation and checkpoints, and K = 500 on the test split."""
    config, run = check.folder / "train.yaml", check.folder / "run"
    write_config(config, check.scale, check.folder)
    began = time.monotonic()
    if check.run("training", ["-m", "seqvae", "train", str(config), "--out", str(run)], 180) is None:
        check.reasons["evaluate"] = "there is no trained run"
        return
    check.found["training.seconds"] = round(time.monotonic() - began, 1)
    began = time.monotonic()
    measure = ["evaluate", str(run), "--samples", str(check.scale.samples), "--precision", "auto"]
    if (found := check.figures("evaluate", measure, 120)) is not None:
        check.found["evaluate.seconds"] = round(time.monotonic() - began, 1)
        check.found["evaluate.iw_nll"] = found["iw_nll"]


def _peers(check: Check) -> None:
    if check.peers is None:
        check.reasons["peers"] = "give --peers FOLDER with clones of their repositories"
        return
    text = str(check.folder / SPLITS["train"][0])
    arguments = ["bench", "--peers", str(check.peers.resolve()), "--text", text, "--rounds", "3"]
    rows = check.figures("peers", [*arguments, "--seconds", str(check.scale.seconds)], 150)
    for row in rows or ():
        check.found[f"peers.{row['name']}"] = row["tokens_per_s"]
        check.found[f"peers.{row['name']}.times"] = row["times"]


def _tests(check: Check) -> None:
    if check.no_tests:
        check.reasons["tests"] = check.no_tests
        return
    if not (ROOT / "tests").is_dir():
        check.reasons["tests"] = "an installed package has none: run it from a clone"
        return
    out = check.run("tests", ["-m", "pytest", "-q", "-m", "cuda", "-p", "no:cacheprovider", "tests"], 150)
    if out is not None:
        check.found["tests.failed"] = 0
        check.found["tests.summary"] = out.strip().splitlines()[-1].strip("= ")


def _lines(check: Check) -> Iterator[Line]:
    counts = check.scale.counts
    for target in TARGETS:
        reason = check.reasons.get(target.section, "")
        yield judge(target, check.found.get(target.figure), reason, counts)
    peers = {name: value for name, value in check.found.items() if name.startswith("peers.")}
    for name, value in peers.items():
        if name not in (PEER_TIMES, f"{PEER_TIMES}.times"):
            unit = "times the faster peer" if name.endswith(".times") else "tokens/s"
            yield Line(name.removeprefix("peers.").removesuffix(".times"), value, "", unit, "")


def print_lines(lines: Sequence[Line], device: str, spent: float) -> None:
    """Print the results as a table."""
    head = ("what", "measured", "wanted", "", "verdict")
    print(f"{device}, torch {torch.__version__}, {spent / 60:.1f} minutes\n")
    cells = [(line.what, line.shown, line.wanted, line.unit, line.verdict) for line in lines]
    print("\n".join(align_columns(head, cells)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the check; returns 1 if a figure is below its goal or a section failed."""
    asked = _parser().parse_args(arguments)
    began, gpu = time.monotonic(), torch.cuda.is_available()
    counts = gpu and not asked.dry
    why = "" if counts else (DRY_RUN if gpu else "no CUDA")
    scale = full_scale() if counts else tiny_scale(why)
    device = torch.cuda.get_device_name() if gpu else "no CUDA device"
    with tempfile.TemporaryDirectory() as folder:
        ptb = asked.ptb.resolve() if asked.ptb else None
        write_texts(Path(folder), scale, ptb)
        no_tests = why if asked.tests else "left out by --no-tests"
        check = Check(scale, Path(folder), asked.peers, no_tests, began + 60 * MINUTES)
        lines = run_check(check)
    print_lines(lines, device, time.monotonic() - began)
    if asked.out:
        asked.out.write_text(json.dumps({"device": device, **check.found}, indent=1) + "\n", encoding="utf-8")
    return int(any(not line.good for line in lines))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gpu_check.sh", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--ptb", type=Path, help="folder with ptb.train.txt, ptb.valid.txt and ptb.test.txt")
    parser.add_argument("--peers", type=Path, help="folder with clones of the peers' repositories")
    parser.add_argument("--out", type=Path, help="write all figures to this JSON file")
    parser.add_argument("--dry", action="store_true", help="tiny sizes: show that every section runs")
    parser.add_argument("--no-tests", dest="tests", action="store_false", help="leave the CUDA tests out")
    return parser


if __name__ == "__main__":
    sys.exit(main())
