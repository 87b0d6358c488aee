"""What turns pictures into batches and back: their shape, and how pixels become black or white."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from torch import Tensor

from seqvae.batch import ImageBatch
from seqvae.registry import UserError

Binarize = Literal["none", "fixed", "stochastic"]


@dataclass(frozen=True)
class PictureCodec:
    """The pictures a model reads: C x H x W of values in [0, 1], binarised by this protocol."""

    channels: int
    height: int
    width: int
    binarize: Binarize = "none"
    binarize_seed: int = 0
    bits: bool | None = None  # whether the training data's whole numbers were zeros and ones

    unit = "pictures"
    vocabulary: ClassVar[None] = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.channels, self.height, self.width

    @property
    def sizes(self) -> dict[str, Any]:
        """What encoders and decoders must be told of the pictures."""
        return {"shape": self.shape}

    @property
    def card(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return asdict(self)

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> Self:
        """The codec of a card.

        Raises:
            UserError: what is no card of a codec.
        """
        names = {field.name for field in fields(cls)}
        if not isinstance(card, Mapping) or not {"channels", "height", "width"} <= set(card) <= names:
            raise UserError(f"{card!r} describes no pictures: a run of modality image says {sorted(names)}")
        return cls(**card)

    def save(self, folder: Path) -> None:
        """It has no files of its own: config.json holds the card."""

    def raw(self, batch: ImageBatch) -> Tensor:
        """(B, C H W): the pixels, as they are scored."""
        return batch.targets.flatten(1)

    @property
    def fingerprint(self) -> str:
        """The same for the same settings; what `bits` says is in the pixels already."""
        kept = {name: value for name, value in self.card.items() if name != "bits"}
        return hashlib.blake2b(json.dumps(kept, sort_keys=True).encode(), digest_size=16).hexdigest()

    @property
    def protocol(self) -> str:
        """How pixels were binarised, in plain words: it belongs to every likelihood."""
        drawn = f"each pixel is white with its grey value as chance, by seed {self.binarize_seed}"
        return {
            "none": "none, pixels are scored as they come",
            "fixed": f"fixed: {drawn}, drawn once (not the file of Larochelle and Murray)",
            "stochastic": f"stochastic: {drawn}, anew in each epoch of training and once for evaluation",
        }[self.binarize]

    def __str__(self) -> str:
        """As people write it: 28 x 28 x 1."""
        return f"{self.height} x {self.width} x {self.channels}"
