"""Processes that are timed in turn, and their use in the benchmark: waiting threads, and peers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import seqvae.benchmarks
from seqvae.benchmarks import peer_speeds, peers, threads, turns, wait_policies
from seqvae.benchmarks.peers import OURS, PEERS, WORKER, Sizes
from seqvae.benchmarks.presets import bench_config, write_made_up
from seqvae.benchmarks.turns import Candidate, Running, busy_loops, python, take_turns
from seqvae.cli import app
from seqvae.errors import UserError

LOOP = """
import json, os, sys, time
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    print(json.dumps({"units": UNITS, "seconds": 2.0}), flush=True)
"""
TICKING = """
import json, sys, threading, time
count = 0
def tick():
    global count
    while True:
        count += 1
        time.sleep(0.005)
threading.Thread(target=tick, daemon=True).start()
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    print(json.dumps({"units": count, "seconds": 1.0}), flush=True)
"""


def steady(name: str, units: str = "8", **environment: str | None) -> Candidate:
    return Candidate(name, python("-c", LOOP.replace("UNITS", units)), environment)


def test_medians_of_each_in_each_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEED", "6")
    monkeypatch.setenv("GONE", "1")
    left = steady("environment", "int(os.environ['SPEED']) + ('GONE' in os.environ)", SPEED="4", GONE=None)
    phases = {"one": lambda: busy_loops(0), "two": lambda: busy_loops(1)}
    found = take_turns([steady("plain"), left], 2, 0.1, phases)
    assert found == {phase: {"plain": 4.0, "environment": 2.0} for phase in phases}


def test_a_process_waits_for_its_turn() -> None:
    with Running(Candidate("ticking", python("-c", TICKING))) as running:
        running.get_ready()
        first = running.measure(0.1)
        time.sleep(0.5)
        assert running.measure(0.1) - first < 50  # of a hundred ticks in half a second


@pytest.mark.parametrize(
    ("code", "message"),
    [("raise ValueError('no such thing')", "broken ended: ValueError: no such thing"),
     ("import sys; sys.exit(3)", "broken ended: it wrote nothing to standard error"),
     ("import time; time.sleep(60)", "broken gave no answer in time")],
)  # fmt: skip
def test_a_process_that_gives_no_answer(code: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PATIENCE", 0.5 if "sleep" in code else 30.0)
    with pytest.raises(UserError, match=message):
        take_turns([Candidate("broken", python("-c", code))], 1, 0.1)


# waiting threads


def test_policies_are_compared_with_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def turned(
        candidates: Sequence[Candidate], rounds: int, seconds: float, phases: Mapping[str, Any]
    ) -> Any:
        asked.append((candidates, rounds, seconds))
        speeds = {candidate.name: 1000.0 * (place + 1) for place, candidate in enumerate(candidates)}
        return dict.fromkeys(phases, speeds)

    monkeypatch.setattr(threads, "take_turns", turned)
    rows = wait_policies("reference", ["train.batch_size=4"], seconds=0.1, rounds=2)
    assert [row["policy"] for row in rows] == list(threads.POLICIES)
    (speed,) = {rows[-1]["quiet"], rows[-1]["busy"]}
    assert speed == 1000 * len(threads.POLICIES)
    assert rows[-1] == {
        "policy": "spin", "quiet": speed, "busy": speed, "quiet_share": 1, "busy_share": 1, "worse": 1,
    }  # fmt: skip
    assert rows[0]["worse"] == pytest.approx(1 / len(threads.POLICIES), abs=1e-3)
    (candidates, rounds, seconds), *_ = asked
    assert (rounds, seconds) == (2, 0.1)
    assert candidates[0].command[-2:] == ("reference", "train.batch_size=4")
    assert candidates[0].environment == {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": None}
    monkeypatch.setattr(seqvae.benchmarks, "wait_policies", lambda *_: rows)
    lines = CliRunner().invoke(app, ["bench", "--threads"]).stdout.splitlines()
    assert lines[-1].split()[:4] == ["spin", f"{speed:,}", "100", "%"]
    assert lines[-1].split()[-2:] == ["100", "%"]


# peers: folders with modules of the same names and calls

LAGGING = {
    "data.py": """
import torch

class MonoTextData:
    def __init__(self, file):
        self.vocab = sorted(set(open(file).read().split()))

    def create_data_batch(self, batch_size, device, batch_first):
        print("loading")
        return [torch.zeros(batch_size, 5, dtype=torch.long)]
""",
    "modules.py": """
import torch

class LSTMEncoder(torch.nn.Linear):
    def __init__(self, how, words, model_init, embed_init):
        super().__init__(how.ni, how.nz)
        embed_init(self.weight)

class LSTMDecoder(torch.nn.Linear):
    def __init__(self, how, vocab, model_init, embed_init):
        super().__init__(how.nz, how.dec_nh)

class VAE(torch.nn.Module):
    def __init__(self, encoder, decoder, how):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def loss(self, x, kl_weight, nsamples):
        each = self.decoder(self.encoder(torch.ones(len(x), self.encoder.in_features))).sum(-1)
        return each, each, each
""",
}


@pytest.fixture
def clones(tmp_path: Path) -> Path:
    """A folder with the one peer that is small enough to imitate."""
    (tmp_path / "clones" / PEERS[0]).mkdir(parents=True)
    for name, text in LAGGING.items():
        (tmp_path / "clones" / PEERS[0] / name).write_text(text, encoding="utf-8")
    return tmp_path / "clones"


def test_a_peer_is_driven_by_its_own_modules(clones: Path, tmp_path: Path) -> None:
    """What it prints while it loads is no answer."""
    write_made_up(tmp_path / "text", 20, 10)
    sizes = ("6", "4", "2", "3", "cpu")
    command = python(str(WORKER), PEERS[0], str(clones / PEERS[0]), str(tmp_path / "text"), *sizes)
    with Running(Candidate("peer", command)) as running:
        running.get_ready()
        assert running.measure(0.05) > 0


def test_peers_are_compared_with_the_faster_one(
    clones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Candidate] = []

    def turned(candidates: Sequence[Candidate], rounds: int, seconds: float) -> Any:
        asked.extend(candidates)
        assert Path(candidates[-1].command[4]).read_text(encoding="utf-8")
        return {"": {candidate.name: 100.0 * (9 - place) for place, candidate in enumerate(candidates)}}

    monkeypatch.setattr(peers, "take_turns", turned)
    monkeypatch.setattr(peers, "SENTENCES", 10)
    rows = peer_speeds(clones, None, ["train.device=cpu"], sizes=Sizes(6, 4, 2, 3))
    assert [row["name"] for row in rows] == [*OURS, PEERS[0]]
    assert rows[0] == {"name": "seqvae reference", "tokens_per_s": 900, "times": 1.5}
    assert asked[-1].command[-5:] == ("6", "4", "2", "3", "cpu")
    for candidate in asked[:-1]:  # our processes get a config
        preset, *overrides = candidate.command[3:]
        config = bench_config(preset, overrides)
        assert (config.train.batch_size, config.latent.arguments["dim"]) == (3, 2)
        assert config.encoder.arguments["hidden"] == 4


def test_no_clone_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds none of vae-lagging-encoder, text-autoencoders: clone them"):
        peer_speeds(tmp_path)


@pytest.mark.long
def test_the_commands_time_real_processes(clones: Path) -> None:
    small = [f"{part}.{size}" for part in ("encoder", "decoder") for size in ("embed=6", "hidden=8")]
    sets = [word for one in [*small, "train.device=cpu"] for word in ("--set", one)]
    quick = ["--seconds", "0.05", "--rounds", "1", "--json", *sets]
    run: Callable[[list[str]], Any] = lambda arguments: CliRunner().invoke(app, ["bench", *arguments, *quick])  # noqa: E731
    rows = json.loads(run(["--threads", "--set", "tokenizer.vocab_size=60"]).stdout)
    assert [row["policy"] for row in rows] == list(threads.POLICIES)
    assert all(row["quiet"] > 0 and row["busy"] > 0 for row in rows)
    rows = json.loads(run(["--peers", str(clones)]).stdout)
    assert {row["name"] for row in rows} == {*OURS, PEERS[0]}
