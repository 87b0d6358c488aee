"""Tiny runs on tiny pretrained models, and on given vectors, that several tests share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_backbones import bert_folder, lm_folder

from seqvae.config.loading import parse_config
from seqvae.config.schema import RunConfig
from seqvae.training.loop import train

SUBJECTS = ("a man", "the woman", "the old dog", "a young cat")
VERBS = ("sees", "eats")
OBJECTS = ("a ball", "the fish", "an egg")
PLACES = ("", " in the park")
LINES = [f"{s} {v} {o}{p}" for s in SUBJECTS for v in VERBS for o in OBJECTS for p in PLACES]  # 48
TRAIN = {"steps": 12, "batch_size": 8, "precision": "fp32", "device": "cpu", "lr": 0.01, "log_every": 3,
         "validate_every": 6, "valid_examples": 8}  # fmt: skip
WIDTH = 6


def corpus(folder: Path) -> Path:
    """The lines as a file, with a blank one in the middle."""
    file = folder / "lines.txt"
    file.write_text("\n".join([*LINES[:20], "", *LINES[20:]]) + "\n", encoding="utf-8")
    return file


def vectors(folder: Path) -> Path:
    """A vector per line of `corpus`, which says which subject, verb, object and place it has."""
    file = folder / "vectors.npy"
    codes = [(i // 12, i // 6 % 2, i // 2 % 3, i % 2) for i in range(len(LINES))]
    rows = np.array([[a, a * a, b, c, c * c, d] for a, b, c, d in codes], np.float32)
    np.save(file, np.insert(rows, 20, 0.0, axis=0))
    return file


def values(folder: Path, **more: Any) -> dict[str, Any]:
    """A config of a frozen tiny BERT and a frozen tiny Llama."""
    return {
        "data": {"train": str(corpus(folder)), "max_tokens": 48, "valid_share": 0.2, "test_share": 0.2},
        "encoder": {"name": "pretrained", "model": bert_folder()},
        "latent": {"name": "gaussian", "dim": 3},
        "decoder": {"name": "pretrained", "model": lm_folder(), "slots": 3},
        "train": TRAIN,
        **more,
    }


def config(folder: Path, *sets: str, **more: Any) -> RunConfig:
    """The same, checked, with `key.path=value` over it."""
    return parse_config(values(folder, **more), sets)


def vector_config(folder: Path, *sets: str, **more: Any) -> RunConfig:
    """A config of given vectors and a GRU."""
    small = {"name": "gru", "embed": 8, "hidden": 16}
    base = values(folder, encoder={"name": "vectors"}, decoder=small, **more)
    base["data"] |= {"vectors": str(vectors(folder))}
    return parse_config(base, sets)


def shared_run(factory: pytest.TempPathFactory, kind: str) -> Path:
    """A finished tiny run, trained once per session: frozen, lora, dial or vectors."""
    home = factory.getbasetemp() / "pretrained-runs"
    home.mkdir(exist_ok=True)
    path = home / kind
    if path.is_dir():
        return path
    if kind == "vectors":
        return train(vector_config(home), path)
    lora = {"train": "lora", "lora": {"r": 2}}
    dial = {"name": "exact_rate", "dim": 3, "nats": [1, 8]}
    more: dict[str, Any] = {
        "frozen": {},
        "lora": {"decoder": {"name": "pretrained", "model": lm_folder("gpt2"), **lora},
                 "encoder": {"name": "pretrained", "model": bert_folder(), **lora}},
        "dial": {"latent": dial},
        "lm": {"latent": {"name": "none"}},
    }[kind]  # fmt: skip
    return train(config(home, **more), path)
