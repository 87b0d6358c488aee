"""The file by which sentence-transformers finds, in the folder of a text run, the class that reads it."""

from __future__ import annotations

import json
from pathlib import Path

from seqvae.config.registry import lookup
from seqvae.config.schema import RunConfig
from seqvae.models.latents import LATENTS

MODULES = "modules.json"
SENTENCE_MODULE = "seqvae.integrations.sentence_transformers.TextVAEModule"  # in saved runs: it never moves


def write_modules(folder: Path, config: RunConfig) -> None:
    """Let `SentenceTransformer(folder, trust_remote_code=True)` open a run that encodes sentences."""
    reads = lookup("latent", LATENTS, config.latent.name).needs_encoder
    if config.modality != "text" or not reads or config.encoder.name == "vectors":
        return
    listed = [{"idx": 0, "name": "0", "path": "", "type": SENTENCE_MODULE}]
    (folder / MODULES).write_text(json.dumps(listed, indent=2) + "\n", encoding="utf-8")
