"""A tiny run for every row of every table, built from its name alone, for tests of other devices."""

from __future__ import annotations

import inspect
from typing import Any

from seqvae.config.loading import parse_config
from seqvae.config.schema import RunConfig
from seqvae.modalities import MODALITIES
from seqvae.models.latents import LATENTS
from seqvae.models.priors import PRIORS
from seqvae.objectives import OBJECTIVES
from seqvae.remedies import REMEDIES

SHARED: dict[str, Any] = {"latent": LATENTS, "prior": PRIORS, "remedy": REMEDIES, "objective": OBJECTIVES}
CELL = {"embed": 6, "hidden": 8}
BLOCKS = {"width": 8, "heads": 2, "layers": 2, "dropout": 0}  # each device has its own dropout
PARTS: dict[str, dict[str, Any]] = {
    "gru": CELL, "lstm": CELL, "transformer": BLOCKS,
    "mlp": {"hidden": [9]}, "conv": {"channels": 2}, "residual": {"channels": 2},
}  # fmt: skip
TRAIN = {"steps": 4, "batch_size": 8, "lr": 0.01, "log_every": 1, "validate_every": 2, "valid_examples": 12}
RUNS: dict[str, dict[str, Any]] = {
    "text": {
        "data": {"name": "sentences", "examples": 60, "max_tokens": 20, "labels": ["tense"]},
        "encoder": {"name": "gru", **CELL},
        "decoder": {"name": "gru", **CELL},
    },
    "image": {
        "data": {"name": "blob", "labels": ["x", "y"], "examples": 60},
        "encoder": {"name": "mlp", "hidden": [9]},
        "decoder": {"name": "mlp", "hidden": [9]},
    },
}
TOLD: dict[str, dict[str, Any]] = {
    "text": {"condition": ["tense"]},
    "image": {
        "data": {"name": "shapes", "labels": ["shape"], "examples": 30},
        "condition": {"shape": {"classes": [0, 1, 2]}},
    },
}
HEARING = ("conditional", "semi_supervised")  # rows that are conditioned on a label
GAUSSIAN = {"name": "gaussian", "dim": 3}

Row = tuple[str, str, str]  # modality, kind, name
ROWS: list[Row] = [
    (modality, kind, name)
    for modality, wing in MODALITIES.items()
    for kind, table in {"encoder": wing.encoders, "decoder": wing.decoders, **SHARED}.items()
    for name, made in table.items()
    if getattr(made, "batch_type", "any") in ("any", modality)
]
# what no row has by its name alone
VARIANTS: dict[str, dict[str, Any]] = {
    "both directions": {"encoder": {"name": "lstm", **CELL, "bidirectional": True, "layers": 2}},
    "mean of both": {"encoder": {"name": "gru", **CELL, "bidirectional": True, "pooling": "mean"}},
    "deep and tied": {"decoder": {"name": "lstm", **CELL, "layers": 2, "dropout": 0.2, "tie": True}},
    "deep gru": {"decoder": {"name": "gru", **CELL, "layers": 2, "dropout": 0.2}},
    "variable rate": {"latent": {"name": "exact_rate", "nats": [1, 8]}},
    "variable rate, blocks": {
        "latent": {"name": "exact_rate", "nats": [1, 8]},
        "encoder": {"name": "transformer", **BLOCKS},
        "decoder": {"name": "transformer", **BLOCKS, "z_to": ["slots", "norms", "embeddings", "softmax"]},
    },
    "accumulated": {"train": {**TRAIN, "accumulate": 2, "clip": 0.1, "optimizer": "sgd"}},
    "told": {"condition": ["tense"], "latent": {**GAUSSIAN, "prior": {"name": "conditional"}}},
}

ALL = [*ROWS, *(("text", "variant", name) for name in VARIANTS)]


def row_id(row: Row) -> str:
    """As tests name it."""
    return "-".join(row)


def row_config(row: Row, *sets: str) -> RunConfig:
    """A tiny run with a row's name in it."""
    modality, kind, name = row
    if kind == "variant":
        return _parsed(modality, VARIANTS[name], sets)
    if kind in ("encoder", "decoder"):
        return _parsed(modality, {kind: {"name": name, **PARTS.get(name, {})}}, sets)
    told = TOLD[modality] if name in HEARING else {}
    if kind == "remedy":
        return _parsed(modality, {"remedies": [{"name": name}]}, sets)
    if kind == "prior":
        home = next((latent for latent, made in LATENTS.items() if made.default_prior == name), "gaussian")
        return _parsed(modality, {"latent": {**_latent(home), "prior": {"name": name}}, **told}, sets)
    return _parsed(modality, {kind: _latent(name) if kind == "latent" else {"name": name}, **told}, sets)


def _latent(name: str) -> dict[str, Any]:
    sized = "dim" in inspect.signature(LATENTS[name]).parameters
    return {"name": name, **({"dim": 3} if sized else {})}


def _parsed(modality: str, parts: dict[str, Any], sets: tuple[str, ...]) -> RunConfig:
    base = {
        "modality": modality,
        "latent": GAUSSIAN,
        "train": {**TRAIN, "precision": "fp32", "device": "cpu"},
    }
    return parse_config({**base, **RUNS[modality], **parts}, sets)
