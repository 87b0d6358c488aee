"""Files in a text run's folder by which sentence-transformers and transformers find its classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from seqvae.config.registry import lookup
from seqvae.config.schema import RunConfig
from seqvae.models.latents import LATENTS

MODULES, MODELING = "modules.json", "modeling_seqvae.py"
MODEL_TYPE = "seqvae"
# saved runs name these paths, so they must not change
_SENTENCE_MODULE = "seqvae.integrations.sentence_transformers.TextVAEModule"
_CODE = """from seqvae.integrations.transformers import SeqVAEConfig, SeqVAEModel

__all__ = ["SeqVAEConfig", "SeqVAEModel"]
"""


def encodes_sentences(config: RunConfig) -> bool:
    """Whether a run encodes sentences to codes."""
    reads = lookup("latent", LATENTS, config.latent.name).needs_encoder
    return config.modality == "text" and reads and config.encoder.name != "vectors"


def write_modules(folder: Path, config: RunConfig) -> None:
    """Let sentence-transformers and transformers open a run that encodes sentences."""
    if not encodes_sentences(config):
        return
    listed = [{"idx": 0, "name": "0", "path": "", "type": _SENTENCE_MODULE}]
    (folder / MODULES).write_text(json.dumps(listed, indent=2) + "\n", encoding="utf-8")
    (folder / MODELING).write_text(_CODE, encoding="utf-8")


def automatic_classes(config: RunConfig) -> dict[str, Any]:
    """Entries of config.json by which `transformers.AutoModel` opens a run that encodes sentences."""
    if not encodes_sentences(config):
        return {}
    module = MODELING.removesuffix(".py")
    classes = {"AutoConfig": f"{module}.SeqVAEConfig", "AutoModel": f"{module}.SeqVAEModel"}
    return {"model_type": MODEL_TYPE, "architectures": ["SeqVAEModel"], "auto_map": classes}
