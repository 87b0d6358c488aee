"""Models and texts of a GPU check, at full scale and at a tiny one for dry runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from seqvae.benchmarks.presets import PRESETS, WORDS, overrides_by_preset, write_made_up
from seqvae.errors import UserError

DRY_RUN = "a dry run"
SPLITS = {  # of the Penn Treebank: file name and number of sentences
    "train": ("ptb.train.txt", 42_068),
    "valid": ("ptb.valid.txt", 3_370),
    "test": ("ptb.test.txt", 3_761),
}
USED = "reference"  # the preset for which decoding and likelihoods are timed too
TIMED = (USED, "batch128", "lstm", "gru1024", "lstm1024", "transformer", "conv")
TINY = (
    "tokenizer.vocab_size=60",
    *(f"{part}.{size}" for part in ("encoder", "decoder") for size in ("embed=6", "hidden=8")),
    *(f"{part}.{size}" for part in ("encoder", "decoder") for size in ("width=8", "layers=1", "heads=2")),
    *(f"{part}.channels=2" for part in ("encoder", "decoder")),
    "train.batch_size=4",
)


@dataclass(frozen=True)
class Scale:
    """Sizes of a check. `counts` is whether figures are judged, or the reason why they are not."""

    counts: bool | str
    hidden: int
    embed: int
    epochs: int
    share: float  # of the Penn Treebank's sentences
    words: int
    samples: int
    seconds: float  # of a timing
    small: tuple[str, ...] = ()  # overrides of presets

    @property
    def presets(self) -> Mapping[str, bool]:
        """The presets to time, and whether decoding and likelihoods are timed too."""
        return {preset: preset == USED for preset in TIMED}

    def overrides(self, preset: str) -> list[str]:
        """The overrides of `small` that apply to a preset."""
        known = overrides_by_preset(TIMED, self.small)[preset]
        text = PRESETS[preset].get("modality", "text") == "text"
        return [override for override in known if text or not override.startswith("tokenizer.")]


def full_scale() -> Scale:
    """The sizes for which the goals are set."""
    return Scale(True, 1024, 512, 20, 1.0, WORDS, 500, 1.0)


def tiny_scale(reason: str) -> Scale:
    """Sizes at which every section takes seconds on a CPU."""
    return Scale(reason, 8, 6, 1, 0.01, 60, 2, 0.02, TINY)


def write_texts(folder: Path, scale: Scale, ptb: Path | None) -> None:
    """Write the three splits to `folder`: those of the folder `ptb`, or made-up ones of the same size.

    Raises:
        UserError: a file is missing in `ptb`.
    """
    for seed, (name, sentences) in enumerate(SPLITS.values()):
        if ptb is None:
            write_made_up(folder / name, scale.words, max(8, int(scale.share * sentences)), seed)
        elif not (ptb / name).is_file():
            raise UserError(f"{ptb} holds no {name}: give the folder of the Penn Treebank's three files")
        else:
            (folder / name).symlink_to(ptb / name)


def write_config(path: Path, scale: Scale, folder: Path) -> None:
    """The config of the run that is trained: a GRU with z 32, validated and saved at every epoch."""
    files = {part: str(folder / name) for part, (name, _) in SPLITS.items()}
    cell = {"name": "gru", "embed": scale.embed, "hidden": scale.hidden}
    config: dict[str, Any] = {
        "data": {**files, "max_tokens": 100},
        "tokenizer": {"name": "word", "vocab_size": scale.words},
        "encoder": {**cell, "pooling": "max"},
        "latent": {"name": "gaussian", "dim": 32},
        "decoder": {**cell, "dropout": 0.5},
        "remedies": [{"name": "free_bits", "nats": 0.16}],
        "train": {"epochs": scale.epochs, "batch_size": 64, "lr": 1e-3, "valid_examples": SPLITS["valid"][1]},
    }
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
