"""Examples for use with a model: sentences or pictures, and the labels of each where it is told any.

Shapes: N examples, M chosen ones, C x H x W a picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seqvae.build import modality_of
from seqvae.errors import UserError
from seqvae.inference import PretrainedVAE, TextVAE
from seqvae.models.sampling import Condition

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Inputs:
    """Sentences, or pictures (N, C, H, W), and the labels of each where the model is told any."""

    x: Any
    condition: Condition | None = None  # {label: a value of all, or a list of one for each}

    def __len__(self) -> int:
        return len(self.x)

    @property
    def names(self) -> list[str]:
        """What people know each by: a sentence itself, a picture's place."""
        return self.x if isinstance(self.x, list) else [str(place) for place in range(len(self))]

    def rows(self, rows: Tensor) -> Inputs:
        """Those of the chosen places (M,)."""
        places = rows.tolist()
        chosen = [self.x[row] for row in places] if isinstance(self.x, list) else self.x[rows.numpy()]
        if self.condition is None:
            return Inputs(chosen)
        told = self.condition.items()
        each = {k: [v[row] for row in places] if isinstance(v, list | tuple) else v for k, v in told}
        return Inputs(chosen, each)


def load_inputs(vae: PretrainedVAE, data: str | None, count: int | None = None) -> Inputs:
    """The first `count` sentences, or pictures uint8 (N, C, H, W), of a split of the run's data or of a file.

    A model that is told labels, of which nobody chose any for all, is told those of each.

    Raises:
        UserError: the run has no such split, the file cannot be read, or a label is missing or unknown.
    """
    store, labels = _store(vae, data), vae.vae.labels
    rows = range(len(store) if count is None else min(count, len(store)))
    told = None
    if labels is not None and not labels.fixed:
        told = labels.decode_columns(torch.tensor(store.labels[: len(rows)]))
    if isinstance(vae, TextVAE):
        return Inputs(list(vae.tokenizer.decode_batch(store.tokens(i).tolist() for i in rows)), told)
    return Inputs(store.pixels[: len(rows)], told)


def _store(vae: Any, data: str | None) -> Any:
    if data not in SPLITS or Path(data).exists():
        return vae._store(data)[1]
    config = vae.run.config
    found: Any = modality_of(config).load_data(config, vae.run.codec)
    splits = found.splits
    if data not in splits:
        raise UserError(f"{vae.run.path} has no {data} split: it has {', '.join(splits)}")
    return splits[data]
