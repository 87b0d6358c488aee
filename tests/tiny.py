"""Tiny runs, and a listener to them, that the tests of training, the command line and the API share."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from seqvae.config import RunConfig, parse_config
from seqvae.disk import checkpoints
from seqvae.train import train

DEVICE = os.environ.get("SEQVAE_TEST_DEVICE", "cpu")  # of tiny runs, see `conftest.py`
SMALL = {"embed": 8, "hidden": 16}
BASE: dict[str, Any] = {
    "data": {"name": "sentences", "examples": 200, "max_tokens": 20},
    "encoder": {"name": "gru", **SMALL},
    "latent": {"name": "gaussian", "dim": 4},
    "decoder": {"name": "gru", **SMALL},
    "train": {
        "steps": 40,
        "batch_size": 16,
        "precision": "fp32",
        "device": DEVICE,
        "lr": 0.01,
        "log_every": 10,
        "validate_every": 20,
        "valid_examples": 50,
    },
}
SENTENCES = ["the old dog sees a ball .", "she sells eggs", "a cat", "did the boys not hide the book ?"]


class Listener:
    """Remembers what a run said; raises Ctrl-C's signal at certain words, or at the log of a step."""

    def __init__(self, stop_at: str = "\0", stop_at_log: int = -1) -> None:
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self.stop_at, self.stop_at_log = stop_at, stop_at_log

    def note(self, text: str) -> None:
        """One line; perhaps the one to stop at."""
        self.notes.append(text)
        if text.startswith(self.stop_at):
            signal.raise_signal(signal.SIGINT)

    def warn(self, text: str) -> None:
        """One loud line."""
        self.warnings.append(text)

    def advance(self, done: int, total: int, what: str) -> None:
        """A line of numbers; perhaps the one to stop at."""
        if done == self.stop_at_log:
            signal.raise_signal(signal.SIGINT)

    def close(self) -> None:
        """The end."""


def config(*sets: str) -> RunConfig:
    """The tiny config with `key.path=value` over it."""
    return parse_config(BASE, sets)


def trained(base: Path, name: str, *sets: str) -> Path:
    """A finished tiny run, trained once a session."""
    path = base / name
    return path if path.is_dir() else train(config(*sets), path)


def tiny_run(factory: pytest.TempPathFactory) -> Path:
    """The run that the tests of the command line and the API use."""
    return trained(factory.getbasetemp(), "tiny-run", "remedies=[{name: constant_beta, beta: 0.01}]")


def language_model(factory: pytest.TempPathFactory) -> Path:
    """A run without a code."""
    return trained(factory.getbasetemp(), "tiny-lm", "latent.name=none", "train.steps=20")


def autoencoder(factory: pytest.TempPathFactory) -> Path:
    """A run whose code has no density."""
    return trained(factory.getbasetemp(), "tiny-ae", "latent={name: deterministic, dim: 4}", "train.steps=20")


def metrics(path: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without what the clock decides."""
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    timeless = [{k: v for k, v in line.items() if not k.endswith("_per_s")} for line in lines]
    return [line for line in timeless if kind in (None, line["kind"])]


def card(path: Path) -> dict[str, Any]:
    """config.json."""
    return json.loads((path / "config.json").read_text())


def assert_same(a: Any, b: Any) -> None:
    """Bit for bit, through dicts and lists."""
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    else:
        assert a == b


def assert_same_runs(a: Path, b: Path) -> None:
    """Selected weights, last checkpoint with optimizer and progress, and every logged number."""
    assert_same(load_file(a / "model.safetensors"), load_file(b / "model.safetensors"))
    x, y = checkpoints(a)[-1], checkpoints(b)[-1]
    assert x.name == y.name
    assert_same(load_file(x / "model.safetensors"), load_file(y / "model.safetensors"))
    for file in ("optimizers.pt", "objective.pt"):
        assert_same(torch.load(x / file, weights_only=True), torch.load(y / file, weights_only=True))
    assert_same(_timeless(x), _timeless(y))
    assert metrics(a) == metrics(b)
    assert card(a)["selected"] == card(b)["selected"]


def assert_close_runs(one: Path, two: Path) -> None:
    """Every logged number within 1e-4."""
    ours, theirs = metrics(one), metrics(two)
    assert len(ours) == len(theirs) > 0
    for a, b in zip(ours, theirs, strict=True):
        assert a.keys() == b.keys()
        assert a.pop("kind") == b.pop("kind")
        for key in a:
            assert b[key] == pytest.approx(a[key], rel=1e-4, abs=2e-5), (key, a["step"])


def _timeless(folder: Path) -> dict[str, Any]:
    progress = json.loads((folder / "state.json").read_text())["progress"]
    progress.pop("seconds")
    return progress
