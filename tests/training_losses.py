"""Records the training losses of six tiny configs; run as `python tests/training_losses.py` to record anew.

`tests/training/test_training_losses.py` compares today's code with the record. A change that is meant to move
a number records anew and says why in its commit.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from seqvae.config.loading import parse_config
from seqvae.training.loop import train

RECORD = Path(__file__).with_name("training_losses.json")
STEPS = 50
TRAIN = {
    "steps": STEPS,
    "batch_size": 8,
    "lr": 0.005,
    "precision": "fp32",
    "device": "cpu",
    "log_every": 1,
    "validate_every": STEPS,
    "valid_examples": 8,
    "threads": 1,
}
SENTENCES = {"name": "sentences", "examples": 120, "max_tokens": 20}
BLOB = {"modality": "image", "data": {"name": "blob", "examples": 120}}
GRU = {"name": "gru", "embed": 8, "hidden": 12}
ATTENTION = {"name": "transformer", "width": 8, "layers": 1, "heads": 2}
CONFIGS: dict[str, dict[str, Any]] = {
    "text-gru-gaussian": {
        "data": SENTENCES,
        "encoder": GRU,
        "latent": {"name": "gaussian", "dim": 4},
        "decoder": GRU,
    },
    "text-transformer": {
        "data": SENTENCES,
        "encoder": ATTENTION,
        "latent": {"name": "gaussian", "dim": 4},
        "decoder": ATTENTION,
        "remedies": [{"name": "linear_annealing", "steps": 20}],
    },
    "text-variable-rate": {
        "data": SENTENCES,
        "encoder": GRU,
        "latent": {"name": "exact_rate", "dim": 4, "nats": [2, 64]},
        "decoder": {**GRU, "dropout": 0.2},
    },
    "text-remedies": {
        "data": {**SENTENCES, "labels": ["tense", "number"]},
        "encoder": {**GRU, "name": "lstm", "dropout": 0.1},
        "latent": {"name": "gaussian", "dim": 4},
        "decoder": {**GRU, "name": "lstm", "tie": True, "hidden": 8},
        "condition": ["tense"],
        "attributes": {0: "number"},
        "remedies": [
            {"name": "cyclical_annealing", "cycles": 2},
            {"name": "free_bits", "nats": 0.25},
            {"name": "word_dropout", "rate": 0.2},
            {"name": "bag_of_words"},
            {"name": "mmd"},
            {"name": "aggressive_encoder", "max_inner_steps": 3},
        ],
    },
    "image-mlp": {
        **BLOB,
        "encoder": {"name": "mlp", "hidden": [16]},
        "latent": {"name": "gaussian", "dim": 4},
        "decoder": {"name": "mlp", "hidden": [16]},
        "objective": {"name": "iwae", "samples": 3},
    },
    "image-conv": {
        **BLOB,
        "encoder": {"name": "conv", "channels": 4, "hidden": 16},
        "latent": {"name": "gaussian", "dim": 4},
        "decoder": {"name": "conv", "channels": 4, "hidden": 16},
        "remedies": [{"name": "constant_beta", "beta": 2}, {"name": "factor_vae"}],
    },
}


def measure_losses(name: str, folder: Path) -> list[float]:
    """The loss of each of the first 50 updates of a config, in nats per example."""
    path = train(parse_config({**CONFIGS[name], "train": TRAIN}), folder / name)
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line["total"] for line in lines if line["kind"] == "train"]


def read_record() -> dict[str, list[float]]:
    """The recorded losses of each config."""
    record: dict[str, list[float]] = json.loads(RECORD.read_text(encoding="utf-8"))
    return record


def write_record() -> None:
    """Measure every config and write the record, one line per config."""
    with tempfile.TemporaryDirectory() as folder:
        losses = {name: measure_losses(name, Path(folder)) for name in CONFIGS}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(values)}" for name, values in losses.items())
    RECORD.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    write_record()
